// SPDX-License-Identifier: MIT
// image_filter: each channel's sums over a window of pixels. Rows of pixels lie together, so a tap
// is one scaled row added to another, whatever the number of channels.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "backend/cpu/ops/kernel_tools.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/simd.h"
#include "base/attributes.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

constexpr std::int64_t kPart = 2048;  // floats of a row that stay in the first cache meanwhile

MPSNN_SIMD void add_scaled(const float* from, float weight, float* to, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) to[i] += weight * from[i];
}

/// A weight that is not 0, and how many floats behind the window's first pixel it reads.
struct FilterTap {
  std::int64_t distance;
  float weight;
};

}  // namespace

Fit fits_image_filter_plain(const KernelQuery& query) { return all_plain_float32(query); }

std::shared_ptr<Kernel> prepare_image_filter_plain(const KernelQuery& query) {
  const AttributeMap& a = query.attributes;
  const ImageSize source = query.inputs[0].image(), result = query.outputs[0].image();
  const std::int64_t height = get_int(a, "kernel_height"), width = get_int(a, "kernel_width");
  const std::vector<double>& weights = get_floats(a, "weights");
  check_internal(source.n == result.n && source.channels == result.channels &&
                     source.height == result.height + height - 1 &&
                     source.width == result.width + width - 1 &&
                     static_cast<std::int64_t>(weights.size()) == height * width,
                 "an image filter's source has the margins of its window");
  const std::int64_t source_row = source.width * source.channels,
                     result_row = result.width * result.channels;
  std::vector<FilterTap> taps;
  for (std::int64_t i = 0; i < height * width; ++i) {
    const auto weight = static_cast<float>(weights[static_cast<std::size_t>(i)]);
    if (weight != 0) {
      taps.push_back({i / width * source_row + i % width * source.channels, weight});
    }
  }
  const auto bias = static_cast<float>(get_float(a, "bias"));
  const std::int64_t bytes = result_row * 4 * (static_cast<std::int64_t>(taps.size()) + 1);
  return make_kernel([=](const KernelArgs& args) {
    const float* const from = args.input<float>(0);
    float* const to = args.output<float>(0);
    parallel_for(result.n * result.height, grain_for(bytes),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t row = begin; row < end; ++row) {
                     const std::int64_t image = row / result.height, y = row % result.height;
                     const float* const window = from + (image * source.height + y) * source_row;
                     float* const sums = to + row * result_row;
                     for (std::int64_t x = 0; x < result_row; x += kPart) {
                       const std::int64_t count = std::min(kPart, result_row - x);
                       std::fill_n(sums + x, count, bias);
                       for (const FilterTap& tap : taps)
                         add_scaled(window + tap.distance + x, tap.weight, sums + x, count);
                     }
                   }
                 });
  });
}

}  // namespace mpsnn::backend::cpu
