// SPDX-License-Identifier: MIT
// Command buffers on the null device: order, completion, handlers, failures, lifetimes.
#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>

#include "mpsnn/error.h"
#include "runtime_fixtures.h"
#include "testing.h"

using namespace fixtures;

namespace {

/// Records a host function that appends to a list when its turn comes.
struct Journal {
  std::mutex mutex;
  std::vector<std::string> lines;
  void add(std::string line) {
    const std::lock_guard lock(mutex);
    lines.push_back(std::move(line));
  }
  void record(CommandBuffer& commands, const std::string& line) {
    commands.encode_host_function(line, [this, line] { add(line); });
  }
};

using Lines = std::vector<std::string>;

/// A null device that was lost: its queues take no work.
class LostDevice final : public backend::Device {
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
  std::unique_ptr<backend::Queue> make_queue(const std::string&) override {
    struct LostQueue final : backend::Queue {
      void submit(std::shared_ptr<backend::Submission>) override {
        throw DeviceLostError("unplugged");
      }
    };
    return std::make_unique<LostQueue>();
  }
  std::span<const backend::KernelRow> kernels() const noexcept override { return null_.kernels(); }

 private:
  NullDevice null_;
};

}  // namespace

TEST_CASE("commands: nothing runs before commit, then all in order") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  Journal journal;
  CommandBuffer commands(queue);
  for (const char* line : {"a", "b", "c"}) journal.record(commands, line);
  CHECK_EQ(commands.status(), CommandBufferStatus::NOT_ENQUEUED);
  CHECK(journal.lines.empty());
  commands.commit();
  commands.wait_until_completed();
  CHECK_EQ(commands.status(), CommandBufferStatus::COMPLETED);
  CHECK_EQ(journal.lines, (Lines{"a", "b", "c"}));
  CHECK(commands.error() == nullptr);
}

TEST_CASE("commands: buffers run in the order of commit, not of recording") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  Journal journal;
  CommandBuffer first(queue), second(queue);
  journal.record(first, "first");
  journal.record(second, "second");
  second.commit();
  first.commit();
  queue.wait_until_idle();
  CHECK_EQ(journal.lines, (Lines{"second", "first"}));
}

TEST_CASE("commands: pieces of two buffers interleave as they are committed") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  Journal journal;
  CommandBuffer a(queue, "a"), b(queue, "b");
  for (const char* piece : {"0", "1", "2"}) {
    journal.record(a, std::string("a") + piece);
    journal.record(b, std::string("b") + piece);
    a.commit_and_continue();
    b.commit_and_continue();
  }
  a.wait_until_completed();
  b.wait_until_completed();
  CHECK_EQ(journal.lines, (Lines{"a0", "b0", "a1", "b1", "a2", "b2"}));
  journal.record(a, "a3");
  a.commit();
  a.wait_until_completed();
  CHECK_EQ(journal.lines.back(), "a3");
}

TEST_CASE("commands: waiting waits for earlier pieces and not for what is only recorded") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  Journal journal;
  CommandBuffer commands(queue);
  journal.record(commands, "committed");
  commands.commit_and_continue();
  journal.record(commands, "recorded");
  commands.wait_until_completed();
  CHECK_EQ(journal.lines, (Lines{"committed"}));
}

TEST_CASE("commands: wrong calls are StateErrors and InvalidArgumentErrors") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  CommandBuffer commands(queue, "step");
  CHECK_THROWS_CONTAINS(commands.wait_until_completed(), StateError, "\"step\"");
  CHECK_THROWS_AS(commands.wait_until_scheduled(), StateError);
  CHECK_THROWS_AS(commands.add_completed_handler(nullptr), InvalidArgumentError);
  CHECK_THROWS_AS(commands.add_scheduled_handler(nullptr), InvalidArgumentError);
  CHECK_THROWS_AS(commands.encode_host_function("x", nullptr), InvalidArgumentError);
  commands.commit();
  CHECK_THROWS_CONTAINS(commands.commit(), StateError, "\"step\"");
  CHECK_THROWS_AS(commands.commit_and_continue(), StateError);
  CHECK_THROWS_AS(commands.encode_host_function("x", [] {}), StateError);
  CHECK_THROWS_AS(commands.add_completed_handler([](CommandBuffer&) {}), StateError);
  commands.wait_until_completed();
}

TEST_CASE("commands: an empty buffer can be committed and waited for") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  CommandBuffer commands(queue);
  commands.commit();
  commands.wait_until_scheduled();
  commands.wait_until_completed();
  CHECK_EQ(commands.status(), CommandBufferStatus::COMPLETED);
}

TEST_CASE("handlers: stay with their piece, are called once, scheduled before completed") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  Journal journal;
  CommandBuffer commands(queue);
  for (const std::string piece : {"0", "1"}) {
    commands.add_scheduled_handler(
        [&journal, piece](CommandBuffer&) { journal.add("scheduled" + piece); });
    commands.add_completed_handler(
        [&journal, piece](CommandBuffer&) { journal.add("completed" + piece); });
    journal.record(commands, "run" + piece);
    commands.commit_and_continue();
  }
  commands.wait_until_completed();
  CHECK_EQ(journal.lines,
           (Lines{"scheduled0", "run0", "completed0", "scheduled1", "run1", "completed1"}));
}

