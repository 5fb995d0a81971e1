// SPDX-License-Identifier: MIT
// ConvolutionNode, ConvolutionTransposeNode, FullyConnectedNode and their gradients. The data
// source gives descriptor and weights (convolution_weights.mm).
#include "backend/metal/convolution_weights.h"
#include "backend/metal/lowering.h"
#include "backend/metal/padding.h"
#include "base/attributes.h"
#include "graph/transposed_geometry.h"

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
  rule.edge_mode =
      static_cast<ImageEdgeMode>(rule.geometry.edge_mode_or(get_int(node.attributes, "edge_mode")));
  rule.sub_pixels = d.sub_pixel_scale_factor;
  return rule;
}

/// `like`: the size of what the convolution read that is undone; null: nothing is.
WindowRule transposed_rule_of(const FilterRecord& node, const ImageSize& source,
                              const ImageSize* like) {
  const ConvolutionDescriptor& d = descriptor_of(node);
  const graph::Window y = {d.kernel_height, d.stride_in_pixels_y, d.dilation_rate_y},
                      x = {d.kernel_width, d.stride_in_pixels_x, d.dilation_rate_x};
  WindowRule rule;
  rule.geometry = graph::place_transposed(node, y, x, source, like);
  // Those of the convolution that is undone; MPS wants those of the windows on the source.
  rule.geometry.at_y.pad = y.extent() - 1 - rule.geometry.at_y.pad;
  rule.geometry.at_x.pad = x.extent() - 1 - rule.geometry.at_x.pad;
  rule.is_transposed = true;
  return rule;
}

std::string refuse_groups(const ConvolutionDescriptor& d) {
  for (const auto& [what, channels] : {std::pair("input", d.input_feature_channels),
                                       std::pair("output", d.output_feature_channels)}) {
    if (d.groups > 1 && channels / d.groups % kSlice != 0) {
      return str("with groups MPS wants a multiple of 4 ", what, " channels a group, got ",
                 channels / d.groups);
    }
  }
  return {};
}

/// Weights are summed in float32.
void finish_convolution(Builder& builder, const FilterRecord& node, MPSCNNConvolutionNode* made) {
  [made setAccumulatorPrecision:MPSNNConvolutionAccumulatorPrecisionOptionFloat];
  builder.finish(node, made);
}

}  // namespace

std::string refuse_convolution(const NodeCase& node) {
  const ConvolutionDescriptor& d = descriptor_of(node.node);
  const std::int64_t factor = d.sub_pixel_scale_factor;
  const std::int64_t channels = d.output_feature_channels / (factor * factor);
  if (factor > 1 && d.groups > 1 && channels % kSlice != 0) {
    return str(
        "sub_pixel_scale_factor: with groups MPS wants a multiple of 4 result channels, got ",
        channels);
  }
  return is_depthwise(d) ? std::string() : refuse_groups(d);
}

/// Apple's header of MPSCNNConvolutionGradient.
std::string refuse_convolution_gradient(const NodeCase& node) {
  if (descriptor_of(node.node).sub_pixel_scale_factor > 1)
    return "sub_pixel_scale_factor: MPS has no gradient of a sub-pixel convolution";
  if (std::string reason = refuse_orphan(node); !reason.empty()) return reason;
  const FilterRecord& forward = *node.node.inference_node;
  const ImageSize source = node.graph.size(forward.sources[0]);
  const WindowRule rule = rule_of(forward, source);
  if (rule.edge_mode != ImageEdgeMode::CLAMP || !reads_outside(rule.geometry, source)) return {};
  return "edge_mode: by Apple's header the gradient is a convolution filled with zeros, which adds "
         "nothing to the pixels that CLAMP repeats";
}

std::string refuse_convolution_transpose(const NodeCase& node) {
  const ConvolutionDescriptor& d = descriptor_of(node.node);
  if (d.fused_neuron_descriptor.type != NeuronType::NONE) {
    return "fused_neuron_descriptor: Apple's header does not say that its transposed convolution "
           "applies one";
  }
  return refuse_groups(d);
}

void lower_convolution(Builder& builder, const FilterRecord& node) {
  MPSCNNConvolutionNode* made = [MPSCNNConvolutionNode nodeWithSource:builder.source(node, 0)
                                                              weights:builder.weights(node)];
  set_padding(made, node, rule_of(node, builder.size(node, 0)), ImageEdgeMode::ZERO);
  finish_convolution(builder, node, made);
}

void lower_convolution_transpose(Builder& builder, const FilterRecord& node) {
  MPSCNNConvolutionTransposeNode* made =
      [MPSCNNConvolutionTransposeNode nodeWithSource:builder.source(node, 0)
                            convolutionGradientState:nil
                                             weights:builder.weights(node)];
  // MPS takes that size from a state; the policy says as much.
  const bool has_like = node.sources.size() > 1;
  const ImageSize like = has_like ? builder.size(node, 1) : ImageSize{};
  set_padding(made, node,
              transposed_rule_of(node, builder.size(node, 0), has_like ? &like : nullptr),
              ImageEdgeMode::ZERO);
  finish_convolution(builder, node, made);
}

void lower_fully_connected(Builder& builder, const FilterRecord& node) {
  finish_convolution(builder, node,
                     [MPSCNNFullyConnectedNode nodeWithSource:builder.source(node, 0)
                                                      weights:builder.weights(node)]);
}

void lower_convolution_gradient(Builder& builder, const FilterRecord& node) {
  finish_trained(builder, node, node.weights->is_updated());
}

}  // namespace mpsnn::backend::metal
