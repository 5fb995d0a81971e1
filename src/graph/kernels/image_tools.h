// SPDX-License-Identifier: MIT
// What the families of image kernels share: attributes with the same meaning, and rectangles of
// operands.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "graph/kernel_lowering.h"

namespace mpsnn::graph {

/// Pixels of an image; a rectangle that is read may lie partly outside.
struct Rectangle {
  std::int64_t x = 0, y = 0, width = 0, height = 0;
};

/// A part of an operand, as it lies in memory.
struct ImagePart {
  TensorDesc desc;
  std::int64_t offset = 0;  // bytes
};

/// Column and row of the source that the destination's clip rectangle begins at.
AttributeSpec source_offset(std::string_view name = "offset");
/// What is written of the destination.
AttributeSpec clip_rect();
/// What is read of the source.
AttributeSpec clip_rect_source();
/// Any but CONSTANT: these kernels have no value to fill with.
AttributeSpec edge_mode(std::string_view name);
/// ZERO or CLAMP: what lies between pixels is sampled.
AttributeSpec sampled_edge_mode();
/// offset, clip_rect and edge_mode.
std::vector<AttributeSpec> window_attributes();

/// For KernelClass::check: offsets have two entries, rectangles none or four.
void check_rectangles(std::string_view title, const AttributeMap& attributes);

const std::vector<std::int64_t>& get_ints(const AttributeMap& attributes, std::string_view name);

/// The rectangle of operand i that an attribute holds; all of it where that is empty. Throws where
/// it does not lie inside.
Rectangle rectangle_of(const KernelLowering& to, std::size_t i, std::string_view attribute);
/// The rectangle of the source that a destination's rectangle is made from, by the offset.
Rectangle moved(const KernelLowering& to, const Rectangle& clip,
                std::string_view attribute = "offset");

/// Throws unless operand i has that many images and channels.
void expect_images_and_channels(const KernelLowering& to, std::size_t i, std::int64_t images,
                                std::int64_t channels);

/// A rectangle that lies inside; some channels, below 0: all.
ImagePart part_of_image(const KernelLowering& to, std::size_t i, const Rectangle& rectangle,
                        std::int64_t first_channel = 0, std::int64_t channels = -1);
/// A rectangle as dense float32. What lies outside of the image is filled as the edge mode says.
ValueId read_rectangle(KernelLowering& to, std::size_t i, const Rectangle& rectangle,
                       std::int64_t edge_mode);
/// A value between two operations: float32 (n, height, width, channels).
ValueId temporary_image(KernelLowering& to, std::string_view name, const ImageSize& size);

}  // namespace mpsnn::graph
