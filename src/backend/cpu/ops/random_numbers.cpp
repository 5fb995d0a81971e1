// SPDX-License-Identifier: MIT
// Compiled without contraction (CMake): a fused multiplication stands where it is written, so that
// every path gives the same bits.
#include "backend/cpu/ops/random_numbers.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "backend/cpu/simd.h"
#include "backend/cpu/vector_math.h"
#include "base/attributes.h"
#include "base/check.h"
#include "base/half_bounds.h"

namespace mpsnn::backend::cpu {
namespace {

constexpr float kLargest = std::numeric_limits<float>::max();
constexpr float kLargestHalf = 65504;
constexpr int kFractionBits = 23;
constexpr float kUnit = 1.0F / (1 << kFractionBits);

/// The number of steps of 2^-23 that t is.
MPSNN_INLINE std::int32_t steps_of(std::uint32_t word) {
  return static_cast<std::int32_t>(word >> (32 - kFractionBits));
}

MPSNN_INLINE float clamped(float value, float low, float high) {
  const float above = value < low ? low : value;
  return above > high ? high : above;
}

/// c0 + c1 x + c2 x^2 …
MPSNN_INLINE float polynomial(float /*x*/, float c0) { return c0; }
template <class... Rest>
MPSNN_INLINE float polynomial(float x, float c0, Rest... rest) {
  return __builtin_fmaf(polynomial(x, rest...), x, c0);
}

/// ln x for an x that is neither small nor special.
MPSNN_INLINE float plain_logarithm(float x) {
  constexpr std::int32_t kRootOfHalf = 0x3f3504f3;
  const std::int32_t i = as_int(x) - kRootOfHalf;
  const auto e = static_cast<float>(i >> kFractionBits);
  const float f = as_float((i & 0x007fffff) + kRootOfHalf) - 1.0F;
  // (ln(1 + f) - f + f^2 / 2) / f^3, 2.2e-8
  const float p =
      polynomial(f, 0.333333313F, -0.249999812F, 0.200006881F, -0.166691507F, 0.142511547F,
                 -0.123967069F, 0.116346783F, -0.116598896F, 0.0733243746F);
  const float near = __builtin_fmaf(f * f, __builtin_fmaf(f, p, -0.5F), f);
  return __builtin_fmaf(e, 0.693147181F, near);
}

/// z with Phi(z) = t, t being so many steps; that of half a step for none. With w = -ln(4 t (1 -
/// t)) the quotient z / (t - 1/2) is smooth in w, and for large w in its root (Giles,
/// "Approximating the erfinv function").
MPSNN_INLINE float inverse_normal(std::int32_t steps) {
  constexpr float kSplit = 5.0F;
  constexpr std::int32_t kHalf = 1 << (kFractionBits - 1);
  const std::int32_t below = steps < kHalf ? steps : 2 * kHalf - steps;
  const float smaller = (steps == 0 ? 0.5F : static_cast<float>(below)) * kUnit;
  const float offset = (steps == 0 ? 0.5F - kHalf : static_cast<float>(steps - kHalf)) * kUnit;
  const float w = -plain_logarithm(4.0F * smaller * (1.0F - smaller));
  const float root = __builtin_sqrtf(w < kSplit ? kSplit : w);
  // z / (t - 1/2), 5.6e-9 and 3.9e-8
  const float centre =
      polynomial(w - 2.5F, 4.246627F, 0.69760406F, -0.011815434F, -0.0035432891F, 0.00061757135F,
                 -1.4038467e-05F, -9.794008e-06F, 1.3185297e-06F, 6.571184e-08F, -2.4864862e-08F);
  const float tail =
      polynomial(root - 3.0F, 8.012869F, 2.8331623F, 0.026708867F, -0.021556754F, 0.016146187F,
                 -0.010411809F, 0.004024056F, 0.00031571227F, -0.00072044F);
  return offset * (w < kSplit ? centre : tail);
}

MPSNN_SIMD void uniform(const Distribution& d, const std::uint32_t* words, float* out,
                        std::int64_t count) {
  const float scale = d.scale, shift = d.shift, low = d.low, high = d.high;
  for (std::int64_t i = 0; i < count; ++i) {
    const float t = static_cast<float>(steps_of(words[i])) * kUnit;
    out[i] = clamped(__builtin_fmaf(scale, t, shift), low, high);
  }
}

/// Between bounds whose difference is no float: all in halves.
MPSNN_SIMD void wide_uniform(const Distribution& d, const std::uint32_t* words, float* out,
                             std::int64_t count) {
  const float scale = d.scale, shift = d.shift, low = d.low, high = d.high, factor = d.factor;
  for (std::int64_t i = 0; i < count; ++i) {
    const float t = static_cast<float>(steps_of(words[i])) * kUnit;
    out[i] = clamped(factor * __builtin_fmaf(scale, t, shift), low, high);
  }
}

MPSNN_SIMD void normal(const Distribution& d, const std::uint32_t* words, float* out,
                       std::int64_t count) {
  const float scale = d.scale, shift = d.shift, low = d.low, high = d.high;
  for (std::int64_t i = 0; i < count; ++i) {
    const float z = inverse_normal(steps_of(words[i]));
    out[i] = clamped(__builtin_fmaf(scale, z, shift), low, high);
  }
}

/// ln x for a normal x, in double.
double logarithm_of(double x) {
  constexpr std::uint64_t kMantissa = 0x000fffffffffffff, kOne = 0x3ff0000000000000;
  constexpr double kLn2High = 6.93147180369123816490e-01, kLn2Low = 1.90821492927058770002e-10;
  const auto bits = std::bit_cast<std::uint64_t>(x);
  double m = std::bit_cast<double>((bits & kMantissa) | kOne);
  auto exponent = static_cast<double>(static_cast<std::int64_t>(bits >> 52) - 1023);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    exponent += 1;
  }
  const double s = (m - 1) / (m + 1), z = s * s;
  double series = 0;  // atanh(s) / s - 1, by z
  for (int k = 23; k >= 3; k -= 2) series = series * z + 1.0 / k;
  return exponent * kLn2High + (2 * s + (2 * s * z * series + exponent * kLn2Low));
}

/// Numerator over denominator, both by powers of x from 0 on; the denominator's first is 1.
double ratio(const double (&above)[8], const double (&below)[7], double x) {
  double numerator = above[7], denominator = below[6];
  for (int i = 6; i >= 0; --i) numerator = numerator * x + above[i];
  for (int i = 5; i >= 0; --i) denominator = denominator * x + below[i];
  return numerator / (denominator * x + 1);
}

/// z with Phi(z) = p for p above 0 and below 1: algorithm AS 241 (Wichura 1988), whose coefficients
/// these are.
double inverse_normal_of(double p) {
  constexpr double kA[] = {3.3871328727963666080e0, 1.3314166789178437745e2,
                           1.9715909503065514427e3, 1.3731693765509461125e4,
                           4.5921953931549871457e4, 6.7265770927008700853e4,
                           3.3430575583588128105e4, 2.5090809287301226727e3};
  constexpr double kB[] = {4.2313330701600911252e1, 6.8718700749205790830e2,
                           5.3941960214247511077e3, 2.1213794301586595867e4,
                           3.9307895800092710610e4, 2.8729085735721942674e4,
                           5.2264952788528545610e3};
  constexpr double kC[] = {1.42343711074968357734e0,  4.63033784615654529590e0,
                           5.76949722146069140550e0,  3.64784832476320460504e0,
                           1.27045825245236838258e0,  2.41780725177450611770e-1,
                           2.27238449892691845833e-2, 7.74545014278341407640e-4};
  constexpr double kD[] = {2.05319162663775882187e0,  1.67638483018380384940e0,
                           6.89767334985100004550e-1, 1.48103976427480074590e-1,
                           1.51986665636164571966e-2, 5.47593808499534494600e-4,
                           1.05075007164441684324e-9};
  constexpr double kE[] = {6.65790464350110377720e0,  5.46378491116411436990e0,
                           1.78482653991729133580e0,  2.96560571828504891230e-1,
                           2.65321895265761230930e-2, 1.24266094738807843860e-3,
                           2.71155556874348757815e-5, 2.01033439929228813265e-7};
  constexpr double kF[] = {5.99832206555887937690e-1, 1.36929880922735805310e-1,
                           1.48753612908506148525e-2, 7.86869131145613259100e-4,
                           1.84631831751005468180e-5, 1.42151175831644588870e-7,
                           2.04426310338993978564e-15};
  const double q = p - 0.5;
  if (std::abs(q) <= 0.425) return q * ratio(kA, kB, 0.180625 - q * q);
  const double r = std::sqrt(-logarithm_of(q < 0 ? p : 1 - p));
  const double z = r <= 5 ? ratio(kC, kD, r - 1.6) : ratio(kE, kF, r - 5);
  return q < 0 ? -z : z;
}

/// Below this many standard deviations a double holds no integral of the density. The tail is
/// treated as that of x e^(-x^2 / 2) there: its quantiles are wrong by less than 0.1 % of their
/// distance from the bound.
constexpr double kFarTail = -37;

double truncated_of(const Distribution& d, double t) {
  const double share = d.mirror < 0 ? 1 - t : t;
  if (d.last > kFarTail) return d.mirror * inverse_normal_of(d.first_integral + share * d.integral);
  const double span =
      (d.first - d.last) * (d.first + d.last) / 2;  // e^-span of the tail is cut off
  const double kept = -std::expm1(-span);
  return -d.mirror * std::sqrt(d.last * d.last - 2 * logarithm_of(1 - (1 - share) * kept));
}

void truncated(const Distribution& d, const std::uint32_t* words, float* out, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    const double t = (steps_of(words[i]) + 0.5) * static_cast<double>(kUnit);
    const double value = d.shift + static_cast<double>(d.scale) * truncated_of(d, t);
    out[i] = static_cast<float>(
        std::clamp(value, static_cast<double>(d.low), static_cast<double>(d.high)));
  }
}

