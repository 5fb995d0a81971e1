// SPDX-License-Identifier: MIT
#include "graph/transposed_geometry.h"

#include <tuple>

#include "base/check.h"

namespace mpsnn::graph {
namespace {

/// Apple's rule: stride - 1 zeros between the source's pixels, then a convolution of stride 1 under
/// the policy. Explicit pads are those of the convolution that is undone.
Geometry place_stuffed(const FilterRecord& node, const Window& y, const Window& x,
                       const ImageSize& source) {
  const auto along = [&node](Axis axis, const Window& window, std::int64_t size) {
    const std::int64_t stuffed = (size - 1) * window.stride + 1;
    if (!node.padding.pads) return place(node.padding, axis, window.dense(), stuffed);
    const auto [before, after] = pads_of(node.padding, axis);
    const std::int64_t k = window.extent();
    return Placement{stuffed - 1 + k - before - after, k - 1 - before};
  };
  Geometry geometry{y.dense(), x.dense(), along(Axis::Y, y, source.height),
                    along(Axis::X, x, source.width), node.padding.edge_mode};
  apply_own_policy(node, (source.height - 1) * y.stride + 1, (source.width - 1) * x.stride + 1,
                   geometry);
  for (const auto& [placed, what, size] : {std::tuple(geometry.at_y, "row", source.height),
                                           std::tuple(geometry.at_x, "column", source.width)}) {
    if (placed.size < 1)
      fail(node, "source", str("an image whose result has at least one ", what), size);
  }
  geometry.at_y.pad = y.extent() - 1 - geometry.at_y.pad;
  geometry.at_x.pad = x.extent() - 1 - geometry.at_x.pad;
  return geometry;
}

/// With the source of the convolution that is undone: its size, and the policy's pads there.
Geometry place_like(const FilterRecord& node, const Window& y, const Window& x,
                    const ImageSize& source, const ImageSize& like) {
  Geometry forward = place(node, y, x, like);
  for (const auto& [made, wanted, what, size] :
       {std::tuple(forward.at_y.size, source.height, " rows", like.height),
        std::tuple(forward.at_x.size, source.width, " columns", like.width)}) {
    if (made != wanted) {
      fail(node, "convolution_source",
           str("an image of which the convolution makes ", wanted, what), size);
    }
  }
  forward.at_y.size = like.height;
  forward.at_x.size = like.width;
  return forward;
}

}  // namespace

Geometry place_transposed(const FilterRecord& node, const Window& y, const Window& x,
                          const ImageSize& source, const ImageSize* like) {
  return like != nullptr ? place_like(node, y, x, source, *like)
                         : place_stuffed(node, y, x, source);
}

}  // namespace mpsnn::graph