TEST_CASE("handlers: see the state of their buffer and may wait for it") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  std::atomic<int> calls = 0;
  CommandBuffer commands(queue, "step");
  commands.add_scheduled_handler([&](CommandBuffer& self) {
    CHECK_EQ(self.status(), CommandBufferStatus::SCHEDULED);
    CHECK_THROWS_AS(self.wait_until_completed(), StateError);  // it would wait for itself
    ++calls;
  });
  commands.add_completed_handler([&](CommandBuffer& self) {
    CHECK_EQ(self.status(), CommandBufferStatus::COMPLETED);
    CHECK_EQ(self.label(), "step");
    self.wait_until_completed();
    CHECK_EQ(self.queue().label(), queue.label());
    ++calls;
  });
  commands.commit();
  commands.wait_until_completed();
  CHECK_EQ(calls.load(), 2);
}

TEST_CASE("handlers: waiting for later work of the same queue is refused, not a deadlock") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  Gate gate;
  CommandBuffer first(queue, "first"), second(queue, "second");
  std::atomic<bool> refused = false;
  first.add_completed_handler([&](CommandBuffer&) {
    gate.pass();
    try {
      second.wait_until_completed();
    } catch (const StateError&) {
      refused = true;
    }
  });
  first.commit();
  gate.wait_for_arrival();
  second.commit();
  gate.open();
  queue.wait_until_idle();
  CHECK(refused.load());
}

TEST_CASE("handlers: an exception becomes the buffer's error and refuses its later pieces") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  Journal journal;
  Gate gate;
  CommandBuffer commands(queue, "step");
  commands.add_completed_handler([&](CommandBuffer&) {
    gate.pass();
    throw std::runtime_error("handler broke");
  });
  commands.commit_and_continue();
  gate.wait_for_arrival();
  journal.record(commands, "later");
  commands.commit();
  gate.open();
  CHECK_THROWS_CONTAINS(commands.wait_until_completed(), DeviceError, "completed handler");
  CHECK_THROWS_CONTAINS(commands.wait_until_completed(), DeviceError, "handler broke");
  CHECK_EQ(commands.status(), CommandBufferStatus::ERROR);
  CHECK(journal.lines.empty());
}

TEST_CASE("handlers: all are called even after one threw") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  std::atomic<int> calls = 0;
  CommandBuffer commands(queue);
  commands.add_completed_handler([&](CommandBuffer&) -> void { throw std::runtime_error("one"); });
  commands.add_completed_handler([&](CommandBuffer&) { ++calls; });
  commands.commit();
  CHECK_THROWS_AS(commands.wait_until_completed(), DeviceError);
  CHECK_EQ(calls.load(), 1);
}

TEST_CASE("failures: named, kept, thrown by each wait; the rest of the buffer is not run") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  Journal journal;
  CommandBuffer commands(queue, "step");
  commands.encode_host_function("breaks", [] { throw std::runtime_error("on purpose"); });
  journal.record(commands, "same piece");
  commands.commit_and_continue();
  journal.record(commands, "later piece");
  commands.commit();
  CHECK_THROWS_CONTAINS(commands.wait_until_completed(), DeviceError, "\"breaks\": on purpose");
  CHECK_THROWS_AS(commands.wait_until_completed(), DeviceError);
  CHECK_EQ(commands.status(), CommandBufferStatus::ERROR);
  CHECK(commands.error() != nullptr);
  CHECK(journal.lines.empty());
  queue.wait_until_idle();  // told already

  CommandBuffer next(queue);
  journal.record(next, "next buffer");
  next.commit();
  next.wait_until_completed();
  CHECK_EQ(journal.lines, (Lines{"next buffer"}));
}

TEST_CASE("failures: the queue and the device tell those that no one was told") {
  const Rig rig;
  const CommandQueue queue(rig.device), other(rig.device);
  for (const char* label : {"one", "two"}) {
    CommandBuffer commands(queue);
    commands.encode_host_function(label, [] { throw std::runtime_error("broke"); });
    commands.commit();
  }
  other.wait_until_idle();
  CHECK_THROWS_CONTAINS(queue.wait_until_idle(), DeviceError, "\"one\"");
  CHECK_THROWS_CONTAINS(rig.device.synchronize(), DeviceError, "\"two\"");
  rig.device.synchronize();
}

