// SPDX-License-Identifier: MIT
// The part of the public Device that reads and writes parameters.
#include "base/check.h"
#include "runtime/parameter_state.h"

namespace mpsnn {

using runtime::ParameterState;

std::vector<float> Device::read_parameter(const DataSource& source,
                                          const std::string& parameter) const {
  return ParameterState::of(source, state_)->read(source, parameter);
}

void Device::write_parameter(DataSource& source, const std::string& parameter,
                             std::span<const float> values) const {
  ParameterState::of(source, state_)->write(source, parameter, values);
}

std::vector<std::string> Device::parameter_names(const DataSource& source) const {
  return runtime::parameter_names(source);
}

std::int64_t Device::time_step(const DataSource& source) const {
  const std::vector<ParameterInfo> parameters = source.parameters();
  return ParameterState::of(source, state_)->time_step(source, parameters.front().name);
}

void Device::set_time_step(DataSource& source, std::int64_t step) const {
  if (step < 0) throw_expected("Device: set_time_step", ">= 0", step);
  const auto state = ParameterState::of(source, state_);
  for (const ParameterInfo& parameter : source.parameters()) {
    if (parameter.trained) state->set_time_step(source, parameter.name, step);
  }
}

}  // namespace mpsnn
