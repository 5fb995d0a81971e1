// SPDX-License-Identifier: MIT
// The public NullDevice: the one backend whose inside users see.
#include "mpsnn/null_device.h"

#include <exception>
#include <utility>

#include "backend/null/null_device.h"
#include "mpsnn/error.h"
#include "runtime/device_state.h"

namespace mpsnn {
namespace {

std::shared_ptr<backend::null_device::NullDevice> make_backend(std::size_t memory_bytes) {
  backend::null_device::Options options;
  options.memory_bytes = memory_bytes;
  return std::make_shared<backend::null_device::NullDevice>(std::move(options));
}

}  // namespace

NullDevice::NullDevice(std::size_t memory_bytes)
    : backend_(make_backend(memory_bytes)),
      device_(std::make_shared<runtime::DeviceState>(backend_)) {}

std::vector<NullCommand> NullDevice::commands() const {
  std::vector<NullCommand> commands;
  for (backend::null_device::Command& command : backend_->commands())
    commands.push_back({std::string(name_of(command.op)), std::move(command.label)});
  return commands;
}

void NullDevice::clear_commands() const { backend_->clear_commands(); }

void NullDevice::fail_command(std::size_t n, const std::string& message) const {
  backend_->fail_command(n, std::make_exception_ptr(DeviceError(message)));
}

std::size_t NullDevice::allocated() const { return backend_->allocated(); }

}  // namespace mpsnn
