// SPDX-License-Identifier: MIT
// Every convolution row against plain loops in double, and the rows against one another.
#include <set>

#include "cpu_fixtures.h"

namespace {

using namespace cpu_tests;

struct Shape {
  const char* name;
  std::int64_t n, h, w, inputs, outputs, kh, kw;
  std::int64_t stride_y = 1, stride_x = 1, dilation_y = 1, dilation_x = 1, groups = 1;
  std::int64_t pad_top = 0, pad_left = 0;
  std::int64_t out_h = 0, out_w = 0;  // 0: as large as the source (stride 1)
  ImageEdgeMode edge = ImageEdgeMode::ZERO;
  bool bias = true;
  NeuronType neuron = NeuronType::NONE;
  double a = 0, b = 0;

  std::int64_t rows() const { return out_h == 0 ? h : out_h; }
  std::int64_t columns() const { return out_w == 0 ? w : out_w; }
  Dims source() const { return {n, h, w, inputs}; }
  Dims weights() const { return {outputs, kh, kw, inputs / groups}; }
  Dims result() const { return {n, rows(), columns(), outputs}; }
  AttributeMap attributes() const {
    return {{"kernel_height", kh}, {"kernel_width", kw}, {"stride_y", stride_y}, {"stride_x", stride_x},
            {"dilation_y", dilation_y}, {"dilation_x", dilation_x}, {"groups", groups}, {"pad_top", pad_top},
            {"pad_left", pad_left}, {"edge_mode", static_cast<std::int64_t>(edge)},
            {"neuron_type", static_cast<std::int64_t>(neuron)}, {"neuron_a", a}, {"neuron_b", b}, {"neuron_c", 0.0}};
  }
};

constexpr ImageEdgeMode kClamp = ImageEdgeMode::CLAMP;

const std::vector<Shape>& shapes() {
  static const std::vector<Shape> list = {
      {.name = "3x3 same", .n = 2, .h = 9, .w = 13, .inputs = 16, .outputs = 32, .kh = 3, .kw = 3, .pad_top = 1, .pad_left = 1, .neuron = NeuronType::RELU},
      {.name = "3x3 odd channels", .n = 1, .h = 7, .w = 11, .inputs = 5, .outputs = 19, .kh = 3, .kw = 3, .pad_top = 1, .pad_left = 1, .neuron = NeuronType::RELU, .a = 0.25},
      {.name = "12 channels", .n = 2, .h = 16, .w = 16, .inputs = 12, .outputs = 32, .kh = 3, .kw = 3, .pad_top = 1, .pad_left = 1},
      {.name = "no bias", .n = 1, .h = 8, .w = 8, .inputs = 32, .outputs = 64, .kh = 3, .kw = 3, .pad_top = 1, .pad_left = 1, .bias = false},
      {.name = "1x1", .n = 3, .h = 5, .w = 6, .inputs = 24, .outputs = 40, .kh = 1, .kw = 1},
      {.name = "5x5 valid", .n = 1, .h = 10, .w = 12, .inputs = 8, .outputs = 17, .kh = 5, .kw = 5, .out_h = 6, .out_w = 8},
      {.name = "even kernel", .n = 1, .h = 9, .w = 8, .inputs = 4, .outputs = 20, .kh = 2, .kw = 4, .pad_top = 1, .pad_left = 2},
      {.name = "kernel 1 x 7", .n = 1, .h = 3, .w = 20, .inputs = 6, .outputs = 16, .kh = 1, .kw = 7, .pad_left = 3},
      {.name = "stride 2", .n = 2, .h = 9, .w = 12, .inputs = 16, .outputs = 24, .kh = 3, .kw = 3, .stride_y = 2, .stride_x = 2, .pad_top = 1, .pad_left = 1, .out_h = 5, .out_w = 6, .neuron = NeuronType::RELUN, .b = 4},
      {.name = "stride 3 x 2, right edge not read", .n = 1, .h = 11, .w = 11, .inputs = 16, .outputs = 16, .kh = 2, .kw = 3, .stride_y = 3, .stride_x = 2, .out_h = 3, .out_w = 4},
      {.name = "dilation", .n = 1, .h = 12, .w = 14, .inputs = 16, .outputs = 16, .kh = 3, .kw = 3, .dilation_y = 2, .dilation_x = 3, .pad_top = 2, .pad_left = 3},
      {.name = "stride and dilation", .n = 1, .h = 13, .w = 13, .inputs = 8, .outputs = 9, .kh = 3, .kw = 2, .stride_y = 2, .stride_x = 3, .dilation_y = 2, .dilation_x = 2, .pad_top = 1, .pad_left = 1, .out_h = 6, .out_w = 5},
      {.name = "asymmetric padding", .n = 1, .h = 6, .w = 7, .inputs = 16, .outputs = 16, .kh = 3, .kw = 3, .pad_top = 2, .pad_left = 0},
      {.name = "negative padding", .n = 1, .h = 9, .w = 10, .inputs = 16, .outputs = 16, .kh = 3, .kw = 3, .pad_top = -1, .pad_left = -2, .out_h = 6, .out_w = 6},
      {.name = "result ends early", .n = 1, .h = 9, .w = 10, .inputs = 16, .outputs = 16, .kh = 3, .kw = 3, .pad_top = 1, .pad_left = 1, .out_h = 4, .out_w = 5},
      {.name = "windows wholly outside", .n = 1, .h = 4, .w = 5, .inputs = 16, .outputs = 16, .kh = 3, .kw = 3, .pad_top = 5, .pad_left = 4, .out_h = 14, .out_w = 13},
      {.name = "image smaller than kernel", .n = 2, .h = 2, .w = 1, .inputs = 10, .outputs = 18, .kh = 5, .kw = 5, .pad_top = 2, .pad_left = 2},
      {.name = "clamp", .n = 2, .h = 6, .w = 9, .inputs = 7, .outputs = 18, .kh = 3, .kw = 5, .pad_top = 1, .pad_left = 2, .edge = kClamp, .neuron = NeuronType::RELUN, .a = 0.5, .b = 3},
      {.name = "clamp, stride 2", .n = 1, .h = 7, .w = 7, .inputs = 16, .outputs = 16, .kh = 3, .kw = 3, .stride_y = 2, .stride_x = 2, .pad_top = 2, .pad_left = 1, .out_h = 5, .out_w = 4, .edge = kClamp},
      {.name = "groups", .n = 1, .h = 6, .w = 6, .inputs = 32, .outputs = 64, .kh = 3, .kw = 3, .groups = 2, .pad_top = 1, .pad_left = 1},
      {.name = "many odd groups", .n = 1, .h = 5, .w = 8, .inputs = 15, .outputs = 10, .kh = 3, .kw = 3, .groups = 5, .pad_top = 1, .pad_left = 1},
      {.name = "depthwise 32", .n = 2, .h = 8, .w = 8, .inputs = 32, .outputs = 32, .kh = 3, .kw = 3, .groups = 32, .pad_top = 1, .pad_left = 1},
      {.name = "depthwise 3 of 5x5", .n = 2, .h = 12, .w = 37, .inputs = 3, .outputs = 3, .kh = 5, .kw = 5, .groups = 3, .pad_top = 2, .pad_left = 2, .bias = false},
      {.name = "depthwise 3, valid, dilated", .n = 1, .h = 9, .w = 50, .inputs = 3, .outputs = 3, .kh = 3, .kw = 3, .dilation_y = 2, .dilation_x = 2, .groups = 3, .out_h = 5, .out_w = 46, .neuron = NeuronType::RELU},
      {.name = "depthwise 4", .n = 1, .h = 5, .w = 40, .inputs = 4, .outputs = 4, .kh = 3, .kw = 3, .groups = 4, .pad_top = 1, .pad_left = 1},
      {.name = "depthwise 2, narrow", .n = 1, .h = 5, .w = 6, .inputs = 2, .outputs = 2, .kh = 3, .kw = 3, .groups = 2, .pad_top = 0, .pad_left = 2, .out_h = 6, .out_w = 9},
      {.name = "one channel, wide kernel", .n = 1, .h = 5, .w = 100, .inputs = 1, .outputs = 1, .kh = 1, .kw = 9, .pad_left = -1, .out_w = 90},
      {.name = "depthwise multiplier", .n = 1, .h = 6, .w = 6, .inputs = 4, .outputs = 8, .kh = 3, .kw = 3, .groups = 4, .pad_top = 1, .pad_left = 1},
      {.name = "32 to 3", .n = 2, .h = 9, .w = 21, .inputs = 32, .outputs = 3, .kh = 3, .kw = 3, .pad_top = 1, .pad_left = 1},
      {.name = "20 to 1", .n = 1, .h = 6, .w = 7, .inputs = 20, .outputs = 1, .kh = 3, .kw = 3, .pad_top = 1, .pad_left = 1, .neuron = NeuronType::RELU},
      {.name = "9 to 8, stride 2", .n = 1, .h = 8, .w = 9, .inputs = 9, .outputs = 8, .kh = 3, .kw = 3, .stride_y = 2, .stride_x = 2, .pad_top = 1, .pad_left = 1, .out_h = 4, .out_w = 5},
      {.name = "17 to 5, clamp", .n = 1, .h = 6, .w = 9, .inputs = 17, .outputs = 5, .kh = 5, .kw = 3, .pad_top = 2, .pad_left = 1, .edge = kClamp, .bias = false},
      {.name = "3 to 3", .n = 1, .h = 6, .w = 7, .inputs = 3, .outputs = 3, .kh = 3, .kw = 3, .pad_top = 1, .pad_left = 1},
      {.name = "many weights", .n = 1, .h = 4, .w = 5, .inputs = 70, .outputs = 66, .kh = 3, .kw = 3, .pad_top = 1, .pad_left = 1},
      {.name = "large enough for tiles", .n = 2, .h = 17, .w = 15, .inputs = 32, .outputs = 48, .kh = 3, .kw = 3, .pad_top = 1, .pad_left = 1, .neuron = NeuronType::RELU},
  };
  return list;
}

/// Calls fn(result index, weight index, source index) for every product of the convolution.
template <class Fn>
void for_each_product(const Shape& s, Fn&& fn) {
  const std::int64_t inputs = s.inputs / s.groups, outputs = s.outputs / s.groups;
  for (std::int64_t n = 0; n < s.n; ++n)
    for (std::int64_t oy = 0; oy < s.rows(); ++oy)
      for (std::int64_t ox = 0; ox < s.columns(); ++ox)
        for (std::int64_t ky = 0; ky < s.kh; ++ky)
          for (std::int64_t kx = 0; kx < s.kw; ++kx) {
            std::int64_t y = oy * s.stride_y - s.pad_top + ky * s.dilation_y;
            std::int64_t x = ox * s.stride_x - s.pad_left + kx * s.dilation_x;
            if (s.edge == kClamp) {
              y = std::max<std::int64_t>(0, std::min(y, s.h - 1));
              x = std::max<std::int64_t>(0, std::min(x, s.w - 1));
            }
            if (y < 0 || y >= s.h || x < 0 || x >= s.w) continue;
            for (std::int64_t o = 0; o < s.outputs; ++o)
              for (std::int64_t i = 0; i < inputs; ++i) {
                fn(((n * s.rows() + oy) * s.columns() + ox) * s.outputs + o, ((o * s.kh + ky) * s.kw + kx) * inputs + i,
                   ((n * s.h + y) * s.w + x) * s.inputs + o / outputs * inputs + i);
              }
          }
}

double activate(const Shape& s, double x) {
  if (s.neuron == NeuronType::NONE) return x;
  const double y = x >= 0 ? x : s.a * x;
  return s.neuron == NeuronType::RELUN ? std::min(y, s.b) : y;
}

Reference forward_reference(const Shape& s, const std::vector<float>& x, const std::vector<float>& w,
                            const std::vector<float>& bias) {
  Reference r(desc_of(s.result()).count());
  for_each_product(s, [&](std::int64_t ri, std::int64_t wi, std::int64_t si) {
    r.add(ri, static_cast<double>(x[si]) * static_cast<double>(w[wi]));
  });
  for (std::size_t i = 0; i < r.values.size(); ++i) {
    if (s.bias) r.add(static_cast<std::int64_t>(i), static_cast<double>(bias[i % bias.size()]));
    r.values[i] = activate(s, r.values[i]);
  }
  return r;
}

/// Terms of one element's sum, at most.
double terms(const Shape& s) { return static_cast<double>(s.kh * s.kw * s.inputs / s.groups + 1); }

// Winograd's transforms make the terms larger before they are summed.
double slack(const std::string& row) { return row.find("winograd") == std::string::npos ? 1 : 16; }

Tensor make(Values& values, bool exact, Dims dims) {
  return exact ? values.integers(std::move(dims)) : values.reals(std::move(dims));
}

void check_forward(const Shape& s, bool exact, std::set<std::string>& rows) {
  Values values(11);
  Case c = {.op = OpId::convolution, .inputs = {make(values, exact, s.source()), make(values, exact, s.weights())},
            .outputs = {desc_of(s.result())}, .attributes = s.attributes(), .in_place = {}, .scalars = {}};
  const Tensor bias = make(values, exact, {s.outputs});
  if (s.bias) c.inputs.push_back(bias);
  const Reference expected = forward_reference(s, c.inputs[0].floats(), c.inputs[1].floats(), bias.floats());
  for (const std::string& row : rows_of(c.op)) {
    if (!fit_of(row, c).yes) continue;
    rows.insert(row);
    check_values(str(row, ", ", s.name), run_case(row, c)[0].floats(), expected, exact ? 0 : terms(s) * slack(row));
  }
}

void check_data_gradient(const Shape& s, bool exact, std::set<std::string>& rows) {
  Values values(12);
  const Case c = {.op = OpId::convolution_data_gradient,
                  .inputs = {make(values, exact, s.result()), make(values, exact, s.weights())},
                  .outputs = {desc_of(s.source())}, .attributes = s.attributes(), .in_place = {}, .scalars = {}};
  const std::vector<float> g = c.inputs[0].floats(), w = c.inputs[1].floats();
  Reference expected(desc_of(s.source()).count());
  for_each_product(s, [&](std::int64_t ri, std::int64_t wi, std::int64_t si) {
    expected.add(si, static_cast<double>(g[ri]) * static_cast<double>(w[wi]));
  });
  const double count = static_cast<double>(s.kh * s.kw * s.outputs);
  for (const std::string& row : rows_of(c.op)) {
    if (!fit_of(row, c).yes) continue;
    rows.insert(row);
    check_values(str(row, ", ", s.name), run_case(row, c)[0].floats(), expected, exact ? 0 : count * slack(row));
  }
}

void check_weights_gradient(const Shape& s, bool exact, std::set<std::string>& rows) {
  Values values(13);
  Case c = {.op = OpId::convolution_weights_gradient,
            .inputs = {make(values, exact, s.result()), make(values, exact, s.source())},
            .outputs = {desc_of(s.weights())}, .attributes = s.attributes(), .in_place = {}, .scalars = {}};
  if (s.bias) c.outputs.push_back(desc_of({s.outputs}));
  const std::vector<float> g = c.inputs[0].floats(), x = c.inputs[1].floats();
  Reference weights(desc_of(s.weights()).count()), bias(s.outputs);
  for_each_product(s, [&](std::int64_t ri, std::int64_t wi, std::int64_t si) {
    weights.add(wi, static_cast<double>(g[ri]) * static_cast<double>(x[si]));
  });
  for (std::size_t i = 0; i < g.size(); ++i) bias.add(static_cast<std::int64_t>(i) % s.outputs, static_cast<double>(g[i]));
  const double count = static_cast<double>(s.n * s.rows() * s.columns());
  for (const std::string& row : rows_of(c.op)) {
    if (!fit_of(row, c).yes) continue;
    rows.insert(row);
    const std::vector<Tensor> got = run_case(row, c);
    check_values(str(row, ", ", s.name), got[0].floats(), weights, exact ? 0 : count * slack(row));
    if (s.bias) check_values(str(row, " bias, ", s.name), got[1].floats(), bias, exact ? 0 : count);
  }
}

using Check = void (*)(const Shape&, bool, std::set<std::string>&);

/// All shapes with whole numbers and with reals; every row of the operation must have fitted one, and
/// the last row every one.
void check_all(OpId op, Check check) {
  std::set<std::string> tested;
  for (const Shape& shape : shapes()) {
    for (const bool exact : {true, false}) {
      std::set<std::string> rows;
      check(shape, exact, rows);
      CHECK(rows.contains(rows_of(op).back()));
      tested.merge(rows);
    }
  }
  for (const std::string& row : rows_of(op)) {
    if (!CHECK(tested.contains(row))) testing::report_failure(__FILE__, __LINE__, row + " fitted no case");
  }
}

TEST_CASE("cpu convolution: all rows compute what the loops do") { check_all(OpId::convolution, check_forward); }

TEST_CASE("cpu convolution_data_gradient: all rows compute what the loops do") {
  check_all(OpId::convolution_data_gradient, check_data_gradient);
}

TEST_CASE("cpu convolution_weights_gradient: all rows compute what the loops do") {
  check_all(OpId::convolution_weights_gradient, check_weights_gradient);
}

}  // namespace
