// SPDX-License-Identifier: MIT
#include "runtime/command_buffer_state.h"

#include <utility>

#include "base/failure.h"
#include "mpsnn/error.h"
#include "runtime/submission.h"

namespace mpsnn::runtime {

CommandBufferState::CommandBufferState(const std::shared_ptr<QueueState>& queue, std::string label)
    : queue_(queue), device_(queue->device), failures_(queue->failures), label_(std::move(label)) {
  recording_.piece = new_piece(*queue);
}

std::shared_ptr<Piece> CommandBufferState::new_piece(const QueueState& queue) const {
  return std::make_shared<Piece>(label_, &queue);
}

std::shared_ptr<QueueState> CommandBufferState::queue() const {
  std::shared_ptr<QueueState> queue = queue_.lock();
  if (!queue) throw StateError("command buffer \"" + label_ + "\": its queue is gone");
  return queue;
}

void CommandBufferState::check_recording() const {
  if (recording_.piece) return;
  throw StateError("command buffer \"" + label_ +
                   "\": expected one that records, got one that was committed");
}

MemoryHandle CommandBufferState::heap(std::size_t bytes) {
  const std::lock_guard lock(recording_mutex_);
  check_recording();
  if (bytes == 0) return nullptr;
  const auto queue = this->queue();
  if (!arena_) arena_ = queue->arenas.acquire(bytes);
  return queue->arenas.memory_of(*arena_, bytes);
}

void CommandBufferState::record(std::shared_ptr<const PlanRun> run) {
  const std::lock_guard lock(recording_mutex_);
  check_recording();
  const std::size_t count = run->plan->plan().operations.size();
  recording_.items.push_back({.work = PlanSlice{run, 0, count}});
  const std::lock_guard usage_lock(device_->usage_mutex);
  for (const auto& image : run->results) image->usage.writer = recording_.piece;
}

void CommandBufferState::record(HostStep step) {
  const std::lock_guard lock(recording_mutex_);
  check_recording();
  recording_.items.push_back({.work = std::move(step)});
}

void CommandBufferState::add_scheduled_handler(Handler handler) {
  const std::lock_guard lock(recording_mutex_);
  check_recording();
  recording_.scheduled_handlers.push_back(std::move(handler));
}

void CommandBufferState::add_completed_handler(Handler handler) {
  const std::lock_guard lock(recording_mutex_);
  check_recording();
  recording_.completed_handlers.push_back(std::move(handler));
}

void CommandBufferState::commit(bool go_on) {
  std::unique_lock recording_lock(recording_mutex_);
  check_recording();
  const auto queue = this->queue();
  const std::shared_ptr<Piece> piece = recording_.piece, next = go_on ? new_piece(*queue) : nullptr;
  const auto work = std::make_shared<PieceSubmission>(shared_from_this(), std::move(recording_));
  std::unique_lock submit_lock(queue->submit_mutex);
  try {
    work->set_dependencies(order_piece(work->recording(), *device_));
  } catch (...) {
    recording_ = work->take_recording();
    piece->advance(PieceState::RECORDING);
    throw;
  }
  queue->last = piece;
  {
    const std::lock_guard lock(status_mutex_);
    last_ = piece;
  }
  std::exception_ptr failure;
  try {
    queue->backend->submit(work);
  } catch (...) {
    failure = name_failure(std::current_exception(), label_);
  }
  submit_lock.unlock();
  recording_ = {};
  recording_.piece = next;
  if (!go_on && arena_) queue->arenas.release(std::exchange(arena_, nullptr));
  recording_lock.unlock();
  if (!failure) return;
  work->completed(failure);
  this->failure()->rethrow();  // an earlier failure of this buffer, if there was one
}

void CommandBufferState::abandon() noexcept {
  Recording dropped;  // destroyed outside of the lock: it may hold the user's functions
  const std::lock_guard lock(recording_mutex_);
  dropped = std::exchange(recording_, {});
  if (dropped.piece) dropped.piece->advance(PieceState::DROPPED);
  const auto queue = queue_.lock();
  if (arena_ && queue) queue->arenas.release(std::exchange(arena_, nullptr));
}

std::shared_ptr<Piece> CommandBufferState::last_committed(std::string_view call) const {
  const std::lock_guard lock(status_mutex_);
  if (last_) return last_;
  throw StateError("command buffer \"" + label_ + "\": " + std::string(call) +
                   ": expected one that was committed, got one that was not");
}

void CommandBufferState::wait(PieceState until) const {
  last_committed("wait")->wait(until);
  if (const auto failed = failure()) failed->rethrow();
}

CommandBufferStatus CommandBufferState::status() const {
  std::shared_ptr<Piece> last;
  {
    const std::lock_guard lock(status_mutex_);
    if (failure_) return CommandBufferStatus::ERROR;
    last = last_;
  }
  if (!last) return CommandBufferStatus::NOT_ENQUEUED;
  switch (last->state()) {
    case PieceState::RECORDING:
    case PieceState::DROPPED:
      return CommandBufferStatus::NOT_ENQUEUED;
    case PieceState::COMMITTED:
      return CommandBufferStatus::COMMITTED;
    case PieceState::SCHEDULED:
      return CommandBufferStatus::SCHEDULED;
    case PieceState::EXECUTED:
    case PieceState::FINISHED:
      return CommandBufferStatus::COMPLETED;
  }
  throw InternalError("state of a piece out of range");
}

std::shared_ptr<Failure> CommandBufferState::failure() const {
  const std::lock_guard lock(status_mutex_);
  return failure_;
}

std::shared_ptr<Failure> CommandBufferState::fail(std::exception_ptr error) noexcept {
  std::shared_ptr<Failure> kept;
  {
    const std::lock_guard lock(status_mutex_);
    if (failure_) return failure_;
    kept = failure_ = std::make_shared<Failure>(std::move(error));
  }
  failures_->add(kept);
  return kept;
}

void CommandBufferState::call(const std::vector<Handler>& handlers, const Piece& piece,
                              std::string_view kind) noexcept {
  if (handlers.empty()) return;
  const OnQueueThread here(piece.queue());
  CommandBuffer self(shared_from_this());
  for (const Handler& handler : handlers) {
    try {
      handler(self);
    } catch (...) {
      fail(name_failure(std::current_exception(), "command buffer \"" + piece.label() +
                                                      "\": " + std::string(kind) + " handler"));
    }
  }
}

}  // namespace mpsnn::runtime
