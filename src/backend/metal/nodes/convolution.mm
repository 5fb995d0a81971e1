// SPDX-License-Identifier: MIT
// ConvolutionNode, FullyConnectedNode and their gradients. The data source gives descriptor and weights (weights.mm).
#include "backend/metal/lowering.h"
#include "backend/metal/padding.h"
#include "backend/metal/weights.h"
#include "base/attributes.h"

namespace mpsnn::backend::metal {
namespace {

using graph::FilterRecord;

/// Channels of a group start at a slice of four.
constexpr std::int64_t kSlice = 4;

const ConvolutionDescriptor& descriptor_of(const FilterRecord& node) {
  return static_cast<const ConvolutionDataSource&>(*node.weights).descriptor();
}

WindowRule rule_of(const FilterRecord& node, const ImageSize& source) {
  const ConvolutionDescriptor& d = descriptor_of(node);
  WindowRule rule;
  rule.geometry = graph::place(node, {d.kernel_height, d.stride_in_pixels_y, d.dilation_rate_y},
                               {d.kernel_width, d.stride_in_pixels_x, d.dilation_rate_x}, source);
  rule.edge_mode = static_cast<ImageEdgeMode>(
      rule.geometry.edge_mode_or(get_int(node.attributes, "edge_mode")));
  return rule;
}

/// Weights are summed in float32.
void finish_convolution(Builder& builder, const FilterRecord& node, MPSCNNConvolutionNode* made) {
  [made setAccumulatorPrecision:MPSNNConvolutionAccumulatorPrecisionOptionFloat];
  builder.finish(node, made);
}

}  // namespace

std::string refuse_convolution(const NodeCase& node) {
  const ConvolutionDescriptor& d = descriptor_of(node.node);
  if (d.sub_pixel_scale_factor != 1) return "sub-pixel descriptors are not lowered";
  if (is_depthwise(d)) return {};
  if (d.groups > 1 && d.input_feature_channels / d.groups % kSlice != 0) {
    return str("with groups MPS wants a multiple of 4 input channels a group, got ",
               d.input_feature_channels / d.groups);
  }
  return {};
}

void lower_convolution(Builder& builder, const FilterRecord& node) {
  MPSCNNConvolutionNode* made =
      [MPSCNNConvolutionNode nodeWithSource:builder.source(node, 0) weights:builder.weights(node)];
  set_padding(made, node, rule_of(node, builder.size(node, 0)), ImageEdgeMode::ZERO);
  finish_convolution(builder, node, made);
}

void lower_fully_connected(Builder& builder, const FilterRecord& node) {
  finish_convolution(builder, node,
                     [MPSCNNFullyConnectedNode nodeWithSource:builder.source(node, 0)
                                                      weights:builder.weights(node)]);
}

void lower_convolution_gradient(Builder& builder, const FilterRecord& node) {
  MPSNNGradientFilterNode* made = [builder.gradients(node) objectAtIndex:0];
  const bool updates =
      node.weights->is_updated() && node.training_style == TrainingStyle::UPDATE_DEVICE_GPU;
  [static_cast<MPSCNNConvolutionGradientNode*>(made)
      setTrainingStyle:updates ? MPSNNTrainingStyleUpdateDeviceGPU
                               : MPSNNTrainingStyleUpdateDeviceNone];
  builder.finish(node, made);
}

}  // namespace mpsnn::backend::metal
