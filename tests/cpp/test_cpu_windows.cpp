// SPDX-License-Identifier: MIT
// Normalisation by windows, Gram matrices and dropout of the CPU backend: guarded memory, the same
// bits twice, in place where that is allowed; values against plain loops in double.
#include <cmath>

#include "cpu_fixtures.h"

namespace {

using namespace cpu_tests;

const std::vector<Dims>& sizes() {
  static const std::vector<Dims> list = {
      {1, 1, 1, 1}, {2, 5, 7, 3}, {1, 33, 4, 17}, {3, 2, 9, 130}};
  return list;
}

Case case_of(OpId op, std::vector<Tensor> inputs, Dims output, AttributeMap attributes) {
  return {.op = op,
          .inputs = std::move(inputs),
          .outputs = {desc_of(std::move(output))},
          .attributes = std::move(attributes),
          .in_place = {},
          .scalars = {}};
}

double value_at(const Dims& dims, const std::vector<float>& x, std::int64_t n, std::int64_t y,
                std::int64_t column, std::int64_t c) {
  if (y < 0 || y >= dims[1] || column < 0 || column >= dims[2] || c < 0 || c >= dims[3]) return 0;
  return static_cast<double>(
      x[static_cast<std::size_t>(((n * dims[1] + y) * dims[2] + column) * dims[3] + c)]);
}

/// Calls fn(index, n, y, x, c) for all values.
template <class Fn>
void for_each_value(const Dims& dims, Fn fn) {
  std::int64_t i = 0;
  for (std::int64_t n = 0; n < dims[0]; ++n)
    for (std::int64_t y = 0; y < dims[1]; ++y)
      for (std::int64_t x = 0; x < dims[2]; ++x)
        for (std::int64_t c = 0; c < dims[3]; ++c) fn(i++, n, y, x, c);
}

AttributeMap window_attributes(std::int64_t height, std::int64_t width) {
  return {{"kernel_height", height},
          {"kernel_width", width},
          {"kernel_size", width},
          {"alpha", 0.5},
          {"beta", 2.0},
          {"delta", 1.5},
          {"p0", 0.5},
          {"pm", 0.25},
          {"ps", 2.0}};
}

TEST_CASE("cpu windows: forward values") {
  for (const Dims& dims : sizes()) {
    Values values(5);
    const Tensor source = values.reals(dims);
    const std::vector<float> x = source.floats();
    constexpr std::int64_t kHeight = 3, kWidth = 4;
    Reference spatial(desc_of(dims).count()), contrast(desc_of(dims).count()),
        channels(desc_of(dims).count());
    for_each_value(dims, [&](std::int64_t i, std::int64_t n, std::int64_t y, std::int64_t column,
                             std::int64_t c) {
      double sum = 0, squares = 0, across = 0;
      for (std::int64_t dy = -1; dy <= 1; ++dy) {
        for (std::int64_t dx = -2; dx <= 1; ++dx) {
          const double v = value_at(dims, x, n, y + dy, column + dx, c);
          sum += v;
          squares += v * v;
        }
      }
      for (std::int64_t k = -2; k <= 1; ++k)
        across += std::pow(value_at(dims, x, n, y, column, c + k), 2);
      const double own = value_at(dims, x, n, y, column, c), mean = sum / 12;
      spatial.add(i, own / std::pow(1.5 + 0.5 * squares / 12, 2));
      contrast.add(
          i, 0.25 + 2 * (own - 0.5 * mean) / std::pow(1.5 + 0.5 * (squares / 12 - mean * mean), 2));
      channels.add(i, own / std::pow(1.5 + 0.5 * across / 4, 2));
    });
    for (Reference* reference : {&spatial, &contrast, &channels})
      std::fill(reference->magnitudes.begin(), reference->magnitudes.end(), 2.0);
    const AttributeMap attributes = window_attributes(kHeight, kWidth);
    const auto result = [&](OpId op) {
      return run_case(str(name_of(op), "/plain"), case_of(op, {source}, dims, attributes))[0]
          .floats();
    };
    check_values("spatial", result(OpId::spatial_normalization), spatial, 16);
    check_values("contrast", result(OpId::local_contrast_normalization), contrast, 16);
    check_values("channels", result(OpId::cross_channel_normalization), channels, 16);
  }
}

/// The derivative of a forward row by differences: sum over p of g[p] * f(x)[p], along a direction.
TEST_CASE("cpu windows: gradients are the derivatives of the results") {
  const std::pair<OpId, OpId> pairs[] = {
      {OpId::spatial_normalization, OpId::spatial_normalization_gradient},
      {OpId::local_contrast_normalization, OpId::local_contrast_normalization_gradient},
      {OpId::cross_channel_normalization, OpId::cross_channel_normalization_gradient},
  };
  for (const Dims& dims : sizes()) {
    for (const auto& [op, gradient_op] : pairs) {
      Values values(6);
      const Tensor x = values.reals(dims), g = values.reals(dims), way = values.reals(dims);
      const AttributeMap attributes = window_attributes(2, 5);
      const auto along = [&](float step) {
        std::vector<float> moved = x.floats();
        const std::vector<float> direction = way.floats();
        for (std::size_t i = 0; i < moved.size(); ++i) moved[i] += step * direction[i];
        const std::vector<float> y =
            run_case(str(name_of(op), "/plain"), case_of(op, {{dims, moved}}, dims, attributes))[0]
                .floats();
        const std::vector<float> weights = g.floats();
        double total = 0;
        for (std::size_t i = 0; i < y.size(); ++i)
          total += static_cast<double>(y[i]) * static_cast<double>(weights[i]);
        return total;
      };
      const std::vector<float> gradient =
          run_case(str(name_of(gradient_op), "/plain"),
                   case_of(gradient_op, {g, x}, dims, attributes))[0]
              .floats();
      const std::vector<float> direction = way.floats();
      double slope = 0;
      for (std::size_t i = 0; i < gradient.size(); ++i)
        slope += static_cast<double>(gradient[i]) * static_cast<double>(direction[i]);
      constexpr float kStep = 1.0F / 256;
      const double expected = (along(kStep) - along(-kStep)) / (2 * static_cast<double>(kStep));
      const double size = std::sqrt(static_cast<double>(gradient.size()));
      CHECK(std::abs(slope - expected) < 2e-3 * size);
    }
  }
}

TEST_CASE("cpu gram matrix: products of channels, and the gradient") {
  for (const Dims& dims : sizes()) {
    Values values(7);
    const Tensor source = values.integers(dims);
    const std::int64_t channels = dims[3];
    const Dims matrix = {dims[0], 1, channels, channels};
    const Tensor gradient = values.integers(matrix);
    const std::vector<float> x = source.floats(), g = gradient.floats();
    Reference forward(desc_of(matrix).count()), backward(desc_of(dims).count());
    for_each_value(dims, [&](std::int64_t i, std::int64_t n, std::int64_t y, std::int64_t column,
                             std::int64_t c) {
      for (std::int64_t f = 0; f < channels; ++f) {
        const double other = value_at(dims, x, n, y, column, f);
        const std::int64_t at = (n * channels + f) * channels + c,
                           across = (n * channels + c) * channels + f;
        forward.add(at, 0.5 * other * value_at(dims, x, n, y, column, c));
        backward.add(i, 0.5 * other *
                            (static_cast<double>(g[static_cast<std::size_t>(at)]) +
                             static_cast<double>(g[static_cast<std::size_t>(across)])));
      }
    });
    const AttributeMap attributes = {{"alpha", 0.5}};
    check_values(
        "matrix",
        run_case("gram_matrix/plain", case_of(OpId::gram_matrix, {source}, matrix, attributes))[0]
            .floats(),
        forward, 0);
    check_values(
        "gradient",
        run_case("gram_matrix_gradient/plain",
                 case_of(OpId::gram_matrix_gradient, {gradient, source}, dims, attributes))[0]
            .floats(),
        backward, 0);
  }
}

TEST_CASE("cpu dropout: Apple's words, shared masks, in place; the count carries") {
  // Words of seed 1: e3e80670 e50a0ebc 95f222c0 b615aa27 127bee41 ….
  const auto attributes = [](std::int64_t y, std::int64_t x, std::int64_t c) {
    return AttributeMap{{"keep_probability", 0.625},
                        {"seed", std::int64_t{1}},
                        {"mask_stride_y", y},
                        {"mask_stride_x", x},
                        {"mask_stride_channel", c}};
  };
  const Tensor steps({2}, {0, 0});
  Case c = case_of(OpId::dropout, {Tensor({1, 1, 1, 5}, {5, 5, 5, 5, 5}), steps}, {1, 1, 1, 5},
                   attributes(1, 1, 1));
  CHECK_EQ(run_case("dropout/plain", c)[0].floats(), (std::vector<float>{0, 0, 8, 0, 8}));
  c.in_place = {{0, 0}};
  CHECK_EQ(run_case("dropout/plain", c)[0].floats(), (std::vector<float>{0, 0, 8, 0, 8}));
  c = case_of(OpId::dropout, {Tensor({3, 1, 2, 1}, {5, 10, 5, 10, 5, 10}), steps}, {3, 1, 2, 1},
              attributes(0, 0, 0));
  CHECK_EQ(run_case("dropout/plain", c)[0].floats(), (std::vector<float>{0, 0, 0, 0, 8, 16}));
  for (const Dims& dims : sizes()) {
    Values values(8);
    const Tensor x = values.reals(dims);
    for (std::int64_t mask = 0; mask < 8; ++mask) {
      Case shared = case_of(OpId::dropout, {x, steps}, dims,
                            attributes(mask & 1, mask >> 1 & 1, mask >> 2 & 1));
      const std::vector<float> y = run_case("dropout/plain", shared)[0].floats();
      shared.in_place = {{0, 0}};
      CHECK_EQ(run_case("dropout/plain", shared)[0].floats(), y);
    }
  }
  const auto counted = [](float low, float high) {
    return run_case("count_step/plain",
                    case_of(OpId::count_step, {Tensor({2}, {low, high})}, {2}, {}))[0]
        .floats();
  };
  CHECK_EQ(counted(4, 2), (std::vector<float>{5, 2}));
  CHECK_EQ(counted((1 << 20) - 1, 2), (std::vector<float>{0, 3}));
}

}  // namespace
