// SPDX-License-Identifier: MIT
// neuron, addition and their gradients of the CPU backend against plain loops in double.
#include <algorithm>
#include <cmath>

#include "cpu_fixtures.h"

namespace {

using namespace cpu_tests;

Reference zeros(const Dims& dims) { return Reference(desc_of(dims).count()); }

// ---- neuron
// ----------------------------------------------------------------------------------------

AttributeMap neuron_attributes(NeuronType type, double a, double b,
                               std::vector<double> slopes = {}) {
  return {{"neuron_type", static_cast<std::int64_t>(type)},
          {"neuron_a", a},
          {"neuron_b", b},
          {"neuron_c", 0.0},
          {"neuron_parameters", std::move(slopes)}};
}

double neuron(NeuronType type, double a, double b, double x) {
  const double y = x >= 0 ? x : a * x;
  return type == NeuronType::RELUN ? std::min(y, b) : y;
}

double slope(NeuronType type, double a, double b, double x) {
  if (type == NeuronType::RELUN && (x >= 0 ? x : a * x) >= b) return 0;
  return x > 0 ? 1 : a;
}

struct NeuronShape {
  NeuronType type;
  double a, b;
  Dims dims;
};

const std::vector<NeuronShape>& neuron_shapes() {
  static const std::vector<NeuronShape> list = {
      {NeuronType::RELU, 0, 0, {2, 5, 7, 3}},       {NeuronType::RELU, 0.25, 0, {1, 1, 1, 1}},
      {NeuronType::RELU, 0.125, 0, {3, 64, 65, 5}}, {NeuronType::RELUN, 0, 2, {1, 9, 9, 17}},
      {NeuronType::RELUN, 0.5, 1, {2, 3, 4, 8}},    {NeuronType::RELUN, 1, 2, {1, 8, 8, 4}},
      {NeuronType::RELUN, -1, 2, {1, 6, 7, 5}},     {NeuronType::PRELU, 0, 0, {2, 6, 5, 4}},
      {NeuronType::PRELU, 0, 0, {1, 40, 50, 33}},   {NeuronType::RELU, -0.5, 0, {1, 4, 4, 4}},
      {NeuronType::RELUN, 0.5, -1, {1, 5, 5, 4}},
  };
  return list;
}

std::vector<double> slopes_for(const NeuronShape& s) {
  std::vector<double> slopes;
  if (s.type == NeuronType::PRELU) {
    for (std::int64_t c = 0; c < s.dims[3]; ++c)
      slopes.push_back(static_cast<double>(c % 4) * 0.25);
  }
  return slopes;
}

TEST_CASE("cpu neuron: formula, also in place") {
  for (const NeuronShape& s : neuron_shapes()) {
    const std::vector<double> slopes = slopes_for(s);
    Case c = {.op = OpId::neuron,
              .inputs = {Values(3).integers(s.dims)},
              .outputs = {desc_of(s.dims)},
              .attributes = neuron_attributes(s.type, s.a, s.b, slopes),
              .in_place = {},
              .scalars = {}};
    const std::vector<float> x = c.inputs[0].floats();
    Reference expected = zeros(s.dims);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double a = slopes.empty() ? s.a : slopes[i % slopes.size()];
      expected.values[i] = neuron(s.type, a, s.b, static_cast<double>(x[i]));
    }
    check_values("neuron", run_case("neuron/plain", c)[0].floats(), expected, 0);
    c.in_place = {{0, 0}};
    check_values("neuron in place", run_case("neuron/plain", c)[0].floats(), expected, 0);
  }
}

TEST_CASE("cpu neuron_gradient: from the source and from the result, also in place") {
  for (const NeuronShape& s : neuron_shapes()) {
    for (const bool from_result : {false, true}) {
      if (from_result && s.a < 0) continue;
      const std::vector<double> slopes = slopes_for(s);
      Values values(4);
      const std::vector<float> x = values.integers(s.dims).floats();
      const Tensor gradient = values.integers(s.dims);
      const std::vector<float> g = gradient.floats();
      Reference expected = zeros(s.dims);
      std::vector<float> operand = x;
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double a = slopes.empty() ? s.a : slopes[i % slopes.size()],
                     value = static_cast<double>(x[i]);
        expected.values[i] = static_cast<double>(g[i]) * slope(s.type, a, s.b, value);
        if (from_result) operand[i] = static_cast<float>(neuron(s.type, a, s.b, value));
      }
      Case c = {.op = OpId::neuron_gradient,
                .inputs = {gradient, Tensor(s.dims, operand)},
                .outputs = {desc_of(s.dims)},
                .attributes = neuron_attributes(s.type, s.a, s.b, slopes),
                .in_place = {},
                .scalars = {}};
      c.attributes["from_result"] = from_result;
      for (const std::size_t shared : {2U, 0U, 1U}) {
        c.in_place.clear();
        if (shared < 2) c.in_place[0] = shared;
        check_values(str("neuron_gradient ", from_result),
                     run_case("neuron_gradient/plain", c)[0].floats(), expected, 0);
      }
    }
  }
}

