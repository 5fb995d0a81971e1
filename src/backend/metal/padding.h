// SPDX-License-Identifier: MIT
// Padding policies of windowed filters. For .mm files.
#pragma once

#include "backend/metal/objects.h"
#include "graph/geometry.h"

namespace mpsnn::backend::metal {

/// Where a filter's windows lie, and what they read outside of the image.
struct WindowRule {
  graph::Geometry geometry;
  ImageEdgeMode edge_mode = ImageEdgeMode::ZERO;
  /// Rows and columns of zeros around the image that count in an average with CLAMP.
  std::int64_t border_y = 0, border_x = 0;
  /// The windows lie on the source with zeros between its pixels.
  bool is_transposed = false;
  /// Rows and columns that each pixel of the geometry's result becomes.
  std::int64_t sub_pixels = 1;
};

/// Whether a window reads a position outside of the image.
bool reads_outside(const graph::Geometry& geometry, const ImageSize& source);

/// Gives a node the policy that places its windows by the rule: the bits of the padding method
/// where they say all, an object of our own else. `own_edge_mode` is that of MPS's kernel by
/// default.
void set_padding(MPSNNFilterNode* made, const graph::FilterRecord& node, const WindowRule& rule,
                 ImageEdgeMode own_edge_mode);
/// The same with an object of our own in any case.
void set_own_padding(MPSNNFilterNode* made, const WindowRule& rule);

}  // namespace mpsnn::backend::metal
