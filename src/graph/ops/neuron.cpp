// SPDX-License-Identifier: MIT
// Neurons. Operations:
//   neuron           source -> result
//   neuron_gradient  gradient, x -> source gradient; x is the neuron's source, or its result where
//                    the attribute from_result says so (the planner's choice)
#include <limits>

#include "base/attributes.h"
#include "base/check.h"
#include "graph/lowering.h"
#include "graph/node_table.h"
#include "graph/ops/shapes.h"

namespace mpsnn::graph {
namespace {

constexpr double kFloatMax = std::numeric_limits<float>::max();

/// The operation's attributes. A class that has no b, say, leaves it at 0; PReLU's `a` is its list.
AttributeMap resolved(const FilterRecord& node) {
  AttributeMap attributes = {{"neuron_type", node.attributes.find("neuron_type")->second},
                             {"neuron_a", 0.0},
                             {"neuron_b", 0.0},
                             {"neuron_c", 0.0},
                             {"neuron_parameters", std::vector<double>()}};
  for (const auto& [name, value] : node.attributes) {
    if (std::holds_alternative<std::vector<double>>(value)) {
      attributes["neuron_parameters"] = value;
    } else if (name == "a" || name == "b" || name == "c") {
      attributes["neuron_" + name] = value;
    }
  }
  return attributes;
}

void check_channels(const FilterRecord& node, std::string_view argument, const ImageSize& source) {
  const AttributeMap attributes = resolved(node);
  if (get_int(attributes, "neuron_type") != static_cast<std::int64_t>(NeuronType::PRELU)) return;
  const auto count = static_cast<std::int64_t>(get_floats(attributes, "neuron_parameters").size());
  if (source.channels != count)
    fail(node, argument, str(count, " feature channels"), source.channels);
}

ImageSize forward_shape(const ShapeQuery& query) {
  check_channels(query.node, "source", query.sources[0]);
  return query.sources[0];
}

ImageSize gradient_shape(const ShapeQuery& query) {
  check_channels(query.node, "source_image", query.sources[1]);
  expect_size(query, 0, "source_gradient", query.sources[1]);
  return query.sources[1];
}

void lower_forward(Lowering& to) {
  to.add(OpId::neuron, {to.source(0)}, {to.result()}, resolved(to.node()));
}

void lower_gradient(Lowering& to) {
  AttributeMap attributes = resolved(to.node());
  attributes["from_result"] = false;
  to.add(OpId::neuron_gradient, {to.source(0), to.source(1)}, {to.result()}, std::move(attributes));
}

/// All neurons share one gradient node class: it takes the type and all parameters.
FilterNode make_gradient(const GradientQuery& query) {
  AttributeMap attributes;
  for (const auto& [name, value] : resolved(*query.forward.record())) {
    const std::string_view prefix = "neuron_";
    const bool keeps_name = name == "neuron_type";
    attributes.emplace(keeps_name ? name : name.substr(prefix.size()), value);
  }
  return FilterNode("NeuronGradientNode", gradient_then_sources(query), std::move(attributes));
}

AttributeMap neuron_type(NeuronType type) {
  return {{"neuron_type", static_cast<std::int64_t>(type)}};
}

AttributeSpec number(std::string_view name, std::string_view doc, double value) {
  return {.name = name,
          .type = AttributeType::FLOAT,
          .doc = doc,
          .default_value = value,
          .minimum = -kFloatMax,
          .maximum = kFloatMax};
}

SourceSpec source() { return {.name = "source", .doc = "any image"}; }

NodeClass neuron_class(NodeClass row) {
  row.family = "neuron";
  row.sources = {source()};
  row.shape = forward_shape;
  row.lower = lower_forward;
  row.gradient_of = make_gradient;
  return row;
}

NodeClass gradient_class() {
  const std::int64_t relu = static_cast<std::int64_t>(NeuronType::RELU);
  const std::int64_t relun = static_cast<std::int64_t>(NeuronType::RELUN);
  const std::int64_t prelu = static_cast<std::int64_t>(NeuronType::PRELU);
  return {
      .name = "NeuronGradientNode",
      .apple = "MPSCNNNeuronGradientNode",
      .family = "neuron",
      .brief = "Gradient of a neuron's source, for all neuron kinds",
      .doc =
          "result = source_gradient * f'(source_image), of the source's size. For which derivative "
          "stands where f has none see the forward nodes.",
      .sources = {{.name = "source_gradient", .doc = "gradient of the neuron's result"},
                  {.name = "source_image", .doc = "the neuron's source"}},
      .attributes = {{.name = "neuron_type",
                      .type = AttributeType::ENUM,
                      .doc = "kind of the neuron",
                      .enum_name = "NeuronType",
                      .supported = {relu, relun, prelu}},
                     number("a", "parameter a", 0.0),
                     number("b", "parameter b", 0.0),
                     number("c", "parameter c", 0.0),
                     {.name = "parameters",
                      .type = AttributeType::FLOATS,
                      .doc = "PRELU: the slope a of each feature channel",
                      .default_value = std::vector<double>(),
                      .minimum = -kFloatMax,
                      .maximum = kFloatMax}},
      .gradient = true,
      .shape = gradient_shape,
      .lower = lower_gradient};
}

}  // namespace

std::vector<NodeClass> neuron_nodes() {
  return {
      neuron_class(
          {.name = "NeuronReLUNode",
           .apple = "MPSCNNNeuronReLUNode",
           .family = {},
           .brief = "Rectified linear unit",
           .doc =
               "f(x) = x for x >= 0, a * x else. The derivative at exactly 0 is a, as in PyTorch "
               "and JAX. Fused into the convolution before it where nothing else reads that.",
           .sources = {},
           .attributes = {number("a", "slope below 0", 0.0)},
           .fixed = neuron_type(NeuronType::RELU)}),
      neuron_class(
          {.name = "NeuronReLUNNode",
           .apple = "MPSCNNNeuronReLUNNode",
           .family = {},
           .brief = "Rectified linear unit with an upper bound",
           .doc =
               "f(x) = min(x for x >= 0, a * x else; b). The derivative is 1 inside, a for x <= 0 "
               "and 0 for x >= b (Apple's header writes b, which is no derivative). The default "
               "a = 1 is Apple's; ReLU6 is a = 0, b = 6.",
           .sources = {},
           .attributes = {number("a", "slope below 0", 1.0), number("b", "upper bound", 6.0)},
           .fixed = neuron_type(NeuronType::RELUN)}),
      neuron_class({.name = "NeuronPReLUNode",
                    .apple = "MPSCNNNeuronPReLUNode",
                    .family = {},
                    .brief = "Rectified linear unit with a slope of its own for each channel",
                    .doc = "f(x) = x for x >= 0, a[c] * x else, c the feature channel. The slopes "
                           "are constants: "
                           "they are not trained. Error at encode where the source has another "
                           "number of channels.",
                    .sources = {},
                    .attributes = {{.name = "a",
                                    .type = AttributeType::FLOATS,
                                    .doc = "slope below 0, one a feature channel",
                                    .minimum = -kFloatMax,
                                    .maximum = kFloatMax}},
                    .fixed = neuron_type(NeuronType::PRELU)}),
      gradient_class(),
  };
}

}  // namespace mpsnn::graph
