// SPDX-License-Identifier: MIT
// Each function is a struct with its value, its slope and, where that is enough, its slope as a
// function of the value; a macro makes the loops. Those with an EASY range say by key() and kEasy
// which arguments are in it: their loops look ahead.
#include "backend/cpu/ops/neuron_functions.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "backend/cpu/simd.h"
#include "backend/cpu/vector_math.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

MPSNN_INLINE float positive(float x) { return x < 0 ? 0.0F : x; }

struct Linear {
  float a, b;
  explicit Linear(const Neuron& n) : a(n.a), b(n.b) {}
  MPSNN_INLINE float value(float x) const { return a * x + b; }
  MPSNN_INLINE float slope(float) const { return a; }
  MPSNN_INLINE float slope_at_value(float) const { return a; }
};

struct Sigmoid {
  explicit Sigmoid(const Neuron&) {}
  static constexpr std::uint32_t kEasy = kEasyExponent;
  MPSNN_INLINE std::uint32_t key(float x) const { return size_bits(x); }
  template <Numbers numbers>
  MPSNN_INLINE float value(float x) const {
    return 1.0F / (1.0F + exponential<numbers>(-x));
  }
  MPSNN_INLINE float slope(float x) const {
    const float e = exponential(-absolute_of(x));  // the slope is even
    return e / ((1.0F + e) * (1.0F + e));
  }
  MPSNN_INLINE float slope_at_value(float y) const { return y * (1.0F - y); }
};

struct HardSigmoid {
  float a, b;
  explicit HardSigmoid(const Neuron& n) : a(n.a), b(n.b) {}
  MPSNN_INLINE float value(float x) const {
    const float low = positive(a * x + b);
    return low > 1.0F ? 1.0F : low;
  }
  MPSNN_INLINE float slope(float x) const { return slope_at_value(a * x + b); }
  MPSNN_INLINE float slope_at_value(float y) const {
    const float below = y < 1.0F ? a : 0.0F, not_above = y <= 0.0F ? 0.0F : y;  // 0 or NaN
    return y > 0.0F ? below : not_above;
  }
};

struct Tanh {
  float a, b, slope_at_0, inverse_a;
  explicit Tanh(const Neuron& n) : a(n.a), b(n.b), slope_at_0(n.a * n.b), inverse_a(1.0F / n.a) {}
  MPSNN_INLINE float value(float x) const { return a * hyperbolic_tangent(b * x); }
  MPSNN_INLINE float slope(float x) const {
    const float e = exponential(-2.0F * absolute_of(b * x));  // 1 - tanh^2 without cancellation
    return slope_at_0 * (4.0F * e / ((1.0F + e) * (1.0F + e)));
  }
  MPSNN_INLINE float slope_at_value(float y) const {
    const float t = y * inverse_a;
    return slope_at_0 * ((1.0F - t) * (1.0F + t));
  }
};

struct Absolute {
  explicit Absolute(const Neuron&) {}
  MPSNN_INLINE float value(float x) const { return absolute_of(x); }
  MPSNN_INLINE float slope(float x) const {
    const float not_above = x < 0 ? -1.0F : x - x;  // 0 or NaN
    return x > 0 ? 1.0F : not_above;
  }
};

struct SoftPlus {
  float a, b, slope_at_infinity, inverse_a;
  explicit SoftPlus(const Neuron& n)
      : a(n.a), b(n.b), slope_at_infinity(n.a * n.b), inverse_a(1.0F / n.a) {}
  static constexpr std::uint32_t kEasy = kEasyExponent;
  MPSNN_INLINE std::uint32_t key(float x) const { return size_bits(b * x); }
  template <Numbers numbers>
  MPSNN_INLINE float value(float x) const {
    const float z = b * x;
    return a * (positive(z) + logarithm_of_1_plus(exponential<numbers>(-absolute_of(z))));
  }
  MPSNN_INLINE float slope(float x) const {
    return slope_at_infinity / (1.0F + exponential(-(b * x)));
  }
  MPSNN_INLINE float slope_at_value(float y) const {
    return -slope_at_infinity * exponential_minus_1(-(y * inverse_a));
  }
};

struct SoftSign {
  explicit SoftSign(const Neuron&) {}
  MPSNN_INLINE float value(float x) const { return x / (1.0F + absolute_of(x)); }
  MPSNN_INLINE float slope(float x) const {
    const float d = 1.0F + absolute_of(x);
    return 1.0F / (d * d);
  }
};

