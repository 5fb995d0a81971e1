// SPDX-License-Identifier: MIT
#include "base/mtgp.h"

#include <algorithm>

#include "base/check.h"

namespace mpsnn {
namespace {

constexpr MtgpParameters kParameters[] = {
#define MPSNN_MTGP(pos, sh1, sh2, r1, r2, r4, r8, t1, t2, t4, t8) \
  {pos, sh1, sh2, {r1, r2, r4, r8}, {t1, t2, t4, t8}},
#include "base/mtgp_parameters.def"
#undef MPSNN_MTGP
};
static_assert(std::size(kParameters) == kMtgpSets);
static_assert(std::ranges::all_of(kParameters, [](const MtgpParameters& set) {
  return set.pos > 0 && set.pos + kMtgpStep <= kMtgpSize;
}));

constexpr std::uint32_t kNotZero = 0x4d544750;

std::uint32_t mixed(std::uint32_t x, std::uint32_t factor) { return (x ^ (x >> 27)) * factor; }

}  // namespace

MtgpTable full_table(const std::array<std::uint32_t, 4>& entries) {
  MtgpTable table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    for (std::uint32_t bit = 0; bit < entries.size(); ++bit) {
      if ((i >> bit & 1) != 0) table[i] ^= entries[bit];
    }
  }
  return table;
}

const MtgpParameters& mtgp_parameters(int set) {
  check_internal(set >= 0 && set < kMtgpSets, "there are 128 parameter sets");
  return kParameters[set];
}

// Knuth's kind of initialisation: a ring of 351 words in which each step stirs three others. `at`
// walks around it once with the key and once without.
void mtgp_init_by_array(const MtgpParameters& parameters, std::span<const std::uint32_t> key,
                        std::span<std::uint32_t, kMtgpSize> state) {
  constexpr std::uint32_t kAddFactor = 1664525, kXorFactor = 1566083941;
  constexpr std::size_t kLag = 7, kMiddle = (kMtgpSize - kLag) / 2;
  const std::uint32_t hidden = parameters.recursion[2] ^ (parameters.recursion[3] << 16);
  std::uint32_t fill = hidden;
  fill += fill >> 16;
  fill += fill >> 8;
  std::ranges::fill(state, (fill & 0xff) * 0x01010101U);
  state[0] = hidden;

  const auto ring = [&](std::size_t i) -> std::uint32_t& { return state[i % kMtgpSize]; };
  const auto add = [&](std::size_t at, std::uint32_t extra) {
    std::uint32_t r = mixed(ring(at) ^ ring(at + kMiddle) ^ ring(at + kMtgpSize - 1), kAddFactor);
    ring(at + kMiddle) += r;
    r += extra;
    ring(at + kMiddle + kLag) += r;
    ring(at) = r;
  };
  add(0, static_cast<std::uint32_t>(key.size()));
  std::size_t at = 1;
  const std::size_t count = std::max<std::size_t>(key.size() + 1, kMtgpSize) - 1;
  for (std::size_t j = 0; j < count; ++j, at = (at + 1) % kMtgpSize) {
    add(at, static_cast<std::uint32_t>(at) + (j < key.size() ? key[j] : 0));
  }
  for (std::size_t j = 0; j < kMtgpSize; ++j, at = (at + 1) % kMtgpSize) {
    std::uint32_t r = mixed(ring(at) + ring(at + kMiddle) + ring(at + kMtgpSize - 1), kXorFactor);
    ring(at + kMiddle) ^= r;
    r -= static_cast<std::uint32_t>(at);
    ring(at + kMiddle + kLag) ^= r;
    ring(at) = r;
  }
  if (state[kMtgpSize - 1] == 0) state[kMtgpSize - 1] = kNotZero;
}

MtgpWords mtgp_first_words(std::uint64_t seed, std::size_t s) {
  const auto number = static_cast<int>(s);
  const std::uint32_t key[] = {static_cast<std::uint32_t>(seed),
                               static_cast<std::uint32_t>(seed >> 32),
                               static_cast<std::uint32_t>(number / kMtgpSets)};
  MtgpWords words;
  mtgp_init_by_array(mtgp_parameters(number % kMtgpSets), key, words);
  return words;
}

}  // namespace mpsnn
