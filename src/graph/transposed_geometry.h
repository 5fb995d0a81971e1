// SPDX-License-Identifier: MIT
// Sizes and offsets of transposed convolutions under a padding policy.
#pragma once

#include "graph/geometry.h"

namespace mpsnn::graph {

/// Where a transposed convolution lies: the size of its result, and as pads those of the
/// convolution that it undoes, whose source is the result here. Windows have stride 1 unless `like`
/// is given, the size of what that convolution read: then the policy is that convolution's. Throws
/// through fail(), naming `source` or `convolution_source`.
Geometry place_transposed(const FilterRecord& node, const Window& y, const Window& x,
                          const ImageSize& source, const ImageSize* like);

}  // namespace mpsnn::graph
