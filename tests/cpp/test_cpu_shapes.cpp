// SPDX-License-Identifier: MIT
// Kernels of the CPU backend that move, reduce or average values, against plain loops in double,
// and those that undo one another.
#include <algorithm>
#include <cmath>

#include "cpu_fixtures.h"

namespace {

using namespace cpu_tests;

Reference zeros(const Dims& dims) { return Reference(desc_of(dims).count()); }

Case make_case(OpId op, std::vector<Tensor> inputs, const Dims& result, AttributeMap attributes) {
  return {.op = op,
          .inputs = std::move(inputs),
          .outputs = {desc_of(result)},
          .attributes = std::move(attributes),
          .in_place = {},
          .scalars = {}};
}

std::int64_t index(const Dims& d, std::int64_t n, std::int64_t y, std::int64_t x, std::int64_t c) {
  return ((n * d[1] + y) * d[2] + x) * d[3] + c;
}

template <class Fn>
void for_each(const Dims& d, Fn&& fn) {
  for (std::int64_t n = 0; n < d[0]; ++n)
    for (std::int64_t y = 0; y < d[1]; ++y)
      for (std::int64_t x = 0; x < d[2]; ++x)
        for (std::int64_t c = 0; c < d[3]; ++c) fn(n, y, x, c);
}

// ---- pooling

struct Window {
  Dims source, result;
  std::int64_t kh, kw, sy, sx, top, left;
  ImageEdgeMode mode;
  std::int64_t border;
};

AttributeMap attributes_of(const Window& w) {
  return {{"kernel_height", w.kh},
          {"kernel_width", w.kw},
          {"stride_y", w.sy},
          {"stride_x", w.sx},
          {"dilation_y", std::int64_t{1}},
          {"dilation_x", std::int64_t{1}},
          {"pad_top", w.top},
          {"pad_left", w.left},
          {"edge_mode", static_cast<std::int64_t>(w.mode)},
          {"zero_pad_y", w.border},
          {"zero_pad_x", w.border}};
}

const std::vector<Window>& windows() {
  static const std::vector<Window> list = {
      {{2, 6, 8, 5}, {2, 3, 4, 5}, 2, 2, 2, 2, 0, 0, ImageEdgeMode::CLAMP, 0},
      {{1, 5, 7, 3}, {1, 3, 4, 3}, 3, 3, 2, 2, 1, 1, ImageEdgeMode::CLAMP, 0},
      {{1, 5, 7, 3}, {1, 3, 4, 3}, 3, 3, 2, 2, 1, 1, ImageEdgeMode::CLAMP, 1},
      {{1, 5, 7, 3}, {1, 5, 7, 3}, 3, 2, 1, 1, 1, 1, ImageEdgeMode::ZERO, 0},
      {{3, 4, 6, 70}, {3, 1, 1, 70}, 4, 6, 4, 6, 0, 0, ImageEdgeMode::CLAMP, 0},
      {{2, 40, 33, 2}, {2, 1, 1, 2}, 41, 35, 1, 1, 0, 1, ImageEdgeMode::ZERO, 0},
      {{1, 3, 3, 2}, {1, 5, 5, 2}, 2, 2, 2, 2, 3, 4, ImageEdgeMode::CLAMP, 0},
  };
  return list;
}

/// Calls fn(result index, source index, divisor) for what each window reads.
template <class Fn>
void for_each_read(const Window& w, Fn&& fn) {
  const auto counts = [&](std::int64_t first, std::int64_t k, std::int64_t size) {
    if (w.mode == ImageEdgeMode::ZERO) return k;
    return std::max<std::int64_t>(std::min(first + k, size + w.border) - std::max(first, -w.border),
                                  1);
  };
  for_each(w.result, [&](auto n, auto y, auto x, auto c) {
    const std::int64_t top = y * w.sy - w.top, left = x * w.sx - w.left;
    const double divisor =
        static_cast<double>(counts(top, w.kh, w.source[1]) * counts(left, w.kw, w.source[2]));
    for (std::int64_t r = std::max<std::int64_t>(top, 0); r < std::min(top + w.kh, w.source[1]);
         ++r) {
      for (std::int64_t q = std::max<std::int64_t>(left, 0); q < std::min(left + w.kw, w.source[2]);
           ++q)
        fn(index(w.result, n, y, x, c), index(w.source, n, r, q, c), divisor);
    }
  });
}

TEST_CASE("cpu pooling_average and its gradient: every row, borders, windows outside") {
  bool global_tested = false;
  for (const Window& w : windows()) {
    Values values(51);
    const Tensor source = values.integers(w.source), gradient = values.integers(w.result);
    const std::vector<float> x = source.floats(), g = gradient.floats();
    Reference expected = zeros(w.result), back = zeros(w.source);
    for_each_read(w, [&](std::int64_t to, std::int64_t from, double divisor) {
      expected.add(to, static_cast<double>(x[from]) / divisor);
      back.add(from, static_cast<double>(g[to]) / divisor);
    });
    const Case forward = make_case(OpId::pooling_average, {source}, w.result, attributes_of(w));
    for (const std::string& row : rows_of(OpId::pooling_average)) {
      if (!fit_of(row, forward).yes) continue;
      global_tested = global_tested || row == "pooling_average/global";
      check_values(row, run_case(row, forward)[0].floats(), expected, 1);
    }
    const Case backward =
        make_case(OpId::pooling_average_gradient, {gradient}, w.source, attributes_of(w));
    check_values("pooling_average_gradient",
                 run_case("pooling_average_gradient/plain", backward)[0].floats(), back, 16);
  }
  CHECK(global_tested);
}

TEST_CASE("cpu pooling_l2_norm and its gradient") {
  for (const Window& w : windows()) {
    Values values(52);
    const Tensor source = values.integers(w.source), gradient = values.integers(w.result);
    const std::vector<float> x = source.floats(), g = gradient.floats();
    Reference norms = zeros(w.result), back = zeros(w.source);
    for_each_read(w, [&](std::int64_t to, std::int64_t from, double) {
      norms.add(to, static_cast<double>(x[from]) * static_cast<double>(x[from]));
    });
    std::vector<float> rounded;
    for (double& norm : norms.values) {
      norm = std::sqrt(norm);
      rounded.push_back(static_cast<float>(norm));
    }
    for_each_read(w, [&](std::int64_t to, std::int64_t from, double) {
      if (norms.values[to] != 0)
        back.add(from,
                 static_cast<double>(g[to]) * static_cast<double>(x[from]) / norms.values[to]);
    });
    norms.magnitudes = norms.values;
    const Case forward = make_case(OpId::pooling_l2_norm, {source}, w.result, attributes_of(w));
    check_values("pooling_l2_norm", run_case("pooling_l2_norm/plain", forward)[0].floats(), norms,
                 1);
    const Case backward =
        make_case(OpId::pooling_l2_norm_gradient, {gradient, source, Tensor(w.result, rounded)},
                  w.source, attributes_of(w));
    check_values("pooling_l2_norm_gradient",
                 run_case("pooling_l2_norm_gradient/plain", backward)[0].floats(), back, 16);
  }
}

// ---- extremum

TEST_CASE("cpu extremum and its gradient: every axis, the first of equal values, NaN") {
  for (const Dims& dims :
       {Dims{1, 1, 1, 1}, Dims{2, 5, 7, 3}, Dims{1, 4, 3, 37}, Dims{1, 9, 2, 600}}) {
    for (const std::int64_t axis : {1, 2, 3}) {
      for (const bool takes_maximum : {false, true}) {
        Values values(53);
        const Tensor source = values.integers(dims);
        const std::vector<float> x = source.floats();
        Dims small = dims;
        small[axis] = 1;
        const Tensor gradient = values.integers(small);
        Reference best = zeros(small), at = zeros(small), back = zeros(dims);
        std::vector<bool> seen(best.values.size(), false);
        for_each(dims, [&](auto n, auto y, auto c0, auto c) {
          const std::int64_t place[] = {n, y, c0, c};
          const std::int64_t to =
              index(small, n, axis == 1 ? 0 : y, axis == 2 ? 0 : c0, axis == 3 ? 0 : c);
          const double value = static_cast<double>(x[index(dims, n, y, c0, c)]);
          const bool better =
              !seen[to] || (takes_maximum ? value > best.values[to] : value < best.values[to]);
          if (!better) return;
          seen[to] = true;
          best.values[to] = value;
          at.values[to] = static_cast<double>(place[axis]);
        });
        for_each(dims, [&](auto n, auto y, auto c0, auto c) {
          const std::int64_t place[] = {n, y, c0, c};
          const std::int64_t to =
              index(small, n, axis == 1 ? 0 : y, axis == 2 ? 0 : c0, axis == 3 ? 0 : c);
          if (static_cast<double>(place[axis]) == at.values[to])
            back.add(index(dims, n, y, c0, c), static_cast<double>(gradient.floats()[to]));
        });
        AttributeMap attributes = {
            {"axis", axis}, {"takes_maximum", takes_maximum}, {"takes_index", false}};
        Case forward = make_case(OpId::extremum, {source}, small, attributes);
        const Tensor result = run_case("extremum/plain", forward)[0];
        check_values("extremum", result.floats(), best, 0);
        forward.attributes["takes_index"] = true;
        check_values("index", run_case("extremum/plain", forward)[0].floats(), at, 0);
        const Case backward =
            make_case(OpId::extremum_gradient, {gradient, source, result}, dims, attributes);
        check_values("extremum_gradient", run_case("extremum_gradient/plain", backward)[0].floats(),
                     back, 0);
      }
    }
  }
  Case c = make_case(OpId::extremum, {Values(1).integers({1, 1, 1, 4})}, {1, 1, 1, 1},
                     {{"axis", std::int64_t{0}}, {"takes_maximum", true}, {"takes_index", false}});
  CHECK(!fit_of("extremum/plain", c).yes);
}

// ---- padding, reshape

TEST_CASE("cpu padding: margins of either sign, and the gradient is its transpose") {
  const Dims dims = {2, 4, 5, 3};
  for (std::int64_t mode = 0; mode <= 4; ++mode) {
    for (const std::int64_t before : {-2, 0, 7}) {
      const Dims padded = {2, 4 + before + 3, 5 + before + 2,
                           3 + std::max<std::int64_t>(before, 0)};
      const AttributeMap attributes = {{"before_y", before},
                                       {"before_x", before},
                                       {"before_channel", std::max<std::int64_t>(before, 0)},
                                       {"edge_mode", mode},
                                       {"fill_value", 0.0}};
      Values values(54);
      const Tensor source = values.integers(dims), gradient = values.integers(padded);
      const std::vector<float> forward =
          run_case("padding/plain", make_case(OpId::padding, {source}, padded, attributes))[0]
              .floats();
      const std::vector<float> backward =
          run_case("padding_gradient/plain",
                   make_case(OpId::padding_gradient, {gradient}, dims, attributes))[0]
              .floats();
      // <gradient, pad(source)> = <pad'(gradient), source>, exactly for whole numbers.
      double left = 0, right = 0;
      const std::vector<float> x = source.floats(), g = gradient.floats();
      for (std::size_t i = 0; i < g.size(); ++i)
        left += static_cast<double>(g[i]) * static_cast<double>(forward[i]);
      for (std::size_t i = 0; i < x.size(); ++i)
        right += static_cast<double>(x[i]) * static_cast<double>(backward[i]);
      CHECK_EQ(left, right);
      const std::int64_t margin = std::max<std::int64_t>(before, 0);
      CHECK_EQ(forward[index(padded, 1, margin, margin, margin)],
               x[index(dims, 1, margin - before, margin - before, 0)]);
    }
  }
  Case c =
      make_case(OpId::padding, {Values(1).integers(dims)}, dims, {{"edge_mode", std::int64_t{5}}});
  CHECK(!fit_of("padding/plain", c).yes);
}

TEST_CASE("cpu reshape: a copy, or nothing in place") {
  Case c = make_case(OpId::reshape, {Values(55).integers({2, 3, 4, 5})}, {2, 1, 1, 60}, {});
  CHECK(run_case("reshape/plain", c)[0].floats() == c.inputs[0].floats());
  c.in_place = {{0, 0}};
  CHECK(run_case("reshape/plain", c)[0].floats() == c.inputs[0].floats());
  c.outputs = {desc_of({2, 1, 1, 61})};
  c.in_place.clear();
  CHECK(!fit_of("reshape/plain", c).yes);
}

// ---- rearrangements that undo themselves

TEST_CASE("cpu sub_pixel: channels become pixels and come back") {
  for (const std::int64_t factor : {1, 2, 3}) {
    const Dims small = {2, 3, 4, 5 * factor * factor}, large = {2, 3 * factor, 4 * factor, 5};
    const Tensor source = Values(56).integers(small);
    AttributeMap attributes = {{"factor", factor}, {"is_inverse", false}};
    const Tensor made =
        run_case("sub_pixel/plain", make_case(OpId::sub_pixel, {source}, large, attributes))[0];
    const std::vector<float> x = source.floats(), y = made.floats();
    for_each(large, [&](auto n, auto row, auto column, auto c) {
      const std::int64_t channel = 5 * (factor * (row % factor) + column % factor) + c;
      CHECK_EQ(y[index(large, n, row, column, c)],
               x[index(small, n, row / factor, column / factor, channel)]);
    });
    attributes["is_inverse"] = true;
    CHECK(run_case("sub_pixel/plain", make_case(OpId::sub_pixel, {made}, small, attributes))[0]
              .floats() == x);
  }
}

TEST_CASE("cpu transposed_weights: turned and exchanged, group by group, and back") {
  for (const std::int64_t groups : {1, 2}) {
    const Dims from = {4 * groups, 3, 2, 5}, to = {5 * groups, 3, 2, 4};
    const Tensor weights = Values(57).integers(from);
    const AttributeMap attributes = {{"groups", groups}};
    const Tensor made = run_case("transposed_weights/plain",
                                 make_case(OpId::transposed_weights, {weights}, to, attributes))[0];
    const std::vector<float> w = weights.floats(), t = made.floats();
    for_each(to, [&](auto input, auto i, auto j, auto o) {
      const std::int64_t group = input / 5;
      CHECK_EQ(t[index(to, input, i, j, o)],
               w[index(from, group * 4 + o, 2 - i, 1 - j, input % 5)]);
    });
    CHECK(run_case("transposed_weights/plain",
                   make_case(OpId::transposed_weights, {made}, from, attributes))[0]
              .floats() == w);
  }
}

TEST_CASE("cpu transposed_weights, channel_affine: equal versions leave the result alone") {
  const Dims dims = {2, 1, 1, 2};
  const Tensor weights = Values(59).integers(dims);
  for (const auto& [op, attributes] :
       {std::pair<OpId, AttributeMap>{OpId::transposed_weights, {{"groups", std::int64_t{1}}}},
        {OpId::channel_affine,
         {{"scales", std::vector<double>()},
          {"biases", std::vector<double>()},
          {"binarization", std::int64_t{3}}}}}) {
    Case c = make_case(op, {weights}, dims, attributes);
    const std::string row = str(name_of(op), "/plain");
    const std::vector<float> made = run_case(row, c)[0].floats();
    c.inputs.insert(c.inputs.end(), {Tensor::counter(3), Tensor::counter(3)});
    c.outputs.push_back(desc_of({1}, DataType::INT64));
    c.in_place = {{1, 2}};
    const std::vector<Tensor> untouched = run_once(*prepare(row, c), c);
    CHECK(untouched[0].floats() != made);
    CHECK_EQ(untouched[1].integer(), 3);
    c.inputs[1] = Tensor::counter(4);
    const std::vector<Tensor> renewed = run_once(*prepare(row, c), c);
    CHECK(renewed[0].floats() == made);
    CHECK_EQ(renewed[1].integer(), 4);
  }
}

TEST_CASE("cpu channel_affine: scales, biases and the four ways to be binary") {
  const Dims dims = {1, 2, 3, 4};
  const std::vector<double> scales = {2, -1, 0.5, 1}, biases = {0, 1, -1, 0.25};
  const Tensor source = Values(58).integers(dims);
  const std::vector<float> x = source.floats();
  for (std::int64_t kind = 0; kind <= 4; ++kind) {
    Case c = make_case(OpId::channel_affine, {source}, dims,
                       {{"scales", scales}, {"biases", biases}, {"binarization", kind}});
    Reference expected = zeros(dims);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double y = static_cast<double>(x[i]) * scales[i % 4] + biases[i % 4];
      const double made[] = {y, y < 0 ? -1.0 : 1.0, y < 0 ? 0.0 : 1.0, y > 0 ? 1.0 : -1.0,
                             y > 0 ? 1.0 : 0.0};
      expected.values[i] = made[kind];
    }
    check_values("channel_affine", run_case("channel_affine/plain", c)[0].floats(), expected, 0);
    c.in_place = {{0, 0}};
    check_values("in place", run_case("channel_affine/plain", c)[0].floats(), expected, 0);
    c.attributes["scales"] = std::vector<double>{1.0};
    CHECK(!fit_of("channel_affine/plain", c).yes);
  }
}

}  // namespace
