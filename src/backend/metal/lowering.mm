// SPDX-License-Identifier: MIT
// The table of node classes that MPSNNGraph is given, and what their rows share.
#include "backend/metal/lowering.h"

#include <algorithm>
#include <array>

#include "backend/metal/images.h"
#include "graph/node_table.h"
#include "mpsnn/error.h"

namespace mpsnn::backend::metal {
namespace {

using graph::FilterRecord;

constexpr NodeRow neuron(std::string_view name) { return {name, nullptr, &lower_neuron}; }

// Nodes that MPS's graph cannot hold, and why.

std::string refuse_without_gradient(const NodeCase&) {
  return "MPS's graph has no gradient filter for this node";
}

/// In the order of the node table. Each group names the file of its functions; this one holds those
/// that several groups share.
constexpr auto kRows = std::to_array<NodeRow>({
    // nodes/convolution.mm
    {"ConvolutionNode", &refuse_convolution, &lower_convolution},
    {"ConvolutionGradientNode", &refuse_convolution_gradient, &lower_convolution_gradient},
    {"ConvolutionTransposeNode", &refuse_convolution_transpose, &lower_convolution_transpose},
    {"ConvolutionTransposeGradientNode", &refuse_orphan, &lower_convolution_gradient},
    {"FullyConnectedNode", nullptr, &lower_fully_connected},
    {"FullyConnectedGradientNode", &refuse_orphan, &lower_convolution_gradient},
    // nodes/binary_convolution.mm
    {"BinaryConvolutionNode", &refuse_binary_convolution, &lower_binary_convolution},
    {"BinaryFullyConnectedNode", &refuse_binary_convolution, &lower_binary_convolution},
    // nodes/neuron.mm
    neuron("NeuronReLUNode"),
    neuron("NeuronLinearNode"),
    neuron("NeuronSigmoidNode"),
    neuron("NeuronHardSigmoidNode"),
    neuron("NeuronTanHNode"),
    neuron("NeuronAbsoluteNode"),
    neuron("NeuronSoftPlusNode"),
    neuron("NeuronSoftSignNode"),
    neuron("NeuronELUNode"),
    neuron("NeuronPReLUNode"),
    neuron("NeuronReLUNNode"),
    neuron("NeuronPowerNode"),
    neuron("NeuronExponentialNode"),
    neuron("NeuronLogarithmNode"),
    neuron("NeuronGeLUNode"),
    {"NeuronGradientNode", &refuse_orphan, &lower_single_gradient},
    // nodes/pooling.mm
    {"PoolingMaxNode", nullptr, &lower_pooling_max},
    {"PoolingMaxGradientNode", &refuse_orphan, &lower_single_gradient},
    {"PoolingAverageNode", nullptr, &lower_pooling_average},
    {"PoolingAverageGradientNode", &refuse_orphan, &lower_single_gradient},
    {"PoolingL2NormNode", nullptr, &lower_pooling_l2_norm},
    {"PoolingL2NormGradientNode", &refuse_orphan, &lower_single_gradient},
    {"DilatedPoolingMaxNode", nullptr, &lower_dilated_pooling_max},
    {"DilatedPoolingMaxGradientNode", &refuse_orphan, &lower_single_gradient},
    {"UpsamplingNearestNode", nullptr, &lower_upsampling_nearest},
    {"UpsamplingNearestGradientNode", &refuse_orphan, &lower_single_gradient},
    {"UpsamplingBilinearNode", nullptr, &lower_upsampling_bilinear},
    {"UpsamplingBilinearGradientNode", &refuse_orphan, &lower_single_gradient},
    // nodes/arithmetic.mm
    {"AdditionNode", &refuse_broadcast, &lower_arithmetic},
    {"AdditionGradientNode", &refuse_orphan, &lower_arithmetic_gradient},
    {"SubtractionNode", &refuse_broadcast, &lower_arithmetic},
    {"SubtractionGradientNode", &refuse_orphan, &lower_arithmetic_gradient},
    {"MultiplicationNode", &refuse_broadcast, &lower_arithmetic},
    {"MultiplicationGradientNode", &refuse_orphan, &lower_arithmetic_gradient},
    {"DivisionNode", &refuse_broadcast, &lower_arithmetic},
    {"DivisionGradientNode", &refuse_division_gradient, &lower_division_gradient},
    {"ComparisonNode", &refuse_comparison, &lower_comparison},
    // nodes/reduction.mm
    {"ReductionRowMinNode", nullptr, &lower_reduction},
    {"ReductionRowMinGradientNode", &refuse_without_gradient, nullptr},
    {"ReductionRowMaxNode", nullptr, &lower_reduction},
    {"ReductionRowMaxGradientNode", &refuse_without_gradient, nullptr},
    {"ReductionRowMeanNode", nullptr, &lower_reduction},
    {"ReductionRowMeanGradientNode", nullptr, &lower_sum_gradient},
    {"ReductionRowSumNode", nullptr, &lower_reduction},
    {"ReductionRowSumGradientNode", nullptr, &lower_sum_gradient},
    {"ReductionColumnMinNode", nullptr, &lower_reduction},
    {"ReductionColumnMinGradientNode", &refuse_without_gradient, nullptr},
    {"ReductionColumnMaxNode", nullptr, &lower_reduction},
    {"ReductionColumnMaxGradientNode", &refuse_without_gradient, nullptr},
    {"ReductionColumnMeanNode", nullptr, &lower_reduction},
    {"ReductionColumnMeanGradientNode", nullptr, &lower_sum_gradient},
    {"ReductionColumnSumNode", nullptr, &lower_reduction},
    {"ReductionColumnSumGradientNode", nullptr, &lower_sum_gradient},
    {"ReductionFeatureChannelsMinNode", nullptr, &lower_reduction},
    {"ReductionFeatureChannelsMinGradientNode", &refuse_without_gradient, nullptr},
    {"ReductionFeatureChannelsMaxNode", nullptr, &lower_reduction},
    {"ReductionFeatureChannelsMaxGradientNode", &refuse_without_gradient, nullptr},
    {"ReductionFeatureChannelsMeanNode", nullptr, &lower_reduction},
    {"ReductionFeatureChannelsMeanGradientNode", nullptr, &lower_sum_gradient},
    {"ReductionFeatureChannelsSumNode", nullptr, &lower_reduction},
    {"ReductionFeatureChannelsSumGradientNode", nullptr, &lower_sum_gradient},
    {"ReductionFeatureChannelsArgumentMinNode", nullptr, &lower_reduction},
    {"ReductionFeatureChannelsArgumentMaxNode", nullptr, &lower_reduction},
    {"ReductionSpatialMeanNode", nullptr, &lower_reduction},
    {"ReductionSpatialMeanGradientNode", &refuse_orphan, &lower_single_gradient},
    // nodes/shape.mm
    {"PadNode", &refuse_pad, &lower_pad},
    {"PadGradientNode", &refuse_orphan, &lower_single_gradient},
    {"CropNode", &refuse_crop, &lower_crop},
    {"CropGradientNode", &refuse_crop, &lower_crop_gradient},
    {"ReshapeNode", nullptr, &lower_reshape},
    {"ReshapeGradientNode", &refuse_orphan, &lower_single_gradient},
    {"BilinearScaleNode", &refuse_scale, &lower_scale},
    {"BilinearScaleGradientNode", &refuse_without_gradient, nullptr},
    {"LanczosScaleNode", &refuse_scale, &lower_scale},
    {"LanczosScaleGradientNode", &refuse_without_gradient, nullptr},
    {"ConcatenationNode", nullptr, &lower_concatenation},
    {"ConcatenationGradientNode", &refuse_orphan, &lower_concatenation_gradient},
    // nodes/normalization.mm
    {"BatchNormalizationNode", nullptr, &lower_batch_normalization},
    {"BatchNormalizationGradientNode", &refuse_batch_normalization_gradient,
     &lower_batch_normalization_gradient},
    {"InstanceNormalizationNode", nullptr, &lower_instance_normalization},
    {"InstanceNormalizationGradientNode", &refuse_orphan, &lower_image_normalization_gradient},
    {"GroupNormalizationNode", nullptr, &lower_group_normalization},
    {"GroupNormalizationGradientNode", &refuse_orphan, &lower_image_normalization_gradient},
    // nodes/window_normalization.mm
    {"SpatialNormalizationNode", &refuse_window_normalization, &lower_spatial_normalization},
    {"SpatialNormalizationGradientNode", &refuse_orphan, &lower_single_gradient},
    {"LocalContrastNormalizationNode", &refuse_window_normalization,
     &lower_local_contrast_normalization},
    {"LocalContrastNormalizationGradientNode", &refuse_orphan, &lower_single_gradient},
    {"CrossChannelNormalizationNode", nullptr, &lower_cross_channel_normalization},
    {"CrossChannelNormalizationGradientNode", &refuse_orphan, &lower_single_gradient},
    // nodes/shape.mm
    {"GramMatrixCalculationNode", nullptr, &lower_gram_matrix},
    {"GramMatrixCalculationGradientNode", &refuse_orphan, &lower_single_gradient},
    // nodes/dropout.mm
    {"DropoutNode", nullptr, &lower_dropout},
    {"DropoutGradientNode", &refuse_dropout_gradient, &lower_dropout_gradient},
    // nodes/softmax.mm
    {"SoftMaxNode", nullptr, &lower_softmax},
    {"SoftMaxGradientNode", &refuse_orphan, &lower_single_gradient},
    {"LogSoftMaxNode", nullptr, &lower_softmax},
    {"LogSoftMaxGradientNode", &refuse_orphan, &lower_single_gradient},
    // nodes/loss.mm
    {"ForwardLossNode", &refuse_loss, &lower_loss},
    {"LossNode", &refuse_loss, &lower_loss_start},
    {"LossGradientNode", &refuse_loss_gradient, &lower_loss_gradient},
    // nodes/yolo_loss.mm
    {"YOLOLossNode", &refuse_yolo_loss, &lower_yolo_loss},
    // nodes/loss.mm
    {"InitialGradientNode", nullptr, &lower_initial_gradient},
});

std::string refuse_size(const ImageSize& size) {
  if (size.height > kMostPixels || size.width > kMostPixels)
    return str("an image of ", to_string(size), ": textures have at most ", kMostPixels,
               " rows and columns");
  if (size.channels > kMostChannels)
    return str("an image of ", to_string(size), ": textures have at most ", kMostChannels,
               " channels");
  return {};
}

std::string reason_of(const NodeCase& node, const NodeRow* row) {
  if (row == nullptr) return "this node class has no lowering to MPSNNGraph";
  std::string reason = row->refuse == nullptr ? std::string() : row->refuse(node);
  // A forward node that stands in the graph for its gradient only has no size of its own.
  const auto shape = node.graph.shapes.find(&node.node.result);
  if (reason.empty() && shape != node.graph.shapes.end())
    reason = refuse_size(shape->second.image());
  for (const ImageNode& source : node.node.sources) {
    const TensorDesc& desc = node.graph.desc(source);  // parts of labels may be absent
    if (reason.empty() && !desc.dims.empty()) reason = refuse_size(desc.image());
  }
  return reason;
}

const NodeRow* find_row(const FilterRecord& node) {
  const auto found = std::ranges::find(kRows, node.node_class->name, &NodeRow::node_class);
  return found == kRows.end() ? nullptr : &*found;
}

}  // namespace

void check_node(const NodeCase& node, std::string_view device) {
  const std::string reason = reason_of(node, find_row(node.node));
  if (reason.empty()) return;
  throw UnsupportedError(
      str(title(node.node), ": device \"", device, "\" cannot hold this node: ", reason));
}

void Builder::lower(const FilterRecord& node) {
  if (!filters_.contains(&node)) find_row(node)->lower(*this, node);
}

MPSNNImageNode* Builder::mask(const FilterRecord& node) {
  lower(node);
  return masks_.at(&node);
}

void Builder::finish(const FilterRecord& node, MPSNNFilterNode* made) { finish(node, made, made); }

void Builder::finish(const FilterRecord& node, MPSNNFilterNode* forward, MPSNNFilterNode* made) {
  [made setLabel:to_ns_string(node.label)];
  filters_[&node] = forward;
  images_[&node.result] = [made resultImage];
}

NSArray<MPSNNGradientFilterNode*>* Builder::gradients(const FilterRecord& node) {
  const FilterRecord* forward = node.inference_node.get();
  const graph::ImageRecord* gradient = node.sources[0].record().get();
  // Where nothing reads the forward node's result, only MPS sees it, through the state.
  lower(*forward);
  NSArray<MPSNNGradientFilterNode*>*& made = gradients_[{forward, gradient}];
  if (made == nil) made = [filters_.at(forward) gradientFiltersWithSource:image(*gradient)];
  return made;
}

std::string refuse_orphan(const NodeCase& node) {
  if (node.node.inference_node == nullptr)
    return "a gradient node must be made from its forward node: MPS hands that one's state over";
  const NodeCase forward = {*node.node.inference_node, node.graph};
  return reason_of(forward, find_row(forward.node));
}

MPSNNFilterNode* linear(MPSNNImageNode* image, double a, double b) {
  return [MPSCNNNeuronLinearNode nodeWithSource:image
                                              a:static_cast<float>(a)
                                              b:static_cast<float>(b)];
}

void finish_trained(Builder& builder, const FilterRecord& node, bool is_trained) {
  MPSNNGradientFilterNode* made = [builder.gradients(node) objectAtIndex:0];
  const bool updates = is_trained && node.training_style != TrainingStyle::UPDATE_DEVICE_NONE;
  [static_cast<MPSNNGradientFilterNode<MPSNNTrainableNode>*>(made)
      setTrainingStyle:updates ? MPSNNTrainingStyleUpdateDeviceGPU
                               : MPSNNTrainingStyleUpdateDeviceNone];
  builder.finish(node, made);
}

void lower_single_gradient(Builder& builder, const FilterRecord& node) {
  builder.finish(node, [builder.gradients(node) objectAtIndex:0]);
}

}  // namespace mpsnn::backend::metal
