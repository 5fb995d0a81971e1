// SPDX-License-Identifier: MIT
// A queue whose work goes onto a command buffer that the program commits. C++ only, as queue.cpp.
#include <atomic>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "backend/metal/interop.h"
#include "base/failure.h"
#include "mpsnn/error.h"

namespace mpsnn::backend::metal {
namespace {

[[noreturn]] void refuse(const std::string& what) {
  throw UnsupportedError("a command buffer of the program's takes no " + what +
                         ": nothing of it runs before the program commits it");
}

/// Tells a submission its end, once: when the device is done with the program's command buffer, or
/// when that goes without having been committed.
class Ending {
 public:
  using Kept = std::vector<std::shared_ptr<const void>>;
  Ending(std::shared_ptr<Submission> work, std::string label, Kept kept)
      : work_(std::move(work)), label_(std::move(label)), kept_(std::move(kept)) {}
  ~Ending() {
    tell(std::make_exception_ptr(
        StateError("the program's command buffer was released, and never committed")));
  }
  Ending(const Ending&) = delete;
  Ending& operator=(const Ending&) = delete;

  /// What failed before the device came to it: tells the submission that at its end.
  void expect(std::exception_ptr failure) { failure_ = std::move(failure); }

  void tell(const std::exception_ptr& of_device) noexcept {
    const auto work = std::exchange(work_, nullptr);
    if (!work) return;
    if (!failure_) failure_ = work->refused();
    if (!failure_ && of_device) failure_ = name_failure(of_device, label_);
    kept_.clear();  // before anyone who waits goes on
    work->completed(std::exchange(failure_, nullptr));
  }

 private:
  std::shared_ptr<Submission> work_;
  std::exception_ptr failure_;
  const std::string label_;  // of its last step
  Kept kept_;
};

class QueueOnto final : public Queue {
 public:
  QueueOnto(std::unique_ptr<Stream> stream, std::shared_ptr<ProgramCommands> commands)
      : stream_(std::move(stream)), commands_(std::move(commands)) {}

  void submit(std::shared_ptr<Submission> work) override {
    commands_->begin();
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(work));
  }

  /// One thread encodes at a time. What a host function or a handler here submits follows.
  void run_submitted() override {
    if (encoding_ == std::this_thread::get_id()) return;
    const std::lock_guard lock(encoding_mutex_);
    const Turn turn(encoding_);
    while (auto work = next()) encode(std::move(work));
  }

  std::function<bool()> is_committed() const override {
    return [commands = commands_] { return commands->is_committed(); };
  }

 private:
  /// The time in which a thread encodes.
  class Turn {
   public:
    explicit Turn(std::atomic<std::thread::id>& of) : of_(of) { of_ = std::this_thread::get_id(); }
    ~Turn() { of_ = std::thread::id(); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    std::atomic<std::thread::id>& of_;
  };

  std::shared_ptr<Submission> next() {
    const std::lock_guard lock(mutex_);
    if (waiting_.empty()) return nullptr;
    auto work = std::move(waiting_.front());
    waiting_.pop_front();
    return work;
  }

  void encode(std::shared_ptr<Submission> work) {
    has_work_ = has_tried_ = false;
    label_.clear();
    work->scheduled();
    std::exception_ptr failure = work->refused();
    if (!failure) failure = run_steps(*work);
    if (failure) work->failed(failure);
    // Until the device is done with what was encoded, its memory is held.
    const auto ending = std::make_shared<Ending>(work, label_, std::exchange(stream_->kept, {}));
    if (failure) ending->expect(failure);
    if (!has_tried_ && (failure || work->is_first())) return ending->tell(nullptr);
    try {
      commands_->when_completed(
          [ending](const std::exception_ptr& of_device) { ending->tell(of_device); });
    } catch (...) {
      ending->tell(std::current_exception());
    }
  }

  /// The first failure, or null.
  std::exception_ptr run_steps(Submission& work) {
    const std::size_t size = work.size();
    for (std::size_t i = 0; i < size; ++i) {
      try {
        Launch launch = work.step(i);
        label_ = launch.label;
        run(work, launch);
      } catch (...) {
        return name_failure(std::current_exception(), label_);
      }
    }
    return nullptr;
  }

  void run(const Submission& work, Launch& launch) {
    if (!launch.predicates.empty()) refuse("predicates");
    if (launch.event && !launch.event->is_wait()) {
      // Others wait for it on the host: the program may never commit it.
      has_tried_ = true;
      stream_->signal_event(launch.event->event(), launch.event->value());
      has_work_ = true;
      return;
    }
    if (launch.kernel == nullptr) return run_on_host(work, launch);
    stream_->settle = [this, &work] {
      if (has_work_) refuse("work that reads on the host what was encoded before");
      work.wait_for_earlier();
      return true;
    };
    launch.args.queue = stream_.get();
    const ReleasePool pool;
    has_tried_ = true;
    launch.kernel->run(launch.args);
    has_work_ = true;
  }

  void run_on_host(const Submission& work, const Launch& launch) {
    if (launch.host_work == HostWork::ENCODE) {
      has_work_ = has_tried_ = true;
    } else if (launch.host_work == HostWork::FUNCTION) {
      if (has_work_) refuse("host functions or waits for events");
      work.wait_for_earlier();
    }
    launch.host();
  }

  const std::unique_ptr<Stream> stream_;
  const std::shared_ptr<ProgramCommands> commands_;
  std::mutex mutex_;
  std::deque<std::shared_ptr<Submission>> waiting_;  // guarded by mutex_
  std::mutex encoding_mutex_;
  std::atomic<std::thread::id> encoding_;  // who holds it; none: nobody
  // Of the submission that is being encoded.
  std::string label_;       // of its last step
  bool has_work_ = false;   // something was encoded
  bool has_tried_ = false;  // so may have been what failed
};

}  // namespace

std::unique_ptr<Queue> make_queue_onto(std::unique_ptr<Stream> stream,
                                       std::shared_ptr<ProgramCommands> commands) {
  return std::make_unique<QueueOnto>(std::move(stream), std::move(commands));
}

}  // namespace mpsnn::backend::metal
