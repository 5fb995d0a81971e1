// SPDX-License-Identifier: MIT
#include "runtime/loss_labels.h"

#include <utility>

#include "base/check.h"
#include "mpsnn/error.h"
#include "runtime/device_state.h"

namespace mpsnn {
namespace {

void check_device(const Device& device, const Image& image, const std::string& what) {
  if (image.device() == device) return;
  throw_expected(what, "an image on device \"" + device.state()->title() + "\"",
                 "one on device \"" + image.device().state()->title() + "\"");
}

}  // namespace

LossLabels::LossLabels(const Device& device, const Image& labels,
                       const std::optional<Image>& weights,
                       std::optional<ImageSize> loss_image_size, std::string label)
    : state_(std::make_shared<State>(std::move(label), labels, weights, loss_image_size)) {
  const std::string title = state_->title();
  check_device(device, labels, title + ": labels");
  const ImageSize size = labels.size(), one_an_image = {size.n, 1, 1, 1};
  if (weights) {
    check_device(device, *weights, title + ": weights");
    if (weights->size() != size)
      throw_expected(title + ": weights", to_string(size), to_string(weights->size()));
  }
  if (loss_image_size && *loss_image_size != size && *loss_image_size != one_an_image) {
    throw_expected(title + ": loss_image_size",
                   str(to_string(size), " or ", to_string(one_an_image)),
                   to_string(*loss_image_size));
  }
}

Device LossLabels::device() const { return state_->labels.device(); }
const std::string& LossLabels::label() const { return state_->label; }
const Image& LossLabels::labels_image() const { return state_->labels; }
const std::optional<Image>& LossLabels::weights_image() const { return state_->weights; }
const std::optional<ImageSize>& LossLabels::loss_image_size() const { return state_->loss_size; }

Image LossLabels::loss_image() const {
  const std::lock_guard lock(state_->mutex);
  if (state_->loss) return *state_->loss;
  throw StateError(state_->title() +
                   ": loss_image: expected an encode with these labels before, got none");
}

}  // namespace mpsnn
