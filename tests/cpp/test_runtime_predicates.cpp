// SPDX-License-Identifier: MIT
// Buffers and predicates: what they hold, and which kernels they switch off.
#include <cstring>
#include <numeric>
#include <random>
#include <thread>

#include "mpsnn/buffer.h"
#include "mpsnn/error.h"
#include "mpsnn/null_device.h"
#include "runtime_fixtures.h"
#include "testing.h"

using namespace fixtures;

namespace {

/// One kernel: nearest upsampling of "in".
Graph one_kernel(const Device& device, const std::string& label) {
  UpsamplingNearestNode up(ImageNode("in"), 2);
  up.set_label(label);
  return Graph(device, {up.result_image()});
}

struct Named {
  Named(const Device& device, const std::vector<std::string>& labels) : source(input(device)) {
    for (const std::string& label : labels) graphs.emplace(label, one_kernel(device, label));
  }
  void encode(CommandBuffer& commands, const std::string& label) const {
    graphs.at(label).encode(commands, {{"in", source}});
  }
  Image source;
  std::map<std::string, Graph> graphs;
};

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("buffers: zeros, copies, ranges") {
  const Rig rig;
  const Buffer zeros(rig.device, 10);
  char bytes[10] = {1, 2, 3};
  zeros.read(0, bytes, 10);
  CHECK_EQ(std::accumulate(bytes, bytes + 10, 0), 0);
  CHECK_EQ(zeros.bytes(), 10U);
  const char text[] = "predicate";
  const Buffer copy(rig.device, text, sizeof text);
  copy.write(0, "P", 1);
  copy.read(0, bytes, sizeof text);
  CHECK_EQ(std::string(bytes), "Predicate");
  CHECK(std::strcmp(static_cast<const char*>(copy.data()), "Predicate") == 0);
  copy.read(10, nullptr, 0);
}

TEST_CASE("buffers: bad sizes and ranges name the buffer") {
  const Rig rig;
  CHECK_THROWS_CONTAINS(Buffer(rig.device, 0), InvalidArgumentError, "Buffer: bytes");
  Buffer buffer(rig.device, 8);
  buffer.set_label("flags");
  char bytes[16] = {};
  CHECK_THROWS_CONTAINS(buffer.read(1, bytes, 8), InvalidArgumentError, "Buffer \"flags\": read");
  CHECK_THROWS_CONTAINS(buffer.write(9, bytes, 0), InvalidArgumentError,
                        "its 8 bytes, got 0 bytes from 9");
  CHECK_THROWS_CONTAINS(buffer.write(4, bytes, static_cast<std::size_t>(-1)), InvalidArgumentError,
                        "write");
}

TEST_CASE("predicates: offsets are multiples of four inside of the buffer") {
  const Rig rig;
  const Buffer buffer(rig.device, 10);
  for (const std::size_t bad : {1U, 2U, 3U, 5U})
    CHECK_THROWS_CONTAINS(Predicate(buffer, bad), InvalidArgumentError, "a multiple of 4");
  for (const std::size_t bad : {std::size_t{8}, std::size_t{12}, std::size_t(-4)})
    CHECK_THROWS_CONTAINS(Predicate(buffer, bad), InvalidArgumentError,
                          "inside of the buffer's 10");
  const Predicate last(buffer, 4);
  CHECK_EQ(last.value(), 0);
  last.set_value(-2);
  std::int32_t value = 0;
  buffer.read(4, &value, sizeof value);
  CHECK_EQ(value, -2);
  CHECK(last.buffer() == buffer);
}

TEST_CASE("predicates: slots are apart, start with 1, and are used again") {
  const Rig rig;
  std::vector<Predicate> many;
  for (int i = 0; i < 3000; ++i) {  // more than a page holds
    many.emplace_back(rig.device);
    CHECK_EQ(many.back().value(), 1);
    many.back().set_value(i);
  }
  for (int i = 0; i < 3000; ++i) CHECK_EQ(many[static_cast<std::size_t>(i)].value(), i);
  const std::size_t held = rig.device.memory_stats().current;
  for (int round = 0; round < 10; ++round) {
    many.clear();
    for (int i = 0; i < 3000; ++i) many.emplace_back(rig.device);
  }
  CHECK_EQ(rig.device.memory_stats().current, held);
}

TEST_CASE("predicates: apply from where they are set to where they end") {
  const Rig rig;
  const Named nets(rig.device, {"a", "b", "c", "d"});
  const Predicate on(rig.device), off(rig.device);
  off.set_value(0);
  const CommandQueue queue(rig.device);
  CommandBuffer commands(queue);
  nets.encode(commands, "a");
  commands.set_predicate(off);
  CHECK(commands.predicate() == off);
  nets.encode(commands, "b");
  commands.set_predicate(on);
  nets.encode(commands, "c");
  commands.set_predicate(std::nullopt);
  nets.encode(commands, "d");
  commands.commit();
  commands.wait_until_completed();
  CHECK_EQ(rig.labels(), (Lines{"a", "c", "d"}));
}

TEST_CASE("predicates: are read when the kernel's turn comes, not when it is recorded") {
  const Rig rig;
  const Named nets(rig.device, {"a", "b", "c"});
  const Predicate predicate(rig.device);
  const CommandQueue queue(rig.device);
  CommandBuffer commands(queue);
  commands.set_predicate(predicate);
  nets.encode(commands, "a");
  commands.encode_host_function("off", [&] { predicate.set_value(0); });
  nets.encode(commands, "b");
  commands.encode_host_function("skipped, too", [&] { predicate.set_value(1); });
  commands.set_predicate(std::nullopt);
  commands.encode_host_function("on", [&] { predicate.set_value(1); });
  commands.set_predicate(predicate);
  nets.encode(commands, "c");
  commands.commit();
  commands.wait_until_completed();
  CHECK_EQ(rig.labels(), (Lines{"a", "c"}));
}

TEST_CASE("predicates: stay over pieces, and hold their memory until the work is done") {
  const Rig rig;
  const Named nets(rig.device, {"a", "b"});
  Gate gate;
  const CommandQueue queue(rig.device);
  CommandBuffer commands(queue);
  commands.encode_host_function("gate", [&] { gate.pass(); });
  {
    const Predicate off(rig.device);
    off.set_value(0);
    commands.set_predicate(off);
    commands.commit_and_continue();
    nets.encode(commands, "a");
    commands.commit_and_continue();
    commands.set_predicate(std::nullopt);
  }
  const Predicate other(rig.device);  // not the slot that work in flight still reads
  nets.encode(commands, "b");
  commands.commit();
  gate.open();
  commands.wait_until_completed();
  CHECK_EQ(rig.labels(), Lines{"b"});
}

TEST_CASE("predicates: wrapped buffers stack them") {
  const Rig rig;
  const Named nets(rig.device, {"00", "01", "10", "11", "none", "outer"});
  const CommandQueue queue(rig.device);
  CommandBuffer root(queue, "root");
  CommandBuffer wrapper = CommandBuffer::wrap(root);
  CHECK(!root.command_buffer());
  CHECK(wrapper.command_buffer()->state() == root.state());
  CHECK_EQ(wrapper.label(), "root");
  for (const int below : {0, 1}) {
    for (const int above : {0, 1}) {
      Predicate first(rig.device), second(rig.device);
      first.set_value(below);
      second.set_value(above);
      root.set_predicate(first);
      wrapper.set_predicate(second);
      nets.encode(wrapper, std::to_string(below) + std::to_string(above));
    }
  }
  wrapper.set_predicate(std::nullopt);
  nets.encode(wrapper, "none");  // the root's, which is on
  CommandBuffer third = CommandBuffer::wrap(wrapper);
  const Predicate off(rig.device);
  off.set_value(0);
  third.set_predicate(off);
  nets.encode(third, "outer");
  CHECK(third.root_command_buffer().state() == root.state());
  third.commit();  // the root's
  root.wait_until_completed();
  CHECK_EQ(rig.labels(), (Lines{"11", "none"}));
}

TEST_CASE("predicates: a skipped kernel touches nothing") {
  const Rig rig;
  const SmallNet net(std::make_shared<OptimizerAdam>());
  const Graph training = net.training(rig.device);
  const CommandQueue queue(rig.device);
  train_once(training, queue, batch(rig.device));
  const std::int64_t before = rig.device.time_step(*net.first);
  rig.null->clear_commands();
  const Predicate off(rig.device);
  off.set_value(0);
  CommandBuffer commands(queue);
  commands.set_predicate(off);
  training.encode(commands, batch(rig.device));
  commands.commit();
  commands.wait_until_completed();
  CHECK(rig.labels().empty());
  CHECK_EQ(rig.device.time_step(*net.first), before);
}

TEST_CASE("predicates: of another device are refused") {
  const Rig rig, other;
  const CommandQueue queue(rig.device);
  CommandBuffer commands(queue, "step");
  CHECK_THROWS_CONTAINS(commands.set_predicate(Predicate(other.device)), InvalidArgumentError,
                        "command buffer \"step\": predicate");
  CHECK(!commands.predicate());
}

TEST_CASE("null device: records, counts, fails on request") {
  const mpsnn::NullDevice null(std::size_t{1} << 20);
  const Named nets(null.device(), {"a", "b"});
  const CommandQueue queue(null.device());
  null.fail_command(1, "broken");
  CommandBuffer commands(queue);
  nets.encode(commands, "a");
  nets.encode(commands, "b");
  commands.commit();
  CHECK_THROWS_CONTAINS(commands.wait_until_completed(), DeviceError, "\"b\": broken");
  CHECK_EQ(null.commands().size(), 1U);
  CHECK_EQ(null.commands()[0].operation, "upsampling_nearest");
  CHECK_EQ(null.commands()[0].label, "a");
  null.clear_commands();
  CHECK(null.commands().empty());
  CHECK(null.allocated() > 0);
  CHECK_THROWS_CONTAINS(Buffer(null.device(), std::size_t{1} << 21), OutOfMemoryError, "null");
}
