// SPDX-License-Identifier: MIT
// Kernels of images on the CPU. Small numbers with exact results.
#include <vector>

#include "mpsnn/array.h"
#include "mpsnn/command_buffer.h"
#include "mpsnn/device.h"
#include "mpsnn/error.h"
#include "mpsnn/kernels.h"
#include "testing.h"

using namespace mpsnn;

namespace {

using Floats = std::vector<float>;

Image image(const Device& device, const ImageSize& size, const Floats& values = {}) {
  Image made(device, size, DataType::FLOAT32);
  if (!values.empty()) made.write(values.data(), values.size() * sizeof(float));
  return made;
}

Floats read(const Image& image) {
  const ImageSize& size = image.size();
  Floats values(static_cast<std::size_t>(size.n * size.height * size.width * size.channels));
  image.read(values.data(), values.size() * sizeof(float));
  return values;
}

/// What `kernel` makes of an image of one channel.
template <class Kernel>
Floats filtered(const Device& device, const Kernel& kernel, std::int64_t height, std::int64_t width,
                const Floats& values) {
  const ImageSize size{1, height, width, 1};
  const Image result = image(device, size);
  CommandBuffer commands(device.command_queue());
  kernel.encode(commands, image(device, size, values), result);
  commands.commit();
  commands.wait_until_completed();
  return read(result);
}

}  // namespace

TEST_CASE("the Laplacian is Apple's measured one") {
  const Device device("cpu");
  Floats values;
  for (int i = 1; i <= 16; ++i) values.push_back(static_cast<float>(i));
  CHECK(filtered(device, ImageLaplacian(device), 4, 4, values) ==
        Floats({3, 2, 1, -5, -4, 0, 0, -9, -8, 0, 0, -13, -29, -18, -19, -37}));
}

TEST_CASE("a window reads beyond the edge what the edge mode says") {
  const Device device("cpu");
  const auto sums = [&](ImageEdgeMode mode) {
    const ImageConvolution kernel(device, {.kernel_width = 5,
                                           .kernel_height = 1,
                                           .weights = std::vector<double>(5, 1.0),
                                           .edge_mode = mode});
    return filtered(device, kernel, 1, 3, {1, 2, 4});
  };
  CHECK(sums(ImageEdgeMode::ZERO) == Floats({7, 7, 7}));
  CHECK(sums(ImageEdgeMode::CLAMP) == Floats({9, 12, 15}));
  CHECK(sums(ImageEdgeMode::MIRROR) == Floats({13, 11, 10}));
  CHECK(sums(ImageEdgeMode::MIRROR_WITH_EDGE) == Floats({10, 12, 13}));
  CHECK_THROWS_AS(sums(ImageEdgeMode::CONSTANT), UnsupportedError);
}

TEST_CASE("channels are joined in the order of the sources; sizes must agree") {
  const Device device("cpu");
  const Image two = image(device, {1, 1, 2, 2}, {1, 2, 3, 4}),
              one = image(device, {1, 1, 2, 1}, {5, 6}), joined = image(device, {1, 1, 2, 3});
  const ChannelConcatenation kernel(device);
  CommandBuffer commands(device.command_queue());
  CHECK_THROWS_AS(kernel.encode(commands, {two, two}, joined), InvalidArgumentError);
  kernel.encode(commands, {two, one}, joined);
  commands.commit();
  commands.wait_until_completed();
  CHECK(read(joined) == Floats({1, 2, 5, 3, 4, 6}));
}
