// SPDX-License-Identifier: MIT
// The optimizers' formulas for nodes that are trained by the host (UPDATE_DEVICE_CPU).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "mpsnn/data_source.h"

namespace mpsnn::runtime {

/// An optimizer with its numbers as they were when this was made.
class HostOptimizer {
 public:
  explicit HostOptimizer(const Optimizer& optimizer);
  /// One update; moments in the order of Optimizer::moments(), `time_step` the one that is made.
  void step(std::span<float> value, std::span<const float> gradient,
            std::span<std::vector<float>> moments, std::int64_t time_step) const;

 private:
  float treated(float gradient, float value) const;
  void descend(std::span<float> value, std::span<const float> gradient,
               std::span<std::vector<float>> moments) const;
  void adam(std::span<float> value, std::span<const float> gradient,
            std::span<std::vector<float>> moments, std::int64_t time_step) const;
  void rms_prop(std::span<float> value, std::span<const float> gradient,
                std::span<std::vector<float>> moments) const;

  AttributeMap attributes_;
  OptimizerDescriptor descriptor_;
};

}  // namespace mpsnn::runtime
