// SPDX-License-Identifier: MIT
// What training_graph makes of inference graphs.
#include "base/attributes.h"
#include "graph_fixtures.h"
#include "testing.h"

namespace {

using namespace fixtures;

std::vector<std::string> classes_of(const std::vector<FilterNode>& nodes) {
  std::vector<std::string> names;
  for (const FilterNode& each : nodes) names.emplace_back(each.class_name());
  return names;
}

/// All gradient nodes, in the order in which the handler saw them.
std::vector<FilterNode> made_by(const FilterNode& last) {
  std::vector<FilterNode> made;
  last.training_graph(std::nullopt, [&](FilterNode& gradient, const std::optional<FilterNode>&,
                                        const std::optional<ImageNode>&,
                                        const ImageNode&) { made.push_back(gradient); });
  return made;
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("a chain: gradients in reverse order, one end") {
  const ImageNode source("source"), labels("labels");
  const FilterNode conv = convolution(source, weights(1, 1, "conv", adam()));
  const FilterNode neuron = relu(conv);
  const FilterNode end = loss(neuron, labels);
  const FilterNode start = node("InitialGradientNode", {end});
  const std::vector<FilterNode> made = made_by(start);
  CHECK_EQ(classes_of(made),
           (Names{"LossGradientNode", "NeuronGradientNode", "ConvolutionGradientNode"}));
  REQUIRE(made.size() == 3);
  CHECK(made[0].sources() == (std::vector<ImageNode>{start, neuron, labels}));
  CHECK(made[1].sources() == (std::vector<ImageNode>{made[0], conv}));
  CHECK(made[2].sources() == (std::vector<ImageNode>{made[1], source}));
  CHECK(made[2].inference_node() == conv);
  CHECK(made[2].weights() == conv.weights());
  CHECK_EQ(made[2].label(), std::string("conv.gradient"));
  const std::vector<FilterNode> ends = start.training_graph();
  CHECK_EQ(classes_of(ends), Names{"ConvolutionGradientNode"});
}

TEST_CASE(
    "the handler sees gradient node, inference node, its source and the gradient that enters") {
  const ImageNode source("source");
  const FilterNode first_neuron = relu(source), second = relu(first_neuron);
  const FilterNode start = node("InitialGradientNode", {second});
  std::size_t calls = 0;
  ImageNode entering = start;
  start.training_graph(
      std::nullopt,
      [&](FilterNode& gradient, const std::optional<FilterNode>& inference,
          const std::optional<ImageNode>& inference_source, const ImageNode& gradient_source) {
        const FilterNode& expected = calls++ == 0 ? second : first_neuron;
        CHECK(inference == expected);
        CHECK(inference_source == expected.sources()[0]);
        CHECK(gradient_source == entering);
        CHECK(gradient.sources()[0] == entering);
        entering = gradient.result_image();
      });
  CHECK_EQ(calls, 2);
}

TEST_CASE(
    "an image with several readers: gradients are added, the handler gets no inference node") {
  const ImageNode source("source");
  const FilterNode shared = relu(source);
  const FilterNode left = relu(shared), right = relu(shared, 0.5), third = relu(shared, 0.25);
  const FilterNode sum = node("AdditionNode", {node("AdditionNode", {left, right}), third});
  std::size_t joins = 0;
  const std::vector<FilterNode> ends = train(
      sum, [&](FilterNode& gradient, const std::optional<FilterNode>& inference,
               const std::optional<ImageNode>& source_image, const ImageNode& gradient_source) {
        if (inference) return;
        ++joins;
        CHECK_EQ(gradient.class_name(), std::string_view("AdditionNode"));
        CHECK(!source_image.has_value());
        CHECK(gradient.sources()[0] == gradient_source);
      });
  CHECK_EQ(joins, 2);
  REQUIRE(ends.size() == 1);
  CHECK(ends[0].inference_node() == shared);
}

TEST_CASE("several readers of a graph input are joined as well") {
  const ImageNode source("source");
  const FilterNode sum = node("AdditionNode", {relu(source), relu(source, 0.5)});
  const std::vector<FilterNode> ends = train(sum);
  REQUIRE(ends.size() == 1);
  CHECK_EQ(ends[0].class_name(), std::string_view("AdditionNode"));
  CHECK_EQ(ends[0].label(), std::string("source.gradient_sum"));
}

TEST_CASE("an image read twice by one node") {
  const ImageNode source("source");
  const FilterNode doubled = node("AdditionNode", {source, source});
  const std::vector<FilterNode> made = made_by(node("InitialGradientNode", {doubled}));
  CHECK_EQ(classes_of(made),
           (Names{"AdditionGradientNode", "AdditionGradientNode", "AdditionNode"}));
  CHECK(get_bool(made[1].attributes(), "is_secondary_source_filter"));
  CHECK_EQ(made[1].label(), doubled.label() + ".gradient1");
}

TEST_CASE("end nodes come in the order in which they were made") {
  const ImageNode a("a"), b("b"), c("c");
  const std::vector<FilterNode> ends =
      train(node("ConcatenationNode", {relu(a), relu(b), relu(c)}));
  REQUIRE(ends.size() == 3);
  // The walk goes back in reverse running order: the last source's filter first.
  CHECK(ends[0].sources()[1] == c);
  CHECK(ends[1].sources()[1] == b);
  CHECK(ends[2].sources()[1] == a);
}

TEST_CASE("stop_gradient ends the walk at that image") {
  const ImageNode source("source");
  const FilterNode before = relu(source);
  before.result_image().set_stop_gradient(true);
  const FilterNode conv = convolution(before, weights(1, 1, "conv", adam()));
  const std::vector<FilterNode> ends = train(conv);
  CHECK_EQ(classes_of(ends), Names{"ConvolutionGradientNode"});
}

TEST_CASE("stop_gradient on one of two ways leaves the other") {
  const ImageNode source("source");
  const FilterNode shared = relu(source), stopped = relu(shared), open = relu(shared, 0.5);
  stopped.result_image().set_stop_gradient(true);
  const std::vector<FilterNode> made =
      made_by(node("InitialGradientNode", {node("AdditionNode", {stopped, open})}));
  CHECK_EQ(classes_of(made), (Names{"AdditionGradientNode", "AdditionGradientNode",
                                    "NeuronGradientNode", "NeuronGradientNode"}));
}

TEST_CASE("a source gradient of one's own, and the node's own result") {
  const ImageNode source("source"), gradient("gradient");
  const FilterNode neuron = relu(source);
  CHECK(neuron.training_graph(gradient)[0].sources()[0] == gradient);
  CHECK(neuron.training_graph()[0].sources()[0] == neuron.result_image());
  // An InitialGradientNode stands behind the image whose gradient it is.
  CHECK(node("InitialGradientNode", {neuron}).training_graph(gradient)[0].sources()[1] == source);
}

TEST_CASE("labels get a gradient only where they lead back to weights that are updated") {
  const ImageNode source("source"), labels("labels"), factors("factors");
  const auto data = weights(1, 1, "labels_net", adam());
  const FilterNode made_labels = convolution(labels, data);
  const FilterNode end = node("ForwardLossNode", {relu(source), made_labels, factors},
                              {{"loss_type", std::int64_t{1}}});
  const FilterNode start = node("InitialGradientNode", {end});
  std::vector<FilterNode> made = made_by(start);
  CHECK_EQ(classes_of(made), (Names{"LossGradientNode", "LossGradientNode",
                                    "ConvolutionGradientNode", "NeuronGradientNode"}));
  CHECK(!get_bool(made[0].attributes(), "is_labels_gradient"));
  CHECK(get_bool(made[1].attributes(), "is_labels_gradient"));
  data->set_trainable(false);
  CHECK_EQ(classes_of(made_by(start)), (Names{"LossGradientNode", "NeuronGradientNode"}));
  data->set_trainable(true);
  made_labels.result_image().set_stop_gradient(true);
  CHECK_EQ(classes_of(made_by(start)), (Names{"LossGradientNode", "NeuronGradientNode"}));
}

TEST_CASE("gradient_filters: one a source that has a derivative") {
  const ImageNode a("a"), b("b"), gradient("gradient");
  CHECK_EQ(loss(a, b).gradient_filters(gradient).size(), 2);  // predictions and labels
  const FilterNode weighted = node("ForwardLossNode", {a, b, a}, {{"loss_type", std::int64_t{1}}});
  CHECK_EQ(weighted.gradient_filters(gradient).size(), 3);
  CHECK_EQ(node("AdditionNode", {a, b}).gradient_filters(gradient).size(), 2);
  CHECK_EQ(relu(a).gradient_filter(gradient).class_name(), std::string_view("NeuronGradientNode"));
}

TEST_CASE("a node without derivative is named") {
  const ImageNode source("source"), gradient("gradient");
  FilterNode second =
      node("NeuronGradientNode", {gradient, source}, {{"neuron_type", std::int64_t{1}}});
  second.set_label("here");
  CHECK_THROWS_CONTAINS(
      train(relu(second)), InvalidArgumentError,
      "NeuronGradientNode \"here\": gradient: expected a node that has a derivative");
  CHECK_THROWS_AS(second.gradient_filters(gradient), InvalidArgumentError);
  CHECK_THROWS_AS(train(relu(node("InitialGradientNode", {source}))), InvalidArgumentError);
}

TEST_CASE("padding policy and training style go to the gradient node; the handler may change it") {
  const ImageNode source("source");
  FilterNode conv = convolution(source, weights(1, 1, "conv", adam()));
  conv.set_padding_policy({PaddingMethod::SIZE_VALID_ONLY});
  conv.set_training_style(TrainingStyle::UPDATE_DEVICE_NONE);
  const std::vector<FilterNode> ends =
      train(conv, [](FilterNode& gradient, const std::optional<FilterNode>&,
                     const std::optional<ImageNode>&,
                     const ImageNode&) { gradient.set_label("renamed"); });
  REQUIRE(ends.size() == 1);
  CHECK_EQ(ends[0].padding_policy().method, 0);
  CHECK(ends[0].training_style() == TrainingStyle::UPDATE_DEVICE_NONE);
  CHECK_EQ(ends[0].label(), std::string("renamed"));
}

TEST_CASE("all neurons share a gradient node that knows their parameters") {
  const ImageNode source("source");
  const FilterNode relun = node("NeuronReLUNNode", {source}, {{"a", 0.25}, {"b", 3.0}});
  const FilterNode prelu = node("NeuronPReLUNode", {source}, {{"a", std::vector<double>{0.5}}});
  const AttributeMap of_relun = relun.gradient_filter(source).attributes();
  CHECK(of_relun.at("neuron_type") == AttributeValue(std::int64_t{11}));
  CHECK(of_relun.at("a") == AttributeValue(0.25) && of_relun.at("b") == AttributeValue(3.0));
  CHECK(prelu.gradient_filter(source).attribute("parameters") ==
        AttributeValue(std::vector<double>{0.5}));
}
