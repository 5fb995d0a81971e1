// SPDX-License-Identifier: MIT
// The thread behind a Metal queue. It encodes a submission and commits it; while the device runs
// it, the next one is encoded. C++ only, since exceptions cannot be caught in Objective-C++
// everywhere.
#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "backend/metal/device.h"
#include "base/atomic.h"
#include "base/failure.h"

namespace mpsnn::backend::metal {
namespace {

/// Submissions on the device at once: one runs, one waits behind it.
constexpr std::size_t kInFlight = 2;

/// Kernels of one command buffer, and bytes of their operands. Apple advises few command buffers;
/// but the device is to have work while the host encodes more, and ends one that takes seconds.
constexpr int kKernelsAtOnce = 16;
constexpr std::size_t kBytesAtOnce = std::size_t{64} << 20;

/// So long a signal that another queue is about to encode is waited for before the device is.
constexpr std::chrono::milliseconds kSoon(1);

struct Shared {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::shared_ptr<Submission>> waiting;
  bool stop = false;
};

thread_local bool is_queue_thread = false;

bool is_skipped(const Launch& launch) {
  return std::ranges::any_of(launch.predicates, [](const std::int32_t* predicate) {
    return load_acquire(*predicate) == 0;
  });
}

class Worker {
 public:
  Worker(std::shared_ptr<Shared> shared, std::unique_ptr<Stream> stream)
      : shared_(std::move(shared)), stream_(std::move(stream)) {}

  void run() {
    is_queue_thread = true;
    while (auto work = next()) {
      const ReleasePool pool;
      encode(std::move(*work));
      while (flights_.size() >= kInFlight) land();
    }
  }

 private:
  /// A command buffer, with the events that it signals and waits for.
  struct Leg {
    std::unique_ptr<Stream::Ticket> ticket;  // null: it left nothing on the device
    std::vector<std::shared_ptr<EventTurn>> turns;
  };
  struct Flight {
    std::shared_ptr<Submission> work;
    std::deque<Leg> legs;                                // on the device
    std::vector<std::shared_ptr<EventTurn>> turns = {};  // of the leg that is being encoded
    int kernels = 0;                                     // of that leg
    std::exception_ptr failure = nullptr;
    std::string label = {};                             // of its last step
    std::optional<Stream::Times> times = std::nullopt;  // of the legs that have ended
  };

  /// What was submitted next. Where nothing is there, what is on the device is seen to its end
  /// first.
  std::optional<std::shared_ptr<Submission>> next() {
    std::unique_lock lock(shared_->mutex);
    while (shared_->waiting.empty()) {
      if (!flights_.empty()) {
        lock.unlock();
        land();
        lock.lock();
      } else if (shared_->stop) {
        return std::nullopt;
      } else {
        shared_->changed.wait(lock);
      }
    }
    std::shared_ptr<Submission> work = std::move(shared_->waiting.front());
    shared_->waiting.pop_front();
    return work;
  }

  void encode(std::shared_ptr<Submission> work) {
    work->scheduled();
    Flight flight{.work = std::move(work), .legs = {}};
    flight.failure = flight.work->refused();
    if (!flight.failure) flight.failure = run_steps(flight);
    try {
      add_leg(flight, stream_->commit(flight.label));
    } catch (...) {
      if (!flight.failure) flight.failure = name_failure(std::current_exception(), flight.label);
    }
    flights_.push_back(std::move(flight));
  }

  /// After a commit.
  void add_leg(Flight& flight, std::unique_ptr<Stream::Ticket> ticket) {
    flight.kernels = 0;
    stream_->encoded_bytes = 0;
    if (!ticket && flight.turns.empty()) return;
    flight.legs.push_back({std::move(ticket), std::exchange(flight.turns, {})});
    for (const auto& turn : flight.legs.back().turns) {
      if (!turn->is_wait()) turn->committed();
    }
  }

  /// The first failure, or null. Later steps are not encoded.
  std::exception_ptr run_steps(Flight& flight) {
    const std::size_t size = flight.work->size();
    const bool is_traced = flight.work->is_traced();
    for (std::size_t i = 0; i < size; ++i) {
      const Clock::time_point start = is_traced ? Clock::now() : Clock::time_point();
      try {
        Launch launch = flight.work->step(i);
        flight.label = launch.label;
        const bool skipped = run_step(flight, launch, i + 1 < size, is_traced);
        if (is_traced) flight.work->ran(i, start, Clock::now(), skipped);
      } catch (...) {
        if (is_traced) flight.work->ran(i, start, Clock::now(), false);
        return name_failure(std::current_exception(), flight.label);
      }
    }
    return nullptr;
  }

  /// Host functions wait for the device. Where times are asked for, every step does.
  bool run_step(Flight& flight, Launch& launch, bool goes_on, bool is_traced) {
    if (launch.event) {
      take_turn(flight, launch);
      end_step(flight, launch, goes_on, is_traced);
      return false;
    }
    if (launch.kernel == nullptr) {
      finish(flight, launch.label);
      if (is_skipped(launch)) return true;
      launch.host();
      return false;
    }
    if (is_traced) finish(flight, launch.label);
    const bool skipped = is_traced && is_skipped(launch);
    stream_->set_predicates(launch.predicates);
    launch.args.queue = stream_.get();
    stream_->settle = [&] {
      finish(flight, launch.label);
      return !is_skipped(launch);
    };
    launch.kernel->run(launch.args);
    stream_->set_predicates({});
    ++flight.kernels;
    end_step(flight, launch, goes_on, is_traced);
    return skipped;
  }

