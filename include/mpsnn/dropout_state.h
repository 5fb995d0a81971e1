// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "mpsnn/data_source.h"

namespace mpsnn {

/// How many masks a dropout has made on each device; each run makes the next one, on the device.
/// Every DropoutNode has one of its own unless it is given another's, whose masks it then shares.
/// Parameter "steps": (count % 2^20, count / 2^20), two whole numbers.
class DropoutState final : public DataSource {
 public:
  explicit DropoutState(std::string label = "");
  std::string_view class_name() const noexcept override;
  std::vector<ParameterInfo> parameters() const override;
  std::vector<float> initial(std::string_view parameter) const override;
  void set_initial(std::string_view parameter, std::vector<float> values) override;
  AttributeMap attributes() const override;

 private:
  std::vector<float> steps_ = {0, 0};
};

}  // namespace mpsnn
