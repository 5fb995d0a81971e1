// SPDX-License-Identifier: MIT
// Resizing to any size. Operation: resampling.
#include "base/attributes.h"
#include "graph/kernel_lowering.h"
#include "graph/kernels/image_tools.h"
#include "graph/kernels/matrix_tools.h"

namespace mpsnn::graph {
namespace {

enum Operand : std::size_t { kSource, kDestination };
constexpr std::int64_t kBilinear = 0, kLanczos = 1;
// Beyond these a result pixel is made of more source pixels than an image has, or all are one.
constexpr double kSmallestScale = 1.0 / 16384, kLargestScale = 16384;

double ratio(std::int64_t to, std::int64_t from) {
  return static_cast<double>(to) / static_cast<double>(from);
}

/// One axis: result = source * scale + translate, pixel p centred at p + 0.5.
struct Axis {
  double scale = 1, translate = 0;
};

AttributeMap resampling(std::int64_t filter, const Axis& y, const Axis& x) {
  return {{"filter", filter},
          {"scale_y", y.scale},
          {"translate_y", y.translate},
          {"scale_x", x.scale},
          {"translate_x", x.translate}};
}

// ---- scales

void check_scale(std::string_view title, const AttributeMap& attributes) {
  check_rectangles(title, attributes);
  const std::vector<double>& transform = get_floats(attributes, "scale_transform");
  if (transform.empty()) return;
  if (transform.size() != 4) {
    throw_expected(str(title, ": scale_transform"),
                   "none or 4 numbers (scale x, scale y, translate x, translate y)",
                   transform.size());
  }
  for (std::size_t i = 0; i < 2; ++i) {
    if (transform[i] < kSmallestScale || transform[i] > kLargestScale)
      throw_expected(str(title, ": scale_transform"), "scales from 2^-14 to 2^14", transform[i]);
  }
}

template <std::int64_t filter>
void lower_scale(KernelLowering& to) {
  const ImageSize source = to.desc(kSource).image(), result = to.desc(kDestination).image();
  expect_images_and_channels(to, kDestination, source.n, source.channels);
  const Rectangle clip = rectangle_of(to, kDestination, "clip_rect");
  const std::vector<double>& transform = get_floats(to.attributes(), "scale_transform");
  Axis x{ratio(result.width, source.width)}, y{ratio(result.height, source.height)};
  if (!transform.empty()) x = {transform[0], transform[2]}, y = {transform[1], transform[3]};
  x.translate -= static_cast<double>(clip.x);
  y.translate -= static_cast<double>(clip.y);
  const ImagePart part = part_of_image(to, kDestination, clip);
  const ValueId written = to.result_as_float32(kDestination, part.desc, part.offset);
  to.add(OpId::resampling, {to.as_float32(kSource)}, {written}, resampling(filter, y, x));
  to.write_back(written, kDestination, part.desc, part.offset);
}

std::vector<AttributeSpec> scale_attributes() {
  return {{.name = "scale_transform",
           .type = AttributeType::FLOATS,
           .doc = "scale x, scale y, translate x, translate y; empty: the source fills the "
                  "destination",
           .default_value = std::vector<double>(),
           .minimum = -1e9,
           .maximum = 1e9},
          clip_rect()};
}

// ---- resizing without half pixels

/// Result position p reads p / scale, from a corner pixel's centre on.
Axis from_centres(std::int64_t result, std::int64_t source, bool align_corners) {
  double scale = ratio(result, source);
  if (align_corners) scale = result > 1 && source > 1 ? ratio(result - 1, source - 1) : 1.0;
  return {scale, 0.5 - 0.5 * scale};
}

void expect_resize_size(const KernelLowering& to, std::int64_t images) {
  const AttributeMap& a = to.attributes();
  to.expect_dims(kDestination, {images, get_int(a, "resize_height"), get_int(a, "resize_width"),
                                to.desc(kSource).dims[3]});
}

void lower_resize(KernelLowering& to) {
  const ImageSize source = to.desc(kSource).image(), result = to.desc(kDestination).image();
  expect_resize_size(to, source.n);
  const bool align_corners = get_bool(to.attributes(), "align_corners");
  to.add(OpId::resampling, {to.operand(kSource)}, {to.operand(kDestination)},
         resampling(kBilinear, from_centres(result.height, source.height, align_corners),
                    from_centres(result.width, source.width, align_corners)));
}

/// The positions from `origin` to `origin + size`, in units of the source's size, corner pixels
/// of the source being 0 and 1.
Axis region_axis(std::int64_t result, std::int64_t source, double origin, double size) {
  const auto last = static_cast<double>(source - 1);
  const double step = result > 1 ? size * last / static_cast<double>(result - 1) : 0.0;
  const double first = result > 1 ? origin * last : (origin + 0.5 * size) * last;
  // A step of 0 (one row, or a source of one) reads one position everywhere.
  const double scale = step > 0 ? 1.0 / step : kLargestScale;
  return {scale, 0.5 - (first + 0.5) * scale};
}

void lower_crop_and_resize(KernelLowering& to) {
  const ImageSize source = to.desc(kSource).image(), result = to.desc(kDestination).image();
  const std::vector<double>& regions = get_floats(to.attributes(), "regions");
  const auto count = static_cast<std::int64_t>(regions.size() / 4);
  expect_resize_size(to, source.n * count);
  const auto view_of = [&](std::size_t operand, std::int64_t image) {
    TensorDesc desc = to.desc(operand);
    const std::int64_t bytes = strides_of(desc)[0];
    desc.dims[0] = 1;
    return to.view(operand, desc, image * bytes);
  };
  for (std::int64_t i = 0; i < source.n * count; ++i) {
    const double* const region = &regions[static_cast<std::size_t>(4 * (i % count))];
    to.add(OpId::resampling, {view_of(kSource, i / count)}, {view_of(kDestination, i)},
           resampling(kBilinear, region_axis(result.height, source.height, region[1], region[3]),
                      region_axis(result.width, source.width, region[0], region[2])));
  }
}

void check_regions(std::string_view title, const AttributeMap& attributes) {
  const std::vector<double>& regions = get_floats(attributes, "regions");
  if (regions.empty() || regions.size() % 4 != 0) {
    throw_expected(str(title, ": regions"),
                   "4 numbers (x, y, width, height) for each of at least one region",
                   str(regions.size(), " numbers"));
  }
  for (std::size_t i = 0; i < regions.size(); ++i) {
    if (i % 4 >= 2 && regions[i] <= 0)
      throw_expected(str(title, ": regions"), "widths and heights above 0", regions[i]);
  }
}

std::vector<AttributeSpec> resize_attributes() {
  return {{.name = "resize_width",
           .type = AttributeType::INT,
           .doc = "columns of the destination",
           .minimum = 1,
           .maximum = 1 << 20},
          {.name = "resize_height",
           .type = AttributeType::INT,
           .doc = "rows of the destination",
           .minimum = 1,
           .maximum = 1 << 20}};
}

std::vector<AttributeSpec> with(std::vector<AttributeSpec> attributes, AttributeSpec another) {
  attributes.push_back(std::move(another));
  return attributes;
}

EncodeMethod method(std::string_view destination, void (*lower)(KernelLowering&)) {
  return {.doc = "Records the resizing.",
          .operands = {{.name = "source_image", .kind = OperandKind::IMAGE, .doc = "any image"},
                       {.name = "destination_image",
                        .kind = OperandKind::IMAGE,
                        .doc = destination,
                        .writes = true}},
          .lower = lower};
}

// ---- texts

constexpr std::string_view kBilinearDoc =
    R"(Interpolates between the two nearest source rows and columns, also where the image shrinks. Destination column x
reads the source position (x + 0.5 - translate_x) / scale_x - 0.5, rows likewise: destination = source * scale +
translate, pixels being centred at halves. Positions outside of the source read its nearest pixel. Without a transform
the source fills the destination: scale = destination size / source size, translate = 0.

Only clip_rect of the destination is written; it does not move the transform. Formats may differ.)";

constexpr std::string_view kLanczosDoc =
    R"(Resizes with the kernel sinc(t) * sinc(t / 3), |t| < 3, centred at the source position (x + 0.5 - translate_x) /
scale_x - 0.5 for destination column x, rows likewise; where the image shrinks the kernel is widened by 1 / scale.
Weights are divided by their sum; positions outside of the source read its nearest pixel. Without a transform the source
fills the destination: scale = destination size / source size, translate = 0.

Only clip_rect of the destination is written; it does not move the transform. Formats may differ.

**Unlike Apple**: Apple does not publish its kernel's width; values differ a little.)";

constexpr std::string_view kResizeDoc =
    R"(Interpolates between the two nearest source rows and columns. Destination column x reads the source position
x * source width / resize_width or, with align_corners, x * (source width - 1) / (resize_width - 1); rows likewise.
Positions outside of the source read its nearest pixel. The destination is (N, resize_height, resize_width, C).)";

