// SPDX-License-Identifier: MIT
#include "image_ops.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

namespace metal_double {
namespace {

/// Sums in double of an image's size.
class Sums {
 public:
  explicit Sums(const Pixels& like)
      : image_(like), values_(static_cast<std::size_t>(like.height * like.width * like.channels)) {}
  double& at(int y, int x, int c) {
    return values_[static_cast<std::size_t>((y * image_.width + x) * image_.channels + c)];
  }
  void write(Pixels& to) {
    each(to, [&](int y, int x, int c) { to.set(y, x, c, at(y, x, c)); });
  }

 private:
  const Pixels& image_;
  std::vector<double> values_;
};

double number(float value) { return static_cast<double>(value); }

}  // namespace

Shape Op::shape(const Sources& sources) const {
  return {sources[0]->height, sources[0]->width, sources[0]->channels};
}

void Op::gradient(const Pixels&, const Sources&, const Pixels&, std::size_t, Pixels&) const {
  throw std::logic_error("this filter has no gradient");
}

// ---- arithmetic

Shape Arithmetic::shape(const Sources& sources) const {
  const Shape shape = Op::shape(sources);
  for (std::size_t i = 0; i < 2; ++i) {
    const Pixels& from = *sources[i];
    if (((strides[i].y == 0 ? 1 : shape.height) != from.height) ||
        ((strides[i].x == 0 ? 1 : shape.width) != from.width) ||
        ((strides[i].channels == 0 ? 1 : shape.channels) != from.channels)) {
      throw std::invalid_argument("MPSCNNArithmetic: sizes and strides do not go together");
    }
  }
  return shape;
}

float Arithmetic::read(const Sources& sources, std::size_t i, int y, int x, int c) const {
  return sources[i]->at(y * strides[i].y, x * strides[i].x, c * strides[i].channels);
}

void Arithmetic::run(const Sources& sources, Pixels& result) const {
  each(result, [&](int y, int x, int c) {
    const double a = number(read(sources, 0, y, x, c)), b = number(read(sources, 1, y, x, c));
    const auto value = [&] {
      switch (operation_) {
        case '+':
          return a + b;
        case '*':
          return a * b;
        case '/':
          return a / b;
        case '=':
          return a == b ? 1.0 : 0.0;
        case '!':
          return a != b ? 1.0 : 0.0;
        case '<':
          return a < b ? 1.0 : 0.0;
        case 'l':
          return a <= b ? 1.0 : 0.0;
        case '>':
          return a > b ? 1.0 : 0.0;
        default:
          return a >= b ? 1.0 : 0.0;
      }
    };
    result.set(y, x, c, value());
  });
}

void Arithmetic::gradient(const Pixels& gradient, const Sources& sources, const Pixels&,
                          std::size_t index, Pixels& result) const {
  for (const Strides& own : strides) {
    if (own.x != 1 || own.y != 1 || own.channels != 1)
      throw std::invalid_argument("MPSCNNArithmeticGradient: whose strides its nodes have is open");
  }
  each(gradient, [&](int y, int x, int c) {
    double value = number(gradient.at(y, x, c));
    if (operation_ == '*') value *= number(read(sources, 1 - index, y, x, c));
    result.set(y, x, c, value);
  });
}

// ---- reductions

Reduction::Region Reduction::region(const Pixels& source) const {
  if (!clips) return {0, 0, source.width, source.height};
  return {left, top, std::min(left + width, source.width), std::min(top + height, source.height)};
}

Shape Reduction::shape(const Sources& sources) const {
  const Region r = region(*sources[0]);
  Shape shape{r.bottom - r.top, r.right - r.left, sources[0]->channels};
  if (axis_ == Reduced::ROW || axis_ == Reduced::SPATIAL) shape.width = 1;
  if (axis_ == Reduced::COLUMN || axis_ == Reduced::SPATIAL) shape.height = 1;
  if (axis_ == Reduced::CHANNELS) shape.channels = 1;
  return shape;
}

void Reduction::run(const Sources& sources, Pixels& result) const {
  const Pixels& from = *sources[0];
  const Region r = region(from);
  each(result, [&](int y, int x, int c) {
    std::vector<double> values;
    const auto add = [&](int sy, int sx, int sc) { values.push_back(number(from.at(sy, sx, sc))); };
    if (axis_ == Reduced::ROW)
      for (int i = r.left; i < r.right; ++i) add(r.top + y, i, c);
    if (axis_ == Reduced::COLUMN)
      for (int i = r.top; i < r.bottom; ++i) add(i, r.left + x, c);
    if (axis_ == Reduced::CHANNELS)
      for (int i = 0; i < from.channels; ++i) add(r.top + y, r.left + x, i);
    if (axis_ == Reduced::SPATIAL)
      for (int i = r.top; i < r.bottom; ++i)
        for (int j = r.left; j < r.right; ++j) add(i, j, c);
    double sum = 0;
    for (const double value : values) sum += value;
    const auto least = std::min_element(values.begin(), values.end());
    const auto most = std::max_element(values.begin(), values.end());
    const auto value = [&]() -> double {
      switch (kind_) {
        case Reducing::MIN:
          return *least;
        case Reducing::MAX:
          return *most;
        case Reducing::MEAN:
          return sum / static_cast<double>(values.size());
        case Reducing::SUM:
          return sum * weight;
        case Reducing::ARGUMENT_MIN:
          return static_cast<double>(least - values.begin());
        default:
          return static_cast<double>(most - values.begin());
      }
    };
    result.set(y, x, c, value());
  });
}

void Reduction::gradient(const Pixels& gradient, const Sources& sources, const Pixels&, std::size_t,
                         Pixels& result) const {
  const Region r = region(*sources[0]);
  const double count = (r.right - r.left) * (r.bottom - r.top);
  each(result, [&](int y, int x, int c) {
    const bool inside = y >= r.top && y < r.bottom && x >= r.left && x < r.right;
    result.set(y, x, c, inside ? number(gradient.at(0, 0, c)) / count : 0.0);
  });
}

// ---- shapes

namespace {

/// Element i in the order rows, columns, channels.
float element(const Pixels& image, int i) {
  return image.at(i / image.channels / image.width, i / image.channels % image.width,
                  i % image.channels);
}

class Reshape final : public Op {
 public:
  explicit Reshape(Shape shape) : shape_(shape) {}
  Shape shape(const Sources&) const override { return shape_; }
  void run(const Sources& sources, Pixels& result) const override { copy(*sources[0], result); }
  bool has_gradient() const override { return true; }
  void gradient(const Pixels& gradient, const Sources&, const Pixels&, std::size_t,
                Pixels& result) const override {
    copy(gradient, result);
  }

