// SPDX-License-Identifier: MIT
// Waiting for what comes soon: a thread that sleeps at once lets its processor sleep, too, and to
// wake both takes longer than a small graph.
#pragma once

#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>

namespace mpsnn {

/// How long a thread asks before it sleeps: about as long as to sleep and to be woken take.
inline constexpr std::chrono::nanoseconds kPatience = std::chrono::microseconds(50);

/// Asks is_true() again and again for kPatience, or for `at_most` where that is shorter. Whoever
/// wants the processor meanwhile gets it: with few processors it is the thread that is waited for.
template <class Question>
bool is_true_soon(Question&& is_true, std::optional<std::chrono::nanoseconds> at_most = {}) {
  if (is_true()) return true;
  const auto end =
      std::chrono::steady_clock::now() + std::min(kPatience, at_most.value_or(kPatience));
  do {
    std::this_thread::yield();
    if (is_true()) return true;
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

}  // namespace mpsnn
