// SPDX-License-Identifier: MIT
// Words of Philox streams and MTGP32 streams, as fast as the processor's instructions allow. All
// paths give the same words.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/mtgp.h"
#include "base/philox.h"

namespace mpsnn::backend::cpu {

/// Blocks of Philox are made in groups of so many; four words each.
inline constexpr std::int64_t kPhiloxGroup = 32;

/// Writes the words of blocks [first, first + blocks); `blocks` is a multiple of kPhiloxGroup.
using PhiloxWords = void (*)(const PhiloxStream& stream, std::uint64_t first, std::int64_t blocks,
                             std::uint32_t* words);
/// One way to make them.
struct PhiloxPath {
  std::string_view name;
  PhiloxWords words;
};
/// Those that run on this processor, the fastest first.
std::span<const PhiloxPath> philox_paths();
/// By the fastest one.
void philox_words(const PhiloxStream& stream, std::uint64_t first, std::int64_t blocks,
                  std::uint32_t* words);

/// One step of an MTGP32 stream: reads x[0, 351), appends 256 words at x + 351 and writes the 256
/// words of the output.
class MtgpStepper {
 public:
  explicit MtgpStepper(const MtgpParameters& parameters);
  void step(std::uint32_t* x, std::uint32_t* words) const;

 private:
  MtgpParameters parameters_;
  alignas(64) MtgpTable recursion_, tempering_;
};

}  // namespace mpsnn::backend::cpu
