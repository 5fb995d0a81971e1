// SPDX-License-Identifier: MIT
#include "backend/host/host_queue.h"

#include <pthread.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "base/atomic.h"
#include "base/failure.h"
#include "base/patience.h"

namespace mpsnn::backend::host {
namespace {

/// Linux takes 15 characters and a terminating zero.
constexpr std::size_t kThreadNameLimit = 15;

/// Shared with the thread, so that it may outlive the queue object by a moment.
struct Shared {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::shared_ptr<Submission>> waiting;
  bool stop = false;
  std::atomic<bool> has_news = false;  // something waits, or `stop`: for who has not the mutex
};

thread_local bool is_queue_thread = false;

void name_this_thread(const std::string& label) {
  const std::string name = ("mpsnn " + label).substr(0, kThreadNameLimit);
#ifdef __APPLE__
  pthread_setname_np(name.c_str());
#else
  pthread_setname_np(pthread_self(), name.c_str());
#endif
}

/// The values may have been written by the host or by an earlier step of this or another queue.
bool is_skipped(const Launch& launch) {
  return std::ranges::any_of(launch.predicates, [](const std::int32_t* predicate) {
    return load_acquire(*predicate) == 0;
  });
}

void run_launch(Launch& launch, void* context) {
  if (launch.kernel == nullptr) return launch.host();
  launch.args.queue = context;
  launch.kernel->run(launch.args);
}

/// The first failure, or null. Later steps are not run.
std::exception_ptr run_steps(Submission& work, void* context) noexcept {
  const std::size_t size = work.size();
  const bool is_traced = work.is_traced();
  std::size_t count = 1;
  for (std::size_t i = 0; i < size; i += count) {
    Launch launch;
    count = 1;
    const Clock::time_point start = is_traced ? Clock::now() : Clock::time_point();
    try {
      launch = work.step(i);
      const bool skipped = is_skipped(launch);
      if (!skipped) run_launch(launch, context);
      if (is_traced) {
        work.ran(i, start, Clock::now(), skipped);
      } else if (skipped) {
        count = work.steps_alike(i);
      }
    } catch (...) {
      if (is_traced) work.ran(i, start, Clock::now(), false);
      return name_failure(std::current_exception(), launch.label);
    }
  }
  return nullptr;
}

void run_thread(const std::shared_ptr<Shared>& shared, const std::string& label, void* context) {
  name_this_thread(label);
  is_queue_thread = true;
  std::unique_lock lock(shared->mutex);
  while (true) {
    if (!shared->has_news) {
      lock.unlock();
      is_true_soon([&] { return shared->has_news.load(); });
      lock.lock();
    }
    shared->changed.wait(lock, [&] { return shared->stop || !shared->waiting.empty(); });
    if (shared->waiting.empty()) return;  // asked to stop, and nothing is left
    std::shared_ptr<Submission> work = std::move(shared->waiting.front());
    shared->waiting.pop_front();
    shared->has_news = shared->stop || !shared->waiting.empty();
    lock.unlock();
    work->scheduled();
    std::exception_ptr failure = work->refused();
    if (!failure) failure = run_steps(*work, context);
    work->completed(std::move(failure));
    work.reset();  // what it holds is let go before the next one starts
    lock.lock();
  }
}

class HostQueue final : public Queue {
 public:
  HostQueue(std::string label, void* context) : label_(std::move(label)), context_(context) {}

  ~HostQueue() override {
    {
      const std::lock_guard lock(shared_->mutex);
      shared_->stop = true;
      shared_->has_news = true;
    }
    shared_->changed.notify_all();
    if (!thread_.joinable()) return;
    if (is_queue_thread) {
      // Its own thread, or one that the work here may wait for.
      thread_.detach();
    } else {
      thread_.join();
    }
  }

  void submit(std::shared_ptr<Submission> work) override {
    {
      const std::lock_guard lock(shared_->mutex);
      if (!thread_.joinable()) {
        thread_ = std::thread([shared = shared_, label = label_, context = context_] {
          run_thread(shared, label, context);
        });
      }
      shared_->waiting.push_back(std::move(work));
      shared_->has_news = true;
    }
    shared_->changed.notify_one();
  }

 private:
  std::string label_;
  void* context_;
  std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
  std::thread thread_;
};

}  // namespace

std::unique_ptr<Queue> make_queue(std::string label, void* context) {
  return std::make_unique<HostQueue>(std::move(label), context);
}

}  // namespace mpsnn::backend::host