MPSNN_SIMD void round_to_halves(const float* from, std::uint16_t* to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = half_of_float(from[i]);
}

float next_below(float value) { return std::nextafter(value, -kLargest); }

void (*numbers_of(const Distribution& d))(const Distribution&, const std::uint32_t*, float*,
                                          std::int64_t) {
  switch (d.kind) {
    case Distribution::Kind::UNIFORM:
      return d.factor == 1 ? uniform : wide_uniform;
    case Distribution::Kind::NORMAL:
      return normal;
    case Distribution::Kind::TRUNCATED:
      return truncated;
    case Distribution::Kind::WORDS:
      break;
  }
  throw InternalError("words are not made numbers");
}

void set_uniform(Distribution& d, float minimum, float maximum) {
  d.kind = Distribution::Kind::UNIFORM;
  d.low = minimum;
  d.high = next_below(maximum);
  d.scale = maximum - minimum;
  d.shift = minimum;
  if (std::isinf(d.scale)) {
    d.factor = 2;
    d.scale = maximum / 2 - minimum / 2;
    d.shift = minimum / 2;
  }
}

double integral_up_to(double z) { return 0.5 * std::erfc(-z / std::sqrt(2.0)); }

void set_normal(Distribution& d, const AttributeMap& attributes) {
  const auto minimum = static_cast<float>(get_float(attributes, "minimum")),
             maximum = static_cast<float>(get_float(attributes, "maximum"));
  d.kind = Distribution::Kind::NORMAL;
  d.shift = static_cast<float>(get_float(attributes, "mean"));
  d.scale = static_cast<float>(get_float(attributes, "standard_deviation"));
  d.low = std::max(minimum, d.type == DataType::FLOAT16 ? -kLargestHalf : -kLargest);
  d.high = std::min(maximum, d.type == DataType::FLOAT16 ? kLargestHalf : kLargest);
  if (d.scale == 0 || (std::isinf(minimum) && std::isinf(maximum))) return;
  d.kind = Distribution::Kind::TRUNCATED;
  const double deviation = d.scale, mean = d.shift;
  d.first = (minimum - mean) / deviation;
  d.last = (maximum - mean) / deviation;
  if (d.first > 0) {  // the upper tail: its integrals are near 1, those of its mirror near 0
    d.first = std::exchange(d.last, -d.first);
    d.first = -d.first;
    d.mirror = -1;
  }
  d.first_integral = integral_up_to(d.first);
  d.integral = integral_up_to(d.last) - d.first_integral;
}

}  // namespace

