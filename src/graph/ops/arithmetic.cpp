// SPDX-License-Identifier: MIT
// Arithmetic of two images. Operations:
//   addition           primary, secondary -> clamp(p * primary_scale + s * secondary_scale + bias)
//   addition_gradient  gradient -> scale * gradient, summed over the dimensions that were broadcast
//   multiplication, division, comparison        primary, secondary -> result
//   multiplication_gradient, division_gradient  see base/ops.def
#include <algorithm>
#include <limits>
#include <utility>

#include "base/attributes.h"
#include "graph/lowering.h"
#include "graph/node_table.h"
#include "graph/ops/shapes.h"

namespace mpsnn::graph {
namespace {

constexpr double kFloatMax = std::numeric_limits<float>::max();

/// Sizes agree along each dimension, or one of them is 1 and is broadcast.
ImageSize broadcast_size(const ShapeQuery& query, std::size_t primary, std::size_t secondary) {
  const ImageSize &p = query.sources[primary], &s = query.sources[secondary];
  const auto fits = [](std::int64_t a, std::int64_t b) { return a == b || a == 1 || b == 1; };
  if (!fits(p.n, s.n) || !fits(p.height, s.height) || !fits(p.width, s.width) ||
      !fits(p.channels, s.channels)) {
    fail(query.node, "secondary_source", str(to_string(p), ", or 1 where it is broadcast"),
         to_string(s));
  }
  return {std::max(p.n, s.n), std::max(p.height, s.height), std::max(p.width, s.width),
          std::max(p.channels, s.channels)};
}

ImageSize forward_shape(const ShapeQuery& query) { return broadcast_size(query, 0, 1); }

bool is_secondary(const FilterRecord& node) {
  return get_bool(node.attributes, "is_secondary_source_filter");
}

ImageSize gradient_shape(const ShapeQuery& query) {
  expect_size(query, 0, "source_gradient", broadcast_size(query, 1, 2));
  return query.sources[is_secondary(query.node) ? 2 : 1];
}

void check_bounds(const FilterRecord& node) {
  const double minimum = get_float(node.attributes, "minimum_value");
  if (get_float(node.attributes, "maximum_value") < minimum) {
    fail(node, "maximum_value", str(">= ", minimum), get_float(node.attributes, "maximum_value"));
  }
}

void lower_addition(Lowering& to) {
  to.add(OpId::addition, {to.source(0), to.source(1)}, {to.result()}, to.node().attributes);
}

void lower_scaled(Lowering& to, double scale) {
  if (scale == 1.0 && to.result_can_be(to.source(0))) {
    to.result_is(to.source(0));  // the identity: no operation, no memory
  } else {
    to.add(OpId::addition_gradient, {to.source(0)}, {to.result()}, {{"scale", scale}});
  }
}

double scale_of(const FilterRecord& node) {
  return get_float(node.attributes, is_secondary(node) ? "secondary_scale" : "primary_scale");
}

void lower_addition_gradient(Lowering& to) { lower_scaled(to, scale_of(to.node())); }

void lower_subtraction_gradient(Lowering& to) {
  const double scale = scale_of(to.node());
  lower_scaled(to, is_secondary(to.node()) ? -scale : scale);
}

AttributeMap gradient_attributes(const GradientQuery& query) {
  AttributeMap attributes = shared_attributes(query.forward, {"primary_scale", "secondary_scale"});
  attributes["is_secondary_source_filter"] = query.source == 1;
  return attributes;
}

FilterNode make_addition_gradient(const GradientQuery& query) {
  return FilterNode("AdditionGradientNode", gradient_then_sources(query),
                    gradient_attributes(query));
}

void lower_subtraction(Lowering& to) {
  AttributeMap attributes = to.node().attributes;
  attributes["secondary_scale"] = -get_float(attributes, "secondary_scale");
  to.add(OpId::addition, {to.source(0), to.source(1)}, {to.result()}, attributes);
}

FilterNode make_subtraction_gradient(const GradientQuery& query) {
  return FilterNode("SubtractionGradientNode", gradient_then_sources(query),
                    gradient_attributes(query));
}

template <OpId op>
void lower_binary(Lowering& to) {
  to.add(op, {to.source(0), to.source(1)}, {to.result()}, to.node().attributes);
}

double scale_of_both(const FilterRecord& node, bool is_quotient) {
  const double primary = get_float(node.attributes, "primary_scale"),
               secondary = get_float(node.attributes, "secondary_scale");
  return is_quotient ? primary / secondary : primary * secondary;
}

void lower_multiplication_gradient(Lowering& to) {
  const std::size_t other = is_secondary(to.node()) ? 1 : 2;
  to.add(OpId::multiplication_gradient, {to.source(0), to.source(other)}, {to.result()},
         {{"scale", scale_of_both(to.node(), false)}});
}

void lower_division_gradient(Lowering& to) {
  to.add(OpId::division_gradient, {to.source(0), to.source(1), to.source(2)}, {to.result()},
         {{"scale", scale_of_both(to.node(), true)}, {"is_secondary", is_secondary(to.node())}});
}

FilterNode make_multiplication_gradient(const GradientQuery& query) {
  return FilterNode("MultiplicationGradientNode", gradient_then_sources(query),
                    gradient_attributes(query));
}

FilterNode make_division_gradient(const GradientQuery& query) {
  return FilterNode("DivisionGradientNode", gradient_then_sources(query),
                    gradient_attributes(query));
}

void check_denominator(const FilterRecord& node) {
  if (get_float(node.attributes, "secondary_scale") == 0)
    fail(node, "secondary_scale", "a number that is not 0", 0);
  if (!node.node_class->gradient) check_bounds(node);
}

AttributeSpec number(std::string_view name, std::string_view doc, double value) {
  return {.name = name,
          .type = AttributeType::FLOAT,
          .doc = doc,
          .default_value = value,
          .minimum = -kFloatMax,
          .maximum = kFloatMax};
}

std::vector<AttributeSpec> binary_attributes() {
  return {
      number("primary_scale", "factor of the primary source", 1.0),
      number("secondary_scale", "factor of the secondary source", 1.0),
      number("bias", "added to each value", 0.0),
      number("minimum_value",
             "smaller results become this; the default clamps nothing: -infinity stays",
             -kFloatMax),
      number("maximum_value",
             "larger results become this; the default clamps nothing: infinity stays", kFloatMax)};
}

std::vector<SourceSpec> binary_sources() {
  return {
      {.name = "primary_source", .doc = "any image"},
      {.name = "secondary_source", .doc = "image of the same size, or 1 where it is broadcast"}};
}

std::vector<SourceSpec> gradient_sources() {
  return {{.name = "source_gradient", .doc = "gradient of the forward node's result"},
          {.name = "primary_source", .doc = "its primary source; only the size is used"},
          {.name = "secondary_source", .doc = "its secondary source; only the size is used"}};
}

std::vector<AttributeSpec> gradient_parameters() {
  return {number("primary_scale", "the forward node's factor of the primary source", 1.0),
          number("secondary_scale", "the forward node's factor of the secondary source", 1.0),
          {.name = "is_secondary_source_filter",
           .type = AttributeType::BOOL,
           .doc = "the gradient is that of the secondary source",
           .default_value = false}};
}

std::vector<SourceSpec> gradient_sources_used() {
  return {{.name = "source_gradient", .doc = "gradient of the forward node's result"},
          {.name = "primary_source", .doc = "its primary source"},
          {.name = "secondary_source", .doc = "its secondary source"}};
}

std::vector<AttributeSpec> comparison_attributes() {
  return {{.name = "comparison_type",
           .type = AttributeType::ENUM,
           .doc = "how the primary source is compared with the secondary one",
           .default_value = static_cast<std::int64_t>(ComparisonType::EQUAL),
           .enum_name = "ComparisonType"},
          {.name = "threshold",
           .type = AttributeType::FLOAT,
           .doc = "EQUAL and NOT_EQUAL: difference up to which values are equal",
           .default_value = 0.0,
           .minimum = 0,
           .maximum = kFloatMax}};
}

constexpr std::string_view kAdditionDoc =
    R"(result = clamp(primary_scale * primary + secondary_scale * secondary + bias, minimum_value, maximum_value).

**Result size**: along each of N, H, W and C the sources' common size; a source whose size is 1 there is
broadcast. Error at encode where the sizes differ and neither is 1.

**Unlike Apple**: the graph heeds the scales (Apple's graph was measured to ignore primary_scale).)";

constexpr std::string_view kSubtractionDoc =
    R"(result = clamp(primary_scale * primary - secondary_scale * secondary + bias, minimum_value, maximum_value).

**Result size**: as AdditionNode's; a source whose size is 1 along a dimension is broadcast. Error at encode
where the sizes differ and neither is 1.)";

constexpr std::string_view kMultiplicationDoc =
    R"(result = clamp(primary_scale * primary * secondary_scale * secondary + bias, minimum_value, maximum_value).

**Result size**: as AdditionNode's; a source whose size is 1 along a dimension is broadcast. Error at encode
where the sizes differ and neither is 1.)";

constexpr std::string_view kDivisionDoc =
    R"(result = clamp(primary_scale * primary / (secondary_scale * secondary) + bias, minimum_value, maximum_value).
A secondary value of 0 gives infinity or NaN, as the formula says. Error where secondary_scale is 0.

**Result size**: as AdditionNode's; a source whose size is 1 along a dimension is broadcast. Error at encode
where the sizes differ and neither is 1.

**Unlike Apple**: it has a gradient.)";

