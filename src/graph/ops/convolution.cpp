// SPDX-License-Identifier: MIT
// Convolution. Operations:
//   convolution                   source, weights, bias? -> result
//   convolution_data_gradient     gradient, weights -> source gradient
//   convolution_weights_gradient  gradient, source -> weights gradient, bias gradient?
#include "graph/ops/convolution.h"
#include "base/attributes.h"
#include "base/check.h"
#include "graph/geometry.h"
#include "graph/lowering.h"
#include "graph/node_table.h"
#include "graph/ops/neuron.h"
#include "graph/ops/shapes.h"

namespace mpsnn::graph {
namespace {

const ConvolutionDescriptor& descriptor_of(const FilterRecord& node) {
  const auto* weights = dynamic_cast<const ConvolutionDataSource*>(node.weights.get());
  check_internal(weights != nullptr, "a convolution's data source is a ConvolutionDataSource");
  return weights->descriptor();
}

Geometry geometry_of(const FilterRecord& node, const ImageSize& source) {
  const ConvolutionDescriptor& d = descriptor_of(node);
  return place(node, {d.kernel_height, d.stride_in_pixels_y, d.dilation_rate_y},
               {d.kernel_width, d.stride_in_pixels_x, d.dilation_rate_x}, source);
}

/// Size of what is convolved, before channels become pixels.
ImageSize convolved_size(const FilterRecord& node, const ImageSize& source) {
  const ConvolutionDescriptor& d = descriptor_of(node);
  if (source.channels != d.input_feature_channels) {
    fail(node, "source", str(d.input_feature_channels, " feature channels"), source.channels);
  }
  const Geometry geometry = geometry_of(node, source);
  return {source.n, geometry.at_y.size, geometry.at_x.size, d.output_feature_channels};
}

ImageSize result_size(const FilterRecord& node, const ImageSize& source) {
  const ImageSize convolved = convolved_size(node, source);
  const std::int64_t r = descriptor_of(node).sub_pixel_scale_factor;
  return {convolved.n, convolved.height * r, convolved.width * r, convolved.channels / (r * r)};
}

ImageSize forward_shape(const ShapeQuery& query) {
  return result_size(query.node, query.sources[0]);
}

ImageSize gradient_shape(const ShapeQuery& query) {
  expect_size(query, 0, "source_gradient", result_size(query.node, query.sources[1]));
  return query.sources[1];
}

AttributeMap resolved(const FilterRecord& node, const ImageSize& source) {
  const ConvolutionDescriptor& d = descriptor_of(node);
  AttributeMap attributes;
  const Geometry geometry = geometry_of(node, source);
  geometry.describe(attributes);
  attributes["dilation_y"] = d.dilation_rate_y;
  attributes["dilation_x"] = d.dilation_rate_x;
  attributes["groups"] = d.groups;
  attributes["edge_mode"] = geometry.edge_mode_or(get_int(node.attributes, "edge_mode"));
  return attributes;
}

}  // namespace

void check_fused_neuron(const FilterRecord& node, const NeuronDescriptor& neuron) {
  if (neuron.type == NeuronType::PRELU || neuron.type > NeuronType::GELU) {
    fail<UnsupportedError>(node, "fused_neuron_descriptor", "a neuron that is not PRELU",
                           enumerator_name("NeuronType", static_cast<std::int64_t>(neuron.type)));
  }
  check_neuron(node, "fused_neuron_descriptor.c", neuron.type, static_cast<double>(neuron.c));
}

void add_bias(Lowering& to, ValueId value, ValueId result) {
  const ImageSize pixel = {1, 1, 1, descriptor_of(to.node()).output_feature_channels};
  const ValueId image = to.temporary("bias", pixel);
  to.add(OpId::reshape, {to.parameter("bias")}, {image}, {});
  to.add(OpId::addition, {value, image}, {result}, plain_binary());
}

void add_convolution_gradients(Lowering& to, ValueId gradient, const AttributeMap& attributes) {
  // Weights first: the source image, often saved from the forward pass, is free for the data
  // gradient.
  if (to.weights_are_updated()) {
    const ValueId weights = to.parameter_gradient("weights"), bias = to.parameter_gradient("bias");
    to.add(OpId::convolution_weights_gradient, {gradient, to.source(1)}, {weights, bias},
           attributes);
  }
  to.add(OpId::convolution_data_gradient, {gradient, to.parameter("weights")}, {to.result()},
         attributes);
}

void check_trained_without_neuron(const FilterRecord& node, const NeuronDescriptor& neuron) {
  if (neuron.type != NeuronType::NONE) {
    fail(node, "fused_neuron_descriptor",
         "NONE in a node that is trained (use a neuron node, it is fused)",
         enumerator_name("NeuronType", static_cast<std::int64_t>(neuron.type)));
  }
}

namespace {

void check_descriptor(const FilterRecord& node) {
  check_fused_neuron(node, descriptor_of(node).fused_neuron_descriptor);
}

void lower_forward(Lowering& to) {
  AttributeMap attributes = resolved(to.node(), to.source_size(0));
  set_neuron(attributes, descriptor_of(to.node()).fused_neuron_descriptor);
  const std::int64_t factor = descriptor_of(to.node()).sub_pixel_scale_factor;
  const ValueId convolved =
      factor == 1 ? to.result()
                  : to.temporary("convolved", convolved_size(to.node(), to.source_size(0)));
  to.add(OpId::convolution, {to.source(0), to.parameter("weights"), to.parameter("bias")},
         {convolved}, std::move(attributes));
  if (factor != 1) {
    to.add(OpId::sub_pixel, {convolved}, {to.result()},
           {{"factor", factor}, {"is_inverse", false}});
  }
}

/// The gradient of what was convolved: pixels become channels again.
ValueId gradient_of_convolved(Lowering& to) {
  const std::int64_t factor = descriptor_of(to.node()).sub_pixel_scale_factor;
  if (factor == 1) return to.source(0);
  const ValueId gradient = to.temporary("gradient", convolved_size(to.node(), to.source_size(1)));
  to.add(OpId::sub_pixel, {to.source(0)}, {gradient}, {{"factor", factor}, {"is_inverse", true}});
  return gradient;
}

void lower_gradient(Lowering& to) {
  add_convolution_gradients(to, gradient_of_convolved(to), resolved(to.node(), to.source_size(1)));
}

FilterNode make_gradient(const GradientQuery& query) {
  const FilterRecord& forward = *query.forward.record();
  check_trained_without_neuron(forward, descriptor_of(forward).fused_neuron_descriptor);
  return FilterNode("ConvolutionGradientNode", gradient_then_sources(query),
                    shared_attributes(query.forward, {"edge_mode"}), forward.weights);
}

AttributeSpec edge_mode() {
  return {.name = "edge_mode",
          .type = AttributeType::ENUM,
          .doc = "what is read outside of the source",
          .default_value = static_cast<std::int64_t>(ImageEdgeMode::ZERO),
          .enum_name = "ImageEdgeMode",
          .supported = {static_cast<std::int64_t>(ImageEdgeMode::ZERO),
                        static_cast<std::int64_t>(ImageEdgeMode::CLAMP)}};
}

constexpr std::string_view kForwardDoc =
    R"(result[n, y, x, o] = bias[o] + sum over i, j, c of
weights[o, i, j, c] * source[n, y * stride_y - pad_top + i * dilation_y, x * stride_x - pad_left + j * dilation_x, c]:
a cross-correlation, weights are not flipped. With groups, result channel o sees the input channels of its
group only. The descriptor of the data source gives kernel, strides, dilation, groups and channels; its
fused neuron (any but PRELU) is applied to the result.

**Result size** by the padding policy, along each axis, with k = (kernel - 1) * dilation + 1:
SIZE_SAME ceil(n / stride), SIZE_VALID_ONLY ceil((n - k + 1) / stride), SIZE_FULL ceil((n + k - 1) / stride).
Padding in all is (size - 1) * stride + k - n; ALIGN_CENTERED halves it and gives an odd pixel to the
remainder's sides, ALIGN_TOP_LEFT puts all of it there, ALIGN_BOTTOM_RIGHT none. Default: same, centred,
remainder to the top-left (TensorFlow's SAME is bottom-right).

**Training**: the gradient node computes the gradients of source, weights and bias; the weights' optimizer
runs right after. A node that is trained must not have a fused neuron in its descriptor: add a neuron node,
it is fused by the planner where nothing else reads the result, which in training means: where the neuron's
derivative can be told from the neuron's own result.

**Kinds of descriptors**: with a DepthWiseConvolutionDescriptor each channel is convolved by itself; with a
SubPixelConvolutionDescriptor of factor r the result has r times the rows and columns and 1 / r^2 of the channels:
result[y, x, c] = convolved[y / r, x / r, (N / r^2) * (r * (y mod r) + x mod r) + c].

**Unlike Apple**: any number of channels a group, any channel multiplier; sub-pixel convolutions can be trained;
weights are used in float32.)";

constexpr std::string_view kGradientDoc =
    R"(With g the source_gradient:
result[n, p, q, c] = sum over the o, y, x, i, j for which pixel (y, x) reads (p, q) of
weights[o, i, j, c] * g[n, y, x, o]. The gradient of weights[o, i, j, c] is the sum over n, y, x of
g[n, y, x, o] * source_image[n, y * stride_y - pad_top + i * dilation_y, x * stride_x - pad_left + j * dilation_x, c],
that of bias[o] the sum over n, y, x of g[n, y, x, o].

**Result size**: source_image's.

**Training**: where the data source is trainable and has an optimizer, the gradients of weights and bias are computed
and the weights are updated, once for all gradient nodes of a graph that share the data source: their gradients are added
first. No gradient is divided by batch or pixels. Parts that nothing needs are not computed.

**State**: the gradients of "weights", OHWI, and of "bias" where there is one, (1, 1, 1, O): of this node alone, also
where nothing is updated.)";

}  // namespace