TEST_CASE("failures: kinds of errors are kept, others are translated") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  const auto run = [&](std::function<void()> function) {
    CommandBuffer commands(queue);
    commands.encode_host_function("the step", std::move(function));
    commands.commit();
    commands.wait_until_completed();
  };
  CHECK_THROWS_CONTAINS(run([] { throw std::bad_alloc(); }), OutOfMemoryError, "the step");
  CHECK_THROWS_CONTAINS(run([] { throw DeviceLostError("unplugged"); }), DeviceLostError,
                        "the step");
  CHECK_THROWS_CONTAINS(run([] { throw OutOfMemoryError("full"); }), OutOfMemoryError, "the step");
  CHECK_THROWS_CONTAINS(run([] { throw InvalidArgumentError("bad"); }), DeviceError, "the step");
  CHECK_THROWS_CONTAINS(run([] { throw InvalidArgumentError("\"the step\": bad"); }),
                        InvalidArgumentError, "bad");
  CHECK_THROWS_CONTAINS(run([] { throw 1; }), DeviceError, "the step");
}

TEST_CASE("failures: a queue that takes no work") {
  const Device device(std::make_shared<runtime::DeviceState>(std::make_shared<LostDevice>()));
  const CommandQueue queue(device);
  CommandBuffer commands(queue, "step");
  std::atomic<int> calls = 0;
  commands.add_completed_handler([&](CommandBuffer&) { ++calls; });
  CHECK_THROWS_CONTAINS(commands.commit_and_continue(), DeviceLostError, "unplugged");
  CHECK_EQ(calls.load(), 1);
  CHECK_EQ(commands.status(), CommandBufferStatus::ERROR);
  CHECK_THROWS_AS(commands.wait_until_completed(), DeviceLostError);
  CHECK_THROWS_AS(commands.commit(), DeviceLostError);
  queue.wait_until_idle();  // told already
}

TEST_CASE("failures: a host function that waits for its own buffer is refused, not a deadlock") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  CommandBuffer commands(queue, "step");
  commands.encode_host_function("waits", [&] { queue.wait_until_idle(); });
  commands.commit();
  CHECK_THROWS_CONTAINS(commands.wait_until_completed(), DeviceError, "its own queue");
}

TEST_CASE("lifetimes: a buffer dropped before commit runs nothing") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  Journal journal;
  {
    CommandBuffer commands(queue);
    journal.record(commands, "dropped");
  }
  {
    CommandBuffer commands(queue);
    journal.record(commands, "committed");
    commands.commit_and_continue();
    journal.record(commands, "dropped");
  }
  queue.wait_until_idle();
  CHECK_EQ(journal.lines, (Lines{"committed"}));
}

TEST_CASE("lifetimes: what a buffer holds is let go when it is dropped or done") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  const auto token = std::make_shared<int>(0);
  {
    CommandBuffer dropped(queue);
    dropped.encode_host_function("holds", [token] {});
    dropped.add_completed_handler([token](CommandBuffer&) {});
  }
  CHECK_EQ(token.use_count(), 1);
  CommandBuffer commands(queue);
  commands.encode_host_function("holds", [token] {});
  commands.add_completed_handler([token](CommandBuffer&) {});
  commands.commit();
  commands.wait_until_completed();
  CHECK_EQ(token.use_count(), 1);
}

TEST_CASE("lifetimes: destroying a queue waits for work in flight") {
  const Rig rig;
  Journal journal;
  {
    CommandQueue queue(rig.device);
    CommandBuffer commands(queue);
    commands.encode_host_function(
        "slow", [] { std::this_thread::sleep_for(std::chrono::milliseconds(20)); });
    journal.record(commands, "done");
    commands.add_completed_handler([&](CommandBuffer&) { journal.add("handler"); });
    commands.commit();
  }
  CHECK_EQ(journal.lines, (Lines{"done", "handler"}));
}

TEST_CASE("lifetimes: a buffer keeps its queue, and can be waited for afterwards") {
  const Rig rig;
  Journal journal;
  auto queue = std::make_unique<CommandQueue>(rig.device);
  CommandBuffer commands(*queue);
  queue.reset();
  journal.record(commands, "done");
  commands.commit();
  commands.wait_until_completed();
  CHECK_EQ(journal.lines, (Lines{"done"}));
}

TEST_CASE("lifetimes: the queue's own thread may drop its last handle") {
  const Rig rig;
  Gate gate;
  std::atomic<bool> done = false;
  {
    auto queue = std::make_unique<CommandQueue>(rig.device);
    auto held = std::make_shared<CommandQueue>(*queue);
    CommandBuffer commands(*queue);
    commands.add_completed_handler([&gate, &done, held](CommandBuffer&) mutable {
      gate.pass();
      held.reset();
      done = true;
    });
    held.reset();
    commands.commit();
    gate.wait_for_arrival();
  }
  gate.open();
  while (!done) std::this_thread::yield();
  rig.device.synchronize();
}

TEST_CASE("lifetimes: a handler may keep its buffer, whose queue is then gone") {
  const Rig rig;
  std::unique_ptr<CommandBuffer> kept;
  {
    CommandQueue queue(rig.device);
    CommandBuffer commands(queue, "step");
    commands.add_completed_handler(
        [&](CommandBuffer& self) { kept = std::make_unique<CommandBuffer>(self); });
    commands.commit();
  }
  REQUIRE(kept != nullptr);
  CHECK_THROWS_CONTAINS(kept->queue(), StateError, "its queue is gone");
  kept->wait_until_completed();
}
