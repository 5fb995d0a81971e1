// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

namespace mpsnn::backend::cpu {

/// Blocks that are computed side by side.
constexpr std::int64_t kPhiloxBlocks = 16;

/// Which numbers: the key, and the upper half of the counter.
struct PhiloxStream {
  std::uint64_t seed, step;
};

/// words = those of `blocks` Philox4x32-10 blocks from `first` on, four each. Block b has the key
/// (seed, seed >> 32) and the counter (step, step >> 32, b >> 32, b). `blocks` is a multiple of
/// kPhiloxBlocks.
void philox_words(const PhiloxStream& stream, std::uint64_t first, std::int64_t blocks,
                  std::uint32_t* words);

}  // namespace mpsnn::backend::cpu
