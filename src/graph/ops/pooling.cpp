// SPDX-License-Identifier: MIT
// Pooling. Operations:
//   pooling_max           source -> result
//   pooling_max_gradient  gradient, source, result -> source gradient
#include "base/attributes.h"
#include "graph/geometry.h"
#include "graph/lowering.h"
#include "graph/node_table.h"
#include "graph/ops/shapes.h"

namespace mpsnn::graph {
namespace {

Geometry geometry_of(const FilterRecord& node, const ImageSize& source) {
  const AttributeMap& a = node.attributes;
  return place(node, {get_int(a, "kernel_height"), get_int(a, "stride_in_pixels_y"), 1},
               {get_int(a, "kernel_width"), get_int(a, "stride_in_pixels_x"), 1}, source);
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
  expect_size(query, 2, "result_image", result);
  return query.sources[1];
}

AttributeMap resolved(const FilterRecord& node, const ImageSize& source) {
  AttributeMap attributes;
  geometry_of(node, source).describe(attributes);
  attributes["edge_mode"] = node.attributes.find("edge_mode")->second;
  return attributes;
}

void lower_forward(Lowering& to) {
  to.add(OpId::pooling_max, {to.source(0)}, {to.result()}, resolved(to.node(), to.source_size(0)));
}

void lower_gradient(Lowering& to) {
  to.add(OpId::pooling_max_gradient, {to.source(0), to.source(1), to.source(2)}, {to.result()},
         resolved(to.node(), to.source_size(1)));
}

FilterNode make_gradient(const GradientQuery& query) {
  std::vector<ImageNode> sources = gradient_then_sources(query);
  sources.push_back(query.forward.result_image());
  return FilterNode("PoolingMaxGradientNode", sources, query.forward.attributes());
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
          size("stride_in_pixels_y", "rows from window to window", "kernel_height"),
          {.name = "edge_mode",
           .type = AttributeType::ENUM,
           .doc = "CLAMP: the window shrinks to the image; ZERO: zeros outside take part",
           .default_value = static_cast<std::int64_t>(ImageEdgeMode::CLAMP),
           .enum_name = "ImageEdgeMode",
           .supported = {static_cast<std::int64_t>(ImageEdgeMode::ZERO),
                         static_cast<std::int64_t>(ImageEdgeMode::CLAMP)}}};
}

constexpr std::string_view kForwardDoc =
    R"(result[n, y, x, c] = the largest source[n, y * stride - pad + i, x * stride - pad + j, c] of the window. With
edge mode CLAMP, the default, positions outside of the image do not take part; with ZERO they count as 0.

**Result size** by the padding policy, as ConvolutionNode's; the default, SIZE_SAME, gives ceil(n / stride).

`PoolingMaxNode(source, 2)` halves both sizes: height and strides default to the width.)";

}  // namespace

std::vector<NodeClass> pooling_nodes() {
  return {
      {.name = "PoolingMaxNode",
       .apple = "MPSCNNPoolingMaxNode",
       .family = "pooling",
       .brief = "The largest value of each window",
       .doc = kForwardDoc,
       .sources = {{.name = "source", .doc = "any image"}},
       .attributes = window_attributes(),
       .has_padding = true,
       .shape = forward_shape,
       .lower = lower_forward,
       .gradient_of = make_gradient},
      {.name = "PoolingMaxGradientNode",
       .apple = "MPSCNNPoolingMaxGradientNode",
       .family = "pooling",
       .brief = "Gradient of a max pooling's source",
       .doc = "Each gradient goes to the position of its window's largest value; of equal ones to "
              "the first in "
              "row order. Overlapping windows add up. The result has the source's size.",
       .sources = {{.name = "source_gradient", .doc = "gradient of the pooling's result"},
                   {.name = "source_image", .doc = "the pooling's source"},
                   {.name = "result_image", .doc = "the pooling's result"}},
       .attributes = window_attributes(),
       .gradient = true,
       .has_padding = true,
       .shape = gradient_shape,
       .lower = lower_gradient},
  };
}

}  // namespace mpsnn::graph
