// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <string>
#include <vector>

#include "backend/backend.h"

namespace mpsnn::runtime {

/// Answers the planner from a backend's table: the first row of the operation that fits.
class TableChooser final : public KernelChooser {
 public:
  explicit TableChooser(const backend::Device& device);
  std::shared_ptr<const Kernel> choose(const KernelQuery& query) const override;
  bool has(const KernelQuery& query) const override;

 private:
  std::string kind_;
  int threads_;
  std::array<std::vector<const backend::KernelRow*>, kOpCount> rows_;  // in order of preference
};

}  // namespace mpsnn::runtime
