// SPDX-License-Identifier: MIT
// Pooling. Operations:
//   pooling_max, pooling_average, pooling_l2_norm  source -> result
//   pooling_max_gradient, pooling_l2_norm_gradient gradient, source, result -> source gradient
//   pooling_average_gradient                       gradient -> source gradient
#include <algorithm>
#include <string>
#include <utility>

#include "base/attributes.h"
#include "graph/geometry.h"
#include "graph/lowering.h"
#include "graph/node_table.h"
#include "graph/ops/shapes.h"

namespace mpsnn::graph {
namespace {

/// The node's attribute, or what stands for it in classes that do not have it.
std::int64_t number_or(const FilterRecord& node, std::string_view name, std::int64_t otherwise) {
  const auto found = node.attributes.find(std::string(name));
  return found == node.attributes.end() ? otherwise : std::get<std::int64_t>(found->second);
}

Geometry geometry_of(const FilterRecord& node, const ImageSize& source) {
  const AttributeMap& a = node.attributes;
  return place(node,
               {get_int(a, "kernel_height"), get_int(a, "stride_in_pixels_y"),
                number_or(node, "dilation_rate_y", 1)},
               {get_int(a, "kernel_width"), get_int(a, "stride_in_pixels_x"),
                number_or(node, "dilation_rate_x", 1)},
               source);
}

ImageSize result_size(const FilterRecord& node, const ImageSize& source) {
  const Geometry geometry = geometry_of(node, source);
  return {source.n, geometry.at_y.size, geometry.at_x.size, source.channels};
}

ImageSize forward_shape(const ShapeQuery& query) {
  return result_size(query.node, query.sources[0]);
}

ImageSize gradient_shape(const ShapeQuery& query) {
  const ImageSize result = result_size(query.node, query.sources[1]);
  expect_size(query, 0, "source_gradient", result);
  if (query.sources.size() > 2) expect_size(query, 2, "result_image", result);
  return query.sources[1];
}

AttributeMap resolved(const FilterRecord& node, const ImageSize& source) {
  const Geometry geometry = geometry_of(node, source);
  AttributeMap attributes = {{"dilation_y", geometry.y.dilation},
                             {"dilation_x", geometry.x.dilation}};
  geometry.describe(attributes);
  attributes["edge_mode"] = geometry.edge_mode_or(
      number_or(node, "edge_mode", static_cast<std::int64_t>(ImageEdgeMode::ZERO)));
  return attributes;
}

/// EXCLUDE_EDGES: the border of zeros is the padding, what lies beyond does not count (Caffe).
AttributeMap resolved_average(const FilterRecord& node, const ImageSize& source) {
  AttributeMap attributes = resolved(node, source);
  attributes["zero_pad_y"] = get_int(node.attributes, "zero_pad_size_y");
  attributes["zero_pad_x"] = get_int(node.attributes, "zero_pad_size_x");
  if (node.padding.method & PaddingMethod::EXCLUDE_EDGES) {
    const Geometry geometry = geometry_of(node, source);
    attributes["edge_mode"] = static_cast<std::int64_t>(ImageEdgeMode::CLAMP);
    attributes["zero_pad_y"] = std::max<std::int64_t>(geometry.at_y.pad, 0);
    attributes["zero_pad_x"] = std::max<std::int64_t>(geometry.at_x.pad, 0);
  }
  return attributes;
}

template <OpId op>
void lower_forward(Lowering& to) {
  to.add(op, {to.source(0)}, {to.result()}, resolved(to.node(), to.source_size(0)));
}

template <OpId op>
void lower_gradient(Lowering& to) {
  to.add(op, {to.source(0), to.source(1), to.source(2)}, {to.result()},
         resolved(to.node(), to.source_size(1)));
}

void lower_max_gradient(Lowering& to) {
  const AttributeMap attributes = resolved(to.node(), to.source_size(1));
  ValueId result = to.source(2);
  if (to.is_rounded(2, 1)) {
    result = to.temporary("result", to.source_size(2));
    to.add(OpId::pooling_max, {to.source(1)}, {result}, attributes);
  }
  to.add(OpId::pooling_max_gradient, {to.source(0), to.source(1), result}, {to.result()},
         attributes);
}

void lower_average(Lowering& to) {
  to.add(OpId::pooling_average, {to.source(0)}, {to.result()},
         resolved_average(to.node(), to.source_size(0)));
}

void lower_average_gradient(Lowering& to) {
  to.add(OpId::pooling_average_gradient, {to.source(0)}, {to.result()},
         resolved_average(to.node(), to.source_size(1)));
}

std::string name_of_gradient(const FilterNode& forward) {
  const std::string_view name = forward.class_name();
  return str(name.substr(0, name.size() - std::string_view("Node").size()), "GradientNode");
}

FilterNode make_gradient(const GradientQuery& query) {
  std::vector<ImageNode> sources = gradient_then_sources(query);
  sources.push_back(query.forward.result_image());
  return FilterNode(name_of_gradient(query.forward), sources, query.forward.attributes());
}

FilterNode make_average_gradient(const GradientQuery& query) {
  return FilterNode("PoolingAverageGradientNode", gradient_then_sources(query),
                    query.forward.attributes());
}

std::vector<AttributeSpec> window_attributes() {
  const auto size = [](std::string_view name, std::string_view doc, std::string_view default_from) {
    return AttributeSpec{.name = name,
                         .type = AttributeType::INT,
                         .doc = doc,
                         .default_from = default_from,
                         .minimum = 1};
  };
  return {size("kernel_width", "columns of the window", {}),
          size("kernel_height", "rows of the window", "kernel_width"),
          size("stride_in_pixels_x", "columns from window to window", "kernel_width"),
          size("stride_in_pixels_y", "rows from window to window", "kernel_height")};
}

AttributeSpec edge_mode(std::string_view doc) {
  return {.name = "edge_mode",
          .type = AttributeType::ENUM,
          .doc = doc,
          .default_value = static_cast<std::int64_t>(ImageEdgeMode::CLAMP),
          .enum_name = "ImageEdgeMode",
          .supported = {static_cast<std::int64_t>(ImageEdgeMode::ZERO),
                        static_cast<std::int64_t>(ImageEdgeMode::CLAMP)}};
}

std::vector<AttributeSpec> max_attributes() {
  std::vector<AttributeSpec> attributes = window_attributes();
  attributes.push_back(
      edge_mode("CLAMP: the window shrinks to the image; ZERO: zeros outside take part"));
  return attributes;
}

std::vector<AttributeSpec> average_attributes() {
  std::vector<AttributeSpec> attributes = window_attributes();
  attributes.push_back(
      edge_mode("CLAMP: divided by positions in image and border; ZERO: by the window's area"));
  for (const auto& [name, doc] :
       {std::pair("zero_pad_size_x", "columns of zeros on each side that count with CLAMP"),
        std::pair("zero_pad_size_y", "rows of zeros on each side that count with CLAMP")}) {
    attributes.push_back({.name = name,
                          .type = AttributeType::INT,
                          .doc = doc,
                          .default_value = std::int64_t{0},
                          .minimum = 0});
  }
  return attributes;
}

std::vector<AttributeSpec> dilated_attributes() {
  std::vector<AttributeSpec> attributes = max_attributes();
  const auto rate = [](std::string_view name, std::string_view doc, std::string_view from) {
    return AttributeSpec{
        .name = name, .type = AttributeType::INT, .doc = doc, .default_from = from, .minimum = 1};
  };
  attributes.insert(attributes.end() - 1,
                    {rate("dilation_rate_x", "columns from one position of the window to the next",
                          "kernel_width"),
                     rate("dilation_rate_y", "rows from one position of the window to the next",
                          "kernel_height")});
  return attributes;
}

std::vector<SourceSpec> gradient_sources(bool with_result) {
  std::vector<SourceSpec> sources = {
      {.name = "source_gradient", .doc = "gradient of the pooling's result"},
      {.name = "source_image",
       .doc =
           with_result ? "the pooling's source" : "the pooling's source; only its size is used"}};
  if (with_result) sources.push_back({.name = "result_image", .doc = "the pooling's result"});
  return sources;
}

NodeClass forward_class(NodeClass row) {
  row.family = "pooling";
  row.sources = {{.name = "source", .doc = "any image"}};
  row.has_padding = true;
  row.shape = forward_shape;
  return row;
}

NodeClass gradient_class(NodeClass row) {
  row.family = "pooling";
  row.gradient = true;
  row.has_padding = true;
  row.shape = gradient_shape;
  return row;
}

constexpr std::string_view kMaxDoc =
    R"(result[n, y, x, c] = the largest source[n, y * stride - pad + i, x * stride - pad + j, c] of the window. With
edge mode CLAMP, the default, positions outside of the image do not take part; with ZERO they count as 0.

**Result size** by the padding policy, as ConvolutionNode's; the default, SIZE_SAME, gives ceil(n / stride).

`PoolingMaxNode(source, 2)` halves both sizes: height and strides default to the width.)";

constexpr std::string_view kMaxGradientDoc =
    "result[n, p, q, c] = the sum of source_gradient[n, y, x, c] over the windows (y, x) whose "
    "largest value is at (p, q): each gradient goes to the position of its window's largest value; "
    "of equal ones to the first in row order. Overlapping windows add up.\n\n**Result size**: "
    "source_image's.";

constexpr std::string_view kDilatedDoc =
    R"(PoolingMaxNode with gaps in its windows: result[n, y, x, c] = the largest
source[n, y * stride - pad + i * dilation_rate_y, x * stride - pad + j * dilation_rate_x, c] over i < kernel_height,
j < kernel_width. Edge modes as PoolingMaxNode's. The padding policy sees windows of
(kernel - 1) * dilation + 1 rows or columns.

**Result size** by the padding policy, as ConvolutionNode's; the default, SIZE_SAME, gives ceil(n / stride).

As with Apple's filterSize:, everything that is not given follows from the width: `DilatedPoolingMaxNode(source, 2)`
has windows of 2 x 2, strides of 2 and dilation rates of 2.)";