struct ELU {
  float a;
  explicit ELU(const Neuron& n) : a(n.a) {}
  static constexpr std::uint32_t kEasy = kEasyExponent;
  MPSNN_INLINE std::uint32_t key(float x) const { return size_bits(x); }
  template <Numbers numbers>
  MPSNN_INLINE float value(float x) const {
    const float negative = a * exponential_minus_1<numbers>(x > 0 ? 0.0F : x);
    return x > 0 ? x : negative;
  }
  MPSNN_INLINE float slope(float x) const {
    const float negative = a * exponential(x > 0 ? 0.0F : x);
    return x > 0 ? 1.0F : negative;
  }
  MPSNN_INLINE float slope_at_value(float y) const {
    const float negative = y + a;
    return y > 0 ? 1.0F : negative;
  }
};

constexpr float kInfinity = std::numeric_limits<float>::infinity();

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

/// u^c as C's pow gives it. What depends on c alone is held as numbers: flags would keep the loop
/// from being vectorised.
struct Exponent {
  double c;
  float at_zero, at_infinity, at_nan;
  float of_negative;      // factor of what is computed for |u|: NaN unless c is a whole number
  std::int32_t odd_sign;  // the sign's bit where c is odd

  explicit Exponent(double exponent)
      : c(exponent),
        at_zero(exponent > 0 ? 0.0F : (exponent < 0 ? kInfinity : 1.0F)),
        at_infinity(exponent > 0 ? kInfinity : (exponent < 0 ? 0.0F : 1.0F)),
        at_nan(exponent == 0 ? 1.0F : kNan),
        of_negative(exponent == std::floor(exponent) ? 1.0F : kNan),
        odd_sign(std::abs(std::fmod(exponent, 2.0)) == 1 ? std::int32_t(0x80000000) : 0) {}
  MPSNN_INLINE float of(float u) const {
    const float finite = power_of_absolute(u, c), size = absolute_of(u);
    const float of_sign = u < 0 ? finite * of_negative : finite;
    const float of_zero = size == 0 ? at_zero : of_sign;
    const float of_infinity = size == kInfinity ? at_infinity : of_zero;
    const float of_number = u == u ? of_infinity : at_nan;
    return as_float(as_int(of_number) | (as_int(u) & odd_sign));
  }
};

struct Power {
  float a, b, factor;
  Exponent c, c_minus_1;
  explicit Power(const Neuron& n)
      : a(n.a),
        b(n.b),
        factor(n.a * n.c),
        c(static_cast<double>(n.c)),
        c_minus_1(static_cast<double>(n.c) - 1.0) {}
  MPSNN_INLINE float value(float x) const { return c.of(a * x + b); }
  MPSNN_INLINE float slope(float x) const { return factor * c_minus_1.of(a * x + b); }
};

/// Small whole exponents: products, exact where they can be.
struct Square {
  float a, b;
  explicit Square(const Neuron& n) : a(n.a), b(n.b) {}
  MPSNN_INLINE float value(float x) const {
    const float u = a * x + b;
    return u * u;
  }
  MPSNN_INLINE float slope(float x) const { return 2.0F * a * (a * x + b); }
};

struct Cube {
  float a, b;
  explicit Cube(const Neuron& n) : a(n.a), b(n.b) {}
  MPSNN_INLINE float value(float x) const {
    const float u = a * x + b;
    return u * u * u;
  }
  MPSNN_INLINE float slope(float x) const {
    const float u = a * x + b;
    return 3.0F * a * (u * u);
  }
};

/// ln c, with c = -1 for e.
double logarithm_of_base(const Neuron& n) {
  return n.c == -1.0F ? 1.0 : std::log(static_cast<double>(n.c));
}

struct Exponential {
  float a, b, log_c, log_c_high, log_c_low, factor;
  explicit Exponential(const Neuron& n)
      : a(n.a),
        b(n.b),
        log_c(static_cast<float>(logarithm_of_base(n))),
        log_c_high(high_part(log_c)),
        log_c_low(static_cast<float>(logarithm_of_base(n) - static_cast<double>(log_c_high))),
        factor(n.a * log_c) {}
  MPSNN_INLINE float value(float x) const {
    // (a x + b) ln c in two parts: a rounding would be multiplied by the product's size.
    const float t = a * x + b, high = high_part(t);
    const float rest = (t - high) * log_c + high * log_c_low;
    return exponential(high * log_c_high, absolute_of(t) < kInfinity ? rest : 0.0F);
  }
  MPSNN_INLINE float slope(float x) const { return factor * value(x); }
  MPSNN_INLINE float slope_at_value(float y) const { return factor * y; }
};

