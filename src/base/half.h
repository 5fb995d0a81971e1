// SPDX-License-Identifier: MIT
// float16 and float32, one number at a time, without branches: loops over these are vectorised.
#pragma once

#include <bit>
#include <cstdint>

namespace mpsnn {
namespace half {

inline constexpr std::uint32_t kSignOfHalf = 0x8000, kQuietHalf = 0x7e00, kInfiniteHalf = 0x7c00;
inline constexpr std::uint32_t kInfinity = 0x7f800000, kQuiet = 0x00400000;
inline constexpr std::uint32_t kFirstInfinite = (127 + 16)
                                                << 23;  // 2^16: above the largest float16
inline constexpr std::uint32_t kFirstNormal = (127 - 14)
                                              << 23;  // 2^-14: the smallest normal float16
inline constexpr std::uint32_t kRebias = (127 - 15) << 23;
inline constexpr int kDropped = 13;  // bits of the fraction

/// A float32 whose last place is the unit of float16's denormals, 2^-24.
inline constexpr float kDenormalsOffset = 0.5F;

}  // namespace half

/// The number that the bits of a float16 stand for, exactly; a NaN becomes quiet and keeps its sign
/// and fraction.
inline __attribute__((always_inline)) float float_of_half(std::uint16_t bits) {
  const std::uint32_t magnitude = static_cast<std::uint32_t>(bits & 0x7fff) << half::kDropped;
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & half::kSignOfHalf) << 16;
  const std::uint32_t normal = magnitude + half::kRebias;
  const std::uint32_t special =
      (magnitude + 2 * half::kRebias) |
      (magnitude > half::kInfiniteHalf << half::kDropped ? half::kQuiet : 0);
  // 2^-14 (1 + f) - 2^-14: the subtraction normalises, exactly.
  const auto denormal =
      std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude + half::kFirstNormal) -
                                   std::bit_cast<float>(half::kFirstNormal));
  const std::uint32_t finite = magnitude < (std::uint32_t{1} << 23) ? denormal : normal;
  return std::bit_cast<float>(
      sign | (magnitude >= half::kInfiniteHalf << half::kDropped ? special : finite));
}

/// Rounds to the nearest, ties to even; from 65520 on to infinity, below 2^-14 to denormals. A NaN
/// stays one, quiet, with as much of its fraction as fits.
inline __attribute__((always_inline)) std::uint16_t half_of_float(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t magnitude = bits & 0x7fffffff;
  const std::uint32_t sign = (bits >> 16) & half::kSignOfHalf;
  // Half of what is dropped, less one in the last place where the kept part is even: ties go to
  // even.
  const std::uint32_t odd = (magnitude >> half::kDropped) & 1;
  const std::uint32_t normal = (magnitude - half::kRebias + 0xfff + odd) >> half::kDropped;
  // The addition rounds at the denormals' unit, as the processor rounds: to even.
  const std::uint32_t denormal =
      std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + half::kDenormalsOffset) -
      std::bit_cast<std::uint32_t>(half::kDenormalsOffset);
  const std::uint32_t nan = half::kQuietHalf | ((magnitude >> half::kDropped) & 0x3ff);
  const std::uint32_t special = magnitude > half::kInfinity ? nan : half::kInfiniteHalf;
  const std::uint32_t finite = magnitude < half::kFirstNormal ? denormal : normal;
  return static_cast<std::uint16_t>(sign | (magnitude >= half::kFirstInfinite ? special : finite));
}

}  // namespace mpsnn
