// SPDX-License-Identifier: MIT
// What the double's kernels compute: plain loops over textures of four-channel slices, from the
// formulas of Apple's headers. Shares nothing with the library's own kernels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace metal_double {

/// An image as textures hold it: slice after slice of four channels, each (rows, columns, 4). What
/// is stored is rounded where the format is float16.
class Pixels {
 public:
  Pixels(int rows, int columns, int channel_count, bool is_half);
  float at(int y, int x, int c) const { return values_[index(y, x, c)]; }
  /// 0 outside of the image.
  float at_or_zero(int y, int x, int c) const { return contains(y, x) ? at(y, x, c) : 0.0F; }
  bool contains(int y, int x) const { return y >= 0 && y < height && x >= 0 && x < width; }
  /// Outside of the image: the nearest pixel, or 0.
  float at_edge(int y, int x, int c, bool clamps) const {
    if (!clamps) return at_or_zero(y, x, c);
    return at(y < 0 ? 0 : y < height ? y : height - 1, x < 0 ? 0 : x < width ? x : width - 1, c);
  }
  void set(int y, int x, int c, double value);

  const int height, width, channels;
  const bool half;

 private:
  std::size_t index(int y, int x, int c) const {
    const std::size_t pixel = (static_cast<std::size_t>(c / 4) * static_cast<std::size_t>(height) +
                               static_cast<std::size_t>(y)) *
                                  static_cast<std::size_t>(width) +
                              static_cast<std::size_t>(x);
    return pixel * 4 + static_cast<std::size_t>(c % 4);
  }
  std::vector<float> values_;
};

/// Calls f(y, x, c) for every element.
template <class F>
void each(const Pixels& image, F f) {
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x)
      for (int c = 0; c < image.channels; ++c) f(y, x, c);
}

std::uint16_t to_half(float value);
float from_half(std::uint16_t bits);

/// A filter window, and where it reads: result row p reads p * stride + offset - k / 2 + i *
/// dilation.
struct Window {
  int kernel_y = 1, kernel_x = 1, stride_y = 1, stride_x = 1, dilation_y = 1, dilation_x = 1;
  int groups = 1;
  bool clamps = false;             // what lies outside: CLAMP, not ZERO
  int border_y = 0, border_x = 0;  // of zeros that count in an average with CLAMP
};

/// Result size and offset along one axis, by Apple's padding method bits.
struct Placed {
  int size, offset;
};
Placed place(std::uint64_t method, bool is_y, int kernel, int stride, int dilation, int source);

struct Neuron {
  int type = 0;
  float a = 0, b = 0, c = 0;
  std::vector<float> slopes;
};
double neuron(const Neuron& neuron, double x, int channel);
double neuron_derivative(const Neuron& neuron, double x, int channel);

struct Loss {
  int type = 0, reduction = 0;
  float weight = 1, smoothing = 0, epsilon = 0;
  int classes = 1;
};

/// Where a window starts.
struct Origin {
  int y, x;  // first row and column read by result pixel (0, 0)
};

void convolve(const Pixels& source, const std::vector<float>& weights,
              const std::vector<float>& bias, const Window& window, Origin origin,
              const Neuron& fused, Pixels& result);
void convolve_data_gradient(const Pixels& gradient, const std::vector<float>& weights,
                            const Window& window, Origin origin, Pixels& result);
/// Adds to the gradients, OHWI.
void convolve_weights_gradient(const Pixels& gradient, const Pixels& source, const Window& window,
                               Origin origin, float* weights, float* bias);
enum class Pooling { MAX, AVERAGE, L2 };
void pool(const Pixels& source, const Window& window, Origin origin, Pooling kind, Pixels& result);
void pool_gradient(const Pixels& gradient, const Pixels& source, const Pixels& forward,
                   const Window& window, Origin origin, Pooling kind, Pixels& result);
void upsample_nearest(const Pixels& source, int scale_y, int scale_x, Pixels& result);
void upsample_bilinear(const Pixels& source, int scale_y, int scale_x, bool align_corners,
                       Pixels& result);
void upsample_nearest_gradient(const Pixels& gradient, int scale_y, int scale_x, Pixels& result);
void upsample_bilinear_gradient(const Pixels& gradient, int scale_y, int scale_x,
                                bool align_corners, Pixels& result);
void softmax(const Pixels& source, bool logarithm, Pixels& result);
void softmax_gradient(const Pixels& gradient, const Pixels& forward, bool logarithm,
                      Pixels& result);
/// What a loss compares; `weights` may be null.
struct LossSources {
  const Pixels &predictions, &labels;
  const Pixels* weights;
};
/// The losses of an image added up, and what a mean divides them by.
struct LossSum {
  double sum, divisor;
};
LossSum loss(const LossSources& sources, const Loss& loss, Pixels& result);
/// `gradient` has one value, or the predictions' size.
void loss_gradient(const Pixels& gradient, const LossSources& sources, const Loss& loss,
                   bool of_labels, Pixels& result);

struct Shape {
  int height, width, channels;
};
using Sources = std::vector<const Pixels*>;

/// A filter of whole images without weights.
class Op {
 public:
  virtual ~Op() = default;
  /// The result's, where it is not the first source's.
  virtual Shape shape(const Sources& sources) const;
  virtual void run(const Sources& sources, Pixels& result) const = 0;
  virtual bool has_gradient() const { return false; }
  /// Of one of the sources; `forward` is the result.
  virtual void gradient(const Pixels& gradient, const Sources& sources, const Pixels& forward,
                        std::size_t index, Pixels& result) const;
};

}  // namespace metal_double
