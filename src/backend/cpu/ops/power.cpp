// SPDX-License-Identifier: MIT
#include "backend/cpu/ops/power.h"

#include <cmath>

#include "backend/cpu/simd.h"
#include "backend/cpu/vector_math.h"

namespace mpsnn::backend::cpu {
namespace {

template <int power>
MPSNN_INLINE void raise_whole(float alpha, float delta, float* values, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) {
    const float d = delta + alpha * values[i];
    float product = d;
    for (int k = 1; k < power; ++k) product *= d;
    values[i] = 1 / product;
  }
}

}  // namespace

MPSNN_SIMD void raise_denominators(float alpha, float beta, float delta, float* values,
                                   std::int64_t count) {
  if (beta == 1) return raise_whole<1>(alpha, delta, values, count);
  if (beta == 2) return raise_whole<2>(alpha, delta, values, count);
  if (beta == 3) return raise_whole<3>(alpha, delta, values, count);
  if (beta == 4) return raise_whole<4>(alpha, delta, values, count);
  if (beta == 5) return raise_whole<5>(alpha, delta, values, count);
  if (beta == 6) return raise_whole<6>(alpha, delta, values, count);
  if (beta == 0.5F) {
    MPSNN_IVDEP
    for (std::int64_t i = 0; i < count; ++i) values[i] = 1 / std::sqrt(delta + alpha * values[i]);
    return;
  }
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i)
    values[i] = exponential(-beta * logarithm(delta + alpha * values[i]));
}

MPSNN_SIMD void multiply_values(const float* x, const float* y, float* out, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) out[i] = x[i] * y[i];
}

}  // namespace mpsnn::backend::cpu
