// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>

#include "mpsnn/data_source.h"

namespace mpsnn::graph {

inline constexpr std::size_t kLookupTableSize = 256;

/// Throws InvalidArgumentError, which begins with `title`, where ranges and lookup table are not
/// what the element type wants.
void check_quantization(const ConvolutionWeights& weights, std::int64_t outputs,
                        const std::string& title);

}  // namespace mpsnn::graph