constexpr std::string_view kComparisonDoc =
    R"(result = 1 where the comparison of primary with secondary holds, 0 elsewhere. EQUAL holds where
abs(primary - secondary) <= threshold, NOT_EQUAL where EQUAL does not; the other types do not use the threshold.
With NaN only NOT_EQUAL holds.

**Result size**: as AdditionNode's; a source whose size is 1 along a dimension is broadcast. Error at encode
where the sizes differ and neither is 1.

It has no derivative: a training graph that reaches it fails, naming it. Set stop_gradient on its result where
that is used as a mask.)";

std::vector<NodeClass> product_nodes() {
  return {
      {.name = "MultiplicationNode",
       .apple = "MPSNNMultiplicationNode",
       .family = "arithmetic",
       .brief = "The scaled product of two images",
       .doc = kMultiplicationDoc,
       .sources = binary_sources(),
       .attributes = binary_attributes(),
       .check = check_bounds,
       .shape = forward_shape,
       .lower = lower_binary<OpId::multiplication>,
       .gradient_of = make_multiplication_gradient},
      {.name = "MultiplicationGradientNode",
       .apple = "MPSNNMultiplicationGradientNode",
       .family = "arithmetic",
       .brief = "Gradient of one source of a multiplication",
       .doc =
           "result = primary_scale * secondary_scale * source_gradient * the other source, summed "
           "over the dimensions along which the source was broadcast. Bias and clamping are "
           "ignored, as Apple does.\n\n**Result size**: that of the source whose gradient it is.",
       .sources = gradient_sources_used(),
       .attributes = gradient_parameters(),
       .gradient = true,
       .shape = gradient_shape,
       .lower = lower_multiplication_gradient},
      {.name = "DivisionNode",
       .apple = "MPSNNDivisionNode",
       .family = "arithmetic",
       .brief = "The scaled quotient of two images",
       .doc = kDivisionDoc,
       .sources = binary_sources(),
       .attributes = binary_attributes(),
       .check = check_denominator,
       .shape = forward_shape,
       .lower = lower_binary<OpId::division>,
       .gradient_of = make_division_gradient},
      {.name = "DivisionGradientNode",
       .apple = "",
       .family = "arithmetic",
       .brief = "Gradient of one source of a division",
       .doc = "With r = primary_scale / secondary_scale: result = r * source_gradient / secondary "
              "for the primary source, -r * source_gradient * primary / secondary^2 for the "
              "secondary one, "
              "summed over the dimensions along which the source was broadcast. Bias and clamping "
              "are ignored, as in Apple's arithmetic gradients.\n\n**Result size**: that of the "
              "source whose gradient it is.",
       .sources = gradient_sources_used(),
       .attributes = gradient_parameters(),
       .gradient = true,
       .check = check_denominator,
       .shape = gradient_shape,
       .lower = lower_division_gradient},
      {.name = "ComparisonNode",
       .apple = "MPSNNComparisonNode",
       .family = "arithmetic",
       .brief = "Compares two images, value by value",
       .doc = kComparisonDoc,
       .sources = binary_sources(),
       .attributes = comparison_attributes(),
       .shape = forward_shape,
       .lower = lower_binary<OpId::comparison>},
  };
}

}  // namespace

