// SPDX-License-Identifier: MIT
// Formats and kinds of alpha. Operations: copy; slice, arithmetic, broadcast, channel_affine and
// concatenation where colours change with the alpha channel.
#include <limits>

#include "base/attributes.h"
#include "graph/kernel_lowering.h"
#include "graph/kernels/image_tools.h"

namespace mpsnn::graph {
namespace {

enum Operand : std::size_t { kSource, kDestination };
constexpr double kFloatMax = std::numeric_limits<float>::max();

AttributeMap arithmetic(double primary_scale = 1, double secondary_scale = 1, double bias = 0) {
  return {{"primary_scale", primary_scale},
          {"secondary_scale", secondary_scale},
          {"bias", bias},
          {"minimum_value", -kFloatMax},
          {"maximum_value", kFloatMax}};
}

/// The conversion of one rectangle: colours and alpha apart, and the steps between kinds of alpha.
class AlphaConversion {
 public:
  AlphaConversion(KernelLowering& to, ValueId image, const ImageSize& size)
      : to_(to),
        colour_size_{size.n, size.height, size.width, size.channels - 1},
        alpha_size_{size.n, size.height, size.width, 1} {
    colours_ =
        make(OpId::slice, {image}, "colours", colour_size_, {{"channel_offset", std::int64_t{0}}});
    alpha_ =
        make(OpId::slice, {image}, "alpha", alpha_size_, {{"channel_offset", size.channels - 1}});
  }

  void premultiply() {
    colours_ =
        make(OpId::multiplication, {colours_, alpha_}, "premultiplied", colour_size_, arithmetic());
  }

  /// Colours under an alpha of 0 stay as they are.
  void unpremultiply() {
    const ValueId zero = make(OpId::fill, {}, "zero", alpha_size_, {{"value", 0.0}});
    const ValueId is_zero =
        make(OpId::comparison, {alpha_, zero}, "is_zero", alpha_size_,
             {{"comparison_type", static_cast<std::int64_t>(ComparisonType::EQUAL)},
              {"threshold", 0.0}});
    const ValueId divisor =
        make(OpId::addition, {alpha_, is_zero}, "divisor", alpha_size_, arithmetic());
    colours_ =
        make(OpId::division, {colours_, divisor}, "unpremultiplied", colour_size_, arithmetic());
  }

  /// colours + (1 - alpha) * background, of premultiplied colours.
  void put_over(const std::vector<double>& background) {
    const ValueId zero = make(OpId::fill, {}, "zero", alpha_size_, {{"value", 0.0}});
    const ValueId rest =
        make(OpId::addition, {alpha_, zero}, "rest", alpha_size_, arithmetic(-1, 1, 1));
    const ValueId spread = make(OpId::broadcast, {rest}, "rest", colour_size_, {{"scale", 1.0}});
    const ValueId behind = make(OpId::channel_affine, {spread}, "background", colour_size_,
                                {{"scales", background},
                                 {"biases", std::vector<double>()},
                                 {"binarization", std::int64_t{0}}});
    colours_ = make(OpId::addition, {colours_, behind}, "over", colour_size_, arithmetic());
  }

  void make_opaque() { alpha_ = make(OpId::fill, {}, "opaque", alpha_size_, {{"value", 1.0}}); }

  void write(ValueId result) { to_.add(OpId::concatenation, {colours_, alpha_}, {result}, {}); }

 private:
  ValueId make(OpId op, std::vector<ValueId> inputs, std::string_view name, const ImageSize& size,
               AttributeMap attributes) {
    const ValueId value = temporary_image(to_, name, size);
    to_.add(op, std::move(inputs), {value}, std::move(attributes), name);
    return value;
  }

