// SPDX-License-Identifier: MIT
// The losses of single values and their derivatives.
#pragma once

#include <cstdint>

#include "mpsnn/types.h"

namespace mpsnn::backend::cpu {

/// A loss's formula with its parameters.
struct LossFormula {
  LossType type = LossType::MEAN_SQUARED_ERROR;
  float weight = 1, epsilon = 0, delta = 1;
  /// Smoothed labels are t * keep + share.
  float keep = 1, share = 0;

  bool is_softmax() const noexcept { return type == LossType::SOFT_MAX_CROSS_ENTROPY; }
};

/// The same elements of predictions, labels and, where there are some, weights. For a softmax cross
/// entropy the predictions are already logarithms of the softmax.
struct LossElements {
  const float *predictions, *labels;
  const float* weights;  // may be null
};

/// out = weight * w * f(y, t); for the cosine distance without its 1: -y * t.
void loss_values(const LossFormula& formula, const LossElements& e, float* out, std::int64_t count);
/// Derivatives with respect to the predictions (before the softmax), times `factor`, weight and w.
void loss_slopes(const LossFormula& formula, const LossElements& e, float factor, float* out,
                 std::int64_t count);
/// Derivatives with respect to the labels.
void loss_label_slopes(const LossFormula& formula, const LossElements& e, float factor, float* out,
                       std::int64_t count);
/// The derivative with respect to w: factor * weight * f(y, t).
void loss_weight_slopes(const LossFormula& formula, const LossElements& e, float factor, float* out,
                        std::int64_t count);
/// rest[p] = the largest channel + ln of the sum of exponentials from it on.
void log_sums(const float* x, std::int64_t pixels, std::int64_t channels, float* rest);
/// out = x - rest[p].
void subtract_rest(const float* x, std::int64_t pixels, std::int64_t channels, const float* rest,
                   float* out);
/// How many values are not zero.
std::int64_t count_non_zero(const float* values, std::int64_t count);

}  // namespace mpsnn::backend::cpu
