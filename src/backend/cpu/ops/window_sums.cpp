// SPDX-License-Identifier: MIT
#include "backend/cpu/ops/window_sums.h"

#include "backend/cpu/simd.h"

namespace mpsnn::backend::cpu {
namespace {

/// out[i] = the sum over `terms` values, x[i + k * step], or over their squares.
template <bool squares>
MPSNN_INLINE void sum_steps(const float* x, std::int64_t terms, std::int64_t step, float* out,
                            std::int64_t count) {
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    Vec sum = {}, next;
    for (std::int64_t k = 0; k < terms; ++k) {
      load(next, x + k * step + i);
      sum += squares ? next * next : next;
    }
    store(out + i, sum);
  }
  for (; i < count; ++i) {
    float sum = 0;
    for (std::int64_t k = 0; k < terms; ++k) {
      const float next = x[k * step + i];
      sum += squares ? next * next : next;
    }
    out[i] = sum;
  }
}

MPSNN_SIMD void sum_values(const float* x, std::int64_t terms, std::int64_t step, float* out,
                           std::int64_t count) {
  sum_steps<false>(x, terms, step, out, count);
}

MPSNN_SIMD void sum_squares(const float* x, std::int64_t terms, std::int64_t step, float* out,
                            std::int64_t count) {
  sum_steps<true>(x, terms, step, out, count);
}

}  // namespace

void WindowSums::row(const float* image, std::int64_t y, Summand summand, float* buffer,
                     float* sums) const {
  const std::int64_t before = reach_.left * size_.channels, after = reach_.right * size_.channels;
  std::fill_n(buffer, before, 0.0F);
  std::fill_n(buffer + before + row_size(), after, 0.0F);
  const std::int64_t first = std::max<std::int64_t>(y - reach_.above, 0),
                     last = std::min(y + reach_.below, size_.height - 1);
  const auto sum_rows = summand == Summand::SQUARE ? sum_squares : sum_values;
  sum_rows(image + first * row_size(), last - first + 1, row_size(), buffer + before, row_size());
  sum_values(buffer, reach_.columns(), size_.channels, sums, row_size());
}

}  // namespace mpsnn::backend::cpu
