// SPDX-License-Identifier: MIT
// Normalisations by the pixels or channels around.
#include "backend/metal/lowering.h"
#include "base/attributes.h"

namespace mpsnn::backend::metal {
namespace {

using graph::FilterRecord;

float real(const FilterRecord& node, std::string_view name) {
  return static_cast<float>(get_float(node.attributes, name));
}

NSUInteger number(const FilterRecord& node, std::string_view name) {
  return static_cast<NSUInteger>(get_int(node.attributes, name));
}

/// What all three have. Nothing is left to MPS's defaults, on which its headers differ.
void finish_normalization(Builder& builder, const FilterRecord& node,
                          MPSCNNNormalizationNode* made) {
  [made setAlpha:real(node, "alpha")];
  [made setBeta:real(node, "beta")];
  [made setDelta:real(node, "delta")];
  builder.finish(node, made);
}

}  // namespace

/// Apple's headers: for now MPS has square windows only.
std::string refuse_window_normalization(const NodeCase& node) {
  const std::int64_t width = get_int(node.node.attributes, "kernel_width"),
                     height = get_int(node.node.attributes, "kernel_height");
  if (width == height) return {};
  return str("kernel_height: MPS wants that of kernel_width, ", width, ", got ", height);
}

void lower_spatial_normalization(Builder& builder, const FilterRecord& node) {
  MPSCNNSpatialNormalizationNode* made =
      [MPSCNNSpatialNormalizationNode nodeWithSource:builder.source(node, 0)];
  [made setKernelWidth:number(node, "kernel_width")];
  [made setKernelHeight:number(node, "kernel_height")];
  finish_normalization(builder, node, made);
}

void lower_local_contrast_normalization(Builder& builder, const FilterRecord& node) {
  MPSCNNLocalContrastNormalizationNode* made =
      [MPSCNNLocalContrastNormalizationNode nodeWithSource:builder.source(node, 0)];
  [made setKernelWidth:number(node, "kernel_width")];
  [made setKernelHeight:number(node, "kernel_height")];
  [made setP0:real(node, "p0")];
  [made setPm:real(node, "pm")];
  [made setPs:real(node, "ps")];
  finish_normalization(builder, node, made);
}

void lower_cross_channel_normalization(Builder& builder, const FilterRecord& node) {
  MPSCNNCrossChannelNormalizationNode* made =
      [MPSCNNCrossChannelNormalizationNode nodeWithSource:builder.source(node, 0)];
  [made setKernelSizeInFeatureChannels:number(node, "kernel_size")];
  finish_normalization(builder, node, made);
}

}  // namespace mpsnn::backend::metal