  bool is_enough(const Flight& flight) const {
    return flight.kernels >= kKernelsAtOnce || stream_->encoded_bytes >= kBytesAtOnce;
  }

  /// Hands over what is enough for a command buffer, and signals, which others may wait for.
  void end_step(Flight& flight, const Launch& launch, bool goes_on, bool is_traced) {
    if (is_traced) {
      finish(flight, launch.label);
    } else if (goes_on && (launch.event || is_enough(flight))) {
      add_leg(flight, stream_->commit_and_continue());
    }
  }

  /// A signal or a wait of the device's. The host waits first for what the device has no signal of.
  void take_turn(Flight& flight, Launch& launch) {
    EventTurn& turn = *launch.event;
    auto way = turn.way();
    if (way == EventTurn::Way::HOST) {
      add_leg(flight, stream_->commit(launch.label));  // who signals may wait for it
      turn.await(kSoon);
      way = turn.way();
    }
    for (; way == EventTurn::Way::HOST; way = turn.way()) {
      finish(flight, launch.label);
      turn.await(std::nullopt);
    }
    if (!turn.is_wait()) {
      stream_->signal_event(turn.event(), turn.value());
    } else if (way == EventTurn::Way::DEVICE) {
      // Nothing before the wait is held by it.
      if (flight.kernels > 0) add_leg(flight, stream_->commit_and_continue());
      stream_->wait_for_event(turn.event(), turn.value());
    }
    flight.turns.push_back(launch.event);
  }

  /// Until the device has done all that this queue was given. Throws what failed of it.
  void finish(Flight& flight, std::string_view label) {
    add_leg(flight, stream_->commit(label));
    while (!flights_.empty()) land();
    if (const auto failure = end_legs(flight)) std::rethrow_exception(failure);
  }

  /// Waits for a submission's command buffers; the first failure, or null. Once there is one, those
  /// who wait for its signals are told before the device is waited for further, which may wait for
  /// them.
  std::exception_ptr end_legs(Flight& flight) {
    // An earlier piece of the same buffer may have failed meanwhile.
    std::exception_ptr failure = flight.work->refused();
    if (failure) fail_turns(flight, failure);
    for (; !flight.legs.empty(); flight.legs.pop_front()) {
      try {
        Leg& leg = flight.legs.front();
        if (leg.ticket) add_times(flight, stream_->wait(*leg.ticket));
        if (failure) continue;
        for (const auto& turn : leg.turns) turn->ended();
      } catch (...) {
        if (failure) continue;
        failure = name_failure(std::current_exception(), flight.label);
        fail_turns(flight, failure);
      }
    }
    return failure;
  }

  /// Legs end in their order.
  static void add_times(Flight& flight, const std::optional<Stream::Times>& leg) {
    if (!leg) return;
    if (!flight.times) flight.times = leg;
    flight.times->end = leg->end;
  }

  static void fail_turns(const Flight& flight, const std::exception_ptr& failure) noexcept {
    for (const Leg& leg : flight.legs)
      for (const auto& turn : leg.turns) turn->failed(failure);
  }

  /// Waits for the oldest submission and tells the runtime.
  void land() {
    Flight flight = std::move(flights_.front());
    flights_.pop_front();
    const std::exception_ptr failure = end_legs(flight);
    if (!flight.failure) flight.failure = failure;
    if (flight.times) flight.work->timed(flight.times->start, flight.times->end);
    flight.work->completed(std::move(flight.failure));
  }

  std::shared_ptr<Shared> shared_;
  std::unique_ptr<Stream> stream_;
  std::deque<Flight> flights_;
};

class MetalQueue final : public Queue {
 public:
  MetalQueue(std::string label, std::unique_ptr<Stream> stream)
      : label_(std::move(label)), stream_(std::move(stream)), heaps_(stream_->heaps()) {}

  ~MetalQueue() override {
    {
      const std::lock_guard lock(shared_->mutex);
      shared_->stop = true;
    }
    shared_->changed.notify_all();
    if (!thread_.joinable()) return;
    if (is_queue_thread) {
      thread_.detach();  // its own thread, or one that the work here may wait for
    } else {
      thread_.join();
    }
  }

  void submit(std::shared_ptr<Submission> work) override {
    {
      const std::lock_guard lock(shared_->mutex);
      if (!thread_.joinable()) {
        thread_ = std::thread([worker = std::make_shared<Worker>(shared_, std::move(stream_))] {
          const ReleasePool pool;
          worker->run();
        });
      }
      shared_->waiting.push_back(std::move(work));
    }
    shared_->changed.notify_one();
  }

  void watch_heaps(std::function<void(std::ptrdiff_t)> changed) override {
    heaps_->watch(std::move(changed));
  }
  void trim() override { heaps_->trim(); }

 private:
  std::string label_;
  std::unique_ptr<Stream> stream_;  // until the thread has it
  const std::shared_ptr<Heaps> heaps_;
  std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
  std::thread thread_;
};

}  // namespace

std::unique_ptr<Queue> make_queue(std::string label, std::unique_ptr<Stream> stream) {
  return std::make_unique<MetalQueue>(std::move(label), std::move(stream));
}

}  // namespace mpsnn::backend::metal