constexpr std::string_view kAverageDoc =
    R"(result[n, y, x, c] = the sum of source[n, y * stride - pad + i, x * stride - pad + j, c] over the positions of the
window that lie in the image, divided by
- edge mode ZERO: kernel_height * kernel_width, always;
- edge mode CLAMP, the default: the positions that lie in the image, or in a border of zero_pad_size_y rows and
  zero_pad_size_x columns of zeros around it. A window wholly outside gives 0.

With the padding method's EXCLUDE_EDGES the border is the padding itself (as many rows on each side as the policy
puts before the image) and what lies beyond does not count: Caffe's average. edge_mode and zero_pad_size are then
not used.

**Global average pooling**: kernel_width and kernel_height of the image's size, SIZE_VALID_ONLY.

**Result size** by the padding policy, as ConvolutionNode's; the default, SIZE_SAME, gives ceil(n / stride).)";

constexpr std::string_view kL2NormDoc =
    R"(result[n, y, x, c] = sqrt(sum of source[n, y * stride - pad + i, x * stride - pad + j, c] ^ 2 over the window).
Positions outside of the image add nothing; Apple's edge modes do not differ here.

**Result size** by the padding policy, as ConvolutionNode's; the default, SIZE_SAME, gives ceil(n / stride).)";

}  // namespace

