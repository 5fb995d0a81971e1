// SPDX-License-Identifier: MIT
// Events between queues and the host: order, failures, and that nothing hangs.
#include <chrono>
#include <optional>
#include <thread>

#include "mpsnn/error.h"
#include "runtime_fixtures.h"
#include "testing.h"

using namespace fixtures;
using std::chrono::milliseconds;

namespace {

void append(CommandBuffer& commands, std::string& text, char what) {
  commands.encode_host_function(std::string(1, what), [&text, what] { text += what; });
}

}  // namespace

TEST_CASE("events: order work of two queues, there and back") {
  const Rig rig;
  const CommandQueue one(rig.device, "one"), two(rig.device, "two");
  const SharedEvent event(rig.device, "turns");
  std::string text;
  CommandBuffer first(one), second(two);
  for (std::uint64_t i = 0; i < 50; ++i) {
    first.encode_wait_for_event(event, 2 * i);
    append(first, text, 'a');
    first.encode_signal_event(event, 2 * i + 1);
    second.encode_wait_for_event(event, 2 * i + 1);
    append(second, text, 'b');
    second.encode_signal_event(event, 2 * i + 2);
  }
  second.commit();  // in either order
  first.commit();
  second.wait_until_completed();
  first.wait_until_completed();
  CHECK_EQ(event.signaled_value(), 100U);
  std::string expected;
  for (int i = 0; i < 50; ++i) expected += "ab";
  CHECK_EQ(text, expected);
}

TEST_CASE("events: the host signals and waits; values only grow") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  const SharedEvent event(rig.device);
  CHECK(!event.wait(1, 0.001));
  CHECK(event.wait(0, 0.0));
  CHECK_THROWS_CONTAINS(event.wait(1, -1.0), InvalidArgumentError, "seconds");
  std::string text;
  CommandBuffer commands(queue);
  commands.encode_wait_for_event(event, 5);
  append(commands, text, 'x');
  commands.encode_signal_event(event, 6);
  commands.commit();
  event.signal(3);
  std::this_thread::sleep_for(milliseconds(2));
  CHECK(commands.status() != CommandBufferStatus::COMPLETED);
  event.signal(5);
  CHECK(event.wait(6));
  event.signal(2);
  CHECK_EQ(event.signaled_value(), 6U);
  commands.wait_until_completed();
  CHECK_EQ(text, "x");
}

TEST_CASE("events: a predicate does not skip them") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  const SharedEvent event(rig.device);
  const Predicate off(rig.device);
  off.set_value(0);
  CommandBuffer commands(queue);
  commands.set_predicate(off);
  commands.encode_signal_event(event, 1);
  commands.commit();
  CHECK(event.wait(1, 10.0));
}

TEST_CASE("events: a signal that fails or is dropped is an error for those who wait") {
  const Rig rig;
  const CommandQueue one(rig.device), two(rig.device);
  const SharedEvent event(rig.device, "never");
  CommandBuffer waiting(two, "waiting");
  waiting.encode_wait_for_event(event, 1);
  waiting.commit();
  {
    CommandBuffer failing(one);
    failing.encode_host_function("bad", [] { throw DeviceError("broken"); });
    failing.encode_signal_event(event, 1);
    failing.commit();
  }
  CHECK_THROWS_CONTAINS(waiting.wait_until_completed(), DeviceError, "broken");
  CHECK_THROWS_CONTAINS(event.wait(1), DeviceError, "broken");
  event.signal(1);  // someone else may still give it
  CHECK(event.wait(1));

  std::optional<CommandBuffer> dropped(CommandBuffer(one, "dropped"));
  dropped->encode_signal_event(event, 9);
  dropped.reset();
  CHECK_THROWS_CONTAINS(event.wait(9), StateError, "\"dropped\"");
}

TEST_CASE("events: a queue that is destroyed does not wait for what no one will signal") {
  const Rig rig;
  const SharedEvent event(rig.device, "never");
  std::optional<CommandQueue> queue(CommandQueue(rig.device));
  std::optional<CommandBuffer> commands(CommandBuffer(*queue, "step"));
  commands->encode_wait_for_event(event, 1);
  commands->encode_signal_event(event, 1);  // its own, behind the wait
  commands->commit();
  const auto done = std::make_shared<std::future<void>>(commands->completed());
  commands.reset();
  queue.reset();
  CHECK_THROWS_CONTAINS(done->get(), StateError, "SharedEvent \"never\": expected value 1, got 0");
}

TEST_CASE("events: a queue that is destroyed waits for signals that are on their way") {
  const Rig rig;
  Gate gate;
  const SharedEvent event(rig.device);
  const CommandQueue other(rig.device);
  std::string text;
  CommandBuffer signal(other);
  signal.encode_host_function("gate", [&] { gate.pass(); });
  signal.encode_signal_event(event, 1);
  signal.commit();
  std::thread opens([&] {
    std::this_thread::sleep_for(milliseconds(5));
    gate.open();
  });
  {
    const CommandQueue queue(rig.device);
    CommandBuffer commands(queue);
    commands.encode_wait_for_event(event, 1);
    append(commands, text, 'x');
    commands.commit();
  }
  opens.join();
  CHECK_EQ(text, "x");
}

TEST_CASE("events: the end of a program does not wait for what no one will signal") {
  const Rig rig;
  const SharedEvent event(rig.device);
  const CommandQueue queue(rig.device);
  CommandBuffer commands(queue);
  commands.encode_wait_for_event(event, 1);
  commands.commit();
  CHECK_THROWS_CONTAINS(rig.device.shut_down(), StateError, "was destroyed");
}
