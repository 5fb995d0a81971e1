// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "mpsnn/types.h"

/// Padding policies: how windowed filters size and place their results.
namespace mpsnn {

/// Size of a filter's result, and where its windows lie.
struct PaddingPlacement {
  std::int64_t height = 1, width = 1;
  /// The source's row and column on which the first window is centred: it begins floor(k / 2)
  /// before them, k being (kernel - 1) * dilation + 1. Apple: MPSOffset.
  std::int64_t offset_y = 0, offset_x = 0;
  /// What is read outside of the source; none: the node's own.
  std::optional<ImageEdgeMode> edge_mode = std::nullopt;
  friend bool operator==(const PaddingPlacement&, const PaddingPlacement&) = default;
};

/// What a policy of one's own is asked. A transposed convolution asks about its source with the
/// zeros put in and windows of stride 1.
struct PaddingQuery {
  std::string label;  // the node's
  std::int64_t source_height = 1, source_width = 1;
  std::int64_t kernel_height = 1, kernel_width = 1;
  std::int64_t stride_in_pixels_y = 1, stride_in_pixels_x = 1;
  std::int64_t dilation_rate_y = 1, dilation_rate_x = 1;
  /// What the bits of padding_method() say.
  PaddingPlacement suggested;
};

/// A policy of one's own. Called when a plan is made, from any thread; the same query must have the
/// same answer. Gradient nodes ask the policy of their forward nodes. Apple: MPSNNPadding, with the
/// bit Custom.
class Padding {
 public:
  virtual ~Padding() = default;
  /// How errors call it.
  virtual std::string label() const;
  /// Bits of PaddingMethod from which the suggestion is made. Default: as PaddingPolicy's.
  virtual std::int64_t padding_method() const;
  /// The placement. Every window must touch the source. Apple:
  /// destinationImageDescriptorForSourceImages:sourceStates:forKernel:suggestedDescriptor:.
  virtual PaddingPlacement destination(const PaddingQuery& query) const = 0;
};

/// How a filter sizes and places its result. Apple: MPSNNPadding, MPSNNDefaultPadding.
struct PaddingPolicy {
  /// Bits of PaddingMethod. Default: centred, remainder to top-left, same size (Apple's default).
  std::int64_t method = PaddingMethod::ALIGN_CENTERED | PaddingMethod::ADD_REMAINDER_TO_TOP_LEFT |
                        PaddingMethod::SIZE_SAME;
  /// Rows and columns around the source, in the place of what the method says: left, top, right,
  /// bottom. The result has floor((n + before + after - k) / stride) + 1 rows or columns; that of a
  /// transposed convolution (n - 1) * stride + k - before - after.
  std::optional<std::array<std::int64_t, 4>> pads = std::nullopt;
  /// What is read outside of the source; none: the node's own.
  std::optional<ImageEdgeMode> edge_mode = std::nullopt;
  /// Decides last; null: none. Goes with the bit CUSTOM.
  std::shared_ptr<Padding> own = nullptr;

  /// As PyTorch pads convolutions: zeros around the source.
  static PaddingPolicy with_pads(std::int64_t left, std::int64_t top, std::int64_t right,
                                 std::int64_t bottom);
  /// Apple: paddingForTensorflowAveragePooling: same size, remainder to the bottom right, CLAMP.
  static PaddingPolicy tensorflow_average_pooling();
  /// Apple: paddingForTensorflowAveragePoolingValidOnly: valid only, CLAMP.
  static PaddingPolicy tensorflow_average_pooling_valid_only();
  /// Throws InvalidArgumentError for null.
  static PaddingPolicy of(std::shared_ptr<Padding> own);

  friend bool operator==(const PaddingPolicy&, const PaddingPolicy&) = default;
};

}  // namespace mpsnn
