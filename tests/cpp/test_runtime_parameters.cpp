// SPDX-License-Identifier: MIT
// Parameters on a device: initial values, reading and writing, moments, versions, time steps.
#include "graph/device_states.h"
#include "mpsnn/error.h"
#include "runtime/parameter_state.h"
#include "runtime_fixtures.h"
#include "testing.h"

using namespace fixtures;

namespace {

using Names = std::vector<std::string>;
using Values = std::vector<float>;

std::int64_t counter(const Device& device, const DataSource& source, const std::string& name) {
  const auto memory = runtime::ParameterState::of(source, device.state())->find(name);
  REQUIRE(memory != nullptr);
  std::int64_t value = 0;
  device.state()->backend->read(*memory, 0, &value, sizeof value);
  return value;
}

}  // namespace

TEST_CASE("parameters: a device starts from the data source's values") {
  const Rig rig;
  const auto source = convolution_weights(3, 4, "enc");
  CHECK_EQ(rig.device.read_parameter(*source, "weights"), source->initial("weights"));
  CHECK_EQ(rig.device.memory_stats().current, 0U);  // reading alone takes no memory
  CHECK_EQ(rig.device.parameter_names(*source), (Names{"weights", "bias"}));
  CHECK_THROWS_CONTAINS(rig.device.read_parameter(*source, "weight"), InvalidArgumentError,
                        "ConvolutionDataSource \"enc\": parameter: expected one of \"weights\", "
                        "\"bias\", got \"weight\"");
  CHECK_THROWS_AS(rig.device.read_parameter(*source, "weights.momentum"), InvalidArgumentError);
}

TEST_CASE("parameters: written values are the device's own, seen by every graph there") {
  const Rig one, two;
  const auto source = convolution_weights(3, 4, "enc");
  const Values ones(4, 1.0F);
  one.device.write_parameter(*source, "bias", ones);
  CHECK_EQ(one.device.read_parameter(*source, "bias"), ones);
  CHECK_EQ(two.device.read_parameter(*source, "bias"), source->initial("bias"));
  CHECK_THROWS_CONTAINS(one.device.write_parameter(*source, "bias", Values(3)),
                        InvalidArgumentError, "bias: expected 4 values, got 3");
  CHECK_THROWS_AS(one.device.write_parameter(*source, "gamma", ones), InvalidArgumentError);
}

TEST_CASE("parameters: writing raises the version, so that copies in kernels' layouts follow") {
  backend::null_device::Options options;
  options.rows = backend::null_device::layout_rows();
  const Rig rig(options);
  const CommandQueue queue(rig.device);
  const SmallNet net;
  const Graph graph = net.graph(rig.device);
  CommandBuffer commands(queue);
  graph.encode(commands, {{"in", input(rig.device)}});
  commands.commit();
  CHECK_EQ(counter(rig.device, *net.first, "weights.version"), 1);
  CHECK_EQ(counter(rig.device, *net.first, "weights@null_blocked.version"), 0);
  rig.device.write_parameter(*net.first, "weights", net.first->initial("weights"));
  CHECK_EQ(counter(rig.device, *net.first, "weights.version"), 2);
  CHECK_EQ(rig.device.time_step(*net.first), 0);  // no update by an optimizer
}

TEST_CASE("parameters: moments are zero at first, and belong to one optimizer") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  const auto adam = std::make_shared<OptimizerAdam>(1e-3, 0.9, 0.999, 1e-8, 7);
  const SmallNet net(adam);
  const Graph graph = net.training(rig.device);
  CHECK_EQ(rig.device.read_parameter(*net.second, "bias.velocity"), Values(2, 0.0F));
  train_once(graph, queue, batch(rig.device));
  CHECK_EQ(rig.device.time_step(*net.second), 7);  // the null device's optimizer counts nothing
  const Values marks = {1.0F, 2.0F};
  rig.device.write_parameter(*net.second, "bias.velocity", marks);
  rig.device.set_time_step(*net.second, 9);
  train_once(graph, queue, batch(rig.device));
  CHECK_EQ(rig.device.read_parameter(*net.second, "bias.velocity"), marks);
  CHECK_EQ(rig.device.time_step(*net.second), 9);

  net.second->set_optimizer(std::make_shared<OptimizerAdam>());
  train_once(graph, queue, batch(rig.device));
  CHECK_EQ(rig.device.read_parameter(*net.second, "bias.velocity"), Values(2, 0.0F));
  CHECK_EQ(rig.device.time_step(*net.second), 0);
  CHECK_EQ(rig.device.time_step(*net.first), 7);
}

