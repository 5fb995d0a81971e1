// SPDX-License-Identifier: MIT
// Memory of a device, with what was freed kept for reuse up to a bound.
#pragma once

#include <cstddef>
#include <memory>

#include "backend/backend.h"
#include "mpsnn/device.h"

namespace mpsnn::runtime {

/// Freed memory kept for reuse, at most; the oldest goes back to the system first.
inline constexpr std::size_t kCacheLimit = std::size_t{256} << 20;

/// HEAP: a queue's temporaries; counted apart and never kept in the cache.
enum class MemoryUse { GENERAL, HEAP };

/// A handle to device memory. The last one gives the bytes back to the allocator, so work that is
/// in flight holds a handle of everything that it touches.
using MemoryHandle = std::shared_ptr<backend::Memory>;

/// Thread-safe. Memory that was handed out may outlive the allocator. A copy is the same one.
class Allocator {
 public:
  explicit Allocator(std::shared_ptr<backend::Device> device);

  /// At least `bytes`; contents undefined. Gives the cache back and tries again before it throws
  /// OutOfMemoryError.
  MemoryHandle allocate(std::size_t bytes, MemoryUse use = MemoryUse::GENERAL);
  /// Counts bytes of heaps that a backend holds itself.
  void count_heap(std::ptrdiff_t change) noexcept;
  MemoryStats statistics() const;
  void trim();

 private:
  struct Pool;
  std::shared_ptr<Pool> pool_;
};

/// Writes zeros to the first `bytes`.
void fill_zeros(backend::Device& device, backend::Memory& memory, std::size_t bytes);

}  // namespace mpsnn::runtime
