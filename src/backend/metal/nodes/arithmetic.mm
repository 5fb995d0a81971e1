// SPDX-License-Identifier: MIT
// Addition, subtraction, multiplication, division, comparison.
#include <limits>

#include "backend/metal/lowering.h"
#include "base/attributes.h"
#include "graph/node_table.h"

namespace mpsnn::backend::metal {
namespace {

using graph::FilterRecord;

constexpr double kFloatMax = std::numeric_limits<float>::max();

/// MPSNNGraph was measured to ignore MPSNNAdditionNode's primaryScale (11 22 33 44 where
/// MPSImageAdd gives 12 24 36 48): the source is scaled by a neuron before it.
MPSNNImageNode* scaled(MPSNNImageNode* image, double scale) {
  return scale == 1.0 ? image : [linear(image, scale, 0.0) resultImage];
}

MPSNNFilterNode* at_least_zero(MPSNNImageNode* image) {
  return [MPSCNNNeuronNode
      nodeWithSource:image
          descriptor:[MPSNNNeuronDescriptor
                         cnnNeuronDescriptorWithType:static_cast<MPSCNNNeuronType>(NeuronType::RELU)
                                                   a:0
                                                   b:0
                                                   c:0]];
}

/// What follows the operation: a graph that ignores the scale may ignore bias and bounds, too, so
/// they are neurons.
MPSNNFilterNode* with_bias_and_bounds(MPSNNFilterNode* made, const AttributeMap& a) {
  const double bias = get_float(a, "bias");
  const double low = get_float(a, "minimum_value"), high = get_float(a, "maximum_value");
  double shift = bias;  // what is still to be added
  if (low > -kFloatMax) {
    made = at_least_zero([linear([made resultImage], 1.0, shift - low) resultImage]);
    shift = low;
  }
  if (high < kFloatMax) {
    made = at_least_zero([linear([made resultImage], -1.0, high - shift) resultImage]);
    return linear([made resultImage], -1.0, high);
  }
  return shift == 0.0 ? made : linear([made resultImage], 1.0, shift);
}

/// Whether one image stretches over the other: along each dimension of one size, or 1.
bool covers(const ImageSize& all, const ImageSize& part) {
  const auto fits = [](std::int64_t a, std::int64_t b) { return b == a || b == 1; };
  return fits(all.height, part.height) && fits(all.width, part.width) &&
         fits(all.channels, part.channels);
}

/// MPS takes the result's size from the primary source; where the other one is larger, the two
/// change places, which sums and products do not mind.
bool is_swapped(const ImageSize& primary, const ImageSize& secondary) {
  return !covers(primary, secondary);
}

bool is_swapped(const Builder& builder, const FilterRecord& node) {
  return is_swapped(builder.size(node, 0), builder.size(node, 1));
}

/// Strides of 0 read the same pixel again and again.
void set_strides(MPSNNBinaryArithmeticNode* made, const ImageSize& all, const ImageSize& part) {
  if (part.width != all.width) [made setSecondaryStrideInPixelsX:0];
  if (part.height != all.height) [made setSecondaryStrideInPixelsY:0];
  if (part.channels != all.channels) [made setSecondaryStrideInFeatureChannels:0];
}

bool is_subtraction(const FilterRecord& node) {
  return node.node_class->name.starts_with("Subtraction");
}

/// What the secondary source is multiplied by. MPSCNNMath.h wants a primaryScale of -1 for the
/// second gradient of a subtraction, and graphs were measured to ignore an addition's: a - b is
/// a + (-1) b, whose gradients want no scale.
double secondary_scale(const FilterRecord& node) {
  const double scale = get_float(node.attributes, "secondary_scale");
  return is_subtraction(node) ? -scale : scale;
}

Class class_of(const FilterRecord& node) {
  const std::string_view name = node.node_class->name;
  if (name == "MultiplicationNode") return [MPSNNMultiplicationNode class];
  if (name == "DivisionNode") return [MPSNNDivisionNode class];
  if (name == "ComparisonNode") return [MPSNNComparisonNode class];
  return [MPSNNAdditionNode class];
}

MPSNNBinaryArithmeticNode* make_binary(Builder& builder, const FilterRecord& node,
                                       MPSNNImageNode* primary, MPSNNImageNode* secondary) {
  const bool swapped = is_swapped(builder, node);
  MPSNNBinaryArithmeticNode* made =
      [class_of(node) nodeWithLeftSource:swapped ? secondary : primary
                             rightSource:swapped ? primary : secondary];
  set_strides(made, builder.size(node, swapped ? 1 : 0), builder.size(node, swapped ? 0 : 1));
  return made;
}

}  // namespace

std::string refuse_broadcast(const NodeCase& node) {
  const ImageSize a = node.source(0), b = node.source(1);
  const std::string sizes = str(", got ", to_string(a), " and ", to_string(b));
  if (a.n != b.n)
    return str("batches of one size", sizes, ": MPS does not broadcast images of a batch");
  if (covers(a, b)) return {};
  const std::string_view name = node.node.node_class->name;
  const bool may_swap =
      name == "AdditionNode" || name == "SubtractionNode" || name == "MultiplicationNode";
  if (may_swap && covers(b, a)) return {};
  return str("a primary source of the result's size", sizes, ": MPS sizes the result by it");
}

void lower_arithmetic(Builder& builder, const FilterRecord& node) {
  const AttributeMap& a = node.attributes;
  MPSNNFilterNode* made =
      make_binary(builder, node, scaled(builder.source(node, 0), get_float(a, "primary_scale")),
                  scaled(builder.source(node, 1), secondary_scale(node)));
  builder.finish(node, made, with_bias_and_bounds(made, a));
}

namespace {

/// Sums along the dimensions in which `to` has 1.
MPSNNImageNode* summed(MPSNNImageNode* image, const ImageSize& from, const ImageSize& to) {
  const auto add_up = [&](std::int64_t before, std::int64_t after, Class along) {
    if (before == after) return;
    MPSNNFilterNode* made = [along nodeWithSource:image];
    image = [made resultImage];
  };
  add_up(from.width, to.width, [MPSNNReductionRowSumNode class]);
  add_up(from.height, to.height, [MPSNNReductionColumnSumNode class]);
  add_up(from.channels, to.channels, [MPSNNReductionFeatureChannelsSumNode class]);
  return image;
}

/// The gradient for one of two sources of different sizes. MPS's headers do not say what strides
/// its gradient filters have, nor which image they are of: the gradient, times the other source of
/// a product, is added up along what was repeated.
MPSNNImageNode* broadcast_gradient(Builder& builder, const FilterRecord& node, bool is_secondary) {
  const ImageSize primary = builder.size(node, 1), secondary = builder.size(node, 2);
  const ImageSize &own = is_secondary ? secondary : primary,
                  &other = is_secondary ? primary : secondary, all = builder.size(node, 0);
  MPSNNImageNode* gradient = builder.source(node, 0);
  if (node.node_class->name.starts_with("Multiplication")) {
    const double scale =
        get_float(node.attributes, is_secondary ? "primary_scale" : "secondary_scale");
    MPSNNBinaryArithmeticNode* product = [MPSNNMultiplicationNode
        nodeWithLeftSource:gradient
               rightSource:scaled(builder.source(node, is_secondary ? 1 : 2), scale)];
    set_strides(product, all, other);
    gradient = [product resultImage];
  }
  return summed(gradient, all, own);
}

/// MPS does not say in which order it makes the gradient filters of two sources.
MPSNNGradientFilterNode* filter_for(NSArray<MPSNNGradientFilterNode*>* filters, bool is_secondary) {
  for (MPSNNGradientFilterNode* one in filters) {
    const bool is_own = [static_cast<MPSNNArithmeticGradientNode*>(one) isSecondarySourceFilter];
    if (is_own == is_secondary) return one;
  }
  fail_on_device(
      "MPSNNBinaryArithmeticNode",
      str("made no gradient filter of the ", is_secondary ? "secondary" : "primary", " source"));
}

}  // namespace

/// Bias and bounds have no part in the gradient; the neuron that scaled the source has.
void lower_arithmetic_gradient(Builder& builder, const FilterRecord& node) {
  const bool is_secondary = get_bool(node.attributes, "is_secondary_source_filter");
  const double scale =
      is_secondary ? secondary_scale(node) : get_float(node.attributes, "primary_scale");
  if (builder.size(node, 1) == builder.size(node, 2)) {
    MPSNNFilterNode* made = filter_for(builder.gradients(node), is_secondary);
    return builder.finish(node, scale == 1.0 ? made : linear([made resultImage], scale, 0.0));
  }
  builder.finish(node, linear(broadcast_gradient(builder, node, is_secondary), scale, 0.0));
}

/// MPS has no gradient filter of a division: of a / b it is g / b and -g a / b².
std::string refuse_division_gradient(const NodeCase& node) {
  const ImageSize a = node.source(1), b = node.source(2);
  if (a == b) return {};
  return str("sources of one size, got ", to_string(a), " and ", to_string(b),
             ": MPS has no gradient of a division, and a product of its own adds nothing up");
}

void lower_division_gradient(Builder& builder, const FilterRecord& node) {
  const AttributeMap& a = node.attributes;
  MPSNNImageNode *gradient = builder.source(node, 0), *divisor = builder.source(node, 2);
  double scale = get_float(a, "primary_scale") / get_float(a, "secondary_scale");
  if (get_bool(a, "is_secondary_source_filter")) {
    const auto product = [](MPSNNImageNode* left, MPSNNImageNode* right) {
      return [[MPSNNMultiplicationNode nodeWithLeftSource:left rightSource:right] resultImage];
    };
    gradient = product(gradient, builder.source(node, 1));
    divisor = product(divisor, divisor);
    scale = -scale;
  }
  MPSNNFilterNode* made = [MPSNNDivisionNode nodeWithLeftSource:gradient rightSource:divisor];
  builder.finish(node, scale == 1.0 ? made : linear([made resultImage], scale, 0.0));
}

std::string refuse_comparison(const NodeCase& node) {
  const auto type = static_cast<ComparisonType>(get_int(node.node.attributes, "comparison_type"));
  const bool has_threshold = type == ComparisonType::EQUAL || type == ComparisonType::NOT_EQUAL;
  if (has_threshold && get_float(node.node.attributes, "threshold") != 0.0)
    return "threshold: MPS's graph node compares without one";
  return refuse_broadcast(node);
}

void lower_comparison(Builder& builder, const FilterRecord& node) {
  auto* made = static_cast<MPSNNComparisonNode*>(
      make_binary(builder, node, builder.source(node, 0), builder.source(node, 1)));
  [made setComparisonType:static_cast<MPSNNComparisonType>(
                              get_int(node.attributes, "comparison_type"))];
  builder.finish(node, made);
}

}  // namespace mpsnn::backend::metal
