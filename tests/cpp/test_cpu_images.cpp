// SPDX-License-Identifier: MIT
// pooling, upsampling, concatenation, slice and fill of the CPU backend against plain loops in
// double.
#include <algorithm>
#include <array>

#include "cpu_fixtures.h"

namespace {

using namespace cpu_tests;

Reference zeros(const Dims& dims) { return Reference(desc_of(dims).count()); }

// ---- pooling
// ---------------------------------------------------------------------------------------

struct PoolingShape {
  std::int64_t n, h, w, channels, kh, kw, stride_y, stride_x, pad_top, pad_left, out_h, out_w;
  bool zero;
  Dims source() const { return {n, h, w, channels}; }
  Dims result() const { return {n, out_h, out_w, channels}; }
  AttributeMap attributes() const {
    return {{"kernel_height", kh},
            {"kernel_width", kw},
            {"stride_y", stride_y},
            {"stride_x", stride_x},
            {"dilation_y", std::int64_t{1}},
            {"dilation_x", std::int64_t{1}},
            {"pad_top", pad_top},
            {"pad_left", pad_left},
            {"edge_mode",
             static_cast<std::int64_t>(zero ? ImageEdgeMode::ZERO : ImageEdgeMode::CLAMP)}};
  }
};

const std::vector<PoolingShape>& pooling_shapes() {
  static const std::vector<PoolingShape> list = {
      {2, 8, 6, 32, 2, 2, 2, 2, 0, 0, 4, 3, false}, {1, 128, 64, 5, 2, 2, 2, 2, 0, 0, 64, 32, true},
      {1, 7, 9, 3, 2, 2, 2, 2, 0, 0, 4, 5, false},  {1, 7, 9, 3, 2, 2, 2, 2, 0, 0, 4, 5, true},
      {2, 6, 6, 70, 3, 3, 1, 1, 1, 1, 6, 6, false}, {2, 6, 6, 70, 3, 3, 1, 1, 1, 1, 6, 6, true},
      {1, 9, 8, 4, 3, 2, 2, 3, 1, 0, 5, 3, false},  {1, 5, 5, 8, 2, 2, 2, 2, 1, 1, 3, 3, true},
      {1, 4, 4, 1, 1, 1, 2, 2, 0, 0, 2, 2, false},  {1, 4, 4, 2, 2, 2, 2, 2, -1, -1, 1, 1, false},
      {1, 3, 3, 2, 2, 2, 2, 2, 3, 4, 5, 5, true},   {1, 3, 3, 2, 2, 2, 2, 2, 3, 4, 5, 5, false},
  };
  return list;
}

/// Calls fn(result index, source index or -1 for a zero outside) for every position of every
/// window.
template <class Fn>
void for_each_position(const PoolingShape& s, Fn&& fn) {
  for (std::int64_t n = 0; n < s.n; ++n)
    for (std::int64_t oy = 0; oy < s.out_h; ++oy)
      for (std::int64_t ox = 0; ox < s.out_w; ++ox)
        for (std::int64_t ky = 0; ky < s.kh; ++ky)
          for (std::int64_t kx = 0; kx < s.kw; ++kx) {
            const std::int64_t y = oy * s.stride_y - s.pad_top + ky,
                               x = ox * s.stride_x - s.pad_left + kx;
            const bool inside = y >= 0 && y < s.h && x >= 0 && x < s.w;
            if (!inside && !s.zero) continue;
            for (std::int64_t c = 0; c < s.channels; ++c) {
              fn(((n * s.out_h + oy) * s.out_w + ox) * s.channels + c,
                 inside ? ((n * s.h + y) * s.w + x) * s.channels + c : -1);
            }
          }
}

/// Maxima and, for each, the first position in row order that holds it (-1: outside, or no
/// position).
struct Maxima {
  std::vector<double> value;
  std::vector<std::int64_t> place;
};

Maxima maxima(const PoolingShape& s, const std::vector<float>& x) {
  const auto count = static_cast<std::size_t>(desc_of(s.result()).count());
  Maxima m = {std::vector<double>(count, -1e30), std::vector<std::int64_t>(count, -1)};
  for_each_position(s, [&](std::int64_t r, std::int64_t at) {
    const double value = at < 0 ? 0 : static_cast<double>(x[at]);
    if (value <= m.value[r]) return;
    m.value[r] = value;
    m.place[r] = at;
  });
  for (double& value : m.value) value = value == -1e30 ? 0 : value;
  return m;
}

TEST_CASE("cpu pooling_max and its gradient: windows, edges, the first of equal maxima") {
  bool fast_tested = false;
  for (const PoolingShape& s : pooling_shapes()) {
    Values values(5);
    const Case forward = {.op = OpId::pooling_max,
                          .inputs = {values.integers(s.source())},
                          .outputs = {desc_of(s.result())},
                          .attributes = s.attributes(),
                          .in_place = {},
                          .scalars = {}};
    const Maxima m = maxima(s, forward.inputs[0].floats());
    Reference expected = zeros(s.result());
    expected.values = m.value;
    const Tensor result = run_case("pooling_max/plain", forward)[0];
    check_values("pooling_max", result.floats(), expected, 0);

    const Case backward = {.op = OpId::pooling_max_gradient,
                           .inputs = {values.integers(s.result()), forward.inputs[0], result},
                           .outputs = {desc_of(s.source())},
                           .attributes = s.attributes(),
                           .in_place = {},
                           .scalars = {}};
    const std::vector<float> g = backward.inputs[0].floats();
    Reference gradient = zeros(s.source());
    for (std::size_t i = 0; i < g.size(); ++i) {
      if (m.place[i] >= 0) gradient.values[m.place[i]] += static_cast<double>(g[i]);
    }
    for (const std::string& row : rows_of(OpId::pooling_max_gradient)) {
      if (!fit_of(row, backward).yes) continue;
      fast_tested = fast_tested || row == "pooling_max_gradient/2x2";
      check_values(row, run_case(row, backward)[0].floats(), gradient, 0);
    }
  }
  CHECK(fast_tested);
}

TEST_CASE("cpu pooling_max: NaN is not hidden") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const Dims& result : {Dims{1, 1, 1, 1}, Dims{1, 2, 2, 1}}) {  // both loops
    for (std::size_t at = 0; at < 4; ++at) {
      std::vector<float> x = {1, 2, 3, 4};
      x[at] = nan;
      const PoolingShape s = {
          1, 2, 2, 1, 2, 2, 2, 2, result[1] - 1, result[1] - 1, result[1], result[2], false};
      const Case c = {.op = OpId::pooling_max,
                      .inputs = {Tensor(s.source(), x)},
                      .outputs = {desc_of(s.result())},
                      .attributes = s.attributes(),
                      .in_place = {},
                      .scalars = {}};
      CHECK(std::isnan(run_case("pooling_max/plain", c)[0].floats()[result[1] == 1 ? 0 : at]));
    }
  }
}

