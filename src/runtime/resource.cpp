// SPDX-License-Identifier: MIT
#include "runtime/resource.h"

#include <utility>
#include <vector>

#include "base/check.h"
#include "runtime/trace_recorder.h"

namespace mpsnn::runtime {
namespace {

/// The backend's view of the caller's memory.
class AdoptedMemory final : public backend::Memory {
 public:
  AdoptedMemory(std::unique_ptr<backend::Memory> memory, std::shared_ptr<void> owner)
      : owner_(std::move(owner)), memory_(std::move(memory)) {}
  void* device_pointer() const noexcept override { return memory_->device_pointer(); }
  void* host_pointer() const noexcept override { return memory_->host_pointer(); }
  std::size_t bytes() const noexcept override { return memory_->bytes(); }

 private:
  std::shared_ptr<void> owner_;
  std::unique_ptr<backend::Memory> memory_;  // goes first
};

class WrappedMemory final : public backend::Memory {
 public:
  WrappedMemory(void* data, std::size_t bytes, std::shared_ptr<void> owner)
      : data_(data), bytes_(bytes), owner_(std::move(owner)) {}
  void* device_pointer() const noexcept override { return data_; }
  void* host_pointer() const noexcept override { return data_; }
  std::size_t bytes() const noexcept override { return bytes_; }

 private:
  void* data_;
  std::size_t bytes_;
  std::shared_ptr<void> owner_;
};

}  // namespace

void wait_for_maker(const Resource& resource) {
  std::shared_ptr<Piece> maker;
  {
    const std::lock_guard lock(resource.device->usage_mutex);
    maker = resource.usage.writer;
  }
  if (!maker) return;
  if (maker->state() < PieceState::COMMITTED) {
    throw StateError(str(resource.title(),
                         ": read: expected an image that was made, got one whose ",
                         "command buffer \"", maker->label(), "\" was not committed"));
  }
  maker->rethrow_if_held_back();
  if (!maker->is_executed()) {
    const HostSpan span(SpanKind::WAIT, resource.title() + ": read", maker->label());
    maker->wait(PieceState::EXECUTED);
  }
  if (const auto failure = maker->failure()) failure->rethrow();
}

void wait_for_users(const Resource& resource) {
  std::vector<std::shared_ptr<Piece>> users;
  {
    const std::lock_guard lock(resource.device->usage_mutex);
    resource.usage.collect(true, users);
  }
  for (const auto& user : users) user->wait(PieceState::EXECUTED);
}

void take_over(Resource& resource) {
  const std::lock_guard lock(resource.device->usage_mutex);
  const auto& writer = resource.usage.writer;
  if (writer && writer->state() != PieceState::RECORDING) resource.usage.writer = nullptr;
}

MemoryHandle wrap_memory(const DeviceState& device, std::string_view kind, void* data,
                         std::size_t bytes, std::shared_ptr<void> owner) {
  if (data == nullptr) throw_expected(str(kind, ": wrap"), "the caller's memory", "a null pointer");
  if (!device.backend->info().wraps_host_memory) {
    try {
      return std::make_shared<AdoptedMemory>(device.backend->wrap(data, bytes), std::move(owner));
    } catch (const UnsupportedError& error) {
      throw UnsupportedError(str(kind, ": wrap: device \"", device.kind(), "\" ", error.what()));
    }
  }
  return std::make_shared<WrappedMemory>(data, bytes, std::move(owner));
}

}  // namespace mpsnn::runtime
