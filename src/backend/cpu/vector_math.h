// SPDX-License-Identifier: MIT
// Exponential and logarithm as plain arithmetic, so that loops of them are vectorised. Errors are
// below 2 units in the last place; NaN goes through.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

#include "backend/cpu/simd.h"

namespace mpsnn::backend::cpu {

/// e^x. Overflows to infinity, underflows gradually to 0.
MPSNN_INLINE float exp_of(float x) {
  constexpr float kMost = 129.0F * 0.693147181F, kLeast = -151.0F * 0.693147181F;
  const float low = x < kLeast ? kLeast : x, clamped = low > kMost ? kMost : low;
  // Adding 1.5 * 2^23 leaves the nearest whole number in the last bits.
  constexpr float kRound = 12582912.0F;
  const float shifted = clamped * 1.44269504F + kRound, n = shifted - kRound;
  const std::int32_t power = std::bit_cast<std::int32_t>(shifted) - 0x4B400000;
  const float r = (clamped - n * 0.693359375F) + n * 2.12194440e-4F;
  float p = 1.9875691500e-4F;  // Cephes' expf
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  const float e = (p * (r * r) + r) + 1.0F;
  // In two steps: 2^n itself may be neither finite nor normal.
  const std::int32_t half = power >> 1, rest = power - half;
  const float first = std::bit_cast<float>((half + 127) * 0x800000),
              second = std::bit_cast<float>((rest + 127) * 0x800000);
  return e * first * second;
}

/// ln x: -infinity at 0, NaN below.
MPSNN_INLINE float log_of(float x) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN(),
                  kInfinity = std::numeric_limits<float>::infinity();
  // Below the normal numbers: 2^23 times as large, and 23 powers less.
  const bool tiny = x < std::numeric_limits<float>::min();
  const float scaled = x * (tiny ? 8388608.0F : 1.0F);
  const std::int32_t bits = std::bit_cast<std::int32_t>(scaled);
  // The power for which the rest lies in [1/sqrt 2, sqrt 2).
  const std::int32_t power = (bits - 0x3F3504F3) >> 23;
  const float m = std::bit_cast<float>(bits - power * 0x800000) - 1.0F;
  const float n = static_cast<float>(power - (tiny ? 23 : 0));
  const float z = m * m;
  float p = 7.0376836292e-2F;  // Cephes' logf
  p = p * m - 1.1514610310e-1F;
  p = p * m + 1.1676998740e-1F;
  p = p * m - 1.2420140846e-1F;
  p = p * m + 1.4249322787e-1F;
  p = p * m - 1.6668057665e-1F;
  p = p * m + 2.0000714765e-1F;
  p = p * m - 2.4999993993e-1F;
  p = p * m + 3.3333331174e-1F;
  const float y = ((p * m * z - n * 2.12194440e-4F) - 0.5F * z) + m + n * 0.693359375F;
  const float positive = x > std::numeric_limits<float>::max() ? kInfinity : y;
  const float at_zero = x == 0 ? -kInfinity : kNan;
  return x > 0 ? positive : at_zero;
}

/// ln(1 + x) for x >= 0, exact near 0.
MPSNN_INLINE float log_of_one_plus(float x) {
  const float u = 1.0F + x, lost = x - (u - 1.0F);
  return log_of(u) + lost / u;
}

}  // namespace mpsnn::backend::cpu
