// SPDX-License-Identifier: MIT
// Binary convolution and binary fully connected layer. Operations: channel_affine makes source and
// weights binary, a convolution multiplies them (sums of whole numbers are exact), and what scales
// and shifts the result follows.
#include <string>

#include "base/attributes.h"
#include "base/check.h"
#include "graph/geometry.h"
#include "graph/lowering.h"
#include "graph/node_table.h"
#include "graph/ops/convolution.h"
#include "graph/ops/neuron.h"
#include "graph/ops/shapes.h"

namespace mpsnn::graph {
namespace {

constexpr double kFloatMax = std::numeric_limits<float>::max();
// Kinds of channel_affine's binarization (base/attributes.h).
constexpr std::int64_t kNone = 0, kSignOfSource = 1, kBitOfSource = 2, kSignOfWeight = 3,
                       kBitOfWeight = 4;

const ConvolutionDescriptor& descriptor_of(const FilterRecord& node) {
  const auto* weights = dynamic_cast<const ConvolutionDataSource*>(node.weights.get());
  check_internal(weights != nullptr, "a convolution's data source is a ConvolutionDataSource");
  return weights->descriptor();
}

BinaryConvolutionType type_of(const FilterRecord& node) {
  return static_cast<BinaryConvolutionType>(get_int(node.attributes, "convolution_type"));
}

Geometry geometry_of(const FilterRecord& node, const ImageSize& source) {
  const ConvolutionDescriptor& d = descriptor_of(node);
  return place(node, {d.kernel_height, d.stride_in_pixels_y, d.dilation_rate_y},
               {d.kernel_width, d.stride_in_pixels_x, d.dilation_rate_x}, source);
}

ImageSize result_size(const FilterRecord& node, const ImageSize& source) {
  const ConvolutionDescriptor& d = descriptor_of(node);
  if (source.channels != d.input_feature_channels)
    fail(node, "source", str(d.input_feature_channels, " feature channels"), source.channels);
  const Geometry geometry = geometry_of(node, source);
  return {source.n, geometry.at_y.size, geometry.at_x.size, d.output_feature_channels};
}

ImageSize convolution_shape(const ShapeQuery& query) {
  return result_size(query.node, query.sources[0]);
}

/// One window over the whole image.
ImageSize fully_connected_shape(const ShapeQuery& query) {
  const ConvolutionDescriptor& d = descriptor_of(query.node);
  const ImageSize& source = query.sources[0];
  const ImageSize wanted = {source.n, d.kernel_height, d.kernel_width, d.input_feature_channels};
  expect_size(query, 0, "source", wanted);
  return {source.n, 1, 1, d.output_feature_channels};
}

void check_list(const FilterRecord& node, std::string_view name, std::int64_t channels) {
  const std::size_t count = get_floats(node.attributes, name).size();
  if (count != 0 && static_cast<std::int64_t>(count) != channels)
    fail(node, name, str("none or ", channels, " values, one a feature channel"), count);
}

void check_node(const FilterRecord& node) {
  const ConvolutionDescriptor& d = descriptor_of(node);
  if (d.groups != 1) fail(node, "weights", "a descriptor with groups 1", d.groups);
  if (d.sub_pixel_scale_factor != 1)
    fail(node, "weights", "a descriptor with sub_pixel_scale_factor 1", d.sub_pixel_scale_factor);
  check_fused_neuron(node, d.fused_neuron_descriptor);
  for (const char* name : {"output_bias_terms", "output_scale_terms"})
    check_list(node, name, d.output_feature_channels);
  for (const char* name : {"input_bias_terms", "input_scale_terms"})
    check_list(node, name, d.input_feature_channels);
  const bool dilated = d.dilation_rate_x != 1 || d.dilation_rate_y != 1;
  if (dilated && get_bool(node.attributes, "use_beta_scaling"))
    fail(node, "use_beta_scaling", "false with a dilated window", "true");
}

void check_fully_connected(const FilterRecord& node) {
  check_node(node);
  const ConvolutionDescriptor& d = descriptor_of(node);
  for (const std::int64_t step :
       {d.stride_in_pixels_x, d.stride_in_pixels_y, d.dilation_rate_x, d.dilation_rate_y}) {
    if (step != 1) fail(node, "weights", "a descriptor with strides and dilation rates of 1", step);
  }
}

AttributeMap affine(std::vector<double> scales, std::vector<double> biases, std::int64_t kind) {
  return {{"scales", std::move(scales)}, {"biases", std::move(biases)}, {"binarization", kind}};
}

/// What stands where the window is; a fully connected layer has one that needs no policy.
AttributeMap window_of(const FilterRecord& node, const ImageSize& source) {
  const ConvolutionDescriptor& d = descriptor_of(node);
  AttributeMap attributes = {{"kernel_height", d.kernel_height}, {"kernel_width", d.kernel_width},
                             {"stride_y", std::int64_t{1}},      {"stride_x", std::int64_t{1}},
                             {"pad_top", std::int64_t{0}},       {"pad_left", std::int64_t{0}}};
  if (node.node_class->has_padding) {
    const Geometry geometry = geometry_of(node, source);
    check_reads_zeros(node, geometry);
    geometry.describe(attributes);
  }
  attributes["dilation_y"] = d.dilation_rate_y;
  attributes["dilation_x"] = d.dilation_rate_x;
  attributes["edge_mode"] = static_cast<std::int64_t>(ImageEdgeMode::ZERO);
  return attributes;
}

class BinaryLayer {
 public:
  BinaryLayer(Lowering& to, const ImageSize& result)
      : to_(to), d_(descriptor_of(to.node())), source_(to.source_size(0)), result_(result) {}

