// SPDX-License-Identifier: MIT
// Normalisation by windows of pixels or of channels. Operations, each with a gradient
// (gradient, source -> source gradient):
//   spatial_normalization         source -> result
//   local_contrast_normalization  source -> result
//   cross_channel_normalization   source -> result
#include <limits>

#include "graph/lowering.h"
#include "graph/node_table.h"
#include "graph/ops/shapes.h"

namespace mpsnn::graph {
namespace {

constexpr double kFloatMax = std::numeric_limits<float>::max();

ImageSize gradient_shape(const ShapeQuery& query) {
  expect_size(query, 0, "source_gradient", query.sources[1]);
  return query.sources[1];
}

template <OpId op>
void lower_forward(Lowering& to) {
  to.add(op, {to.source(0)}, {to.result()}, to.node().attributes);
}

template <OpId op>
void lower_gradient(Lowering& to) {
  to.add(op, {to.source(0), to.source(1)}, {to.result()}, to.node().attributes);
}

AttributeSpec size(std::string_view name, std::string_view doc, std::string_view default_from,
                   std::int64_t value) {
  AttributeSpec spec = {.name = name,
                        .type = AttributeType::INT,
                        .doc = doc,
                        .default_from = default_from,
                        .minimum = 1};
  if (default_from.empty()) spec.default_value = value;
  return spec;
}

AttributeSpec number(std::string_view name, std::string_view doc, double value,
                     double minimum = -kFloatMax) {
  return {.name = name,
          .type = AttributeType::FLOAT,
          .doc = doc,
          .default_value = value,
          .minimum = minimum,
          .maximum = kFloatMax};
}

std::vector<AttributeSpec> spatial_attributes() {
  return {size("kernel_width", "columns of the window", {}, 3),
          size("kernel_height", "rows of the window", "kernel_width", 0),
          number("alpha", "scale of the mean square", 1.0, 0.0), number("beta", "exponent", 5.0),
          number("delta", "added to the denominator's base", 1.0)};
}

std::vector<AttributeSpec> contrast_attributes() {
  return {size("kernel_width", "columns of the window", {}, 3),
          size("kernel_height", "rows of the window", "kernel_width", 0),
          number("alpha", "scale of the variance", 1.0, 0.0),
          number("beta", "exponent", 0.5),
          number("delta", "added to the denominator's base", 1.0 / 1024),
          number("p0", "share of the mean that is subtracted", 1.0),
          number("pm", "added to the result", 0.0),
          number("ps", "scale of the result", 1.0)};
}

std::vector<AttributeSpec> channel_attributes() {
  return {size("kernel_size", "feature channels of the window", {}, 5),
          number("alpha", "scale of the mean square", 1.0, 0.0), number("beta", "exponent", 5.0),
          number("delta", "added to the denominator's base", 1.0)};
}

/// A forward class and its gradient class.
struct Family {
  std::string_view name, gradient_name, apple, apple_gradient, brief, gradient_brief, doc,
      gradient_doc;
  std::vector<AttributeSpec> (*attributes)();
  void (*lower)(Lowering& to);
  void (*lower_gradient)(Lowering& to);
  FilterNode (*gradient_of)(const GradientQuery& query);
};

void append(std::vector<NodeClass>& table, const Family& of) {
  table.push_back({.name = of.name,
                   .apple = of.apple,
                   .family = "normalization",
                   .brief = of.brief,
                   .doc = of.doc,
                   .sources = {{.name = "source", .doc = "any image"}},
                   .attributes = of.attributes(),
                   .shape = size_of_source,
                   .lower = of.lower,
                   .gradient_of = of.gradient_of});
  table.push_back(
      {.name = of.gradient_name,
       .apple = of.apple_gradient,
       .family = "normalization",
       .brief = of.gradient_brief,
       .doc = of.gradient_doc,
       .sources = {{.name = "source_gradient", .doc = "gradient of the normalisation's result"},
                   {.name = "source_image", .doc = "the normalisation's source"}},
       .attributes = of.attributes(),
       .gradient = true,
       .shape = gradient_shape,
       .lower = of.lower_gradient});
}

FilterNode make_spatial_gradient(const GradientQuery& query) {
  return FilterNode("SpatialNormalizationGradientNode", gradient_then_sources(query),
                    query.forward.attributes());
}

FilterNode make_contrast_gradient(const GradientQuery& query) {
  return FilterNode("LocalContrastNormalizationGradientNode", gradient_then_sources(query),
                    query.forward.attributes());
}

FilterNode make_channel_gradient(const GradientQuery& query) {
  return FilterNode("CrossChannelNormalizationGradientNode", gradient_then_sources(query),
                    query.forward.attributes());
}

constexpr Family kSpatial = {
    "SpatialNormalizationNode",
    "SpatialNormalizationGradientNode",
    "MPSCNNSpatialNormalizationNode",
    "MPSCNNSpatialNormalizationGradientNode",
    "Divides each value by a power of the mean square of the pixels around it",
    "Gradient of a spatial normalisation's source",
    R"(result = source / (delta + alpha / (kernel_width * kernel_height) * S)^beta, where S is the
sum of the squares of the channel's values in the window. The window of pixel p goes from p - kernel / 2 to
p + (kernel - 1) / 2, with zeros outside of the image; the divisor is always its whole area. A denominator of
zero is the caller's to avoid.

**Result size**: the source's.)",
    R"(With g the source_gradient, D = delta + alpha / (kernel_width * kernel_height) * S as in the forward node's formula,
and p the pixels whose window holds pixel q:
result[q] = g[q] * D[q]^-beta - 2 * alpha * beta / (kernel_width * kernel_height) * source_image[q]
* sum over p of g[p] * source_image[p] * D[p]^(-beta - 1).

**Result size**: source_image's.)",
    spatial_attributes,
    lower_forward<OpId::spatial_normalization>,
    lower_gradient<OpId::spatial_normalization_gradient>,
    make_spatial_gradient};

constexpr Family kContrast = {
    "LocalContrastNormalizationNode",
    "LocalContrastNormalizationGradientNode",
    "MPSCNNLocalContrastNormalizationNode",
    "MPSCNNLocalContrastNormalizationGradientNode",
    "Subtracts the mean of the pixels around each value and divides by a power of their variance",
    "Gradient of a local contrast normalisation's source",
    R"(result = pm + ps * (source - p0 * M) / (delta + alpha * V)^beta, where M and V are mean and
variance of the channel's values in the window. The window of pixel p goes from p - kernel / 2 to
p + (kernel - 1) / 2; zeros outside of the image take part, the divisor is always its whole area.

**Result size**: the source's.

alpha is 1 by default as Apple's node has it; one of its headers says 0, which is the bare kernel's.)",
    R"(With g the source_gradient, s the source_image, D = delta + alpha * V and M as in the forward node's formula, K the
window's area, and p the pixels whose window holds pixel q:
result[q] = ps * (g[q] * D[q]^-beta - 1 / K * sum over p of (p0 * g[p] * D[p]^-beta
+ 2 * alpha * beta * (s[q] - M[p]) * g[p] * (s[p] - p0 * M[p]) * D[p]^(-beta - 1))).

**Result size**: source_image's.)",
    contrast_attributes,
    lower_forward<OpId::local_contrast_normalization>,
    lower_gradient<OpId::local_contrast_normalization_gradient>,
    make_contrast_gradient};

constexpr Family kChannels = {
    "CrossChannelNormalizationNode",
    "CrossChannelNormalizationGradientNode",
    "MPSCNNCrossChannelNormalizationNode",
    "MPSCNNCrossChannelNormalizationGradientNode",
    "Divides each value by a power of the mean square of the feature channels around it",
    "Gradient of a cross-channel normalisation's source",
    R"(result = source / (delta + alpha / kernel_size * S)^beta, where S is the sum of the squares of
the pixel's channels from c - kernel_size / 2 to c + (kernel_size - 1) / 2, those that there are; the divisor is
kernel_size even where the window is cut.

**Result size**: the source's.)",
    R"(With g the source_gradient, D = delta + alpha / kernel_size * S as in the forward node's formula, and p the channels
whose window holds channel q of the same pixel:
result[q] = g[q] * D[q]^-beta - 2 * alpha * beta / kernel_size * source_image[q]
* sum over p of g[p] * source_image[p] * D[p]^(-beta - 1).

**Result size**: source_image's.)",
    channel_attributes,
    lower_forward<OpId::cross_channel_normalization>,
    lower_gradient<OpId::cross_channel_normalization_gradient>,
    make_channel_gradient};

}  // namespace

std::vector<NodeClass> window_normalization_nodes() {
  std::vector<NodeClass> table;
  append(table, kSpatial);
  append(table, kContrast);
  append(table, kChannels);
  return table;
}

}  // namespace mpsnn::graph
