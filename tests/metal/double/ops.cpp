// SPDX-License-Identifier: MIT
#include "ops.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace metal_double {
namespace {

constexpr double kRootHalf = 0.70710678118654752440;
constexpr double kTwoOverRootPi = 1.12837916709551257390;

}  // namespace

std::uint16_t to_half(float value) {
  const _Float16 half = static_cast<_Float16>(value);
  std::uint16_t bits = 0;
  std::memcpy(&bits, &half, sizeof bits);
  return bits;
}

float from_half(std::uint16_t bits) {
  _Float16 half = 0;
  std::memcpy(&half, &bits, sizeof half);
  return static_cast<float>(half);
}

Pixels::Pixels(int rows, int columns, int channel_count, bool is_half)
    : height(rows),
      width(columns),
      channels(channel_count),
      half(is_half),
      values_(static_cast<std::size_t>((channel_count + 3) / 4 * 4) *
              static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns)) {}

void Pixels::set(int y, int x, int c, double value) {
  const auto rounded = static_cast<float>(value);
  values_[index(y, x, c)] = half ? from_half(to_half(rounded)) : rounded;
}

Placed place(std::uint64_t method, bool is_y, int kernel, int stride, int dilation, int source) {
  const int k = (kernel - 1) * dilation + 1;
  const int style = (method & 16U) != 0 ? 0 : (method & 32U) != 0 ? 1 : -1;
  const int extent = source + style * (k - 1);
  const int size = extent < 1 ? 0 : (extent + stride - 1) / stride;
  const int extra = (size - 1) * stride + k - source;
  const std::uint64_t remainder = method & 12U;
  const bool first = remainder == 0 || remainder == (is_y ? 4U : 8U);
  int left = (extra + (first ? 1 : 0)) / 2;
  if ((method & 3U) == 1U) left = extra;
  if ((method & 3U) == 2U) left = 0;
  return {size, k / 2 - left};
}

double neuron(const Neuron& n, double x, int channel) {
  const double a = static_cast<double>(n.a), b = static_cast<double>(n.b),
               c = static_cast<double>(n.c);
  switch (n.type) {
    case 1:
      return x >= 0 ? x : a * x;
    case 2:
      return a * x + b;
    case 3:
      return 1 / (1 + std::exp(-x));
    case 4:
      return std::clamp(a * x + b, 0.0, 1.0);
    case 5:
      return a * std::tanh(b * x);
    case 6:
      return std::abs(x);
    case 7:
      return a * (std::max(b * x, 0.0) + std::log1p(std::exp(-std::abs(b * x))));
    case 8:
      return x / (1 + std::abs(x));
    case 9:
      return x >= 0 ? x : a * std::expm1(x);
    case 10:
      return x >= 0 ? x : static_cast<double>(n.slopes[static_cast<std::size_t>(channel)]) * x;
    case 11:
      return std::min(x >= 0 ? x : a * x, b);
    case 12:
      return std::pow(a * x + b, c);
    case 13:
      return c == -1 ? std::exp(a * x + b) : std::pow(c, a * x + b);
    case 14:
      return c == -1 ? std::log(a * x + b) : std::log(a * x + b) / std::log(c);
    case 15:
      return (1 + std::erf(x * kRootHalf)) * x / 2;
    default:
      return x;
  }
}

double neuron_derivative(const Neuron& n, double x, int channel) {
  const double a = static_cast<double>(n.a), b = static_cast<double>(n.b),
               c = static_cast<double>(n.c);
  const double f = neuron(n, x, channel);
  switch (n.type) {
    case 1:
      return x > 0 ? 1 : a;  // at 0 the slope is that of the left side
    case 2:
      return a;
    case 3:
      return f * (1 - f);
    case 4:
      return a * x + b > 0 && a * x + b < 1 ? a : 0;
    case 5:
      return a * b * (1 - std::tanh(b * x) * std::tanh(b * x));
    case 6:
      return x > 0 ? 1 : x < 0 ? -1 : 0;
    case 7:
      return a * b / (1 + std::exp(-b * x));
    case 8:
      return 1 / ((1 + std::abs(x)) * (1 + std::abs(x)));
    case 9:
      return x > 0 ? 1 : a * std::exp(x);
    case 10:
      return x > 0 ? 1 : static_cast<double>(n.slopes[static_cast<std::size_t>(channel)]);
    case 11:
      return (x >= 0 ? x : a * x) < b ? (x > 0 ? 1 : a) : 0;
    case 12:
      return a * c * std::pow(a * x + b, c - 1);
    case 13:
      return a * f * (c == -1 ? 1 : std::log(c));
    case 14:
      return a / ((a * x + b) * (c == -1 ? 1 : std::log(c)));
    case 15:
      return (1 + std::erf(x * kRootHalf)) / 2 +
             x / 2 * kRootHalf * kTwoOverRootPi * std::exp(-x * x / 2);
    default:
      return 1;
  }
}