constexpr std::string_view kCropDoc =
    R"(Crops regions and resizes each by bilinear interpolation. A region is (x, y, width, height) in units in which the
centre of the source's first column or row is 0 and that of the last 1. Destination column i reads the source position
(x + i * width / (resize_width - 1)) * (source width - 1), the middle of the region where resize_width is 1; rows
likewise. Positions outside of the source read its nearest pixel. The destination is (N * regions, resize_height,
resize_width, C): the regions of image 0, then those of image 1.

**Unlike Apple**: regions are a list of numbers, and their results are one batch. Apple's headers do not state where it
samples; this is the rule of TensorFlow's operation of the same name.)";

constexpr std::string_view kBilinearExample =
    R"(source = mps.Image(device, np.array([[[0], [2]]], np.float32))
wide = mps.Image(device, size=(1, 1, 4, 1))
commands = mps.CommandBuffer(queue)
mps.ImageBilinearScale(device).encode(commands, source, wide)
commands.commit()
assert np.array_equal(np.asarray(wide).ravel(), [0, 0.5, 1.5, 2])
)";

constexpr std::string_view kLanczosExample =
    R"(source = mps.Image(device, np.ones((1, 8, 8, 3), np.float32))
small = mps.Image(device, size=(1, 4, 4, 3))
commands = mps.CommandBuffer(queue)
mps.ImageLanczosScale(device).encode(commands, source, small)
commands.commit()
assert np.allclose(np.asarray(small), 1)
)";

