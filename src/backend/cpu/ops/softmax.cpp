// SPDX-License-Identifier: MIT
// softmax, softmax_gradient: over the channels of each pixel.
#include "backend/cpu/ops/softmax.h"

#include "backend/cpu/ops/kernel_tools.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/parallel.h"
#include "base/attributes.h"

namespace mpsnn::backend::cpu {
namespace {

MPSNN_SIMD void softmax(const float* x, float* y, std::int64_t pixels, std::int64_t channels) {
  for (std::int64_t p = 0; p < pixels; ++p, x += channels, y += channels) {
    const float most = largest(x, channels);
    MPSNN_IVDEP
    for (std::int64_t c = 0; c < channels; ++c) y[c] = exponential(x[c] - most);
    const float scale = 1 / lane_sum(y, channels);
    MPSNN_IVDEP
    for (std::int64_t c = 0; c < channels; ++c) y[c] *= scale;
  }
}

MPSNN_SIMD void log_softmax(const float* x, float* y, std::int64_t pixels, std::int64_t channels) {
  for (std::int64_t p = 0; p < pixels; ++p, x += channels, y += channels) {
    const float most = largest(x, channels), rest = logarithm(exponential_sum(x, most, channels));
    MPSNN_IVDEP
    for (std::int64_t c = 0; c < channels; ++c) y[c] = (x[c] - most) - rest;
  }
}

MPSNN_SIMD void softmax_gradient(const float* g, const float* y, float* out, std::int64_t pixels,
                                 std::int64_t channels) {
  for (std::int64_t p = 0; p < pixels; ++p, g += channels, y += channels, out += channels) {
    const float sum = lane_product_sum(g, y, channels);
    MPSNN_IVDEP
    for (std::int64_t c = 0; c < channels; ++c) out[c] = y[c] * (g[c] - sum);
  }
}

MPSNN_SIMD void log_softmax_gradient(const float* g, const float* y, float* out,
                                     std::int64_t pixels, std::int64_t channels) {
  for (std::int64_t p = 0; p < pixels; ++p, g += channels, y += channels, out += channels) {
    const float sum = lane_sum(g, channels);
    MPSNN_IVDEP
    for (std::int64_t c = 0; c < channels; ++c) out[c] = g[c] - exponential(y[c]) * sum;
  }
}

constexpr std::int64_t kFewChannels = 24;  // below, a pixel does not fill a loop over channels
constexpr std::int64_t kPixels = 64;       // that are treated at once then

/// Each pixel's values less its largest one.
MPSNN_INLINE void subtract_largest(const float* x, float* values, std::int64_t pixels,
                                   std::int64_t channels) {
  for (std::int64_t p = 0; p < pixels; ++p, x += channels, values += channels) {
    float most = x[0];
    for (std::int64_t c = 1; c < channels; ++c) most = most > x[c] ? most : x[c];
    for (std::int64_t c = 0; c < channels; ++c) values[c] = x[c] - most;
  }
}

/// The same results' formulas, with the exponentials of many pixels in one loop.
MPSNN_SIMD void softmax_of_few(const float* x, float* y, std::int64_t pixels,
                               std::int64_t channels) {
  float values[kPixels * kFewChannels];
  for (std::int64_t first = 0; first < pixels; first += kPixels) {
    const std::int64_t count = pixels - first < kPixels ? pixels - first : kPixels;
    subtract_largest(x + first * channels, values, count, channels);
    MPSNN_IVDEP
    for (std::int64_t i = 0; i < count * channels; ++i) values[i] = exponential(values[i]);
    for (std::int64_t p = 0; p < count; ++p) {
      const float* const own = values + p * channels;
      float* const to = y + (first + p) * channels;
      float sum = own[0];
      for (std::int64_t c = 1; c < channels; ++c) sum += own[c];
      const float scale = 1 / sum;
      for (std::int64_t c = 0; c < channels; ++c) to[c] = own[c] * scale;
    }
  }
}

MPSNN_SIMD void log_softmax_of_few(const float* x, float* y, std::int64_t pixels,
                                   std::int64_t channels) {
  float values[kPixels * kFewChannels], powers[kPixels * kFewChannels], sums[kPixels];
  for (std::int64_t first = 0; first < pixels; first += kPixels) {
    const std::int64_t count = pixels - first < kPixels ? pixels - first : kPixels;
    subtract_largest(x + first * channels, values, count, channels);
    MPSNN_IVDEP
    for (std::int64_t i = 0; i < count * channels; ++i) powers[i] = exponential(values[i]);
    for (std::int64_t p = 0; p < count; ++p) {
      float sum = powers[p * channels];
      for (std::int64_t c = 1; c < channels; ++c) sum += powers[p * channels + c];
      sums[p] = sum;
    }
    MPSNN_IVDEP
    for (std::int64_t p = 0; p < count; ++p) sums[p] = logarithm(sums[p]);
    for (std::int64_t p = 0; p < count; ++p) {
      for (std::int64_t c = 0; c < channels; ++c)
        y[(first + p) * channels + c] = values[p * channels + c] - sums[p];
    }
  }
}

using Forward = void (*)(const float* x, float* y, std::int64_t pixels, std::int64_t channels);

Forward forward_for(bool logarithm, std::int64_t channels) {
  if (channels <= kFewChannels) return logarithm ? log_softmax_of_few : softmax_of_few;
  return logarithm ? log_softmax : softmax;
}

struct Extent {
  std::int64_t pixels, channels;
  explicit Extent(const TensorDesc& image)
      : pixels(image.count() / image.dims.back()), channels(image.dims.back()) {}
};

}  // namespace

Fit fits_softmax_plain(const KernelQuery& query) { return all_plain_float32(query); }

std::shared_ptr<Kernel> prepare_softmax_plain(const KernelQuery& query) {
  const Extent extent(query.inputs[0]);
  const Forward run = forward_for(get_bool(query.attributes, "logarithm"), extent.channels);
  return make_kernel([extent, run](const KernelArgs& args) {
    parallel_for(
        extent.pixels, grain_for(extent.channels * 16), [&](std::int64_t begin, std::int64_t end) {
          const std::int64_t at = begin * extent.channels;
          run(args.input<float>(0) + at, args.output<float>(0) + at, end - begin, extent.channels);
        });
  });
}

Fit fits_softmax_gradient_plain(const KernelQuery& query) { return all_plain_float32(query); }

std::shared_ptr<Kernel> prepare_softmax_gradient_plain(const KernelQuery& query) {
  const Extent extent(query.inputs[1]);
  const auto run =
      get_bool(query.attributes, "logarithm") ? log_softmax_gradient : softmax_gradient;
  return make_kernel([extent, run](const KernelArgs& args) {
    parallel_for(extent.pixels, grain_for(extent.channels * 16),
                 [&](std::int64_t begin, std::int64_t end) {
                   const std::int64_t at = begin * extent.channels;
                   run(args.input<float>(0) + at, args.input<float>(1) + at,
                       args.output<float>(0) + at, end - begin, extent.channels);
                 });
  });
}

}  // namespace mpsnn::backend::cpu
