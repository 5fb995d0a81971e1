// SPDX-License-Identifier: MIT
// Two ways to the same words: a loop for every processor, and AVX-512 by hand, since compilers do
// not find the multiplication of the lower halves of 64-bit lanes.
#include "backend/cpu/ops/philox_words.h"

#include "backend/cpu/simd.h"
#include "base/philox.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define MPSNN_PHILOX_AVX512
#include <immintrin.h>
#endif

namespace mpsnn::backend::cpu {
namespace {

MPSNN_SIMD void words_of_group(const PhiloxStream& stream, std::uint64_t first,
                               std::uint32_t* out) {
  constexpr int kBlocks = static_cast<int>(kPhiloxBlocks);
  std::uint32_t words[4][kBlocks];
  for (int l = 0; l < kBlocks; ++l) {
    const std::uint64_t block = first + static_cast<std::uint64_t>(l);
    words[0][l] = static_cast<std::uint32_t>(stream.step);
    words[1][l] = static_cast<std::uint32_t>(stream.step >> 32);
    words[2][l] = static_cast<std::uint32_t>(block >> 32);
    words[3][l] = static_cast<std::uint32_t>(block);
  }
  philox(words, static_cast<std::uint32_t>(stream.seed),
         static_cast<std::uint32_t>(stream.seed >> 32));
  for (int l = 0; l < kBlocks; ++l) {
    for (int w = 0; w < 4; ++w) out[4 * l + w] = words[w][l];
  }
}

#if defined(MPSNN_PHILOX_AVX512)
#define MPSNN_AVX512 __attribute__((target("avx512f")))

/// The words of eight blocks, one a 64-bit lane; the upper halves of lanes are not looked at.
struct Words {
  __m512i w0, w1, w2, w3;
};

MPSNN_AVX512 inline Words round_of(const Words& w, std::uint32_t key0, std::uint32_t key1) {
  const __m512i a = _mm512_mul_epu32(w.w0, _mm512_set1_epi64(0xD2511F53)),
                b = _mm512_mul_epu32(w.w2, _mm512_set1_epi64(0xCD9E8D57));
  constexpr int kXor = 0x96;  // of three
  return {
      _mm512_ternarylogic_epi64(_mm512_srli_epi64(b, 32), w.w1, _mm512_set1_epi64(key0), kXor), b,
      _mm512_ternarylogic_epi64(_mm512_srli_epi64(a, 32), w.w3, _mm512_set1_epi64(key1), kXor), a};
}

/// Puts the words of each block side by side.
MPSNN_AVX512 inline void store_words(const Words& w, std::uint32_t* out) {
  const __m512i low = _mm512_set1_epi64(0xffffffff);
  const __m512i first = _mm512_or_si512(_mm512_and_si512(w.w0, low), _mm512_slli_epi64(w.w1, 32)),
                second = _mm512_or_si512(_mm512_and_si512(w.w2, low), _mm512_slli_epi64(w.w3, 32));
  const __m512i lower = _mm512_set_epi64(11, 3, 10, 2, 9, 1, 8, 0),
                upper = _mm512_set_epi64(15, 7, 14, 6, 13, 5, 12, 4);
  _mm512_storeu_si512(out, _mm512_permutex2var_epi64(first, lower, second));
  _mm512_storeu_si512(out + 16, _mm512_permutex2var_epi64(first, upper, second));
}

MPSNN_AVX512 void words_of_group_avx512(const PhiloxStream& stream, std::uint64_t first,
                                        std::uint32_t* out) {
  const __m512i step = _mm512_set1_epi64(static_cast<long long>(stream.step));
  const __m512i lanes = _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0);
  const __m512i block = _mm512_add_epi64(_mm512_set1_epi64(static_cast<long long>(first)), lanes),
                next = _mm512_add_epi64(block, _mm512_set1_epi64(8));
  // Two independent chains: a multiplication takes five cycles.
  Words x = {step, _mm512_srli_epi64(step, 32), _mm512_srli_epi64(block, 32), block};
  Words y = {step, _mm512_srli_epi64(step, 32), _mm512_srli_epi64(next, 32), next};
  auto key0 = static_cast<std::uint32_t>(stream.seed),
       key1 = static_cast<std::uint32_t>(stream.seed >> 32);
  for (int round = 0; round < 10; ++round, key0 += 0x9E3779B9, key1 += 0xBB67AE85) {
    x = round_of(x, key0, key1);
    y = round_of(y, key0, key1);
  }
  store_words(x, out);
  store_words(y, out + 32);
}
#endif

}  // namespace

void philox_words(const PhiloxStream& stream, std::uint64_t first, std::int64_t blocks,
                  std::uint32_t* words) {
  auto* group = words_of_group;
#if defined(MPSNN_PHILOX_AVX512)
  if (has_wide_registers()) group = words_of_group_avx512;
#endif
  for (std::int64_t b = 0; b < blocks; b += kPhiloxBlocks)
    group(stream, first + static_cast<std::uint64_t>(b), words + 4 * b);
}

}  // namespace mpsnn::backend::cpu
