// SPDX-License-Identifier: MIT
// Arrays whose memory is an archive's file: nothing is copied until it is written.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "base/file.h"
#include "mpsnn/data_source.h"
#include "runtime/device_state.h"

namespace mpsnn::runtime {

/// Smaller arrays are copied: a mapping takes whole pages, and a system has not too many of them.
inline constexpr std::size_t kMapFrom = std::size_t{64} << 10;

/// The pages of `bytes`, a part of the file, as memory of the device; null where they are few or
/// the device cannot use them.
MemoryHandle map_bytes(const DeviceState& device,
                       const std::shared_ptr<const base::MappedFile>& file,
                       std::span<const std::byte> bytes);

/// The same for the weights of a data source that an archive restored; null for all others.
MemoryHandle map_weights(const DeviceState& device, const DataSource& source);

}  // namespace mpsnn::runtime