std::vector<NodeClass> pooling_nodes() {
  return {
      forward_class({.name = "PoolingMaxNode",
                     .apple = "MPSCNNPoolingMaxNode",
                     .family = {},
                     .brief = "The largest value of each window",
                     .doc = kMaxDoc,
                     .sources = {},
                     .attributes = max_attributes(),
                     .lower = lower_forward<OpId::pooling_max>,
                     .gradient_of = make_gradient}),
      gradient_class({.name = "PoolingMaxGradientNode",
                      .apple = "MPSCNNPoolingMaxGradientNode",
                      .family = {},
                      .brief = "Gradient of a max pooling's source",
                      .doc = kMaxGradientDoc,
                      .sources = gradient_sources(true),
                      .attributes = max_attributes(),
                      .lower = lower_max_gradient}),
      forward_class({.name = "PoolingAverageNode",
                     .apple = "MPSCNNPoolingAverageNode",
                     .family = {},
                     .brief = "The mean of each window",
                     .doc = kAverageDoc,
                     .sources = {},
                     .attributes = average_attributes(),
                     .lower = lower_average,
                     .gradient_of = make_average_gradient}),
      gradient_class({.name = "PoolingAverageGradientNode",
                      .apple = "MPSCNNPoolingAverageGradientNode",
                      .family = {},
                      .brief = "Gradient of an average pooling's source",
                      .doc = "result[n, p, q, c] = the sum of source_gradient[n, y, x, c] / d[y, "
                             "x] over the windows (y, x) that hold (p, q), with d what the forward "
                             "node divided by.\n\n**Result size**: source_image's.",
                      .sources = gradient_sources(false),
                      .attributes = average_attributes(),
                      .lower = lower_average_gradient}),
      forward_class({.name = "PoolingL2NormNode",
                     .apple = "MPSCNNPoolingL2NormNode",
                     .family = {},
                     .brief = "The Euclidean norm of each window",
                     .doc = kL2NormDoc,
                     .sources = {},
                     .attributes = window_attributes(),
                     .lower = lower_forward<OpId::pooling_l2_norm>,
                     .gradient_of = make_gradient}),
      gradient_class(
          {.name = "PoolingL2NormGradientNode",
           .apple = "MPSCNNPoolingL2NormGradientNode",
           .family = {},
           .brief = "Gradient of an L2-norm pooling's source",
           .doc = "result[n, p, q, c] = source_image[n, p, q, c] * the sum of source_gradient[n, "
                  "y, x, c] / result_image[n, y, x, c] over the windows (y, x) that hold (p, q); a "
                  "window of norm 0 adds 0.\n\n**Result size**: source_image's.",
           .sources = gradient_sources(true),
           .attributes = window_attributes(),
           .lower = lower_gradient<OpId::pooling_l2_norm_gradient>}),
      forward_class({.name = "DilatedPoolingMaxNode",
                     .apple = "MPSCNNDilatedPoolingMaxNode",
                     .family = {},
                     .brief = "The largest value of each window with gaps",
                     .doc = kDilatedDoc,
                     .sources = {},
                     .attributes = dilated_attributes(),
                     .lower = lower_forward<OpId::pooling_max>,
                     .gradient_of = make_gradient}),
      gradient_class({.name = "DilatedPoolingMaxGradientNode",
                      .apple = "MPSCNNDilatedPoolingMaxGradientNode",
                      .family = {},
                      .brief = "Gradient of a dilated max pooling's source",
                      .doc = kMaxGradientDoc,
                      .sources = gradient_sources(true),
                      .attributes = dilated_attributes(),
                      .lower = lower_max_gradient}),
  };
}

}  // namespace mpsnn::graph