TEST_CASE("cpu neuron: NaN stays NaN, infinities keep their sign or become zero") {
  const float inf = std::numeric_limits<float>::infinity(),
              nan = std::numeric_limits<float>::quiet_NaN();
  const Case c = {.op = OpId::neuron,
                  .inputs = {Tensor({1, 1, 1, 4}, {nan, inf, -inf, -0.0F})},
                  .outputs = {desc_of({1, 1, 1, 4})},
                  .attributes = neuron_attributes(NeuronType::RELU, 0, 0),
                  .in_place = {},
                  .scalars = {}};
  const std::vector<float> y = run_case("neuron/plain", c)[0].floats();
  CHECK(std::isnan(y[0]));
  CHECK_EQ(y[1], inf);
  CHECK_EQ(y[2], 0.0F);
  CHECK_EQ(y[3], 0.0F);
}

double smooth(NeuronType type, double x) {
  switch (type) {
    case NeuronType::LINEAR:
      return 1.5 * x + 0.5;
    case NeuronType::SIGMOID:
      return 1 / (1 + std::exp(-x));
    case NeuronType::HARD_SIGMOID:
      return std::clamp(1.5 * x + 0.5, 0.0, 1.0);
    case NeuronType::TANH:
      return 1.5 * std::tanh(0.5 * x);
    case NeuronType::ABSOLUTE:
      return std::abs(x);
    case NeuronType::SOFT_PLUS:
      return 1.5 * std::log1p(std::exp(0.5 * x));
    case NeuronType::SOFT_SIGN:
      return x / (1 + std::abs(x));
    case NeuronType::ELU:
      return x >= 0 ? x : 1.5 * std::expm1(x);
    case NeuronType::POWER:
      return std::pow(1.5 * x + 0.5, 5);
    case NeuronType::EXPONENTIAL:
      return std::pow(5, 1.5 * x + 0.5);
    case NeuronType::LOGARITHM:
      return std::log(1.5 * x + 0.5) / std::log(5);
    case NeuronType::GELU:
      return 0.5 * x * std::erfc(-x * std::sqrt(0.5));
    default:
      return x;
  }
}

TEST_CASE("cpu neuron: every function to a few units in the last place, and its derivative") {
  const Dims dims = {1, 3, 41, 5};
  for (int number = static_cast<int>(NeuronType::LINEAR);
       number <= static_cast<int>(NeuronType::GELU); ++number) {
    const auto type = static_cast<NeuronType>(number);
    if (type == NeuronType::PRELU || type == NeuronType::RELUN) continue;
    std::vector<float> x(static_cast<std::size_t>(desc_of(dims).count())), ones(x.size(), 1.0F);
    for (std::size_t i = 0; i < x.size(); ++i)  // no corner of a function among them
      x[i] = (static_cast<float>(i) - (type == NeuronType::LOGARITHM ? 1 : 300)) / 77.0F + 0.003F;
    AttributeMap attributes = neuron_attributes(type, 1.5, 0.5);
    attributes["neuron_c"] = 5.0;
    Case c = {.op = OpId::neuron,
              .inputs = {Tensor(dims, x)},
              .outputs = {desc_of(dims)},
              .attributes = attributes,
              .in_place = {},
              .scalars = {}};
    Reference expected = zeros(dims), slopes = zeros(dims);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double at = static_cast<double>(x[i]), step = 1e-5;
      expected.values[i] = smooth(type, at);
      // What rounding the argument does counts, too: it is up to 7 here, times 5 in powers.
      expected.magnitudes[i] = std::abs(expected.values[i]) + 1e-3;
      slopes.values[i] = (smooth(type, at + step) - smooth(type, at - step)) / (2 * step);
      slopes.magnitudes[i] = std::abs(slopes.values[i]) + 0.1;
    }
    const std::string name = str("neuron type ", number);
    const std::vector<float> y = run_case("neuron/plain", c)[0].floats();
    check_values(name, y, expected, 400);
    c.in_place = {{0, 0}};
    check_values(name + " in place", run_case("neuron/plain", c)[0].floats(), expected, 400);
    for (const bool from_result : {false, true}) {
      Case back = {.op = OpId::neuron_gradient,
                   .inputs = {Tensor(dims, ones), Tensor(dims, from_result ? y : x)},
                   .outputs = {desc_of(dims)},
                   .attributes = attributes,
                   .in_place = {},
                   .scalars = {}};
      back.attributes["from_result"] = from_result;
      if (from_result && !fit_of("neuron_gradient/plain", back).yes) continue;
      // From the result digits are lost where the function is flat: a few of the largest slope's.
      if (from_result) {
        for (double& size : slopes.magnitudes) size += 4;
      }
      check_values(str(name, " gradient ", from_result),
                   run_case("neuron_gradient/plain", back)[0].floats(), slopes, 400);
    }
  }
}

