// SPDX-License-Identifier: MIT
#include "backend/cpu/ops/loss_terms.h"

#include "backend/cpu/ops/softmax.h"
#include "backend/cpu/simd.h"
#include "backend/cpu/vector_math.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

/// 1, 0 or -1; NaN for NaN.
MPSNN_INLINE float sign_of(float d) {
  const float not_above = d < 0 ? -1.0F : d - d;
  return d > 0 ? 1.0F : not_above;
}

/// d between -limit and limit; NaN for NaN.
MPSNN_INLINE float limited(float d, float limit) {
  const float low = d < -limit ? -limit : d;
  return low > limit ? limit : low;
}

MPSNN_INLINE float size_of_value(float d) { return d < 0 ? -d : d; }

/// t * x, 0 where t is, whatever x.
MPSNN_INLINE float times(float t, float x) { return t == 0 ? 0.0F : t * x; }

MPSNN_INLINE float entropy(float t, float logarithm) { return times(-t, logarithm); }

/// 1 - (2 t - 1) y; twice the label does not overflow.
MPSNN_INLINE float margin_of(float y, float t) { return 1 - 2 * ((t - 0.5F) * y); }

/// slope where the margin is above 0, else 0; NaN for NaN.
MPSNN_INLINE float inside_margin(float margin, float slope) {
  const float not_above = margin <= 0 ? 0.0F : margin;
  return margin > 0 ? slope : not_above;
}

MPSNN_INLINE float sigmoid(float y) {
  const float e = exponential(-size_of_value(y)), high = 1 / (1 + e);
  return y < 0 ? e * high : high;
}

template <LossType type>
MPSNN_INLINE float value(const LossFormula& f, float y, float t) {
  const float d = y - t;
  if constexpr (type == LossType::MEAN_ABSOLUTE_ERROR) {
    return size_of_value(d);
  } else if constexpr (type == LossType::MEAN_SQUARED_ERROR) {
    return d * d;
  } else if constexpr (type == LossType::SOFT_MAX_CROSS_ENTROPY) {
    return entropy(t * f.keep + f.share, y);
  } else if constexpr (type == LossType::SIGMOID_CROSS_ENTROPY) {
    const float positive = y < 0 ? 0 : y;
    return (positive - times(t * f.keep + f.share, y)) +
           logarithm_of_1_plus(exponential(-size_of_value(y)));
  } else if constexpr (type == LossType::CATEGORICAL_CROSS_ENTROPY) {
    return entropy(t, logarithm(y));
  } else if constexpr (type == LossType::HINGE) {
    const float margin = margin_of(y, t);
    return margin < 0 ? 0 : margin;
  } else if constexpr (type == LossType::HUBER) {
    const float size = size_of_value(d);
    return size > f.delta ? f.delta * (size - 0.5F * f.delta) : 0.5F * d * d;
  } else if constexpr (type == LossType::COSINE_DISTANCE) {
    return times(-t, y);
  } else if constexpr (type == LossType::LOG) {
    return entropy(t, logarithm(y + f.epsilon)) + entropy(1 - t, logarithm(1 - y + f.epsilon));
  } else {
    return times(t, logarithm(t) - y);
  }
}

template <LossType type>
MPSNN_INLINE float slope(const LossFormula& f, float y, float t) {
  const float d = y - t;
  if constexpr (type == LossType::MEAN_ABSOLUTE_ERROR) {
    return sign_of(d);
  } else if constexpr (type == LossType::MEAN_SQUARED_ERROR) {
    return 2 * d;
  } else if constexpr (type == LossType::SOFT_MAX_CROSS_ENTROPY) {
    return exponential(y) - (t * f.keep + f.share);
  } else if constexpr (type == LossType::SIGMOID_CROSS_ENTROPY) {
    return sigmoid(y) - (t * f.keep + f.share);
  } else if constexpr (type == LossType::CATEGORICAL_CROSS_ENTROPY) {
    return t == 0 ? 0.0F : -t / y;
  } else if constexpr (type == LossType::HINGE) {
    return inside_margin(margin_of(y, t), 1 - 2 * t);
  } else if constexpr (type == LossType::HUBER) {
    return limited(d, f.delta);
  } else if constexpr (type == LossType::COSINE_DISTANCE ||
                       type == LossType::KULLBACK_LEIBLER_DIVERGENCE) {
    return -t;
  } else {
    const float yes = t == 0 ? 0.0F : -t / (y + f.epsilon);
    return yes + (t == 1 ? 0.0F : (1 - t) / (1 - y + f.epsilon));
  }
}

template <LossType type>
MPSNN_INLINE float label_slope(const LossFormula& f, float y, float t) {
  const float d = y - t;
  if constexpr (type == LossType::MEAN_ABSOLUTE_ERROR) {
    return -sign_of(d);
  } else if constexpr (type == LossType::MEAN_SQUARED_ERROR) {
    return -2 * d;
  } else if constexpr (type == LossType::SOFT_MAX_CROSS_ENTROPY ||
                       type == LossType::SIGMOID_CROSS_ENTROPY) {
    return -f.keep * y;
  } else if constexpr (type == LossType::CATEGORICAL_CROSS_ENTROPY) {
    return -logarithm(y);
  } else if constexpr (type == LossType::HINGE) {
    return inside_margin(margin_of(y, t), -2 * y);
  } else if constexpr (type == LossType::HUBER) {
    return -limited(d, f.delta);
  } else if constexpr (type == LossType::COSINE_DISTANCE) {
    return -y;
  } else if constexpr (type == LossType::LOG) {
    return logarithm(1 - y + f.epsilon) - logarithm(y + f.epsilon);
  } else {
    return (logarithm(t) + 1) - y;
  }
}

