// SPDX-License-Identifier: MIT
// Sums over a window of pixels, each channel by itself. Operations: image_filter on a source with
// its margins (padding); slice, addition, multiplication and neuron around it for Sobel's.
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/attributes.h"
#include "graph/kernel_lowering.h"
#include "graph/kernels/image_tools.h"
#include "graph/kernels/matrix_tools.h"

namespace mpsnn::graph {
namespace {

enum Operand : std::size_t { kSource, kDestination };
using Weights = std::vector<double>;

constexpr std::int64_t kLargestKernel = 4095;
constexpr double kLargestSigma = 256;  // a window of 2049 pixels

std::int64_t length_of(const Weights& weights) { return static_cast<std::int64_t>(weights.size()); }

AttributeMap filter_attributes(std::int64_t height, std::int64_t width, Weights weights,
                               double bias = 0) {
  return {{"kernel_height", height},
          {"kernel_width", width},
          {"weights", std::move(weights)},
          {"bias", bias}};
}

/// The source that a window of the clip rectangle's pixels reads, margins included.
ValueId read_windows(KernelLowering& to, const Rectangle& clip, std::int64_t height,
                     std::int64_t width) {
  const Rectangle centre = moved(to, clip);
  return read_rectangle(to, kSource,
                        {centre.x - width / 2, centre.y - height / 2, clip.width + width - 1,
                         clip.height + height - 1},
                        get_int(to.attributes(), "edge_mode"));
}

/// What all filters share: `make(clip, result)` appends the operations that write the clip
/// rectangle of the destination.
template <class Make>
void write_clip(KernelLowering& to, Make make) {
  const Rectangle clip = rectangle_of(to, kDestination, "clip_rect");
  const ImagePart part = part_of_image(to, kDestination, clip);
  const ValueId result = to.result_as_float32(kDestination, part.desc, part.offset);
  make(clip, result);
  to.write_back(result, kDestination, part.desc, part.offset);
}

void expect_same_channels(const KernelLowering& to) {
  const ImageSize source = to.desc(kSource).image();
  expect_images_and_channels(to, kDestination, source.n, source.channels);
}

/// Along the columns first, then along the rows.
void filter_separably(KernelLowering& to, const Weights& y, const Weights& x) {
  expect_same_channels(to);
  write_clip(to, [&](const Rectangle& clip, ValueId result) {
    const std::int64_t height = length_of(y), width = length_of(x);
    const ImageSize source = to.desc(kSource).image();
    const ValueId windows = read_windows(to, clip, height, width);
    const ValueId columns = temporary_image(
        to, "columns", {source.n, clip.height, clip.width + width - 1, source.channels});
    to.add(OpId::image_filter, {windows}, {columns}, filter_attributes(height, 1, y), "columns");
    to.add(OpId::image_filter, {columns}, {result}, filter_attributes(1, width, x));
  });
}

void filter(KernelLowering& to, std::int64_t height, std::int64_t width, const Weights& weights) {
  expect_same_channels(to);
  write_clip(to, [&](const Rectangle& clip, ValueId result) {
    to.add(OpId::image_filter, {read_windows(to, clip, height, width)}, {result},
           filter_attributes(height, width, weights, get_float(to.attributes(), "bias")));
  });
}

void lower_convolution(KernelLowering& to) {
  const AttributeMap& a = to.attributes();
  filter(to, get_int(a, "kernel_height"), get_int(a, "kernel_width"), get_floats(a, "weights"));
}

void lower_laplacian(KernelLowering& to) { filter(to, 3, 3, {0, 1, 0, 1, -4, 1, 0, 1, 0}); }

void lower_box(KernelLowering& to) {
  const auto box = [&](std::string_view name) {
    const std::int64_t size = get_int(to.attributes(), name);
    return Weights(static_cast<std::size_t>(size), 1.0 / static_cast<double>(size));
  };
  filter_separably(to, box("kernel_height"), box("kernel_width"));
}

void lower_tent(KernelLowering& to) {
  const auto tent = [&](std::string_view name) {
    const std::int64_t size = get_int(to.attributes(), name), middle = (size + 1) / 2;
    Weights weights;
    for (std::int64_t i = 0; i < size; ++i) {
      weights.push_back(static_cast<double>(std::min(i + 1, size - i)) /
                        static_cast<double>(middle * middle));
    }
    return weights;
  };
  filter_separably(to, tent("kernel_height"), tent("kernel_width"));
}

void lower_gaussian(KernelLowering& to) {
  const double sigma = get_float(to.attributes(), "sigma");
  const auto radius = static_cast<std::int64_t>(4 * sigma + 0.5);
  Weights weights;
  double sum = 0;
  for (std::int64_t i = -radius; i <= radius; ++i) {
    const double distance = static_cast<double>(i) / sigma;
    weights.push_back(std::exp(-0.5 * distance * distance));
    sum += weights.back();
  }
  for (double& weight : weights) weight /= sum;
  filter_separably(to, weights, weights);
}

// ---- Sobel

AttributeMap scaled(double primary, double secondary) {
  constexpr double kFloatMax = std::numeric_limits<float>::max();
  return {{"primary_scale", primary},
          {"secondary_scale", secondary},
          {"bias", 0.0},
          {"minimum_value", -kFloatMax},
          {"maximum_value", kFloatMax}};
}

/// One channel: the first three, weighted.
ValueId grey_of(KernelLowering& to, ValueId colours, ImageSize size) {
  const std::vector<double>& transform = get_floats(to.attributes(), "color_transform");
  size.channels = 1;
  std::vector<ValueId> channels;
  for (std::int64_t c = 0; c < 3; ++c) {
    channels.push_back(temporary_image(to, "channel", size));
    to.add(OpId::slice, {colours}, {channels.back()}, {{"channel_offset", c}}, "channel");
  }
  const ValueId two = temporary_image(to, "grey", size), grey = temporary_image(to, "grey", size);
  to.add(OpId::addition, {channels[0], channels[1]}, {two}, scaled(transform[0], transform[1]),
         "grey");
  to.add(OpId::addition, {two, channels[2]}, {grey}, scaled(1, transform[2]), "grey");
  return grey;
}

void lower_sobel(KernelLowering& to) {
  const ImageSize source = to.desc(kSource).image(), result = to.desc(kDestination).image();
  const bool is_grey = result.channels == 1 && source.channels >= 3;
  if (result.n != source.n || (!is_grey && result.channels != source.channels)) {
    to.fail_operand(kDestination, str(source.n, " images of ", source.channels,
                                      source.channels >= 3 ? " channels, or of 1" : " channels"));
  }
  write_clip(to, [&](const Rectangle& clip, ValueId written) {
    ValueId windows = read_windows(to, clip, 3, 3);
    if (is_grey)
      windows = grey_of(to, windows, {source.n, clip.height + 2, clip.width + 2, source.channels});
    const ImageSize size{source.n, clip.height, clip.width, result.channels};
    const auto squared = [&](const Weights& weights, std::string_view name) {
      const ValueId gradient = temporary_image(to, name, size),
                    square = temporary_image(to, name, size);
      to.add(OpId::image_filter, {windows}, {gradient}, filter_attributes(3, 3, weights), name);
      to.add(OpId::multiplication, {gradient, gradient}, {square}, scaled(1, 1), name);
      return square;
    };
    const ValueId x = squared({-1, 0, 1, -2, 0, 2, -1, 0, 1}, "x"),
                  y = squared({-1, -2, -1, 0, 0, 0, 1, 2, 1}, "y");
    const ValueId sum = temporary_image(to, "sum", size);
    to.add(OpId::addition, {x, y}, {sum}, scaled(1, 1), "sum");
    to.add(OpId::neuron, {sum}, {written},
           {{"neuron_type", static_cast<std::int64_t>(NeuronType::POWER)},
            {"neuron_a", 1.0},
            {"neuron_b", 0.0},
            {"neuron_c", 0.5},
            {"neuron_parameters", std::vector<double>()}});
  });
}

// ---- attributes

void check_odd_kernel(std::string_view title, const AttributeMap& attributes) {
  check_rectangles(title, attributes);
  for (const std::string_view name : {"kernel_width", "kernel_height"}) {
    const std::int64_t size = get_int(attributes, name);
    if (size % 2 == 0) throw_expected(str(title, ": ", name), "an odd number", size);
  }
}

void check_weights(std::string_view title, const AttributeMap& attributes) {
  check_odd_kernel(title, attributes);
  const std::int64_t count =
      get_int(attributes, "kernel_width") * get_int(attributes, "kernel_height");
  const Weights& weights = get_floats(attributes, "weights");
  if (length_of(weights) != count)
    throw_expected(str(title, ": weights"), str(count, " numbers"), weights.size());
}

void check_transform(std::string_view title, const AttributeMap& attributes) {
  check_rectangles(title, attributes);
  const std::vector<double>& transform = get_floats(attributes, "color_transform");
  if (transform.size() != 3)
    throw_expected(str(title, ": color_transform"), "3 numbers", transform.size());
}

AttributeSpec kernel_size(std::string_view name, std::string_view doc) {
  return {.name = name,
          .type = AttributeType::INT,
          .doc = doc,
          .minimum = 1,
          .maximum = kLargestKernel};
}

std::vector<AttributeSpec> kernel_sizes() {
  return {kernel_size("kernel_width", "columns of the window, an odd number"),
          kernel_size("kernel_height", "rows of the window, an odd number")};
}

AttributeSpec numbers(std::string_view name, std::string_view doc) {
  constexpr double kFloatMax = std::numeric_limits<float>::max();
  return {.name = name,
          .type = AttributeType::FLOATS,
          .doc = doc,
          .minimum = -kFloatMax,
          .maximum = kFloatMax};
}

AttributeSpec bias() { return factor("bias", "added to each value", 0.0); }

AttributeSpec color_transform() {
  AttributeSpec spec = numbers("color_transform", "weights of the channels in a grey value");
  spec.default_value = std::vector<double>{0.299, 0.587, 0.114};
  return spec;
}

AttributeSpec sigma() {
  return {.name = "sigma",
          .type = AttributeType::FLOAT,
          .doc = "standard deviation in pixels",
          .minimum = 1.0 / 64,
          .maximum = kLargestSigma};
}

std::vector<AttributeSpec> with_window(std::vector<AttributeSpec> attributes) {
  for (AttributeSpec& spec : window_attributes()) attributes.push_back(std::move(spec));
  return attributes;
}

EncodeMethod method(void (*lower)(KernelLowering&)) {
  return {.doc = "Records the filter.",
          .operands = {{.name = "source_image", .kind = OperandKind::IMAGE, .doc = "any image"},
                       {.name = "destination_image",
                        .kind = OperandKind::IMAGE,
                        .doc = "image of as many images and channels",
                        .writes = true}},
          .lower = lower};
}

// ---- texts

#define MPSNN_WINDOWS                                                                              \
  "Pixel (clip x + i, clip y + j) of the destination belongs to source pixel (offset x + i, "      \
  "offset "                                                                                        \
  "y + j), which is the middle of its window. Outside of the source, as far as it may be, "        \
  "edge_mode says what is read: ZERO, CLAMP the nearest pixel, MIRROR the pixels mirrored at the " \
  "edge, MIRROR_WITH_EDGE mirrored with the edge repeated (Apple has the last two for padding "    \
  "only). Formats may differ; sums are made in float32."

constexpr std::string_view kConvolutionDoc =
    "destination[y, x, c] = bias + sum over i, j of weights[i, j] * source[y + i - kernel_height / "
    "2, x + j - kernel_width / 2, c]: a correlation, the weights are not turned. Weights are given "
    "row by row.\n\n" MPSNN_WINDOWS;
constexpr std::string_view kLaplacianDoc =
    "destination[y, x, c] = bias + the four neighbours of source[y, x, c] - 4 * source[y, x, "
    "c].\n\n" MPSNN_WINDOWS;
constexpr std::string_view kBoxDoc =
    "The mean of kernel_height x kernel_width pixels.\n\n" MPSNN_WINDOWS;
constexpr std::string_view kTentDoc =
    "The mean of kernel_height x kernel_width pixels, weighted with 1, 2 .. 2, 1 along rows and "
    "columns: two box filters of half the size.\n\n" MPSNN_WINDOWS;
constexpr std::string_view kGaussianDoc =
    "The mean of pixels weighted with exp(-d^2 / (2 * sigma^2)), d being the distance along rows "
    "and along columns, up to 4 * sigma + 0.5.\n\n" MPSNN_WINDOWS
    "\n\n**Unlike Apple**: Apple's kernel approximates a Gaussian and does not say how; this is "
    "the sum itself.";
constexpr std::string_view kSobelDoc =
    "The length of the gradient: sqrt(gx^2 + gy^2), gx being the correlation with (-1 0 1, -2 0 2, "
    "-1 0 1) and gy with its transpose, each channel by itself. A destination of one channel with "
    "a "
    "source of three or more gets the gradient of the grey value color_transform[0] * channel 0 + "
    "color_transform[1] * channel 1 + color_transform[2] * channel 2.\n\n" MPSNN_WINDOWS;

constexpr std::string_view kConvolutionExample =
    R"(source = mps.Image(device, np.ones((1, 4, 4, 2), np.float32))
sums = mps.Image(device, size=(1, 4, 4, 2))
commands = mps.CommandBuffer(queue)
kernel = mps.ImageConvolution(device, kernel_width=3, kernel_height=3, weights=[1] * 9)
kernel.encode(commands, source, sums)
commands.commit()
assert np.array_equal(np.asarray(sums)[0, :2, :2, 0], [[4, 6], [6, 9]])
)";
constexpr std::string_view kLaplacianExample =
    R"(source = mps.Image(device, np.arange(1, 17, dtype=np.float32).reshape(1, 4, 4, 1))
edges = mps.Image(device, size=(1, 4, 4, 1))
commands = mps.CommandBuffer(queue)
mps.ImageLaplacian(device).encode(commands, source, edges)
commands.commit()
assert np.array_equal(np.asarray(edges)[0, 0, :, 0], [3, 2, 1, -5])
)";
constexpr std::string_view kBoxExample =
    R"(source = mps.Image(device, np.arange(5, dtype=np.float32).reshape(1, 1, 5, 1))