// ---- addition
// --------------------------------------------------------------------------------------

AttributeMap addition_attributes(double p, double s, double bias, double low, double high) {
  return {{"primary_scale", p},
          {"secondary_scale", s},
          {"bias", bias},
          {"minimum_value", low},
          {"maximum_value", high}};
}

constexpr double kLargest = std::numeric_limits<float>::max();

std::int64_t broadcast_index(std::int64_t index, const Dims& result, const Dims& operand) {
  std::int64_t at = 0, step = 1;
  for (std::size_t i = result.size(); i-- > 0;) {
    if (operand[i] != 1) at += index % result[i] * step;
    index /= result[i];
    step *= operand[i];
  }
  return at;
}

TEST_CASE("cpu addition: every broadcast of either operand, scales, bias, clamping") {
  const Dims full = {3, 4, 5, 6};
  for (int mask = 0; mask < 256; ++mask) {
    Dims p = full, s = full, result = full;
    for (std::size_t i = 0; i < 4; ++i) {
      if ((mask >> i & 1) != 0) p[i] = 1;
      if ((mask >> (4 + i) & 1) != 0) s[i] = 1;
      result[i] = std::max(p[i], s[i]);
    }
    Values values(7);
    const bool clamps = mask % 3 == 0;
    const Case c = {.op = OpId::addition,
                    .inputs = {values.integers(p), values.integers(s)},
                    .outputs = {desc_of(result)},
                    .attributes = addition_attributes(2, -0.5, 1, clamps ? -3 : -kLargest,
                                                      clamps ? 4 : kLargest),
                    .in_place = {},
                    .scalars = {}};
    const std::vector<float> x = c.inputs[0].floats(), y = c.inputs[1].floats();
    Reference expected = zeros(result);
    for (std::int64_t i = 0; i < desc_of(result).count(); ++i) {
      const double sum = 2 * static_cast<double>(x[broadcast_index(i, result, p)]) -
                         0.5 * static_cast<double>(y[broadcast_index(i, result, s)]) + 1;
      expected.values[i] = clamps ? std::clamp(sum, -3.0, 4.0) : sum;
    }
    check_values(str("addition ", mask), run_case("addition/plain", c)[0].floats(), expected, 0);
  }
}

TEST_CASE("cpu addition: in place on either operand; arrays of any rank") {
  for (const Dims& dims : {Dims{2, 3, 5, 7}, Dims{4097}, Dims{64, 3, 3, 17}, Dims{3, 5}}) {
    Values values(8);
    Case c = {.op = OpId::addition,
              .inputs = {values.integers(dims), values.integers(dims)},
              .outputs = {desc_of(dims)},
              .attributes = addition_attributes(1, 1, 0, -kLargest, kLargest),
              .in_place = {},
              .scalars = {}};
    const std::vector<float> x = c.inputs[0].floats(), y = c.inputs[1].floats();
    Reference expected = zeros(dims);
    for (std::size_t i = 0; i < x.size(); ++i)
      expected.values[i] = static_cast<double>(x[i] + y[i]);
    for (const std::size_t shared : {0U, 1U}) {
      c.in_place = {{0, shared}};
      check_values("addition in place", run_case("addition/plain", c)[0].floats(), expected, 0);
    }
  }
  const Dims dims = {2, 3, 4, 5}, row = {1, 1, 1, 5};
  Values values(9);
  Case c = {.op = OpId::addition,
            .inputs = {values.integers(row), values.integers(dims)},
            .outputs = {desc_of(dims)},
            .attributes = addition_attributes(1, 1, 0, -1, 1),
            .in_place = {{0, 1}},
            .scalars = {}};
  const std::vector<float> x = c.inputs[0].floats(), y = c.inputs[1].floats();
  Reference expected = zeros(dims);
  for (std::size_t i = 0; i < y.size(); ++i)
    expected.values[i] = std::clamp(static_cast<double>(x[i % 5] + y[i]), -1.0, 1.0);
  check_values("broadcast in place", run_case("addition/plain", c)[0].floats(), expected, 0);
}

