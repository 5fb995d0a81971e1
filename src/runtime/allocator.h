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

/// Who holds memory for temporaries: a queue.
class HeapOwner {
 public:
  /// Gives back what no work uses. Called on any thread, whatever locks that one holds: it waits
  /// for no work, makes no memory, and destroys nothing but memory.
  virtual void trim() = 0;

 protected:
  ~HeapOwner() = default;
};

/// Thread-safe. Memory that was handed out may outlive the allocator. A copy is the same one.
class Allocator {
 public:
  explicit Allocator(std::shared_ptr<backend::Device> device);

  /// At least `bytes`; contents undefined. Before it throws OutOfMemoryError it gives back the
  /// cache and then the idle heaps of all owners, and tries again.
  MemoryHandle allocate(std::size_t bytes, MemoryUse use = MemoryUse::GENERAL);
  /// From now on until it is removed, an owner's idle heaps make room for others.
  void add_owner(HeapOwner& owner);
  void remove_owner(HeapOwner& owner) noexcept;
  /// Counts bytes of heaps that a backend holds itself.
  void count_heap(std::ptrdiff_t change) noexcept;
  MemoryStats statistics() const;
  /// Gives back the cache and the owners' idle heaps.
  void trim();

 private:
  struct Pool;
  std::shared_ptr<Pool> pool_;
};

/// Writes zeros to the first `bytes`.
void fill_zeros(backend::Device& device, backend::Memory& memory, std::size_t bytes);

}  // namespace mpsnn::runtime