mean = mps.Image(device, size=(1, 1, 5, 1))
commands = mps.CommandBuffer(queue)
clamp = mps.ImageEdgeMode.CLAMP
box = mps.ImageBox(device, kernel_width=3, kernel_height=1, edge_mode=clamp)
box.encode(commands, source, mean)
commands.commit()
assert np.allclose(np.asarray(mean).ravel(), [1 / 3, 1, 2, 3, 11 / 3])
)";
constexpr std::string_view kTentExample =
    R"(source = mps.Image(device, np.array([0, 0, 4, 0, 0], np.float32).reshape(1, 1, 5, 1))
mean = mps.Image(device, size=(1, 1, 5, 1))
commands = mps.CommandBuffer(queue)
mps.ImageTent(device, kernel_width=3, kernel_height=1).encode(commands, source, mean)
commands.commit()
assert np.array_equal(np.asarray(mean).ravel(), [0, 1, 2, 1, 0])
)";
constexpr std::string_view kGaussianExample =
    R"(source = mps.Image(device, np.ones((1, 8, 8, 1), np.float32))
blurred = mps.Image(device, size=(1, 8, 8, 1))
commands = mps.CommandBuffer(queue)
blur = mps.ImageGaussianBlur(device, sigma=1.5, edge_mode=mps.ImageEdgeMode.CLAMP)
blur.encode(commands, source, blurred)
commands.commit()
assert np.allclose(np.asarray(blurred), 1)
)";
constexpr std::string_view kSobelExample =
    R"(slope = np.broadcast_to(np.arange(5, dtype=np.float32)[:, None], (5, 5, 3))
