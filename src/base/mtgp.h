// SPDX-License-Identifier: MIT
// MTGP32 of period 2^11213 - 1 (Saito and Matsumoto, "Variants of Mersenne Twister suitable for
// graphic processors", arXiv:1005.4973): the parameter sets and how a stream begins.
//
// A stream is a sequence x of words. With y = (x[i] & mask) ^ x[i + 1] and z = y ^ (y << sh1) ^
// (x[i + pos] >> sh2), x[i + 351] = z ^ recursion[z & 15]. Word i of the output is x[i + 351] ^
// tempering[t & 15] with t = x[i + pos - 1] folded by t ^= t >> 16, t ^= t >> 8. As pos <= 95, 256
// words can be made at once.
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace mpsnn {

inline constexpr int kMtgpSize = 351;  // words of a stream's state
inline constexpr int kMtgpStep = 256;  // words that one step makes
inline constexpr std::uint32_t kMtgpMask = 0xfff80000;
/// Streams side by side; they define the sequence. Stream s has parameter set s % 128.
inline constexpr int kMtgpStreams = 1024;
inline constexpr int kMtgpSets = 128;

struct MtgpParameters {
  int pos, sh1, sh2;
  /// Entries 1, 2, 4 and 8 of tables of 16; the others are the exclusive or of those of their bits.
  std::array<std::uint32_t, 4> recursion, tempering;
};
using MtgpTable = std::array<std::uint32_t, 16>;
/// All entries.
MtgpTable full_table(const std::array<std::uint32_t, 4>& entries);

const MtgpParameters& mtgp_parameters(int set);

using MtgpWords = std::array<std::uint32_t, kMtgpSize>;
/// What a generator keeps between encodes: the words that were taken so far, and of each stream the
/// last 351 words before the first block of 256 that is not used up. A device whose words are not
/// ours leaves the streams where they begin, and moves the position alone.
struct MtgpState {
  std::uint64_t position;
  std::array<MtgpWords, kMtgpStreams> streams;
};

/// Where stream s of a seed's sequence begins.
MtgpWords mtgp_first_words(std::uint64_t seed, std::size_t s);

/// The authors' init_by_array: the first 351 words of a stream.
void mtgp_init_by_array(const MtgpParameters& parameters, std::span<const std::uint32_t> key,
                        std::span<std::uint32_t, kMtgpSize> state);

}  // namespace mpsnn
