// SPDX-License-Identifier: MIT
// normalization_statistics, normalization, normalization_sums, normalization_gradient,
// moving_average, softmax and softmax_gradient of the CPU backend against plain loops in double.
#include <cmath>

#include "cpu_fixtures.h"

namespace {

using namespace cpu_tests;

struct Shape {
  Dims dims;
  std::int64_t groups = 0;  // of channels of each image; 0: each channel of the batch
  std::int64_t sets() const { return groups == 0 ? 1 : dims[0]; }
  std::int64_t count() const { return groups == 0 ? dims[3] : groups; }
  Dims statistics() const { return groups == 0 ? Dims{dims[3]} : Dims{dims[0], groups}; }
  std::int64_t at(std::size_t i) const {
    const auto c = static_cast<std::int64_t>(i) % dims[3];
    if (groups == 0) return c;
    const std::int64_t image = static_cast<std::int64_t>(i) / (dims[1] * dims[2] * dims[3]);
    return image * groups + c / (dims[3] / groups);
  }
  double values_a_mean() const {
    return static_cast<double>(desc_of(dims).count() / (sets() * count()));
  }
};

const std::vector<Shape>& shapes() {
  static const std::vector<Shape> list = {
      {{1, 1, 1, 1}},        {{2, 5, 7, 3}},      {{1, 33, 21, 16}},  {{3, 6, 5, 130}},
      {{2, 1, 1, 70}},       {{4, 40, 30, 2}},    {{2, 5, 7, 6}, 6},  {{3, 4, 5, 8}, 2},
      {{2, 31, 17, 12}, 12}, {{1, 3, 3, 96}, 32}, {{5, 1, 1, 10}, 5}, {{2, 9, 9, 65}, 1},
  };
  return list;
}

std::vector<double> doubles(const Tensor& tensor) {
  const std::vector<float> values = tensor.floats();
  return {values.begin(), values.end()};
}

/// Mean and variance of each statistic.
std::pair<std::vector<double>, std::vector<double>> statistics_of(const Shape& s,
                                                                  const std::vector<double>& x) {
  std::vector<double> mean(static_cast<std::size_t>(s.sets() * s.count())), variance(mean.size());
  for (std::size_t i = 0; i < x.size(); ++i) mean[s.at(i)] += x[i] / s.values_a_mean();
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double d = x[i] - mean[s.at(i)];
    variance[s.at(i)] += d * d / s.values_a_mean();
  }
  return {mean, variance};
}

void check_near(const std::string& what, const Tensor& got, const std::vector<double>& expected,
                double size) {
  Reference reference(static_cast<std::int64_t>(expected.size()));
  reference.values = expected;
  std::fill(reference.magnitudes.begin(), reference.magnitudes.end(), size);
  check_values(what, got.floats(), reference, 25);
}

Case case_of(OpId op, std::vector<Tensor> inputs, const std::vector<Dims>& outputs,
             AttributeMap attributes) {
  Case c = {.op = op,
            .inputs = std::move(inputs),
            .outputs = {},
            .attributes = std::move(attributes),
            .in_place = {},
            .scalars = {}};
  for (const Dims& dims : outputs) c.outputs.push_back(desc_of(dims));
  return c;
}

/// Tensor of float32 with these values.
Tensor tensor(const Dims& dims, const std::vector<double>& values) {
  return {dims, std::vector<float>(values.begin(), values.end())};
}

constexpr double kEpsilon = 0.125;

