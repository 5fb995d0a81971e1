// SPDX-License-Identifier: MIT
// Sizes and offsets of windowed filters under a padding policy.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "graph/node_records.h"
#include "mpsnn/types.h"

namespace mpsnn::graph {

/// A filter's window along one axis. Row p of the result reads the source rows
/// p * stride - pad + i * dilation, i in [0, kernel).
struct Window {
  std::int64_t kernel = 1, stride = 1, dilation = 1;
  std::int64_t extent() const noexcept { return (kernel - 1) * dilation + 1; }
  /// The same with stride 1.
  Window dense() const noexcept { return {kernel, 1, dilation}; }
};

/// What a policy makes of a window and a source size along one axis.
struct Placement {
  std::int64_t size = 0;  // of the result; < 1: the window does not fit
  std::int64_t pad = 0;   // rows before the source that the first window reads; may be negative
};

enum class Axis : std::uint8_t { X, Y };
/// Apple's formulas: size = ceil((n + style * (k - 1)) / stride) with style -1 valid, 0 same, 1
/// full; padding in all: (size - 1) * stride + k - n, to the sides that alignment and remainder
/// name.
Placement place(const PaddingPolicy& policy, Axis axis, const Window& window, std::int64_t source);
/// Explicit pads before and after the source.
std::pair<std::int64_t, std::int64_t> pads_of(const PaddingPolicy& policy, Axis axis);

/// Height and width of a windowed filter's result and its pads.
struct Geometry {
  Window y, x;
  Placement at_y, at_x;
  std::optional<ImageEdgeMode> edge_mode = std::nullopt;  // the policy's; none: the node's own

  /// Sets kernel_height, kernel_width, stride_y, stride_x, pad_top and pad_left
  /// (base/attributes.h).
  void describe(AttributeMap& attributes) const;
  /// The policy's edge mode, or else the node's.
  std::int64_t edge_mode_or(std::int64_t own) const noexcept {
    return edge_mode ? static_cast<std::int64_t>(*edge_mode) : own;
  }
};

/// Throws through fail() where the policy wants anything but zeros outside of the source.
void check_reads_zeros(const FilterRecord& node, const Geometry& geometry);

/// Lets a policy of one's own change what the others made of a source. Throws through fail() where
/// it answers with windows that do not touch the source.
void apply_own_policy(const FilterRecord& node, std::int64_t height, std::int64_t width,
                      Geometry& geometry);

/// Throws through fail(), naming `source`, where the result would have no row or column.
Geometry place(const FilterRecord& node, const Window& y, const Window& x, const ImageSize& source);

}  // namespace mpsnn::graph
