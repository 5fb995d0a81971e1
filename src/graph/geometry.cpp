// SPDX-License-Identifier: MIT
#include "graph/geometry.h"

#include "base/check.h"
#include "graph/node_table.h"

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

std::pair<std::int64_t, std::int64_t> pads_of(const PaddingPolicy& policy, Axis axis) {
  const auto& [left, top, right, bottom] = *policy.pads;
  return axis == Axis::Y ? std::pair(top, bottom) : std::pair(left, right);
}

Placement place(const PaddingPolicy& policy, Axis axis, const Window& window, std::int64_t source) {
  const std::int64_t k = window.extent();
  Placement result;
  if (policy.pads) {
    const auto [before, after] = pads_of(policy, axis);
    const std::int64_t room = source + before + after - k;
    return {room < 0 ? 0 : room / window.stride + 1, before};
  }
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

namespace {

/// Every window touches the source: what a policy of one's own answers is checked.
void check_touches(const FilterRecord& node, std::string_view axis, const Window& window,
                   std::int64_t source, const Placement& placed) {
  constexpr std::int64_t kMost = std::int64_t{1} << 31;
  const bool fits = placed.size >= 1 && placed.size < kMost && placed.pad > -kMost &&
                    placed.pad < window.extent() &&
                    (placed.size - 1) * window.stride - placed.pad < source;
  if (fits) return;
  fail(node, str("padding_policy (", node.padding.own->label(), ")"),
       str("windows that touch the source's ", source, ' ', axis),
       str(placed.size, " windows of ", window.extent(), ", the first ", placed.pad, " before it"));
}

}  // namespace

void check_reads_zeros(const FilterRecord& node, const Geometry& geometry) {
  if (geometry.edge_mode.value_or(ImageEdgeMode::ZERO) == ImageEdgeMode::ZERO) return;
  fail<UnsupportedError>(
      node, "padding_policy", "the edge mode ZERO",
      enumerator_name("ImageEdgeMode", static_cast<std::int64_t>(*geometry.edge_mode)));
}

void apply_own_policy(const FilterRecord& node, std::int64_t height, std::int64_t width,
                      Geometry& geometry) {
  if (node.padding.own == nullptr) return;
  const Window &y = geometry.y, &x = geometry.x;
  const std::int64_t centre_y = y.extent() / 2, centre_x = x.extent() / 2;
  const PaddingQuery query = {
      .label = node.label,
      .source_height = height,
      .source_width = width,
      .kernel_height = y.kernel,
      .kernel_width = x.kernel,
      .stride_in_pixels_y = y.stride,
      .stride_in_pixels_x = x.stride,
      .dilation_rate_y = y.dilation,
      .dilation_rate_x = x.dilation,
      .suggested = {geometry.at_y.size, geometry.at_x.size, centre_y - geometry.at_y.pad,
                    centre_x - geometry.at_x.pad, geometry.edge_mode}};
  const PaddingPlacement placed = node.padding.own->destination(query);
  geometry.at_y = {placed.height, centre_y - placed.offset_y};
  geometry.at_x = {placed.width, centre_x - placed.offset_x};
  geometry.edge_mode = placed.edge_mode;
  check_touches(node, "rows", y, height, geometry.at_y);
  check_touches(node, "columns", x, width, geometry.at_x);
}

Geometry place(const FilterRecord& node, const Window& y, const Window& x,
               const ImageSize& source) {
  Geometry result{y, x, place(node.padding, Axis::Y, y, source.height),
                  place(node.padding, Axis::X, x, source.width), node.padding.edge_mode};
  apply_own_policy(node, source.height, source.width, result);
  if (result.at_y.size < 1)
    fail(node, "source", str("at least ", y.extent(), " rows"), source.height);
  if (result.at_x.size < 1)
    fail(node, "source", str("at least ", x.extent(), " columns"), source.width);
  return result;
}

}  // namespace mpsnn::graph
