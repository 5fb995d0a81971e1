// SPDX-License-Identifier: MIT
#include "mpsnn/padding.h"

#include <utility>

#include "base/check.h"

namespace mpsnn {

std::string Padding::label() const { return "a policy of one's own"; }
std::int64_t Padding::padding_method() const { return PaddingPolicy{}.method; }

PaddingPolicy PaddingPolicy::with_pads(std::int64_t left, std::int64_t top, std::int64_t right,
                                       std::int64_t bottom) {
  return {.pads = std::array{left, top, right, bottom}, .edge_mode = ImageEdgeMode::ZERO};
}

PaddingPolicy PaddingPolicy::tensorflow_average_pooling() {
  return {.method = PaddingMethod::ADD_REMAINDER_TO_BOTTOM_RIGHT | PaddingMethod::SIZE_SAME,
          .edge_mode = ImageEdgeMode::CLAMP};
}

PaddingPolicy PaddingPolicy::tensorflow_average_pooling_valid_only() {
  return {.method = PaddingMethod::ADD_REMAINDER_TO_BOTTOM_RIGHT | PaddingMethod::SIZE_VALID_ONLY,
          .edge_mode = ImageEdgeMode::CLAMP};
}

PaddingPolicy PaddingPolicy::of(std::shared_ptr<Padding> own) {
  if (own == nullptr) throw_expected("PaddingPolicy: own", "a Padding", "none");
  const std::int64_t method = own->padding_method() | PaddingMethod::CUSTOM;
  return {.method = method, .own = std::move(own)};
}

}  // namespace mpsnn