std::vector<NodeClass> arithmetic_nodes() {
  std::vector<NodeClass> rows = {
      {.name = "AdditionNode",
       .apple = "MPSNNAdditionNode",
       .family = "arithmetic",
       .brief = "The scaled sum of two images",
       .doc = kAdditionDoc,
       .sources = binary_sources(),
       .attributes = binary_attributes(),
       .check = check_bounds,
       .shape = forward_shape,
       .lower = lower_addition,
       .gradient_of = make_addition_gradient},
      {.name = "AdditionGradientNode",
       .apple = "MPSNNAdditionGradientNode",
       .family = "arithmetic",
       .brief = "Gradient of one source of an addition",
       .doc = "result = scale of that source * source_gradient, summed over the dimensions along "
              "which the source was broadcast. Bias and clamping are ignored, as Apple "
              "does.\n\n**Result size**: that of the source whose gradient it is.",
       .sources = gradient_sources(),
       .attributes = gradient_parameters(),
       .gradient = true,
       .shape = gradient_shape,
       .lower = lower_addition_gradient},
      {.name = "SubtractionNode",
       .apple = "MPSNNSubtractionNode",
       .family = "arithmetic",
       .brief = "The scaled difference of two images",
       .doc = kSubtractionDoc,
       .sources = binary_sources(),
       .attributes = binary_attributes(),
       .check = check_bounds,
       .shape = forward_shape,
       .lower = lower_subtraction,
       .gradient_of = make_subtraction_gradient},
      {.name = "SubtractionGradientNode",
       .apple = "MPSNNSubtractionGradientNode",
       .family = "arithmetic",
       .brief = "Gradient of one source of a subtraction",
       .doc =
           "result = scale of that source * source_gradient, negated for the secondary source, "
           "summed over the dimensions along which the source was broadcast. Bias and clamping are "
           "ignored, as Apple does.\n\n**Result size**: that of the source whose gradient it is.",
       .sources = gradient_sources(),
       .attributes = gradient_parameters(),
       .gradient = true,
       .shape = gradient_shape,
       .lower = lower_subtraction_gradient},
  };
  for (NodeClass& row : product_nodes()) rows.push_back(std::move(row));
  return rows;
}

}  // namespace mpsnn::graph