TEST_CASE("cpu addition: without limits infinities and NaN pass, with limits NaN does") {
  const float inf = std::numeric_limits<float>::infinity(),
              nan = std::numeric_limits<float>::quiet_NaN();
  Case c = {.op = OpId::addition,
            .inputs = {Tensor({3}, {inf, -inf, nan}), Tensor({3}, {1, 1, 1})},
            .outputs = {desc_of({3})},
            .attributes = addition_attributes(1, 1, 0, -kLargest, kLargest),
            .in_place = {},
            .scalars = {}};
  const std::vector<float> open = run_case("addition/plain", c)[0].floats();
  CHECK_EQ(open[0], inf);
  CHECK_EQ(open[1], -inf);
  CHECK(std::isnan(open[2]));
  c.attributes = addition_attributes(1, 1, 0, -2, 2);
  const std::vector<float> limited = run_case("addition/plain", c)[0].floats();
  CHECK_EQ(limited[0], 2.0F);
  CHECK_EQ(limited[1], -2.0F);
  CHECK(std::isnan(limited[2]));
}

TEST_CASE("cpu addition_gradient: sums over every set of broadcast dimensions") {
  for (const Dims& full : {Dims{3, 4, 5, 6}, Dims{2, 33, 9, 70}}) {
    for (int mask = 0; mask < 16; ++mask) {
      Dims result = full;
      for (std::size_t i = 0; i < 4; ++i) {
        if ((mask >> i & 1) != 0) result[i] = 1;
      }
      Values values(10);
      for (const bool exact : {true, false}) {
        const Case c = {.op = OpId::addition_gradient,
                        .inputs = {exact ? values.integers(full) : values.reals(full)},
                        .outputs = {desc_of(result)},
                        .attributes = {{"scale", -2.0}},
                        .in_place = {},
                        .scalars = {}};
        const std::vector<float> g = c.inputs[0].floats();
        Reference expected = zeros(result);
        for (std::size_t i = 0; i < g.size(); ++i) {
          expected.add(broadcast_index(static_cast<std::int64_t>(i), full, result),
                       -2 * static_cast<double>(g[i]));
        }
        // Sums are made in double: only the last rounding is float's.
        check_values(str("addition_gradient ", mask),
                     run_case("addition_gradient/plain", c)[0].floats(), expected, exact ? 0 : 1);
      }
    }
  }
}

// ---- multiplication, division, comparison

double combined(OpId op, double p, double s) {
  if (op == OpId::multiplication) return 2 * p * s + 1;
  if (op == OpId::division) return 4 * p / (0.5 * s) + 1;
  return p < s ? 1 : 0;
}

TEST_CASE("cpu multiplication, division, comparison: every broadcast, in place on either") {
  const Dims full = {2, 3, 4, 5};
  for (const OpId op : {OpId::multiplication, OpId::division, OpId::comparison}) {
    for (int mask = 0; mask < 256; ++mask) {
      Dims p = full, s = full, result = full;
      for (std::size_t i = 0; i < 4; ++i) {
        if ((mask >> i & 1) != 0) p[i] = 1;
        if ((mask >> (4 + i) & 1) != 0) s[i] = 1;
        result[i] = std::max(p[i], s[i]);
      }
      Values values(9);
      std::vector<float> y = values.integers(s).floats();
      for (float& value : y) value = value == 0 ? 4 : std::exp2(value);  // exact quotients
      const bool divides = op == OpId::division;
      Case c = {.op = op,
                .inputs = {values.integers(p), Tensor(s, y)},
                .outputs = {desc_of(result)},
                .attributes =
                    addition_attributes(divides ? 4 : 2, divides ? 0.5 : 1, 1, -kLargest, kLargest),
                .in_place = {},
                .scalars = {}};
      c.attributes["comparison_type"] = std::int64_t{2};
      c.attributes["threshold"] = 0.0;
      const std::vector<float> x = c.inputs[0].floats();
      Reference expected = zeros(result);
      for (std::int64_t i = 0; i < desc_of(result).count(); ++i) {
        expected.values[i] = combined(op, static_cast<double>(x[broadcast_index(i, result, p)]),
                                      static_cast<double>(y[broadcast_index(i, result, s)]));
      }
      const std::string row = rows_of(op).front();
      check_values(str(row, " ", mask), run_case(row, c)[0].floats(), expected, 0);
      for (const std::size_t shared : {0U, 1U}) {
        if (c.inputs[shared].desc.dims != result) continue;
        c.in_place = {{0, shared}};
        check_values(str(row, " in place ", mask), run_case(row, c)[0].floats(), expected, 0);
      }
    }
  }
}

}  // namespace
