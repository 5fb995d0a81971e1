// SPDX-License-Identifier: MIT
// Every convolution row against plain loops in double, and the rows against one another.
#include <algorithm>
#include <set>

#include "cpu_convolution_shapes.h"

namespace {

using namespace cpu_tests;

/// Calls fn(result index, weight index, source index) for every product of the convolution.
template <class Fn>
void for_each_product(const Shape& s, Fn&& fn) {
  const std::int64_t inputs = s.inputs / s.groups, outputs = s.outputs / s.groups;
  for (std::int64_t n = 0; n < s.n; ++n)
    for (std::int64_t oy = 0; oy < s.out_h; ++oy)
      for (std::int64_t ox = 0; ox < s.out_w; ++ox)
        for (std::int64_t ky = 0; ky < s.kh; ++ky)
          for (std::int64_t kx = 0; kx < s.kw; ++kx) {
            std::int64_t y = oy * s.stride_y - s.pad_top + ky * s.dilation_y;
            std::int64_t x = ox * s.stride_x - s.pad_left + kx * s.dilation_x;
            if (s.edge == ImageEdgeMode::CLAMP) {
              y = std::max<std::int64_t>(0, std::min(y, s.h - 1));
              x = std::max<std::int64_t>(0, std::min(x, s.w - 1));
            }
            if (y < 0 || y >= s.h || x < 0 || x >= s.w) continue;
            for (std::int64_t o = 0; o < s.outputs; ++o)
              for (std::int64_t i = 0; i < inputs; ++i) {
                fn(((n * s.out_h + oy) * s.out_w + ox) * s.outputs + o,
                   ((o * s.kh + ky) * s.kw + kx) * inputs + i,
                   ((n * s.h + y) * s.w + x) * s.inputs + o / outputs * inputs + i);
              }
          }
}

double activate(const Shape& s, double x) {
  if (s.neuron == NeuronType::NONE) return x;
  const double y = x >= 0 ? x : s.a * x;
  return s.neuron == NeuronType::RELUN ? std::min(y, s.b) : y;
}

Reference forward_reference(const Shape& s, const std::vector<float>& x,
                            const std::vector<float>& w, const std::vector<float>& bias) {
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
  Case c = {.op = OpId::convolution,
            .inputs = {make(values, exact, s.source()), make(values, exact, s.weights())},
            .outputs = {desc_of(s.result())},
            .attributes = s.attributes(),
            .in_place = {},
            .scalars = {}};
  const Tensor bias = make(values, exact, {s.outputs});
  if (s.bias) c.inputs.push_back(bias);
  const Reference expected =
      forward_reference(s, c.inputs[0].floats(), c.inputs[1].floats(), bias.floats());
  for (const std::string& row : rows_of(c.op)) {
    if (!fit_of(row, c).yes) continue;
    rows.insert(row);
    check_values(str(row, ", ", s.name), run_case(row, c)[0].floats(), expected,
                 exact ? 0 : terms(s) * slack(row));
  }
}

void check_data_gradient(const Shape& s, bool exact, std::set<std::string>& rows) {
  Values values(12);
  Case c = {.op = OpId::convolution_data_gradient,
            .inputs = {make(values, exact, s.result()), make(values, exact, s.weights())},
            .outputs = {desc_of(s.source())},
            .attributes = s.attributes(),
            .in_place = {},
            .scalars = {}};
  const std::vector<float> g = c.inputs[0].floats(), w = c.inputs[1].floats();
  Reference expected(desc_of(s.source()).count());
  for_each_product(s, [&](std::int64_t ri, std::int64_t wi, std::int64_t si) {
    expected.add(si, static_cast<double>(g[ri]) * static_cast<double>(w[wi]));
  });
  const double count = static_cast<double>(s.kh * s.kw * s.outputs + 1);
  if (s.bias) {  // a transposed convolution's: one a channel of the source
    c.inputs.push_back(make(values, exact, {s.inputs}));
    const std::vector<float> bias = c.inputs[2].floats();
    for (std::size_t i = 0; i < expected.values.size(); ++i)
      expected.add(static_cast<std::int64_t>(i), static_cast<double>(bias[i % bias.size()]));
  }
  for (const std::string& row : rows_of(c.op)) {
    if (!fit_of(row, c).yes) continue;
    rows.insert(row);
    check_values(str(row, ", ", s.name), run_case(row, c)[0].floats(), expected,
                 exact ? 0 : count * slack(row));
  }
}

void check_weights_gradient(const Shape& s, bool exact, std::set<std::string>& rows) {
  Values values(13);
  Case c = {.op = OpId::convolution_weights_gradient,
            .inputs = {make(values, exact, s.result()), make(values, exact, s.source())},
            .outputs = {desc_of(s.weights())},
            .attributes = s.attributes(),
            .in_place = {},
            .scalars = {}};
  if (s.bias) c.outputs.push_back(desc_of({s.outputs}));
  const std::vector<float> g = c.inputs[0].floats(), x = c.inputs[1].floats();
  Reference weights(desc_of(s.weights()).count()), bias(s.outputs);
  for_each_product(s, [&](std::int64_t ri, std::int64_t wi, std::int64_t si) {
    weights.add(wi, static_cast<double>(g[ri]) * static_cast<double>(x[si]));
  });
  for (std::size_t i = 0; i < g.size(); ++i)
    bias.add(static_cast<std::int64_t>(i) % s.outputs, static_cast<double>(g[i]));
  const double count = static_cast<double>(s.n * s.out_h * s.out_w);
  for (const std::string& row : rows_of(c.op)) {
    if (!fit_of(row, c).yes) continue;
    rows.insert(row);
    const std::vector<Tensor> got = run_case(row, c);
    check_values(str(row, ", ", s.name), got[0].floats(), weights, exact ? 0 : count * slack(row));
    if (s.bias) check_values(str(row, " bias, ", s.name), got[1].floats(), bias, exact ? 0 : count);
  }
}

/// The row that a planner takes for each operation of a shape.
std::vector<std::string> chosen_rows(const Shape& s) {
  Values values(14);
  const Tensor source = values.integers(s.source()), weights = values.integers(s.weights());
  const Tensor result = values.integers(s.result());
  std::vector<std::string> rows;
  rows.push_back(
      chosen_row({OpId::convolution, {source, weights}, {result.desc}, s.attributes(), {}, {}}));
  rows.push_back(chosen_row(
      {OpId::convolution_data_gradient, {result, weights}, {source.desc}, s.attributes(), {}, {}}));
  rows.push_back(chosen_row({OpId::convolution_weights_gradient,
                             {result, source},
                             {weights.desc},
                             s.attributes(),
                             {},
                             {}}));
  for (std::string& row : rows) row = row.substr(row.find('/') + 1);
  return rows;
}

using Check = void (*)(const Shape&, bool, std::set<std::string>&);

/// All shapes with whole numbers and with reals; every row of the operation must have fitted one,
/// and the last row every one.
void check_all(OpId op, Check check) {
  std::set<std::string> tested;
  for (const Shape& shape : kShapes) {
    for (const bool exact : {true, false}) {
      std::set<std::string> rows;
      check(shape, exact, rows);
      CHECK(rows.contains(rows_of(op).back()));
      tested.merge(rows);
    }
  }
  for (const std::string& row : rows_of(op)) {
    if (!CHECK(tested.contains(row)))
      testing::report_failure(__FILE__, __LINE__, row + " fitted no case");
  }
}

TEST_CASE("cpu convolution: all rows compute what the loops do") {
  check_all(OpId::convolution, check_forward);
}

TEST_CASE("cpu convolution_data_gradient: all rows compute what the loops do") {
  check_all(OpId::convolution_data_gradient, check_data_gradient);
}

TEST_CASE("cpu convolution_weights_gradient: all rows compute what the loops do") {
  check_all(OpId::convolution_weights_gradient, check_weights_gradient);
}

TEST_CASE("cpu convolution: which rows are taken") {
  using Rows = std::vector<std::string>;
  CHECK_EQ(chosen_rows(shape_named("clamp")), Rows({"plain", "plain", "plain"}));
  CHECK_EQ(chosen_rows(shape_named("negative padding")), Rows({"plain", "plain", "plain"}));
  CHECK_EQ(chosen_rows(shape_named("depthwise 4"))[0], "narrow_depthwise");
  CHECK_EQ(chosen_rows(shape_named("depthwise 4"))[1], "narrow_depthwise");
  CHECK_EQ(chosen_rows(shape_named("32 to 3"))[0], "few_outputs");
  CHECK_EQ(chosen_rows(shape_named("32 to 3"))[2], "direct");
  const std::vector<std::string> rows = rows_of(OpId::convolution);
  if (std::find(rows.begin(), rows.end(), "convolution/vector") != rows.end()) {
    for (const char* name : {"fully connected, one image", "window of the whole of one image"})
      CHECK_EQ(chosen_rows(shape_named(name))[0], "vector");
  }
  if (std::find(rows.begin(), rows.end(), "convolution/onednn") == rows.end())
    testing::skip("built without oneDNN");
  for (const char* name : {"1x1", "5x5 valid", "stride 2", "dilation", "stride and dilation",
                           "asymmetric padding", "end not read", "groups", "depthwise 32"}) {
    if (!CHECK_EQ(chosen_rows(shape_named(name)), Rows({"onednn", "onednn", "onednn"}))) {
      testing::report_failure(__FILE__, __LINE__, name);
    }
  }
  CHECK_EQ(chosen_rows(shape_named("large enough for tiles"))[0], "winograd");
  CHECK_EQ(chosen_rows(shape_named("large enough for tiles"))[1], "winograd");
}

}  // namespace