/// c = -1: the base needs no care.
struct NaturalExponential {
  float a, b;
  explicit NaturalExponential(const Neuron& n) : a(n.a), b(n.b) {}
  static constexpr std::uint32_t kEasy = kEasyExponent;
  MPSNN_INLINE std::uint32_t key(float x) const { return size_bits(a * x + b); }
  template <Numbers numbers>
  MPSNN_INLINE float value(float x) const {
    return exponential<numbers>(a * x + b);
  }
  MPSNN_INLINE float slope(float x) const { return a * value<Numbers::ANY>(x); }
  MPSNN_INLINE float slope_at_value(float y) const { return a * y; }
};

struct Logarithm {
  float a, b, inverse_log_c, factor;
  explicit Logarithm(const Neuron& n)
      : a(n.a),
        b(n.b),
        inverse_log_c(static_cast<float>(1.0 / logarithm_of_base(n))),
        factor(static_cast<float>(static_cast<double>(n.a) / logarithm_of_base(n))) {}
  static constexpr std::uint32_t kEasy = kEasyLogarithm;
  MPSNN_INLINE std::uint32_t key(float x) const { return normal_bits(a * x + b); }
  template <Numbers numbers>
  MPSNN_INLINE float value(float x) const {
    return logarithm<numbers>(a * x + b) * inverse_log_c;
  }
  MPSNN_INLINE float slope(float x) const { return factor / (a * x + b); }
};

struct GeLU {
  explicit GeLU(const Neuron&) {}
  static constexpr std::uint32_t kEasy = kEasyNormal;
  MPSNN_INLINE std::uint32_t key(float x) const { return size_bits(x); }
  template <Numbers numbers>
  MPSNN_INLINE float value(float x) const {
    return x * normal_distribution<numbers>(x).integral;
  }
  MPSNN_INLINE float slope(float x) const {
    constexpr float kInverseRootOf2Pi = 0.398942280F;
    const NormalDistribution normal = normal_distribution(x);
    const float limited = with_sign(absolute_of(x) > 20.0F ? 20.0F : x, x);  // the density is 0
    return normal.integral + limited * normal.density * kInverseRootOf2Pi;
  }
};

/// Functions without an EASY range: one loop.
template <class Function>
MPSNN_INLINE void map_values(const Function& f, const float* x, float* y, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) y[i] = f.value(x[i]);
}

/// The largest key of a piece's arguments.
template <class Function>
MPSNN_INLINE std::uint32_t largest_key(const Function& f, const float* x, std::int64_t count) {
  std::uint32_t most = 0;
  for (std::int64_t i = 0; i < count; ++i) most = std::max(most, f.key(x[i]));
  return most;
}

/// Asks for what is read next: a processor looks ahead by itself, but not beyond a page.
MPSNN_INLINE void fetch(const float* x, std::int64_t count) {
  for (std::int64_t i = 0; i < count; i += kLanes) __builtin_prefetch(x + i);
}

template <Numbers numbers, class Function>
MPSNN_INLINE void map_piece(const Function& f, const float* x, float* y, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) y[i] = f.template value<numbers>(x[i]);
}

/// Pieces whose arguments are all EASY have a loop of their own. Both give the same bits there:
/// results do not depend on where pieces begin.
template <class Function>
  requires requires { Function::kEasy; }
MPSNN_INLINE void map_values(const Function& f, const float* x, float* y, std::int64_t count) {
  constexpr std::int64_t kPiece = 1024;
  for (std::int64_t n = 0; count > 0; count -= n, x += n, y += n) {
    n = std::min(kPiece, count);
    fetch(x + n, std::min(kPiece, count - n));
    std::uint32_t most = 0;
    if (x == y) {
      most = largest_key(f, x, n);
      if (most <= Function::kEasy) map_piece<Numbers::EASY>(f, x, y, n);
    } else {  // as if they were, and what it takes to know it: x is still there if not
      MPSNN_IVDEP
      for (std::int64_t i = 0; i < n; ++i) {
        most = std::max(most, f.key(x[i]));
        y[i] = f.template value<Numbers::EASY>(x[i]);
      }
    }
    if (most > Function::kEasy) map_piece<Numbers::ANY>(f, x, y, n);
  }
}

#define MPSNN_NEURON_LOOPS(Function)                                                              \
  MPSNN_SIMD void map(const Function& function, const float* x, float* y, std::int64_t count) {   \
    const Function f = function;                                                                  \
    map_values(f, x, y, count);                                                                   \
  }                                                                                               \
  MPSNN_SIMD void map_slope(const Function& function, const float* g, const float* x, float* out, \
                            std::int64_t count) {                                                 \
    const Function f = function;                                                                  \
    MPSNN_IVDEP                                                                                   \
    for (std::int64_t i = 0; i < count; ++i) out[i] = g[i] * f.slope(x[i]);                       \
  }
