// SPDX-License-Identifier: MIT
// Neurons. Operations:
//   neuron           source -> result
//   neuron_gradient  gradient, x -> source gradient; x is the neuron's source, or its result where
//                    the attribute from_result says so (the planner's choice)
#include <limits>
#include <utility>

#include "base/attributes.h"
#include "base/check.h"
#include "graph/lowering.h"
#include "graph/node_table.h"
#include "graph/ops/neuron.h"
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

void check_base(const FilterRecord& node) {
  const auto found = node.attributes.find("c");
  if (found == node.attributes.end()) return;
  check_neuron(node, "c", static_cast<NeuronType>(get_int(node.attributes, "neuron_type")),
               std::get<double>(found->second));
}

NodeClass neuron_class(NodeClass row) {
  row.family = "neuron";
  row.sources = {source()};
  row.check = check_base;
  row.shape = forward_shape;
  row.lower = lower_forward;
  row.gradient_of = make_gradient;
  return row;
}

std::vector<std::int64_t> all_types() {
  std::vector<std::int64_t> types;
  for (auto type = static_cast<std::int64_t>(NeuronType::RELU);
       type <= static_cast<std::int64_t>(NeuronType::GELU); ++type) {
    types.push_back(type);
  }
  return types;
}

NodeClass gradient_class() {
  return {.name = "NeuronGradientNode",
          .apple = "MPSCNNNeuronGradientNode",
          .family = "neuron",
          .brief = "Gradient of a neuron's source, for all neuron kinds",
          .doc =
              "result = source_gradient * f'(source_image), with f'(x) by neuron_type\n- RELU 1 "
              "for x > 0, a else; PRELU likewise with a[c]; RELUN likewise below b, 0 from there "
              "on;\n- LINEAR a; ABSOLUTE the sign of x; SIGMOID f(x) * (1 - f(x));\n- HARD_SIGMOID "
              "a where 0 < a * x + b < 1, 0 else; TANH a * b * (1 - tanh(b * x)^2);\n- SOFT_PLUS a "
              "* b / (1 + e^(-b * x)); SOFT_SIGN 1 / (1 + |x|)^2; ELU 1 for x > 0, a * e^x "
              "else;\n- POWER a * c * (a * x + b)^(c - 1); EXPONENTIAL a * ln(c) * f(x); LOGARITHM "
              "a / ((a * x + b) * ln(c)), ln(c) being 1 for c = -1;\n- GELU (1 + erf(x / sqrt(2))) "
              "/ 2 + x * e^(-x^2 / 2) / sqrt(2 pi).\n\nFor which derivative stands where f has "
              "none see the forward nodes.\n\n**Result size**: source_image's.",
          .sources = {{.name = "source_gradient", .doc = "gradient of the neuron's result"},
                      {.name = "source_image", .doc = "the neuron's source"}},
          .attributes = {{.name = "neuron_type",
                          .type = AttributeType::ENUM,
                          .doc = "kind of the neuron",
                          .enum_name = "NeuronType",
                          .supported = all_types()},
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
          .check = check_base,
          .shape = gradient_shape,
          .lower = lower_gradient};
}

std::vector<NodeClass> smooth_neurons() {
  return {
      neuron_class(
          {.name = "NeuronLinearNode",
           .apple = "MPSCNNNeuronLinearNode",
           .family = {},
           .brief = "Linear function",
           .doc =
               "f(x) = a * x + b. The defaults are the identity.\n\n**Result size**: the source's.",
           .sources = {},
           .attributes = {number("a", "factor", 1.0), number("b", "added to each value", 0.0)},
           .fixed = neuron_type(NeuronType::LINEAR)}),
      neuron_class({.name = "NeuronSigmoidNode",
                    .apple = "MPSCNNNeuronSigmoidNode",
                    .family = {},
                    .brief = "Logistic function",
                    .doc = "f(x) = 1 / (1 + e^-x).\n\n**Result size**: the source's.",
                    .sources = {},
                    .attributes = {},
                    .fixed = neuron_type(NeuronType::SIGMOID)}),
      neuron_class(
          {.name = "NeuronHardSigmoidNode",
           .apple = "MPSCNNNeuronHardSigmoidNode",
           .family = {},
           .brief = "Straight line between 0 and 1",
           .doc = "f(x) = clamp(a * x + b, 0, 1). The derivative is a where 0 < a * x + b < 1, NaN "
                  "where "
                  "that is NaN, and 0 elsewhere. PyTorch's hardsigmoid has a = 1 / 6.\n\n**Result "
                  "size**: the source's.",
           .sources = {},
           .attributes = {number("a", "slope", 0.2), number("b", "added before the clamping", 0.5)},
           .fixed = neuron_type(NeuronType::HARD_SIGMOID)}),
      neuron_class({.name = "NeuronTanHNode",
                    .apple = "MPSCNNNeuronTanHNode",
                    .family = {},
                    .brief = "Hyperbolic tangent",
                    .doc = "f(x) = a * tanh(b * x).\n\n**Result size**: the source's.",
                    .sources = {},
                    .attributes = {number("a", "factor of the result", 1.0),
                                   number("b", "factor of the source", 1.0)},
                    .fixed = neuron_type(NeuronType::TANH)}),
      neuron_class({.name = "NeuronAbsoluteNode",
                    .apple = "MPSCNNNeuronAbsoluteNode",
                    .family = {},
                    .brief = "Absolute value",
                    .doc = "f(x) = |x|. The derivative is the sign of x, 0 at 0, NaN at "
                           "NaN.\n\n**Result size**: the source's.",
                    .sources = {},
                    .attributes = {},
                    .fixed = neuron_type(NeuronType::ABSOLUTE)}),
      neuron_class({.name = "NeuronSoftPlusNode",
                    .apple = "MPSCNNNeuronSoftPlusNode",
                    .family = {},
                    .brief = "Smooth rectified linear unit",
                    .doc = "f(x) = a * ln(1 + e^(b * x)), computed without overflow and without "
                           "losing the digits of "
                           "small results (Apple's kernel was measured to lose them).\n\n**Result "
                           "size**: the source's.",
                    .sources = {},
                    .attributes = {number("a", "factor of the result", 1.0),
                                   number("b", "factor of the source", 1.0)},
                    .fixed = neuron_type(NeuronType::SOFT_PLUS)}),
  };
}

std::vector<NodeClass> more_neurons() {
  return {
      neuron_class({.name = "NeuronSoftSignNode",
                    .apple = "MPSCNNNeuronSoftSignNode",
                    .family = {},
                    .brief = "Sign with a soft step",
                    .doc = "f(x) = x / (1 + |x|).\n\n**Result size**: the source's.",
                    .sources = {},
                    .attributes = {},
                    .fixed = neuron_type(NeuronType::SOFT_SIGN)}),
      neuron_class({.name = "NeuronELUNode",
                    .apple = "MPSCNNNeuronELUNode",
                    .family = {},
                    .brief = "Exponential linear unit",
                    .doc = "f(x) = x for x >= 0, a * (e^x - 1) else. The derivative at exactly 0 "
                           "is a.\n\n**Result size**: the source's.",
                    .sources = {},
                    .attributes = {number("a", "negated limit at minus infinity", 1.0)},
                    .fixed = neuron_type(NeuronType::ELU)}),
      neuron_class(
          {.name = "NeuronPowerNode",
           .apple = "MPSCNNNeuronPowerNode",
           .family = {},
           .brief = "Power",
           .doc =
               "f(x) = (a * x + b)^c, as C's pow: NaN for a negative base where c is "
               "no whole number. Apple "
               "states no defaults; here they are the identity.\n\n**Result size**: the source's.",
           .sources = {},
           .attributes = {number("a", "factor of the source", 1.0), number("b", "added to it", 0.0),
                          number("c", "exponent", 1.0)},
           .fixed = neuron_type(NeuronType::POWER)}),
      neuron_class(
          {.name = "NeuronExponentialNode",
           .apple = "MPSCNNNeuronExponentialNode",
           .family = {},
           .brief = "Exponential function",
           .doc = "f(x) = c^(a * x + b), with c = -1 for e. Apple states no defaults; here they "
                  "are e^x. Error where "
                  "c is neither > 0 nor -1.\n\n**Result size**: the source's.",
           .sources = {},
           .attributes = {number("a", "factor of the source", 1.0), number("b", "added to it", 0.0),
                          number("c", "base, -1 for e", -1.0)},
           .fixed = neuron_type(NeuronType::EXPONENTIAL)}),
      neuron_class(
          {.name = "NeuronLogarithmNode",
           .apple = "MPSCNNNeuronLogarithmNode",
           .family = {},
           .brief = "Logarithm",
           .doc = "f(x) = log_c(a * x + b), with c = -1 for e. Apple states no defaults; here they "
                  "are ln x. Error where c is 1, or neither > 0 nor -1.\n\n**Result size**: the "
                  "source's.",
           .sources = {},
           .attributes = {number("a", "factor of the source", 1.0), number("b", "added to it", 0.0),
                          number("c", "base, -1 for e", -1.0)},
           .fixed = neuron_type(NeuronType::LOGARITHM)}),
      neuron_class(
          {.name = "NeuronGeLUNode",
           .apple = "MPSCNNNeuronGeLUNode",
           .family = {},
           .brief = "Gaussian error linear unit",
           .doc =
               "f(x) = x / 2 * (1 + erf(x / sqrt(2))): the exact form, not the "
               "approximation by tanh. The derivative "
               "is (1 + erf(x / sqrt(2))) / 2 + x * e^(-x^2 / 2) / sqrt(2 pi); Apple's "
               "header writes twice the "
               "second term, which is no derivative. Small results keep their digits "
               "(Apple's kernel was "
               "measured to lose them). f(-infinity) is NaN, as the formula says; the "
               "derivative at infinities is its limit, 1 and 0.\n\n**Result size**: the source's.",
           .sources = {},
           .attributes = {},
           .fixed = neuron_type(NeuronType::GELU)}),
  };
}

}  // namespace

