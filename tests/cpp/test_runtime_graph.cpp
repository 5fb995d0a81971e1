// SPDX-License-Identifier: MIT
// Graph: what it says of itself, encoding, bad input, plans and their cache, kernels.
#include <set>

#include "mpsnn/error.h"
#include "runtime/graph_impl.h"
#include "runtime_fixtures.h"
#include "testing.h"

using namespace fixtures;

namespace {

using Labels = std::vector<std::string>;

backend::Fit refuse(const KernelQuery&) { return backend::Fit::no("only on Sundays"); }
std::shared_ptr<Kernel> prepare_nothing(const KernelQuery&) { return nullptr; }

}  // namespace

TEST_CASE("graph: describes itself") {
  const Rig rig;
  SmallNet net;
  const FilterNode last = net.last();
  last.sources()[0].producer()->result_image().set_export_from_graph(true);
  last.sources()[0].producer()->result_image().set_handle("hidden");
  Graph graph(rig.device, {last.result_image()});
  CHECK(graph.device() == rig.device);
  CHECK_EQ(graph.label(), "second");
  graph.set_label("net");
  CHECK_EQ(graph.label(), "net");
  CHECK_EQ(graph.source_handles(), (Labels{"in"}));
  CHECK_EQ(graph.intermediate_handles(), (Labels{"hidden"}));
  CHECK_EQ(graph.nodes().size(), 3U);
  CHECK_EQ(graph.data_sources().size(), 2U);
  CHECK(graph.result_images().at(0) == last.result_image());
  CHECK_EQ(graph.results_are_needed(), (std::vector<bool>{true}));
  CHECK(graph.dot().find("digraph") != std::string::npos);

  const std::map<std::string, ImageSize> sizes = {{"in", {1, 8, 8, 3}}};
  CHECK(graph.plan_text(sizes).find("convolution/null") != std::string::npos);
  CHECK(graph.plan_dot(sizes).find("digraph") != std::string::npos);
  CHECK(graph.cost(sizes).flops > 0);
  CHECK_EQ(graph.cost(sizes).operations, 2U);  // the ReLU is fused
}

TEST_CASE("graph: results, handles and exported images come out") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  const SmallNet net;
  const FilterNode last = net.last();
  ImageNode hidden = last.sources()[0], result = last.result_image();
  hidden.set_export_from_graph(true);
  hidden.set_handle("hidden");
  result.set_handle("out");
  const Graph graph(rig.device, {result, hidden, hidden}, std::vector<bool>{true, false, true});
  CommandBuffer commands(queue);
  const GraphOutputs outputs = graph.encode(commands, {{"in", input(rig.device)}});
  commands.commit();
  REQUIRE(outputs.results.size() == 3);
  CHECK(outputs.results[0].has_value());
  CHECK(!outputs.results[1].has_value());
  CHECK_EQ(outputs["out"].state(), outputs.results[0]->state());
  CHECK_EQ(outputs["hidden"].state(), outputs.results[2]->state());
  CHECK_EQ(outputs["hidden"].size(), (ImageSize{1, 8, 8, 4}));
  CHECK_THROWS_CONTAINS(outputs["nothing"], InvalidArgumentError,
                        "one of \"hidden\", \"out\", got \"nothing\"");
  queue.wait_until_idle();
}

TEST_CASE("graph: bad results") {
  const Rig rig;
  CHECK_THROWS_AS(Graph(rig.device, {}), InvalidArgumentError);
  CHECK_THROWS_CONTAINS(Graph(rig.device, {ImageNode("in")}), InvalidArgumentError, "\"in\"");
  CHECK_THROWS_AS(
      Graph(rig.device, {SmallNet().last().result_image()}, std::vector<bool>{true, true}),
      InvalidArgumentError);
}

