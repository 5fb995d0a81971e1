// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "mpsnn/device.h"
#include "runtime/resource.h"

namespace mpsnn::runtime {

/// A batch of images in device memory.
struct ImageState : Resource {
  ImageState(std::shared_ptr<DeviceState> on, ImageSize with_size, DataType with_format,
             MemoryHandle in, std::string with_label = {})
      : Resource{std::move(on), std::move(in), "Image", std::move(with_label)},
        size(with_size),
        format(with_format) {}

  const ImageSize size;
  const DataType format;

  std::size_t bytes() const noexcept {
    return static_cast<std::size_t>(size.count()) * size_of(format);
  }
};

/// Bytes of such an image. Throws InvalidArgumentError for extents below 1 and for sizes that do
/// not fit in memory addresses.
std::size_t checked_bytes(const ImageSize& size, DataType format);

}  // namespace mpsnn::runtime