TEST_CASE("cpu normalization: statistics and results, also in place") {
  for (const Shape& s : shapes()) {
    Values values(3);
    const Tensor x = values.reals(s.dims), gamma = values.reals({s.dims[3]}),
                 beta = values.reals({s.dims[3]});
    const auto [mean, variance] = statistics_of(s, doubles(x));
    const std::vector<Tensor> made = run_case(
        "normalization_statistics/plain",
        case_of(OpId::normalization_statistics, {x}, {s.statistics(), s.statistics()}, {}));
    check_near("mean", made[0], mean, 1);
    check_near("variance", made[1], variance, 1);

    std::vector<double> expected = doubles(x);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const std::size_t c = i % static_cast<std::size_t>(s.dims[3]);
      expected[i] = (expected[i] - mean[s.at(i)]) / std::sqrt(variance[s.at(i)] + kEpsilon) *
                        doubles(gamma)[c] +
                    doubles(beta)[c];
    }
    Case c = case_of(OpId::normalization, {x, made[0], made[1], gamma, beta}, {s.dims},
                     {{"epsilon", kEpsilon},
                      {"neuron_type", std::int64_t{0}},
                      {"neuron_a", 0.0},
                      {"neuron_b", 0.0},
                      {"neuron_c", 0.0}});
    check_near("result", run_case("normalization/plain", c)[0], expected, 6);
    c.in_place = {{0, 0}};
    check_near("result in place", run_case("normalization/plain", c)[0], expected, 6);
    c.attributes["neuron_type"] = std::int64_t{1};
    for (double& value : expected) value = std::max(value, 0.0);
    check_near("result of a neuron", run_case("normalization/plain", c)[0], expected, 6);
  }
}

TEST_CASE("cpu normalization: sums and gradients, also in place") {
  for (const Shape& s : shapes()) {
    Values values(4);
    const Tensor g = values.reals(s.dims), x = values.reals(s.dims),
                 gamma = values.reals({s.dims[3]});
    const auto [mean, variance] = statistics_of(s, doubles(x));
    const Tensor means = tensor(s.statistics(), mean), variances = tensor(s.statistics(), variance);
    const bool weighted = s.groups != 0;
    const auto channels = static_cast<std::size_t>(s.dims[3]);
    std::vector<double> projection(mean.size()), total(mean.size()), gamma_gradient(channels),
        beta_gradient(channels), normalized = doubles(x), weight(doubles(x).size());
    const std::vector<double> gradient = doubles(g), scale = doubles(gamma);
    for (std::size_t i = 0; i < gradient.size(); ++i) {
      const std::size_t at = static_cast<std::size_t>(s.at(i));
      normalized[i] = (normalized[i] - mean[at]) / std::sqrt(variance[at] + kEpsilon);
      weight[i] = weighted ? scale[i % channels] : 1;
      projection[at] += weight[i] * gradient[i] * normalized[i];
      total[at] += weight[i] * gradient[i];
      gamma_gradient[i % channels] += gradient[i] * normalized[i];
      beta_gradient[i % channels] += gradient[i];
    }
    std::vector<Tensor> inputs = {g, x, means, variances};
    std::vector<Dims> outputs = {s.statistics(), s.statistics()};
    if (weighted) {
      inputs.push_back(gamma);
      outputs.insert(outputs.end(), 2, {s.dims[3]});
    }
    const double size = static_cast<double>(gradient.size());
    const std::vector<Tensor> sums =
        run_case("normalization_sums/plain",
                 case_of(OpId::normalization_sums, inputs, outputs, {{"epsilon", kEpsilon}}));
    check_near("projection", sums[0], projection, 3 * std::sqrt(size));
    check_near("total", sums[1], total, 3 * std::sqrt(size));
    if (weighted) {
      check_near("gamma's gradient", sums[2], gamma_gradient, 3 * std::sqrt(size));
      check_near("beta's gradient", sums[3], beta_gradient, 3 * std::sqrt(size));
    }

    std::vector<double> expected(gradient.size()), scaled(gradient.size());
    for (std::size_t i = 0; i < gradient.size(); ++i) {
      const std::size_t at = static_cast<std::size_t>(s.at(i));
      const double inverse = 1 / std::sqrt(variance[at] + kEpsilon);
      const double outer = weighted ? inverse : inverse * scale[i % channels];
      expected[i] = outer * (weight[i] * gradient[i] -
                             (total[at] + normalized[i] * projection[at]) / s.values_a_mean());
      scaled[i] = inverse * scale[i % channels] * gradient[i];
    }
    Case c =
        case_of(OpId::normalization_gradient, {g, x, means, variances, gamma, sums[0], sums[1]},
                {s.dims}, {{"epsilon", kEpsilon}});
    check_near("gradient", run_case("normalization_gradient/plain", c)[0], expected, 12);
    for (const std::size_t operand : {0, 1}) {
      c.in_place = {{0, operand}};
      check_near("gradient in place", run_case("normalization_gradient/plain", c)[0], expected, 12);
    }
    c.in_place = {};
    c.inputs.resize(5);
    check_near("gradient of constants", run_case("normalization_gradient/plain", c)[0], scaled, 6);
  }
}