Distribution::Distribution(const AttributeMap& attributes, DataType of) : type(of) {
  const auto asked =
      static_cast<MatrixRandomDistribution>(get_int(attributes, "distribution_type"));
  switch (asked) {
    case MatrixRandomDistribution::DEFAULT:
      if (type != DataType::UINT32) set_uniform(*this, 0, 1);
      break;
    case MatrixRandomDistribution::UNIFORM:
      set_uniform(*this, static_cast<float>(get_float(attributes, "minimum")),
                  static_cast<float>(get_float(attributes, "maximum")));
      break;
    case MatrixRandomDistribution::NORMAL:
      set_normal(*this, attributes);
      break;
  }
  if (type != DataType::FLOAT16) return;
  low = half_at_least(low);  // rounding keeps numbers between them
  high = half_at_most(high);
}

void write_numbers(const Distribution& distribution, const std::uint32_t* words, void* to,
                   std::int64_t count) {
  if (distribution.kind == Distribution::Kind::WORDS) {
    std::memcpy(to, words, static_cast<std::size_t>(count) * sizeof(std::uint32_t));
    return;
  }
  const auto numbers = numbers_of(distribution);
  if (distribution.type == DataType::FLOAT32)
    return numbers(distribution, words, static_cast<float*>(to), count);
  constexpr std::int64_t kPart = 256;
  for (std::int64_t at = 0; at < count; at += kPart) {
    float values[kPart];
    const std::int64_t part = std::min(kPart, count - at);
    numbers(distribution, words + at, values, part);
    round_to_halves(values, static_cast<std::uint16_t*>(to) + at, part);
  }
}

}  // namespace mpsnn::backend::cpu
