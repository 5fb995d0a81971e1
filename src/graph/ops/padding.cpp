// SPDX-License-Identifier: MIT
// Margins that are added or cut, and reshaping. Operations:
//   padding           source -> result
//   padding_gradient  gradient -> source gradient
//   reshape           source -> result
#include "base/attributes.h"
#include "base/check.h"
#include "graph/lowering.h"
#include "graph/node_table.h"
#include "graph/ops/shapes.h"

namespace mpsnn::graph {
namespace {

constexpr double kFloatMax = std::numeric_limits<float>::max();

std::int64_t value_of(ImageEdgeMode mode) { return static_cast<std::int64_t>(mode); }

// ---- padding

ImageSize padded(const FilterRecord& node, const ImageSize& source) {
  const AttributeMap& a = node.attributes;
  const auto sum = [&](std::string_view axis) {
    return get_int(a, str("padding_size_before_", axis)) +
           get_int(a, str("padding_size_after_", axis));
  };
  return {source.n, source.height + sum("y"), source.width + sum("x"),
          source.channels + sum("channel")};
}

ImageSize pad_shape(const ShapeQuery& query) { return padded(query.node, query.sources[0]); }

ImageSize pad_gradient_shape(const ShapeQuery& query) {
  expect_size(query, 0, "source_gradient", padded(query.node, query.sources[1]));
  return query.sources[1];
}

AttributeMap resolved_padding(const FilterRecord& node) {
  const AttributeMap& a = node.attributes;
  return {{"before_y", get_int(a, "padding_size_before_y")},
          {"before_x", get_int(a, "padding_size_before_x")},
          {"before_channel", get_int(a, "padding_size_before_channel")},
          {"edge_mode", get_int(a, "edge_mode")},
          {"fill_value", get_float(a, "fill_value")}};
}

void lower_pad(Lowering& to) {
  to.add(OpId::padding, {to.source(0)}, {to.result()}, resolved_padding(to.node()));
}

void lower_pad_gradient(Lowering& to) {
  to.add(OpId::padding_gradient, {to.source(0)}, {to.result()}, resolved_padding(to.node()));
}

FilterNode make_pad_gradient(const GradientQuery& query) {
  return FilterNode("PadGradientNode", gradient_then_sources(query), query.forward.attributes());
}

std::vector<AttributeSpec> pad_attributes() {
  const auto size = [](std::string_view name, std::string_view doc) {
    return AttributeSpec{.name = name,
                         .type = AttributeType::INT,
                         .doc = doc,
                         .default_value = std::int64_t{0},
                         .minimum = 0,
                         .maximum = 1 << 20};
  };
  return {size("padding_size_before_x", "columns on the left"),
          size("padding_size_before_y", "rows at the top"),
          size("padding_size_before_channel", "channels before the source's"),
          size("padding_size_after_x", "columns on the right"),
          size("padding_size_after_y", "rows at the bottom"),
          size("padding_size_after_channel", "channels behind the source's"),
          {.name = "edge_mode",
           .type = AttributeType::ENUM,
           .doc = "what the margins hold",
           .default_value = value_of(ImageEdgeMode::CONSTANT),
           .enum_name = "ImageEdgeMode"},
          {.name = "fill_value",
           .type = AttributeType::FLOAT,
           .doc = "what CONSTANT fills margins with",
           .default_value = 0.0,
           .minimum = -kFloatMax,
           .maximum = kFloatMax}};
}

// ---- crop

/// Rectangle and channels that a crop leaves.
ImageSize cropped(const FilterRecord& node, const ImageSize& source) {
  const AttributeMap& a = node.attributes;
  const auto extent = [&](std::string_view size, std::string_view origin, std::int64_t whole) {
    const std::int64_t first = get_int(a, origin), wanted = get_int(a, size),
                       count = wanted == 0 ? whole - first : wanted;
    if (count < 1 || first + count > whole)
      fail(node, size, str("a part of the source's ", whole, " from ", first, " on"), wanted);
    return count;
  };
  return {source.n, extent("result_height", "origin_y", source.height),
          extent("result_width", "origin_x", source.width),
          extent("result_feature_channels", "origin_feature_channel", source.channels)};
}

ImageSize crop_shape(const ShapeQuery& query) { return cropped(query.node, query.sources[0]); }

ImageSize crop_gradient_shape(const ShapeQuery& query) {
  expect_size(query, 0, "source_gradient", cropped(query.node, query.sources[1]));
  return query.sources[1];
}

/// A crop is a padding by negative margins, its gradient one by zeros.
AttributeMap margins(const FilterRecord& node, std::int64_t sign) {
  const AttributeMap& a = node.attributes;
  return {{"before_y", sign * get_int(a, "origin_y")},
          {"before_x", sign * get_int(a, "origin_x")},
          {"before_channel", sign * get_int(a, "origin_feature_channel")},
          {"edge_mode", value_of(ImageEdgeMode::ZERO)},
          {"fill_value", 0.0}};
}

void lower_crop(Lowering& to) {
  to.add(OpId::padding, {to.source(0)}, {to.result()}, margins(to.node(), -1));
}

void lower_crop_gradient(Lowering& to) {
  to.add(OpId::padding, {to.source(0)}, {to.result()}, margins(to.node(), 1));
}

FilterNode make_crop_gradient(const GradientQuery& query) {
  return FilterNode("CropGradientNode", gradient_then_sources(query), query.forward.attributes());
}

std::vector<AttributeSpec> crop_attributes() {
  const auto number = [](std::string_view name, std::string_view doc) {
    return AttributeSpec{.name = name,
                         .type = AttributeType::INT,
                         .doc = doc,
                         .default_value = std::int64_t{0},
                         .minimum = 0};
  };
  return {number("result_width", "columns that are kept; 0: all from origin_x on"),
          number("result_height", "rows that are kept; 0: all from origin_y on"),
          number("result_feature_channels",
                 "channels that are kept; 0: all from origin_feature_channel on"),
          number("origin_x", "the first column"),
          number("origin_y", "the first row"),
          number("origin_feature_channel", "the first channel")};
}

// ---- reshape

ImageSize reshaped(const FilterRecord& node, const ImageSize& source) {
  const AttributeMap& a = node.attributes;
  const ImageSize result = {source.n, get_int(a, "result_height"), get_int(a, "result_width"),
                            get_int(a, "result_feature_channels")};
  // In double: three sizes that a user gives may be more than 64 bits hold.
  const auto count = [](const ImageSize& size) {
    return static_cast<double>(size.height) * static_cast<double>(size.width) *
           static_cast<double>(size.channels);
  };
  const double from = count(source), to = count(result);
  if (from != to)
    fail(node, "source", str("as many values as ", to_string(result)), to_string(source));
  return result;
}

ImageSize reshape_shape(const ShapeQuery& query) { return reshaped(query.node, query.sources[0]); }

ImageSize reshape_gradient_shape(const ShapeQuery& query) {
  expect_size(query, 0, "source_gradient", reshaped(query.node, query.sources[1]));
  return query.sources[1];
}

void lower_reshape(Lowering& to) { to.add(OpId::reshape, {to.source(0)}, {to.result()}, {}); }

FilterNode make_reshape_gradient(const GradientQuery& query) {
  return FilterNode("ReshapeGradientNode", gradient_then_sources(query),
                    query.forward.attributes());
}

std::vector<AttributeSpec> reshape_attributes() {
  const auto size = [](std::string_view name, std::string_view doc) {
    return AttributeSpec{
        .name = name, .type = AttributeType::INT, .doc = doc, .minimum = 1, .maximum = 1 << 30};
  };
  return {size("result_width", "columns of the result"),
          size("result_height", "rows of the result"),
          size("result_feature_channels", "channels of the result")};
}

std::vector<SourceSpec> source(std::string_view doc = "any image") {
  return {{.name = "source", .doc = doc}};
}

std::vector<SourceSpec> gradient_sources() {
  return {{.name = "source_gradient", .doc = "gradient of the forward node's result"},
          {.name = "source_image", .doc = "the forward node's source; only its size is used"}};
}

constexpr std::string_view kPadDoc =
    R"(result[n, y, x, c] = source[n, y - before_y, x - before_x, c - before_channel] where the source has such a value:
puts margins around an image, along x, y and the channels. What stands in them, by edge_mode, along each axis:
CONSTANT fill_value, ZERO zeros, CLAMP the nearest value, MIRROR the values mirrored at the edge value (which is not
repeated), MIRROR_WITH_EDGE mirrored with the edge value repeated. Margins wider than the image mirror again and again.

**Result size**: (N, H + before_y + after_y, W + before_x + after_x, C + before_channel + after_channel).

It copies. Convolutions and poolings pad by themselves, by their padding policy: use this node for what they cannot do.)";

constexpr std::string_view kCropDoc =
    R"(result[n, y, x, c] = source[n, y + origin_y, x + origin_x, c + origin_feature_channel].

**Result size**: (N, result_height, result_width, result_feature_channels). Error at encode where that is not a part of
the source.

Apple has no such node: there one sets offset and clipRect of a kernel, or encodes an MPSNNSlice.)";

