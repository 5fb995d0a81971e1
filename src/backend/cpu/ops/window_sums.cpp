// SPDX-License-Identifier: MIT
#include "backend/cpu/ops/window_sums.h"

#include "backend/cpu/simd.h"

namespace mpsnn::backend::cpu {
namespace {

MPSNN_SIMD void add_values(const float* x, float* out, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) out[i] += x[i];
}

MPSNN_SIMD void add_squares(const float* x, float* out, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) out[i] += x[i] * x[i];
}

/// out[i] = sum of x[i + k * step] for k below `terms`.
MPSNN_SIMD void add_shifted(const float* x, std::int64_t terms, std::int64_t step, float* out,
                            std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = x[i];
  for (std::int64_t k = 1; k < terms; ++k) {
    x += step;
    MPSNN_IVDEP
    for (std::int64_t i = 0; i < count; ++i) out[i] += x[i];
  }
}

}  // namespace

void WindowSums::row(const float* image, std::int64_t y, Summand summand, float* buffer,
                     float* sums) const {
  std::fill_n(buffer, buffer_size(), 0.0F);
  float* const inside = buffer + reach_.left * size_.channels;
  const std::int64_t first = std::max<std::int64_t>(y - reach_.above, 0),
                     last = std::min(y + reach_.below, size_.height - 1);
  for (std::int64_t r = first; r <= last; ++r) {
    const float* const row = image + r * row_size();
    if (summand == Summand::SQUARE) {
      add_squares(row, inside, row_size());
    } else {
      add_values(row, inside, row_size());
    }
  }
  add_shifted(buffer, reach_.columns(), size_.channels, sums, row_size());
}

}  // namespace mpsnn::backend::cpu
