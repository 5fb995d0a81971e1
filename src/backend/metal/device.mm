// SPDX-License-Identifier: MIT
#include "backend/metal/device.h"

#include <cstring>
#include <mutex>

#include "backend/interop.h"
#include "backend/metal/event.h"
#include "backend/metal/generators.h"
#include "backend/metal/graph_kernel.h"
#include "backend/metal/images.h"
#include "backend/metal/interop.h"
#include "backend/metal/kernels.h"
#include "backend/metal/memory.h"
#include "backend/metal/probes.h"
#include "backend/metal/stream.h"
#include "mpsnn/error.h"

namespace mpsnn::backend::metal {
namespace {

#ifdef MPSNN_METAL_KIND
constexpr std::string_view kKind = MPSNN_METAL_KIND;
#else
constexpr std::string_view kKind = "metal";
#endif

class MetalDevice final : public Device, public Interop, private GraphCompiler {
 public:
  explicit MetalDevice(Owned<id<MTLDevice>> device) : device_(std::move(device)) {
    info_.kind = kKind;
    info_.name = to_string([device_.get() name]);
    info_.memory_bytes = [device_.get() maxBufferLength];
    info_.unified_memory = true;  // every buffer is shared, on discrete GPUs, too
    info_.wraps_host_memory = false;
  }

  const DeviceInfo& info() const noexcept override { return info_; }
  std::unique_ptr<Memory> allocate(std::size_t bytes) override {
    return make_memory(device_.get(), buffers_, bytes);
  }
  std::unique_ptr<Memory> wrap(void* data, std::size_t bytes) override {
    return wrap_memory(device_.get(), buffers_, data, bytes);
  }
  void write(Memory& to, std::size_t offset, const void* from, std::size_t bytes) override {
    if (bytes != 0) std::memcpy(static_cast<std::byte*>(to.host_pointer()) + offset, from, bytes);
  }
  void read(const Memory& from, std::size_t offset, void* to, std::size_t bytes) override {
    if (bytes != 0)
      std::memcpy(to, static_cast<const std::byte*>(from.host_pointer()) + offset, bytes);
  }
  std::unique_ptr<Queue> make_queue(const std::string& label) override {
    return metal::make_queue(
        label, std::make_unique<CommandStream>(device_.get(), buffers_, generators_, label));
  }
  std::shared_ptr<Event> make_event(const std::string& label) override {
    return std::make_shared<SharedEvent>(device_.get(), label);
  }
  std::span<const KernelRow> kernels() const noexcept override { return kernel_rows(); }
  const GraphCompiler* graph_compiler() const noexcept override { return this; }

  void* object() const noexcept override { return device_.get(); }
  std::unique_ptr<Queue> make_queue_onto(void* commands) override {
    auto stream = std::make_unique<CommandStream>(device_.get(), buffers_, generators_, updates_,
                                                  static_cast<id<MTLCommandBuffer>>(commands));
    return metal::make_queue_onto(std::move(stream), program_commands(commands));
  }
  void* queue_of(std::string_view argument, void* commands) const override {
    return metal::queue_of(argument, commands, device_.get());
  }
  TensorDesc describe(std::string_view argument, void* image, Access access) const override {
    return describe_image(argument, image, device_.get(), access);
  }
  void copy_from(void* commands, void* image, const TensorDesc& desc,
                 const Memory& to) const override {
    guarded("copy from an image", [&] {
      const std::lock_guard lock(copying_);
      copies_.copy_out(static_cast<id<MTLCommandBuffer>>(commands), batch_of(image),
                       buffers_->find(to.device_pointer()), desc);
    });
  }
  void copy_to(void* commands, void* image, const TensorDesc& desc,
               const Memory& from) const override {
    guarded("copy to an image", [&] {
      const std::lock_guard lock(copying_);
      copies_.copy_in(static_cast<id<MTLCommandBuffer>>(commands),
                      buffers_->find(from.device_pointer()), batch_of(image), desc);
    });
  }
  std::vector<double> probe(std::string_view name,
                            std::span<const std::uint64_t> arguments) const override {
    return run_probe(device_.get(), name, arguments);
  }