std::vector<NodeClass> convolution_nodes() {
  return {
      {.name = "ConvolutionNode",
       .apple = "MPSCNNConvolutionNode",
       .family = "convolution",
       .brief = "Convolves an image with trainable weights and adds a bias",
       .doc = kForwardDoc,
       .sources = {{.name = "source", .doc = "image with the descriptor's input_feature_channels"}},
       .attributes = {edge_mode()},
       .weights = "ConvolutionDataSource",
       .trainable = true,
       .has_padding = true,
       .check = check_descriptor,
       .shape = forward_shape,
       .lower = lower_forward,
       .gradient_of = make_gradient},
      {.name = "ConvolutionGradientNode",
       .apple = "MPSCNNConvolutionGradientNode",
       .family = "convolution",
       .brief = "Gradients of a convolution's source, weights and bias",
       .doc = kGradientDoc,
       .sources = {{.name = "source_gradient", .doc = "gradient of the convolution's result"},
                   {.name = "source_image", .doc = "the convolution's source"}},
       .attributes = {edge_mode()},
       .weights = "ConvolutionDataSource",
       .trainable = true,
       .gradient = true,
       .has_padding = true,
       .state = {"weights", "bias"},
       .shape = gradient_shape,
       .lower = lower_gradient},
  };
}

}  // namespace mpsnn::graph
