// SPDX-License-Identifier: MIT
#include "graph/geometry.h"

#include "base/check.h"

namespace mpsnn::graph {
namespace {

std::int64_t style_of(std::int64_t method) {
  if (method & PaddingMethod::SIZE_SAME) return 0;
  return method & PaddingMethod::SIZE_FULL ? 1 : -1;
}

/// true: an odd pixel of padding goes to the top (left), else to the bottom (right).
bool remainder_first(std::int64_t method, Axis axis) {
  const std::int64_t remainder = method & PaddingMethod::ADD_REMAINDER_TO_BOTTOM_RIGHT;
  if (remainder == PaddingMethod::ADD_REMAINDER_TO_TOP_LEFT) return true;
  return remainder == (axis == Axis::Y ? PaddingMethod::ADD_REMAINDER_TO_TOP_RIGHT
                                       : PaddingMethod::ADD_REMAINDER_TO_BOTTOM_LEFT);
}

std::int64_t ceil_divide(std::int64_t a, std::int64_t b) { return a < 1 ? 0 : (a + b - 1) / b; }

}  // namespace

Placement place(const PaddingPolicy& policy, Axis axis, const Window& window, std::int64_t source) {
  const std::int64_t k = window.extent();
  Placement result;
  result.size = ceil_divide(source + style_of(policy.method) * (k - 1), window.stride);
  if (result.size < 1) return result;
  const std::int64_t padding = (result.size - 1) * window.stride + k - source;
  if (policy.method & PaddingMethod::ALIGN_TOP_LEFT) {
    result.pad = padding;
  } else if (policy.method & PaddingMethod::ALIGN_BOTTOM_RIGHT) {
    result.pad = 0;
  } else {
    // Division toward zero as in Apple's formula: it matters where padding is negative.
    result.pad = (padding + (remainder_first(policy.method, axis) ? 1 : 0)) / 2;
  }
  return result;
}

void Geometry::describe(AttributeMap& attributes) const {
  attributes["kernel_height"] = y.kernel;
  attributes["kernel_width"] = x.kernel;
  attributes["stride_y"] = y.stride;
  attributes["stride_x"] = x.stride;
  attributes["pad_top"] = at_y.pad;
  attributes["pad_left"] = at_x.pad;
}

Geometry place(const FilterRecord& node, const Window& y, const Window& x,
               const ImageSize& source) {
  const Geometry result{y, x, place(node.padding, Axis::Y, y, source.height),
                        place(node.padding, Axis::X, x, source.width)};
  if (result.at_y.size < 1)
    fail(node, "source", str("at least ", y.extent(), " rows"), source.height);
  if (result.at_x.size < 1)
    fail(node, "source", str("at least ", x.extent(), " columns"), source.width);
  return result;
}

}  // namespace mpsnn::graph
