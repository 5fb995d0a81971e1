// SPDX-License-Identifier: MIT
// Statistics of each channel of an image, written into single pixels. Operations: extremum,
// normalization_statistics, addition_gradient (a scaled sum), copy.
#include "base/attributes.h"
#include "graph/kernel_lowering.h"
#include "graph/kernels/image_tools.h"

namespace mpsnn::graph {
namespace {

enum Operand : std::size_t { kSource, kDestination };

/// Writes values, (n, 1, 1, c) or (n, c), into pixel (column, 0) of the destination.
void write_pixel(KernelLowering& to, ValueId values, std::int64_t column, bool is_image = true) {
  ImagePart part = part_of_image(to, kDestination, {column, 0, 1, 1});
  if (!is_image) {
    const std::vector<std::int64_t> dims = part.desc.dims, strides = strides_of(part.desc);
    part.desc = {part.desc.type, {dims[0], dims[3]}, nullptr, {strides[0], strides[3]}};
  }
  to.add(OpId::copy, {values}, {to.view(kDestination, part.desc, part.offset)}, {},
         "destination_image");
}

/// The part of the source that takes part; the destination is checked for its pixels.
ValueId read_clip(KernelLowering& to, Rectangle& clip, std::int64_t pixels) {
  const ImageSize source = to.desc(kSource).image();
  expect_images_and_channels(to, kDestination, source.n, source.channels);
  if (to.desc(kDestination).image().width < pixels)
    to.fail_operand(kDestination, str("at least ", pixels, " columns"));
  clip = rectangle_of(to, kSource, "clip_rect_source");
  return read_rectangle(to, kSource, clip, static_cast<std::int64_t>(ImageEdgeMode::ZERO));
}

void lower_min_and_max(KernelLowering& to) {
  Rectangle clip;
  const ValueId source = read_clip(to, clip, 2);
  const ImageSize size = to.desc(kSource).image();
  for (const bool takes_maximum : {false, true}) {
    const std::string_view name = takes_maximum ? "maximum" : "minimum";
    const auto reduce = [&](ValueId from, const ImageSize& reduced, std::int64_t axis) {
      const ValueId result = temporary_image(to, name, reduced);
      to.add(OpId::extremum, {from}, {result},
             {{"axis", axis}, {"takes_maximum", takes_maximum}, {"takes_index", false}}, name);
      return result;
    };
    const ValueId row = reduce(source, {size.n, 1, clip.width, size.channels}, 1);
    write_pixel(to, reduce(row, {size.n, 1, 1, size.channels}, 2), takes_maximum ? 1 : 0);
  }
}

void lower_mean_and_variance(KernelLowering& to) {
  Rectangle clip;
  const ValueId source = read_clip(to, clip, 2);
  const ImageSize size = to.desc(kSource).image();
  const TensorDesc statistics{DataType::FLOAT32, {size.n, size.channels}, nullptr};
  const ValueId mean = to.temporary("mean", statistics),
                variance = to.temporary("variance", statistics);
  to.add(OpId::normalization_statistics, {source}, {mean, variance}, {});
  write_pixel(to, mean, 0, false);
  write_pixel(to, variance, 1, false);
}

void lower_mean(KernelLowering& to) {
  Rectangle clip;
  const ValueId source = read_clip(to, clip, 1);
  const ImageSize size = to.desc(kSource).image();
  const ValueId mean = temporary_image(to, "mean", {size.n, 1, 1, size.channels});
  to.add(OpId::addition_gradient, {source}, {mean},
         {{"scale", 1.0 / static_cast<double>(clip.width * clip.height)}});
  write_pixel(to, mean, 0);
}

EncodeMethod method(std::string_view destination, void (*lower)(KernelLowering&)) {
  return {.doc = "Records the statistics.",
          .operands = {{.name = "source_image", .kind = OperandKind::IMAGE, .doc = "any image"},
                       {.name = "destination_image",
                        .kind = OperandKind::IMAGE,
                        .doc = destination,
                        .writes = true}},
          .lower = lower};
}

constexpr std::string_view kMinAndMaxDoc =
    "Pixel (0, 0) of the destination gets the smallest value of each channel of each image, pixel "
    "(1, 0), in column 1, the largest. NaN is both where there is one. Other pixels stay as they "
    "are. Formats may differ.";
constexpr std::string_view kMeanAndVarianceDoc =
    "Pixel (0, 0) of the destination gets the mean of each channel of each image, pixel (1, 0), in "
    "column 1, the variance: the mean of the squared differences from the mean. Other pixels stay "
    "as they are. Formats may differ.";
constexpr std::string_view kMeanDoc =
    "Pixel (0, 0) of the destination gets the mean of each channel of each image. Other pixels "
    "stay as they are. Formats may differ.";

constexpr std::string_view kMinAndMaxExample =
    R"(source = mps.Image(device, np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2))
extrema = mps.Image(device, size=(1, 1, 2, 2))
commands = mps.CommandBuffer(queue)
mps.ImageStatisticsMinAndMax(device).encode(commands, source, extrema)
commands.commit()
assert np.array_equal(np.asarray(extrema)[0, 0], [[0, 1], [6, 7]])
)";
constexpr std::string_view kMeanAndVarianceExample =
    R"(source = mps.Image(device, np.arange(4, dtype=np.float32).reshape(1, 2, 2, 1))
statistics = mps.Image(device, size=(1, 1, 2, 1))
commands = mps.CommandBuffer(queue)
mps.ImageStatisticsMeanAndVariance(device).encode(commands, source, statistics)
commands.commit()
assert np.allclose(np.asarray(statistics).ravel(), [1.5, 1.25])
)";
constexpr std::string_view kMeanExample =
    R"(source = mps.Image(device, np.arange(4, dtype=np.float32).reshape(1, 2, 2, 1))
mean = mps.Image(device, size=(1, 1, 1, 1))
commands = mps.CommandBuffer(queue)
mps.ImageStatisticsMean(device).encode(commands, source, mean)
commands.commit()
assert np.asarray(mean).item() == 1.5
)";

}  // namespace

std::vector<KernelClass> image_statistics_kernels() {
  constexpr std::string_view kTwoPixels =
      "image of as many images and channels, at least two columns";
  return {
      {.name = "ImageStatisticsMinAndMax",
       .apple = "MPSImageStatisticsMinAndMax",
       .family = "image_statistics",
       .brief = "The smallest and the largest value of each channel",
       .doc = kMinAndMaxDoc,
       .example = kMinAndMaxExample,
       .attributes = {clip_rect_source()},
       .methods = {method(kTwoPixels, lower_min_and_max)},
       .check = check_rectangles},
      {.name = "ImageStatisticsMeanAndVariance",
       .apple = "MPSImageStatisticsMeanAndVariance",
       .family = "image_statistics",
       .brief = "Mean and variance of each channel",
       .doc = kMeanAndVarianceDoc,
       .example = kMeanAndVarianceExample,
       .attributes = {clip_rect_source()},
       .methods = {method(kTwoPixels, lower_mean_and_variance)},
       .check = check_rectangles},
      {.name = "ImageStatisticsMean",
       .apple = "MPSImageStatisticsMean",
       .family = "image_statistics",
       .brief = "The mean of each channel",
       .doc = kMeanDoc,
       .example = kMeanExample,
       .attributes = {clip_rect_source()},
       .methods = {method("image of as many images and channels", lower_mean)},
       .check = check_rectangles},
  };
}

}  // namespace mpsnn::graph
