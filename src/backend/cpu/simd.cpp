// SPDX-License-Identifier: MIT
#include "backend/cpu/simd.h"

namespace mpsnn::backend::cpu {

bool has_wide_registers() noexcept {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl");
#else
  return false;
#endif
}

std::string_view name_of_instructions() noexcept {
#if defined(__x86_64__)
  if (has_wide_registers()) return "avx512";
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? "avx2" : "sse2";
#elif defined(__aarch64__)
  return "neon";
#else
  return "scalar";
#endif
}

}  // namespace mpsnn::backend::cpu
