// SPDX-License-Identifier: MIT
// Reductions: one MPS node class each.
#include <array>

#include "backend/metal/lowering.h"
#include "base/attributes.h"
#include "graph/node_table.h"

namespace mpsnn::backend::metal {
namespace {

using graph::FilterRecord;

struct Reduction {
  std::string_view node_class;
  Class kind;
};

Class class_of(const FilterRecord& node) {
  const auto reductions = std::to_array<Reduction>({
      {"ReductionRowMinNode", [MPSNNReductionRowMinNode class]},
      {"ReductionRowMaxNode", [MPSNNReductionRowMaxNode class]},
      {"ReductionRowMeanNode", [MPSNNReductionRowMeanNode class]},
      {"ReductionRowSumNode", [MPSNNReductionRowSumNode class]},
      {"ReductionColumnMinNode", [MPSNNReductionColumnMinNode class]},
      {"ReductionColumnMaxNode", [MPSNNReductionColumnMaxNode class]},
      {"ReductionColumnMeanNode", [MPSNNReductionColumnMeanNode class]},
      {"ReductionColumnSumNode", [MPSNNReductionColumnSumNode class]},
      {"ReductionFeatureChannelsMinNode", [MPSNNReductionFeatureChannelsMinNode class]},
      {"ReductionFeatureChannelsMaxNode", [MPSNNReductionFeatureChannelsMaxNode class]},
      {"ReductionFeatureChannelsMeanNode", [MPSNNReductionFeatureChannelsMeanNode class]},
      {"ReductionFeatureChannelsSumNode", [MPSNNReductionFeatureChannelsSumNode class]},
      {"ReductionFeatureChannelsArgumentMinNode", [MPSNNReductionFeatureChannelsArgumentMinNode class]},
      {"ReductionFeatureChannelsArgumentMaxNode", [MPSNNReductionFeatureChannelsArgumentMaxNode class]},
      {"ReductionSpatialMeanNode", [MPSNNReductionSpatialMeanNode class]},
  });
  for (const Reduction& one : reductions) {
    if (one.node_class == node.node_class->name) return one.kind;
  }
  fail_on_device(title(node), "no such reduction");
}

}  // namespace

void lower_reduction(Builder& builder, const FilterRecord& node) {
  MPSNNUnaryReductionNode* made = [class_of(node) nodeWithSource:builder.source(node, 0)];
  const auto& clip = std::get<std::vector<std::int64_t>>(node.attributes.at("clip_rect_source"));
  if (!clip.empty()) {
    const auto at = [&clip](std::size_t i) { return static_cast<NSUInteger>(clip[i]); };
    [made setClipRectSource:{{at(0), at(1), 0}, {at(2), at(3), 1}}];
  }
  if (node.attributes.contains("weight")) {
    [static_cast<MPSNNReductionFeatureChannelsSumNode*>(made)
        setWeight:static_cast<float>(get_float(node.attributes, "weight"))];
  }
  builder.finish(node, made);
}

}  // namespace mpsnn::backend::metal
