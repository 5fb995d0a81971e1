// SPDX-License-Identifier: MIT
#include "runtime/mapped_memory.h"

#include <typeinfo>
#include <utility>
#include <variant>

#include "runtime/resource.h"

namespace mpsnn::runtime {

MemoryHandle map_bytes(const DeviceState& device,
                       const std::shared_ptr<const base::MappedFile>& file,
                       std::span<const std::byte> bytes) {
  if (bytes.size() < kMapFrom || !device.backend->info().wraps_host_memory) return nullptr;
  base::MappedFile::Writable pages = file->writable(bytes);
  return wrap_memory(device, "Archive", pages.data, bytes.size(), std::move(pages.owner));
}

MemoryHandle map_weights(const DeviceState& device, const DataSource& source) {
  // A class of one's own may give other values.
  if (typeid(source) != typeid(ConvolutionDataSource)) return nullptr;
  const auto& weights = static_cast<const ConvolutionDataSource&>(source).stored_weights();
  const auto* mapped = std::get_if<MappedFloats>(&weights.values);
  if (mapped == nullptr) return nullptr;
  return map_bytes(device, mapped->file(),
                   std::as_bytes(std::span(mapped->data(), mapped->size())));
}

}  // namespace mpsnn::runtime
