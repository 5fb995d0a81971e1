// SPDX-License-Identifier: MIT
// Recording: what a command buffer holds until it is committed, and what it keeps afterwards.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "runtime/piece.h"
#include "runtime/plan_run.h"
#include "runtime/queue_state.h"

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
};

/// One thing recorded.
struct Item {
  std::variant<PlanSlice, HostStep> work;
  /// Read when a step's turn comes; 0 skips it. Null: always run. `predicate_memory` keeps it
  /// alive.
  const std::int32_t* predicate = nullptr;
  MemoryHandle predicate_memory = nullptr;

  std::size_t step_count() const noexcept;
  backend::Launch step(std::size_t i) const;
};

using Handler = std::function<void(CommandBuffer&)>;

/// What is handed to the queue as a whole.
struct Recording {
  std::shared_ptr<Piece> piece;
  std::vector<Item> items;
  std::vector<Handler> scheduled_handlers, completed_handlers;
};

/// Users hold it together with the queue (see the constructor of CommandBuffer); work in flight
/// holds it alone, so that the last handle of a queue can wait for its work.
class CommandBufferState : public std::enable_shared_from_this<CommandBufferState> {
 public:
  CommandBufferState(const std::shared_ptr<QueueState>& queue, std::string label);

  /// Throws StateError where the queue is gone.
  std::shared_ptr<QueueState> queue() const;
  const std::shared_ptr<DeviceState>& device() const noexcept { return device_; }
  const std::string& label() const noexcept { return label_; }
  void set_label(std::string label) { label_ = std::move(label); }

  // Recording: one thread at a time. All throw StateError once recording has ended.

  /// The queue's heap of temporaries, held from the first call to the last commit.
  MemoryHandle heap(std::size_t bytes);
  /// Records the whole run. Its results belong to the piece being recorded.
  void record(std::shared_ptr<const PlanRun> run);
  void record(HostStep step);
  void add_scheduled_handler(Handler handler);
  void add_completed_handler(Handler handler);
  void commit(bool go_on);
  /// Drops what was recorded and not committed: no user holds the buffer any more.
  void abandon() noexcept;

  // From any thread.

  void wait(PieceState until) const;
  CommandBufferStatus status() const;
  std::shared_ptr<Failure> failure() const;
  /// Keeps the first failure; later ones of the same buffer follow from it. Returns the one that is
  /// kept.
  std::shared_ptr<Failure> fail(std::exception_ptr error) noexcept;
  /// Calls handlers on the queue's thread; what one throws becomes the buffer's failure.
  void call(const std::vector<Handler>& handlers, const Piece& piece,
            std::string_view kind) noexcept;

 private:
  void check_recording() const;
  std::shared_ptr<Piece> new_piece(const QueueState& queue) const;
  std::shared_ptr<Piece> last_committed(std::string_view call) const;

  const std::weak_ptr<QueueState> queue_;
  const std::shared_ptr<DeviceState> device_;
  const std::shared_ptr<FailureLog> failures_;
  std::string label_;

  mutable std::mutex recording_mutex_;
  Recording recording_;  // piece null: recording has ended
  std::shared_ptr<Arena> arena_;

  mutable std::mutex status_mutex_;  // taken after recording_mutex_; never held while calling out
  std::shared_ptr<Piece> last_;      // the last piece committed
  std::shared_ptr<Failure> failure_;
};

}  // namespace mpsnn::runtime
