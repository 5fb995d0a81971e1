// SPDX-License-Identifier: MIT
// float16 on the CPU: conversions bit by bit, and the rows that run float32's kernels on it.
#include <array>
#include <bit>
#include <cmath>

#include "backend/cpu/half.h"
#include "cpu_fixtures.h"

using namespace cpu_tests;
using backend::cpu::Half;

namespace {

/// The value of a float16, from the definition of the format.
double value_of(Half half) {
  const int exponent = (half >> 10) & 31, fraction = half & 1023;
  const double sign = (half & 0x8000) != 0 ? -1 : 1;
  if (exponent == 31)
    return fraction == 0 ? sign * std::numeric_limits<double>::infinity() : std::nan("");
  return exponent == 0 ? sign * std::ldexp(fraction, -24)
                       : sign * std::ldexp(1024 + fraction, exponent - 25);
}

std::vector<Half> every_half() {
  std::vector<Half> halves(65536);
  for (std::size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<Half>(i);
  return halves;
}

/// The same by both paths, bit for bit.
std::vector<float> widened(const std::vector<Half>& halves) {
  std::vector<float> fast(halves.size()), plain(halves.size());
  const auto count = static_cast<std::int64_t>(halves.size());
  backend::cpu::halves_to_floats(halves.data(), fast.data(), count);
  backend::cpu::halves_to_floats_plain(halves.data(), plain.data(), count);
  CHECK(std::memcmp(fast.data(), plain.data(), fast.size() * sizeof(float)) == 0);
  return fast;
}

std::vector<Half> narrowed(const std::vector<float>& floats) {
  std::vector<Half> fast(floats.size()), plain(floats.size());
  const auto count = static_cast<std::int64_t>(floats.size());
  backend::cpu::floats_to_halves(floats.data(), fast.data(), count);
  backend::cpu::floats_to_halves_plain(floats.data(), plain.data(), count);
  CHECK(fast == plain);
  return fast;
}

Half narrowed(float value) { return narrowed(std::vector<float>(1, value))[0]; }

Tensor halves_of(const Tensor& tensor) {
  Tensor half;
  half.desc = desc_of(tensor.desc.dims, DataType::FLOAT16);
  const std::vector<Half> values = narrowed(tensor.floats());
  half.data.resize(values.size() * sizeof(Half));
  std::memcpy(half.data.data(), values.data(), half.data.size());
  return half;
}

std::vector<float> floats_of(const Tensor& half) {
  std::vector<Half> values(half.data.size() / sizeof(Half));
  std::memcpy(values.data(), half.data.data(), half.data.size());
  return widened(values);
}

}  // namespace

TEST_CASE("float16: every value becomes the float32 that it is, and comes back") {
  const std::vector<Half> halves = every_half();
  const std::vector<float> floats = widened(halves);
  const std::vector<Half> back = narrowed(floats);
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < halves.size(); ++i) {
    const double value = value_of(halves[i]);
    const bool is_nan = std::isnan(value);
    const bool equal = is_nan ? std::isnan(floats[i]) : static_cast<double>(floats[i]) == value;
    const bool sign = std::signbit(floats[i]) == ((halves[i] & 0x8000) != 0);
    const auto quiet = static_cast<Half>(halves[i] | (is_nan ? 0x200 : 0));
    if (!equal || !sign || back[i] != quiet) ++wrong;
  }
  CHECK_EQ(wrong, std::size_t{0});
}

TEST_CASE("float16: what lies between two values goes to the nearer, ties to the even one") {
  std::size_t wrong = 0;
  std::vector<float> between;
  std::vector<Half> expected;
  for (Half low = 0; low < 0x7bff; ++low) {
    const auto high = static_cast<Half>(low + 1);
    const auto middle = static_cast<float>((value_of(low) + value_of(high)) / 2);
    const Half even = (low & 1) == 0 ? low : high;
    for (const auto& [value, half] :
         {std::pair(middle, even), std::pair(std::nextafter(middle, 0.0F), low),
          std::pair(std::nextafter(middle, 1e9F), high)}) {
      between.push_back(value), expected.push_back(half);
      between.push_back(-value), expected.push_back(static_cast<Half>(half | 0x8000));
    }
  }
  const std::vector<Half> got = narrowed(between);
  for (std::size_t i = 0; i < got.size(); ++i) wrong += got[i] != expected[i] ? 1 : 0;
  CHECK_EQ(wrong, std::size_t{0});
}

