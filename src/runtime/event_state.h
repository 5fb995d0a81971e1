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

#include "mpsnn/buffer.h"
#include "runtime/piece.h"

namespace mpsnn::runtime {

/// A time to wait at most. Throws InvalidArgumentError for less than 0 and NaN.
std::optional<std::chrono::nanoseconds> wait_time(const std::string& subject,
                                                  std::optional<double> seconds);

/// Thread-safe.
class EventState : public std::enable_shared_from_this<EventState> {
 public:
  EventState(std::shared_ptr<DeviceState> device, std::string label)
      : device_(std::move(device)), label_(std::move(label)) {}

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
  };
  /// On a queue's thread. Throws StateError where the queue is being destroyed and no committed
  /// work of another one would signal the value; for a function also where only the queue itself
  /// would.
  bool wait_on_queue(std::uint64_t value, QueueLife& life, const QueueWait& how);

  /// Lets those who wait look again.
  void wake() noexcept;

 private:
  bool is_expected(std::uint64_t value, const void* but_of) const noexcept;
  /// The failure of who should have signalled the value, where no other queue will.
  std::shared_ptr<Failure> failure_for(std::uint64_t value, const void* but_of) const;

  const std::shared_ptr<DeviceState> device_;
  const std::string label_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t value_ = 0;
  std::multimap<std::uint64_t, const void*> expected_;  // the queues that will signal
  std::uint64_t failed_value_ = 0;                      // the greatest that will not come
  std::shared_ptr<Failure> failure_;
};

}  // namespace mpsnn::runtime
