// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "mpsnn/device.h"

namespace mpsnn {

/// What a loss compares with, given to `Graph::encode` as a state, and where it leaves its value.
/// Handle: a copy means the same object. Thread-safe. Apple: MPSCNNLossLabels.
class LossLabels {
 public:
  /// `labels` of the predictions' size; `weights` of that size, too: a factor of each element's
  /// loss, none: 1. `loss_image_size`: the labels' size (for reduction NONE) or (N, 1, 1, 1); none:
  /// as the loss's reduction says. Throws InvalidArgumentError for another size, for weights of
  /// another size, and for images of another device.
  LossLabels(const Device& device, const Image& labels,
             const std::optional<Image>& weights = std::nullopt,
             std::optional<ImageSize> loss_image_size = std::nullopt, std::string label = "");

  Device device() const;
  const std::string& label() const;
  const Image& labels_image() const;
  const std::optional<Image>& weights_image() const;
  /// The size that was given; none where the loss's reduction decides.
  const std::optional<ImageSize>& loss_image_size() const;
  /// The loss that the last encode with these labels leaves: float32, a new image at each encode.
  /// Reading it waits for the command buffer. Throws StateError where there was no encode.
  Image loss_image() const;

  struct State;
  const std::shared_ptr<State>& state() const noexcept { return state_; }

 private:
  std::shared_ptr<State> state_;
};

}  // namespace mpsnn
