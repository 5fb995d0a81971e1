// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <limits>

#include "mpsnn/types.h"

namespace mpsnn {

/// How random numbers are distributed; docs/random.md has the formulas. Values are checked where a
/// kernel is made of it. Apple: MPSMatrixRandomDistributionDescriptor.
struct MatrixRandomDistributionDescriptor {
  MatrixRandomDistribution distribution_type = MatrixRandomDistribution::DEFAULT;
  double minimum = 0, maximum = 0;  // infinite: no bound
  double mean = 0, standard_deviation = 0;

  /// All 2^32 words of uint32; [0, 1) of floating-point numbers.
  static MatrixRandomDistributionDescriptor default_distribution() { return {}; }
  /// Uniform in [minimum, maximum).
  static MatrixRandomDistributionDescriptor uniform(double minimum, double maximum) {
    return {MatrixRandomDistribution::UNIFORM, minimum, maximum, (minimum + maximum) / 2,
            (maximum - minimum) / std::sqrt(12.0)};
  }
  static MatrixRandomDistributionDescriptor normal(double mean, double standard_deviation) {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    return {MatrixRandomDistribution::NORMAL, -kInfinity, kInfinity, mean, standard_deviation};
  }
  /// The normal distribution of what lies in [minimum, maximum].
  static MatrixRandomDistributionDescriptor truncated_normal(double mean, double standard_deviation,
                                                             double minimum, double maximum) {
    return {MatrixRandomDistribution::NORMAL, minimum, maximum, mean, standard_deviation};
  }
  friend bool operator==(const MatrixRandomDistributionDescriptor&,
                         const MatrixRandomDistributionDescriptor&) = default;
};

}  // namespace mpsnn
