// SPDX-License-Identifier: MIT
// Atomic access to numbers that are no std::atomic. Not std::atomic_ref, which the library of
// Apple's older SDKs (iOS 16.5) lacks.
#pragma once

namespace mpsnn {

template <class T>
T load_acquire(const T& value) noexcept {
  return __atomic_load_n(&value, __ATOMIC_ACQUIRE);
}

template <class T>
void store_release(T& place, T value) noexcept {
  __atomic_store_n(&place, value, __ATOMIC_RELEASE);
}

}  // namespace mpsnn
