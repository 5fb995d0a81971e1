// SPDX-License-Identifier: MIT
// Philox4x32 with 10 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3"): four
// random words for each counter. All random numbers here are words of one kind of stream: word i %
// 4 of block i / 4 is word i, a block having key (seed, seed >> 32) and counter (step, step >> 32,
// block >> 32, block). Step 0 is MatrixRandomPhilox's; a dropout counts its masks by it.
#pragma once

#include <cstdint>

namespace mpsnn {

struct PhiloxStream {
  std::uint64_t seed = 0, step = 0;
};

/// What a generator keeps between encodes: `position` words of its stream were taken.
struct PhiloxState {
  std::uint64_t seed, position;
};

/// Replaces `lanes` counters, each a column of four words, by their random words. Lanes are
/// computed side by side, so that the loop is vectorised.
template <int lanes>
inline __attribute__((always_inline)) void philox(std::uint32_t (&words)[4][lanes],
                                                  std::uint32_t key0, std::uint32_t key1) {
  constexpr std::uint64_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
  constexpr std::uint32_t kStep0 = 0x9E3779B9, kStep1 = 0xBB67AE85;
  for (int round = 0; round < 10; ++round, key0 += kStep0, key1 += kStep1) {
    for (int l = 0; l < lanes; ++l) {
      const std::uint64_t a = kMultiplier0 * words[0][l], b = kMultiplier1 * words[2][l];
      words[0][l] = static_cast<std::uint32_t>(b >> 32) ^ words[1][l] ^ key0;
      words[2][l] = static_cast<std::uint32_t>(a >> 32) ^ words[3][l] ^ key1;
      words[1][l] = static_cast<std::uint32_t>(b);
      words[3][l] = static_cast<std::uint32_t>(a);
    }
  }
}

}  // namespace mpsnn