TEST_CASE("graph: bad sources name the graph, the source and both sides") {
  const Rig rig, other;
  const CommandQueue queue(rig.device), foreign(other.device);
  Graph graph = SmallNet().graph(rig.device);
  graph.set_label("net");
  CommandBuffer commands(queue), elsewhere(foreign);
  const Image image = input(rig.device);
  CHECK_THROWS_CONTAINS(
      graph.encode(commands, {}), InvalidArgumentError,
      "Graph \"net\": sources: expected an image for the source \"in\", got none");
  CHECK_THROWS_CONTAINS(graph.encode(commands, {{"im", image}}), InvalidArgumentError,
                        "\"in\", got \"im\"");
  CHECK_THROWS_CONTAINS(graph.encode(commands, {{"in", image}, {"extra", image}}),
                        InvalidArgumentError,
                        "expected only \"in\", got an unknown source \"extra\"");
  CHECK_THROWS_CONTAINS(graph.encode(commands, {{"in", input(other.device)}}), InvalidArgumentError,
                        "source \"in\": expected an image on device");
  CHECK_THROWS_CONTAINS(graph.encode(elsewhere, {{"in", image}}), InvalidArgumentError,
                        "commands: expected");
  CHECK_THROWS_CONTAINS(
      graph.encode(commands, {{"in", Image(rig.device, {1, 8, 8, 3}, DataType::FLOAT16)}}),
      ArgumentTypeError, "source \"in\": expected float32, got float16");
  const Image channels(rig.device, {1, 8, 8, 5});
  CHECK_THROWS_CONTAINS(graph.encode(commands, {{"in", channels}}), InvalidArgumentError,
                        "\"first\": source: expected 3 feature channels, got 5");
  CHECK_THROWS_CONTAINS(graph.encode(commands, {{"in", channels}}), InvalidArgumentError,
                        "(sources: \"in\" (1, 8, 8, 5))");
  CHECK_THROWS_AS(graph.cost({{"in", {1, 0, 8, 3}}}), InvalidArgumentError);
  CHECK_THROWS_AS(graph.plan_text({}), InvalidArgumentError);
  // Nothing of all that was recorded.
  commands.commit();
  commands.wait_until_completed();
  CHECK(rig.labels().empty());
  CHECK_THROWS_AS(graph.encode(commands, {{"in", image}}), StateError);
}

TEST_CASE("graph: a case that no kernel takes names node, operation and each row's reason") {
  backend::null_device::Options options;
  options.rows = {{OpId::convolution, "convolution/first", &refuse, &prepare_nothing},
                  {OpId::convolution, "convolution/last", &refuse, &prepare_nothing}};
  const Rig rig(options);
  const CommandQueue queue(rig.device);
  CommandBuffer commands(queue);
  const Graph graph = SmallNet().graph(rig.device);
  const auto encode = [&] { graph.encode(commands, {{"in", input(rig.device)}}); };
  CHECK_THROWS_CONTAINS(encode(), UnsupportedError,
                        "node \"first\": device \"null\" has no kernel for convolution of");
  CHECK_THROWS_CONTAINS(encode(), UnsupportedError, "convolution/first: only on Sundays");
  CHECK_THROWS_CONTAINS(encode(), UnsupportedError, "convolution/last: only on Sundays");
  CHECK_THROWS_CONTAINS(encode(), UnsupportedError, "float32 (1, 8, 8, 3)");
}

TEST_CASE("graph: the first row that fits is chosen") {
  backend::null_device::Options options;
  options.rows.insert(options.rows.begin(),
                      {OpId::convolution, "convolution/never", &refuse, &prepare_nothing});
  const Rig rig(options);
  const std::string text = SmallNet().graph(rig.device).plan_text({{"in", {1, 8, 8, 3}}});
  CHECK(text.find("convolution/null") != std::string::npos);
  CHECK(text.find("convolution/never") == std::string::npos);
}

TEST_CASE("graph: kernels get scratch, absent operands as null, and layout copies that persist") {
  backend::null_device::Options options;
  options.rows = backend::null_device::layout_rows();
  const Rig rig(options);
  const CommandQueue queue(rig.device);
  const SmallNet net;
  const Graph one = net.graph(rig.device), two = net.graph(rig.device);
  for (const Graph* graph : {&one, &two}) {
    CommandBuffer commands(queue);
    graph->encode(commands, {{"in", input(rig.device)}});
    commands.commit();
    commands.wait_until_completed();
  }
  std::set<const void*> copies;
  for (const Command& command : rig.null->commands()) {
    CHECK(command.scratch != nullptr);
    for (const void* output : command.outputs) CHECK(output != nullptr);
    if (command.op == OpId::parameter_layout) copies.insert(command.outputs[0]);
    if (command.op == OpId::convolution) CHECK(copies.contains(command.inputs[1]));
  }
  CHECK_EQ(copies.size(), 2U);  // one a data source, shared by both graphs
}

