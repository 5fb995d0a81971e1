// SPDX-License-Identifier: MIT
// Device memory that work reads and writes and that users hold: images and buffers.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "runtime/device_state.h"
#include "runtime/piece.h"

namespace mpsnn::runtime {

struct Resource {
  std::shared_ptr<DeviceState> device;
  MemoryHandle memory;
  std::string_view kind;  // "Image"
  std::string label = {};
  Usage usage = {};  // guarded by device->usage_mutex

  /// How errors call it: `Image "noisy"`.
  std::string title() const { return std::string(kind) + " \"" + label + "\""; }
};

/// What a piece of work does with a resource.
struct ResourceUse {
  std::shared_ptr<Resource> resource;
  bool writes = false;
};

/// Waits for the work that makes the resource. Throws StateError where that was not committed, and
/// its failure.
void wait_for_maker(const Resource& resource);
/// Waits for committed work that reads or makes the resource; how that ended does not matter.
void wait_for_users(const Resource& resource);
/// The contents are the host's now, unless work that was recorded but not committed will replace
/// them.
void take_over(Resource& resource);

/// Memory of the caller's. Throws InvalidArgumentError for a null pointer, UnsupportedError where
/// the device cannot use it.
MemoryHandle wrap_memory(const DeviceState& device, std::string_view kind, void* data,
                         std::size_t bytes, std::shared_ptr<void> owner);

}  // namespace mpsnn::runtime
