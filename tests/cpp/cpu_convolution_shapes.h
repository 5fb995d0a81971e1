// SPDX-License-Identifier: MIT
// The cases on which every convolution row of the CPU backend is tested.
#pragma once

#include <string_view>
#include <vector>

#include "cpu_fixtures.h"

namespace cpu_tests {

struct Shape {
  const char* name;
  std::int64_t n, h, w, inputs, outputs;
  std::int64_t kh = 1, kw = 1, stride_y = 1, stride_x = 1, dilation_y = 1, dilation_x = 1;
  std::int64_t groups = 1, pad_top = 0, pad_left = 0;
  std::int64_t out_h = h, out_w = w;
  ImageEdgeMode edge = ImageEdgeMode::ZERO;
  bool bias = true;
  NeuronType neuron = NeuronType::NONE;
  double a = 0, b = 0;

  constexpr Shape(const char* title, std::int64_t images, std::int64_t height, std::int64_t width,
                  std::int64_t in, std::int64_t out)
      : name(title), n(images), h(height), w(width), inputs(in), outputs(out) {}

  constexpr Shape kernel(std::int64_t y, std::int64_t x) const {
    return with(&Shape::kh, y, &Shape::kw, x);
  }
  constexpr Shape pad(std::int64_t y, std::int64_t x) const {
    return with(&Shape::pad_top, y, &Shape::pad_left, x);
  }
  constexpr Shape stride(std::int64_t y, std::int64_t x) const {
    return with(&Shape::stride_y, y, &Shape::stride_x, x);
  }
  constexpr Shape dilate(std::int64_t y, std::int64_t x) const {
    return with(&Shape::dilation_y, y, &Shape::dilation_x, x);
  }
  constexpr Shape to(std::int64_t y, std::int64_t x) const {
    return with(&Shape::out_h, y, &Shape::out_w, x);
  }
  constexpr Shape in_groups(std::int64_t count) const {
    return with(&Shape::groups, count, &Shape::groups, count);
  }
  constexpr Shape clamped() const {
    Shape s = *this;
    s.edge = ImageEdgeMode::CLAMP;
    return s;
  }
  constexpr Shape unbiased() const {
    Shape s = *this;
    s.bias = false;
    return s;
  }
  constexpr Shape relu(double slope = 0) const {
    Shape s = *this;
    s.neuron = NeuronType::RELU;
    s.a = slope;
    return s;
  }
  constexpr Shape relun(double slope, double limit) const {
    Shape s = relu(slope);
    s.neuron = NeuronType::RELUN;
    s.b = limit;
    return s;
  }

  Dims source() const { return {n, h, w, inputs}; }
  Dims weights() const { return {outputs, kh, kw, inputs / groups}; }
  Dims result() const { return {n, out_h, out_w, outputs}; }
  AttributeMap attributes() const {
    return {{"kernel_height", kh},
            {"kernel_width", kw},
            {"stride_y", stride_y},
            {"stride_x", stride_x},
            {"dilation_y", dilation_y},
            {"dilation_x", dilation_x},
            {"groups", groups},
            {"pad_top", pad_top},
            {"pad_left", pad_left},
            {"edge_mode", static_cast<std::int64_t>(edge)},
            {"neuron_type", static_cast<std::int64_t>(neuron)},
            {"neuron_a", a},
            {"neuron_b", b},
            {"neuron_c", 0.0}};
  }