namespace {

/// Calls f(y, x, o, sy, sx, c, w) for every product of a convolution: result pixel and channel,
/// source position (it may lie outside) and channel, index of the weight.
template <class F>
void each_tap(const Window& w, Origin origin, int in, int height, int width, int out, F f) {
  const int in_group = in / w.groups, out_group = out / w.groups;
  for (int o = 0; o < out; ++o)
    for (int y = 0; y < height; ++y)
      for (int x = 0; x < width; ++x)
        for (int i = 0; i < w.kernel_y; ++i)
          for (int j = 0; j < w.kernel_x; ++j)
            for (int c = 0; c < in_group; ++c) {
              const auto weight =
                  static_cast<std::size_t>(((o * w.kernel_y + i) * w.kernel_x + j) * in_group + c);
              f(y, x, o, origin.y + y * w.stride_y + i * w.dilation_y,
                origin.x + x * w.stride_x + j * w.dilation_x, o / out_group * in_group + c, weight);
            }
}

}  // namespace

void convolve(const Pixels& source, const std::vector<float>& weights,
              const std::vector<float>& bias, const Window& window, Origin origin,
              const Neuron& fused, Pixels& result) {
  std::vector<double> sums(
      static_cast<std::size_t>(result.height * result.width * result.channels));
  const auto at = [&](int y, int x, int o) -> double& {
    return sums[static_cast<std::size_t>((y * result.width + x) * result.channels + o)];
  };
  each_tap(window, origin, source.channels, result.height, result.width, result.channels,
           [&](int y, int x, int o, int sy, int sx, int c, std::size_t w) {
             at(y, x, o) += static_cast<double>(weights[w]) *
                            static_cast<double>(source.at_edge(sy, sx, c, window.clamps));
           });
  each(result, [&](int y, int x, int o) {
    const double shift =
        bias.empty() ? 0.0 : static_cast<double>(bias[static_cast<std::size_t>(o)]);
    result.set(y, x, o, neuron(fused, at(y, x, o) + shift, o));
  });
}

void convolve_data_gradient(const Pixels& gradient, const std::vector<float>& weights,
                            const Window& window, Origin origin, Pixels& result) {
  std::vector<double> sums(
      static_cast<std::size_t>(result.height * result.width * result.channels));
  const auto index = [&](int y, int x, int c) {
    return static_cast<std::size_t>((y * result.width + x) * result.channels + c);
  };
  each_tap(
      window, origin, result.channels, gradient.height, gradient.width, gradient.channels,
      [&](int y, int x, int o, int sy, int sx, int c, std::size_t w) {
        if (!window.clamps && !result.contains(sy, sx)) return;
        sums[index(std::clamp(sy, 0, result.height - 1), std::clamp(sx, 0, result.width - 1), c)] +=
            static_cast<double>(weights[w]) * static_cast<double>(gradient.at(y, x, o));
      });
  each(result, [&](int y, int x, int c) { result.set(y, x, c, sums[index(y, x, c)]); });
}

void convolve_weights_gradient(const Pixels& gradient, const Pixels& source, const Window& window,
                               Origin origin, float* weights, float* bias) {
  each_tap(window, origin, source.channels, gradient.height, gradient.width, gradient.channels,
           [&](int y, int x, int o, int sy, int sx, int c, std::size_t w) {
             weights[w] += gradient.at(y, x, o) * source.at_edge(sy, sx, c, window.clamps);
           });
  each(gradient, [&](int y, int x, int o) { bias[o] += gradient.at(y, x, o); });
}

namespace {

/// Calls f(y, x) for the positions of a window that take part: with CLAMP, those in the image.
template <class F>
void each_position(const Pixels& source, const Window& w, Origin origin, int y, int x, F f) {
  for (int i = 0; i < w.kernel_y; ++i) {
    for (int j = 0; j < w.kernel_x; ++j) {
      const int sy = origin.y + y * w.stride_y + i * w.dilation_y;
      const int sx = origin.x + x * w.stride_x + j * w.dilation_x;
      if (!w.clamps || source.contains(sy, sx)) f(sy, sx);
    }
  }
}

/// What an average is divided by. With CLAMP a border of zeros may count, too.
int divisor(const Pixels& source, const Window& w, Origin origin, int y, int x) {
  int count = 0;
  for (int i = 0; i < w.kernel_y; ++i) {
    for (int j = 0; j < w.kernel_x; ++j) {
      const int sy = origin.y + y * w.stride_y + i, sx = origin.x + x * w.stride_x + j;
      const bool counts = sy >= -w.border_y && sy < source.height + w.border_y &&
                          sx >= -w.border_x && sx < source.width + w.border_x;
      count += !w.clamps || counts ? 1 : 0;
    }
  }
  return count;
}

struct Position {
  int y, x;
};

/// Where a window's largest value is: the first of them.
Position largest_of(const Pixels& source, const Window& w, Origin origin, int y, int x, int c) {
  Position best{-1, -1};
  float largest = -INFINITY;
  each_position(source, w, origin, y, x, [&](int sy, int sx) {
    if (source.at_or_zero(sy, sx, c) <= largest) return;
    largest = source.at_or_zero(sy, sx, c);
    best = {sy, sx};
  });
  return best;
}

}  // namespace

