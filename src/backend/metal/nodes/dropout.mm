// SPDX-License-Identifier: MIT
// Dropout. MPS makes the mask and hands it to the gradient filter; its generator counts by itself, so
// that the data source's count is neither read nor changed.
#include "backend/metal/lowering.h"
#include "base/attributes.h"

namespace mpsnn::backend::metal {

void lower_dropout(Builder& builder, const graph::FilterRecord& node) {
  const AttributeMap& a = node.attributes;
  const auto number = [&](std::string_view name) {
    return static_cast<NSUInteger>(get_int(a, name));
  };
  builder.finish(node,
                 [MPSCNNDropoutNode nodeWithSource:builder.source(node, 0)
                                   keepProbability:static_cast<float>(get_float(a, "keep_probability"))
                                              seed:number("seed")
                                maskStrideInPixels:{number("mask_stride_in_pixels_x"),
                                                    number("mask_stride_in_pixels_y"),
                                                    number("mask_stride_in_feature_channels")}]);
}

}  // namespace mpsnn::backend::metal
