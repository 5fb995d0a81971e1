// SPDX-License-Identifier: MIT
#include "backend/metal/stream.h"

#include <utility>

#include "mpsnn/error.h"

namespace mpsnn::backend::metal {
namespace {

/// The pieces of a commit: MPS may have committed more of its own between them, which the same
/// Metal queue runs before the last.
class Roots final : public Stream::Ticket {
 public:
  explicit Roots(std::vector<Owned<id<MTLCommandBuffer>>> all) : roots(std::move(all)) {}
  const std::vector<Owned<id<MTLCommandBuffer>>> roots;
};

Owned<id<MTLCommandQueue>> make_metal_queue(id<MTLDevice> device, std::string_view label) {
  return guarded("command queue", [&] {
    Owned<id<MTLCommandQueue>> queue([device newCommandQueue]);
    if (!queue) fail_on_device("command queue", "the device makes no more");
    [queue.get() setLabel:to_ns_string(label)];
    return queue;
  });
}

}  // namespace

CommandStream::CommandStream(id<MTLDevice> device, std::shared_ptr<BufferMap> buffers,
                             std::shared_ptr<Generators> generators, std::string_view label)
    : device_(Owned<id<MTLDevice>>::retained(device)),
      queue_(make_metal_queue(device, label)),
      buffers_(std::move(buffers)),
      generators_(std::move(generators)) {}

void CommandStream::set_predicates(std::span<const std::int32_t* const> predicates) {
  predicates_.assign(predicates.begin(), predicates.end());
}

void CommandStream::encode_onto(id<MTLCommandBuffer> commands) {
  theirs_ = Owned<id<MTLCommandBuffer>>::retained(commands);
}

MPSCommandBuffer* CommandStream::commands() {
  // Kernels use it as an MTLCommandBuffer. It is not wrapped: MPS would commit inside of graphs.
  if (theirs_) return static_cast<MPSCommandBuffer*>(static_cast<id>(theirs_.get()));
  if (!commands_) {
    commands_ = Owned<MPSCommandBuffer*>::retained(
        [MPSCommandBuffer commandBufferFromCommandQueue:queue_.get()]);
    if (!commands_) fail_on_device("command buffer", "the queue makes no more");
  }
  MPSCommandBuffer* innermost = commands_.get();
  for (const std::int32_t* address : predicates_) {
    const BufferRange range = buffers_->find(address);
    innermost = [MPSCommandBuffer commandBufferWithCommandBuffer:innermost];
    [innermost setPredicate:[MPSPredicate predicateWithBuffer:range.buffer.get()
                                                       offset:range.offset]];
  }
  return innermost;
}

const ImageCopies& CommandStream::copies() {
  if (!copies_) copies_.emplace(device_.get());
  return *copies_;
}

void CommandStream::note_root() {
  // commitAndContinue puts another one in its place, so it is asked for before.
  committed_.push_back(Owned<id<MTLCommandBuffer>>::retained([commands_.get() rootCommandBuffer]));
}

void CommandStream::commit_and_continue() {
  if (!commands_) return;
  guarded("commit", [&] {
    note_root();
    [commands_.get() commitAndContinue];
  });
}

std::unique_ptr<Stream::Ticket> CommandStream::commit(std::string_view label) {
  if (!commands_) return nullptr;
  return guarded("commit", [&]() -> std::unique_ptr<Ticket> {
    note_root();
    [committed_.back().get() setLabel:to_ns_string(label)];
    [commands_.get() commit];
    commands_ = {};
    return std::make_unique<Roots>(std::exchange(committed_, {}));
  });
}

void CommandStream::wait(Ticket& ticket) {
  guarded("wait", [&] {
    for (const auto& root : static_cast<Roots&>(ticket).roots) {
      [root.get() waitUntilCompleted];
      NSError* error = [root.get() error];
      if (error == nil) continue;
      fail_on_device("command buffer", to_string([error localizedDescription]));
    }
  });
}

}  // namespace mpsnn::backend::metal
