// SPDX-License-Identifier: MIT
// Exponential, logarithm, hyperbolic tangent and the normal distribution without branches and
// without calls, so that a loop over them is vectorised. Errors are a few units in the last place;
// infinities and NaN come out as the standard library's. Coefficients: minimax fits on the reduced
// range, with the relative error that stands beside each.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

#include "backend/cpu/simd.h"

namespace mpsnn::backend::cpu {

MPSNN_INLINE float as_float(std::int32_t bits) { return std::bit_cast<float>(bits); }
MPSNN_INLINE std::int32_t as_int(float x) { return std::bit_cast<std::int32_t>(x); }
MPSNN_INLINE float absolute_of(float x) { return as_float(as_int(x) & 0x7fffffff); }
/// |x| with the sign of `sign`.
MPSNN_INLINE float with_sign(float x, float sign) {
  return as_float((as_int(x) & 0x7fffffff) | (as_int(sign) & std::int32_t(0x80000000)));
}
/// x without its 12 last bits: the square of what is left is exact.
MPSNN_INLINE float high_part(float x) { return as_float(as_int(x) & std::int32_t(0xfffff000)); }

/// x, or `limit` with its sign where |x| is larger or x is NaN. By integers: of a comparison of
/// floats the compiler makes several paths, computes all, and those of limits take hundreds of
/// cycles where their results are denormal.
MPSNN_INLINE float limited_to(float limit, float x) {
  const std::int32_t size = as_int(x) & 0x7fffffff, most = as_int(limit);
  return as_float((size < most ? size : most) | (as_int(x) & std::int32_t(0x80000000)));
}

/// y, or NaN where x is; by integers, too.
MPSNN_INLINE float unless_nan(float x, float y) {
  return as_float(as_int(y) | ((0x7f800000 - (as_int(x) & 0x7fffffff)) >> 31));
}

/// What is known of the numbers that a loop works on. EASY: they are in the range that the function
/// names, where it gives the same bits with fewer operations.
enum class Numbers { ANY, EASY };

/// Bits that order numbers by size; NaN is the largest. For ranges around 0.
MPSNN_INLINE std::uint32_t size_bits(float x) {
  return static_cast<std::uint32_t>(as_int(x) & 0x7fffffff);
}

/// size_bits(x) up to which exponential() finds x EASY: 87. e^x is a normal number there.
inline constexpr std::uint32_t kEasyExponent = std::bit_cast<std::uint32_t>(87.0F);

/// e^x = (1 + fraction) * 2^power.
struct SplitExponential {
  float fraction;
  std::int32_t power;
};

/// For e^(x + rest), |rest| small; x is kept where neither overflow nor underflow goes further. A
/// NaN is the fraction.
template <Numbers numbers = Numbers::ANY>
MPSNN_INLINE SplitExponential split_exponential(float x, float rest = 0.0F) {
  constexpr float kLog2e = 1.44269504F, kShift = 12582912.0F;  // 1.5 * 2^23: rounds to integers
  constexpr float kLn2High = 0.693359375F, kLn2Low = -2.12194440e-4F;
  const float limited = numbers == Numbers::EASY ? x : limited_to(104.0F, x);
  const float shifted = limited * kLog2e + kShift;
  const float n = shifted - kShift;
  const float reduced = limited - n * kLn2High - n * kLn2Low;
  const float r = __builtin_constant_p(rest) && rest == 0 ? reduced : reduced + rest;
  // (e^r - 1 - r) / r^2, 1.4e-9
  float p = 0.000199075826F;
  p = p * r + 0.00139336522F;
  p = p * r + 0.00833328601F;
  p = p * r + 0.0416664649F;
  p = p * r + 0.166666668F;
  p = p * r + 0.500000001F;
  const float fraction = r + r * r * p;
  return {numbers == Numbers::EASY ? fraction : unless_nan(x, fraction),
          as_int(shifted) - as_int(kShift)};
}

/// e^(x + rest).
template <Numbers numbers = Numbers::ANY>
MPSNN_INLINE float exponential(float x, float rest = 0.0F) {
  const SplitExponential e = split_exponential<numbers>(x, rest);
  if constexpr (numbers == Numbers::EASY)
    return as_float(as_int(1.0F + e.fraction) + (e.power << 23));
  // In two steps: 2^power alone may be beyond the largest float, or below the smallest normal one.
  const std::int32_t first = e.power >> 1;
  return (1.0F + e.fraction) * as_float((first + 127) << 23) *
         as_float((e.power - first + 127) << 23);
}

/// e^x - 1 for x <= 0, without cancellation.
template <Numbers numbers = Numbers::ANY>
MPSNN_INLINE float exponential_minus_1(float x) {
  const SplitExponential e = split_exponential<numbers>(x);
  const bool is_1 = numbers == Numbers::ANY && e.power < -44;  // 1 - 2^-44 is 1
  const float scale = as_float((is_1 ? 83 : e.power + 127) << 23);
  return e.fraction * scale + (scale - 1.0F);
}

/// ln(1 + f) for 1 + f between the roots of 1/2 and 2.
MPSNN_INLINE float logarithm_near_1(float f) {
  // (ln(1 + f) - f + f^2 / 2) / f^3, 2.2e-8
  float p = 0.0733243746F;
  p = p * f - 0.116598896F;
  p = p * f + 0.116346783F;
  p = p * f - 0.123967069F;
  p = p * f + 0.142511547F;
  p = p * f - 0.166691507F;
  p = p * f + 0.200006881F;
  p = p * f - 0.249999812F;
  p = p * f + 0.333333313F;
  p = p * f - 0.5F;
  return f * f * p;  // to be added to f
}

/// Up to kEasyLogarithm where logarithm() finds x EASY: a normal number above 0.
MPSNN_INLINE std::uint32_t normal_bits(float x) {
  return static_cast<std::uint32_t>(as_int(x)) - 0x00800000U;
}
inline constexpr std::uint32_t kEasyLogarithm = 0x7effffff;

template <Numbers numbers = Numbers::ANY>
MPSNN_INLINE float logarithm(float x) {
  constexpr std::int32_t kRootOfHalf = 0x3f3504f3;
  const bool is_small = numbers == Numbers::ANY && x < std::numeric_limits<float>::min();
  const std::int32_t i = as_int(is_small ? x * 8388608.0F : x) - kRootOfHalf;
  const auto e = static_cast<float>((i >> 23) - (is_small ? 23 : 0));
  const float f = as_float((i & 0x007fffff) + kRootOfHalf) - 1.0F;
  const float finite = e * -2.12194440e-4F + logarithm_near_1(f) + f + e * 0.693359375F;
  if constexpr (numbers == Numbers::EASY) return finite;
  const float of_sign = x < 0 ? std::numeric_limits<float>::quiet_NaN() : finite;
  const float of_zero = x == 0 ? -std::numeric_limits<float>::infinity() : of_sign;
  return x <= std::numeric_limits<float>::max() ? of_zero : x;  // infinity and NaN
}

/// ln(1 + e) for e in [0, 1].
MPSNN_INLINE float logarithm_of_1_plus(float e) {
  const bool is_near = e < 0.41421356F;
  const float f = is_near ? e : (e - 1.0F) * 0.5F;  // 1 + e = 2 (1 + f)
  const float base = is_near ? 0.0F : 0.693147181F;
  return base + (logarithm_near_1(f) + f);
}

MPSNN_INLINE float hyperbolic_tangent(float x) {
  const float limited = limited_to(9.0F, x), z = limited * limited;  // tanh(9) is 1
  // tanh(x) / x as a quotient of polynomials in x^2 for |x| < 9, 3.0e-8
  float p = 1.34675249e-8F;
  p = p * z + 2.06909281e-5F;
  p = p * z + 0.00350057171F;
  p = p * z + 0.133852243F;
  p = p * z + 1.0F;
  float q = 7.82288168e-7F;
  q = q * z + 0.000329377915F;
  q = q * z + 0.0258959476F;
  q = q * z + 0.467185408F;
  q = q * z + 1.0F;
  return unless_nan(x, limited_to(1.0F, limited * p / q));
}

/// 1 / x for x in [1, 16], to 1.5 units in the last place: sixteen divisions take as long as twice
/// as many of the other operations here.
MPSNN_INLINE float inverse_of(float x) {
  // Of the exponent's complement, 0.12; then each step raises the error to the third power.
  float y = as_float(0x7ef311c7 - as_int(x));
  for (int step = 0; step < 2; ++step) {
    const float error = 1.0F - x * y;
    y = y + y * (error + error * error);
  }
  return y;
}

/// size_bits(x) up to which normal_distribution() finds x EASY: 13.
inline constexpr std::uint32_t kEasyNormal = std::bit_cast<std::uint32_t>(13.0F);

/// The standard normal distribution: density e^(-x^2 / 2), and its integral from minus infinity
/// divided by sqrt(2 pi).
struct NormalDistribution {
  float density, integral;
};

template <Numbers numbers = Numbers::ANY>
MPSNN_INLINE NormalDistribution normal_distribution(float x) {
  // NaN comes back in by the caller.
  const float limited =
      numbers == Numbers::EASY ? absolute_of(x) : limited_to(20.0F, absolute_of(x));
  const float high = high_part(limited);
  const float density =
      exponential<numbers>(-0.5F * high * high, -0.5F * (limited - high) * (limited + high));
  const float t = inverse_of(1.0F + 0.353553391F * limited);
  // erfc(z) e^(z^2) / t for z = |x| / sqrt(2), t = 1 / (1 + z / 2), 3.6e-9
  float p = 0.0363178036F;
  p = p * t - 0.194297346F;
  p = p * t + 0.389897349F;
  p = p * t - 0.302270663F;
  p = p * t - 0.00989909283F;
  p = p * t + 0.0277995842F;
  p = p * t + 0.0580898386F;
  p = p * t + 0.18470062F;
  p = p * t + 0.245335906F;
  p = p * t + 0.282236817F;
  p = p * t + 0.282089187F;
  const float tail = 0.5F * t * p * density;
  return {density, x < 0 ? tail : 1.0F - tail};
}

/// |u|^c for a finite u that is not 0, in double: in float the exponent's error would be multiplied
/// by its size.
MPSNN_INLINE float power_of_absolute(float u, double c) {
  constexpr std::uint64_t kMantissa = 0x000fffffffffffff, kOne = 0x3ff0000000000000;
  constexpr std::uint64_t kTwoTo52 = 0x4330000000000000;
  constexpr double kShift = 6755399441055744.0;  // 1.5 * 2^52: rounds to integers
  constexpr double kLn2 = 0.69314718055994531, kLog2e = 1.4426950408889634;
  const auto bits = std::bit_cast<std::uint64_t>(static_cast<double>(absolute_of(u)));
  const double mantissa = std::bit_cast<double>((bits & kMantissa) | kOne);
  const double exponent = std::bit_cast<double>((bits >> 52) | kTwoTo52) - 4503599627370496.0;
  const bool is_upper = mantissa > 1.4142135623730951;
  const double m = is_upper ? mantissa * 0.5 : mantissa;
  const double e = exponent - (is_upper ? 1022.0 : 1023.0);
  const double s = (m - 1.0) / (m + 1.0), z = s * s;
  // (atanh(s) / s - 1) / s^2, 1.4e-12
  double q = 0.11113948651528739;
  q = q * z + 0.088678170664650904;
  q = q * z + 0.11116485819913223;
  q = q * z + 0.14285661705128225;
  q = q * z + 0.20000000169104051;
  q = q * z + 0.33333333333290072;
  const double x = c * (e * kLn2 + 2.0 * (s + s * z * q));
  const double above = x < -200.0 ? -200.0 : x;  // far beyond what a float can hold
  const double limited = above > 200.0 ? 200.0 : above;
  const double shifted = limited * kLog2e + kShift;
  const double r = limited - (shifted - kShift) * kLn2;
  // (e^r - 1 - r) / r^2, 4.5e-13
  double p = 2.7632644677213949e-06;
  p = p * r + 2.4867883647198325e-05;
  p = p * r + 0.00019841192886220895;
  p = p * r + 0.0013888839091035382;
  p = p * r + 0.0083333333632717686;
  p = p * r + 0.041666666786328979;
  p = p * r + 0.16666666666633875;
  p = p * r + 0.49999999999955203;
  const std::uint64_t power =
      std::bit_cast<std::uint64_t>(shifted) - std::bit_cast<std::uint64_t>(kShift) + 1023;
  return static_cast<float>((1.0 + (r + r * r * p)) * std::bit_cast<double>(power << 52));
}

}  // namespace mpsnn::backend::cpu