// ---- upsampling
// ------------------------------------------------------------------------------------

struct UpsamplingShape {
  Dims source;
  std::int64_t scale_y, scale_x;
  Dims result() const { return {source[0], source[1] * scale_y, source[2] * scale_x, source[3]}; }
};

const std::vector<UpsamplingShape>& upsampling_shapes() {
  static const std::vector<UpsamplingShape> list = {{{2, 5, 7, 32}, 2, 2}, {{1, 1, 1, 3}, 2, 2},
                                                    {{1, 4, 3, 5}, 3, 4},  {{3, 1, 6, 1}, 1, 2},
                                                    {{1, 3, 2, 4}, 1, 1},  {{1, 33, 17, 8}, 2, 5}};
  return list;
}

struct Sample {
  std::int64_t low, high;
  double fraction;
};

Sample sample(std::int64_t p, std::int64_t source, std::int64_t scale, bool bilinear, bool align) {
  if (!bilinear) return {p / scale, p / scale, 0};
  const std::int64_t result = source * scale;
  const double at = !align ? static_cast<double>(p) / static_cast<double>(scale)
                    : result == 1
                        ? 0
                        : static_cast<double>(p * (source - 1)) / static_cast<double>(result - 1);
  const auto low = static_cast<std::int64_t>(at);
  return {std::min(low, source - 1), std::min(low + 1, source - 1), at - static_cast<double>(low)};
}

/// Calls fn(result index, source index, weight).
template <class Fn>
void for_each_weight(const UpsamplingShape& s, bool bilinear, bool align, Fn&& fn) {
  const Dims result = s.result();
  for (std::int64_t n = 0; n < result[0]; ++n)
    for (std::int64_t y = 0; y < result[1]; ++y)
      for (std::int64_t x = 0; x < result[2]; ++x) {
        const Sample v = sample(y, s.source[1], s.scale_y, bilinear, align);
        const Sample h = sample(x, s.source[2], s.scale_x, bilinear, align);
        for (const auto& [sy, wy] :
             {std::pair(v.low, 1 - v.fraction), std::pair(v.high, v.fraction)})
          for (const auto& [sx, wx] :
               {std::pair(h.low, 1 - h.fraction), std::pair(h.high, h.fraction)})
            for (std::int64_t c = 0; c < result[3]; ++c) {
              fn(((n * result[1] + y) * result[2] + x) * result[3] + c,
                 ((n * s.source[1] + sy) * s.source[2] + sx) * s.source[3] + c, wy * wx);
            }
      }
}

