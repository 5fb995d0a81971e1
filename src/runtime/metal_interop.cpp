// SPDX-License-Identifier: MIT
// Behind mpsnn/metal.h: the program's own Metal objects. And probes, which every build refuses
// where the device is no Metal one.
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "backend/interop.h"
#include "mpsnn/command_buffer.h"
#include "mpsnn/error.h"
#include "runtime/command_buffer_state.h"
#include "runtime/image_state.h"
#include "runtime/metal_probe.h"
#include "runtime/queue_state.h"

namespace mpsnn::metal::detail {
namespace {

#ifdef MPSNN_WITH_METAL_DOUBLE
constexpr const char* kKind = "metal-double";
#else
constexpr const char* kKind = "metal";
#endif

backend::Interop& interop_of(runtime::DeviceState& device) {
  if (auto* interop = dynamic_cast<backend::Interop*>(device.backend.get())) return *interop;
  throw UnsupportedError("device: expected one of kind \"" + std::string(kKind) + "\", got \"" +
                         device.kind() + "\"");
}

}  // namespace

std::vector<double> probe(const Device& device, const std::string& name,
                          const std::vector<std::uint64_t>& arguments) {
  return interop_of(*device.state()).probe(name, arguments);
}

}  // namespace mpsnn::metal::detail

#if defined(MPSNN_WITH_METAL) || defined(MPSNN_WITH_METAL_DOUBLE)
namespace mpsnn::backend::metal {
std::shared_ptr<Device> device_over(void* device);
}

namespace mpsnn::metal::detail {
// As mpsnn/metal.h declares them, which only Objective-C can include.
Device device_over(void* device);
void* object_of(const Device& device);
CommandBuffer command_buffer_onto(const Device& device, void* commands, const std::string& label);
Image encode_copy_from(const Device& device, void* commands, void* image);
void encode_copy_to(const Image& image, void* commands, void* to);

namespace {

void check_given(const char* what, const void* object) {
  if (object == nullptr)
    throw InvalidArgumentError(std::string(what) + ": expected an object, got nil");
}

/// What the program's command buffers are one queue of: all of one command queue of its own run in
/// the order in which it commits them.
std::shared_ptr<runtime::QueueLife> life_of(void* queue) {
  static std::mutex mutex;
  static std::map<void*, std::weak_ptr<runtime::QueueLife>> known;
  const std::lock_guard lock(mutex);
  std::erase_if(known, [](const auto& one) { return one.second.expired(); });
  std::shared_ptr<runtime::QueueLife> life = known[queue].lock();
  if (!life) known[queue] = life = std::make_shared<runtime::QueueLife>("the program's queue");
  return life;
}

/// A command buffer onto one of the program's, for an argument of that name.
std::shared_ptr<runtime::QueueState> queue_onto(const std::string& argument, const Device& device,
                                                void* commands, const std::string& label) {
  check_given(argument.c_str(), commands);
  const auto& state = device.state();
  backend::Interop& interop = interop_of(*state);
  auto life = life_of(interop.queue_of(argument, commands));
  auto queue = std::make_shared<runtime::QueueState>(
      state, label, interop.make_queue_onto(commands), std::move(life));
  state->add_queue(queue);
  return queue;
}

/// A copy in the order of all other work; its errors come at once.
void encode_copy(const Device& device, void* commands, runtime::ResourceUse use,
                 std::function<void()> copy) {
  const std::string label = "encode_copy";
  CommandBuffer once(CommandQueue(queue_onto(label + ": commands", device, commands, label)), label,
                     false);
  once.state()->record({.label = label,
                        .function = std::move(copy),
                        .uses = {std::move(use)},
                        .work = backend::HostWork::ENCODE},
                       nullptr);
  once.commit();
  if (const auto failure = once.state()->failure()) failure->rethrow();
}

/// The state of Device("metal"); null where this machine has none.
std::shared_ptr<runtime::DeviceState> built_in() {
  for (const std::string& kind : Device::available()) {
    if (kind == kKind) return Device(kind).state();
  }
  return nullptr;
}

}  // namespace

Device device_over(void* device) {
  check_given("device", device);
  if (auto state = built_in(); state && interop_of(*state).object() == device) return Device(state);
  static std::mutex mutex;
  static std::map<void*, std::weak_ptr<runtime::DeviceState>> known;
  const std::lock_guard lock(mutex);
  std::erase_if(known, [](const auto& one) { return one.second.expired(); });
  if (const auto found = known.find(device); found != known.end()) {
    if (auto state = found->second.lock()) return Device(std::move(state));
  }
  auto state = std::make_shared<runtime::DeviceState>(backend::metal::device_over(device));
  known[device] = state;
  return Device(std::move(state));
}

void* object_of(const Device& device) { return interop_of(*device.state()).object(); }

CommandBuffer command_buffer_onto(const Device& device, void* commands, const std::string& label) {
  return CommandBuffer(
      CommandQueue(queue_onto("command_buffer: commands", device, commands, label)), label, false);
}

Image encode_copy_from(const Device& device, void* commands, void* image) {
  check_given("encode_copy: image", image);
  const backend::Interop& interop = interop_of(*device.state());
  const TensorDesc desc =
      interop.describe("encode_copy: image", image, backend::Interop::Access::READ);
  const ImageSize size = desc.image();
  const auto& state = device.state();
  auto made = std::make_shared<runtime::ImageState>(
      state, size, desc.type, state->allocator.allocate(runtime::checked_bytes(size, desc.type)));
  encode_copy(device, commands, {made, true},
              [&] { interop.copy_from(commands, image, desc, *made->memory); });
  return Image(std::move(made));
}

void encode_copy_to(const Image& image, void* commands, void* to) {
  check_given("encode_copy: to", to);
  const runtime::ImageState& state = *image.state();
  const backend::Interop& interop = interop_of(*state.device);
  const TensorDesc desc = interop.describe("encode_copy: to", to, backend::Interop::Access::WRITE);
  if (desc.image() != state.size || desc.type != state.format) {
    throw InvalidArgumentError("encode_copy: to: expected " + to_string(state.size) + " of " +
                               std::string(name_of(state.format)) + ", got " +
                               to_string(desc.image()) + " of " + std::string(name_of(desc.type)));
  }
  encode_copy(image.device(), commands, {image.state(), false},
              [&] { interop.copy_to(commands, to, desc, *state.memory); });
}

}  // namespace mpsnn::metal::detail
#endif
