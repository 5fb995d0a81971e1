// SPDX-License-Identifier: MIT
#pragma once

#include <mutex>
#include <optional>
#include <string>

#include "mpsnn/loss_labels.h"

namespace mpsnn {

struct LossLabels::State {
  const std::string label;
  const Image labels;
  const std::optional<Image> weights;
  const std::optional<ImageSize> loss_size;

  mutable std::mutex mutex = {};
  std::optional<Image> loss = std::nullopt;  // of the last encode

  std::string title() const { return "LossLabels \"" + label + "\""; }
};

}  // namespace mpsnn
