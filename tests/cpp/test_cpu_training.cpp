// SPDX-License-Identifier: MIT
// loss, loss_gradient, optimizers and parameter_layout of the CPU backend.
#include "cpu_fixtures.h"
#include "mpsnn/data_source.h"

namespace {

using namespace cpu_tests;

AttributeMap loss_attributes(LossType type, ReductionType reduction, double weight,
                             bool across = false) {
  return {{"loss_type", static_cast<std::int64_t>(type)},
          {"reduction_type", static_cast<std::int64_t>(reduction)},
          {"number_of_classes", std::int64_t{1}},
          {"weight", weight},
          {"label_smoothing", 0.0},
          {"epsilon", 1e-7},
          {"delta", 1.0},
          {"reduce_across_batch", across},
          {"is_weights_gradient", false}};
}

double loss(LossType type, double d) {
  return type == LossType::MEAN_SQUARED_ERROR ? d * d : std::abs(d);
}

double derivative(LossType type, double d) {
  if (type == LossType::MEAN_SQUARED_ERROR) return 2 * d;
  return d > 0 ? 1 : d < 0 ? -1 : 0;
}

constexpr LossType kTypes[] = {LossType::MEAN_ABSOLUTE_ERROR, LossType::MEAN_SQUARED_ERROR};
const std::vector<Dims>& loss_dims() {
  static const std::vector<Dims> list = {{1, 1, 1, 1}, {3, 7, 5, 3}, {2, 40, 30, 3}};
  return list;
}

TEST_CASE("cpu loss: types, reductions, weights, across the batch") {
  for (const Dims& dims : loss_dims())
    for (const LossType type : kTypes)
      for (const ReductionType reduction :
           {ReductionType::NONE, ReductionType::SUM, ReductionType::MEAN})
        for (const bool weighted : {false, true})
          for (const bool across : {false, true}) {
            if (across && reduction == ReductionType::NONE) continue;
            Values values(21);
            const bool full = reduction == ReductionType::NONE;
            Case c = {.op = OpId::loss,
                      .inputs = {values.reals(dims), values.reals(dims)},
                      .outputs = {desc_of(full ? dims : Dims{dims[0], 1, 1, 1})},
                      .attributes = loss_attributes(type, reduction, 0.5, across),
                      .in_place = {},
                      .scalars = {}};
            if (weighted) c.inputs.push_back(values.reals(dims));
            const std::vector<float> y = c.inputs[0].floats(), t = c.inputs[1].floats();
            const std::vector<float> w =
                weighted ? c.inputs[2].floats() : std::vector<float>(y.size(), 1.0F);
            Reference expected(c.outputs[0].count());
            const auto image = static_cast<std::int64_t>(y.size()) / dims[0];
            for (std::size_t i = 0; i < y.size(); ++i) {
              const double value =
                  0.5 * static_cast<double>(w[i]) *
                  loss(type, static_cast<double>(y[i]) - static_cast<double>(t[i]));
              const auto at = static_cast<std::int64_t>(i);
              const double divisor = static_cast<double>(across ? image * dims[0] : image);
              expected.add(full     ? at
                           : across ? 0
                                    : at / image,
                           reduction == ReductionType::MEAN ? value / divisor : value);
            }
            // A term is rounded four times, with cancellation in y - t; the sum is made in double.
            for (double& magnitude : expected.magnitudes) magnitude += 1e-6;
            check_values("loss", run_case("loss/plain", c)[0].floats(), expected, 9);
          }
}

TEST_CASE("cpu loss: whole numbers are exact") {
  const Case c = {
      .op = OpId::loss,
      .inputs = {Tensor({2, 1, 1, 2}, {800, 3, 5, 1}), Tensor({2, 1, 1, 2}, {1000, 3, 4, 3})},
      .outputs = {desc_of({2, 1, 1, 1})},
      .attributes = loss_attributes(LossType::MEAN_SQUARED_ERROR, ReductionType::MEAN, 1),
      .in_place = {},
      .scalars = {}};
  CHECK_EQ(run_case("loss/plain", c)[0].floats(), std::vector<float>({20000, 2.5F}));
}

TEST_CASE(
    "cpu loss_gradient: ignores the reduction; labels; one gradient an image or an element; in "
    "place") {
  for (const Dims& dims : loss_dims())
    for (const LossType type : kTypes)
      for (const bool weighted : {false, true})
        for (const bool labels : {false, true})
          for (const bool an_element : {false, true}) {
            Values values(22);
            const Dims incoming = an_element ? dims : Dims{dims[0], 1, 1, 1};
            Case c = {
                .op = OpId::loss_gradient,
                .inputs = {values.integers(incoming), values.integers(dims), values.integers(dims)},
                .outputs = {desc_of(dims)},
                .attributes = loss_attributes(type, ReductionType::MEAN, 0.5),
                .in_place = {},
                .scalars = {}};
            c.attributes["is_labels_gradient"] = labels;
            if (weighted) c.inputs.push_back(values.integers(dims));
            const std::vector<float> g = c.inputs[0].floats(), y = c.inputs[1].floats(),
                                     t = c.inputs[2].floats();
            const std::vector<float> w =
                weighted ? c.inputs[3].floats() : std::vector<float>(y.size(), 1.0F);
            Reference expected(c.outputs[0].count());
            const std::size_t image = y.size() / static_cast<std::size_t>(dims[0]);
            for (std::size_t i = 0; i < y.size(); ++i) {
              expected.values[i] = static_cast<double>(g[an_element ? i : i / image]) * 0.5 *
                                   static_cast<double>(w[i]) *
                                   derivative(type, static_cast<double>(y[i] - t[i])) *
                                   (labels ? -1 : 1);
            }
            check_values("loss_gradient", run_case("loss_gradient/plain", c)[0].floats(), expected,
                         0);
            for (std::size_t shared = an_element ? 0 : 1; shared < c.inputs.size(); ++shared) {
              c.in_place = {{0, shared}};
              check_values("loss_gradient in place", run_case("loss_gradient/plain", c)[0].floats(),
                           expected, 0);
            }
          }
}

// ---- optimizers
// ------------------------------------------------------------------------------------

struct Regularization {
  bool clips;
  RegularizationType type;
};

AttributeMap optimizer_attributes(const Regularization& r) {
  return {{"learning_rate", 99.0},
          {"gradient_rescale", 0.5},
          {"apply_gradient_clipping", r.clips},
          {"gradient_clip_max", 0.75},
          {"gradient_clip_min", -0.5},
          {"regularization_type", static_cast<std::int64_t>(r.type)},
          {"regularization_scale", 0.125}};
}

/// Clip, rescale, regularise.
double treated(const Regularization& r, double g, double v) {
  const double clipped = r.clips ? std::clamp(g, -0.5, 0.75) : g;
  const double sign = v > 0 ? 1 : v < 0 ? -1 : 0;
  const double added = r.type == RegularizationType::L1   ? 0.125 * sign
                       : r.type == RegularizationType::L2 ? 0.125 * v
                                                          : 0;
  return clipped * 0.5 + added;
}

constexpr Regularization kRegularizations[] = {{false, RegularizationType::NONE},
                                               {true, RegularizationType::NONE},
                                               {false, RegularizationType::L1},
                                               {true, RegularizationType::L2}};

/// Values within a few roundings of single steps.
void check_close(const std::vector<float>& got, const std::vector<double>& expected) {
  REQUIRE(got.size() == expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (!CHECK_NEAR(got[i], expected[i], 1e-6 * (1 + std::abs(expected[i])))) return;
  }
}

TEST_CASE(
    "cpu optimizer_stochastic_gradient_descent: plain, momentum, Nesterov; the version counts") {
  for (const Regularization& r : kRegularizations)
    for (const int kind : {0, 1, 2})  // no momentum, momentum, Nesterov
      for (const std::int64_t count : {1, 1000, 5000}) {
        Values values(23);
        Case c = {.op = OpId::optimizer_stochastic_gradient_descent,
                  .inputs = {values.reals({count}), values.reals({count}), Tensor::counter(41)},
                  .outputs = {desc_of({count}), desc_of({1}, DataType::INT64)},
                  .attributes = optimizer_attributes(r),
                  .in_place = {{0, 0}, {1, 2}},
                  .scalars = {0.25}};
        c.attributes["momentum_scale"] = kind == 0 ? 0.0 : 0.5;
        c.attributes["use_nesterov_momentum"] = kind == 2;
        if (kind != 0) {
          c.inputs.push_back(values.reals({count}));
          c.outputs.push_back(desc_of({count}));
          c.in_place[2] = 3;
        }
        const std::vector<float> v = c.inputs[0].floats(), g = c.inputs[1].floats();
        const std::vector<float> m =
            kind == 0 ? std::vector<float>(v.size()) : c.inputs[3].floats();
        std::vector<double> new_v, new_m;
        for (std::size_t i = 0; i < v.size(); ++i) {
          const double gradient = treated(r, static_cast<double>(g[i]), static_cast<double>(v[i]));
          const double moved =
              0.5 * static_cast<double>(m[i]) + (kind == 2 ? gradient : 0.25 * gradient);
          const double step = kind == 0   ? 0.25 * gradient
                              : kind == 1 ? moved
                                          : 0.25 * (gradient + 0.5 * moved);
          new_v.push_back(static_cast<double>(v[i]) - step);
          new_m.push_back(moved);
        }
        const std::vector<Tensor> got = run_case("optimizer_stochastic_gradient_descent/plain", c);
        check_close(got[0].floats(), new_v);
        CHECK_EQ(got[1].integer(), 42);
        if (kind != 0) check_close(got[2].floats(), new_m);
        c.in_place.clear();
        CHECK(run_case("optimizer_stochastic_gradient_descent/plain", c)[0].data == got[0].data);
      }
}

TEST_CASE("cpu optimizer_adam: bias correction by the time step, which it counts") {
  for (const Regularization& r : kRegularizations)
    for (const std::int64_t step : {0, 1, 1000}) {
      const std::int64_t count = 3000;
      Values values(24);
      Tensor velocity = values.reals({count});
      std::vector<float> squares = velocity.floats();
      for (float& u : squares) u = u * u;
      Case c = {.op = OpId::optimizer_adam,
                .inputs = {values.reals({count}), values.reals({count}), Tensor::counter(1),
                           Tensor::counter(step), values.reals({count}), Tensor({count}, squares)},
                .outputs = {desc_of({count}), desc_of({1}, DataType::INT64),
                            desc_of({1}, DataType::INT64), desc_of({count}), desc_of({count})},
                .attributes = optimizer_attributes(r),
                .in_place = {{0, 0}, {1, 2}, {2, 3}, {3, 4}, {4, 5}},
                .scalars = {0.01}};
      c.attributes["beta1"] = 0.875;
      c.attributes["beta2"] = 0.96875;
      c.attributes["epsilon"] = 1e-3;
      const std::vector<float> v = c.inputs[0].floats(), g = c.inputs[1].floats(),
                               m = c.inputs[4].floats();
      std::vector<double> new_v, new_m, new_u;
      const double t = static_cast<double>(step + 1);
      const double rate = 0.01 * std::sqrt(1 - std::pow(0.96875, t)) / (1 - std::pow(0.875, t));
      for (std::size_t i = 0; i < v.size(); ++i) {
        const double gradient = treated(r, static_cast<double>(g[i]), static_cast<double>(v[i]));
        new_m.push_back(0.875 * static_cast<double>(m[i]) + 0.125 * gradient);
        new_u.push_back(0.96875 * static_cast<double>(squares[i]) + 0.03125 * gradient * gradient);
        new_v.push_back(static_cast<double>(v[i]) -
                        rate * new_m.back() / (std::sqrt(new_u.back()) + 1e-3));
      }
      const std::vector<Tensor> got = run_case("optimizer_adam/plain", c);
      check_close(got[0].floats(), new_v);
      CHECK_EQ(got[1].integer(), 2);
      CHECK_EQ(got[2].integer(), step + 1);
      check_close(got[3].floats(), new_m);
      check_close(got[4].floats(), new_u);
      c.in_place.clear();
      CHECK(run_case("optimizer_adam/plain", c)[0].data == got[0].data);
    }
}

// ---- parameter layouts
// -----------------------------------------------------------------------------

/// A 3 x 3 convolution of 16 channels to 32, whose kernels want layouts.
Case convolution_case() {
  Values values(25);
  const auto one = std::int64_t{1};
  return {.op = OpId::convolution,
          .inputs = {values.integers({1, 8, 8, 16}), values.integers({32, 3, 3, 16})},
          .outputs = {desc_of({1, 8, 8, 32})},
          .attributes = {{"kernel_height", std::int64_t{3}},
                         {"kernel_width", std::int64_t{3}},
                         {"stride_y", one},
                         {"stride_x", one},
                         {"dilation_y", one},
                         {"dilation_x", one},
                         {"groups", one},
                         {"pad_top", one},
                         {"pad_left", one},
                         {"edge_mode", std::int64_t{0}},
                         {"neuron_type", std::int64_t{0}},
                         {"neuron_a", 0.0},
                         {"neuron_b", 0.0},
                         {"neuron_c", 0.0}},
          .in_place = {},
          .scalars = {}};
}

TEST_CASE(
    "cpu parameter_layout: equal versions leave the copy alone, others renew it and its version") {
  const Case convolution = convolution_case();
  for (const std::string& row : rows_of(OpId::convolution)) {
    if (!fit_of(row, convolution).yes) continue;
    const auto layouts = prepare(row, convolution)->input_layouts;
    if (layouts.size() < 2 || !layouts[1]) continue;
    TensorDesc copy = convolution.inputs[1].desc;
    copy.layout = layouts[1];
    Case c = {.op = OpId::parameter_layout,
              .inputs = {convolution.inputs[1], Tensor::counter(3), Tensor::counter(3)},
              .outputs = {copy, desc_of({1}, DataType::INT64)},
              .attributes = {},
              .in_place = {{1, 2}},
              .scalars = {}};
    const std::vector<Tensor> untouched = run_once(*prepare(chosen_row(c), c), c);
    CHECK(std::all_of(untouched[0].data.begin(), untouched[0].data.end(),
                      [](std::byte b) { return b == std::byte{kNanByte}; }));
    CHECK_EQ(untouched[1].integer(), 3);
    c.inputs[1] = Tensor::counter(4);
    const std::vector<Tensor> renewed = run_once(*prepare(chosen_row(c), c), c);
    CHECK(renewed[0].data != untouched[0].data);
    CHECK_EQ(renewed[1].integer(), 4);
    Case passing = c;  // a copy for this run only has no versions
    passing.inputs.resize(1);
    passing.outputs.resize(1);
    passing.in_place.clear();
    CHECK(run_once(*prepare(chosen_row(passing), passing), passing)[0].data == renewed[0].data);
  }
}

TEST_CASE("cpu layouts: the same case has the same name, another order another") {
  const Case convolution = convolution_case();
  std::vector<std::string> names;
  for (const std::string& row : rows_of(OpId::convolution)) {
    if (!fit_of(row, convolution).yes) continue;
    const auto first = prepare(row, convolution)->input_layouts,
               second = prepare(row, convolution)->input_layouts;
    if (first.size() < 2 || !first[1]) continue;
    CHECK_EQ(first[1]->name, second[1]->name);
    CHECK(first[1]->bytes >= convolution.inputs[1].data.size());
    for (const std::string& name : names) CHECK(name != first[1]->name);
    names.push_back(first[1]->name);
  }
  CHECK(!names.empty());
}

}  // namespace