  void lower() {
    const ValueId scaled = scaled_source();
    std::vector<Step> steps;
    steps.push_back(&BinaryLayer::convolve);
    if (get_bool(attributes(), "use_beta_scaling")) steps.push_back(&BinaryLayer::multiply_by_beta);
    if (!is_unscaled()) {
      steps.push_back(&BinaryLayer::scale_result);
      if (uses_bias()) steps.push_back(&BinaryLayer::add_bias);
    }
    if (d_.fused_neuron_descriptor.type != NeuronType::NONE)
      steps.push_back(&BinaryLayer::apply_neuron);
    scaled_ = value_ = scaled;
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const ValueId next = i + 1 == steps.size() ? to_.result() : to_.temporary("step", result_);
      (this->*steps[i])(next);
      value_ = next;
    }
  }

 private:
  using Step = void (BinaryLayer::*)(ValueId next);

  const AttributeMap& attributes() const { return to_.node().attributes; }
  std::vector<double> list(std::string_view name) const { return get_floats(attributes(), name); }

  ValueId scaled_source() {
    std::vector<double> scales = list("input_scale_terms"), biases = list("input_bias_terms");
    if (scales.empty() && biases.empty()) return to_.source(0);
    const ValueId scaled = to_.temporary("scaled", source_);
    to_.add(OpId::channel_affine, {to_.source(0)}, {scaled},
            affine(std::move(scales), std::move(biases), kNone));
    return scaled;
  }

  void convolve(ValueId next) {
    const BinaryConvolutionType type = type_of(to_.node());
    const bool is_and = type == BinaryConvolutionType::AND;
    const ValueId weights = to_.temporary(
        "binary_weights",
        {d_.output_feature_channels, d_.kernel_height, d_.kernel_width, d_.input_feature_channels});
    to_.add(OpId::channel_affine, {to_.parameter("weights")}, {weights},
            affine({}, {}, is_and ? kBitOfWeight : kSignOfWeight));
    ValueId source = value_;
    if (type != BinaryConvolutionType::BINARY_WEIGHTS) {
      source = to_.temporary("binary_source", source_);
      to_.add(OpId::channel_affine, {value_}, {source},
              affine({}, {}, is_and ? kBitOfSource : kSignOfSource));
    }
    AttributeMap attributes = window_of(to_.node(), source_);
    attributes["groups"] = std::int64_t{1};
    set_neuron(attributes);
    std::vector<ValueId> inputs = {source, weights};
    if (is_unscaled() && uses_bias()) inputs.push_back(to_.parameter("bias"));
    to_.add(OpId::convolution, std::move(inputs), {next}, std::move(attributes));
  }

  /// The data source's bias is all that the convolution's result may get.
  bool is_unscaled() const {
    return !get_bool(attributes(), "use_beta_scaling") &&
           get_float(attributes(), "scale_value") == 1 && list("output_scale_terms").empty() &&
           list("output_bias_terms").empty();
  }

  /// The mean of the source's absolute values over each window and all channels.
  void multiply_by_beta(ValueId next) {
    const ImageSize plane = {source_.n, source_.height, source_.width, 1},
                    small = {result_.n, result_.height, result_.width, 1};
    const ValueId sizes = to_.temporary("absolute", source_), mean = to_.temporary("mean", plane),
                  beta = to_.temporary("beta", small);
    add_neuron(to_, scaled_, {NeuronType::ABSOLUTE, 0, 0, 0}, sizes);
    to_.add(OpId::addition_gradient, {sizes}, {mean},
            {{"scale", 1.0 / static_cast<double>(source_.channels)}});
    AttributeMap window = window_of(to_.node(), source_);
    window["zero_pad_y"] = window["zero_pad_x"] = std::int64_t{0};
    to_.add(OpId::pooling_average, {mean}, {beta}, std::move(window));
    to_.add(OpId::multiplication, {value_, beta}, {next}, plain_binary());
  }

  void scale_result(ValueId next) {
    const double scale_value = get_float(attributes(), "scale_value");
    std::vector<double> scales = list("output_scale_terms");
    if (scales.empty()) scales.assign(static_cast<std::size_t>(result_.channels), 1.0);
    for (double& scale : scales) scale *= scale_value;
    to_.add(OpId::channel_affine, {value_}, {next},
            affine(std::move(scales), list("output_bias_terms"), kNone));
  }

