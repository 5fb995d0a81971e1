// SPDX-License-Identifier: MIT
// Events that the device of a queue signals and waits for itself: which waits it is given, and what
// becomes of them where a signal fails. The device's side is played by hand.
#include <atomic>
#include <chrono>
#include <future>
#include <optional>

#include "mpsnn/error.h"
#include "runtime/event_state.h"
#include "runtime_fixtures.h"
#include "testing.h"

using namespace fixtures;
using runtime::EventState;
using std::chrono::milliseconds;
using Way = backend::EventTurn::Way;

namespace {

/// What the host told the device's event.
class PlayedEvent final : public backend::Event {
 public:
  void signal(std::uint64_t value) noexcept override {
    if (value > told) told = value;
  }
  std::atomic<std::uint64_t> told = 0;
};

class DeviceWithEvents final : public backend::Device {
 public:
  const backend::DeviceInfo& info() const noexcept override { return null_.info(); }
  std::unique_ptr<backend::Memory> allocate(std::size_t bytes) override {
    return null_.allocate(bytes);
  }
  void write(backend::Memory& to, std::size_t offset, const void* from,
             std::size_t bytes) override {
    null_.write(to, offset, from, bytes);
  }
  void read(const backend::Memory& from, std::size_t offset, void* to, std::size_t bytes) override {
    null_.read(from, offset, to, bytes);
  }
  std::unique_ptr<backend::Queue> make_queue(const std::string& label) override {
    return null_.make_queue(label);
  }
  std::shared_ptr<backend::Event> make_event(const std::string& /*label*/) override {
    return std::make_shared<PlayedEvent>();
  }
  std::span<const backend::KernelRow> kernels() const noexcept override { return null_.kernels(); }

 private:
  NullDevice null_;
};

std::exception_ptr broken(const std::string& what) {
  return std::make_exception_ptr(DeviceError(what));
}

/// An event and three queues of its device, seen from the queues' threads.
struct Stage {
  std::shared_ptr<runtime::DeviceState> device =
      std::make_shared<runtime::DeviceState>(std::make_shared<DeviceWithEvents>());
  std::shared_ptr<EventState> event = std::make_shared<EventState>(device, "stage");
  std::vector<std::shared_ptr<runtime::QueueLife>> queues = {
      std::make_shared<runtime::QueueLife>("0"), std::make_shared<runtime::QueueLife>("1"),
      std::make_shared<runtime::QueueLife>("2")};

  std::uint64_t told() const { return static_cast<PlayedEvent&>(*event->on_device()).told; }
  std::shared_ptr<backend::EventTurn> wait(std::size_t queue, std::uint64_t value) const {
    return event->turn(true, value, queues[queue], *device);
  }
  /// A signal of committed work that the device was given.
  std::shared_ptr<backend::EventTurn> signal(std::size_t queue, std::uint64_t value) const {
    event->expect(value, queues[queue].get());
    auto turn = event->turn(false, value, queues[queue], *device);
    CHECK(turn->way() == Way::DEVICE);
    turn->committed();
    return turn;
  }
};

}  // namespace

TEST_CASE("device events: another device's queue has no turn") {
  const Stage stage, other;
  CHECK(stage.event->turn(true, 1, stage.queues[0], *other.device) == nullptr);
  const Rig rig;
  const EventState host(rig.device.state(), "host");
  CHECK(host.on_device() == nullptr);
}

TEST_CASE("device events: a wait is the host's until the device has a signal for it") {
  const Stage stage;
  const auto wait = stage.wait(1, 3);
  CHECK(wait->way() == Way::HOST);
  wait->await(milliseconds(1));
  CHECK(wait->way() == Way::HOST);
  auto awaited = std::async(std::launch::async, [&] { wait->await(std::nullopt); });
  const auto low = stage.signal(0, 2);
  CHECK(wait->way() == Way::HOST);
  const auto signal = stage.signal(0, 4);
  awaited.get();
  CHECK(wait->way() == Way::DEVICE);
  CHECK_EQ(stage.event->value(), 0U);
  signal->ended();
  CHECK_EQ(stage.event->value(), 4U);
  wait->ended();
  CHECK(stage.wait(2, 4)->way() == Way::DONE);
}

TEST_CASE("device events: the host's signals reach the device") {
  const Stage stage;
  stage.event->signal(5);
  CHECK_EQ(stage.told(), 5U);
  CHECK(stage.wait(0, 5)->way() == Way::DONE);
}