constexpr std::string_view kResizeExample =
    R"(source = mps.Image(device, np.array([[[0], [3]]], np.float32))
wide = mps.Image(device, size=(1, 1, 4, 1))
commands = mps.CommandBuffer(queue)
resize = mps.ResizeBilinear(device, resize_width=4, resize_height=1, align_corners=True)
resize.encode(commands, source, wide)
commands.commit()
assert np.allclose(np.asarray(wide).ravel(), [0, 1, 2, 3])
)";

constexpr std::string_view kCropExample =
    R"(source = mps.Image(device, np.arange(25, dtype=np.float32).reshape(1, 5, 5, 1))
crops = mps.Image(device, size=(2, 3, 3, 1))
commands = mps.CommandBuffer(queue)
parts = [0, 0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
crop = mps.CropAndResizeBilinear(device, resize_width=3, resize_height=3, regions=parts)
crop.encode(commands, source, crops)
commands.commit()
assert np.allclose(np.asarray(crops)[1], np.asarray(source)[0, 2:, 2:])
)";

}  // namespace

std::vector<KernelClass> image_scale_kernels() {
  constexpr std::string_view kAnySize = "image of any size, as many images and channels";
  constexpr std::string_view kSized = "image of the size that is stated";
  return {
      {.name = "ImageBilinearScale",
       .apple = "MPSImageBilinearScale",
       .family = "image_scale",
       .brief = "Resizes images by bilinear interpolation",
       .doc = kBilinearDoc,
       .example = kBilinearExample,
       .attributes = scale_attributes(),
       .methods = {method(kAnySize, lower_scale<kBilinear>)},
       .check = check_scale},
      {.name = "ImageLanczosScale",
       .apple = "MPSImageLanczosScale",
       .family = "image_scale",
       .brief = "Resizes images with Lanczos' kernel",
       .doc = kLanczosDoc,
       .example = kLanczosExample,
       .attributes = scale_attributes(),
       .methods = {method(kAnySize, lower_scale<kLanczos>)},
       .check = check_scale},
      {.name = "ResizeBilinear",
       .apple = "MPSNNResizeBilinear",
       .family = "image_scale",
       .brief = "Resizes images by bilinear interpolation, with or without aligned corners",
       .doc = kResizeDoc,
       .example = kResizeExample,
       .attributes = with(resize_attributes(),
                          flag("align_corners", "centres of corner pixels coincide", false)),
       .methods = {method(kSized, lower_resize)}},
      {.name = "CropAndResizeBilinear",
       .apple = "MPSNNCropAndResizeBilinear",
       .family = "image_scale",
       .brief = "Crops regions and resizes them",
       .doc = kCropDoc,
       .example = kCropExample,
       .attributes = with(resize_attributes(),
                          {.name = "regions",
                           .type = AttributeType::FLOATS,
                           .doc = "x, y, width and height of each region; 0 to 1 is the source",
                           .minimum = -1e4,
                           .maximum = 1e4}),
       .methods = {method(kSized, lower_crop_and_resize)},
       .check = check_regions},
  };
}

}  // namespace mpsnn::graph