source = mps.Image(device, slope)
edges = mps.Image(device, size=(1, 5, 5, 1))
commands = mps.CommandBuffer(queue)
mps.ImageSobel(device).encode(commands, source, edges)
commands.commit()
assert np.allclose(np.asarray(edges)[0, 1:-1, 1:-1], 8)
)";

}  // namespace

std::vector<KernelClass> image_filter_kernels() {
  std::vector<AttributeSpec> convolution = kernel_sizes();
  convolution.push_back(numbers("weights", "weights of the window, row by row"));
  convolution.push_back(bias());
  return {
      {.name = "ImageConvolution",
       .apple = "MPSImageConvolution",
       .family = "image_filter",
       .brief = "Correlates each channel with one window of weights",
       .doc = kConvolutionDoc,
       .example = kConvolutionExample,
       .attributes = with_window(std::move(convolution)),
       .methods = {method(lower_convolution)},
       .check = check_weights},
      {.name = "ImageLaplacian",
       .apple = "MPSImageLaplacian",
       .family = "image_filter",
       .brief = "The Laplacian of each channel",
       .doc = kLaplacianDoc,
       .example = kLaplacianExample,
       .attributes = with_window({bias()}),
       .methods = {method(lower_laplacian)},
       .check = check_rectangles},
      {.name = "ImageGaussianBlur",
       .apple = "MPSImageGaussianBlur",
       .family = "image_filter",
       .brief = "Blurs each channel with a Gaussian",
       .doc = kGaussianDoc,
       .example = kGaussianExample,
       .attributes = with_window({sigma()}),
       .methods = {method(lower_gaussian)},
       .check = check_rectangles},
      {.name = "ImageSobel",
       .apple = "MPSImageSobel",
       .family = "image_filter",
       .brief = "The length of the gradient, by Sobel's windows",
       .doc = kSobelDoc,
       .example = kSobelExample,
       .attributes = with_window({color_transform()}),
       .methods = {method(lower_sobel)},
       .check = check_transform},
      {.name = "ImageBox",
       .apple = "MPSImageBox",
       .family = "image_filter",
       .brief = "The mean of a window of pixels",
       .doc = kBoxDoc,
       .example = kBoxExample,
       .attributes = with_window(kernel_sizes()),
       .methods = {method(lower_box)},
       .check = check_odd_kernel},
      {.name = "ImageTent",
       .apple = "MPSImageTent",
       .family = "image_filter",
       .brief = "The mean of a window of pixels that are weighted as a tent",
       .doc = kTentDoc,
       .example = kTentExample,
       .attributes = with_window(kernel_sizes()),
       .methods = {method(lower_tent)},
       .check = check_odd_kernel},
  };
}

}  // namespace mpsnn::graph
