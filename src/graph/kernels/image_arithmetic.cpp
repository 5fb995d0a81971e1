// SPDX-License-Identifier: MIT
// Arithmetic of two images. Operations: addition, multiplication, division.
#include <limits>

#include "base/attributes.h"
#include "graph/kernel_lowering.h"
#include "graph/kernels/image_tools.h"
#include "graph/kernels/matrix_tools.h"

namespace mpsnn::graph {
namespace {

enum Operand : std::size_t { kPrimary, kSecondary, kDestination };
constexpr double kFloatMax = std::numeric_limits<float>::max();

/// What a source contributes: as many pixels and channels as are written, or 1 where its stride is
/// 0 and one pixel or channel serves all.
ValueId read_source(KernelLowering& to, std::size_t i, std::string_view prefix,
                    const Rectangle& clip) {
  const AttributeMap& a = to.attributes();
  const std::vector<std::int64_t>& stride = get_ints(a, str(prefix, "_stride_in_pixels"));
  const ImageSize source = to.desc(i).image(), result = to.desc(kDestination).image();
  const bool one_channel = get_int(a, str(prefix, "_stride_in_feature_channels")) == 0;
  const std::int64_t channels = one_channel ? 1 : result.channels;
  if ((source.n != result.n && source.n != 1) || source.channels != channels) {
    to.fail_operand(i, str(result.n, " images, or 1, of ", channels,
                           one_channel ? " channel, its stride being 0" : " channels"));
  }
  Rectangle from = moved(to, clip, str(prefix, "_offset"));
  if (stride[0] == 0) from.width = 1;
  if (stride[1] == 0) from.height = 1;
  return read_rectangle(to, i, from, get_int(a, str(prefix, "_edge_mode")));
}

template <OpId op, bool negates>
void lower(KernelLowering& to) {
  const AttributeMap& a = to.attributes();
  const Rectangle clip = rectangle_of(to, kDestination, "clip_rect");
  const ValueId primary = read_source(to, kPrimary, "primary", clip),
                secondary = read_source(to, kSecondary, "secondary", clip);
  const ImagePart part = part_of_image(to, kDestination, clip);
  const ValueId result = to.result_as_float32(kDestination, part.desc, part.offset);
  const double secondary_scale = get_float(a, "secondary_scale");
  to.add(op, {primary, secondary}, {result},
         {{"primary_scale", get_float(a, "primary_scale")},
          {"secondary_scale", negates ? -secondary_scale : secondary_scale},
          {"bias", get_float(a, "bias")},
          {"minimum_value", get_float(a, "minimum_value")},
          {"maximum_value", get_float(a, "maximum_value")}});
  to.write_back(result, kDestination, part.desc, part.offset);
}

void check(std::string_view title, const AttributeMap& attributes) {
  check_rectangles(title, attributes);
  for (const std::string_view name : {"primary_stride_in_pixels", "secondary_stride_in_pixels"}) {
    const std::size_t count = get_ints(attributes, name).size();
    if (count != 2) throw_expected(str(title, ": ", name), "2 numbers (x, y)", count);
  }
  const double minimum = get_float(attributes, "minimum_value"),
               maximum = get_float(attributes, "maximum_value");
  if (maximum < minimum)
    throw_expected(str(title, ": maximum_value"), str(">= ", minimum), maximum);
}

void check_division(std::string_view title, const AttributeMap& attributes) {
  check(title, attributes);
  if (get_float(attributes, "secondary_scale") == 0)
    throw_expected(str(title, ": secondary_scale"), "a number that is not 0", 0);
}

AttributeSpec strides(std::string_view name) {
  return {.name = name,
          .type = AttributeType::INTS,
          .doc = "x and y, 1 each; 0: one column or row serves all",
          .default_value = std::vector<std::int64_t>{1, 1},
          .minimum = 0,
          .maximum = 1};
}

AttributeSpec channel_stride(std::string_view name) {
  return {.name = name,
          .type = AttributeType::INT,
          .doc = "1; 0: the one channel serves all",
          .default_value = std::int64_t{1},
          .minimum = 0,
          .maximum = 1};
}

std::vector<AttributeSpec> attributes() {
  return {factor("primary_scale", "factor of the primary source", 1.0),
          factor("secondary_scale", "factor of the secondary source", 1.0),
          factor("bias", "added to each value", 0.0),
          factor("minimum_value", "smaller results become this", -kFloatMax),
          factor("maximum_value", "larger results become this", kFloatMax),
          strides("primary_stride_in_pixels"),
          strides("secondary_stride_in_pixels"),
          channel_stride("primary_stride_in_feature_channels"),
          channel_stride("secondary_stride_in_feature_channels"),
          source_offset("primary_offset"),
          source_offset("secondary_offset"),
          edge_mode("primary_edge_mode"),
          edge_mode("secondary_edge_mode"),
          clip_rect()};
}

EncodeMethod method(void (*lower)(KernelLowering&)) {
  constexpr std::string_view kSource = "any image of as many channels, and images or 1";
  return {.doc = "Records the arithmetic.",
          .operands = {{.name = "primary_image", .kind = OperandKind::IMAGE, .doc = kSource},
                       {.name = "secondary_image", .kind = OperandKind::IMAGE, .doc = kSource},
                       {.name = "destination_image",
                        .kind = OperandKind::IMAGE,
                        .doc = "image of any size",
                        .writes = true}},
          .lower = lower};
}

#define MPSNN_RULES                                                                               \
  ", then clamped to [minimum_value, maximum_value]; p = primary_scale * primary, s = "           \
  "secondary_scale * secondary.\n\nPixel (clip x + i, clip y + j) of the destination is made of " \
  "pixel (i, j) from each source's own offset on; a stride of 0 takes the offset's own column, "  \
  "row or the source's one channel for all. What lies outside of a source is read as its edge "   \
  "mode says. One image serves all of a batch. Formats may differ; values are computed in "       \
  "float32."
#define MPSNN_EXAMPLE(kernel, expected)                               \
  "left = mps.Image(device, np.full((1, 2, 2, 1), 6, np.float32))\n"  \
  "right = mps.Image(device, np.full((1, 2, 2, 1), 3, np.float32))\n" \
  "result = mps.Image(device, size=(1, 2, 2, 1))\n"                   \
  "commands = mps.CommandBuffer(queue)\n"                             \
  "mps." kernel                                                       \
  "(device, bias=1.0).encode(commands, left, right, result)\n"        \
  "commands.commit()\n"                                               \
  "assert np.array_equal(np.asarray(result), np.full((1, 2, 2, 1), " expected "))\n"

}  // namespace

std::vector<KernelClass> image_arithmetic_kernels() {
  return {
      {.name = "ImageAdd",
       .apple = "MPSImageAdd",
       .family = "image_arithmetic",
       .brief = "The scaled sum of two images",
       .doc = "destination = p + s + bias" MPSNN_RULES,
       .example = MPSNN_EXAMPLE("ImageAdd", "10"),
       .attributes = attributes(),
       .methods = {method(lower<OpId::addition, false>)},
       .check = check},
      {.name = "ImageSubtract",
       .apple = "MPSImageSubtract",
       .family = "image_arithmetic",
       .brief = "The scaled difference of two images",
       .doc = "destination = p - s + bias" MPSNN_RULES,
       .example = MPSNN_EXAMPLE("ImageSubtract", "4"),
       .attributes = attributes(),
       .methods = {method(lower<OpId::addition, true>)},
       .check = check},
      {.name = "ImageMultiply",
       .apple = "MPSImageMultiply",
       .family = "image_arithmetic",
       .brief = "The scaled product of two images",
       .doc = "destination = p * s + bias" MPSNN_RULES,
       .example = MPSNN_EXAMPLE("ImageMultiply", "19"),
       .attributes = attributes(),
       .methods = {method(lower<OpId::multiplication, false>)},
       .check = check},
      {.name = "ImageDivide",
       .apple = "MPSImageDivide",
       .family = "image_arithmetic",
       .brief = "The scaled quotient of two images",
       .doc =
           "destination = p / s + bias" MPSNN_RULES " Division by 0 gives an infinity, 0 / 0 NaN.",
       .example = MPSNN_EXAMPLE("ImageDivide", "3"),
       .attributes = attributes(),
       .methods = {method(lower<OpId::division, false>)},
       .check = check_division},
  };
}

}  // namespace mpsnn::graph
