// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <string>

#include "mpsnn/device.h"
#include "runtime/device_state.h"
#include "runtime/piece.h"

namespace mpsnn::runtime {

/// A batch of images in device memory.
struct ImageState {
  std::shared_ptr<DeviceState> device;
  ImageSize size;
  DataType format = DataType::FLOAT32;
  MemoryHandle memory;
  std::string label;
  Usage usage = {};  // guarded by device->usage_mutex

  std::size_t bytes() const noexcept {
    return static_cast<std::size_t>(size.count()) * size_of(format);
  }
  /// How errors call the image: `Image "noisy"`.
  std::string title() const { return "Image \"" + label + "\""; }
};

/// Bytes of such an image. Throws InvalidArgumentError for extents below 1 and for sizes that do
/// not fit in memory addresses.
std::size_t checked_bytes(const ImageSize& size, DataType format);

}  // namespace mpsnn::runtime