  KernelLowering& to_;
  ImageSize colour_size_, alpha_size_;
  ValueId colours_ = kNoValue, alpha_ = kNoValue;
};

/// The colours behind; zeros where none are given.
std::vector<double> background_of(const KernelLowering& to, std::int64_t colours) {
  const std::vector<double>& given = get_floats(to.attributes(), "background_color");
  if (given.empty()) return std::vector<double>(static_cast<std::size_t>(colours), 0.0);
  if (static_cast<std::int64_t>(given.size()) != colours)
    to.fail("background_color", str("none or ", colours, " numbers, one a colour"), given.size());
  return given;
}

void convert_alpha(KernelLowering& to, ValueId source, const ImageSize& size, ValueId result) {
  const auto from = static_cast<AlphaType>(get_int(to.attributes(), "source_alpha")),
             kind = static_cast<AlphaType>(get_int(to.attributes(), "destination_alpha"));
  AlphaConversion conversion(to, source, size);
  if (kind == AlphaType::ALPHA_IS_ONE) {
    if (from == AlphaType::NON_PREMULTIPLIED) conversion.premultiply();
    conversion.put_over(background_of(to, size.channels - 1));
  } else if (from == AlphaType::NON_PREMULTIPLIED) {
    conversion.premultiply();
  } else if (from == AlphaType::PREMULTIPLIED) {
    conversion.unpremultiply();
  }
  if (from == AlphaType::ALPHA_IS_ONE || kind == AlphaType::ALPHA_IS_ONE) conversion.make_opaque();
  conversion.write(result);
}

void lower(KernelLowering& to) {
  const AttributeMap& a = to.attributes();
  const ImageSize source = to.desc(kSource).image();
  expect_images_and_channels(to, kDestination, source.n, source.channels);
  const bool keeps_alpha = get_int(a, "source_alpha") == get_int(a, "destination_alpha");
  if (!keeps_alpha && source.channels < 2) to.fail_operand(kSource, "colours and an alpha channel");
  const Rectangle clip = rectangle_of(to, kDestination, "clip_rect");
  const ImagePart part = part_of_image(to, kDestination, clip);
  const ValueId read = read_rectangle(to, kSource, moved(to, clip), get_int(a, "edge_mode"));
  if (keeps_alpha) {
    to.add(OpId::copy, {read}, {to.view(kDestination, part.desc, part.offset)}, {});
    return;
  }
  const ValueId result = to.result_as_float32(kDestination, part.desc, part.offset);
  convert_alpha(to, read, {source.n, clip.height, clip.width, source.channels}, result);
  to.write_back(result, kDestination, part.desc, part.offset);
}

AttributeSpec alpha_type(std::string_view name, std::string_view doc) {
  return {.name = name,
          .type = AttributeType::ENUM,
          .doc = doc,
          .default_value = static_cast<std::int64_t>(AlphaType::ALPHA_IS_ONE),
          .enum_name = "AlphaType"};
}

std::vector<AttributeSpec> attributes() {
  std::vector<AttributeSpec> all = {
      alpha_type("source_alpha", "what the source's last channel says"),
      alpha_type("destination_alpha", "what the destination's last channel is to say"),
      {.name = "background_color",
       .type = AttributeType::FLOATS,
       .doc = "colours behind a source whose alpha is dropped; empty: zeros",
       .default_value = std::vector<double>(),
       .minimum = -kFloatMax,
       .maximum = kFloatMax}};
  for (AttributeSpec& spec : window_attributes()) all.push_back(std::move(spec));
  return all;
}

constexpr std::string_view kDoc =
    R"(Copies images into another format, float32 or float16; values are rounded to the nearest, ties to even. Pixel
(clip x + i, clip y + j) of the destination gets source pixel (offset x + i, offset y + j).

Where source_alpha and destination_alpha differ the last channel is alpha: NON_PREMULTIPLIED to PREMULTIPLIED multiplies
the colours with it, the other way divides by it (colours under an alpha of 0 stay as they are), and to ALPHA_IS_ONE
gives premultiplied colour + (1 - alpha) * background_color and an alpha of 1. From ALPHA_IS_ONE colours stay as they
are and alpha becomes 1. Where both are the same all channels are copied as they are.

**Unlike Apple**: there are no colour spaces (CGColorConversionInfo), and images are not of 8 or 16 bits: an NDArray or
a Matrix holds those.)";

constexpr std::string_view kExample =
    R"(source = mps.Image(device, np.array([[[1, 0.5, 0, 0.5]]], np.float32))
over = mps.Image(device, size=(1, 1, 1, 4), format=mps.DataType.FLOAT16)
commands = mps.CommandBuffer(queue)
alpha = mps.AlphaType.NON_PREMULTIPLIED
conversion = mps.ImageConversion(device, source_alpha=alpha, background_color=[1, 1, 1])
conversion.encode(commands, source, over)
commands.commit()
assert np.array_equal(np.asarray(over).ravel(), [1, 0.75, 0.5, 1])
)";

}  // namespace

std::vector<KernelClass> image_conversion_kernels() {
  return {{.name = "ImageConversion",
           .apple = "MPSImageConversion",
           .family = "image_conversion",
           .brief = "Converts images to another format or kind of alpha",
           .doc = kDoc,
           .example = kExample,
           .attributes = attributes(),
           .methods = {{.doc = "Records the conversion.",
                        .operands = {{.name = "source_image",
                                      .kind = OperandKind::IMAGE,
                                      .doc = "any image"},
                                     {.name = "destination_image",
                                      .kind = OperandKind::IMAGE,
                                      .doc = "image of as many images and channels",
                                      .writes = true}},
                        .lower = lower}},
           .check = check_rectangles}};
}

}  // namespace mpsnn::graph