void pool(const Pixels& source, const Window& w, Origin origin, Pooling kind, Pixels& result) {
  each(result, [&](int y, int x, int c) {
    if (kind == Pooling::MAX) {
      const Position at = largest_of(source, w, origin, y, x, c);
      return result.set(y, x, c, static_cast<double>(source.at_or_zero(at.y, at.x, c)));
    }
    double sum = 0, squares = 0;
    each_position(source, w, origin, y, x, [&](int sy, int sx) {
      const auto value = static_cast<double>(source.at_or_zero(sy, sx, c));
      sum += value;
      squares += value * value;
    });
    const int count = divisor(source, w, origin, y, x);
    result.set(y, x, c, kind == Pooling::L2 ? std::sqrt(squares) : count == 0 ? 0 : sum / count);
  });
}

void pool_gradient(const Pixels& gradient, const Pixels& source, const Pixels& forward,
                   const Window& w, Origin origin, Pooling kind, Pixels& result) {
  std::vector<double> sums(
      static_cast<std::size_t>(result.height * result.width * result.channels));
  const auto at = [&](int y, int x, int c) -> double& {
    return sums[static_cast<std::size_t>((y * result.width + x) * result.channels + c)];
  };
  each(gradient, [&](int y, int x, int c) {
    const auto g = static_cast<double>(gradient.at(y, x, c));
    if (kind == Pooling::MAX) {
      const Position best = largest_of(source, w, origin, y, x, c);
      if (result.contains(best.y, best.x)) at(best.y, best.x, c) += g;
      return;
    }
    const auto norm = static_cast<double>(forward.at(y, x, c));
    const int count = divisor(source, w, origin, y, x);
    each_position(source, w, origin, y, x, [&](int sy, int sx) {
      if (!result.contains(sy, sx)) return;
      const auto value = static_cast<double>(source.at(sy, sx, c));
      const double share = norm == 0 ? 0 : value / norm;
      at(sy, sx, c) += g * (kind == Pooling::L2 ? share : 1.0 / count);
    });
  });
  each(result, [&](int y, int x, int c) { result.set(y, x, c, at(y, x, c)); });
}

void upsample_nearest(const Pixels& source, int scale_y, int scale_x, Pixels& result) {
  each(result, [&](int y, int x, int c) {
    result.set(y, x, c, static_cast<double>(source.at(y / scale_y, x / scale_x, c)));
  });
}

void upsample_nearest_gradient(const Pixels& gradient, int scale_y, int scale_x, Pixels& result) {
  each(result, [&](int y, int x, int c) {
    double sum = 0;
    for (int i = 0; i < scale_y; ++i)
      for (int j = 0; j < scale_x; ++j)
        sum += static_cast<double>(gradient.at(y * scale_y + i, x * scale_x + j, c));
    result.set(y, x, c, sum);
  });
}

namespace {

struct Between {
  int low, high;
  double share;  // of high
};

Between between(int p, int scale, int in, bool align_corners) {
  const int out = in * scale;
  double at = static_cast<double>(p) / scale;
  if (align_corners) at = out > 1 ? static_cast<double>(p) * (in - 1) / (out - 1) : 0.0;
  const int low = std::min(static_cast<int>(at), in - 1);
  return {low, std::min(low + 1, in - 1), at - low};
}

}  // namespace

void upsample_bilinear(const Pixels& source, int scale_y, int scale_x, bool align_corners,
                       Pixels& result) {
  each(result, [&](int y, int x, int c) {
    const Between v = between(y, scale_y, source.height, align_corners);
    const Between h = between(x, scale_x, source.width, align_corners);
    const auto at = [&](int sy, int sx) { return static_cast<double>(source.at(sy, sx, c)); };
    const double top = at(v.low, h.low) * (1 - h.share) + at(v.low, h.high) * h.share;
    const double bottom = at(v.high, h.low) * (1 - h.share) + at(v.high, h.high) * h.share;
    result.set(y, x, c, top * (1 - v.share) + bottom * v.share);
  });
}

void upsample_bilinear_gradient(const Pixels& gradient, int scale_y, int scale_x,
                                bool align_corners, Pixels& result) {
  std::vector<double> sums(
      static_cast<std::size_t>(result.height * result.width * result.channels));
  const auto at = [&](int y, int x, int c) -> double& {
    return sums[static_cast<std::size_t>((y * result.width + x) * result.channels + c)];
  };
  each(gradient, [&](int y, int x, int c) {
    const Between v = between(y, scale_y, result.height, align_corners);
    const Between h = between(x, scale_x, result.width, align_corners);
    const auto g = static_cast<double>(gradient.at(y, x, c));
    at(v.low, h.low, c) += g * (1 - v.share) * (1 - h.share);
    at(v.low, h.high, c) += g * (1 - v.share) * h.share;
    at(v.high, h.low, c) += g * v.share * (1 - h.share);
    at(v.high, h.high, c) += g * v.share * h.share;
  });
  each(result, [&](int y, int x, int c) { result.set(y, x, c, at(y, x, c)); });
}

}  // namespace metal_double
