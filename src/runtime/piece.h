// SPDX-License-Identifier: MIT
// Pieces of work as others see them: how far one is, how it ended, and who uses which memory.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace mpsnn::runtime {

/// An error of committed work, kept until someone was told.
struct Failure {
  explicit Failure(std::exception_ptr with) : error(std::move(with)) {}
  [[noreturn]] void rethrow() {
    told = true;
    std::rethrow_exception(error);
  }
  const std::exception_ptr error;
  std::atomic<bool> told = false;
};

/// What is recorded on a command buffer between two commits. EXECUTED: its kernels ran or it
/// failed; FINISHED: its handlers were called, too.
enum class PieceState { RECORDING, DROPPED, COMMITTED, SCHEDULED, EXECUTED, FINISHED };

class EventState;
class Piece;

/// Asked on any thread, and asks nothing of the runtime.
using IsCommitted = std::function<bool()>;

/// What is known of a queue after it is gone, and by its address which queue is meant. Queues that
/// encode onto command buffers of one queue of the program's are one queue here.
class QueueLife {
 public:
  explicit QueueLife(std::string label) : label_(std::move(label)) {}
  const std::string& label() const noexcept { return label_; }
  /// A queue has this life from now on.
  void open() noexcept;
  /// The last queue of this life is being destroyed.
  bool is_closing() const noexcept { return closing_.load(); }
  /// One more queue goes; the last one wakes a step that waits for an event.
  void close_one() noexcept;
  /// The same, whatever queues there are.
  void close() noexcept;
  /// What the queue's thread waits for; null: it goes on.
  void waits_for(std::shared_ptr<EventState> event) noexcept;
  /// Enters what is committed next. Returns what was before it, and is not executed; null: nothing.
  std::shared_ptr<Piece> follow(const std::shared_ptr<Piece>& piece);

 private:
  /// Wakes the step that waits for an event.
  void wake() noexcept;

  const std::string label_;
  std::mutex mutex_;
  std::atomic<bool> closing_ = false;  // set by the last queue under the mutex
  int queues_ = 0;
  std::shared_ptr<EventState> waiting_for_;
  std::weak_ptr<Piece> last_;
};

/// Nanoseconds of the steady clock; 0 where not yet.
struct PieceTimes {
  std::atomic<std::int64_t> committed = 0;           // handed over by the host
  std::atomic<std::int64_t> scheduled = 0;           // taken by the queue
  std::atomic<std::int64_t> started = 0, ended = 0;  // its steps

  static std::int64_t now() noexcept {
    return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
  }
};

/// Thread-safe.
class Piece {
 public:
  /// `is_committed`: whether the program committed the command buffer of its own that this goes
  /// onto; none: there is no such.
  Piece(std::string buffer_label, std::shared_ptr<QueueLife> queue, IsCommitted is_committed = {})
      : label_(std::move(buffer_label)),
        queue_(std::move(queue)),
        is_committed_(std::move(is_committed)) {}

  const std::string& label() const noexcept { return label_; }
  /// Whose piece it is.
  const std::shared_ptr<QueueLife>& queue() const noexcept { return queue_; }
  PieceState state() const noexcept { return state_.load(std::memory_order_acquire); }
  bool is_executed() const { return state() >= PieceState::EXECUTED; }
  /// It was committed, but lies on a command buffer that the program has yet to commit: who waits
  /// for it may wait for ever.
  bool is_held_back() const;
  /// The first failure; null while running and where all went well.
  std::shared_ptr<Failure> failure() const;

  void advance(PieceState state, std::shared_ptr<Failure> failure = nullptr) noexcept;
  /// Its failure is known before its end.
  void fail(std::shared_ptr<Failure> failure) noexcept;
  /// Throws that of a piece held back, for those who would wait to be told it.
  void rethrow_if_held_back() const;
  /// Calls the function once the piece is FINISHED or DROPPED: now, where it is.
  void when_finished(std::function<void()> function);
  /// Waits until it is that far. Throws StateError where it was not committed or is held back, and
  /// on the queue's own thread (a handler, a host function) where the wait would never end.
  /// false: `at_most` was over before (none: waits on).
  bool wait(PieceState until, std::optional<std::chrono::nanoseconds> at_most = std::nullopt) const;

  PieceTimes times;

 private:
  const std::string label_;
  const std::shared_ptr<QueueLife> queue_;
  const IsCommitted is_committed_;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::atomic<PieceState> state_ = PieceState::RECORDING;  // changes under the mutex
  std::shared_ptr<Failure> failure_;
  std::vector<std::function<void()>> when_finished_;
};

/// Marks the current thread as running callbacks of a queue.
class OnQueueThread {
 public:
  explicit OnQueueThread(QueueLife* queue) noexcept;
  ~OnQueueThread();
  OnQueueThread(const OnQueueThread&) = delete;
  OnQueueThread& operator=(const OnQueueThread&) = delete;
  /// The queue whose callback runs on this thread; null: none.
  static QueueLife* queue() noexcept;

 private:
  QueueLife* previous_;
};

/// Which pieces write and read a range of device memory. Work of one queue runs in order; this
/// orders it against the host and against other queues. Guarded by DeviceState::usage_mutex.
struct Usage {
  std::shared_ptr<Piece> writer;                // the last one; null: the host
  std::vector<std::shared_ptr<Piece>> readers;  // since then, the last of each queue

  void add_reader(const std::shared_ptr<Piece>& piece);
  void set_writer(const std::shared_ptr<Piece>& piece);
  /// Adds the committed pieces, not executed yet, that must end before the memory is read (or
  /// written).
  void collect(bool for_writing, std::vector<std::shared_ptr<Piece>>& pieces) const;
};

}  // namespace mpsnn::runtime