 private:
  std::shared_ptr<const Kernel> compile(const graph::WholeGraph& graph) const override {
    return make_graph_kernel(graph, device_.get(), info_.kind);
  }

  const Owned<id<MTLDevice>> device_;
  const std::shared_ptr<BufferMap> buffers_ = std::make_shared<BufferMap>();
  const std::shared_ptr<Generators> generators_ = std::make_shared<Generators>();
  const std::shared_ptr<PendingUpdates> updates_ = std::make_shared<PendingUpdates>();
  mutable std::mutex copying_;
  const ImageCopies copies_{device_.get()};
  DeviceInfo info_;
};

/// Those of the machine; without a window server or in a sandbox Metal was seen to list none where
/// it has a default (https://github.com/iree-org/iree/pull/24839).
Owned<NSArray<id<MTLDevice>>*> all_devices() {
#if !TARGET_OS_IPHONE
  Owned<NSArray<id<MTLDevice>>*> listed(MTLCopyAllDevices());
  if ([listed.get() count] > 0) return listed;
#endif
  Owned<id<MTLDevice>> device(MTLCreateSystemDefaultDevice());
  return Owned<NSArray<id<MTLDevice>>*>::retained(device ? @[ device.get() ] : @[]);
}

/// The system's default. Programs that show nothing were seen to have none where Metal lists a
/// device (https://github.com/antirez/ds4/pull/92): then the first that it lists.
Owned<id<MTLDevice>> default_device() {
  Owned<id<MTLDevice>> device(MTLCreateSystemDefaultDevice());
  if (device) return device;
  const auto listed = all_devices();
  return Owned<id<MTLDevice>>::retained([listed.get() firstObject]);
}

bool is_low_power(id<MTLDevice> device) {
#if TARGET_OS_IPHONE
  static_cast<void>(device);
  return true;
#else
  return [device isLowPower];
#endif
}

Owned<id<MTLDevice>> find_device(const std::string& name, bool low_power) {
  const auto devices = all_devices();
  std::string there;
  for (id<MTLDevice> device in devices.get()) {
    const std::string own = to_string([device name]);
    const bool is_low = is_low_power(device);
    if ((name.empty() || name == own) && (!low_power || is_low))
      return Owned<id<MTLDevice>>::retained(device);
    there += str(there.empty() ? "\"" : ", \"", own, is_low ? "\" (low power)" : "\"");
  }
  if (there.empty()) return {};
  if (name.empty()) throw_expected("Device: low_power", "a device of low power", there);
  throw_expected("Device: name", str("one of ", there),
                 str('"', name, low_power ? "\" of low power" : "\""));
}

std::shared_ptr<Device> make(Owned<id<MTLDevice>> device) {
  if (!device || !MPSSupportsMTLDevice(device.get())) return nullptr;
  return std::make_shared<MetalDevice>(std::move(device));
}

}  // namespace

std::shared_ptr<Device> make_device(const std::string& name, bool low_power) {
  return guarded("device", [&] { return make(find_device(name, low_power)); });
}

std::shared_ptr<Device> make_device() {
  return guarded("device", [&] { return make(default_device()); });
}

std::shared_ptr<Device> device_over(void* device) {
  return guarded("device", [&]() -> std::shared_ptr<Device> {
    auto theirs = Owned<id<MTLDevice>>::retained(static_cast<id<MTLDevice>>(device));
    if (!MPSSupportsMTLDevice(theirs.get())) {
      throw UnsupportedError(
          str("device: expected one that Metal Performance Shaders can use, got \"",
              to_string([theirs.get() name]), '"'));
    }
    return std::make_shared<MetalDevice>(std::move(theirs));
  });
}

}  // namespace mpsnn::backend::metal
