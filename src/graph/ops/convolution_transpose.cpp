// SPDX-License-Identifier: MIT
// Transposed convolution: the data gradient of the convolution that it undoes, whose weights are
// these with channels exchanged, turned by half a turn. Operations: those of the convolution,
//   transposed_weights  weights -> weights of that convolution, or back
#include "base/attributes.h"
#include "base/check.h"
#include "graph/lowering.h"
#include "graph/node_table.h"
#include "graph/ops/convolution.h"
#include "graph/ops/neuron.h"
#include "graph/ops/shapes.h"
#include "graph/transposed_geometry.h"

namespace mpsnn::graph {
namespace {

const ConvolutionDescriptor& descriptor_of(const FilterRecord& node) {
  const auto* weights = dynamic_cast<const ConvolutionDataSource*>(node.weights.get());
  check_internal(weights != nullptr, "a convolution's data source is a ConvolutionDataSource");
  return weights->descriptor();
}

/// Size of the result and, along y and x, the padding of the convolution that is undone: its source
/// is the result here.
struct Undone {
  ImageSize result;
  std::int64_t pad_top, pad_left;
};

Undone undone_by(const FilterRecord& node, const ImageSize& source, const ImageSize* like) {
  const ConvolutionDescriptor& d = descriptor_of(node);
  if (source.channels != d.input_feature_channels)
    fail(node, "source", str(d.input_feature_channels, " feature channels"), source.channels);
  if (like != nullptr && (like->n != source.n || like->channels != d.output_feature_channels)) {
    fail(node, "convolution_source",
         str(source.n, " images of ", d.output_feature_channels, " feature channels"),
         to_string(*like));
  }
  const Window y = {d.kernel_height, d.stride_in_pixels_y, d.dilation_rate_y},
               x = {d.kernel_width, d.stride_in_pixels_x, d.dilation_rate_x};
  const Geometry placed = place_transposed(node, y, x, source, like);
  check_reads_zeros(node, placed);
  return {{source.n, placed.at_y.size, placed.at_x.size, d.output_feature_channels},
          placed.at_y.pad,
          placed.at_x.pad};
}

ImageSize forward_shape(const ShapeQuery& query) {
  const ImageSize* like = query.sources.size() > 1 ? &query.sources[1] : nullptr;
  return undone_by(query.node, query.sources[0], like).result;
}

ImageSize gradient_shape(const ShapeQuery& query) {
  const ImageSize* like = query.sources.size() > 2 ? &query.sources[2] : nullptr;
  expect_size(query, 0, "source_gradient", undone_by(query.node, query.sources[1], like).result);
  return query.sources[1];
}

/// `first`: index of the forward node's source among this node's.
Undone undone(const Lowering& to, std::size_t first) {
  const FilterRecord& node = to.node();
  if (node.sources.size() <= first + 1) return undone_by(node, to.source_size(first), nullptr);
  const ImageSize like = to.source_size(first + 1);
  return undone_by(node, to.source_size(first), &like);
}

AttributeMap resolved(const FilterRecord& node, const Undone& sizes) {
  const ConvolutionDescriptor& d = descriptor_of(node);
  return {{"kernel_height", d.kernel_height},
          {"kernel_width", d.kernel_width},
          {"stride_y", d.stride_in_pixels_y},
          {"stride_x", d.stride_in_pixels_x},
          {"dilation_y", d.dilation_rate_y},
          {"dilation_x", d.dilation_rate_x},
          {"pad_top", sizes.pad_top},
          {"pad_left", sizes.pad_left},
          {"groups", d.groups},
          {"edge_mode", static_cast<std::int64_t>(ImageEdgeMode::ZERO)}};
}

/// Dimensions of the weights of the convolution that is undone: (in, height, width, out / groups).
ImageSize undone_weights(const ConvolutionDescriptor& d) {
  return {d.input_feature_channels, d.kernel_height, d.kernel_width,
          d.output_feature_channels / d.groups};
}

ValueId add_transposed_weights(Lowering& to) {
  const ConvolutionDescriptor& d = descriptor_of(to.node());
  const ValueId weights = to.temporary("transposed_weights", undone_weights(d));
  to.add(OpId::transposed_weights, {to.parameter("weights")}, {weights}, {{"groups", d.groups}});
  return weights;
}

void lower_forward(Lowering& to) {
  const ConvolutionDescriptor& d = descriptor_of(to.node());
  const Undone sizes = undone(to, 0);
  const bool has_neuron = d.fused_neuron_descriptor.type != NeuronType::NONE;
  const ValueId value = has_neuron ? to.temporary("convolved", sizes.result) : to.result();
  to.add(OpId::convolution_data_gradient,
         {to.source(0), add_transposed_weights(to), to.parameter("bias")}, {value},
         resolved(to.node(), sizes));
  if (has_neuron) add_neuron(to, value, d.fused_neuron_descriptor, to.result());
}

void lower_weights_gradient(Lowering& to, const AttributeMap& attributes) {
  const ConvolutionDescriptor& d = descriptor_of(to.node());
  const ValueId weights = to.parameter_gradient("weights"), bias = to.parameter_gradient("bias"),
                undone = to.temporary("transposed_gradient", undone_weights(d));
  to.add(OpId::convolution_weights_gradient, {to.source(1), to.source(0)}, {undone}, attributes);
  to.add(OpId::transposed_weights, {undone}, {weights}, {{"groups", d.groups}});
  if (bias == kNoValue) return;
  const ValueId image =
      to.temporary("bias_gradient", ImageSize{1, 1, 1, d.output_feature_channels});
  to.add(OpId::addition_gradient, {to.source(0)}, {image}, {{"scale", 1.0}});
  to.add(OpId::reshape, {image}, {bias}, {});
}

void lower_gradient(Lowering& to) {
  AttributeMap attributes = resolved(to.node(), undone(to, 1));
  if (to.weights_are_updated()) lower_weights_gradient(to, attributes);
  // The convolution that is undone, of the gradient.
  set_neuron(attributes);
  to.add(OpId::convolution, {to.source(0), add_transposed_weights(to)}, {to.result()},
         std::move(attributes));
}

void check_descriptor(const FilterRecord& node) {
  const ConvolutionDescriptor& d = descriptor_of(node);
  if (d.sub_pixel_scale_factor != 1) {
    fail(node, "weights", "a descriptor with sub_pixel_scale_factor 1", d.sub_pixel_scale_factor);
  }
  check_fused_neuron(node, d.fused_neuron_descriptor);
}

FilterNode make_gradient(const GradientQuery& query) {
  const FilterRecord& forward = *query.forward.record();
  check_trained_without_neuron(forward, descriptor_of(forward).fused_neuron_descriptor);
  return FilterNode("ConvolutionTransposeGradientNode", gradient_then_sources(query), {},
                    forward.weights);
}

std::vector<SourceSpec> sources() {
  return {{.name = "source", .doc = "image with the descriptor's input_feature_channels"},
          {.name = "convolution_source",
           .doc = "source of the convolution that this one undoes: only its size is used, it is "
                  "the result's",
           .derivative = Derivative::NONE,
           .optional = true}};
}

constexpr std::string_view kForwardDoc =
    R"(Puts stride - 1 zeros between the source's pixels and convolves that with stride 1:
result[n, y, x, o] = bias[o] + sum over i, j, c of
weights[o, i, j, c] * stuffed[n, y - pad_top + i * dilation_y, x - pad_left + j * dilation_x, c].
As Apple says, the weights are not turned: to undo a convolution exactly, turn and exchange its weights yourself. The
descriptor's output_feature_channels are the result's; weights are (out, height, width, in / groups).

**Result size** by the padding policy, along each axis, with k = (kernel - 1) * dilation + 1: SIZE_SAME
(n - 1) * stride + 1, SIZE_VALID_ONLY that minus k - 1, SIZE_FULL that plus k - 1. To undo a convolution use the opposite:
valid for full, full for valid. Pads are those of a convolution of stride 1 over the stuffed image.

With convolution_source, the source of the convolution that is undone (Apple's convolutionGradientState), the result has
its size, and the policy is that convolution's. Error at encode where that does not give the source's size.

**Training**: as ConvolutionNode's.)";

constexpr std::string_view kGradientDoc =
    R"(With g the source_gradient, 0 outside of the image:
result[n, y, x, c] = sum over o, i, j of
weights[o, i, j, c] * g[n, y * stride_y + pad_top - i * dilation_y, x * stride_x + pad_left - j * dilation_x, o].
The gradient of weights[o, i, j, c] is the sum over n, y, x of the same g times source_image[n, y, x, c], that of bias[o]
the sum over n, y, x of g[n, y, x, o].

**Result size**: source_image's.

**Training**: where the data source is trainable and has an optimizer, the gradients of weights and bias are computed
and the weights are updated, as by ConvolutionGradientNode, whose state it has, too.)";

}  // namespace

std::vector<NodeClass> convolution_transpose_nodes() {
  std::vector<SourceSpec> gradient_sources = {
      {.name = "source_gradient", .doc = "gradient of the transposed convolution's result"},
      {.name = "source_image", .doc = "the transposed convolution's source"},
      sources()[1]};
  return {{.name = "ConvolutionTransposeNode",
           .apple = "MPSCNNConvolutionTransposeNode",
           .family = "convolution",
           .brief = "Convolves an image with zeros between its pixels: enlarges",
           .doc = kForwardDoc,
           .sources = sources(),
           .weights = "ConvolutionDataSource",
           .trainable = true,
           .has_padding = true,
           .check = check_descriptor,
           .shape = forward_shape,
           .lower = lower_forward,
           .gradient_of = make_gradient},
          {.name = "ConvolutionTransposeGradientNode",
           .apple = "MPSCNNConvolutionTransposeGradientNode",
           .family = "convolution",
           .brief = "Gradients of a transposed convolution's source, weights and bias",
           .doc = kGradientDoc,
           .sources = gradient_sources,
           .weights = "ConvolutionDataSource",
           .trainable = true,
           .gradient = true,
           .has_padding = true,
           .state = {"weights", "bias"},
           .shape = gradient_shape,
           .lower = lower_gradient}};
}

}  // namespace mpsnn::graph
