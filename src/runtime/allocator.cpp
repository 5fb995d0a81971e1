// SPDX-License-Identifier: MIT
#include "runtime/allocator.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "mpsnn/error.h"

namespace mpsnn::runtime {
namespace {

constexpr std::size_t kGranule = 128;
/// A kept block serves a smaller request where it wastes no more than a quarter, or this much.
constexpr std::size_t kWasteAllowed = 1024;

std::size_t round_up(std::size_t bytes) {
  if (bytes > std::numeric_limits<std::ptrdiff_t>::max()) {
    throw OutOfMemoryError("no memory for " + std::to_string(bytes) + " bytes");
  }
  return (std::max(bytes, std::size_t{1}) + kGranule - 1) / kGranule * kGranule;
}

}  // namespace

struct Allocator::Pool {
  using Block = std::unique_ptr<backend::Memory>;

  explicit Pool(std::shared_ptr<backend::Device> of) : device(std::move(of)) {}

  std::shared_ptr<backend::Device> device;
  mutable std::mutex mutex;
  MemoryStats counts;
  std::list<Block> kept;  // the oldest first
  std::multimap<std::size_t, std::list<Block>::iterator> kept_by_size;
  std::size_t freed = 0;  // bytes that the device got back, ever
  /// Taken before `mutex` and before what an owner locks to trim. An owner that is being destroyed
  /// waits for it, so that those in the list are whole.
  std::mutex owners_mutex;
  std::vector<HeapOwner*> owners;

  void count(std::size_t bytes, MemoryUse use) {
    counts.current += bytes;
    if (use == MemoryUse::HEAP) counts.heap += bytes;
    counts.peak = std::max(counts.peak, counts.current);
  }

  void discount(std::size_t bytes, MemoryUse use) {
    counts.current -= bytes;
    if (use != MemoryUse::HEAP) return;
    counts.heap -= bytes;
    freed += bytes;
  }

  Block take_kept(std::size_t bytes) {
    const std::lock_guard lock(mutex);
    const auto found = kept_by_size.lower_bound(bytes);
    if (found == kept_by_size.end() || found->first > bytes + std::max(bytes / 4, kWasteAllowed))
      return nullptr;
    // Of equal ones the newest: it is the likeliest to be in the processor's caches.
    const auto newest = std::prev(kept_by_size.upper_bound(found->first));
    Block block = std::move(*newest->second);
    kept.erase(newest->second);
    kept_by_size.erase(newest);
    counts.cached -= block->bytes();
    return block;
  }

  /// Blocks are freed by the caller, outside of the lock.
  std::list<Block> drop_kept(std::size_t limit) {
    std::list<Block> dropped;
    while (counts.cached > limit) {
      const std::size_t bytes = kept.front()->bytes();
      auto [at, end] = kept_by_size.equal_range(bytes);
      while (at != end && at->second != kept.begin()) ++at;
      kept_by_size.erase(at);
      dropped.splice(dropped.end(), kept, kept.begin());
      counts.cached -= bytes;
      freed += bytes;
    }
    return dropped;
  }

  void give_back(Block block, MemoryUse use) {
    const std::size_t bytes = block->bytes();
    std::list<Block> dropped;
    const std::lock_guard lock(mutex);
    discount(bytes, use);
    if (use == MemoryUse::HEAP) return;
    std::list<Block> entry;
    entry.push_back(std::move(block));
    kept_by_size.emplace(bytes, entry.begin());
    kept.splice(kept.end(), entry);
    counts.cached += bytes;
    dropped = drop_kept(kCacheLimit);
  }

  void free_cache() {
    std::list<Block> dropped;
    const std::lock_guard lock(mutex);
    dropped = drop_kept(0);
  }

  void free_heaps() {
    const std::lock_guard lock(owners_mutex);
    for (HeapOwner* owner : owners) owner->trim();
  }

  /// Null: there is no memory for it.
  Block try_to_make(std::size_t bytes) const {
    try {
      return device->allocate(bytes);
    } catch (const OutOfMemoryError&) {
      return nullptr;
    }
  }

  Block make(std::size_t bytes) {
    const std::size_t before = freed_ever();
    try {
      return device->allocate(bytes);
    } catch (const OutOfMemoryError&) {
      free_cache();
      if (freed_ever() != before) {
        if (Block block = try_to_make(bytes)) return block;
      }
      free_heaps();  // last, as the queues' next temporaries need memory again
      if (freed_ever() == before) throw;
    }
    return device->allocate(bytes);
  }

 private:
  std::size_t freed_ever() const {
    const std::lock_guard lock(mutex);
    return freed;
  }
};

Allocator::Allocator(std::shared_ptr<backend::Device> device)
    : pool_(std::make_shared<Pool>(std::move(device))) {}

MemoryHandle Allocator::allocate(std::size_t wanted, MemoryUse use) {
  const std::size_t bytes = round_up(wanted);
  Pool::Block block = use == MemoryUse::GENERAL ? pool_->take_kept(bytes) : nullptr;
  if (!block) block = pool_->make(bytes);
  {
    const std::lock_guard lock(pool_->mutex);
    pool_->count(block->bytes(), use);
  }
  return {block.release(), [pool = pool_, use](backend::Memory* memory) {
            Pool::Block freed(memory);
            try {
              pool->give_back(std::move(freed), use);
            } catch (const std::bad_alloc&) {
              // No memory for the bookkeeping of the cache: the block itself was freed instead.
            }
          }};
}

void Allocator::count_heap(std::ptrdiff_t change) noexcept {
  const std::lock_guard lock(pool_->mutex);
  if (change >= 0) {
    pool_->count(static_cast<std::size_t>(change), MemoryUse::HEAP);
  } else {
    pool_->discount(static_cast<std::size_t>(-change), MemoryUse::HEAP);
  }
}

MemoryStats Allocator::statistics() const {
  const std::lock_guard lock(pool_->mutex);
  return pool_->counts;
}

void Allocator::add_owner(HeapOwner& owner) {
  const std::lock_guard lock(pool_->owners_mutex);
  pool_->owners.push_back(&owner);
}

void Allocator::remove_owner(HeapOwner& owner) noexcept {
  const std::lock_guard lock(pool_->owners_mutex);
  std::erase(pool_->owners, &owner);
}

void Allocator::trim() {
  pool_->free_heaps();
  pool_->free_cache();
}

void fill_zeros(backend::Device& device, backend::Memory& memory, std::size_t bytes) {
  if (void* pointer = memory.host_pointer()) {
    std::memset(pointer, 0, bytes);
    return;
  }
  constexpr std::size_t kChunk = std::size_t{1} << 20;
  const std::vector<std::byte> zeros(std::min(bytes, kChunk));
  for (std::size_t at = 0; at < bytes; at += zeros.size()) {
    device.write(memory, at, zeros.data(), std::min(zeros.size(), bytes - at));
  }
}

}  // namespace mpsnn::runtime
