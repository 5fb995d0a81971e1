// SPDX-License-Identifier: MIT
// The functions of vector_math.h against the standard library's in double, and the two ways to
// Philox's words against each other.
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "backend/cpu/ops/random_words.h"
#include "backend/cpu/vector_math.h"
#include "base/philox.h"
#include "testing.h"

namespace {

using namespace mpsnn;
using namespace mpsnn::backend::cpu;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

/// Distance in units of the last place of the float nearest to `exact`.
double error_in_ulps(float got, double exact) {
  const auto nearest = std::abs(static_cast<float>(exact));
  const double unit = static_cast<double>(std::nextafter(nearest, kInf)) - nearest;
  return std::abs(static_cast<double>(got) - exact) / unit;
}

/// From -limit to limit, close to 0 as well.
std::vector<float> positions(float limit) {
  std::vector<float> found = {0.0F, -0.0F};
  for (int i = 1; i <= 20000; ++i) {
    const float x = limit * static_cast<float>(i) / 20000.0F, small = std::ldexp(x, -(i % 24));
    found.insert(found.end(), {x, -x, small, -small});
  }
  return found;
}

TEST_CASE("cpu vector math: the exponential, to its limits and beyond") {
  for (const float x : positions(110.0F)) {
    const double exact = std::exp(static_cast<double>(x));
    const float nearest = static_cast<float>(exact), got = exponential(x);
    if (std::isinf(nearest)) {
      CHECK(std::isinf(got) || x < 88.73F);
    } else {
      CHECK(error_in_ulps(got, exact) <= 2.0);
    }
  }
  CHECK_EQ(exponential(kInf), kInf);
  CHECK_EQ(exponential(-kInf), 0.0F);
  CHECK_EQ(exponential(-105.0F), 0.0F);
  CHECK(std::isnan(exponential(kNan)));
  CHECK(std::isnan(exponential(-kNan)));
}

TEST_CASE("cpu vector math: e^x - 1 below 0") {
  for (const float x : positions(110.0F)) {
    if (x > 0) continue;
    CHECK(error_in_ulps(exponential_minus_1(x), std::expm1(static_cast<double>(x))) <= 3.0);
  }
  CHECK_EQ(exponential_minus_1(-kInf), -1.0F);
  CHECK(std::isnan(exponential_minus_1(kNan)));
}

TEST_CASE("cpu vector math: the logarithm") {
  for (const float x : positions(100.0F)) {
    if (!(x > 0)) continue;
    CHECK(error_in_ulps(logarithm(x), std::log(static_cast<double>(x))) <= 3.0);
  }
  CHECK_EQ(logarithm(1.0F), 0.0F);
  CHECK_EQ(logarithm(0.0F), -kInf);
  CHECK_EQ(logarithm(kInf), kInf);
  CHECK(std::isnan(logarithm(-1.0F)));
  CHECK(std::isnan(logarithm(kNan)));
}

TEST_CASE("cpu vector math: inverses") {
  for (int i = 0; i <= 20000; ++i) {
    const float x = 1.0F + 15.0F * static_cast<float>(i) / 20000.0F;
    CHECK(error_in_ulps(inverse_of(x), 1 / static_cast<double>(x)) <= 1.5);
  }
}

TEST_CASE("cpu vector math: numbers that are easy get the same bits") {
  const auto same = [](float a, float b) { return as_int(a) == as_int(b); };
  for (const float x : positions(87.0F)) {
    REQUIRE(size_bits(x) <= kEasyExponent);
    CHECK(same(exponential<Numbers::EASY>(x), exponential(x)));
    if (x <= 0) CHECK(same(exponential_minus_1<Numbers::EASY>(x), exponential_minus_1(x)));
    if (normal_bits(x) <= kEasyLogarithm) CHECK(same(logarithm<Numbers::EASY>(x), logarithm(x)));
    if (size_bits(x) > kEasyNormal) continue;
    CHECK(same(normal_distribution<Numbers::EASY>(x).integral, normal_distribution(x).integral));
  }
  for (const float x : {88.0F, kInf, kNan, -kNan}) CHECK(size_bits(x) > kEasyExponent);
  for (const float x : {0.0F, -0.0F, -1.0F, std::numeric_limits<float>::denorm_min(), kInf, kNan})
    CHECK(normal_bits(x) > kEasyLogarithm);
}

TEST_CASE("cpu vector math: the hyperbolic tangent is odd and at most 1") {
  for (const float x : positions(20.0F)) {
    const float got = hyperbolic_tangent(x);
    CHECK(error_in_ulps(got, std::tanh(static_cast<double>(x))) <= 6.0);
    CHECK(std::abs(got) <= 1.0F);
    CHECK_EQ(hyperbolic_tangent(-x), -got);
  }
  CHECK(std::signbit(hyperbolic_tangent(-0.0F)));
  CHECK_EQ(hyperbolic_tangent(kInf), 1.0F);
  CHECK_EQ(hyperbolic_tangent(-kInf), -1.0F);
  CHECK(std::isnan(hyperbolic_tangent(kNan)));
}

TEST_CASE("cpu vector math: Philox's words, block after block") {
  for (const std::uint64_t first :
       {std::uint64_t{0}, std::uint64_t{48}, (std::uint64_t{1} << 32) - 20}) {
    constexpr std::uint64_t kSeed = 0x123456789abcdef0, kStep = 0x0fedcba987654321;
    constexpr std::int64_t kBlocks = 3 * kPhiloxGroup;
    std::vector<std::uint32_t> got(4 * kBlocks + 1, 0xabadcafe);
    philox_words({kSeed, kStep}, first, kBlocks, got.data());
    for (std::int64_t b = 0; b < kBlocks; ++b) {
      const std::uint64_t block = first + static_cast<std::uint64_t>(b);
      std::uint32_t words[4][1] = {{static_cast<std::uint32_t>(kStep)},
                                   {static_cast<std::uint32_t>(kStep >> 32)},
                                   {static_cast<std::uint32_t>(block >> 32)},
                                   {static_cast<std::uint32_t>(block)}};
      philox(words, static_cast<std::uint32_t>(kSeed), static_cast<std::uint32_t>(kSeed >> 32));
      for (int w = 0; w < 4; ++w) CHECK_EQ(got[4 * b + w], words[w][0]);
    }
    CHECK_EQ(got.back(), 0xabadcafe);
  }
}

}  // namespace
