// SPDX-License-Identifier: MIT
// Softmax and losses.
#include <algorithm>
#include <cmath>

#include "ops.h"

namespace metal_double {
namespace {

/// The softmax of a pixel, or its logarithm.
std::vector<double> softmax_at(const Pixels& image, int y, int x, bool logarithm) {
  std::vector<double> values;
  for (int c = 0; c < image.channels; ++c) values.push_back(static_cast<double>(image.at(y, x, c)));
  const double largest = *std::max_element(values.begin(), values.end());
  double sum = 0;
  for (const double value : values) sum += std::exp(value - largest);
  for (double& value : values) {
    value = logarithm ? value - largest - std::log(sum) : std::exp(value - largest) / sum;
  }
  return values;
}

double smoothed(const Loss& loss, double t) {
  const auto share = static_cast<double>(loss.smoothing);
  if (loss.type == 2) return t * (1 - share) + share / loss.classes;
  if (loss.type == 3) return t * (1 - share) + share / 2;
  return t;
}

double value_of(const Loss& loss, double y, double t, double log_softmax) {
  const auto epsilon = static_cast<double>(loss.epsilon);
  switch (loss.type) {
    case 0:
      return std::abs(y - t);
    case 1:
      return (y - t) * (y - t);
    case 2:
      return -t * log_softmax;
    case 3:
      return std::max(y, 0.0) - y * t + std::log1p(std::exp(-std::abs(y)));
    case 4:
      return t == 0 ? 0 : -t * std::log(y);
    // What Apple's kernels compute of these three is not known: any one of the headers' readings.
    case 5:
      return std::max(1 - (2 * t - 1) * y, 0.0);
    case 6:
      return std::abs(y - t) <= 1 ? (y - t) * (y - t) / 2 : std::abs(y - t) - 0.5;
    case 9:
      return t * (std::log(t) - y);
    case 7:
      return -y * t;  // one minus their sum
    default:
      return -t * std::log(y + epsilon) - (1 - t) * std::log(1 - y + epsilon);
  }
}

double derivative_of(const Loss& loss, double y, double t, double softmax) {
  const auto e = static_cast<double>(loss.epsilon);
  switch (loss.type) {
    case 0:
      return y > t ? 1 : y < t ? -1 : 0;
    case 1:
      return 2 * (y - t);
    case 2:
      return softmax - t;
    case 3:
      return 1 / (1 + std::exp(-y)) - t;
    case 4:
      return t == 0 ? 0 : -t / y;
    case 5:
      return 1 - (2 * t - 1) * y > 0 ? 1 - 2 * t : 0;
    case 6:
      return std::clamp(y - t, -1.0, 1.0);
    case 9:
      return -t;
    case 7:
      return -t;
    default:
      return (-2 * e * t - t + y + e) / (y * (1 - y) + e * (e + 1));
  }
}

}  // namespace

void softmax(const Pixels& source, bool logarithm, Pixels& result) {
  for (int y = 0; y < source.height; ++y) {
    for (int x = 0; x < source.width; ++x) {
      const std::vector<double> values = softmax_at(source, y, x, logarithm);
      for (int c = 0; c < source.channels; ++c)
        result.set(y, x, c, values[static_cast<std::size_t>(c)]);
    }
  }
}

void softmax_gradient(const Pixels& gradient, const Pixels& forward, bool logarithm,
                      Pixels& result) {
  for (int y = 0; y < gradient.height; ++y) {
    for (int x = 0; x < gradient.width; ++x) {
      double sum = 0;
      for (int c = 0; c < gradient.channels; ++c) {
        sum += static_cast<double>(gradient.at(y, x, c)) *
               (logarithm ? 1.0 : static_cast<double>(forward.at(y, x, c)));
      }
      for (int c = 0; c < gradient.channels; ++c) {
        const auto g = static_cast<double>(gradient.at(y, x, c));
        const auto f = static_cast<double>(forward.at(y, x, c));
        result.set(y, x, c, logarithm ? g - std::exp(f) * sum : f * (g - sum));
      }
    }
  }
}

LossSum loss(const LossSources& sources, const Loss& of, Pixels& result) {
  const Pixels &predictions = sources.predictions, &labels = sources.labels;
  const auto weight = static_cast<double>(of.weight);
  double sum = of.type == 7 ? weight : 0.0;
  int non_zero = 0;
  for (int y = 0; y < predictions.height; ++y) {
    for (int x = 0; x < predictions.width; ++x) {
      const std::vector<double> logs = softmax_at(predictions, y, x, true);
      for (int c = 0; c < predictions.channels; ++c) {
        const double t = smoothed(of, static_cast<double>(labels.at(y, x, c)));
        const double w =
            sources.weights == nullptr ? 1.0 : static_cast<double>(sources.weights->at(y, x, c));
        const double value = w * weight *
                             value_of(of, static_cast<double>(predictions.at(y, x, c)), t,
                                      logs[static_cast<std::size_t>(c)]);
        if (of.reduction == 0) result.set(y, x, c, value);
        sum += value;
        non_zero += w != 0 ? 1 : 0;
      }
    }
  }
  double divisor = predictions.height * predictions.width * predictions.channels;
  if (of.reduction == 3) divisor = non_zero;
  if (of.type == 2) divisor /= predictions.channels;
  if (of.reduction == 1) divisor = 1;
  if (of.reduction != 0) result.set(0, 0, 0, divisor == 0 ? 0 : sum / divisor);
  return {sum, divisor};
}

void loss_gradient(const Pixels& gradient, const LossSources& sources, const Loss& of,
                   bool of_labels, Pixels& result) {
  const Pixels &predictions = sources.predictions, &labels = sources.labels;
  const bool is_one = gradient.height * gradient.width * gradient.channels == 1;
  for (int y = 0; y < predictions.height; ++y) {
    for (int x = 0; x < predictions.width; ++x) {
      const std::vector<double> shares = softmax_at(predictions, y, x, false);
      const std::vector<double> logs = softmax_at(predictions, y, x, true);
      for (int c = 0; c < predictions.channels; ++c) {
        const auto p = static_cast<double>(predictions.at(y, x, c));
        const double t = smoothed(of, static_cast<double>(labels.at(y, x, c)));
        auto g = static_cast<double>(is_one ? gradient.at(0, 0, 0) : gradient.at(y, x, c));
        if (sources.weights != nullptr) g *= static_cast<double>(sources.weights->at(y, x, c));
        double slope = derivative_of(of, p, t, shares[static_cast<std::size_t>(c)]);
        if (of_labels) {
          const double step = 1e-4, log = logs[static_cast<std::size_t>(c)];
          const auto raw = static_cast<double>(labels.at(y, x, c));
          slope = (value_of(of, p, smoothed(of, raw + step), log) -
                   value_of(of, p, smoothed(of, raw - step), log)) /
                  (2 * step);
        }
        result.set(y, x, c, g * static_cast<double>(of.weight) * slope);
      }
    }
  }
}

}  // namespace metal_double
