// SPDX-License-Identifier: MIT
#include "backend/metal/memory.h"

#include <unistd.h>

#include <algorithm>
#include <cstdint>

#include "mpsnn/error.h"

namespace mpsnn::backend::metal {
namespace {

/// Shared storage: on a discrete GPU it is slower than managed memory and needs no synchronisation.
class SharedMemory final : public Memory {
 public:
  SharedMemory(Owned<id<MTLBuffer>> buffer, std::shared_ptr<BufferMap> map, std::size_t bytes)
      : buffer_(std::move(buffer)), map_(std::move(map)), bytes_(bytes) {
    map_->add(buffer_.get());
  }
  ~SharedMemory() override { map_->remove(buffer_.get()); }
  void* device_pointer() const noexcept override { return [buffer_.get() contents]; }
  void* host_pointer() const noexcept override { return [buffer_.get() contents]; }
  std::size_t bytes() const noexcept override { return bytes_; }

 private:
  const Owned<id<MTLBuffer>> buffer_;
  const std::shared_ptr<BufferMap> map_;
  const std::size_t bytes_;
};

}  // namespace

void BufferMap::add(id<MTLBuffer> buffer) {
  const std::lock_guard lock(mutex_);
  buffers_.emplace(static_cast<const std::byte*>([buffer contents]), buffer);
}

void BufferMap::remove(id<MTLBuffer> buffer) {
  const std::lock_guard lock(mutex_);
  const auto [first, last] = buffers_.equal_range(static_cast<const std::byte*>([buffer contents]));
  buffers_.erase(std::find_if(first, last, [&](const auto& one) { return one.second == buffer; }));
}

BufferRange BufferMap::find(const void* address) const {
  const auto* at = static_cast<const std::byte*>(address);
  const std::lock_guard lock(mutex_);
  // The first one has it, but where buffers share memory of the caller's.
  for (auto after = buffers_.upper_bound(at); after != buffers_.begin();) {
    const auto& [start, buffer] = *--after;
    const auto offset = static_cast<NSUInteger>(at - start);
    if (offset < [buffer length]) return {Owned<id<MTLBuffer>>::retained(buffer), offset};
  }
  throw InternalError("every operand of a Metal kernel lies in a buffer of its device");
}

std::unique_ptr<Memory> make_memory(id<MTLDevice> device, const std::shared_ptr<BufferMap>& map,
                                    std::size_t bytes) {
  return guarded("allocate", [&]() -> std::unique_ptr<Memory> {
    const NSUInteger length = std::max<std::size_t>(bytes, 1);
    Owned<id<MTLBuffer>> buffer;
    if (length <= [device maxBufferLength]) {
      buffer = Owned<id<MTLBuffer>>([device newBufferWithLength:length
                                                        options:MTLResourceStorageModeShared]);
    }
    if (!buffer) {
      throw OutOfMemoryError(
          str("device \"", to_string([device name]), "\" has no ", bytes, " bytes of memory left"));
    }
    return std::make_unique<SharedMemory>(std::move(buffer), map, bytes);
  });
}

std::unique_ptr<Memory> wrap_memory(id<MTLDevice> device, const std::shared_ptr<BufferMap>& map,
                                    void* data, std::size_t bytes) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  if (reinterpret_cast<std::uintptr_t>(data) % page != 0 || bytes % page != 0 || bytes == 0) {
    throw UnsupportedError(str("uses the caller's memory where that begins at a page and is whole "
                               "pages of ",
                               page, " bytes, got ", bytes, " bytes that begin ",
                               reinterpret_cast<std::uintptr_t>(data) % page,
                               " bytes behind a page"));
  }
  if (bytes > [device maxBufferLength]) {
    throw UnsupportedError(str("uses at most ", [device maxBufferLength],
                               " bytes of the caller's memory at once, got ", bytes));
  }
  return guarded("wrap", [&]() -> std::unique_ptr<Memory> {
    Owned<id<MTLBuffer>> buffer([device newBufferWithBytesNoCopy:data
                                                          length:bytes
                                                         options:MTLResourceStorageModeShared
                                                     deallocator:nil]);
    if (!buffer) fail_on_device("wrap", "the device cannot use this memory");
    return std::make_unique<SharedMemory>(std::move(buffer), map, bytes);
  });
}

}  // namespace mpsnn::backend::metal