 private:
  static void copy(const Pixels& from, Pixels& to) {
    int i = 0;
    each(to, [&](int y, int x, int c) { to.set(y, x, c, number(element(from, i++))); });
  }
  Shape shape_;
};

/// One axis of a resizing.
struct ScaledAxis {
  double scale, translation;
  Resampling kind;
  /// Where result pixel p is centred, in pixels of the source.
  double centre(int p) const { return (p + 0.5 - translation) / scale - 0.5; }
  /// Half of the window, in pixels of the source: Lanczos' is widened where the image shrinks.
  double reach() const { return kind == Resampling::BILINEAR ? 1 : 3 * stretch(); }
  double weight(double distance) const {
    if (kind == Resampling::BILINEAR) return 1 - std::fabs(distance);
    const double t = distance / stretch(), a = t * 3.14159265358979323846;
    return t == 0 ? 1 : std::sin(a) / a * std::sin(a / 3) / (a / 3);
  }
  double stretch() const { return scale < 1 ? 1 / scale : 1; }

  /// Calls f(source pixel, weight / sum of weights).
  template <class F>
  void each_weight(int p, F f) const {
    const double middle = centre(p);
    const int first = static_cast<int>(std::floor(middle - reach())) + 1;
    const int last = static_cast<int>(std::ceil(middle + reach())) - 1;
    double sum = 0;
    for (int i = first; i <= last; ++i) sum += weight(i - middle);
    for (int i = first; i <= last; ++i) f(i, weight(i - middle) / sum);
  }
};

class Scale final : public Op {
 public:
  Scale(int height, int width, Resampling kind, std::function<Transform()> transform)
      : height_(height), width_(width), kind_(kind), transform_(std::move(transform)) {}
  Shape shape(const Sources& sources) const override {
    return {height_, width_, sources[0]->channels};
  }
  void run(const Sources& sources, Pixels& result) const override {
    const Pixels& from = *sources[0];
    const Transform t = transform_ ? transform_()
                                   : Transform{number_of(width_) / from.width,
                                               number_of(height_) / from.height, 0, 0};
    each(result,
         [&](int y, int x, int c) { result.set(y, x, c, resampled(from, kind_, t, y, x, c)); });
  }

