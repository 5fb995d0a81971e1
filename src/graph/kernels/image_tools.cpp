// SPDX-License-Identifier: MIT
#include "graph/kernels/image_tools.h"

#include "base/attributes.h"

namespace mpsnn::graph {
namespace {

constexpr double kFarthest = 1 << 24;  // pixels

AttributeSpec rectangle(std::string_view name, std::string_view doc) {
  return {.name = name,
          .type = AttributeType::INTS,
          .doc = doc,
          .default_value = std::vector<std::int64_t>(),
          .minimum = 0,
          .maximum = kFarthest};
}

std::string to_text(const Rectangle& r) {
  return str(r.width, " x ", r.height, " at (", r.x, ", ", r.y, ")");
}

bool lies_inside(const Rectangle& r, const ImageSize& image) {
  return r.x >= 0 && r.y >= 0 && r.x + r.width <= image.width && r.y + r.height <= image.height;
}

}  // namespace

AttributeSpec source_offset(std::string_view name) {
  return {.name = name,
          .type = AttributeType::INTS,
          .doc = "column and row of the source that the first written pixel belongs to",
          .default_value = std::vector<std::int64_t>{0, 0},
          .minimum = -kFarthest,
          .maximum = kFarthest};
}

AttributeSpec clip_rect() {
  return rectangle("clip_rect", "x, y, width, height of what is written; empty: all");
}

AttributeSpec clip_rect_source() {
  return rectangle("clip_rect_source", "x, y, width, height of what is read; empty: all");
}

AttributeSpec sampled_edge_mode() {
  AttributeSpec spec = edge_mode("edge_mode");
  spec.supported = {static_cast<std::int64_t>(ImageEdgeMode::ZERO),
                    static_cast<std::int64_t>(ImageEdgeMode::CLAMP)};
  return spec;
}

AttributeSpec edge_mode(std::string_view name) {
  return {.name = name,
          .type = AttributeType::ENUM,
          .doc = "what is read outside of the source",
          .default_value = static_cast<std::int64_t>(ImageEdgeMode::ZERO),
          .enum_name = "ImageEdgeMode",
          .supported = {static_cast<std::int64_t>(ImageEdgeMode::ZERO),
                        static_cast<std::int64_t>(ImageEdgeMode::CLAMP),
                        static_cast<std::int64_t>(ImageEdgeMode::MIRROR),
                        static_cast<std::int64_t>(ImageEdgeMode::MIRROR_WITH_EDGE)}};
}

std::vector<AttributeSpec> window_attributes() {
  return {source_offset(), clip_rect(), edge_mode("edge_mode")};
}

const std::vector<std::int64_t>& get_ints(const AttributeMap& attributes, std::string_view name) {
  return std::get<std::vector<std::int64_t>>(attributes.find(name)->second);
}

void check_rectangles(std::string_view title, const AttributeMap& attributes) {
  for (const auto& [name, value] : attributes) {
    const auto* entries = std::get_if<std::vector<std::int64_t>>(&value);
    if (entries == nullptr) continue;
    if (name.ends_with("offset") && entries->size() != 2) {
      throw_expected(str(title, ": ", name), "a column and a row",
                     str(entries->size(), " numbers"));
    }
    if (!name.starts_with("clip_rect") || entries->empty()) continue;
    if (entries->size() != 4) {
      throw_expected(str(title, ": ", name), "none or 4 numbers (x, y, width, height)",
                     entries->size());
    }
    for (std::size_t i = 2; i < 4; ++i) {
      if ((*entries)[i] < 1)
        throw_expected(str(title, ": ", name), "a width and a height >= 1", (*entries)[i]);
    }
  }
}

Rectangle rectangle_of(const KernelLowering& to, std::size_t i, std::string_view attribute) {
  const ImageSize image = to.desc(i).image();
  const std::vector<std::int64_t>& entries = get_ints(to.attributes(), attribute);
  if (entries.empty()) return {0, 0, image.width, image.height};
  const Rectangle given{entries[0], entries[1], entries[2], entries[3]};
  if (lies_inside(given, image)) return given;
  to.fail(attribute, str("a rectangle in ", image.width, " columns and ", image.height, " rows"),
          to_text(given));
}

Rectangle moved(const KernelLowering& to, const Rectangle& clip, std::string_view attribute) {
  const std::vector<std::int64_t>& offset = get_ints(to.attributes(), attribute);
  return {offset[0], offset[1], clip.width, clip.height};
}

void expect_images_and_channels(const KernelLowering& to, std::size_t i, std::int64_t images,
                                std::int64_t channels) {
  const ImageSize size = to.desc(i).image();
  if (size.n == images && size.channels == channels) return;
  to.fail_operand(i, str(images, " images of ", channels, " channels"));
}

ImagePart part_of_image(const KernelLowering& to, std::size_t i, const Rectangle& rectangle,
                        std::int64_t first_channel, std::int64_t channels) {
  const TensorDesc& whole = to.desc(i);
  if (channels < 0) channels = whole.dims[3] - first_channel;
  const std::vector<std::int64_t> strides = strides_of(whole);
  return {normalized({whole.type,
                      {whole.dims[0], rectangle.height, rectangle.width, channels},
                      nullptr,
                      strides}),
          rectangle.y * strides[1] + rectangle.x * strides[2] + first_channel * strides[3]};
}

ValueId read_rectangle(KernelLowering& to, std::size_t i, const Rectangle& rectangle,
                       std::int64_t edge_mode) {
  const ImageSize image = to.desc(i).image();
  if (lies_inside(rectangle, image)) {
    const ImagePart part = part_of_image(to, i, rectangle);
    return to.as_float32(i, part.desc, part.offset);
  }
  const ValueId padded =
      temporary_image(to, "padded", {image.n, rectangle.height, rectangle.width, image.channels});
  to.add(OpId::padding, {to.as_float32(i)}, {padded},
         {{"before_y", -rectangle.y},
          {"before_x", -rectangle.x},
          {"before_channel", std::int64_t{0}},
          {"edge_mode", edge_mode},
          {"fill_value", 0.0}},
         "padded");
  return padded;
}

ValueId temporary_image(KernelLowering& to, std::string_view name, const ImageSize& size) {
  return to.temporary(
      name, {DataType::FLOAT32, {size.n, size.height, size.width, size.channels}, nullptr});
}

}  // namespace mpsnn::graph
