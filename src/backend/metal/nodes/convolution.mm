// SPDX-License-Identifier: MIT
// ConvolutionNode and its gradient. The data source gives descriptor and weights (weights.mm).
#include "backend/metal/lowering.h"
#include "base/attributes.h"

namespace mpsnn::backend::metal {
namespace {

using graph::FilterRecord;

/// Channels of a group start at a slice of four.
constexpr std::int64_t kSlice = 4;

const ConvolutionDescriptor& descriptor_of(const FilterRecord& node) {
  return static_cast<const ConvolutionDataSource&>(*node.weights).descriptor();
}

/// MPSCNNConvolutionNode has no edge mode: its kernel reads zeros outside of the image.
std::string refuse_edge_mode(const NodeCase& node) {
  const auto mode = static_cast<ImageEdgeMode>(get_int(node.node.attributes, "edge_mode"));
  return mode == ImageEdgeMode::ZERO ? std::string()
                                     : "edge_mode: MPS's graph convolves with ZERO only";
}

}  // namespace

std::string refuse_convolution(const NodeCase& node) {
  const ConvolutionDescriptor& d = descriptor_of(node.node);
  if (d.sub_pixel_scale_factor != 1) return "sub-pixel descriptors are not lowered";
  if (d.groups > 1 && d.groups == d.input_feature_channels)
    return "depthwise descriptors are not lowered";
  if (d.groups > 1 && d.input_feature_channels / d.groups % kSlice != 0) {
    return str("with groups MPS wants a multiple of 4 input channels a group, got ",
               d.input_feature_channels / d.groups);
  }
  return refuse_edge_mode(node);
}

void lower_convolution(Builder& builder, const FilterRecord& node) {
  MPSCNNConvolutionNode* made =
      [MPSCNNConvolutionNode nodeWithSource:builder.source(node, 0) weights:builder.weights(node)];
  [made setPaddingPolicy:padding_of(node)];
  [made setAccumulatorPrecision:MPSNNConvolutionAccumulatorPrecisionOptionFloat];
  builder.finish(node, made);
}

std::string refuse_convolution_gradient(const NodeCase& node) {
  const std::string orphan = refuse_orphan(node);
  return orphan.empty() ? refuse_edge_mode(node) : orphan;
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
