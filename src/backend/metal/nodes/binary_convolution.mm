// SPDX-License-Identifier: MIT
// BinaryConvolutionNode and BinaryFullyConnectedNode.
#include <algorithm>
#include <array>

#include "backend/metal/convolution_weights.h"
#include "backend/metal/lowering.h"
#include "backend/metal/padding.h"
#include "base/attributes.h"
#include "graph/geometry.h"
#include "graph/node_table.h"

namespace mpsnn::backend::metal {
namespace {

using graph::FilterRecord;

const ConvolutionDataSource& data_source_of(const FilterRecord& node) {
  return static_cast<const ConvolutionDataSource&>(*node.weights);
}

const std::vector<double>& list(const FilterRecord& node, std::string_view name) {
  return get_floats(node.attributes, name);
}

graph::Geometry geometry_of(const FilterRecord& node, const ImageSize& source) {
  const ConvolutionDescriptor& d = data_source_of(node).descriptor();
  return graph::place(node, {d.kernel_height, d.stride_in_pixels_y, d.dilation_rate_y},
                      {d.kernel_width, d.stride_in_pixels_x, d.dilation_rate_x}, source);
}

/// Whether the graph itself trains the node's weights.
bool is_trained(const NodeCase& node) {
  const auto& sources = node.graph.network.data_sources;
  const auto index = std::ranges::find(sources, node.node.weights) - sources.begin();
  return node.graph.updated[static_cast<std::size_t>(index)];
}

/// Terms in memory that lives as long as the pool; null: there are none.
const float* terms(const std::vector<double>& values) {
  if (values.empty()) return nullptr;
  NSMutableData* data = [NSMutableData dataWithLength:values.size() * sizeof(float)];
  auto* const made = static_cast<float*>([data mutableBytes]);
  std::ranges::transform(values, made, [](double value) { return static_cast<float>(value); });
  return made;
}

/// MPS adds a channel's bias before it scales.
std::vector<double> biases_before_scaling(const FilterRecord& node) {
  std::vector<double> biases = list(node, "input_bias_terms");
  const std::vector<double>& scales = list(node, "input_scale_terms");
  for (std::size_t i = 0; i < biases.size() && !scales.empty(); ++i) {
    if (biases[i] != 0) biases[i] /= scales[i];
  }
  return biases;
}

std::vector<double> output_scales(const FilterRecord& node) {
  std::vector<double> scales = list(node, "output_scale_terms");
  const auto channels =
      static_cast<std::size_t>(data_source_of(node).descriptor().output_feature_channels);
  if (scales.empty()) scales.assign(channels, 1.0);
  for (double& scale : scales) scale *= get_float(node.attributes, "scale_value");
  return scales;
}

/// The node's, or those of the data source.
std::vector<double> output_biases(id<MPSCNNConvolutionDataSource> weights,
                                  const FilterRecord& node) {
  std::vector<double> biases = list(node, "output_bias_terms");
  const float* own = [weights biasTerms];
  if (!biases.empty() || own == nullptr) return biases;
  return {own, own + data_source_of(node).descriptor().output_feature_channels};
}

bool has_terms(const FilterRecord& node) {
  return std::ranges::any_of(
      std::to_array<std::string_view>(
          {"output_bias_terms", "output_scale_terms", "input_bias_terms", "input_scale_terms"}),
      [&](std::string_view name) { return !list(node, name).empty(); });
}

}  // namespace

std::string refuse_binary_convolution(const NodeCase& node) {
  const FilterRecord& record = node.node;
  if (is_trained(node))
    return "weights: MPS's binary convolution reads them once, and another node of the graph "
           "trains them";
  const std::vector<double>&biases = list(record, "input_bias_terms"),
        &scales = list(record, "input_scale_terms");
  for (std::size_t i = 0; i < biases.size() && !scales.empty(); ++i) {
    if (scales[i] == 0 && biases[i] != 0)
      return "input_scale_terms: MPS adds a channel's bias before it scales, so that 0 loses it";
  }
  if (!record.node_class->has_padding) return {};
  graph::check_reads_zeros(record, geometry_of(record, node.source(0)));
  const auto type =
      static_cast<BinaryConvolutionType>(get_int(record.attributes, "convolution_type"));
  const bool is_plain = type == BinaryConvolutionType::BINARY_WEIGHTS && biases.empty();
  if (is_plain || !reads_outside(geometry_of(record, node.source(0)), node.source(0))) return {};
  return "padding_policy: Apple's header does not say what positions outside of the image add once "
         "they are binary or have a bias";
}

void lower_binary_convolution(Builder& builder, const FilterRecord& node) {
  const AttributeMap& a = node.attributes;
  id<MPSCNNConvolutionDataSource> weights = binary_weights(builder.weights(node));
  const Class kind = node.node_class->has_padding ? [MPSCNNBinaryConvolutionNode class]
                                                  : [MPSCNNBinaryFullyConnectedNode class];
  // The types have Apple's values.
  const auto type = static_cast<MPSCNNBinaryConvolutionType>(get_int(a, "convolution_type"));
  const MPSCNNBinaryConvolutionFlags flags = get_bool(a, "use_beta_scaling")
                                                 ? MPSCNNBinaryConvolutionFlagsUseBetaScaling
                                                 : MPSCNNBinaryConvolutionFlagsNone;
  MPSCNNBinaryConvolutionNode* made = nil;
  if (has_terms(node)) {
    made = [kind nodeWithSource:builder.source(node, 0)
                        weights:weights
                outputBiasTerms:terms(output_biases(weights, node))
               outputScaleTerms:terms(output_scales(node))
                 inputBiasTerms:terms(biases_before_scaling(node))
                inputScaleTerms:terms(list(node, "input_scale_terms"))
                           type:type
                          flags:flags];
  } else {
    made = [kind nodeWithSource:builder.source(node, 0)
                        weights:weights
                     scaleValue:static_cast<float>(get_float(a, "scale_value"))
                           type:type
                          flags:flags];
  }
  if (node.node_class->has_padding) {
    WindowRule rule;
    rule.geometry = geometry_of(node, builder.size(node, 0));
    set_padding(made, node, rule, ImageEdgeMode::ZERO);
  }
  builder.finish(node, made);
}

}  // namespace mpsnn::backend::metal