void set_neuron(AttributeMap& attributes, const NeuronDescriptor& neuron) {
  attributes["neuron_type"] = static_cast<std::int64_t>(neuron.type);
  attributes["neuron_a"] = static_cast<double>(neuron.a);
  attributes["neuron_b"] = static_cast<double>(neuron.b);
  attributes["neuron_c"] = static_cast<double>(neuron.c);
}

void add_neuron(Lowering& to, ValueId value, const NeuronDescriptor& neuron, ValueId result) {
  AttributeMap attributes = {{"neuron_parameters", std::vector<double>()}};
  set_neuron(attributes, neuron);
  to.add(OpId::neuron, {value}, {result}, std::move(attributes));
}

void check_neuron(const FilterRecord& node, std::string_view argument, NeuronType type, double c) {
  if (c > 0 && !(type == NeuronType::LOGARITHM && c == 1)) return;
  if (c == -1) return;
  if (type == NeuronType::EXPONENTIAL) fail(node, argument, "> 0, or -1 for e", c);
  if (type == NeuronType::LOGARITHM) fail(node, argument, "> 0 and not 1, or -1 for e", c);
}

std::vector<NodeClass> neuron_nodes() {
  std::vector<NodeClass> rows = {
      neuron_class(
          {.name = "NeuronReLUNode",
           .apple = "MPSCNNNeuronReLUNode",
           .family = {},
           .brief = "Rectified linear unit",
           .doc =
               "f(x) = x for x >= 0, a * x else. The derivative at exactly 0 is a, as in PyTorch "
               "and JAX; so it is at NaN. Fused into the convolution before it where nothing else "
               "reads that.\n\n**Result size**: the source's.",
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
               "a = 1 is Apple's; ReLU6 is a = 0, b = 6.\n\n**Result size**: the source's.",
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
                           "number of channels.\n\n**Result size**: the source's.",
                    .sources = {},
                    .attributes = {{.name = "a",
                                    .type = AttributeType::FLOATS,
                                    .doc = "slope below 0, one a feature channel",
                                    .minimum = -kFloatMax,
                                    .maximum = kFloatMax}},
                    .fixed = neuron_type(NeuronType::PRELU)}),
  };
  for (auto family : {smooth_neurons, more_neurons}) {
    for (NodeClass& row : family()) rows.push_back(std::move(row));
  }
  rows.push_back(gradient_class());
  return rows;
}

}  // namespace mpsnn::graph
