// SPDX-License-Identifier: MIT
// The runtime on the CPU: numbers come out, weights follow, archives continue a training bit by
// bit.
#include <cmath>
#include <cstring>

#include "archive_fixtures.h"
#include "mpsnn/archive.h"
#include "mpsnn/error.h"
#include "runtime_fixtures.h"
#include "testing.h"

using namespace fixtures;

namespace {

using Values = std::vector<float>;

Device cpu() {
  for (const std::string& kind : Device::available()) {
    if (kind == "cpu") return Device(kind);
  }
  testing::skip("built without the CPU backend");
}

Values wave(std::size_t count, double step) {
  Values values(count);
  for (std::size_t i = 0; i < count; ++i)
    values[i] = static_cast<float>(std::sin(step * static_cast<double>(i)));
  return values;
}

std::map<std::string, Image> waves(const Device& device, int seed) {
  const Values in = wave(2 * 8 * 8 * 3, 0.1 + 0.01 * seed),
               target = wave(2 * 8 * 8 * 2, 0.3 - 0.01 * seed);
  return {{"in", Image(device, {2, 8, 8, 3}, DataType::FLOAT32, in.data())},
          {"target", Image(device, {2, 8, 8, 2}, DataType::FLOAT32, target.data())}};
}

Values read(const Image& image) {
  Values values(static_cast<std::size_t>(image.size().count()));
  image.read(values.data(), image.bytes());
  return values;
}

/// Mean loss of one step.
double step(const Graph& training, const CommandQueue& queue, int seed) {
  CommandBuffer commands(queue);
  const Image loss = training.encode(commands, waves(queue.device(), seed))["loss"];
  commands.commit();
  double sum = 0;
  for (const float value : read(loss)) sum += static_cast<double>(value);
  return sum / static_cast<double>(loss.size().n);
}

/// All parameters and moments of a graph on its device.
std::vector<Values> state_of(const Graph& graph) {
  std::vector<Values> all;
  for (const auto& source : graph.data_sources()) {
    for (const std::string& name : graph.device().parameter_names(*source)) {
      all.push_back(graph.device().read_parameter(*source, name));
    }
    all.push_back({static_cast<float>(graph.device().time_step(*source))});
  }
  return all;
}

bool same_bits(const std::vector<Values>& a, const std::vector<Values>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].size() != b[i].size() ||
        std::memcmp(a[i].data(), b[i].data(), a[i].size() * sizeof(float)) != 0)
      return false;
  }
  return true;
}

std::vector<std::shared_ptr<Optimizer>> optimizers() {
  return {std::make_shared<OptimizerAdam>(1e-2),
          std::make_shared<OptimizerStochasticGradientDescent>(2e-4, 0.9)};
}

}  // namespace

TEST_CASE("cpu: training lowers the loss, updates are counted, the same run gives the same bits") {
  const Device device = cpu();
  for (int which = 0; which < 2; ++which) {
    std::vector<std::vector<Values>> states;
    for (int run = 0; run < 2; ++run) {
      const CommandQueue queue(device);
      const SmallNet net(optimizers()[static_cast<std::size_t>(which)]);
      const Graph training = net.training(device);
      const double before = step(training, queue, 0);
      for (int i = 0; i < 29; ++i) step(training, queue, 0);
      CHECK(step(training, queue, 0) < 0.9 * before);
      CHECK_EQ(device.time_step(*net.first), 31);
      states.push_back(state_of(training));
    }
    CHECK(same_bits(states[0], states[1]));
  }
}

