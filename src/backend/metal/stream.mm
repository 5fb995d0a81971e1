// SPDX-License-Identifier: MIT
#include "backend/metal/stream.h"

#include <ctime>

#include "backend/metal/event.h"
#include "mpsnn/error.h"

namespace mpsnn::backend::metal {
namespace {

/// The last command buffer, and the first one where MPS committed others of its own before it: the
/// same Metal queue runs them in order.
class Root final : public Stream::Ticket {
 public:
  Root(std::uint64_t piece, Owned<id<MTLCommandBuffer>> first, MPSCommandBuffer* commands)
      : piece_(piece),
        first_(std::move(first)),
        last_(Owned<id<MTLCommandBuffer>>::retained([commands rootCommandBuffer])) {}
  std::uint64_t piece() const noexcept { return piece_; }
  id<MTLCommandBuffer> first() const noexcept { return first_.get(); }
  id<MTLCommandBuffer> last() const noexcept { return last_.get(); }

 private:
  const std::uint64_t piece_;
  const Owned<id<MTLCommandBuffer>> first_, last_;
};

/// The clock of Metal's times, which stands still while the system sleeps: seconds.
double device_clock() {
#ifdef __APPLE__
  return static_cast<double>(clock_gettime_nsec_np(CLOCK_UPTIME_RAW)) * 1e-9;
#else
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
#endif
}

/// A time of Metal's by the steady clock.
Clock::time_point steady(double seconds) {
  const std::chrono::duration<double> ago(device_clock() - seconds);
  return Clock::now() - std::chrono::duration_cast<Clock::duration>(ago);
}

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
      generators_(std::move(generators)),
      heaps_(std::make_shared<QueueHeaps>(device)),
      heap_provider_(make_heap_provider(heaps_)) {}

CommandStream::CommandStream(id<MTLDevice> device, std::shared_ptr<BufferMap> buffers,
                             std::shared_ptr<Generators> generators,
                             std::shared_ptr<PendingUpdates> updates, id<MTLCommandBuffer> theirs)
    : device_(Owned<id<MTLDevice>>::retained(device)),
      buffers_(std::move(buffers)),
      generators_(std::move(generators)),
      updates_(std::move(updates)),
      heaps_(std::make_shared<QueueHeaps>(device)),
      theirs_(Owned<id<MTLCommandBuffer>>::retained(theirs)) {}

void CommandStream::set_predicates(std::span<const std::int32_t* const> predicates) {
  predicates_.assign(predicates.begin(), predicates.end());
  predicated_ = {};
}

MPSCommandBuffer* CommandStream::ours() {
  if (!commands_) {
    commands_ = Owned<MPSCommandBuffer*>::retained(
        [MPSCommandBuffer commandBufferFromCommandQueue:queue_.get()]);
    if (!commands_) fail_on_device("command buffer", "the queue makes no more");
    begin_piece();
  }
  return commands_.get();
}

void CommandStream::begin_piece() {
  first_ = Owned<id<MTLCommandBuffer>>::retained([commands_.get() rootCommandBuffer]);
  piece_ = heaps_->begin_piece();
  // The header does not say whether it is carried on with the heap.
  if ([commands_.get() heapProvider] != heap_provider_.get())
    [commands_.get() setHeapProvider:heap_provider_.get()];
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
    auto root = std::make_unique<Root>(piece_, first_, commands_.get());
    [commands_.get() commitAndContinue];
    begin_piece();
    return root;
  });
}

std::unique_ptr<Stream::Ticket> CommandStream::commit(std::string_view label) {
  if (!commands_) return nullptr;
  return guarded("commit", [&]() -> std::unique_ptr<Ticket> {
    auto root = std::make_unique<Root>(piece_, std::move(first_), commands_.get());
    [root->last() setLabel:to_ns_string(label)];
    [commands_.get() commit];
    commands_ = {};
    predicated_ = {};
    return root;
  });
}

std::optional<Stream::Times> CommandStream::wait(Ticket& ticket) {
  return guarded("wait", [&]() -> std::optional<Times> {
    const auto& root = static_cast<Root&>(ticket);
    [root.last() waitUntilCompleted];
    heaps_->end_piece(root.piece());
    for (id<MTLCommandBuffer> commands : {root.first(), root.last()}) {
      if (const auto failure = failure_of([commands error])) std::rethrow_exception(failure);
    }
    const double start = [root.first() GPUStartTime], end = [root.last() GPUEndTime];
    if (start <= 0 || end < start) return std::nullopt;
    return Times{steady(start), steady(end)};
  });
}

}  // namespace mpsnn::backend::metal