TEST_CASE("cpu moving average") {
  const Case c = case_of(OpId::moving_average, {Tensor({3}, {1, 2, -4}), Tensor({3}, {5, 2, 4})},
                         {{3}}, {{"momentum", 0.75}});
  CHECK_EQ(run_case("moving_average/plain", c)[0].floats(), (std::vector<float>{2, 2, -2}));
}

TEST_CASE("cpu softmax: formula and gradient, also in place") {
  const std::vector<Dims> list = {{1, 1, 1, 1},  {2, 3, 5, 1},   {1, 1, 3, 15},
                                  {3, 7, 5, 16}, {1, 40, 41, 3}, {2, 1, 1, 1000}};
  for (const Dims& dims : list) {
    for (const bool logarithm : {false, true}) {
      Values values(9);
      const Tensor x = values.integers(dims), g = values.reals(dims);
      const auto channels = static_cast<std::size_t>(dims[3]);
      const std::vector<double> source = doubles(x), gradient = doubles(g);
      std::vector<double> expected(source.size()), slopes(source.size());
      for (std::size_t p = 0; p < source.size(); p += channels) {
        double sum = 0, product = 0, total = 0;
        for (std::size_t c = p; c < p + channels; ++c) sum += std::exp(source[c]);
        for (std::size_t c = p; c < p + channels; ++c) {
          const double share = std::exp(source[c]) / sum;
          expected[c] = logarithm ? source[c] - std::log(sum) : share;
          product += share * gradient[c];
          total += gradient[c];
        }
        for (std::size_t c = p; c < p + channels; ++c) {
          const double share = std::exp(source[c]) / sum;
          slopes[c] = logarithm ? gradient[c] - share * total : share * (gradient[c] - product);
        }
      }
      Case forward = case_of(OpId::softmax, {x}, {dims}, {{"logarithm", logarithm}});
      const Tensor y = run_case("softmax/plain", forward)[0];
      check_near("softmax", y, expected, logarithm ? 8 : 1);
      forward.in_place = {{0, 0}};
      check_near("softmax in place", run_case("softmax/plain", forward)[0], expected,
                 logarithm ? 8 : 1);
      Case backward = case_of(OpId::softmax_gradient, {g, y}, {dims}, {{"logarithm", logarithm}});
      check_near("gradient", run_case("softmax_gradient/plain", backward)[0], slopes, 4);
      for (const std::size_t operand : {0, 1}) {
        backward.in_place = {{0, operand}};
        check_near("gradient in place", run_case("softmax_gradient/plain", backward)[0], slopes, 4);
      }
    }
  }
}

TEST_CASE("cpu softmax: large numbers do not overflow, tiny shares go to zero gradually") {
  const Case c = case_of(OpId::softmax, {Tensor({1, 1, 2, 3}, {1e30F, 0, -1e30F, 0, -95, -104})},
                         {{1, 1, 2, 3}}, {{"logarithm", false}});
  const std::vector<float> y = run_case("softmax/plain", c)[0].floats();
  CHECK_EQ(std::vector<float>(y.begin(), y.begin() + 4), (std::vector<float>{1, 0, 0, 1}));
  CHECK(y[4] > 0 && y[4] < std::numeric_limits<float>::min());
  CHECK_EQ(y[5], 0.0F);
}

}  // namespace
