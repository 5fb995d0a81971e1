// SPDX-License-Identifier: MIT
// Arithmetic of two images. Operations:
//   addition           primary, secondary -> clamp(p * primary_scale + s * secondary_scale + bias)
//   addition_gradient  gradient -> scale * gradient, summed over the dimensions that were broadcast
#include <algorithm>
#include <limits>

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

AttributeSpec number(std::string_view name, std::string_view doc, double value) {
  return {.name = name,
          .type = AttributeType::FLOAT,
          .doc = doc,
          .default_value = value,
          .minimum = -kFloatMax,
          .maximum = kFloatMax};
}

std::vector<AttributeSpec> binary_attributes() {
  return {number("primary_scale", "factor of the primary source", 1.0),
          number("secondary_scale", "factor of the secondary source", 1.0),
          number("bias", "added to each value", 0.0),
          number("minimum_value", "smaller results become this", -kFloatMax),
          number("maximum_value", "larger results become this", kFloatMax)};
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

constexpr std::string_view kAdditionDoc =
    R"(result = clamp(primary_scale * primary + secondary_scale * secondary + bias, minimum_value, maximum_value).

**Result size**: along each of N, H, W and C the sources' common size; a source whose size is 1 there is
broadcast. Error at encode where the sizes differ and neither is 1.

**Unlike Apple**: the graph heeds the scales (Apple's graph was measured to ignore primary_scale).)";

constexpr std::string_view kSubtractionDoc =
    R"(result = clamp(primary_scale * primary - secondary_scale * secondary + bias, minimum_value, maximum_value).

**Result size**: as AdditionNode's; a source whose size is 1 along a dimension is broadcast. Error at encode
where the sizes differ and neither is 1.)";

}  // namespace

std::vector<NodeClass> arithmetic_nodes() {
  return {
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
              "which the "
              "source was broadcast. Bias and clamping are ignored, as Apple does.",
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
       .doc = "result = scale of that source * source_gradient, negated for the secondary source, "
              "summed over the dimensions along which the source was broadcast. Bias and clamping "
              "are ignored, as Apple does.",
       .sources = gradient_sources(),
       .attributes = gradient_parameters(),
       .gradient = true,
       .shape = gradient_shape,
       .lower = lower_subtraction_gradient},
  };
}

}  // namespace mpsnn::graph
