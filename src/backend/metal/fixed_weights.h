// SPDX-License-Identifier: MIT
// A data source of convolutions whose values never change. For .mm files.
#pragma once

#include <vector>

#include "backend/metal/objects.h"

namespace mpsnn::backend::metal {

/// Weights are OHWI. Biases: empty for none. Autoreleased.
id<MPSCNNConvolutionDataSource> fixed_weights(MPSCNNConvolutionDescriptor* descriptor,
                                              const std::vector<float>& weights,
                                              const std::vector<float>& biases = {});

}  // namespace mpsnn::backend::metal