constexpr std::string_view kReshapeDoc =
    R"(Value i of the result is value i of the source, with i = (y * W + x) * C + c of either size: the same values in the
same order, that of memory, channels fastest. Images of the batch stay apart.

**Result size**: (N, result_height, result_width, result_feature_channels). Error at encode where that is another number
of values.)";

}  // namespace

std::vector<NodeClass> padding_nodes() {
  return {
      {.name = "PadNode",
       .apple = "MPSNNPadNode",
       .family = "padding",
       .brief = "Puts margins around an image",
       .doc = kPadDoc,
       .sources = source(),
       .attributes = pad_attributes(),
       .shape = pad_shape,
       .lower = lower_pad,
       .gradient_of = make_pad_gradient},
      {.name = "PadGradientNode",
       .apple = "MPSNNPadGradientNode",
       .family = "padding",
       .brief = "Gradient of a padding's source",
       .doc = "result[n, p, q, c] = the sum of source_gradient over the values that repeat "
              "source_image[n, p, q, c]: the value itself, and those of the margins but for "
              "CONSTANT and ZERO.\n\n**Result size**: source_image's.",
       .sources = gradient_sources(),
       .attributes = pad_attributes(),
       .gradient = true,
       .shape = pad_gradient_shape,
       .lower = lower_pad_gradient},
      {.name = "CropNode",
       .apple = "",
       .family = "padding",
       .brief = "A rectangle of an image, or some of its channels",
       .doc = kCropDoc,
       .sources = source(),
       .attributes = crop_attributes(),
       .shape = crop_shape,
       .lower = lower_crop,
       .gradient_of = make_crop_gradient},
      {.name = "CropGradientNode",
       .apple = "",
       .family = "padding",
       .brief = "Gradient of a crop's source",
       .doc = "result[n, y, x, c] = source_gradient[n, y - origin_y, x - origin_x, c - "
              "origin_feature_channel] where the source was kept, 0 elsewhere.\n\n**Result size**: "
              "source_image's.",
       .sources = gradient_sources(),
       .attributes = crop_attributes(),
       .gradient = true,
       .shape = crop_gradient_shape,
       .lower = lower_crop_gradient},
      {.name = "ReshapeNode",
       .apple = "MPSNNReshapeNode",
       .family = "padding",
       .brief = "The values of an image in another size",
       .doc = kReshapeDoc,
       .sources = source(),
       .attributes = reshape_attributes(),
       .shape = reshape_shape,
       .lower = lower_reshape,
       .gradient_of = make_reshape_gradient},
      {.name = "ReshapeGradientNode",
       .apple = "MPSNNReshapeGradientNode",
       .family = "padding",
       .brief = "Gradient of a reshaping's source",
       .doc = "Value i of the result is value i of source_gradient, in the order of "
              "memory.\n\n**Result size**: source_image's.",
       .sources = gradient_sources(),
       .attributes = reshape_attributes(),
       .gradient = true,
       .shape = reshape_gradient_shape,
       .lower = lower_reshape},
  };
}

}  // namespace mpsnn::graph
