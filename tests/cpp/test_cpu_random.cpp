// SPDX-License-Identifier: MIT
// Words of Philox and MTGP32 on every path of this processor, by known answers; and the public
// classes in C++.
#include <cstring>
#include <fstream>
#include <numeric>
#include <sstream>

#include "backend/cpu/ops/random_words.h"
#include "base/half_bounds.h"
#include "mpsnn/mpsnn.h"
#include "testing.h"

namespace {

using namespace mpsnn;
using backend::cpu::kPhiloxGroup;
using backend::cpu::philox_paths;

/// The lines of a file of tests/data that are no comments.
std::vector<std::string> lines_of(const std::string& name) {
  std::ifstream file(MPSNN_TEST_DATA + name);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty() && line[0] != '#') lines.push_back(line);
  }
  return lines;
}

TEST_CASE("random: blocks of Philox are the published ones") {
  const std::vector<std::string> lines = lines_of("philox4x32_10.txt");
  REQUIRE(lines.size() == 14);
  for (const std::string& line : lines) {
    std::istringstream text(line);
    std::uint32_t n[10];
    for (std::uint32_t& number : n) text >> std::hex >> number;
    std::uint32_t words[4][1] = {{n[0]}, {n[1]}, {n[2]}, {n[3]}};
    philox(words, n[4], n[5]);
    const PhiloxStream stream{n[4] | std::uint64_t{n[5]} << 32, n[0] | std::uint64_t{n[1]} << 32};
    std::vector<std::uint32_t> group(4 * kPhiloxGroup);
    const std::uint64_t block = std::uint64_t{n[2]} << 32 | n[3];
    for (const auto& path : philox_paths()) {
      path.words(stream, block, kPhiloxGroup, group.data());
      for (std::size_t i = 0; i < 4; ++i) {
        CHECK_EQ(words[i][0], n[6 + i]);
        CHECK_EQ(group[i], n[6 + i]);
      }
    }
  }
}

TEST_CASE("random: all paths of Philox give the same words") {
  constexpr std::int64_t kBlocks = 4 * kPhiloxGroup;
  for (const std::uint64_t seed : {0ULL, 1ULL, 0x123456789abcdef0ULL, ~0ULL}) {
    for (const std::uint64_t step : {0ULL, 5ULL, 0x700000003ULL}) {
      for (const std::uint64_t first :
           {0ULL, 77ULL, (1ULL << 32) - kBlocks, (1ULL << 32) - 5, 1ULL << 32, ~0ULL - 3}) {
        std::vector<std::uint32_t> expected;
        for (std::uint64_t b = 0; b < kBlocks; ++b) {
          const std::uint64_t block = first + b;
          std::uint32_t words[4][1] = {{static_cast<std::uint32_t>(step)},
                                       {static_cast<std::uint32_t>(step >> 32)},
                                       {static_cast<std::uint32_t>(block >> 32)},
                                       {static_cast<std::uint32_t>(block)}};
          philox(words, static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
          for (const auto& word : words) expected.push_back(word[0]);
        }
        for (const auto& path : philox_paths()) {
          std::vector<std::uint32_t> words(expected.size());
          path.words({seed, step}, first, kBlocks, words.data());
          CHECK(words == expected);
        }
      }
    }
  }
}

TEST_CASE("random: streams of MTGP32 are those of the authors' program") {
  const std::vector<std::string> lines = lines_of("mtgp32_11213.txt");
  REQUIRE(lines.size() == 4);
  constexpr std::uint32_t kKey[] = {1, 2, 3, 4};
  for (const std::string& line : lines) {
    std::istringstream text(line);
    int set = 0;
    text >> set;
    const backend::cpu::MtgpStepper stepper(mtgp_parameters(set));
    std::vector<std::uint32_t> x(kMtgpSize + 3 * kMtgpStep), words(3 * kMtgpStep);
    mtgp_init_by_array(mtgp_parameters(set), kKey,
                       std::span<std::uint32_t, kMtgpSize>(x.data(), kMtgpSize));
    for (std::size_t step = 0; step < 3; ++step)
      stepper.step(x.data() + step * kMtgpStep, words.data() + step * kMtgpStep);
    for (std::size_t i = 0; i < 600; ++i) {
      std::uint32_t expected = 0;
      text >> std::hex >> expected;
      CHECK_EQ(words[i], expected);
    }
  }
}

TEST_CASE("random: float16 beside a bound") {
  CHECK_EQ(half_at_least(1.0F), 1.0F);
  CHECK_EQ(half_at_least(1.0001F), 1.0009765625F);
  CHECK_EQ(half_at_most(1.0001F), 1.0F);
  CHECK_EQ(half_at_most(0.9999F), 0.99951171875F);
  CHECK_EQ(half_at_least(-1.0001F), -1.0F);
  CHECK_EQ(half_at_most(-1.0001F), -1.0009765625F);
  CHECK_EQ(half_at_least(1e-9F), 5.9604645e-8F);
  CHECK_EQ(half_at_most(-1e-9F), -5.9604645e-8F);
  CHECK_EQ(half_at_most(70000.0F), 65504.0F);
  CHECK_EQ(half_at_least(-70000.0F), -65504.0F);
}

TEST_CASE("random: the classes in C++") {
  const Device device("cpu");
  const CommandQueue queue(device);
  const Matrix words(device, {.rows = 2, .columns = 3, .data_type = DataType::UINT32});
  const Vector numbers(device, {.length = 1000});
  MatrixRandomPhiloxOptions options;
  options.seed = ~std::uint64_t{0};
  options.data_type = DataType::FLOAT32;
  options.distribution_descriptor = MatrixRandomDistributionDescriptor::uniform(2, 4);
  const MatrixRandomPhilox generator(device, options);
  CommandBuffer commands(queue);
  MatrixRandomPhilox(device).encode(commands, words);
  generator.encode(commands, numbers);
  commands.commit();
  std::vector<std::uint32_t> bits(6);
  words.read(bits.data(), words.bytes());
  CHECK_EQ(bits, std::vector<std::uint32_t>(
                     {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8, 0x2dce73e5, 0x1348e23f}));
  std::vector<float> values(1000);
  numbers.read(values.data(), numbers.bytes());
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  CHECK_NEAR(sum / 1000, 3.0, 0.1);
  CHECK_EQ(std::get<std::uint64_t>(generator.attribute("seed")), ~std::uint64_t{0});
  CHECK_THROWS_CONTAINS(DeviceKernel(device, "MatrixRandomMTGP32", {{"seed", std::int64_t{-1}}}),
                        InvalidArgumentError,
                        "seed: expected an integer of 64 bits, not negative, got -1");
}

}  // namespace
