// SPDX-License-Identifier: MIT
#include "backend/metal/stream.h"

#include "backend/metal/event.h"
#include "mpsnn/error.h"

namespace mpsnn::backend::metal {
namespace {

/// MPS may have committed others of its own before it, which the same Metal queue runs before.
class Root final : public Stream::Ticket {
 public:
  explicit Root(MPSCommandBuffer* commands)
      : commands_(Owned<id<MTLCommandBuffer>>::retained([commands rootCommandBuffer])) {}
  id<MTLCommandBuffer> commands() const noexcept { return commands_.get(); }

 private:
  const Owned<id<MTLCommandBuffer>> commands_;
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
  predicated_ = {};
}

void CommandStream::encode_onto(id<MTLCommandBuffer> commands) {
  theirs_ = Owned<id<MTLCommandBuffer>>::retained(commands);
}

MPSCommandBuffer* CommandStream::ours() {
  if (!commands_) {
    commands_ = Owned<MPSCommandBuffer*>::retained(
        [MPSCommandBuffer commandBufferFromCommandQueue:queue_.get()]);
    if (!commands_) fail_on_device("command buffer", "the queue makes no more");
  }
  return commands_.get();
}

MPSCommandBuffer* CommandStream::commands() {
  // Kernels use it as an MTLCommandBuffer. It is not wrapped: MPS would commit inside of graphs.
  if (theirs_) return static_cast<MPSCommandBuffer*>(static_cast<id>(theirs_.get()));
  if (predicates_.empty()) return ours();
  if (!predicated_) predicated_ = Owned<MPSCommandBuffer*>::retained(wrapped(ours()));
  return predicated_.get();
}

MPSCommandBuffer* CommandStream::wrapped(MPSCommandBuffer* innermost) const {
  for (const std::int32_t* address : predicates_) {
    const BufferRange range = buffers_->find(address);
    innermost = [MPSCommandBuffer commandBufferWithCommandBuffer:innermost];
    [innermost setPredicate:[MPSPredicate predicateWithBuffer:range.buffer.get()
                                                       offset:range.offset]];
  }
  return innermost;
}

id<MTLCommandBuffer> CommandStream::root() {
  return theirs_ ? theirs_.get() : [ours() rootCommandBuffer];
}

void CommandStream::signal_event(Event& event, std::uint64_t value) {
  guarded("signal of an event", [&] {
    [root() encodeSignalEvent:static_cast<SharedEvent&>(event).object() value:value];
  });
}

void CommandStream::wait_for_event(Event& event, std::uint64_t value) {
  guarded("wait for an event", [&] {
    [root() encodeWaitForEvent:static_cast<SharedEvent&>(event).object() value:value];
  });
}

const ImageCopies& CommandStream::copies() {
  if (!copies_) copies_.emplace(device_.get());
  return *copies_;
}

std::unique_ptr<Stream::Ticket> CommandStream::commit_and_continue() {
  if (!commands_) return nullptr;
  return guarded("commit", [&]() -> std::unique_ptr<Ticket> {
    predicated_ = {};
    // It puts another root in its place, which is asked for before.
    auto root = std::make_unique<Root>(commands_.get());
    [commands_.get() commitAndContinue];
    return root;
  });
}

std::unique_ptr<Stream::Ticket> CommandStream::commit(std::string_view label) {
  if (!commands_) return nullptr;
  return guarded("commit", [&]() -> std::unique_ptr<Ticket> {
    auto root = std::make_unique<Root>(commands_.get());
    [root->commands() setLabel:to_ns_string(label)];
    [commands_.get() commit];
    commands_ = {};
    predicated_ = {};
    return root;
  });
}

void CommandStream::wait(Ticket& ticket) {
  guarded("wait", [&] {
    id<MTLCommandBuffer> commands = static_cast<Root&>(ticket).commands();
    [commands waitUntilCompleted];
    NSError* error = [commands error];
    if (error != nil) fail_on_device("command buffer", to_string([error localizedDescription]));
  });
}

}  // namespace mpsnn::backend::metal
