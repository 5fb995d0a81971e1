// SPDX-License-Identifier: MIT
// Loops on several threads. The threads are OpenMP's, the same that oneDNN runs on, so that the two
// never compete.
#pragma once

#include <algorithm>
#include <cstdint>

// The thread sanitizer does not know libgomp's barriers and would report every region.
#if defined(_OPENMP) && !defined(__SANITIZE_THREAD__)
#define MPSNN_WITH_OPENMP
#include <omp.h>
#endif

namespace mpsnn::backend::cpu {

/// All threads: what a queue's thread has. A program may have set another number for its own one.
int all_threads();

/// Threads that a loop may get.
inline int thread_count() {
#if defined(MPSNN_WITH_OPENMP)
  return omp_get_max_threads();
#else
  return 1;
#endif
}

/// What the calling thread prepares or runs gets so many threads while this lives.
class ThreadLimit {
 public:
  explicit ThreadLimit(int threads) : before_(thread_count()) { set(threads); }
  ~ThreadLimit() { set(before_); }
  ThreadLimit(const ThreadLimit&) = delete;
  ThreadLimit& operator=(const ThreadLimit&) = delete;

 private:
  static void set([[maybe_unused]] int threads) {
#if defined(MPSNN_WITH_OPENMP)
    omp_set_num_threads(threads);
#endif
  }
  int before_;
};

/// Calls fn(begin, end) for ranges that together are [0, n), none of them empty, at once on several
/// threads if each gets `grain` items. fn must not throw, and what it computes for an item must not
/// depend on the range: results are then the same on any number of threads.
template <class Fn>
void parallel_for(std::int64_t n, std::int64_t grain, Fn&& fn) {
  if (n <= 0) return;
#if defined(MPSNN_WITH_OPENMP)
  // All threads or none: libgomp ends those that a smaller team leaves out, and starts them again.
  const std::int64_t useful = (n + grain - 1) / std::max<std::int64_t>(grain, 1);
  if (useful > 1 && omp_get_max_threads() > 1 && !omp_in_parallel()) {
#pragma omp parallel
    {
      const std::int64_t threads = std::min<std::int64_t>(omp_get_num_threads(), useful);
      const std::int64_t thread = omp_get_thread_num();
      if (thread < threads) {
        const std::int64_t begin = n * thread / threads, end = n * (thread + 1) / threads;
        if (begin < end) fn(begin, end);
      }
    }
    return;
  }
#else
  static_cast<void>(grain);
#endif
  fn(std::int64_t{0}, n);
}

/// Items that a thread should get at least, for items of `bytes` read and written: below about
/// 16 KiB a thread takes longer to wake than to work.
constexpr std::int64_t grain_for(std::int64_t bytes) {
  return std::max<std::int64_t>(1, (std::int64_t{16} << 10) / std::max<std::int64_t>(bytes, 1));
}

}  // namespace mpsnn::backend::cpu
