// SPDX-License-Identifier: MIT
// The larger and the smaller of two values; NaN where either is.
#pragma once

#include "backend/cpu/simd.h"

namespace mpsnn::backend::cpu {

MPSNN_INLINE float larger(float a, float b) { return ((b > a) | (b != b)) ? b : a; }
MPSNN_INLINE float smaller(float a, float b) { return ((b < a) | (b != b)) ? b : a; }

}  // namespace mpsnn::backend::cpu