TEST_CASE("graph: optional operands that are absent are null") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  const auto weights =
      std::make_shared<ConvolutionDataSource>(ConvolutionDescriptor{}, std::vector<float>(9));
  const Graph graph(rig.device, {ConvolutionNode(ImageNode("in"), weights).result_image()});
  CommandBuffer commands(queue);
  graph.encode(commands, {{"in", Image(rig.device, {1, 4, 4, 1})}});
  commands.commit();
  commands.wait_until_completed();
  const Command command = rig.null->commands().at(0);
  CHECK(command.inputs.size() < 3 || command.inputs[2] == nullptr);
  CHECK(command.inputs.at(0) != nullptr && command.inputs.at(1) != nullptr);
}

TEST_CASE("plans: kept for the last sizes, the one used longest ago goes") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  const Graph graph = SmallNet().graph(rig.device);
  runtime::PlanCache& plans = graph.impl()->plans;
  const auto key = [&](std::int64_t size) {
    return graph.impl()->key({{DataType::FLOAT32, {1, size, size, 3}, nullptr}});
  };
  int made = 0;
  const auto look_up = [&](std::int64_t size) {
    return plans.plan(key(size), [&] {
      ++made;
      return graph.impl()->make_plan(key(size));
    });
  };
  const auto limit = static_cast<std::int64_t>(runtime::kPlanCacheSize);
  for (std::int64_t size = 1; size <= limit; ++size) look_up(size);
  CHECK_EQ(made, static_cast<int>(limit));
  const auto first = look_up(1);  // used again: now 2 is the oldest
  look_up(limit + 1);
  CHECK_EQ(plans.size(), runtime::kPlanCacheSize);
  CHECK_EQ(look_up(1), first);
  CHECK_EQ(made, static_cast<int>(limit) + 1);
  look_up(2);
  CHECK_EQ(made, static_cast<int>(limit) + 2);
}

TEST_CASE("plans: a failed one is not kept, a dropped one may still be running") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  const Graph graph = SmallNet().graph(rig.device);
  CHECK_THROWS_AS(graph.cost({{"in", {1, 8, 8, 5}}}), InvalidArgumentError);
  CHECK_EQ(graph.impl()->plans.size(), 0U);
  Gate gate;
  CommandBuffer commands(queue);
  commands.encode_host_function("gate", [&] { gate.pass(); });
  for (std::int64_t size = 1; size <= 3 * static_cast<std::int64_t>(runtime::kPlanCacheSize);
       ++size) {
    graph.encode(commands, {{"in", input(rig.device, size)}});
  }
  commands.commit();
  gate.open();
  commands.wait_until_completed();
  CHECK_EQ(rig.labels().size(), 6 * runtime::kPlanCacheSize);
}

TEST_CASE("plans: follow optimizers and frozen weights without a new graph") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  const auto adam = std::make_shared<OptimizerAdam>();
  const SmallNet net(adam);
  const Graph graph = net.training(rig.device);
  const auto updates = [&] {
    rig.null->clear_commands();
    train_once(graph, queue, batch(rig.device));
    Labels labels;
    for (const Command& command : rig.null->commands()) {
      const bool is_update = command.op == OpId::optimizer_adam ||
                             command.op == OpId::optimizer_stochastic_gradient_descent;
      if (is_update) labels.push_back(std::string(name_of(command.op)) + " " + command.label);
    }
    return labels;
  };
  CHECK_EQ(updates().size(), 4U);
  net.first->set_trainable(false);
  CHECK_EQ(updates(), (Labels{"optimizer_adam second.weights", "optimizer_adam second.bias"}));
  net.first->set_trainable(true);
  net.second->set_optimizer(std::make_shared<OptimizerStochasticGradientDescent>(0.1, 0.9));
  CHECK_EQ(updates().size(), 4U);
  CHECK_EQ(rig.device.parameter_names(*net.second),
           (Labels{"weights", "weights.momentum", "bias", "bias.momentum"}));
}

TEST_CASE("graph: the learning rate is read at each encode") {
  const Rig rig;
  const CommandQueue queue(rig.device);
  const auto adam = std::make_shared<OptimizerAdam>(0.5);
  const Graph graph = SmallNet(adam).training(rig.device);
  CommandBuffer commands(queue);
  graph.encode(commands, batch(rig.device));
  adam->set_learning_rate(0.25);
  graph.encode(commands, batch(rig.device));
  commands.commit();
  commands.wait_until_completed();
  std::vector<double> rates;
  for (const Command& command : rig.null->commands()) {
    if (command.op == OpId::optimizer_adam) rates.push_back(command.scalars.at(0));
  }
  CHECK_EQ(rates, (std::vector<double>{0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25}));
}