 private:
  static double number_of(int value) { return static_cast<double>(value); }
  int height_, width_;
  Resampling kind_;
  std::function<Transform()> transform_;
};

class Gram final : public Op {
 public:
  explicit Gram(double alpha) : alpha_(alpha) {}
  Shape shape(const Sources& sources) const override {
    return {1, sources[0]->channels, sources[0]->channels};
  }
  void run(const Sources& sources, Pixels& result) const override {
    const Pixels& from = *sources[0];
    each(result, [&](int, int f, int c) {
      double sum = 0;
      for (int y = 0; y < from.height; ++y)
        for (int x = 0; x < from.width; ++x)
          sum += number(from.at(y, x, f)) * number(from.at(y, x, c));
      result.set(0, f, c, alpha_ * sum);
    });
  }
  bool has_gradient() const override { return true; }
  void gradient(const Pixels& gradient, const Sources& sources, const Pixels&, std::size_t,
                Pixels& result) const override {
    each(result, [&](int y, int x, int c) {
      double sum = 0;
      for (int f = 0; f < result.channels; ++f) {
        sum += (number(gradient.at(0, f, c)) + number(gradient.at(0, c, f))) *
               number(sources[0]->at(y, x, f));
      }
      result.set(y, x, c, alpha_ * sum);
    });
  }