TEST_CASE("device events: a queue needs no wait for its own earlier signal") {
  const Stage stage;
  const auto signal = stage.signal(0, 1);
  const auto wait = stage.wait(0, 1);
  CHECK(wait->way() == Way::DONE);
  stage.event->expect(1, stage.queues[1].get());  // fails: that is nothing to this queue
  stage.event->settle(1, stage.queues[1].get(),
                      std::make_shared<runtime::Failure>(broken("other")));
  signal->ended();
  wait->ended();
  const auto failing = stage.signal(0, 2);
  const auto later = stage.wait(0, 2);
  CHECK(later->way() == Way::DONE);
  failing->failed(broken("mine"));
  CHECK_THROWS_CONTAINS(later->ended(), DeviceError, "mine");
}

TEST_CASE("device events: a signal that fails lets its waits pass, with its error") {
  const Stage stage;
  const auto signal = stage.signal(0, 3);
  const auto wait = stage.wait(1, 3), further = stage.wait(2, 4);
  CHECK(wait->way() == Way::DEVICE);
  CHECK(further->way() == Way::HOST);
  signal->failed(broken("hung"));
  CHECK_EQ(stage.told(), 3U);  // the device goes on
  CHECK_THROWS_CONTAINS(wait->ended(), DeviceError, "hung");
  CHECK_EQ(stage.event->value(), 0U);
  stage.event->settle(3, stage.queues[0].get(), std::make_shared<runtime::Failure>(broken("hung")));
  CHECK_THROWS_CONTAINS(stage.event->wait(3, std::nullopt), DeviceError, "hung");

  // From now on the device knows nothing of values up to 3.
  const auto again = stage.signal(0, 2);
  const auto low = stage.wait(1, 2);
  CHECK(low->way() == Way::HOST);
  again->ended();
  CHECK(low->way() == Way::DONE);
  const auto next = stage.signal(0, 5);
  CHECK(stage.wait(1, 3)->way() == Way::HOST);
  CHECK(stage.wait(1, 4)->way() == Way::DEVICE);
  next->ended();
}

TEST_CASE("device events: another queue's signal keeps a wait from failing") {
  const Stage stage;
  const auto failing = stage.signal(0, 3), good = stage.signal(2, 4);
  const auto wait = stage.wait(1, 3);
  CHECK(wait->way() == Way::DEVICE);
  failing->failed(broken("hung"));
  CHECK_EQ(stage.told(), 0U);
  good->ended();
  wait->ended();
  CHECK_EQ(stage.event->value(), 4U);
}

TEST_CASE("device events: a wait does not stay for signals that came after it") {
  const Stage stage;
  const auto failing = stage.signal(0, 3);
  const auto wait = stage.wait(1, 3);
  CHECK(wait->way() == Way::DEVICE);
  stage.event->expect(4, stage.queues[0].get());                    // maybe behind what waits
  const auto own = stage.signal(1, 5), later = stage.signal(0, 6);  // behind the wait
  failing->failed(broken("hung"));
  CHECK_EQ(stage.told(), 3U);
  CHECK_THROWS_CONTAINS(wait->ended(), DeviceError, "hung");
}

TEST_CASE("device events: waits for less pass, and fail, with those that are let pass") {
  const Stage stage;
  const auto low = stage.signal(2, 1);
  const auto low_wait = stage.wait(1, 1);
  CHECK(low_wait->way() == Way::DEVICE);
  const auto high = stage.signal(0, 5);
  const auto high_wait = stage.wait(1, 5);
  CHECK(high_wait->way() == Way::DEVICE);
  high->failed(broken("hung"));
  CHECK_EQ(stage.told(), 5U);
  CHECK_THROWS_CONTAINS(low_wait->ended(), DeviceError, "hung");
  CHECK_THROWS_CONTAINS(high_wait->ended(), DeviceError, "hung");
  low->ended();
  CHECK_EQ(stage.event->value(), 1U);
}

TEST_CASE("device events: equal values of one queue are told apart when one fails") {
  const Stage stage;
  const auto first = stage.signal(0, 1), second = stage.signal(0, 1);
  first->failed(broken("first"));
  stage.event->settle(1, stage.queues[0].get(),
                      std::make_shared<runtime::Failure>(broken("first")));
  const auto wait = stage.wait(1, 1);
  CHECK(wait->way() == Way::HOST);  // the device may have risen to 1
  second->ended();
  CHECK(wait->way() == Way::DONE);
}