TEST_CASE("parameters: an optimizer exchanged and exchanged back starts anew") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  const auto adam = std::make_shared<OptimizerAdam>();
  const SmallNet net(adam);
  const Graph graph = net.training(rig.device);
  train_once(graph, queue, batch(rig.device));
  rig.device.write_parameter(*net.second, "bias.momentum", Values(2, 3.0F));
  net.second->set_optimizer(std::make_shared<OptimizerStochasticGradientDescent>(0.1, 0.5));
  train_once(graph, queue, batch(rig.device));
  net.second->set_optimizer(adam);
  train_once(graph, queue, batch(rig.device));
  CHECK_EQ(rig.device.read_parameter(*net.second, "bias.momentum"), Values(2, 0.0F));
}

TEST_CASE("parameters: the time step counts updates also where the optimizer has none of its own") {
  const Rig rig;
  const auto sgd = std::make_shared<OptimizerStochasticGradientDescent>(0.1);
  const auto source = convolution_weights(3, 4, "enc", sgd);
  CHECK_EQ(rig.device.time_step(*source), 0);
  rig.device.set_time_step(*source, 5);
  CHECK_EQ(rig.device.time_step(*source), 5);
  rig.device.write_parameter(*source, "weights", source->initial("weights"));
  CHECK_EQ(rig.device.time_step(*source), 5);
  // What the optimizer's kernel does:
  const auto state = runtime::ParameterState::of(*source, rig.device.state());
  const auto version = state->array(*source, "weights.version", sizeof(std::int64_t));
  const std::int64_t next = counter(rig.device, *source, "weights.version") + 1;
  rig.device.state()->backend->write(*version, 0, &next, sizeof next);
  CHECK_EQ(rig.device.time_step(*source), 6);
  CHECK_THROWS_CONTAINS(rig.device.set_time_step(*source, -1), InvalidArgumentError, "got -1");
}

TEST_CASE("parameters: reading and writing wait for committed work") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  const SmallNet net(std::make_shared<OptimizerAdam>());
  const Graph graph = net.training(rig.device);
  CommandBuffer commands(queue);
  graph.encode(commands, batch(rig.device));
  commands.commit();
  rig.device.read_parameter(*net.first, "weights");
  CHECK(commands.status() == CommandBufferStatus::COMPLETED);
  CommandBuffer more(queue);
  graph.encode(more, batch(rig.device));
  more.commit();
  rig.device.write_parameter(*net.first, "bias", Values(4));
  CHECK(more.status() == CommandBufferStatus::COMPLETED);
}

TEST_CASE("parameters: work of two queues on the same weights is ordered by commit") {
  const Rig rig;
  const CommandQueue one(rig.device), two(rig.device);
  const SmallNet net(std::make_shared<OptimizerAdam>());
  const Graph training = net.training(rig.device), inference = net.graph(rig.device);
  Gate gate;
  CommandBuffer trains(one), infers(two);
  trains.encode_host_function("gate", [&] { gate.pass(); });
  training.encode(trains, batch(rig.device));
  inference.encode(infers, {{"in", input(rig.device)}});
  trains.commit();
  infers.commit();
  gate.wait_for_arrival();
  CHECK(rig.labels().empty());
  gate.open();
  rig.device.synchronize();
  const std::vector<std::string> labels = rig.labels();
  CHECK_EQ(labels.back(), "second");
  CHECK(labels.size() > 4);
}

TEST_CASE("parameters: the state goes with the data source") {
  const Rig rig;
  {
    const CommandQueue queue(rig.device);
    const SmallNet net(std::make_shared<OptimizerAdam>());
    const Graph graph = net.training(rig.device);
    train_once(graph, queue, batch(rig.device));
    CHECK(rig.device.memory_stats().current > 0);
  }
  CHECK_EQ(rig.device.memory_stats().current, 0U);
}
