// SPDX-License-Identifier: MIT
// Fully connected layers: convolutions whose window is the whole source. Operations: convolution,
// convolution_data_gradient, convolution_weights_gradient.
#include "base/check.h"
#include "graph/node_table.h"
#include "graph/ops/convolution.h"
#include "graph/ops/neuron.h"
#include "graph/ops/shapes.h"

namespace mpsnn::graph {
namespace {

const ConvolutionDescriptor& descriptor_of(const FilterRecord& node) {
  const auto* weights = dynamic_cast<const ConvolutionDataSource*>(node.weights.get());
  check_internal(weights != nullptr, "a fully connected layer has a ConvolutionDataSource");
  return weights->descriptor();
}

void check_one(const FilterRecord& node, std::string_view field, std::int64_t value) {
  if (value != 1) fail(node, str("weights.", field), 1, value);
}

void check(const FilterRecord& node) {
  const ConvolutionDescriptor& d = descriptor_of(node);
  check_one(node, "groups", d.groups);
  check_one(node, "stride_in_pixels_x", d.stride_in_pixels_x);
  check_one(node, "stride_in_pixels_y", d.stride_in_pixels_y);
  check_one(node, "dilation_rate_x", d.dilation_rate_x);
  check_one(node, "dilation_rate_y", d.dilation_rate_y);
  check_one(node, "sub_pixel_scale_factor", d.sub_pixel_scale_factor);
  check_fused_neuron(node, d.fused_neuron_descriptor);
}

ImageSize result_size(const FilterRecord& node, std::string_view argument,
                      const ImageSize& source) {
  const ConvolutionDescriptor& d = descriptor_of(node);
  const ImageSize expected = {source.n, d.kernel_height, d.kernel_width, d.input_feature_channels};
  if (source != expected) {
    fail(node, argument, str("the size of the weights' window, ", to_string(expected)),
         to_string(source));
  }
  return {source.n, 1, 1, d.output_feature_channels};
}

ImageSize forward_shape(const ShapeQuery& query) {
  return result_size(query.node, "source", query.sources[0]);
}

ImageSize gradient_shape(const ShapeQuery& query) {
  expect_size(query, 0, "source_gradient",
              result_size(query.node, "source_image", query.sources[1]));
  return query.sources[1];
}

AttributeMap resolved(const FilterRecord& node) {
  const ConvolutionDescriptor& d = descriptor_of(node);
  constexpr std::int64_t kOne = 1, kZero = 0;
  return {{"kernel_height", d.kernel_height},
          {"kernel_width", d.kernel_width},
          {"stride_y", kOne},
          {"stride_x", kOne},
          {"dilation_y", kOne},
          {"dilation_x", kOne},
          {"groups", kOne},
          {"pad_top", kZero},
          {"pad_left", kZero},
          {"edge_mode", static_cast<std::int64_t>(ImageEdgeMode::ZERO)}};
}

void lower_forward(Lowering& to) {
  AttributeMap attributes = resolved(to.node());
  set_neuron(attributes, descriptor_of(to.node()).fused_neuron_descriptor);
  to.add(OpId::convolution, {to.source(0), to.parameter("weights"), to.parameter("bias")},
         {to.result()}, std::move(attributes));
}

void lower_gradient(Lowering& to) {
  add_convolution_gradients(to, to.source(0), resolved(to.node()));
}

FilterNode make_gradient(const GradientQuery& query) {
  const FilterRecord& forward = *query.forward.record();
  check_trained_without_neuron(forward, descriptor_of(forward).fused_neuron_descriptor);
  return FilterNode("FullyConnectedGradientNode", gradient_then_sources(query), {},
                    forward.weights);
}

constexpr std::string_view kForwardDoc =
    R"(result[n, 0, 0, o] = bias[o] + sum over y, x, c of weights[o, y, x, c] * source[n, y, x, c]: a convolution
whose window is the whole source. The source has the descriptor's kernel_height, kernel_width and
input_feature_channels. Strides, dilation and groups of the
descriptor must be 1; its fused neuron (any but PRELU) is applied to the result.

**Result size**: (N, 1, 1, output_feature_channels).

**Training**: as ConvolutionNode's.)";

}  // namespace

std::vector<NodeClass> fully_connected_nodes() {
  return {
      {.name = "FullyConnectedNode",
       .apple = "MPSCNNFullyConnectedNode",
       .family = "convolution",
       .brief = "Connects every value of an image with every feature channel of the result",
       .doc = kForwardDoc,
       .sources = {{.name = "source", .doc = "image of the size of the weights' window"}},
       .attributes = {},
       .weights = "ConvolutionDataSource",
       .trainable = true,
       .check = check,
       .shape = forward_shape,
       .lower = lower_forward,
       .gradient_of = make_gradient},
      {.name = "FullyConnectedGradientNode",
       .apple = "MPSCNNFullyConnectedGradientNode",
       .family = "convolution",
       .brief = "Gradients of a fully connected layer's source, weights and bias",
       .doc = "With g the source_gradient: result[n, y, x, c] = sum over o of weights[o, y, x, c] "
              "* g[n, 0, 0, o]. The gradient of weights[o, y, x, c] is the sum over n of g[n, 0, "
              "0, o] * source_image[n, y, x, c], that of bias[o] the sum over n of g[n, 0, 0, "
              "o].\n\n**Result size**: source_image's.\n\n**Training**: weights and bias are "
              "updated as by ConvolutionGradientNode.",
       .sources = {{.name = "source_gradient", .doc = "gradient of the layer's result"},
                   {.name = "source_image", .doc = "the layer's source"}},
       .attributes = {},
       .weights = "ConvolutionDataSource",
       .trainable = true,
       .gradient = true,
       .state = {"weights", "bias"},
       .check = check,
       .shape = gradient_shape,
       .lower = lower_gradient},
  };
}

}  // namespace mpsnn::graph
