// SPDX-License-Identifier: MIT
// Pooling and upsampling.
#include <algorithm>

#include "backend/metal/lowering.h"
#include "backend/metal/padding.h"
#include "base/attributes.h"
#include "graph/node_table.h"

namespace mpsnn::backend::metal {
namespace {

using graph::FilterRecord;

NSUInteger number(const FilterRecord& node, std::string_view name) {
  return static_cast<NSUInteger>(get_int(node.attributes, name));
}

std::int64_t number_or(const FilterRecord& node, std::string_view name, std::int64_t otherwise) {
  return node.attributes.contains(std::string(name)) ? get_int(node.attributes, name) : otherwise;
}

WindowRule rule_of(const FilterRecord& node, const ImageSize& source) {
  const AttributeMap& a = node.attributes;
  WindowRule rule;
  rule.geometry = graph::place(node,
                               {get_int(a, "kernel_height"), get_int(a, "stride_in_pixels_y"),
                                number_or(node, "dilation_rate_y", 1)},
                               {get_int(a, "kernel_width"), get_int(a, "stride_in_pixels_x"),
                                number_or(node, "dilation_rate_x", 1)},
                               source);
  rule.edge_mode = static_cast<ImageEdgeMode>(rule.geometry.edge_mode_or(
      number_or(node, "edge_mode", static_cast<std::int64_t>(ImageEdgeMode::CLAMP))));
  rule.border_y = number_or(node, "zero_pad_size_y", 0);
  rule.border_x = number_or(node, "zero_pad_size_x", 0);
  if ((node.padding.method & PaddingMethod::EXCLUDE_EDGES) &&
      node.node_class->name == "PoolingAverageNode") {
    rule.edge_mode = ImageEdgeMode::CLAMP;
    rule.border_y = std::max<std::int64_t>(rule.geometry.at_y.pad, 0);
    rule.border_x = std::max<std::int64_t>(rule.geometry.at_x.pad, 0);
  }
  return rule;
}

/// The header of MPS's other pooling nodes: their edge mode is CLAMP by default; only the bare
/// kernels' is ZERO.
void finish_pooling(Builder& builder, const FilterRecord& node, MPSNNFilterNode* made) {
  set_padding(made, node, rule_of(node, builder.size(node, 0)), ImageEdgeMode::CLAMP);
  builder.finish(node, made);
}

template <class Node>
void lower_pooling(Builder& builder, const FilterRecord& node) {
  finish_pooling(builder, node,
                 [[[Node alloc] initWithSource:builder.source(node, 0)
                                   kernelWidth:number(node, "kernel_width")
                                  kernelHeight:number(node, "kernel_height")
                               strideInPixelsX:number(node, "stride_in_pixels_x")
                               strideInPixelsY:number(node, "stride_in_pixels_y")] autorelease]);
}

}  // namespace

void lower_pooling_max(Builder& builder, const FilterRecord& node) {
  lower_pooling<MPSCNNPoolingMaxNode>(builder, node);
}

void lower_pooling_average(Builder& builder, const FilterRecord& node) {
  lower_pooling<MPSCNNPoolingAverageNode>(builder, node);
}

void lower_pooling_l2_norm(Builder& builder, const FilterRecord& node) {
  lower_pooling<MPSCNNPoolingL2NormNode>(builder, node);
}

/// Of this node Apple's header does not say what its edge mode is: the policy's object sets it.
void lower_dilated_pooling_max(Builder& builder, const FilterRecord& node) {
  MPSCNNDilatedPoolingMaxNode* made = [[[MPSCNNDilatedPoolingMaxNode alloc]
       initWithSource:builder.source(node, 0)
          kernelWidth:number(node, "kernel_width")
         kernelHeight:number(node, "kernel_height")
      strideInPixelsX:number(node, "stride_in_pixels_x")
      strideInPixelsY:number(node, "stride_in_pixels_y")
        dilationRateX:number(node, "dilation_rate_x")
        dilationRateY:number(node, "dilation_rate_y")] autorelease];
  set_own_padding(made, rule_of(node, builder.size(node, 0)));
  builder.finish(node, made);
}

void lower_upsampling_nearest(Builder& builder, const FilterRecord& node) {
  builder.finish(
      node, [MPSCNNUpsamplingNearestNode nodeWithSource:builder.source(node, 0)
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
