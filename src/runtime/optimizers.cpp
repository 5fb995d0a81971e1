// SPDX-License-Identifier: MIT
// Optimizers encoded by themselves: the update kernels with an optimizer's parameters.
#include <map>
#include <mutex>
#include <utility>

#include "base/check.h"
#include "mpsnn/data_source.h"
#include "mpsnn/kernel.h"
#include "runtime/command_buffer_state.h"
#include "runtime/device_state.h"

namespace mpsnn {

struct Optimizer::Kernels {
  std::map<const runtime::DeviceState*, DeviceKernel> of_devices;  // each kernel holds its device
};

namespace {

std::mutex kernels_mutex;  // of all optimizers: taken once an encode, for a look-up

DeviceKernel make_update_kernel(const Device& device, AttributeMap attributes) {
  const std::string type = std::get<std::string>(attributes.at("type"));
  attributes.erase("type");
  attributes.erase("use_amsgrad");  // the operands tell
  DeviceKernel kernel(device, type + "Update", std::move(attributes));
  kernel.set_label(type);
  return kernel;
}

void check_amsgrad(bool uses, bool given) {
  if (uses == given) return;
  throw_expected("OptimizerAdam: maximum_velocity",
                 uses ? "an operand, as use_amsgrad asks" : "none without use_amsgrad",
                 given ? "one" : "none");
}

}  // namespace

void Optimizer::encode_update(CommandBuffer& commands,
                              const std::vector<std::vector<KernelOperand>>& operands) const {
  const DeviceKernel kernel = [&] {
    const std::lock_guard lock(kernels_mutex);
    if (kernels_ == nullptr) kernels_ = std::make_shared<Kernels>();
    const auto& device = commands.state()->device();
    const auto found = kernels_->of_devices.find(device.get());
    if (found != kernels_->of_devices.end()) return found->second;
    return kernels_->of_devices
        .emplace(device.get(), make_update_kernel(Device(device), attributes()))
        .first->second;
  }();
  kernel.encode_method(commands, "encode", operands, {{"learning_rate", learning_rate()}});
}

void OptimizerStochasticGradientDescent::encode(CommandBuffer& commands,
                                                const KernelOperand& gradient,
                                                const KernelOperand& values,
                                                const KernelOperand& result) const {
  encode_update(commands, {{gradient}, {values}, {result}});
}

void OptimizerStochasticGradientDescent::encode(CommandBuffer& commands,
                                                const KernelOperand& gradient,
                                                const KernelOperand& values,
                                                const KernelOperand& result,
                                                const KernelOperand& momentum) const {
  encode_update(commands, {{gradient}, {values}, {result}, {momentum}});
}

void OptimizerAdam::encode(CommandBuffer& commands, const KernelOperand& gradient,
                           const KernelOperand& values, const KernelOperand& result,
                           const KernelOperand& momentum, const KernelOperand& velocity) const {
  check_amsgrad(use_amsgrad(), false);
  encode_update(commands, {{gradient}, {values}, {result}, {momentum}, {velocity}});
}

void OptimizerAdam::encode(CommandBuffer& commands, const KernelOperand& gradient,
                           const KernelOperand& values, const KernelOperand& result,
                           const KernelOperand& momentum, const KernelOperand& velocity,
                           const KernelOperand& maximum_velocity) const {
  check_amsgrad(use_amsgrad(), true);
  encode_update(commands,
                {{gradient}, {values}, {result}, {momentum}, {velocity}, {maximum_velocity}});
}

void OptimizerRMSProp::encode(CommandBuffer& commands, const KernelOperand& gradient,
                              const KernelOperand& values, const KernelOperand& result,
                              const KernelOperand& sum_of_squares) const {
  encode_update(commands, {{gradient}, {values}, {result}, {sum_of_squares}});
}

}  // namespace mpsnn
