// SPDX-License-Identifier: MIT
#include "runtime/command_buffer_state.h"

#include <algorithm>
#include <ranges>
#include <utility>

#include "base/failure.h"
#include "mpsnn/error.h"
#include "runtime/submission.h"

namespace mpsnn::runtime {

namespace {

constexpr double kSeconds = 1e-9;

}  // namespace

void Recording::settle_events(const std::shared_ptr<Failure>& failure) const noexcept {
  for (const Item& item : items) {
    const auto* step = std::get_if<EventStep>(&item.work);
    if (step && step->kind == EventStep::Kind::SIGNAL)
      step->event->settle(step->value, piece->queue().get(), failure);
  }
}

CommandBufferState::CommandBufferState(const std::shared_ptr<QueueState>& queue, std::string label,
                                       bool auto_commit)
    : queue_(queue),
      device_(queue->device),
      failures_(queue->failures),
      label_(std::move(label)),
      auto_commit_(auto_commit) {
  recording_.piece = new_piece(*queue);
}

std::shared_ptr<Piece> CommandBufferState::new_piece(const QueueState& queue) const {
  return std::make_shared<Piece>(label_, queue.life, queue.backend->is_committed());
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

CommitThreshold CommandBufferState::threshold() const {
  const std::lock_guard lock(recording_mutex_);
  return threshold_;
}

void CommandBufferState::set_threshold(CommitThreshold threshold) {
  const std::lock_guard lock(recording_mutex_);
  threshold_ = threshold;
}

std::size_t CommandBufferState::end_of_piece(const CompiledPlan& plan, std::size_t first) const {
  const std::size_t count = plan.plan().operations.size();
  if (!auto_commit_) return count;
  // Sums grow with the operations, so the first one that fills the piece is found by halving.
  const auto fills = [&](std::size_t end) {
    return is_full(recording_.flops + plan.flops_before(end) - plan.flops_before(first),
                   recording_.bytes + plan.bytes_before(end) - plan.bytes_before(first));
  };
  const auto ends = std::views::iota(first + 1, count + 1);
  const auto found =
      std::ranges::partition_point(ends, [&](std::size_t end) { return !fills(end); });
  return found == ends.end() ? count : *found;
}

bool CommandBufferState::can_commit() const {
  const std::lock_guard lock(device_->usage_mutex);
  return std::ranges::all_of(recording_.items, [&](const Item& item) {
    return std::ranges::all_of(item.uses(), [&](const ResourceUse& use) {
      return use.writes || is_made(*use.resource, *recording_.piece);
    });
  });
}

void CommandBufferState::record(std::shared_ptr<const PlanRun> run,
                                std::shared_ptr<const PredicateStack> predicates) {
  std::unique_lock lock(recording_mutex_);
  check_recording();
  const CompiledPlan& plan = *run->plan;
  const std::size_t count = plan.plan().operations.size();
  std::size_t first = 0;
  do {
    const std::size_t end = std::max(first, std::min(count, end_of_piece(plan, first)));
    recording_.items.push_back({PlanSlice{run, first, end - first}, predicates});
    recording_.flops += plan.flops_before(end) - plan.flops_before(first);
    recording_.bytes += plan.bytes_before(end) - plan.bytes_before(first);
    first = end;
    if (first == count) {
      const std::lock_guard usage_lock(device_->usage_mutex);
      for (const auto& image : run->results) image->usage.writer = recording_.piece;
    }
    // A source that another buffer has yet to commit is no error before this one is committed.
    if (!auto_commit_ || !is_full(recording_.flops, recording_.bytes) || !can_commit()) continue;
    const Handed handed = hand_over(true);
    automatic_pieces_ = std::min(automatic_pieces_ + 1, 63U);
    lock.unlock();
    see_off(handed);
    lock.lock();
  } while (first < count);
}

void CommandBufferState::record(HostStep step, std::shared_ptr<const PredicateStack> predicates) {
  const std::lock_guard lock(recording_mutex_);
  check_recording();
  recording_.items.push_back({std::move(step), std::move(predicates)});
}

void CommandBufferState::record(EventStep::Kind kind, std::shared_ptr<EventState> event,
                                std::uint64_t value) {
  const std::lock_guard lock(recording_mutex_);
  check_recording();
  recording_.items.push_back({EventStep{kind, std::move(event), value}, nullptr});
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

CommandBufferState::Handed CommandBufferState::hand_over(bool go_on) {
  const HostSpan span(SpanKind::COMMIT, label_, label_);
  const auto queue = this->queue();
  const std::shared_ptr<Piece> piece = recording_.piece, next = go_on ? new_piece(*queue) : nullptr;
  const auto work = std::make_shared<PieceSubmission>(shared_from_this(), std::move(recording_));
  const std::lock_guard submit_lock(queue->submit_mutex);
  try {
    work->set_dependencies(order_piece(work->recording(), *device_));
  } catch (...) {
    recording_ = work->take_recording();
    throw;
  }
  piece->times.committed = PieceTimes::now();
  work->set_earlier(queue->life->follow(piece));
  queue->last = piece;
  {
    const std::lock_guard lock(status_mutex_);
    if (!first_) first_ = piece;
    last_ = piece;
    ++piece_count_;
    is_recording_ = go_on;
  }
  Handed handed{queue, work, nullptr};
  try {
    queue->backend->submit(work);
  } catch (...) {
    handed.failure = name_failure(std::current_exception(), label_);
  }
  recording_ = {};
  recording_.piece = next;
  if (!go_on && arena_) queue->arenas.release(std::exchange(arena_, nullptr));
  return handed;
}

void CommandBufferState::see_off(const Handed& handed) {
  if (!handed.failure) return handed.queue->backend->run_submitted();
  handed.work->completed(handed.failure);
  failure()->rethrow();  // an earlier failure of this buffer, if there was one
}

void CommandBufferState::commit(bool go_on) {
  std::unique_lock lock(recording_mutex_);
  check_recording();
  const Handed handed = hand_over(go_on);
  lock.unlock();
  see_off(handed);
}

void CommandBufferState::abandon() noexcept {
  Recording dropped;  // destroyed outside of the lock: it may hold the user's functions
  {
    const std::lock_guard lock(recording_mutex_);
    dropped = std::exchange(recording_, {});
    const auto queue = queue_.lock();
    if (arena_ && queue) queue->arenas.release(std::exchange(arena_, nullptr));
  }
  if (!dropped.piece) return;
  dropped.settle_events(std::make_shared<Failure>(std::make_exception_ptr(
      StateError("command buffer \"" + label_ + "\": a signal of an event was never committed"))));
  dropped.piece->advance(PieceState::DROPPED);
}

std::shared_ptr<Piece> CommandBufferState::last_committed(std::string_view call) const {
  const std::lock_guard lock(status_mutex_);
  if (last_) return last_;
  throw StateError("command buffer \"" + label_ + "\": " + std::string(call) +
                   ": expected one that was committed, got one that was not");
}

bool CommandBufferState::wait(PieceState until,
                              std::optional<std::chrono::nanoseconds> at_most) const {
  const HostSpan span(SpanKind::WAIT, label_, label_);
  const auto last = last_committed("wait");
  last->rethrow_if_held_back();
  if (!last->wait(until, at_most)) return false;
  if (const auto failed = failure()) failed->rethrow();
  return true;
}

void CommandBufferState::when_completed(std::function<void()> function) {
  last_committed("when_completed")
      ->when_finished([function = std::move(function), self = shared_from_this()] {
        try {
          function();
        } catch (...) {
          self->fail(name_failure(std::current_exception(),
                                  "command buffer \"" + self->label() + "\": when_completed"));
        }
      });
}

std::size_t CommandBufferState::piece_count() const {
  const std::lock_guard lock(status_mutex_);
  return piece_count_;
}

CommandBufferTimes CommandBufferState::times() const {
  const std::lock_guard lock(status_mutex_);
  if (!last_) return {};
  const auto seconds = [](std::int64_t ns) { return kSeconds * static_cast<double>(ns); };
  return {.kernel_start = seconds(first_->times.committed),
          .kernel_end = seconds(last_->times.scheduled),
          .gpu_start = seconds(first_->times.started),
          .gpu_end = seconds(last_->times.ended)};
}

CommandBufferStatus CommandBufferState::status() const {
  std::shared_ptr<Piece> last;
  {
    const std::lock_guard lock(status_mutex_);
    if (failure_) return CommandBufferStatus::ERROR;
    last = last_;
    if (last && is_recording_ && last->state() > PieceState::SCHEDULED)
      return CommandBufferStatus::SCHEDULED;
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

QueueLane CommandBufferState::lane(const Piece& piece) const {
  return {piece.queue(), device_->kind()};
}

void CommandBufferState::call(const std::vector<Handler>& handlers, const Piece& piece,
                              std::string_view kind) noexcept {
  if (handlers.empty()) return;
  const OnQueueThread here(piece.queue().get());
  CommandBuffer self(shared_from_this());
  const auto recorder = TraceRecorder::active();
  for (const Handler& handler : handlers) {
    const Clock::time_point start = recorder ? Clock::now() : Clock::time_point();
    try {
      handler(self);
    } catch (...) {
      fail(name_failure(std::current_exception(), "command buffer \"" + piece.label() +
                                                      "\": " + std::string(kind) + " handler"));
    }
    if (!recorder) continue;
    recorder->add(lane(piece), span_of(SpanKind::HANDLER, std::string(kind), piece.label()), start,
                  Clock::now());
  }
}

}  // namespace mpsnn::runtime
