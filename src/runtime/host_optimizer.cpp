// SPDX-License-Identifier: MIT
#include "runtime/host_optimizer.h"

#include <algorithm>
#include <cmath>

#include "base/attributes.h"

namespace mpsnn::runtime {

HostOptimizer::HostOptimizer(const Optimizer& optimizer)
    : attributes_(optimizer.attributes()), descriptor_(optimizer.descriptor()) {}

/// Clipped, rescaled, regularised, in this order.
float HostOptimizer::treated(float gradient, float value) const {
  if (descriptor_.apply_gradient_clipping) {
    const auto low = static_cast<float>(descriptor_.gradient_clip_min),
               high = static_cast<float>(descriptor_.gradient_clip_max);
    gradient = gradient < low ? low : gradient;
    gradient = gradient > high ? high : gradient;
  }
  gradient *= static_cast<float>(descriptor_.gradient_rescale);
  const auto scale = static_cast<float>(descriptor_.regularization_scale);
  switch (descriptor_.regularization_type) {
    case RegularizationType::NONE:
      return gradient;
    case RegularizationType::L1:
      if (value > 0) return gradient + scale;
      return value < 0 ? gradient - scale : gradient;
    case RegularizationType::L2:
      return gradient + scale * value;
  }
  return gradient;
}

void HostOptimizer::descend(std::span<float> value, std::span<const float> gradient,
                            std::span<std::vector<float>> moments) const {
  const auto rate = static_cast<float>(descriptor_.learning_rate),
             scale = static_cast<float>(get_float(attributes_, "momentum_scale"));
  const bool nesterov = get_bool(attributes_, "use_nesterov_momentum");
  for (std::size_t i = 0; i < value.size(); ++i) {
    const float g = treated(gradient[i], value[i]);
    if (moments.empty()) {
      value[i] -= rate * g;
      continue;
    }
    float& momentum = moments[0][i];
    momentum = scale * momentum + (nesterov ? g : rate * g);
    value[i] -= nesterov ? rate * (g + scale * momentum) : momentum;
  }
}

void HostOptimizer::adam(std::span<float> value, std::span<const float> gradient,
                         std::span<std::vector<float>> moments, std::int64_t time_step) const {
  const double beta1 = get_float(attributes_, "beta1"), beta2 = get_float(attributes_, "beta2");
  const auto epsilon = static_cast<float>(get_float(attributes_, "epsilon")),
             b1 = static_cast<float>(beta1), b2 = static_cast<float>(beta2),
             rest1 = static_cast<float>(1 - beta1), rest2 = static_cast<float>(1 - beta2);
  const auto t = static_cast<double>(time_step);
  const auto rate = static_cast<float>(
      descriptor_.learning_rate * std::sqrt(1 - std::pow(beta2, t)) / (1 - std::pow(beta1, t)));
  for (std::size_t i = 0; i < value.size(); ++i) {
    const float g = treated(gradient[i], value[i]);
    float &momentum = moments[0][i], &velocity = moments[1][i];
    momentum = b1 * momentum + rest1 * g;
    velocity = b2 * velocity + rest2 * (g * g);
    float divisor = velocity;
    if (moments.size() > 2) divisor = moments[2][i] = std::max(moments[2][i], velocity);
    value[i] -= rate * momentum / (std::sqrt(divisor) + epsilon);
  }
}

void HostOptimizer::rms_prop(std::span<float> value, std::span<const float> gradient,
                             std::span<std::vector<float>> moments) const {
  const double decay = get_float(attributes_, "decay");
  const auto kept = static_cast<float>(decay), rest = static_cast<float>(1 - decay),
             epsilon = static_cast<float>(get_float(attributes_, "epsilon")),
             rate = static_cast<float>(descriptor_.learning_rate);
  for (std::size_t i = 0; i < value.size(); ++i) {
    const float g = treated(gradient[i], value[i]);
    float& squares = moments[0][i];
    squares = kept * squares + rest * (g * g);
    value[i] -= rate * g / (std::sqrt(squares) + epsilon);
  }
}

void HostOptimizer::step(std::span<float> value, std::span<const float> gradient,
                         std::span<std::vector<float>> moments, std::int64_t time_step) const {
  if (attributes_.contains("beta1")) return adam(value, gradient, moments, time_step);
  if (attributes_.contains("decay")) return rms_prop(value, gradient, moments);
  descend(value, gradient, moments);
}

}  // namespace mpsnn::runtime
