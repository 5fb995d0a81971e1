// SPDX-License-Identifier: MIT
// Collecting the nodes behind results, and drawing them.
#include "graph_fixtures.h"
#include "testing.h"

namespace {

using namespace fixtures;

std::vector<std::string> handles(const std::vector<ImageNode>& images) {
  std::vector<std::string> names;
  for (const ImageNode& each : images) names.push_back(each.handle());
  return names;
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE(
    "collect: reachable nodes in running order, sources and weights in the order of first use") {
  const ImageNode a("a"), b("b");
  const auto shared = weights(1, 1, "shared"), other = weights(1, 1, "other");
  const FilterNode first_conv = convolution(b, shared), second = convolution(a, other);
  const FilterNode third = convolution(second, shared);
  const FilterNode sum = node("AdditionNode", {first_conv, third});
  const FilterNode unused = relu(sum);
  const graph::Network network = graph::collect({sum, first_conv}, {true, false});
  CHECK(network.nodes == (std::vector<FilterNode>{first_conv, second, third, sum}));
  CHECK_EQ(handles(network.sources), (Names{"b", "a"}));
  CHECK(network.data_sources == (std::vector<std::shared_ptr<DataSource>>{shared, other}));
  CHECK(unused.sources()[0] == sum.result_image());
}

TEST_CASE("collect: exported images, but not those that come back as results") {
  const ImageNode a("a");
  const FilterNode first_neuron = relu(a), last = relu(first_neuron);
  first_neuron.result_image().set_handle("inner");
  first_neuron.result_image().set_export_from_graph(true);
  last.result_image().set_handle("out");
  last.result_image().set_export_from_graph(true);
  CHECK_EQ(handles(graph::collect({last}, {true}).exported), (Names{"inner"}));
  CHECK_EQ(handles(graph::collect({last}, {false}).exported), (Names{"inner", "out"}));
}

TEST_CASE("collect: bad results") {
  const ImageNode a("a");
  CHECK_THROWS_CONTAINS(graph::collect({}, {}), InvalidArgumentError, "result_images");
  CHECK_THROWS_CONTAINS(
      graph::collect({relu(a), a}, {true, true}), InvalidArgumentError,
      "result_images[1]: expected an image that a node makes, got the source \"a\"");
  CHECK_THROWS_CONTAINS(graph::collect({relu(a)}, {true, false}), InvalidArgumentError,
                        "results_are_needed: expected 1 values, one a result, got 2");
}

TEST_CASE("collect: handles") {
  const ImageNode a("a"), again("a"), nameless;
  CHECK_THROWS_CONTAINS(graph::collect({node("AdditionNode", {a, again})}, {true}),
                        InvalidArgumentError, "one image with the handle \"a\", got several");
  CHECK_THROWS_CONTAINS(graph::collect({relu(nameless)}, {true}), InvalidArgumentError,
                        "NeuronReLUNode \"NeuronReLU1\": source: expected an image with a handle");
  const FilterNode exported = relu(a);
  exported.result_image().set_export_from_graph(true);
  CHECK_THROWS_CONTAINS(graph::collect({relu(exported)}, {true}), InvalidArgumentError,
                        "since it is exported");
  const FilterNode one = relu(a), two = relu(a);
  one.result_image().set_handle("out");
  two.result_image().set_handle("out");
  CHECK_THROWS_CONTAINS(graph::collect({one, two}, {true, true}), InvalidArgumentError,
                        "\"out\", got several");
}

TEST_CASE("network as Graphviz source: classes, labels, gradient colour, dashed weights, quoting") {
  const ImageNode a("say \"a\"");
  const FilterNode conv = convolution(a, weights(1, 1, "conv", adam()));
  const graph::Network network = graph::collect(results_of(train(conv)), {false});
  const std::string dot = graph::to_dot(network);
  CHECK(dot.starts_with("digraph network {"));
  CHECK(dot.find("\"say \\\"a\\\"\"") != std::string::npos);
  CHECK(dot.find("ConvolutionGradientNode\\nconv.gradient\", fillcolor") != std::string::npos);
  CHECK(dot.find("[style=dashed]") != std::string::npos);
  CHECK(dot.find("not needed") != std::string::npos);
}
