// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>

#include "mpsnn/buffer.h"
#include "mpsnn/device.h"

namespace mpsnn {

namespace runtime {
class CommandBufferState;
struct PredicateLayer;
}  // namespace runtime

/// How far a command buffer is. Apple: MTLCommandBufferStatus.
enum class CommandBufferStatus : std::int32_t {
  NOT_ENQUEUED = 0,
  ENQUEUED = 1,
  COMMITTED = 2,
  SCHEDULED = 3,
  COMPLETED = 4,
  ERROR = 5
};

/// When Graph::encode hands over what was recorded: as soon as the work recorded since the last
/// piece reaches one of the two. Each piece that a command buffer commits by itself needs twice the
/// work of the one before: the device starts early, and the host hands over a handful of pieces
/// however long the graph. 0: after every operation.
struct CommitThreshold {
  std::uint64_t flops = 1'000'000'000;             // arithmetic, as Graph::cost counts it
  std::uint64_t bytes = std::uint64_t{256} << 20;  // read and written
  friend bool operator==(const CommitThreshold&, const CommitThreshold&) = default;
};

/// When things happened, in seconds of one steady clock (its zero is arbitrary); 0 where not yet.
struct CommandBufferTimes {
  double kernel_start = 0, kernel_end = 0;  // host: first commit, last piece handed to the device
  double gpu_start = 0, gpu_end = 0;        // device: first kernel began, last one ended
};

/// Records work; nothing of a piece runs before it is committed. One thread records at a time.
/// Handles: a copy means the same object. Apple: MPSCommandBuffer.
class CommandBuffer {
 public:
  /// `auto_commit`: Graph::encode commits pieces by itself while it records (see CommitThreshold),
  /// so that the device starts early; false: one piece, up to `commit` or `commit_and_continue`.
  explicit CommandBuffer(const CommandQueue& queue, const std::string& label = "",
                         bool auto_commit = true);
  /// A command buffer that records on `commands`, with a predicate of its own: what is recorded
  /// through it runs only if its predicate and all those below are not 0. Apple:
  /// initWithCommandBuffer.
  static CommandBuffer wrap(const CommandBuffer& commands);

  /// In a handler: throws StateError where the last handle of the queue is being destroyed.
  CommandQueue queue() const;
  /// The one that this one wraps; none where it wraps none.
  std::optional<CommandBuffer> command_buffer() const;
  /// The one below all wrappers; this one where it wraps none.
  CommandBuffer root_command_buffer() const;
  const std::string& label() const;
  void set_label(std::string label);

  /// Applies to every kernel recorded from then on, graphs and host functions included. Signals and
  /// waits of events are never skipped.
  std::optional<Predicate> predicate() const;
  /// none ends it. Throws InvalidArgumentError for a predicate of another device.
  void set_predicate(std::optional<Predicate> predicate);

  bool auto_commit() const;
  CommitThreshold commit_threshold() const;
  void set_commit_threshold(CommitThreshold threshold);
  /// Makes sure that the heap of temporaries has room, so that the next encodes need not make it
  /// larger. The buffer holds the heap from now on. Throws OutOfMemoryError. Apple:
  /// prefetchHeapForWorkloadSize.
  void prefetch_heap(std::size_t bytes);

  /// Hands everything recorded to the queue and ends recording. Images and weights that work of
  /// other queues uses are waited for on the device. Throws StateError the second time; and where a
  /// source image is made by a command buffer that was not committed yet: nothing is handed over
  /// then.
  void commit();
  /// Hands over what is recorded so far; recording goes on in the same object. Temporaries,
  /// predicate and heap stay valid; handlers stay with the piece they were added to.
  void commit_and_continue();
  /// Pieces handed over so far.
  std::size_t piece_count() const;

  /// Waits for all that this buffer committed, earlier pieces included; throws the first failure
  /// with the label of its command. Throws StateError if nothing was committed.
  /// false when `seconds` have passed before (none: waits on).
  bool wait_until_completed(std::optional<double> seconds = std::nullopt) const;
  void wait_until_scheduled() const;
  /// Gets ready when all that was committed so far is completed, with its failure. Throws
  /// StateError if nothing was committed.
  std::future<void> completed() const;
  /// Calls the function once all that was committed so far is completed, failed or not: at once
  /// where it is, else from the queue's thread. What it throws becomes the buffer's error.
  void when_completed(std::function<void()> function) const;
  CommandBufferStatus status() const;
  /// The first failure, if any; null while running.
  std::exception_ptr error() const;
  CommandBufferTimes times() const;

  /// Called once each, from the queue's thread, when the piece now being recorded was scheduled or
  /// completed. An exception thrown by a handler is kept as the buffer's error.
  void add_scheduled_handler(std::function<void(CommandBuffer&)> handler);
  void add_completed_handler(std::function<void(CommandBuffer&)> handler);
  /// Records a host function that runs in its turn; its exception becomes the buffer's error.
  void encode_host_function(std::string label, std::function<void()> function);
  /// Sets the event when all that was recorded before has run.
  void encode_signal_event(const SharedEvent& event, std::uint64_t value);
  /// Holds the queue until the event is that far. Events may be of any device.
  void encode_wait_for_event(const SharedEvent& event, std::uint64_t value);

  /// The same handle level of the same buffer: a wrapper is not equal to what it wraps.
  friend bool operator==(const CommandBuffer& a, const CommandBuffer& b) {
    return a.state_ == b.state_ && a.layer_ == b.layer_;
  }
  const std::shared_ptr<runtime::CommandBufferState>& state() const noexcept { return state_; }
  const std::shared_ptr<runtime::PredicateLayer>& layer() const noexcept { return layer_; }
  explicit CommandBuffer(std::shared_ptr<runtime::CommandBufferState> state);

 private:
  std::shared_ptr<runtime::CommandBufferState> state_;
  std::shared_ptr<runtime::PredicateLayer> layer_;
};

}  // namespace mpsnn
