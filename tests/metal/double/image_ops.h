// SPDX-License-Identifier: MIT
// The double's filters of whole images without weights.
#pragma once

#include <functional>
#include <memory>

#include "ops.h"

namespace metal_double {

/// Strides of 0 broadcast.
struct Strides {
  int x = 1, y = 1, channels = 1;
};

/// '+', '*', '/', or a comparison: '=', '!', '<', 'l', '>', 'g'.
class Arithmetic final : public Op {
 public:
  explicit Arithmetic(char operation) : operation_(operation) {}
  Shape shape(const Sources& sources) const override;
  void run(const Sources& sources, Pixels& result) const override;
  bool has_gradient() const override { return operation_ == '+' || operation_ == '*'; }
  void gradient(const Pixels& gradient, const Sources& sources, const Pixels& forward,
                std::size_t index, Pixels& result) const override;
  char operation_;
  Strides strides[2];

 private:
  float read(const Sources& sources, std::size_t i, int y, int x, int c) const;
};

enum class Reduced { ROW, COLUMN, CHANNELS, SPATIAL };
enum class Reducing { MIN, MAX, MEAN, SUM, ARGUMENT_MIN, ARGUMENT_MAX };

class Reduction final : public Op {
 public:
  Reduction(Reduced axis, Reducing kind) : axis_(axis), kind_(kind) {}
  Shape shape(const Sources& sources) const override;
  void run(const Sources& sources, Pixels& result) const override;
  bool has_gradient() const override { return axis_ == Reduced::SPATIAL; }
  void gradient(const Pixels& gradient, const Sources& sources, const Pixels& forward,
                std::size_t index, Pixels& result) const override;
  double weight = 1;
  bool clips = false;
  int left = 0, top = 0, width = 0, height = 0;  // what is read, where it clips

 private:
  struct Region {
    int left, top, right, bottom;
  };
  Region region(const Pixels& source) const;
  Reduced axis_;
  Reducing kind_;
};

std::shared_ptr<Op> make_reshape(Shape shape);
/// Result = scale * source + translation, in edges of pixels.
struct Transform {
  double scale_x, scale_y, translate_x, translate_y;
};
enum class Resampling { BILINEAR, LANCZOS };
/// One value of a resized image; what lies beyond the source is its nearest pixel.
double resampled(const Pixels& from, Resampling kind, const Transform& transform, int y, int x,
                 int c);
/// `transform` is asked at each run; null: the source fills the result.
std::shared_ptr<Op> make_scale(int height, int width, Resampling kind,
                               std::function<Transform()> transform);
std::shared_ptr<Op> make_gram(double alpha);

/// Edge modes as Apple numbers them.
struct Margins {
  int before[3], after[3];  // x, y, channel
  int edge_mode;
};
class Pad final : public Op {
 public:
  explicit Pad(const Margins& margins) : m_(margins) {}
  Shape shape(const Sources& sources) const override;
  void run(const Sources& sources, Pixels& result) const override;
  bool has_gradient() const override { return true; }
  void gradient(const Pixels& gradient, const Sources& sources, const Pixels& forward,
                std::size_t index, Pixels& result) const override;
  double fill = 0;

 private:
  /// Where position p along a dimension reads; -1: a constant.
  int read(int p, int dimension, int size) const;
  Margins m_;
};

/// The three normalisations by windows: y = pm + ps (x - p0 mean) / (delta + alpha spread)^beta.
class WindowNormalization final : public Op {
 public:
  enum class Kind { SPATIAL, CONTRAST, CHANNELS };
  explicit WindowNormalization(Kind kind) : kind_(kind) {}
  void run(const Sources& sources, Pixels& result) const override;
  bool has_gradient() const override { return true; }
  void gradient(const Pixels& gradient, const Sources& sources, const Pixels& forward,
                std::size_t index, Pixels& result) const override;
  double alpha = 1, beta = 5, delta = 1, p0 = 0, pm = 0, ps = 1;
  int kernel_x = 3, kernel_y = 3, kernel_c = 3;

 private:
  struct Statistics {
    double mean, spread;
  };
  Statistics statistics(const Pixels& source, int y, int x, int c) const;
  template <class F>
  void each_neighbour(const Pixels& source, int y, int x, int c, F f) const;
  double area() const;
  Kind kind_;
};

}  // namespace metal_double
