// SPDX-License-Identifier: MIT
// The float16 next to a bound.
#pragma once

#include "base/half.h"

namespace mpsnn {

/// The float16 so many places above (below, if negative) a value that is one.
inline float half_beside(float half, int places) {
  const std::int32_t bits = half_of_float(half), size = bits & 0x7fff;
  const std::int32_t place = (bits == size ? size : -size) + places;  // in order of size
  return float_of_half(static_cast<std::uint16_t>(place < 0 ? 0x8000 - place : place));
}

/// The smallest float16 that is not below a finite value, or infinity.
inline float half_at_least(float value) {
  const float half = float_of_half(half_of_float(value));
  return half < value ? half_beside(half, 1) : half;
}

/// The largest one that is not above.
inline float half_at_most(float value) {
  const float half = float_of_half(half_of_float(value));
  return half > value ? half_beside(half, -1) : half;
}

}  // namespace mpsnn