 private:
  constexpr Shape with(std::int64_t Shape::* first, std::int64_t one, std::int64_t Shape::* second,
                       std::int64_t two) const {
    Shape s = *this;
    s.*first = one;
    s.*second = two;
    return s;
  }
};

// name, images, height, width, inputs, outputs; then kernel (1 x 1), strides and dilations (1),
// pads (0), result size (the source's), groups (1), edges (zero), bias (yes), neuron (none) where
// they differ.
inline constexpr Shape kShapes[] = {
    Shape("3x3 same", 2, 9, 13, 16, 32).kernel(3, 3).pad(1, 1).relu(),
    Shape("3x3 odd channels", 1, 7, 11, 5, 19).kernel(3, 3).pad(1, 1).relu(0.25),
    Shape("12 channels", 2, 16, 16, 12, 32).kernel(3, 3).pad(1, 1),
    Shape("no bias", 1, 8, 8, 32, 64).kernel(3, 3).pad(1, 1).unbiased(),
    Shape("1x1", 3, 5, 6, 24, 40),
    Shape("fully connected", 5, 1, 1, 24, 40).relu(),
    Shape("fully connected, one image", 1, 1, 1, 24, 40).relun(0.25, 3),
    Shape("window of the whole of one image", 1, 4, 2, 5, 18).kernel(4, 2).to(1, 1),
    Shape("fully connected, one image, odd channels", 1, 1, 1, 7, 19).unbiased(),
    Shape("window of the whole image", 3, 4, 2, 5, 18).kernel(4, 2).to(1, 1),
    Shape("5x5 valid", 1, 10, 12, 8, 17).kernel(5, 5).to(6, 8),
    Shape("even kernel", 1, 9, 8, 4, 20).kernel(2, 4).pad(1, 2),
    Shape("kernel 1 x 7", 1, 3, 20, 6, 16).kernel(1, 7).pad(0, 3),
    Shape("stride 2", 2, 9, 12, 16, 24).kernel(3, 3).stride(2, 2).pad(1, 1).to(5, 6).relun(0, 4),
    Shape("end not read", 1, 11, 11, 16, 16).kernel(2, 3).stride(3, 2).to(3, 4),
    Shape("dilation", 1, 12, 14, 16, 16).kernel(3, 3).dilate(2, 3).pad(2, 3),
    Shape("stride and dilation", 1, 13, 13, 8, 9)
        .kernel(3, 2)
        .stride(2, 3)
        .dilate(2, 2)
        .pad(1, 1)
        .to(6, 5),
    Shape("asymmetric padding", 1, 6, 7, 16, 16).kernel(3, 3).pad(2, 0),
    Shape("negative padding", 1, 9, 10, 16, 16).kernel(3, 3).pad(-1, -2).to(6, 6),
    Shape("result ends early", 1, 9, 10, 16, 16).kernel(3, 3).pad(1, 1).to(4, 5),
    Shape("windows wholly outside", 1, 4, 5, 16, 16).kernel(3, 3).pad(5, 4).to(14, 13),
    Shape("image smaller than kernel", 2, 2, 1, 10, 18).kernel(5, 5).pad(2, 2),
    Shape("clamp", 2, 6, 9, 7, 18).kernel(3, 5).pad(1, 2).clamped().relun(0.5, 3),
    Shape("clamp, stride 2", 1, 7, 7, 16, 16)
        .kernel(3, 3)
        .stride(2, 2)
        .pad(2, 1)
        .to(5, 4)
        .clamped(),
    Shape("clamp, windows outside", 1, 3, 4, 6, 7).kernel(3, 2).pad(4, 3).to(9, 8).clamped(),
    Shape("groups", 1, 6, 6, 32, 64).kernel(3, 3).in_groups(2).pad(1, 1),
    Shape("many odd groups", 1, 5, 8, 15, 10).kernel(3, 3).in_groups(5).pad(1, 1),
    Shape("depthwise 32", 2, 8, 8, 32, 32).kernel(3, 3).in_groups(32).pad(1, 1),
    Shape("depthwise 3 of 5x5", 2, 12, 37, 3, 3).kernel(5, 5).in_groups(3).pad(2, 2).unbiased(),
    Shape("depthwise 3, dilated", 1, 9, 50, 3, 3)
        .kernel(3, 3)
        .dilate(2, 2)
        .in_groups(3)
        .to(5, 46)
        .relu(),
    Shape("depthwise 4", 1, 5, 40, 4, 4).kernel(3, 3).in_groups(4).pad(1, 1),
    Shape("depthwise 2, narrow", 1, 5, 6, 2, 2).kernel(3, 3).in_groups(2).pad(0, 2).to(6, 9),
    Shape("one channel, wide kernel", 1, 5, 100, 1, 1).kernel(1, 9).pad(0, -1).to(5, 90),
    Shape("depthwise multiplier", 1, 6, 6, 4, 8).kernel(3, 3).in_groups(4).pad(1, 1),
    Shape("32 to 3", 2, 9, 21, 32, 3).kernel(3, 3).pad(1, 1),
    Shape("20 to 1", 1, 6, 7, 20, 1).kernel(3, 3).pad(1, 1).relu(),
    Shape("8 to 2", 1, 6, 7, 8, 2).kernel(3, 3).dilate(1, 2).pad(1, 2),
    Shape("16 to 4", 1, 5, 17, 16, 4).kernel(2, 3).pad(1, 1).relun(1, 2),
    Shape("16 to 6", 1, 5, 18, 16, 6).kernel(3, 3).pad(1, 1),
    Shape("11 to 7", 1, 5, 6, 11, 7).kernel(3, 3).pad(1, 1),
    Shape("9 to 8, stride 2", 1, 8, 9, 9, 8).kernel(3, 3).stride(2, 2).pad(1, 1).to(4, 5),
    Shape("17 to 5, clamp", 1, 6, 9, 17, 5).kernel(5, 3).pad(2, 1).clamped().unbiased(),
    Shape("3 to 3", 1, 6, 7, 3, 3).kernel(3, 3).pad(1, 1),
    Shape("many weights", 1, 4, 17, 64, 66).kernel(3, 3).pad(1, 1),
    Shape("large enough for tiles", 2, 17, 15, 32, 48).kernel(3, 3).pad(1, 1).relu(),
};

inline const Shape& shape_named(std::string_view name) {
  for (const Shape& shape : kShapes) {
    if (shape.name == name) return shape;
  }
  throw InternalError(str("no shape is named ", name));
}

}  // namespace cpu_tests
