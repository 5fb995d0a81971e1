// SPDX-License-Identifier: MIT
// One step of an MTGP32 stream, eight words at a time: the recurrence reaches back at least 256
// words, so that none of a step depends on another of it.
#include "backend/cpu/ops/random_words.h"
#include "backend/cpu/simd.h"

namespace mpsnn::backend::cpu {
namespace {

constexpr int kWords = 8;  // of a register: two of them hold a table
typedef std::uint32_t Words __attribute__((vector_size(32)));

struct Table {
  Words low, high;
};

MPSNN_INLINE void load(Words& to, const std::uint32_t* from) { std::memcpy(&to, from, sizeof to); }

/// Entry index & 15 of a table, for each lane.
MPSNN_INLINE void look_up(Words& to, const Table& table, const Words& index) {
#if defined(__clang__) || !defined(__GNUC__)
  for (int lane = 0; lane < kWords; ++lane) {
    const std::uint32_t i = index[lane] & 15;
    to[lane] = i < kWords ? table.low[i] : table.high[i - kWords];
  }
#else
  to = __builtin_shuffle(table.low, table.high, index);  // takes the index modulo 16
#endif
}

MPSNN_SIMD void run_step(const MtgpParameters& parameters, const std::uint32_t* recursion,
                         const std::uint32_t* tempering, std::uint32_t* x, std::uint32_t* words) {
  Table recursions, temperings;
  load(recursions.low, recursion);
  load(recursions.high, recursion + kWords);
  load(temperings.low, tempering);
  load(temperings.high, tempering + kWords);
  const int pos = parameters.pos, sh1 = parameters.sh1, sh2 = parameters.sh2;
  for (int i = 0; i < kMtgpStep; i += kWords) {
    Words first, second, picked, helper, entry;
    load(first, x + i);
    load(second, x + i + 1);
    load(picked, x + i + pos);
    load(helper, x + i + pos - 1);
    first = (first & kMtgpMask) ^ second;
    first ^= first << sh1;
    first ^= picked >> sh2;
    look_up(entry, recursions, first);
    first ^= entry;
    std::memcpy(x + kMtgpSize + i, &first, sizeof first);
    helper ^= helper >> 16;
    helper ^= helper >> 8;
    look_up(entry, temperings, helper);
    first ^= entry;
    std::memcpy(words + i, &first, sizeof first);
  }
}

}  // namespace

MtgpStepper::MtgpStepper(const MtgpParameters& parameters)
    : parameters_(parameters),
      recursion_(full_table(parameters.recursion)),
      tempering_(full_table(parameters.tempering)) {}

void MtgpStepper::step(std::uint32_t* x, std::uint32_t* words) const {
  run_step(parameters_, recursion_.data(), tempering_.data(), x, words);
}

}  // namespace mpsnn::backend::cpu
