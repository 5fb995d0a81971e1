// SPDX-License-Identifier: MIT
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "runtime/device_state.h"
#include "runtime/event_state.h"

namespace mpsnn {
namespace runtime {

void QueueLife::open() noexcept {
  ++queues_;
  closing_ = false;
}

void QueueLife::close_one() noexcept {
  if (--queues_ == 0) close();
}

void QueueLife::close() noexcept {
  closing_ = true;
  std::shared_ptr<EventState> event;
  {
    const std::lock_guard lock(mutex_);
    event = waiting_for_;
  }
  if (event) event->wake();
}

void QueueLife::waits_for(std::shared_ptr<EventState> event) noexcept {
  const std::lock_guard lock(mutex_);
  waiting_for_ = std::move(event);
}

std::optional<std::chrono::nanoseconds> wait_time(const std::string& subject,
                                                  std::optional<double> seconds) {
  if (!seconds) return std::nullopt;
  if (!(*seconds >= 0)) throw_expected(subject + ": seconds", "none, or at least 0", str(*seconds));
  constexpr double kMost = 1e9;  // 30 years: as good as without end, and no overflow
  return std::chrono::nanoseconds(static_cast<std::int64_t>(std::min(*seconds, kMost) * 1e9));
}

EventState::EventState(std::shared_ptr<DeviceState> device, std::string label)
    : device_(std::move(device)),
      label_(std::move(label)),
      on_device_(device_->backend->make_event(label_)) {}

std::uint64_t EventState::value() const {
  const std::lock_guard lock(mutex_);
  return value_;
}

bool EventState::erase_one(Signals& of, std::uint64_t value, const void* queue) noexcept {
  const auto [first, last] = of.equal_range(value);
  const auto found =
      std::find_if(first, last, [&](const auto& e) { return e.second.queue == queue; });
  if (found == last) return false;
  of.erase(found);
  return true;
}

void EventState::keep_failure(std::uint64_t value, std::shared_ptr<Failure> failure) noexcept {
  if (value_ < value) risen_ = std::max(risen_, value);
  if (value < failed_value_) return;
  failed_value_ = value;
  failure_ = std::move(failure);
}

void EventState::wake() noexcept {
  {
    const std::lock_guard lock(mutex_);
  }  // whoever looked before is waiting by now
  changed_.notify_all();
}

void EventState::signal(std::uint64_t value) {
  {
    const std::lock_guard lock(mutex_);
    value_ = std::max(value_, value);
  }
  changed_.notify_all();
  if (on_device_) on_device_->signal(value);
}

void EventState::expect(std::uint64_t value, const void* queue) {
  const std::lock_guard lock(mutex_);
  expected_.emplace(value, Signal{queue});
}

void EventState::settle(std::uint64_t value, const void* queue,
                        std::shared_ptr<Failure> failure) noexcept {
  std::uint64_t risen = 0;
  {
    const std::lock_guard lock(mutex_);
    if (!erase_one(doomed_, value, queue)) {
      erase_one(expected_, value, queue);
      erase_one(coming_, value, queue);
      if (!failure) value_ = std::max(value_, value);
    }
    if (failure) keep_failure(value, std::move(failure));
    // Also where a signal of the host's has set the device's event back meanwhile.
    risen = std::max(find_stranded(), value_);
  }
  changed_.notify_all();
  if (on_device_) on_device_->signal(risen);
}

bool EventState::is_expected(std::uint64_t value, const void* but_of) const noexcept {
  return std::any_of(expected_.lower_bound(value), expected_.end(),
                     [&](const auto& one) { return one.second.queue != but_of; });
}

std::shared_ptr<Failure> EventState::failure_for(std::uint64_t value, const void* but_of) const {
  const bool failed = value_ < value && failure_ && value <= failed_value_;
  return failed && !is_expected(value, but_of) ? failure_ : nullptr;
}

bool EventState::wait(std::uint64_t value, std::optional<std::chrono::nanoseconds> at_most) {
  if (QueueLife* const queue = OnQueueThread::queue())
    return wait_on_queue(value, *queue, {.by_function = true, .at_most = at_most});
  std::unique_lock lock(mutex_);
  const auto ends = [&] { return value_ >= value || failure_for(value, nullptr); };
  if (at_most) {
    changed_.wait_for(lock, *at_most, ends);
  } else {
    changed_.wait(lock, ends);
  }
  const bool reached = value_ >= value;
  const auto failure = failure_for(value, nullptr);
  lock.unlock();
  if (failure) failure->rethrow();
  return reached;
}

bool EventState::wait_on_queue(std::uint64_t value, QueueLife& life, const QueueWait& how) {
  life.waits_for(shared_from_this());
  std::unique_lock lock(mutex_);
  const auto waits_for_itself = [&] {
    return how.by_function && is_expected(value, nullptr) && !is_expected(value, &life);
  };
  const auto is_hopeless = [&] { return life.is_closing() && !is_expected(value, &life); };
  const auto is_on_device = [&] { return how.until_coming && is_coming(value); };
  const auto ends = [&] {
    return value_ >= value || is_on_device() || failure_for(value, &life) || waits_for_itself() ||
           is_hopeless();
  };
  if (how.at_most) {
    changed_.wait_for(lock, *how.at_most, ends);
  } else {
    changed_.wait(lock, ends);
  }
  const std::uint64_t reached = value_;
  const bool coming = is_on_device();
  const auto failure = failure_for(value, &life);
  const bool itself = waits_for_itself(), hopeless = is_hopeless();
  lock.unlock();
  life.waits_for(nullptr);
  if (reached >= value || coming) return true;
  if (failure) std::rethrow_exception(failure->error);
  const std::string problem = str(title(), ": expected value ", value, ", got ", reached, ": ");
  if (itself)
    throw StateError(problem + "a handler or host function waited for later work of its own queue");
  if (!hopeless) return false;
  throw StateError(problem +
                   "the queue that waited for it was destroyed, and no work in flight would have "
                   "signalled it");
}

}  // namespace runtime

SharedEvent::SharedEvent(const Device& device, const std::string& label)
    : state_(std::make_shared<runtime::EventState>(device.state(), label)) {}

Device SharedEvent::device() const { return Device(state_->device()); }
const std::string& SharedEvent::label() const { return state_->label(); }
std::uint64_t SharedEvent::signaled_value() const { return state_->value(); }
void SharedEvent::signal(std::uint64_t value) const { state_->signal(value); }

bool SharedEvent::wait(std::uint64_t value, std::optional<double> seconds) const {
  return state_->wait(value, runtime::wait_time(state_->title(), seconds));
}

}  // namespace mpsnn
