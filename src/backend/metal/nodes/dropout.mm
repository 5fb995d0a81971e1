// SPDX-License-Identifier: MIT
// Dropout. MPS makes the mask and hands it to the gradient filter; its generator counts by itself,
// so that the data source's count is neither read nor changed. MPS's state cannot be read or made:
// a mask that is exported, or given, is an image that is multiplied by.
#include "backend/metal/lowering.h"
#include "base/attributes.h"

namespace mpsnn::backend::metal {
namespace {

using graph::FilterRecord;

MPSNNFilterNode* dropout(MPSNNImageNode* source, const FilterRecord& node) {
  const AttributeMap& a = node.attributes;
  const auto number = [&](std::string_view name) {
    return static_cast<NSUInteger>(get_int(a, name));
  };
  return [MPSCNNDropoutNode
          nodeWithSource:source
         keepProbability:static_cast<float>(get_float(a, "keep_probability"))
                    seed:number("seed")
      maskStrideInPixels:{number("mask_stride_in_pixels_x"), number("mask_stride_in_pixels_y"),
                          number("mask_stride_in_feature_channels")}];
}

MPSNNFilterNode* product(MPSNNImageNode* image, MPSNNImageNode* mask) {
  return [MPSNNMultiplicationNode nodeWithLeftSource:image rightSource:mask];
}

}  // namespace

/// An exported mask is what becomes of ones.
void lower_dropout(Builder& builder, const FilterRecord& node) {
  MPSNNImageNode* source = builder.source(node, 0);
  if (!node.result_state.exported) return builder.finish(node, dropout(source, node));
  MPSNNImageNode* ones = [[MPSNNInitialGradientNode nodeWithSource:source] resultImage];
  MPSNNImageNode* mask = [dropout(ones, node) resultImage];
  builder.set_mask(node, mask);
  builder.finish(node, product(source, mask));
}

std::string refuse_dropout_gradient(const NodeCase& node) {
  return node.node.input_state ? std::string() : refuse_orphan(node);
}

void lower_dropout_gradient(Builder& builder, const FilterRecord& node) {
  if (node.input_state)
    return builder.finish(node, product(builder.source(node, 0), builder.source(node, 2)));
  const FilterRecord& forward = *node.inference_node;
  if (!forward.result_state.exported) return lower_single_gradient(builder, node);
  builder.finish(node, product(builder.source(node, 0), builder.mask(forward)));
}

}  // namespace mpsnn::backend::metal
