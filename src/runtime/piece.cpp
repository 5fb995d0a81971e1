// SPDX-License-Identifier: MIT
#include "runtime/piece.h"

#include <algorithm>

#include "base/patience.h"
#include "mpsnn/error.h"

namespace mpsnn::runtime {
namespace {

thread_local QueueLife* queue_of_this_thread = nullptr;

bool is_end(PieceState state) {
  return state == PieceState::FINISHED || state == PieceState::DROPPED;
}

bool is_in_flight(const Piece& piece) {
  const PieceState state = piece.state();
  return state == PieceState::COMMITTED || state == PieceState::SCHEDULED;
}

}  // namespace

std::shared_ptr<Piece> QueueLife::follow(const std::shared_ptr<Piece>& piece) {
  const std::lock_guard lock(mutex_);
  std::shared_ptr<Piece> before = last_.lock();
  last_ = piece;
  return before && !before->is_executed() ? before : nullptr;
}

bool Piece::is_held_back() const {
  return is_committed_ && is_in_flight(*this) && !is_committed_();
}

std::shared_ptr<Failure> Piece::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

void Piece::advance(PieceState state, std::shared_ptr<Failure> failure) noexcept {
  std::vector<std::function<void()>> functions;
  {
    const std::lock_guard lock(mutex_);
    state_ = state;
    if (failure) failure_ = std::move(failure);
    if (is_end(state)) functions = std::move(when_finished_);
  }
  changed_.notify_all();
  if (functions.empty()) return;
  const OnQueueThread here(queue_.get());  // they may not wait for later work of the queue
  for (const auto& function : functions) function();
}

void Piece::fail(std::shared_ptr<Failure> failure) noexcept {
  const std::lock_guard lock(mutex_);
  if (!failure_) failure_ = std::move(failure);
}

void Piece::when_finished(std::function<void()> function) {
  {
    const std::lock_guard lock(mutex_);
    if (!is_end(state_)) return when_finished_.push_back(std::move(function));
  }
  function();
}

void Piece::rethrow_if_held_back() const {
  if (!is_held_back()) return;
  if (const auto failed = failure()) failed->rethrow();
}

bool Piece::wait(PieceState until, std::optional<std::chrono::nanoseconds> at_most) const {
  const PieceState now = state();
  if (now < PieceState::COMMITTED) {
    throw StateError("command buffer \"" + label_ + "\": waited for work that was not committed");
  }
  if (queue_of_this_thread == queue_.get()) {
    // The thread that would finish the work is the one that asks.
    if (now >= std::min(until, PieceState::EXECUTED)) return true;
    throw StateError("command buffer \"" + label_ +
                     "\": a handler or host function waited for later work of its own queue");
  }
  const auto is_there = [&] { return state() >= until; };
  if (!is_there() && is_held_back()) {
    throw StateError("command buffer \"" + label_ +
                     "\": waited for work on a command buffer of the program's, which the program "
                     "has yet to commit");
  }
  if (is_true_soon(is_there, at_most)) return true;
  std::unique_lock lock(mutex_);
  if (at_most) return changed_.wait_for(lock, *at_most, is_there);
  changed_.wait(lock, is_there);
  return true;
}

QueueLife* OnQueueThread::queue() noexcept { return queue_of_this_thread; }
OnQueueThread::OnQueueThread(QueueLife* queue) noexcept
    : previous_(std::exchange(queue_of_this_thread, queue)) {}
OnQueueThread::~OnQueueThread() { queue_of_this_thread = previous_; }

void Usage::add_reader(const std::shared_ptr<Piece>& piece) {
  std::erase_if(readers, [&](const auto& reader) {
    const bool is_before = reader->queue() == piece->queue() && !reader->is_held_back();
    return is_before || !is_in_flight(*reader);
  });
  readers.push_back(piece);
}

void Usage::set_writer(const std::shared_ptr<Piece>& piece) {
  readers.clear();
  writer = piece;
}

void Usage::collect(bool for_writing, std::vector<std::shared_ptr<Piece>>& pieces) const {
  const auto add = [&](const std::shared_ptr<Piece>& piece) {
    if (is_in_flight(*piece) && std::ranges::find(pieces, piece) == pieces.end())
      pieces.push_back(piece);
  };
  if (writer) add(writer);
  if (for_writing) std::ranges::for_each(readers, add);
}

}  // namespace mpsnn::runtime