TEST_CASE("cpu upsampling and gradients: nearest, bilinear, aligned corners") {
  struct Kind {
    OpId forward, backward;
    bool bilinear, align;
  };
  constexpr std::array<Kind, 3> kinds = {
      Kind{OpId::upsampling_nearest, OpId::upsampling_nearest_gradient, false, false},
      Kind{OpId::upsampling_bilinear, OpId::upsampling_bilinear_gradient, true, false},
      Kind{OpId::upsampling_bilinear, OpId::upsampling_bilinear_gradient, true, true}};
  for (const Kind& kind : kinds) {
    for (const UpsamplingShape& s : upsampling_shapes()) {
      Values values(6);
      AttributeMap attributes = {{"scale_y", s.scale_y}, {"scale_x", s.scale_x}};
      if (kind.bilinear) attributes["align_corners"] = kind.align;
      const Case forward = {.op = kind.forward,
                            .inputs = {values.reals(s.source)},
                            .outputs = {desc_of(s.result())},
                            .attributes = attributes,
                            .in_place = {},
                            .scalars = {}};
      const Case backward = {.op = kind.backward,
                             .inputs = {values.reals(s.result())},
                             .outputs = {desc_of(s.source)},
                             .attributes = attributes,
                             .in_place = {},
                             .scalars = {}};
      const std::vector<float> x = forward.inputs[0].floats(), g = backward.inputs[0].floats();
      Reference result = zeros(s.result()), gradient = zeros(s.source);
      for_each_weight(s, kind.bilinear, kind.align,
                      [&](std::int64_t r, std::int64_t at, double weight) {
                        result.add(r, weight * static_cast<double>(x[at]));
                        gradient.add(at, weight * static_cast<double>(g[r]));
                      });
      const double terms = static_cast<double>(4 * s.scale_y * s.scale_x);
      check_values("upsampling", run_case(chosen_row(forward), forward)[0].floats(), result,
                   kind.bilinear ? 4 : 0);
      check_values("upsampling gradient", run_case(chosen_row(backward), backward)[0].floats(),
                   gradient, terms);
    }
  }
}

TEST_CASE("cpu upsampling_bilinear: twice red, green is red, halfway, green, green") {
  const Case c = {.op = OpId::upsampling_bilinear,
                  .inputs = {Tensor({1, 1, 2, 1}, {1, 0})},
                  .outputs = {desc_of({1, 1, 4, 1})},
                  .attributes = {{"scale_y", std::int64_t{1}},
                                 {"scale_x", std::int64_t{2}},
                                 {"align_corners", false}},
                  .in_place = {},
                  .scalars = {}};
  CHECK_EQ(run_case("upsampling_bilinear/plain", c)[0].floats(),
           std::vector<float>({1, 0.5, 0, 0}));
}

// ---- channels
// --------------------------------------------------------------------------------------

TEST_CASE("cpu concatenation and slice are inverse") {
  for (const Dims& channels :
       {Dims{3}, Dims{3, 3, 3, 3}, Dims{1, 2, 4, 5}, Dims{32, 17}, Dims{64, 64}}) {
    const std::int64_t n = 2, h = 19, w = 23;
    Values values(14);
    Case c = {.op = OpId::concatenation,
              .inputs = {},
              .outputs = {},
              .attributes = {},
              .in_place = {},
              .scalars = {}};
    std::int64_t total = 0;
    for (const std::int64_t count : channels) {
      c.inputs.push_back(values.integers({n, h, w, count}));
      total += count;
    }
    c.outputs = {desc_of({n, h, w, total})};
    const Tensor joined = run_case("concatenation/plain", c)[0];
    const std::vector<float> all = joined.floats();
    std::int64_t offset = 0;
    for (std::size_t i = 0; i < channels.size(); ++i) {
      const std::vector<float> source = c.inputs[i].floats();
      std::size_t wrong = 0;
      for (std::int64_t p = 0; p < n * h * w; ++p)
        for (std::int64_t k = 0; k < channels[i]; ++k) {
          wrong += all[p * total + offset + k] != source[p * channels[i] + k] ? 1U : 0U;
        }
      CHECK_EQ(wrong, 0U);
      const Case slice = {.op = OpId::slice,
                          .inputs = {joined},
                          .outputs = {c.inputs[i].desc},
                          .attributes = {{"channel_offset", offset}},
                          .in_place = {},
                          .scalars = {}};
      CHECK(run_case("slice/plain", slice)[0].data == c.inputs[i].data);
      offset += channels[i];
    }
  }
}

TEST_CASE("cpu fill: one value everywhere") {
  for (const Dims& dims : {Dims{1, 1, 1, 1}, Dims{3, 77, 55, 5}}) {
    const Case c = {.op = OpId::fill,
                    .inputs = {},
                    .outputs = {desc_of(dims)},
                    .attributes = {{"value", 1.5}},
                    .in_place = {},
                    .scalars = {}};
    const std::vector<float> values = run_case("fill/plain", c)[0].floats();
    CHECK(std::all_of(values.begin(), values.end(), [](float v) { return v == 1.5F; }));
  }
}

}  // namespace
