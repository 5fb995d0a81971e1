// SPDX-License-Identifier: MIT
// Pooling and upsampling.
#include "backend/metal/lowering.h"
#include "base/attributes.h"
#include "graph/geometry.h"

namespace mpsnn::backend::metal {
namespace {

using graph::FilterRecord;

/// Whether a window reads outside of the image along one axis.
bool reaches_out(const graph::Window& window, const graph::Placement& at, std::int64_t source) {
  const std::int64_t end = (at.size - 1) * window.stride - at.pad + window.extent();
  return at.pad > 0 || end > source;
}

NSUInteger number(const FilterRecord& node, std::string_view name) {
  return static_cast<NSUInteger>(get_int(node.attributes, name));
}

template <class Node>
void lower_pooling(Builder& builder, const FilterRecord& node) {
  Node* made = [[[Node alloc] initWithSource:builder.source(node, 0)
                                 kernelWidth:number(node, "kernel_width")
                                kernelHeight:number(node, "kernel_height")
                             strideInPixelsX:number(node, "stride_in_pixels_x")
                             strideInPixelsY:number(node, "stride_in_pixels_y")] autorelease];
  [made setPaddingPolicy:padding_of(node)];
  builder.finish(node, made);
}

}  // namespace

/// MPS's pooling nodes have no edge mode: their kernels keep the default, zeros, which divides
/// averages by the whole window.
std::string refuse_pooling(const NodeCase& node) {
  const AttributeMap& a = node.node.attributes;
  const ImageSize size = node.source(0);
  const graph::Geometry geometry =
      graph::place(node.node, {get_int(a, "kernel_height"), get_int(a, "stride_in_pixels_y"), 1},
                   {get_int(a, "kernel_width"), get_int(a, "stride_in_pixels_x"), 1}, size);
  if (!reaches_out(geometry.y, geometry.at_y, size.height) &&
      !reaches_out(geometry.x, geometry.at_x, size.width)) {
    return {};
  }
  if (static_cast<ImageEdgeMode>(get_int(a, "edge_mode")) != ImageEdgeMode::ZERO)
    return "edge_mode: MPS's graph pools with ZERO where windows reach out of the image";
  if (node.node.padding.method & PaddingMethod::EXCLUDE_EDGES)
    return "padding: EXCLUDE_EDGES is not lowered where windows reach out of the image";
  return {};
}

void lower_pooling_max(Builder& builder, const FilterRecord& node) {
  lower_pooling<MPSCNNPoolingMaxNode>(builder, node);
}

void lower_pooling_average(Builder& builder, const FilterRecord& node) {
  lower_pooling<MPSCNNPoolingAverageNode>(builder, node);
}

void lower_upsampling_nearest(Builder& builder, const FilterRecord& node) {
  builder.finish(node, [MPSCNNUpsamplingNearestNode
                                nodeWithSource:builder.source(node, 0)
                           integerScaleFactorX:number(node, "integer_scale_factor_x")
                           integerScaleFactorY:number(node, "integer_scale_factor_y")]);
}

void lower_upsampling_bilinear(Builder& builder, const FilterRecord& node) {
  builder.finish(node, [MPSCNNUpsamplingBilinearNode
                                nodeWithSource:builder.source(node, 0)
                           integerScaleFactorX:number(node, "integer_scale_factor_x")
                           integerScaleFactorY:number(node, "integer_scale_factor_y")
                                  alignCorners:get_bool(node.attributes, "align_corners")]);
}

}  // namespace mpsnn::backend::metal
