// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

namespace mpsnn::backend::cpu {

/// values[i] = (delta + alpha * values[i]) ^ -beta. Powers 1 to 6 are products, 0.5 a root.
void raise_denominators(float alpha, float beta, float delta, float* values, std::int64_t count);

/// out = x * y, also where out is one of them.
void multiply_values(const float* x, const float* y, float* out, std::int64_t count);

}  // namespace mpsnn::backend::cpu