 private:
  double alpha_;
};

}  // namespace

std::shared_ptr<Op> make_reshape(Shape shape) { return std::make_shared<Reshape>(shape); }
double resampled(const Pixels& from, Resampling kind, const Transform& transform, int y, int x,
                 int c) {
  const ScaledAxis rows{transform.scale_y, transform.translate_y, kind},
      columns{transform.scale_x, transform.translate_x, kind};
  double sum = 0;
  rows.each_weight(y, [&](int sy, double wy) {
    columns.each_weight(
        x, [&](int sx, double wx) { sum += wy * wx * number(from.at_edge(sy, sx, c, true)); });
  });
  return sum;
}

std::shared_ptr<Op> make_scale(int height, int width, Resampling kind,
                               std::function<Transform()> transform) {
  return std::make_shared<Scale>(height, width, kind, std::move(transform));
}
std::shared_ptr<Op> make_gram(double alpha) { return std::make_shared<Gram>(alpha); }

Shape Pad::shape(const Sources& sources) const {
  const Pixels& from = *sources[0];
  return {from.height + m_.before[1] + m_.after[1], from.width + m_.before[0] + m_.after[0],
          from.channels + m_.before[2] + m_.after[2]};
}

int Pad::read(int p, int dimension, int size) const {
  const int at = p - m_.before[dimension];
  if (at >= 0 && at < size) return at;
  switch (m_.edge_mode) {
    case 1:
      return at < 0 ? 0 : size - 1;
    case 2:
      return at < 0 ? -at : 2 * (size - 1) - at;
    case 3:
      return at < 0 ? -at - 1 : 2 * size - 1 - at;
    default:
      return -1;
  }
}

void Pad::run(const Sources& sources, Pixels& result) const {
  const Pixels& from = *sources[0];
  each(result, [&](int y, int x, int c) {
    const int sy = read(y, 1, from.height), sx = read(x, 0, from.width),
              sc = read(c, 2, from.channels);
    const bool is_constant = sy < 0 || sx < 0 || sc < 0;
    const double outside = m_.edge_mode == 4 ? fill : 0.0;
    result.set(y, x, c, is_constant ? outside : number(from.at(sy, sx, sc)));
  });
}

void Pad::gradient(const Pixels& gradient, const Sources&, const Pixels&, std::size_t,
                   Pixels& result) const {
  Sums sums(result);
  each(gradient, [&](int y, int x, int c) {
    const int sy = read(y, 1, result.height), sx = read(x, 0, result.width),
              sc = read(c, 2, result.channels);
    if (sy >= 0 && sx >= 0 && sc >= 0) sums.at(sy, sx, sc) += number(gradient.at(y, x, c));
  });
  sums.write(result);
}

// ---- normalisations by windows

template <class F>
void WindowNormalization::each_neighbour(const Pixels& source, int y, int x, int c, F f) const {
  if (kind_ == Kind::CHANNELS) {
    for (int k = c - kernel_c / 2; k <= c + (kernel_c - 1) / 2; ++k)
      if (k >= 0 && k < source.channels) f(y, x, k);
    return;
  }
  for (int i = y - kernel_y / 2; i <= y + (kernel_y - 1) / 2; ++i)
    for (int j = x - kernel_x / 2; j <= x + (kernel_x - 1) / 2; ++j)
      if (source.contains(i, j)) f(i, j, c);
}

double WindowNormalization::area() const {
  return kind_ == Kind::CHANNELS ? kernel_c : kernel_x * kernel_y;
}

WindowNormalization::Statistics WindowNormalization::statistics(const Pixels& source, int y, int x,
                                                                int c) const {
  double sum = 0, squares = 0;
  int inside = 0;
  each_neighbour(source, y, x, c, [&](int i, int j, int k) {
    sum += number(source.at(i, j, k));
    ++inside;
  });
  const double mean = kind_ == Kind::CONTRAST ? sum / area() : 0.0;
  each_neighbour(source, y, x, c, [&](int i, int j, int k) {
    const double apart = number(source.at(i, j, k)) - mean;
    squares += apart * apart;
  });
  squares += (area() - inside) * mean * mean;  // the zeros outside
  return {mean, squares / area()};
}

void WindowNormalization::run(const Sources& sources, Pixels& result) const {
  each(result, [&](int y, int x, int c) {
    const Statistics s = statistics(*sources[0], y, x, c);
    const double value = number(sources[0]->at(y, x, c));
    result.set(y, x, c,
               pm + ps * (value - p0 * s.mean) * std::pow(delta + alpha * s.spread, -beta));
  });
}

void WindowNormalization::gradient(const Pixels& gradient, const Sources& sources, const Pixels&,
                                   std::size_t, Pixels& result) const {
  const Pixels& from = *sources[0];
  Sums sums(result);
  each(result, [&](int y, int x, int c) {
    const Statistics s = statistics(from, y, x, c);
    const double g = ps * number(gradient.at(y, x, c));
    const double base = delta + alpha * s.spread, power = std::pow(base, -beta);
    const double apart = number(from.at(y, x, c)) - p0 * s.mean;
    sums.at(y, x, c) += g * power;
    each_neighbour(from, y, x, c, [&](int i, int j, int k) {
      const double slope = 2 * (number(from.at(i, j, k)) - s.mean) / area();
      double part = -beta * apart * power / base * alpha * slope;
      if (kind_ == Kind::CONTRAST) part -= p0 / area() * power;
      sums.at(i, j, k) += g * part;
    });
  });
  sums.write(result);
}

}  // namespace metal_double
