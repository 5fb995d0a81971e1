// SPDX-License-Identifier: MIT
#include "mpsnn/dropout_state.h"

#include <utility>

#include "base/check.h"

namespace mpsnn {

DropoutState::DropoutState(std::string label) : DataSource(std::move(label), nullptr) {}

std::string_view DropoutState::class_name() const noexcept { return "DropoutState"; }

std::vector<ParameterInfo> DropoutState::parameters() const {
  return {{"steps", {static_cast<std::int64_t>(steps_.size())}, false}};
}

std::vector<float> DropoutState::initial(std::string_view parameter) const {
  if (parameter == "steps") return steps_;
  throw_expected(str("DropoutState \"", label(), "\": parameter"), "steps",
                 str('"', parameter, '"'));
}

void DropoutState::set_initial(std::string_view parameter, std::vector<float> values) {
  if (values.size() != initial(parameter).size()) {
    throw_expected(str("DropoutState \"", label(), "\": ", parameter),
                   str(steps_.size(), " values"), values.size());
  }
  constexpr float kLimit = 1 << 20;
  for (const float value : values) {
    if (value >= 0 && value < kLimit && value == static_cast<float>(static_cast<int>(value)))
      continue;
    throw_expected(str("DropoutState \"", label(), "\": ", parameter),
                   "whole numbers from 0 to 2^20 - 1", value);
  }
  steps_ = std::move(values);
}

AttributeMap DropoutState::attributes() const { return {}; }

}  // namespace mpsnn