  /// The node's bias terms stand for the data source's.
  bool uses_bias() const {
    const auto* weights = dynamic_cast<const ConvolutionDataSource*>(to_.node().weights.get());
    return list("output_bias_terms").empty() && weights->has_bias();
  }

  void add_bias(ValueId next) { graph::add_bias(to_, value_, next); }

  void apply_neuron(ValueId next) { add_neuron(to_, value_, d_.fused_neuron_descriptor, next); }

  Lowering& to_;
  const ConvolutionDescriptor& d_;
  ImageSize source_, result_;
  ValueId scaled_ = kNoValue, value_ = kNoValue;
};

void lower_convolution(Lowering& to) {
  BinaryLayer(to, result_size(to.node(), to.source_size(0))).lower();
}

void lower_fully_connected(Lowering& to) {
  BinaryLayer(to, {to.source_size(0).n, 1, 1, descriptor_of(to.node()).output_feature_channels})
      .lower();
}

std::vector<AttributeSpec> attributes() {
  const auto terms = [](std::string_view name, std::string_view doc) {
    return AttributeSpec{.name = name,
                         .type = AttributeType::FLOATS,
                         .doc = doc,
                         .default_value = std::vector<double>(),
                         .minimum = -kFloatMax,
                         .maximum = kFloatMax};
  };
  return {{.name = "scale_value",
           .type = AttributeType::FLOAT,
           .doc = "factor of the convolution",
           .default_value = 1.0,
           .minimum = -kFloatMax,
           .maximum = kFloatMax},
          {.name = "convolution_type",
           .type = AttributeType::ENUM,
           .doc = "what is made binary, and how it is multiplied",
           .default_value = static_cast<std::int64_t>(BinaryConvolutionType::BINARY_WEIGHTS),
           .enum_name = "BinaryConvolutionType"},
          {.name = "use_beta_scaling",
           .type = AttributeType::BOOL,
           .doc = "multiply with the mean of the source's absolute values in the window",
           .default_value = false},
          terms("output_bias_terms", "added to each result channel; empty: the data source's bias"),
          terms("output_scale_terms", "factor of each result channel; empty: 1"),
          terms("input_bias_terms", "added to each source channel; empty: 0"),
          terms("input_scale_terms", "factor of each source channel, before its bias; empty: 1")};
}

constexpr std::string_view kConvolutionDoc =
    R"(With in = input_scale_terms[c] * source + input_bias_terms[c]:

result[n, y, x, o] = scale_value * output_scale_terms[o] * beta[n, y, x] * (sum over i, j, c of in (x) weights)
+ output_bias_terms[o], where in (x) weights is by convolution_type
- BINARY_WEIGHTS: in * w, w = 1 for a weight > 0, else -1;
- XNOR: sign(in) * w with sign(v) = v < 0 ? -1 : 1. Over 32 channels that is 32 - 2 * popcount(a ^ b);
- AND: 1 where in >= 0 and the weight > 0, else 0: popcount(a & b).

Positions outside of the image add nothing, with any type. beta is 1, or with use_beta_scaling the mean of abs(in) over
the window and all channels (XNOR-Net; the window's area always counts whole). The descriptor's fused neuron follows.

**Result size** by the padding policy, as ConvolutionNode's. Error where groups are not 1.

It has no derivative: a training graph that reaches it fails, naming it.

**Unlike Apple**: the weights are floats, of which only the sign counts, not words of 32 bits.)";

constexpr std::string_view kFullyConnectedDoc =
    R"(A BinaryConvolutionNode whose window is the whole image: kernel_width and kernel_height of the descriptor are the
source's size, strides, dilation rates and groups are 1.

**Result size**: (N, 1, 1, output_feature_channels). Error at encode where the source has another size than the kernel.

It has no derivative: a training graph that reaches it fails, naming it.)";

}  // namespace

std::vector<NodeClass> binary_convolution_nodes() {
  return {
      {.name = "BinaryConvolutionNode",
       .apple = "MPSCNNBinaryConvolutionNode",
       .family = "convolution",
       .brief = "Convolves an image, made binary or not, with weights of one bit",
       .doc = kConvolutionDoc,
       .sources = {{.name = "source", .doc = "image with the descriptor's input_feature_channels"}},
       .attributes = attributes(),
       .weights = "ConvolutionDataSource",
       .has_padding = true,
       .check = check_node,
       .shape = convolution_shape,
       .lower = lower_convolution},
      {.name = "BinaryFullyConnectedNode",
       .apple = "MPSCNNBinaryFullyConnectedNode",
       .family = "convolution",
       .brief = "A layer of weights of one bit that sees the whole image",
       .doc = kFullyConnectedDoc,
       .sources = {{.name = "source", .doc = "image of the kernel's size"}},
       .attributes = attributes(),
       .weights = "ConvolutionDataSource",
       .check = check_fully_connected,
       .shape = fully_connected_shape,
       .lower = lower_fully_connected}};
}

}  // namespace mpsnn::graph
