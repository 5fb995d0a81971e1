// SPDX-License-Identifier: MIT
// grid_sample: bilinear samples at given positions. local_correlation: products of pixels with the
// neighbourhood in another image.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "backend/cpu/ops/kernel_tools.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/simd.h"
#include "base/attributes.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

/// Adds a pixel to a sum, or nothing where it lies outside and is zero.
struct Sampler {
  const float* image;
  ImageSize size;
  bool clamps;

  void add(std::int64_t y, std::int64_t x, float weight, float* to) const {
    if (weight == 0) return;
    if (clamps) {
      y = std::clamp<std::int64_t>(y, 0, size.height - 1);
      x = std::clamp<std::int64_t>(x, 0, size.width - 1);
    } else if (y < 0 || x < 0 || y >= size.height || x >= size.width) {
      return;
    }
    const float* const from = image + (y * size.width + x) * size.channels;
    for (std::int64_t c = 0; c < size.channels; ++c) to[c] += weight * from[c];
  }

  void sample(float y, float x, float* to) const {
    if (!std::isfinite(y) || !std::isfinite(x)) {
      std::fill_n(to, size.channels, std::numeric_limits<float>::quiet_NaN());
      return;
    }
    std::fill_n(to, size.channels, 0.0F);
    // Whatever lies farther out reads the same, and fits an integer.
    const float row = std::clamp(y, -2.0F, static_cast<float>(size.height) + 1),
                column = std::clamp(x, -2.0F, static_cast<float>(size.width) + 1);
    const float top = std::floor(row), left = std::floor(column);
    const float down = row - top, right = column - left;
    const auto at_y = static_cast<std::int64_t>(top), at_x = static_cast<std::int64_t>(left);
    add(at_y, at_x, (1 - down) * (1 - right), to);
    add(at_y, at_x + 1, (1 - down) * right, to);
    add(at_y + 1, at_x, down * (1 - right), to);
    add(at_y + 1, at_x + 1, down * right, to);
  }
};

MPSNN_SIMD float dot(const float* a, const float* b, std::int64_t count) {
  float sum = 0;
  for (std::int64_t i = 0; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

}  // namespace

Fit fits_grid_sample_plain(const KernelQuery& query) { return all_plain_float32(query); }

std::shared_ptr<Kernel> prepare_grid_sample_plain(const KernelQuery& query) {
  const ImageSize source = query.inputs[0].image(), result = query.outputs[0].image();
  check_internal(
      source.n == result.n && source.channels == result.channels &&
          query.inputs[1].image() == (ImageSize{result.n, result.height, result.width, 2}),
      "a grid holds a position for each pixel");
  const bool is_absolute = get_bool(query.attributes, "is_absolute");
  const bool clamps =
      get_int(query.attributes, "edge_mode") == static_cast<std::int64_t>(ImageEdgeMode::CLAMP);
  const std::int64_t row_bytes = result.width * result.channels * 20;
  return make_kernel([=](const KernelArgs& args) {
    parallel_for(
        result.n * result.height, grain_for(row_bytes), [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t row = begin; row < end; ++row) {
            const std::int64_t image = row / result.height, y = row % result.height;
            const Sampler sampler{
                args.input<float>(0) + image * source.height * source.width * source.channels,
                source, clamps};
            const float* const grid = args.input<float>(1) + row * result.width * 2;
            float* const to = args.output<float>(0) + row * result.width * result.channels;
            for (std::int64_t x = 0; x < result.width; ++x) {
              const float own_x = is_absolute ? 0.0F : static_cast<float>(x),
                          own_y = is_absolute ? 0.0F : static_cast<float>(y);
              sampler.sample(own_y + grid[2 * x + 1], own_x + grid[2 * x],
                             to + x * result.channels);
            }
          }
        });
  });
}

Fit fits_local_correlation_plain(const KernelQuery& query) { return all_plain_float32(query); }

std::shared_ptr<Kernel> prepare_local_correlation_plain(const KernelQuery& query) {
  const AttributeMap& a = query.attributes;
  const std::int64_t window_y = get_int(a, "window_y"), window_x = get_int(a, "window_x"),
                     stride_y = get_int(a, "stride_y"), stride_x = get_int(a, "stride_x");
  const ImageSize source = query.inputs[0].image(), neighbours = query.inputs[1].image(),
                  result = query.outputs[0].image();
  check_internal(neighbours.height == source.height + 2 * window_y * stride_y &&
                     neighbours.width == source.width + 2 * window_x * stride_x &&
                     result.channels == (2 * window_y + 1) * (2 * window_x + 1),
                 "a local correlation's secondary image has the margins of its window");
  const std::int64_t channels = source.channels,
                     row_bytes = source.width * result.channels * channels * 4;
  return make_kernel([=](const KernelArgs& args) {
    parallel_for(
        source.n * source.height, grain_for(row_bytes), [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t row = begin; row < end; ++row) {
            const std::int64_t image = row / source.height, y = row % source.height;
            const float* const second =
                args.input<float>(1) + image * neighbours.height * neighbours.width * channels;
            for (std::int64_t x = 0; x < source.width; ++x) {
              const float* const pixel = args.input<float>(0) + (row * source.width + x) * channels;
              float* to = args.output<float>(0) + (row * source.width + x) * result.channels;
              for (std::int64_t j = 0; j <= 2 * window_y; ++j) {
                for (std::int64_t i = 0; i <= 2 * window_x; ++i) {
                  const std::int64_t at = (y + j * stride_y) * neighbours.width + x + i * stride_x;
                  *to++ = dot(pixel, second + at * channels, channels);
                }
              }
            }
          }
        });
  });
}

}  // namespace mpsnn::backend::cpu
