// SPDX-License-Identifier: MIT
// Words of Philox streams. What compilers make of the plain loop takes the high halves of products
// out of their registers and packs the low ones, round after round; here a word stays in the low
// half of 64 bits with anything above it, which the multiplication does not read.
#include <array>
#include <vector>

#include "backend/cpu/ops/random_words.h"
#include "backend/cpu/simd.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace mpsnn::backend::cpu {
namespace {

constexpr int kLanesOfPlain = 16;
static_assert(kPhiloxGroup % kLanesOfPlain == 0);

MPSNN_SIMD void words_plain(const PhiloxStream& stream, std::uint64_t first, std::int64_t blocks,
                            std::uint32_t* out) {
  for (std::int64_t at = 0; at < blocks; at += kLanesOfPlain) {
    std::uint32_t words[4][kLanesOfPlain];
    for (int l = 0; l < kLanesOfPlain; ++l) {
      const std::uint64_t block = first + static_cast<std::uint64_t>(at + l);
      words[0][l] = static_cast<std::uint32_t>(stream.step);
      words[1][l] = static_cast<std::uint32_t>(stream.step >> 32);
      words[2][l] = static_cast<std::uint32_t>(block >> 32);
      words[3][l] = static_cast<std::uint32_t>(block);
    }
    philox(words, static_cast<std::uint32_t>(stream.seed),
           static_cast<std::uint32_t>(stream.seed >> 32));
    std::uint32_t ordered[4 * kLanesOfPlain];
    for (int l = 0; l < kLanesOfPlain; ++l) {
      for (int w = 0; w < 4; ++w) ordered[4 * l + w] = words[w][l];
    }
    std::memcpy(out + 4 * at, ordered, sizeof ordered);
  }
}

#if defined(__x86_64__)

constexpr std::uint64_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
constexpr std::uint32_t kStep0 = 0x9E3779B9, kStep1 = 0xBB67AE85;

/// What is the same for all blocks below 2^32: three of the four counter words are, so that half of
/// the first three rounds is done once.
struct SharedRounds {
  static constexpr int kRounds = 7;  // that are left
  std::uint32_t word2;               // of the second round, before the block comes in
  std::uint32_t word0_2, word0_3;    // what is added to word 0 in rounds 2 and 3
  std::uint32_t word1_3, word2_3;    // word 1 after round 3; what is added to word 2
  std::array<std::uint32_t, kRounds> key0, key1;