TEST_CASE("float16: large values become infinity, small ones zero with their sign") {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  CHECK_EQ(narrowed(65504.0F), 0x7bff);
  CHECK_EQ(narrowed(std::nextafter(65520.0F, 0.0F)), 0x7bff);
  for (const float large :
       {65520.0F, 65536.0F, 1e30F, std::numeric_limits<float>::max(), kInfinity}) {
    CHECK_EQ(narrowed(large), 0x7c00);
    CHECK_EQ(narrowed(-large), 0xfc00);
  }
  CHECK_EQ(narrowed(std::ldexp(1.0F, -24)), 1);
  CHECK_EQ(narrowed(std::ldexp(1.0F, -25)), 0);  // a tie, zero is even
  CHECK_EQ(narrowed(std::nextafter(std::ldexp(1.0F, -25), 1.0F)), 1);
  for (const float small : {0.0F, 1e-9F, 1e-40F, std::numeric_limits<float>::denorm_min()}) {
    CHECK_EQ(narrowed(small), 0);
    CHECK_EQ(narrowed(-small), 0x8000);
  }
  const auto nan = std::bit_cast<float>(std::uint32_t{0x7fa00001});  // signalling
  CHECK_EQ(narrowed(nan) & 0x7e00, 0x7e00);
}

TEST_CASE("float16: any float32 by both paths") {
  std::mt19937 engine(7);
  std::vector<float> floats(1 << 17);
  for (float& value : floats) value = std::bit_cast<float>(static_cast<std::uint32_t>(engine()));
  narrowed(floats);
  for (std::size_t length = 0; length < 40; ++length)
    narrowed(
        std::vector<float>(floats.begin(), floats.begin() + static_cast<std::ptrdiff_t>(length)));
}

TEST_CASE("float16 rows: a float32 kernel between two conversions, in all mixtures of formats") {
  const Dims dims = {2, 3, 5, 4};
  Values values(3);
  const Tensor a = values.integers(dims), b = values.integers(dims);
  Case whole;
  whole.op = OpId::addition;
  whole.attributes = {{"primary_scale", 1.0},
                      {"secondary_scale", 2.0},
                      {"bias", 0.5},
                      {"minimum_value", -1e9},
                      {"maximum_value", 1e9}};
  whole.inputs = {a, b};
  whole.outputs = {desc_of(dims)};
  const std::vector<float> expected = run_case("addition/plain", whole)[0].floats();
  for (int mixture = 1; mixture < 8; ++mixture) {
    Case mixed = whole;
    if ((mixture & 1) != 0) mixed.inputs[0] = halves_of(a);
    if ((mixture & 2) != 0) mixed.inputs[1] = halves_of(b);
    if ((mixture & 4) != 0) mixed.outputs[0].type = DataType::FLOAT16;
    CHECK_EQ(chosen_row(mixed), "addition/float16");
    const Tensor result = run_case("addition/float16", mixed)[0];
    CHECK((mixture & 4 ? floats_of(result) : result.floats()) == expected);
  }
}

TEST_CASE("float16 rows: in place, and without an optional operand") {
  const Dims dims = {1, 4, 4, 3};
  Values values(4);
  Case c;
  c.op = OpId::neuron;
  c.attributes = {
      {"neuron_type", std::int64_t{1}}, {"neuron_a", 0.5}, {"neuron_b", 0.0}, {"neuron_c", 0.0}};
  const Tensor source = values.integers(dims);
  c.inputs = {halves_of(source)};
  c.outputs = {desc_of(dims, DataType::FLOAT16)};
  const std::vector<float> apart = floats_of(run_case("neuron/float16", c)[0]);
  c.in_place = {{0, 0}};
  CHECK(floats_of(run_case("neuron/float16", c)[0]) == apart);
  const std::vector<float> given = source.floats();
  for (std::size_t i = 0; i < given.size(); ++i)
    CHECK_EQ(apart[i], given[i] > 0 ? given[i] : given[i] / 2);
}

TEST_CASE("float16 rows: a kernel says which one it runs, and keeps its scratch and its layouts") {
  Case c;
  c.op = OpId::normalization_statistics;
  const Dims dims = {2, 4, 4, 3};
  c.inputs = {halves_of(Values(5).integers(dims))};
  c.outputs = {desc_of({3}), desc_of({3})};
  c.attributes = {{"groups", std::int64_t{0}}};
  const std::vector<TensorDesc> inputs = c.input_descs();
  if (!CHECK(fit_of(float16_row(c.op), c).yes)) return;
  const auto kernel =
      row_named(float16_row(c.op)).prepare({c.op, "test", inputs, c.outputs, c.attributes});
  CHECK_EQ(std::string(kernel->row),
           "normalization_statistics/float16: normalization_statistics/plain");
}