TEST_CASE("cpu: inference sees the weights that training left, without a reload") {
  const Device device = cpu();
  const CommandQueue queue(device);
  const SmallNet net(std::make_shared<OptimizerAdam>(1e-2));
  const Graph training = net.training(device), inference = net.graph(device);
  const auto sources = waves(device, 0);
  const auto infer = [&](CommandBuffer& commands) {
    return *inference.encode(commands, {{"in", sources.at("in")}}).results[0];
  };
  CommandBuffer commands(queue);
  const Image before = infer(commands);
  training.encode(commands, sources);
  const Image after = infer(commands);
  commands.commit();
  CHECK(read(before) != read(after));

  // The same weights in a data source of their own give the same result.
  const SmallNet copy;
  copy.first->set_initial("weights", device.read_parameter(*net.first, "weights"));
  copy.first->set_initial("bias", device.read_parameter(*net.first, "bias"));
  copy.second->set_initial("weights", device.read_parameter(*net.second, "weights"));
  copy.second->set_initial("bias", device.read_parameter(*net.second, "bias"));
  CommandBuffer again(queue);
  const Image expected = *copy.graph(device).encode(again, {{"in", sources.at("in")}}).results[0];
  again.commit();
  CHECK(read(after) == read(expected));

  const Values zeros(device.read_parameter(*net.second, "weights").size()), bias = {3.0F, -4.0F};
  device.write_parameter(*net.second, "weights", zeros);
  device.write_parameter(*net.second, "bias", bias);
  CommandBuffer last(queue);
  const Image written = infer(last);
  last.commit();
  CHECK_EQ(read(written)[0], 3.0F);
  CHECK_EQ(read(written)[1], -4.0F);
}

TEST_CASE("cpu: in flight on one heap, buffers give what they give one by one") {
  const Device device = cpu();
  const CommandQueue queue(device);
  const Graph graph = SmallNet().graph(device);
  std::vector<Values> expected;
  std::vector<Image> in_flight;
  for (int seed = 0; seed < 8; ++seed) {
    CommandBuffer commands(queue);
    const Image result = *graph.encode(commands, {{"in", waves(device, seed).at("in")}}).results[0];
    commands.commit();
    expected.push_back(read(result));
  }
  for (int seed = 0; seed < 8; ++seed) {
    CommandBuffer commands(queue);
    in_flight.push_back(*graph.encode(commands, {{"in", waves(device, seed).at("in")}}).results[0]);
    commands.commit();
  }
  for (std::size_t i = 0; i < expected.size(); ++i) CHECK(read(in_flight[i]) == expected[i]);
  CHECK(expected[0] != expected[1]);
}

TEST_CASE("cpu: an archived training continues bit by bit") {
  const Device device = cpu();
  const Folder folder;
  for (int which = 0; which < 2; ++which) {
    const CommandQueue queue(device);
    const SmallNet net(optimizers()[static_cast<std::size_t>(which)]);
    const Graph training = net.training(device);
    for (int i = 0; i < 5; ++i) step(training, queue, i);
    KeyedArchiver archiver;
    archiver.encode("training", training);
    archiver.write(folder / "checkpoint");
    const Graph resumed =
        KeyedUnarchiver(device).open(folder / "checkpoint").decode_graph("training");
    CHECK(same_bits(state_of(training), state_of(resumed)));
    for (int i = 5; i < 10; ++i) CHECK_EQ(step(training, queue, i), step(resumed, queue, i));
    CHECK(same_bits(state_of(training), state_of(resumed)));
    CHECK_EQ(device.time_step(*resumed.data_sources()[0]), 10);
  }
}

TEST_CASE("cpu: a graph trained on one device infers on another") {
  const Device device = cpu();
  const Rig rig;
  const Folder folder;
  const SmallNet net(std::make_shared<OptimizerAdam>(1e-2));
  const CommandQueue queue(device);
  const Graph training = net.training(device);
  step(training, queue, 0);
  KeyedArchiver archiver;
  archiver.encode("net", net.graph(device));
  archiver.write(folder / "net");
  const Graph moved = KeyedUnarchiver(rig.device).open(folder / "net").decode_graph("net");
  CHECK(moved.device() == rig.device);
  CHECK_EQ(rig.device.read_parameter(*moved.data_sources()[0], "weights"),
           device.read_parameter(*net.first, "weights"));
}
