// SPDX-License-Identifier: MIT
// Addition, concatenation, softmax.
#include <limits>

#include "backend/metal/lowering.h"
#include "base/attributes.h"
#include "graph/node_table.h"

namespace mpsnn::backend::metal {
namespace {

using graph::FilterRecord;

constexpr double kFloatMax = std::numeric_limits<float>::max();
constexpr std::int64_t kSlice = 4;

/// MPSNNGraph was measured to ignore MPSNNAdditionNode's primaryScale (11 22 33 44 where
/// MPSImageAdd gives 12 24 36 48): the source is scaled by a neuron before it.
MPSNNImageNode* scaled(MPSNNImageNode* image, double scale) {
  return scale == 1.0 ? image : [linear(image, scale, 0.0) resultImage];
}

}  // namespace

std::string refuse_broadcast(const NodeCase& node) {
  if (node.source(0) != node.source(1)) {
    return str("sources of one size, got ", to_string(node.source(0)), " and ",
               to_string(node.source(1)), ": broadcasting is not lowered");
  }
  const AttributeMap& a = node.node.attributes;
  if (get_float(a, "minimum_value") > -kFloatMax || get_float(a, "maximum_value") < kFloatMax)
    return "minimum_value and maximum_value are not lowered";
  return {};
}

void lower_addition(Builder& builder, const FilterRecord& node) {
  const double bias = get_float(node.attributes, "bias");
  MPSNNFilterNode* sum = [MPSNNAdditionNode
      nodeWithLeftSource:scaled(builder.source(node, 0), get_float(node.attributes, "primary_scale"))
             rightSource:scaled(builder.source(node, 1),
                                get_float(node.attributes, "secondary_scale"))];
  builder.finish(node, sum, bias == 0.0 ? sum : linear([sum resultImage], 1.0, bias));
}

void lower_addition_gradient(Builder& builder, const FilterRecord& node) {
  const bool is_secondary = get_bool(node.attributes, "is_secondary_source_filter");
  MPSNNFilterNode* made = [builder.gradients(node) objectAtIndex:is_secondary ? 1 : 0];
  const double scale =
      get_float(node.attributes, is_secondary ? "secondary_scale" : "primary_scale");
  builder.finish(node, scale == 1.0 ? made : linear([made resultImage], scale, 0.0));
}

/// MPSNNConcatenationNode was measured to start each source at a slice of four channels: 1 + 1
/// channels become 8.
std::string refuse_unaligned_sources(const NodeCase& node) {
  for (std::size_t i = 0; i < node.node.sources.size(); ++i) {
    const std::int64_t channels = node.source(i).channels;
    if (channels % kSlice == 0) continue;
    return str("sources[", i, "]: MPS pads sources to multiples of 4 channels, got ", channels);
  }
  return {};
}

void lower_concatenation(Builder& builder, const FilterRecord& node) {
  NSMutableArray<MPSNNImageNode*>* sources = [NSMutableArray array];
  for (std::size_t i = 0; i < node.sources.size(); ++i)
    [sources addObject:builder.source(node, i)];
  builder.finish(node, [MPSNNConcatenationNode nodeWithSources:sources]);
}

void lower_concatenation_gradient(Builder& builder, const FilterRecord& node) {
  const auto index = static_cast<NSUInteger>(get_int(node.attributes, "source_index"));
  builder.finish(node, [builder.gradients(node) objectAtIndex:index]);
}

void lower_softmax(Builder& builder, const FilterRecord& node) {
  MPSNNImageNode* source = builder.source(node, 0);
  MPSNNFilterNode* made = nil;
  if (node.node_class->name == "LogSoftMaxNode") {
    made = [MPSCNNLogSoftMaxNode nodeWithSource:source];
  } else {
    made = [MPSCNNSoftMaxNode nodeWithSource:source];
  }
  builder.finish(node, made);
}

}  // namespace mpsnn::backend::metal