  explicit SharedRounds(const PhiloxStream& stream) {
    auto k0 = static_cast<std::uint32_t>(stream.seed),
         k1 = static_cast<std::uint32_t>(stream.seed >> 32);
    const std::uint64_t a1 = kMultiplier0 * static_cast<std::uint32_t>(stream.step);
    const std::uint32_t word0 = static_cast<std::uint32_t>(stream.step >> 32) ^ k0;
    word2 = static_cast<std::uint32_t>(a1 >> 32) ^ k1;
    k0 += kStep0, k1 += kStep1;
    const std::uint64_t a2 = kMultiplier0 * word0;
    word0_2 = k0;  // word 1 is 0
    const std::uint32_t third =
        static_cast<std::uint32_t>(a2 >> 32) ^ static_cast<std::uint32_t>(a1) ^ k1;
    k0 += kStep0, k1 += kStep1;
    const std::uint64_t b3 = kMultiplier1 * third;
    word0_3 = static_cast<std::uint32_t>(b3 >> 32) ^ k0;
    word1_3 = static_cast<std::uint32_t>(b3);
    word2_3 = static_cast<std::uint32_t>(a2) ^ k1;
    for (std::size_t i = 0; i < kRounds; ++i) {
      k0 += kStep0, k1 += kStep1;
      key0[i] = k0;
      key1[i] = k1;
    }
  }
};

/// Whether the high word of all block numbers is 0.
bool is_low(std::uint64_t first, std::int64_t blocks) {
  return first + static_cast<std::uint64_t>(blocks) <= std::uint64_t{1} << 32 &&
         first <= std::uint64_t{1} << 32;
}

constexpr int kTogether = 4;  // registers that are worked on in turn, to fill the pipeline

#define MPSNN_AVX512 __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw")))

// With a mask of all lanes: the forms without one begin with an undefined register, of which GCC 12
// warns.
constexpr __mmask8 kAll = 0xff;

MPSNN_AVX512 inline __m512i all512(std::uint64_t value) {
  return _mm512_set1_epi64(static_cast<long long>(value));
}
MPSNN_AVX512 inline __m512i product(__m512i x, __m512i y) {
  return _mm512_maskz_mul_epu32(kAll, x, y);
}
MPSNN_AVX512 inline __m512i upper_half(__m512i x) { return _mm512_maskz_srli_epi64(kAll, x, 32); }

/// Eight blocks a register; their order makes the last two shuffles put all words in place.
MPSNN_AVX512 void words_avx512(const PhiloxStream& stream, std::uint64_t first, std::int64_t blocks,
                               std::uint32_t* out) {
  if (!is_low(first, blocks)) return words_plain(stream, first, blocks, out);
  constexpr int kBlocks = 8;
  static_assert(kPhiloxGroup == kBlocks * kTogether);
  const SharedRounds shared(stream);
  const __m512i m0 = all512(kMultiplier0), m1 = all512(kMultiplier1);
  const __m512i order = _mm512_set_epi64(7, 3, 6, 2, 5, 1, 4, 0);
  for (std::int64_t at = 0; at < blocks; at += kPhiloxGroup, out += 4 * kPhiloxGroup) {
    __m512i w0[kTogether], w1[kTogether], w2[kTogether], w3[kTogether];
    for (int i = 0; i < kTogether; ++i) {
      const __m512i block =
          _mm512_add_epi64(all512(first + static_cast<std::uint64_t>(at + kBlocks * i)), order);
      const __m512i b = product(_mm512_xor_si512(block, all512(shared.word2)), m1);
      const __m512i a = product(_mm512_xor_si512(upper_half(b), all512(shared.word0_2)), m0);
      w0[i] = _mm512_xor_si512(b, all512(shared.word0_3));
      w1[i] = all512(shared.word1_3);
      w2[i] = _mm512_xor_si512(upper_half(a), all512(shared.word2_3));
      w3[i] = a;
    }
    for (std::size_t r = 0; r < SharedRounds::kRounds; ++r) {
      const __m512i key0 = all512(shared.key0[r]), key1 = all512(shared.key1[r]);
      for (int i = 0; i < kTogether; ++i) {
        constexpr int kXor3 = 0x96;
        const __m512i a = product(w0[i], m0), b = product(w2[i], m1);
        w0[i] = _mm512_ternarylogic_epi64(upper_half(b), w1[i], key0, kXor3);
        w2[i] = _mm512_ternarylogic_epi64(upper_half(a), w3[i], key1, kXor3);
        w1[i] = b;
        w3[i] = a;
      }
    }
    for (int i = 0; i < kTogether; ++i) {
      constexpr __mmask16 kUpper = 0xAAAA;
      const __m512i low = _mm512_mask_shuffle_epi32(w0[i], kUpper, w1[i], _MM_PERM_CCAA);
      const __m512i high = _mm512_mask_shuffle_epi32(w2[i], kUpper, w3[i], _MM_PERM_CCAA);
      _mm512_storeu_si512(out + 32 * i, _mm512_maskz_unpacklo_epi64(kAll, low, high));
      _mm512_storeu_si512(out + 32 * i + 16, _mm512_maskz_unpackhi_epi64(kAll, low, high));
    }
  }
}

#define MPSNN_AVX2 __attribute__((target("avx2")))

MPSNN_AVX2 inline __m256i all256(std::uint64_t value) {
  return _mm256_set1_epi64x(static_cast<long long>(value));
}

/// Four blocks a register.
MPSNN_AVX2 void words_avx2(const PhiloxStream& stream, std::uint64_t first, std::int64_t blocks,
                           std::uint32_t* out) {
  if (!is_low(first, blocks)) return words_plain(stream, first, blocks, out);
  constexpr int kBlocks = 4, kAtOnce = kBlocks * kTogether;
  static_assert(kPhiloxGroup % kAtOnce == 0);
  const SharedRounds shared(stream);
  const __m256i m0 = all256(kMultiplier0), m1 = all256(kMultiplier1);
  const __m256i order = _mm256_set_epi64x(3, 1, 2, 0);
  for (std::int64_t at = 0; at < blocks; at += kAtOnce, out += 4 * kAtOnce) {
    __m256i w0[kTogether], w1[kTogether], w2[kTogether], w3[kTogether];
    for (int i = 0; i < kTogether; ++i) {
      const __m256i block =
          _mm256_add_epi64(all256(first + static_cast<std::uint64_t>(at + kBlocks * i)), order);
      const __m256i b = _mm256_mul_epu32(_mm256_xor_si256(block, all256(shared.word2)), m1);
      const __m256i a =
          _mm256_mul_epu32(_mm256_xor_si256(_mm256_srli_epi64(b, 32), all256(shared.word0_2)), m0);
      w0[i] = _mm256_xor_si256(b, all256(shared.word0_3));
      w1[i] = all256(shared.word1_3);
      w2[i] = _mm256_xor_si256(_mm256_srli_epi64(a, 32), all256(shared.word2_3));
      w3[i] = a;
    }
    for (std::size_t r = 0; r < SharedRounds::kRounds; ++r) {
      const __m256i key0 = all256(shared.key0[r]), key1 = all256(shared.key1[r]);
      for (int i = 0; i < kTogether; ++i) {
        const __m256i a = _mm256_mul_epu32(w0[i], m0), b = _mm256_mul_epu32(w2[i], m1);
        w0[i] = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(b, 32), w1[i]), key0);
        w2[i] = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(a, 32), w3[i]), key1);
        w1[i] = b;
        w3[i] = a;
      }
    }
    for (int i = 0; i < kTogether; ++i) {
      constexpr int kUpper = 0xAA, kSwap = 0xB1;
      const __m256i low = _mm256_blend_epi32(w0[i], _mm256_shuffle_epi32(w1[i], kSwap), kUpper);
      const __m256i high = _mm256_blend_epi32(w2[i], _mm256_shuffle_epi32(w3[i], kSwap), kUpper);
      auto* const to = reinterpret_cast<__m256i*>(out + 16 * i);
      _mm256_storeu_si256(to, _mm256_unpacklo_epi64(low, high));
      _mm256_storeu_si256(to + 1, _mm256_unpackhi_epi64(low, high));
    }
  }
}

#endif

std::vector<PhiloxPath> find_paths() {
  std::vector<PhiloxPath> paths;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))
    paths.push_back({"avx512", words_avx512});
  if (__builtin_cpu_supports("avx2")) paths.push_back({"avx2", words_avx2});
#endif
  paths.push_back({"plain", words_plain});
  return paths;
}

}  // namespace

std::span<const PhiloxPath> philox_paths() {
  static const std::vector<PhiloxPath> paths = find_paths();
  return paths;
}

void philox_words(const PhiloxStream& stream, std::uint64_t first, std::int64_t blocks,
                  std::uint32_t* words) {
  philox_paths().front().words(stream, first, blocks, words);
}

}  // namespace mpsnn::backend::cpu
