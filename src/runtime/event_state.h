// SPDX-License-Identifier: MIT
// Events: what queues and the host wait for.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "mpsnn/buffer.h"
#include "runtime/piece.h"

namespace mpsnn::runtime {

/// A time to wait at most. Throws InvalidArgumentError for less than 0 and NaN.
std::optional<std::chrono::nanoseconds> wait_time(const std::string& subject,
                                                  std::optional<double> seconds);

/// A wait of a queue of the event's device that was left to the device.
struct DeviceWait {
  std::uint64_t value = 0;
  const void* queue = nullptr;
  std::uint64_t order = 0;  // greater than those of the signals that it may rely on
  bool is_own = false;      // the queue signals it itself, earlier: nothing was encoded
  std::shared_ptr<Failure> failure = nullptr;  // of who should have signalled it
};

/// Thread-safe. Where the device has events of its own, its queues signal and wait for `on_device`;
/// `value` follows once their work has ended well. A device waits only for signals that it was
/// given before, so that its waits end; all others are waited for here.
class EventState : public std::enable_shared_from_this<EventState> {
 public:
  EventState(std::shared_ptr<DeviceState> device, std::string label);

  const std::shared_ptr<DeviceState>& device() const noexcept { return device_; }
  const std::string& label() const noexcept { return label_; }
  std::string title() const { return "SharedEvent \"" + label_ + "\""; }
  std::uint64_t value() const;
  void signal(std::uint64_t value);

  /// A signal that committed work of a queue will give; ended by `settle`.
  void expect(std::uint64_t value, const void* queue);
  /// The work ended: it signalled (no failure), or never will.
  void settle(std::uint64_t value, const void* queue, std::shared_ptr<Failure> failure) noexcept;

  /// On the host, also in a host function or handler. false: the time was over. Throws the failure
  /// of who should have signalled the value.
  bool wait(std::uint64_t value, std::optional<std::chrono::nanoseconds> at_most);
  struct QueueWait {
    bool by_function = false;  // a host function or handler of the queue asks
    std::optional<std::chrono::nanoseconds> at_most = std::nullopt;
    bool until_coming = false;  // ends as well once the device was given a signal
  };
  /// On a queue's thread. Throws StateError where the queue is being destroyed and no committed
  /// work of another one would signal the value; for a function also where only the queue itself
  /// would.
  bool wait_on_queue(std::uint64_t value, QueueLife& life, const QueueWait& how);

  /// Lets those who wait look again.
  void wake() noexcept;

  // For queues of the event's device: see backend::EventTurn.

  /// A turn of a queue of `device`; null: the event is none of that device's own.
  std::shared_ptr<backend::EventTurn> turn(bool is_wait, std::uint64_t value,
                                           std::shared_ptr<QueueLife> queue,
                                           const DeviceState& device);
  const std::shared_ptr<backend::Event>& on_device() const noexcept { return on_device_; }
  /// Keeps the address until `forget`.
  backend::EventTurn::Way begin(DeviceWait& wait);
  void end(const DeviceWait& wait);
  void forget(const DeviceWait& wait) noexcept;
  void add_coming(std::uint64_t value, const void* queue) noexcept;
  /// As `settle` with that failure, ahead of it.
  void doom(std::uint64_t value, const void* queue, std::shared_ptr<Failure> failure) noexcept;

 private:
  struct Signal {
    const void* queue;        // who gives it
    std::uint64_t order = 0;  // of the device's: greater than those of waits begun before
  };
  using Signals = std::multimap<std::uint64_t, Signal>;  // by value
  static bool erase_one(Signals& of, std::uint64_t value, const void* queue) noexcept;
  bool is_coming(std::uint64_t value) const noexcept {
    return value > risen_ && coming_.lower_bound(value) != coming_.end();
  }
  void keep_failure(std::uint64_t value, std::shared_ptr<Failure> failure) noexcept;
  /// Finds the device's waits for which it has no signal any more, after a failure; returns up to
  /// where its event must rise for them, or 0.
  std::uint64_t find_stranded() noexcept;
  bool is_expected(std::uint64_t value, const void* but_of) const noexcept;
  /// The failure of who should have signalled the value, where no other queue will.
  std::shared_ptr<Failure> failure_for(std::uint64_t value, const void* but_of) const;

  const std::shared_ptr<DeviceState> device_;
  const std::string label_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t value_ = 0;
  Signals expected_;                // by committed work
  std::uint64_t failed_value_ = 0;  // the greatest that will not come
  std::shared_ptr<Failure> failure_;

  const std::shared_ptr<backend::Event> on_device_;  // null: the host keeps the event
  Signals coming_;                                   // of those expected: the device has them
  Signals doomed_;                                   // that `settle` has nothing to do for
  std::vector<DeviceWait*> device_waits_;            // in flight
  std::uint64_t order_ = 0;                          // the last one of a device's signal or wait
  std::uint64_t risen_ = 0;  // so far the device's event may have risen for work that failed
};

}  // namespace mpsnn::runtime
