// SPDX-License-Identifier: MIT
// Recording: what a command buffer holds until it is committed, and what it keeps afterwards.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "mpsnn/command_buffer.h"
#include "runtime/buffer_state.h"
#include "runtime/event_state.h"
#include "runtime/piece.h"
#include "runtime/plan_run.h"
#include "runtime/queue_state.h"
#include "runtime/trace_recorder.h"

namespace mpsnn::runtime {

/// Operations [first, first + count) of a run: a plan may be spread over several pieces.
struct PlanSlice {
  std::shared_ptr<const PlanRun> run;
  std::size_t first = 0, count = 0;
};

/// A function that runs in its turn.
struct HostStep {
  std::string label;
  std::function<void()> function;
  std::vector<ResourceUse> uses = {};
  std::shared_ptr<const Binding> parameters = nullptr;  // that it changes; null: none
  backend::HostWork work = backend::HostWork::FUNCTION;
};

/// Signals an event, or waits for it.
struct EventStep {
  enum class Kind { SIGNAL, WAIT } kind;
  std::shared_ptr<EventState> event;
  std::uint64_t value;
};

/// One thing recorded.
struct Item {
  std::variant<PlanSlice, HostStep, EventStep> work;
  /// Null: always run.
  std::shared_ptr<const PredicateStack> predicates = nullptr;

  /// The run of a plan whose slice this is; null: other work.
  const PlanRun* plan_run() const noexcept {
    const auto* slice = std::get_if<PlanSlice>(&work);
    return slice ? slice->run.get() : nullptr;
  }
  /// The parameters that it uses; null: none.
  const Binding* parameters() const noexcept {
    if (const PlanRun* run = plan_run()) return run->binding.get();
    const auto* host = std::get_if<HostStep>(&work);
    return host ? host->parameters.get() : nullptr;
  }
  /// What it reads and writes beside the parameters of its plan.
  std::span<const ResourceUse> uses() const noexcept;
  std::size_t step_count() const noexcept;
  /// Step i of the piece that the item belongs to, on a queue of the device.
  backend::Launch step(std::size_t i, const Piece& piece, const DeviceState& device) const;
};

class PieceSubmission;

using Handler = std::function<void(CommandBuffer&)>;

/// What is handed to the queue as a whole.
struct Recording {
  std::shared_ptr<Piece> piece;
  std::vector<Item> items;
  std::vector<Handler> scheduled_handlers, completed_handlers;
  std::uint64_t flops = 0, bytes = 0;  // of the graphs recorded

  /// Ends the signals of events that the items would have given: all of them, or from one item on.
  void settle_events(const std::shared_ptr<Failure>& failure) const noexcept;
};

/// Users hold it together with the queue (see the constructor of CommandBuffer); work in flight
/// holds it alone, so that the last handle of a queue can wait for its work.
class CommandBufferState : public std::enable_shared_from_this<CommandBufferState> {
 public:
  CommandBufferState(const std::shared_ptr<QueueState>& queue, std::string label, bool auto_commit);

  /// Throws StateError where the queue is gone.
  std::shared_ptr<QueueState> queue() const;
  const std::shared_ptr<DeviceState>& device() const noexcept { return device_; }
  const std::string& label() const noexcept { return label_; }
  void set_label(std::string label) { label_ = std::move(label); }
  bool auto_commit() const noexcept { return auto_commit_; }
  CommitThreshold threshold() const;
  void set_threshold(CommitThreshold threshold);
  /// The predicate of the buffer itself, below those of its wrappers.
  const std::shared_ptr<PredicateLayer>& layer() const noexcept { return layer_; }

  // Recording: one thread at a time. All throw StateError once recording has ended.

  /// The queue's heap of temporaries, held from the first call to the last commit.
  MemoryHandle heap(std::size_t bytes);
  /// Records the whole run, in pieces where that is wanted. Its results belong to the piece that
  /// holds its end.
  void record(std::shared_ptr<const PlanRun> run, std::shared_ptr<const PredicateStack> predicates);
  void record(HostStep step, std::shared_ptr<const PredicateStack> predicates);
  void record(EventStep::Kind kind, std::shared_ptr<EventState> event, std::uint64_t value);
  void add_scheduled_handler(Handler handler);
  void add_completed_handler(Handler handler);
  void commit(bool go_on);
  /// Drops what was recorded and not committed: no user holds the buffer any more.
  void abandon() noexcept;

  // From any thread.

  bool wait(PieceState until, std::optional<std::chrono::nanoseconds> at_most) const;
  void when_completed(std::function<void()> function);
  CommandBufferStatus status() const;
  CommandBufferTimes times() const;
  std::size_t piece_count() const;
  std::shared_ptr<Failure> failure() const;
  /// Keeps the first failure; later ones of the same buffer follow from it. Returns the one that is
  /// kept.
  std::shared_ptr<Failure> fail(std::exception_ptr error) noexcept;
  /// Calls handlers on the queue's thread; what one throws becomes the buffer's failure.
  void call(const std::vector<Handler>& handlers, const Piece& piece,
            std::string_view kind) noexcept;
  /// Where timelines show the queue of a piece.
  QueueLane lane(const Piece& piece) const;

 private:
  /// A piece that was handed over, and how that went.
  struct Handed {
    std::shared_ptr<QueueState> queue;
    std::shared_ptr<PieceSubmission> work;
    std::exception_ptr failure;
  };
  void check_recording() const;
  std::shared_ptr<Piece> new_piece(const QueueState& queue) const;
  /// Hands over what is recorded; recording_mutex_ is held. Throws StateError, changing nothing.
  Handed hand_over(bool go_on);
  /// After a hand-over, without the lock. One that failed: tells everyone, and throws.
  void see_off(const Handed& handed);
  /// Whether so much work ends a piece.
  bool is_full(std::uint64_t flops, std::uint64_t bytes) const noexcept {
    return flops >> automatic_pieces_ >= threshold_.flops ||
           bytes >> automatic_pieces_ >= threshold_.bytes;
  }
  /// The end of the part of the plan, from `first` on, that fills the piece; the number of
  /// operations where it does not.
  std::size_t end_of_piece(const CompiledPlan& plan, std::size_t first) const;
  /// Whether the piece may be committed now: every source image that it reads was committed.
  bool can_commit() const;
  std::shared_ptr<Piece> last_committed(std::string_view call) const;

  const std::weak_ptr<QueueState> queue_;
  const std::shared_ptr<DeviceState> device_;
  const std::shared_ptr<FailureLog> failures_;
  std::string label_;
  const bool auto_commit_;
  const std::shared_ptr<PredicateLayer> layer_ = std::make_shared<PredicateLayer>();

  mutable std::mutex recording_mutex_;
  Recording recording_;  // piece null: recording has ended
  std::shared_ptr<Arena> arena_;
  CommitThreshold threshold_;
  unsigned automatic_pieces_ = 0;  // at most 63: each needs twice the work of the one before

  mutable std::mutex status_mutex_;  // taken after recording_mutex_; never held while calling out
  std::shared_ptr<Piece> first_, last_;  // pieces committed
  std::size_t piece_count_ = 0;
  bool is_recording_ = true;  // whether a further piece may come
  std::shared_ptr<Failure> failure_;
};

}  // namespace mpsnn::runtime
