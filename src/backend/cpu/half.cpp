// SPDX-License-Identifier: MIT
#include "backend/cpu/half.h"

#include "backend/cpu/parallel.h"
#include "backend/cpu/simd.h"
#include "base/half.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace mpsnn::backend::cpu {
namespace {

MPSNN_SIMD void widen(const Half* from, float* to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = float_of_half(from[i]);
}

MPSNN_SIMD void narrow(const float* from, Half* to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = half_of_float(from[i]);
}

#if defined(__x86_64__)
// All lanes of a mask: the forms without one begin with an undefined register, of which GCC 12
// warns.
constexpr __mmask16 kAll = 0xffff;

__attribute__((target("avx512f"))) void widen_avx512(const Half* from, float* to,
                                                     std::int64_t count) {
  std::int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i));
    _mm512_storeu_ps(to + i, _mm512_maskz_cvtph_ps(kAll, halves));
  }
  for (; i < count; ++i) to[i] = float_of_half(from[i]);
}

__attribute__((target("avx512f"))) void narrow_avx512(const float* from, Half* to,
                                                      std::int64_t count) {
  std::int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m256i halves =
        _mm512_maskz_cvtps_ph(kAll, _mm512_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i), halves);
  }
  for (; i < count; ++i) to[i] = half_of_float(from[i]);
}

__attribute__((target("avx,f16c"))) void widen_f16c(const Half* from, float* to,
                                                    std::int64_t count) {
  std::int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i));
    _mm256_storeu_ps(to + i, _mm256_cvtph_ps(halves));
  }
  for (; i < count; ++i) to[i] = float_of_half(from[i]);
}

__attribute__((target("avx,f16c"))) void narrow_f16c(const float* from, Half* to,
                                                     std::int64_t count) {
  std::int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m128i halves = _mm256_cvtps_ph(_mm256_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i), halves);
  }
  for (; i < count; ++i) to[i] = half_of_float(from[i]);
}

bool has_f16c() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c"); }
#endif

using Widen = void (*)(const Half*, float*, std::int64_t);
using Narrow = void (*)(const float*, Half*, std::int64_t);

Widen choose_widen() {
#if defined(__x86_64__)
  if (has_wide_registers()) return widen_avx512;
  if (has_f16c()) return widen_f16c;
#endif
  return halves_to_floats_plain;
}

Narrow choose_narrow() {
#if defined(__x86_64__)
  if (has_wide_registers()) return narrow_avx512;
  if (has_f16c()) return narrow_f16c;
#endif
  return floats_to_halves_plain;
}

constexpr std::int64_t kGrain = grain_for(sizeof(Half) + sizeof(float));

}  // namespace

void halves_to_floats_plain(const Half* from, float* to, std::int64_t count) {
  widen(from, to, count);
}

void floats_to_halves_plain(const float* from, Half* to, std::int64_t count) {
  narrow(from, to, count);
}

void halves_to_floats(const Half* from, float* to, std::int64_t count) {
  static const Widen convert = choose_widen();
  parallel_for(count, kGrain, [=](std::int64_t begin, std::int64_t end) {
    convert(from + begin, to + begin, end - begin);
  });
}

void floats_to_halves(const float* from, Half* to, std::int64_t count) {
  static const Narrow convert = choose_narrow();
  parallel_for(count, kGrain, [=](std::int64_t begin, std::int64_t end) {
    convert(from + begin, to + begin, end - begin);
  });
}

}  // namespace mpsnn::backend::cpu
