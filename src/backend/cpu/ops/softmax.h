// SPDX-License-Identifier: MIT
// Sums over the channels of one pixel. Sixteen partial sums are added in a fixed order.
#pragma once

#include <cstdint>

#include "backend/cpu/simd.h"
#include "backend/cpu/vector_math.h"

namespace mpsnn::backend::cpu {

MPSNN_INLINE float sum_of_lanes(const float* lanes) {
  float sums[4];
  for (int i = 0; i < 4; ++i) sums[i] = (lanes[i] + lanes[i + 4]) + (lanes[i + 8] + lanes[i + 12]);
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

/// The largest value. A NaN may be passed over: it shows in the sum of exponentials.
MPSNN_INLINE float largest(const float* x, std::int64_t count) {
  Vec lanes = x[0] - Vec{}, next;
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    load(next, x + i);
    lanes = lanes > next ? lanes : next;
  }
  float most = lanes[0];
  for (std::int64_t l = 1; l < kLanes; ++l) most = most > lanes[l] ? most : lanes[l];
  for (; i < count; ++i) most = most > x[i] ? most : x[i];
  return most;
}

MPSNN_INLINE float lane_sum(const float* x, std::int64_t count) {
  float lanes[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::int64_t l = 0; l < kLanes; ++l) lanes[l] += x[i + l];
  }
  for (; i < count; ++i) lanes[i % kLanes] += x[i];
  return sum_of_lanes(lanes);
}

MPSNN_INLINE float lane_product_sum(const float* a, const float* b, std::int64_t count) {
  float lanes[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::int64_t l = 0; l < kLanes; ++l) lanes[l] += a[i + l] * b[i + l];
  }
  for (; i < count; ++i) lanes[i % kLanes] += a[i] * b[i];
  return sum_of_lanes(lanes);
}

/// Sum of e^(x - most).
MPSNN_INLINE float exponential_sum(const float* x, float most, std::int64_t count) {
  float lanes[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::int64_t l = 0; l < kLanes; ++l) lanes[l] += exponential(x[i + l] - most);
  }
  for (; i < count; ++i) lanes[i % kLanes] += exponential(x[i] - most);
  return sum_of_lanes(lanes);
}

}  // namespace mpsnn::backend::cpu
