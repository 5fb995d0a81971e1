// SPDX-License-Identifier: MIT
// How inner loops are vectorised: a leaf function marked MPSNN_SIMD is compiled several times, and
// the loader takes the one for the processor. Leaves hold plain loops or Vec arithmetic and no
// OpenMP and no lambdas, which the compiler would not clone with them.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define MPSNN_SANITIZED
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MPSNN_SANITIZED
#endif

// Clones are chosen by an indirect function, which runs before a sanitizer's runtime is ready and
// which only glibc's loader knows on x86.
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(MPSNN_SANITIZED) && \
    ((defined(__clang__) && __clang_major__ >= 18) || (!defined(__clang__) && __GNUC__ >= 12))
#define MPSNN_SIMD __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define MPSNN_SIMD
#endif

// The next loop's iterations do not depend on one another, although its pointers may be equal
// (kernels that run in place).
#if defined(__clang__)
#define MPSNN_IVDEP _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define MPSNN_IVDEP _Pragma("GCC ivdep")
#else
#define MPSNN_IVDEP
#endif

#define MPSNN_INLINE inline __attribute__((always_inline))

namespace mpsnn::backend::cpu {

/// Whether a Vec is one register, and there are 32 of them (AVX-512).
bool has_wide_registers() noexcept;
/// "avx512", "avx2", "neon" …: what the clones that run here use.
std::string_view name_of_instructions() noexcept;

/// Sixteen floats: one register of AVX-512, two of AVX2, four of SSE2 and NEON. Never passed by
/// value, so that no calling convention depends on the processor.
inline constexpr std::int64_t kLanes = 16;
typedef float Vec __attribute__((vector_size(64)));
/// Eight floats, for kernels that hold many accumulators and would spill with sixteen on AVX2.
inline constexpr std::int64_t kHalfLanes = 8;
typedef float HalfVec __attribute__((vector_size(32)));
typedef std::int32_t HalfMask __attribute__((vector_size(32)));

template <class V>
MPSNN_INLINE void load(V& to, const float* from) {
  std::memcpy(&to, from, sizeof(V));
}

/// The two halves of sixteen lanes.
MPSNN_INLINE void split(const Vec& whole, HalfVec& low, HalfVec& high) {
  std::memcpy(&low, &whole, sizeof(low));
  std::memcpy(&high, reinterpret_cast<const char*>(&whole) + sizeof(low), sizeof(high));
}

template <class V>
MPSNN_INLINE void store(float* to, const V& from) {
  std::memcpy(to, &from, sizeof(V));
}

/// Lanes from `count` on are zero; reads nothing beyond them.
template <class V>
MPSNN_INLINE void load_first(V& to, const float* from, std::int64_t count) {
  to = V{};
  for (std::int64_t lane = 0; lane < count; ++lane) to[lane] = from[lane];
}

template <class V>
MPSNN_INLINE void store_first(float* to, const V& from, std::int64_t count) {
  for (std::int64_t lane = 0; lane < count; ++lane) to[lane] = from[lane];
}

/// All bits set in the lanes below `count`.
template <class Mask>
MPSNN_INLINE void mask_first(Mask& mask, std::int64_t count) {
  for (std::int64_t lane = 0; lane < std::int64_t(sizeof(Mask) / 4); ++lane)
    mask[lane] = lane < count ? -1 : 0;
}

/// The first `count` lanes; what the others hold is not said. Reads nothing from `end` on.
template <class V>
MPSNN_INLINE void load_at_least(V& to, const float* from, const float* end, std::int64_t count) {
  if (from + sizeof(V) / sizeof(float) <= end) {
    load(to, from);
  } else {
    load_first(to, from, count);
  }
}

/// The lanes of `mask`, others zero whatever stands there (NaN, too). Reads nothing from `end` on.
template <class V, class Mask>
MPSNN_INLINE void load_masked(V& to, const float* from, const float* end, const Mask& mask,
                              std::int64_t count) {
  load_at_least(to, from, end, count);
  to = (V)((Mask)to & mask);  // NOLINT: the casts reinterpret the bits
}

}  // namespace mpsnn::backend::cpu
