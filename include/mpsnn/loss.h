// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include "mpsnn/types.h"

namespace mpsnn {

/// What a loss computes; formulas in docs/reference/nodes.md. Apple: MPSCNNLossDescriptor.
struct LossDescriptor {
  LossType loss_type = LossType::MEAN_SQUARED_ERROR;
  /// How the values of one image are reduced. Never changes a gradient.
  ReductionType reduction_type = ReductionType::MEAN;
  /// Scales loss and gradient.
  double weight = 1.0;
  double label_smoothing = 0.0;
  std::int64_t number_of_classes = 1;
  double epsilon = 1e-7;
  double delta = 1.0;
  /// Reduce over the batch as well: the total stands in the first image, the others are zero.
  bool reduce_across_batch = false;
  friend bool operator==(const LossDescriptor&, const LossDescriptor&) = default;
};

}  // namespace mpsnn
