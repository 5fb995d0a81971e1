// SPDX-License-Identifier: MIT
// Events whose device signals and waits for them itself, as its queues see them.
#include <algorithm>
#include <new>
#include <utility>

#include "runtime/event_state.h"

namespace mpsnn::runtime {
namespace {

class Turn final : public backend::EventTurn {
 public:
  Turn(std::shared_ptr<EventState> event, bool is_wait, std::uint64_t value,
       std::shared_ptr<QueueLife> queue)
      : event_(std::move(event)),
        queue_(std::move(queue)),
        is_wait_(is_wait),
        wait_{.value = value, .queue = queue_.get()} {}
  ~Turn() override { event_->forget(wait_); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

  bool is_wait() const noexcept override { return is_wait_; }
  backend::Event& event() const noexcept override { return *event_->on_device(); }
  std::uint64_t value() const noexcept override { return wait_.value; }
  Way way() override { return is_wait_ ? event_->begin(wait_) : Way::DEVICE; }
  void await(std::optional<std::chrono::nanoseconds> at_most) override {
    event_->wait_on_queue(value(), *queue_, {.at_most = at_most, .until_coming = true});
  }
  void committed() noexcept override { event_->add_coming(value(), queue_.get()); }
  void ended() override {
    if (is_wait_) {
      event_->end(wait_);
    } else {
      event_->signal(value());
    }
  }
  void failed(std::exception_ptr failure) noexcept override {
    if (!is_wait_)
      event_->doom(value(), queue_.get(), std::make_shared<Failure>(std::move(failure)));
  }

 private:
  const std::shared_ptr<EventState> event_;
  const std::shared_ptr<QueueLife> queue_;
  const bool is_wait_;
  DeviceWait wait_;
};

}  // namespace

std::shared_ptr<backend::EventTurn> EventState::turn(bool is_wait, std::uint64_t value,
                                                     std::shared_ptr<QueueLife> queue,
                                                     const DeviceState& device) {
  if (!on_device_ || &device != device_.get()) return nullptr;
  return std::make_shared<Turn>(shared_from_this(), is_wait, value, std::move(queue));
}

backend::EventTurn::Way EventState::begin(DeviceWait& wait) {
  using Way = backend::EventTurn::Way;
  const std::lock_guard lock(mutex_);
  if (value_ >= wait.value) return Way::DONE;
  if (!is_coming(wait.value)) return Way::HOST;
  wait.is_own = std::any_of(coming_.lower_bound(wait.value), coming_.end(),
                            [&](const auto& one) { return one.second.queue == wait.queue; });
  if (wait.is_own) return Way::DONE;
  wait.order = ++order_;
  device_waits_.push_back(&wait);
  return Way::DEVICE;
}

void EventState::end(const DeviceWait& wait) {
  std::unique_lock lock(mutex_);
  // The queue's own signal ended before, or failed. Others' threads will soon say so of theirs.
  if (!wait.is_own) changed_.wait(lock, [&] { return wait.failure || value_ >= wait.value; });
  const auto failure = !wait.is_own || value_ >= wait.value ? wait.failure : failure_;
  lock.unlock();
  if (failure) std::rethrow_exception(failure->error);
}

void EventState::forget(const DeviceWait& wait) noexcept {
  const std::lock_guard lock(mutex_);
  std::erase(device_waits_, &wait);
}

void EventState::add_coming(std::uint64_t value, const void* queue) noexcept {
  try {
    const std::lock_guard lock(mutex_);
    coming_.emplace(value, Signal{queue, ++order_});
  } catch (const std::bad_alloc&) {
    return;  // others wait on the host until the signal is there
  }
  changed_.notify_all();
}

void EventState::doom(std::uint64_t value, const void* queue,
                      std::shared_ptr<Failure> failure) noexcept {
  std::uint64_t risen = 0;
  {
    const std::lock_guard lock(mutex_);
    const auto [first, last] = expected_.equal_range(value);
    const auto found =
        std::find_if(first, last, [&](const auto& e) { return e.second.queue == queue; });
    if (found == last) return;
    doomed_.insert(expected_.extract(found));
    erase_one(coming_, value, queue);
    keep_failure(value, std::move(failure));
    risen = find_stranded();
  }
  changed_.notify_all();
  on_device_->signal(risen);
}

std::uint64_t EventState::find_stranded() noexcept {
  // Signals that the device was given later, or not yet, may come of work behind the wait itself.
  const auto is_stranded = [&](const DeviceWait& wait) {
    return !wait.failure && value_ < wait.value &&
           std::none_of(
               coming_.lower_bound(wait.value), coming_.end(),
               [&](const auto& one) { return one.second.order < wait.order; });
  };
  std::uint64_t risen = 0;
  for (DeviceWait* wait : device_waits_) {
    if (!is_stranded(*wait)) continue;
    wait->failure = failure_;
    risen = std::max(risen, wait->value);
  }
  // The device lets those pass as well that wait for less, whoever would have signalled that.
  for (DeviceWait* wait : device_waits_) {
    if (!wait->failure && value_ < wait->value && wait->value <= risen) wait->failure = failure_;
  }
  risen_ = std::max(risen_, risen);
  return risen;
}

}  // namespace mpsnn::runtime
