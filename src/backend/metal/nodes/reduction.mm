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
      {"ReductionFeatureChannelsArgumentMinNode",
       [MPSNNReductionFeatureChannelsArgumentMinNode class]},
      {"ReductionFeatureChannelsArgumentMaxNode",
       [MPSNNReductionFeatureChannelsArgumentMaxNode class]},
      {"ReductionSpatialMeanNode", [MPSNNReductionSpatialMeanNode class]},
  });
  for (const Reduction& one : reductions) {
    if (one.node_class == node.node_class->name) return one.kind;
  }
  fail_on_device(title(node), "no such reduction");
}

/// The rectangle that is read: x, y, width, height.
std::array<std::int64_t, 4> region_of(const FilterRecord& node, const ImageSize& source) {
  const auto& clip = std::get<std::vector<std::int64_t>>(node.attributes.at("clip_rect_source"));
  if (clip.empty()) return {0, 0, source.width, source.height};
  return {clip[0], clip[1], clip[2], clip[3]};
}

MPSNNFilterNode* repeat(MPSNNImageNode* gradient, std::int64_t x, std::int64_t y) {
  return [MPSCNNUpsamplingNearestNode nodeWithSource:gradient
                                 integerScaleFactorX:static_cast<NSUInteger>(x)
                                 integerScaleFactorY:static_cast<NSUInteger>(y)];
}

MPSNNFilterNode* margins(MPSNNImageNode* image, MPSImageCoordinate before, MPSImageCoordinate after,
                         MPSImageEdgeMode mode) {
  return [MPSNNPadNode nodeWithSource:image
                    paddingSizeBefore:before
                     paddingSizeAfter:after
                             edgeMode:mode];
}

}  // namespace

/// MPS has no gradient filters for these: what is summed has the gradient of the sum, again and
/// again along what was summed, and none outside of the rectangle that was read.
void lower_sum_gradient(Builder& builder, const FilterRecord& node) {
  const std::string_view name = node.node_class->name;
  const ImageSize source = builder.size(node, 1);
  const auto [x, y, width, height] = region_of(node, source);
  MPSNNImageNode* gradient = builder.source(node, 0);
  MPSNNFilterNode* made = nil;
  std::int64_t count = source.channels;
  if (name.starts_with("ReductionRow")) {
    made = repeat(gradient, count = width, 1);
  } else if (name.starts_with("ReductionColumn")) {
    made = repeat(gradient, 1, count = height);
  } else {
    const auto others = static_cast<NSUInteger>(source.channels - 1);
    made = margins(gradient, {0, 0, 0}, {0, 0, others}, MPSImageEdgeModeClamp);
  }
  double scale =
      name.find("Mean") != std::string_view::npos ? 1.0 / static_cast<double>(count) : 1.0;
  if (node.attributes.contains("weight")) scale = get_float(node.attributes, "weight");
  if (scale != 1.0) made = linear([made resultImage], scale, 0.0);
  if (width != source.width || height != source.height) {
    const auto at = [](std::int64_t value) { return static_cast<NSUInteger>(value); };
    made = margins([made resultImage], { at(x), at(y), 0 },
                   {at(source.width - x - width), at(source.height - y - height), 0},
                   MPSImageEdgeModeZero);
  }
  builder.finish(node, made);
}

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