enum class Wanted { VALUE, SLOPE, LABEL_SLOPE };

template <Wanted wanted, LossType type>
MPSNN_INLINE void fill(const LossFormula& f, const LossElements& e, float factor, float* out,
                       std::int64_t count) {
  const LossFormula formula = f;
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) {
    const float y = e.predictions[i], t = e.labels[i];
    if constexpr (wanted == Wanted::VALUE) {
      out[i] = value<type>(formula, y, t) * factor;
    } else if constexpr (wanted == Wanted::SLOPE) {
      out[i] = slope<type>(formula, y, t) * factor;
    } else {
      out[i] = label_slope<type>(formula, y, t) * factor;
    }
  }
}

template <Wanted wanted>
MPSNN_INLINE void fill_any(const LossFormula& f, const LossElements& e, float factor, float* out,
                           std::int64_t count) {
  using enum LossType;
  switch (f.type) {
    case MEAN_ABSOLUTE_ERROR:
      return fill<wanted, MEAN_ABSOLUTE_ERROR>(f, e, factor, out, count);
    case MEAN_SQUARED_ERROR:
      return fill<wanted, MEAN_SQUARED_ERROR>(f, e, factor, out, count);
    case SOFT_MAX_CROSS_ENTROPY:
      return fill<wanted, SOFT_MAX_CROSS_ENTROPY>(f, e, factor, out, count);
    case SIGMOID_CROSS_ENTROPY:
      return fill<wanted, SIGMOID_CROSS_ENTROPY>(f, e, factor, out, count);
    case CATEGORICAL_CROSS_ENTROPY:
      return fill<wanted, CATEGORICAL_CROSS_ENTROPY>(f, e, factor, out, count);
    case HINGE:
      return fill<wanted, HINGE>(f, e, factor, out, count);
    case HUBER:
      return fill<wanted, HUBER>(f, e, factor, out, count);
    case COSINE_DISTANCE:
      return fill<wanted, COSINE_DISTANCE>(f, e, factor, out, count);
    case LOG:
      return fill<wanted, LOG>(f, e, factor, out, count);
    case KULLBACK_LEIBLER_DIVERGENCE:
      return fill<wanted, KULLBACK_LEIBLER_DIVERGENCE>(f, e, factor, out, count);
  }
}

MPSNN_INLINE void apply_weights(const LossElements& e, float* out, std::int64_t count) {
  if (e.weights == nullptr) return;
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) out[i] *= e.weights[i];
}

}  // namespace

MPSNN_SIMD void loss_values(const LossFormula& formula, const LossElements& e, float* out,
                            std::int64_t count) {
  fill_any<Wanted::VALUE>(formula, e, formula.weight, out, count);
  apply_weights(e, out, count);
}

MPSNN_SIMD void loss_slopes(const LossFormula& formula, const LossElements& e, float factor,
                            float* out, std::int64_t count) {
  fill_any<Wanted::SLOPE>(formula, e, factor * formula.weight, out, count);
  apply_weights(e, out, count);
}

MPSNN_SIMD void loss_label_slopes(const LossFormula& formula, const LossElements& e, float factor,
                                  float* out, std::int64_t count) {
  fill_any<Wanted::LABEL_SLOPE>(formula, e, factor * formula.weight, out, count);
  apply_weights(e, out, count);
}

MPSNN_SIMD void loss_weight_slopes(const LossFormula& formula, const LossElements& e, float factor,
                                   float* out, std::int64_t count) {
  fill_any<Wanted::VALUE>(formula, e, factor * formula.weight, out, count);
}

MPSNN_SIMD void log_sums(const float* x, std::int64_t pixels, std::int64_t channels, float* rest) {
  for (std::int64_t p = 0; p < pixels; ++p, x += channels) {
    const float most = largest(x, channels);
    rest[p] = most + logarithm(exponential_sum(x, most, channels));
  }
}

MPSNN_SIMD void subtract_rest(const float* x, std::int64_t pixels, std::int64_t channels,
                              const float* rest, float* out) {
  for (std::int64_t p = 0; p < pixels; ++p, x += channels, out += channels) {
    const float r = rest[p];
    MPSNN_IVDEP
    for (std::int64_t c = 0; c < channels; ++c) out[c] = x[c] - r;
  }
}

MPSNN_SIMD std::int64_t count_non_zero(const float* values, std::int64_t count) {
  std::int32_t found = 0;
  for (std::int64_t i = 0; i < count; ++i) found += values[i] != 0 ? 1 : 0;
  return found;
}

}  // namespace mpsnn::backend::cpu
