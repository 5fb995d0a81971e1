// SPDX-License-Identifier: MIT
// Memory as MTLBuffers that host and device share, and the way back from an address to its buffer.
// For .mm files.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>

#include "backend/backend.h"
#include "backend/metal/objects.h"

namespace mpsnn::backend::metal {

/// A place in a buffer.
struct BufferRange {
  Owned<id<MTLBuffer>> buffer;
  NSUInteger offset = 0;
};

/// The live buffers of a device by the address of their contents: kernels are given addresses, MPS
/// wants buffers. The caller's memory may be in several of them. Thread-safe.
class BufferMap {
 public:
  void add(id<MTLBuffer> buffer);
  void remove(id<MTLBuffer> buffer);
  /// Throws InternalError where no buffer holds the address.
  BufferRange find(const void* address) const;

 private:
  mutable std::mutex mutex_;
  /// Not owned: SharedMemory owns them. The caller's memory may be wrapped more than once.
  std::multimap<const std::byte*, id<MTLBuffer>> buffers_;
};

/// Throws OutOfMemoryError.
std::unique_ptr<Memory> make_memory(id<MTLDevice> device, const std::shared_ptr<BufferMap>& map,
                                    std::size_t bytes);

/// The caller's memory without a copy: it begins at a page of the system and is whole pages. Throws
/// UnsupportedError elsewhere.
std::unique_ptr<Memory> wrap_memory(id<MTLDevice> device, const std::shared_ptr<BufferMap>& map,
                                    void* data, std::size_t bytes);

}  // namespace mpsnn::backend::metal