#define MPSNN_NEURON_RESULT_LOOP(Function)                                                     \
  MPSNN_SIMD void map_slope_at_value(const Function& function, const float* g, const float* y, \
                                     float* out, std::int64_t count) {                         \
    const Function f = function;                                                               \
    MPSNN_IVDEP                                                                                \
    for (std::int64_t i = 0; i < count; ++i) out[i] = g[i] * f.slope_at_value(y[i]);           \
  }

MPSNN_NEURON_LOOPS(Linear)
MPSNN_NEURON_LOOPS(Sigmoid)
MPSNN_NEURON_LOOPS(HardSigmoid)
MPSNN_NEURON_LOOPS(Tanh)
MPSNN_NEURON_LOOPS(Absolute)
MPSNN_NEURON_LOOPS(SoftPlus)
MPSNN_NEURON_LOOPS(SoftSign)
MPSNN_NEURON_LOOPS(ELU)
MPSNN_NEURON_LOOPS(Power)
MPSNN_NEURON_LOOPS(Square)
MPSNN_NEURON_LOOPS(Cube)
MPSNN_NEURON_LOOPS(Exponential)
MPSNN_NEURON_LOOPS(NaturalExponential)
MPSNN_NEURON_LOOPS(Logarithm)
MPSNN_NEURON_LOOPS(GeLU)
MPSNN_NEURON_RESULT_LOOP(Linear)
MPSNN_NEURON_RESULT_LOOP(Sigmoid)
MPSNN_NEURON_RESULT_LOOP(HardSigmoid)
MPSNN_NEURON_RESULT_LOOP(Tanh)
MPSNN_NEURON_RESULT_LOOP(SoftPlus)
MPSNN_NEURON_RESULT_LOOP(ELU)
MPSNN_NEURON_RESULT_LOOP(Exponential)
MPSNN_NEURON_RESULT_LOOP(NaturalExponential)

#undef MPSNN_NEURON_LOOPS
#undef MPSNN_NEURON_RESULT_LOOP

/// Calls `use` with the neuron's function.
template <class Use>
void with_function(const Neuron& n, Use&& use) {
  switch (n.type) {
    case NeuronType::LINEAR:
      return use(Linear(n));
    case NeuronType::SIGMOID:
      return use(Sigmoid(n));
    case NeuronType::HARD_SIGMOID:
      return use(HardSigmoid(n));
    case NeuronType::TANH:
      return use(Tanh(n));
    case NeuronType::ABSOLUTE:
      return use(Absolute(n));
    case NeuronType::SOFT_PLUS:
      return use(SoftPlus(n));
    case NeuronType::SOFT_SIGN:
      return use(SoftSign(n));
    case NeuronType::ELU:
      return use(ELU(n));
    case NeuronType::POWER:
      if (n.c == 2.0F) return use(Square(n));
      if (n.c == 3.0F) return use(Cube(n));
      return use(Power(n));
    case NeuronType::EXPONENTIAL:
      if (n.c == -1.0F) return use(NaturalExponential(n));
      return use(Exponential(n));
    case NeuronType::LOGARITHM:
      return use(Logarithm(n));
    case NeuronType::GELU:
      return use(GeLU(n));
    default:
      throw InternalError(str("neuron type ", static_cast<int>(n.type), " has no function"));
  }
}

}  // namespace

void apply_function(const Neuron& neuron, const float* x, float* y, std::int64_t count) {
  with_function(neuron, [&](const auto& f) { map(f, x, y, count); });
}

void apply_derivative(const Neuron& neuron, const float* g, const float* x, float* out,
                      std::int64_t count) {
  with_function(neuron, [&](const auto& f) { map_slope(f, g, x, out, count); });
}

void apply_derivative_of_result(const Neuron& neuron, const float* g, const float* y, float* out,
                                std::int64_t count) {
  with_function(neuron, [&](const auto& f) {
    if constexpr (requires { f.slope_at_value(0.0F); }) {
      map_slope_at_value(f, g, y, out, count);
    } else {
      throw InternalError("a neuron whose result does not tell its derivative");
    }
  });
}

bool tells_derivative(const Neuron& neuron) {
  switch (neuron.type) {
    case NeuronType::LINEAR:
    case NeuronType::SIGMOID:
    case NeuronType::HARD_SIGMOID:
    case NeuronType::EXPONENTIAL:
      return true;
    case NeuronType::TANH:
    case NeuronType::SOFT_PLUS:
      return neuron.a != 0;
    case NeuronType::ELU:
    case NeuronType::RELU:
    case NeuronType::RELUN:
      return neuron.a >= 0;
    default:
      return false;
  }
}

}  // namespace mpsnn::backend::cpu
