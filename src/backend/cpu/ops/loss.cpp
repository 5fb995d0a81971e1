// SPDX-License-Identifier: MIT
// loss, loss_gradient: mean absolute and mean squared error. Gradients ignore the reduction.
#include <algorithm>

#include "backend/cpu/ops/kernel_tools.h"
#include "backend/cpu/ops/parallel.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/ops/simd.h"
#include "base/attributes.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

// Pieces whose losses are summed in float before they are added up in double.
constexpr std::int64_t kPiece = 1024;

struct Loss {
  bool squared;
  ReductionType reduction;
  float weight;
  bool across_batch, weighted;
  std::int64_t images, image_size;

  std::int64_t pieces() const noexcept { return (image_size + kPiece - 1) / kPiece; }
};

/// y, t and, where there are weights, w: the same elements of each operand.
struct Elements {
  const float* predictions;
  const float* labels;
  const float* weights;  // may be null
};

MPSNN_SIMD void losses(const Loss& loss, const Elements& e, float* out, std::int64_t count) {
  if (loss.squared) {
    MPSNN_IVDEP
    for (std::int64_t i = 0; i < count; ++i) {
      const float d = e.predictions[i] - e.labels[i];
      out[i] = d * d * loss.weight;
    }
  } else {
    MPSNN_IVDEP
    for (std::int64_t i = 0; i < count; ++i) {
      const float d = e.predictions[i] - e.labels[i];
      out[i] = (d < 0 ? -d : d) * loss.weight;
    }
  }
  if (e.weights == nullptr) return;
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) out[i] *= e.weights[i];
}

MPSNN_SIMD void derivatives(bool squared, const Elements& e, float factor, float* out, std::int64_t count) {
  if (squared) {
    MPSNN_IVDEP
    for (std::int64_t i = 0; i < count; ++i) out[i] = 2 * (e.predictions[i] - e.labels[i]) * factor;
  } else {
    MPSNN_IVDEP
    for (std::int64_t i = 0; i < count; ++i) {
      const float d = e.predictions[i] - e.labels[i];
      const float falling = d < 0 ? -factor : 0 * d;  // 0 at equality, NaN for NaN
      out[i] = d > 0 ? factor : falling;
    }
  }
  if (e.weights == nullptr) return;
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) out[i] *= e.weights[i];
}

MPSNN_SIMD void multiply(const float* by, float* out, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) out[i] *= by[i];
}

MPSNN_SIMD void add_up(const float* values, std::int64_t count, double* sums, std::int64_t lanes) {
  for (std::int64_t at = 0; at + lanes <= count; at += lanes) {
    MPSNN_IVDEP
    for (std::int64_t i = 0; i < lanes; ++i) sums[i] += static_cast<double>(values[at + i]);
  }
}

}  // namespace
}  // namespace mpsnn::backend::cpu
