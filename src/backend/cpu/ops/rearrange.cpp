// SPDX-License-Identifier: MIT
// sub_pixel, transposed_weights, channel_affine.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "backend/cpu/ops/kernel_tools.h"
#include "backend/cpu/ops/parameter_layout.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/simd.h"
#include "base/attributes.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

/// Small images have `factor`^2 times the channels of large ones.
struct SubPixel {
  ImageSize large;
  std::int64_t factor;

  std::int64_t small_pixel() const noexcept { return factor * factor * large.channels; }
  /// Where the pixels of a large row lie in the small row: `factor` of them side by side.
  std::int64_t offset(std::int64_t y) const noexcept {
    return y % factor * factor * large.channels;
  }

  /// large_row <-> its part of small_row.
  template <class Copy>
  void each_group(std::int64_t y, Copy&& copy) const {
    const std::int64_t run = factor * large.channels;
    for (std::int64_t x = 0; x < large.width / factor; ++x)
      copy(x * run, x * small_pixel() + offset(y), run);
  }
};

struct Affine {
  std::vector<float> scales, biases;
  std::int64_t binarization;
};

MPSNN_SIMD void scale_and_shift(const float* x, const float* scales, const float* biases, float* y,
                                std::int64_t pixels, std::int64_t channels) {
  for (std::int64_t p = 0; p < pixels; ++p, x += channels, y += channels) {
    MPSNN_IVDEP
    for (std::int64_t c = 0; c < channels; ++c) y[c] = x[c] * scales[c] + biases[c];
  }
}

/// NaN becomes `high` where the sign decides, `low` where being positive does.
MPSNN_SIMD void binarize_by_sign(float* y, std::int64_t count, float low) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) y[i] = y[i] < 0 ? low : 1.0F;
}
MPSNN_SIMD void binarize_positive(float* y, std::int64_t count, float low) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) y[i] = y[i] > 0 ? 1.0F : low;
}

void binarize(std::int64_t kind, float* y, std::int64_t count) {
  if (kind == 1 || kind == 2) binarize_by_sign(y, count, kind == 1 ? -1.0F : 0.0F);
  if (kind == 3 || kind == 4) binarize_positive(y, count, kind == 3 ? -1.0F : 0.0F);
}

std::vector<float> values_or(const AttributeMap& attributes, std::string_view name,
                             std::int64_t channels, float otherwise) {
  const std::vector<double>& values = get_floats(attributes, name);
  if (values.empty()) return std::vector<float>(static_cast<std::size_t>(channels), otherwise);
  return {values.begin(), values.end()};
}

/// Versions may follow.
Fit fits_first_operands(const KernelQuery& query) {
  return all_plain_float32({.op = query.op,
                            .label = query.label,
                            .inputs = query.inputs.first(1),
                            .outputs = query.outputs.first(1),
                            .attributes = query.attributes});
}

}  // namespace

Fit fits_sub_pixel_plain(const KernelQuery& query) { return all_plain_float32(query); }

std::shared_ptr<Kernel> prepare_sub_pixel_plain(const KernelQuery& query) {
  const bool is_inverse = get_bool(query.attributes, "is_inverse");
  const SubPixel s = {(is_inverse ? query.inputs[0] : query.outputs[0]).image(),
                      get_int(query.attributes, "factor")};
  check_internal(s.large.height % s.factor == 0 && s.large.width % s.factor == 0,
                 "sub-pixel images are a multiple of the factor");
  return make_kernel([s, is_inverse](const KernelArgs& args) {
    const std::int64_t large_row = s.large.width * s.large.channels;
    const std::int64_t small_row = s.large.width / s.factor * s.small_pixel();
    parallel_for(s.large.n * s.large.height, grain_for(large_row * 8),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t row = begin; row < end; ++row) {
                     // Heights are multiples of the factor: rows of all images follow one another.
                     const std::int64_t large = row * large_row, small = row / s.factor * small_row;
                     const float* const from = args.input<float>(0);
                     float* const to = args.output<float>(0);
                     s.each_group(row, [&](std::int64_t l, std::int64_t m, std::int64_t count) {
                       if (is_inverse) {
                         std::copy_n(from + large + l, count, to + small + m);
                       } else {
                         std::copy_n(from + small + m, count, to + large + l);
                       }
                     });
                   }
                 });
  });
}

Fit fits_transposed_weights_plain(const KernelQuery& query) { return fits_first_operands(query); }

std::shared_ptr<Kernel> prepare_transposed_weights_plain(const KernelQuery& query) {
  const ImageSize from = query.inputs[0].image();  // out, height, width, in / groups
  const std::int64_t groups = get_int(query.attributes, "groups");
  const std::int64_t outputs = from.n / groups, inputs = from.channels,
                     taps = from.height * from.width;
  check_internal(query.outputs[0].count() == query.inputs[0].count(),
                 "transposed weights are as many");
  return std::make_shared<CopyIfStale>(make_kernel([=](const KernelArgs& args) {
    const float* const weights = args.input<float>(0);
    float* const result = args.output<float>(0);
    parallel_for(
        groups * inputs, grain_for(outputs * taps * 8), [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t row = begin; row < end; ++row) {
            const std::int64_t group = row / inputs, i = row % inputs;
            float* to = result + row * taps * outputs;
            for (std::int64_t tap = 0; tap < taps; ++tap) {
              for (std::int64_t o = 0; o < outputs; ++o) {
                *to++ = weights[((group * outputs + o) * taps + taps - 1 - tap) * inputs + i];
              }
            }
          }
        });
  }));
}

Fit fits_channel_affine_plain(const KernelQuery& query) {
  const Fit plain = fits_first_operands(query);
  if (!plain.yes) return plain;
  const auto channels = static_cast<std::size_t>(query.outputs[0].dims.back());
  for (const char* name : {"scales", "biases"}) {
    const std::size_t count = get_floats(query.attributes, name).size();
    if (count != 0 && count != channels)
      return Fit::no(str(name, ": expected ", channels, " values, got ", count));
  }
  return {};
}

std::shared_ptr<Kernel> prepare_channel_affine_plain(const KernelQuery& query) {
  const std::int64_t channels = query.outputs[0].dims.back(),
                     pixels = query.outputs[0].count() / channels;
  const Affine affine = {values_or(query.attributes, "scales", channels, 1.0F),
                         values_or(query.attributes, "biases", channels, 0.0F),
                         get_int(query.attributes, "binarization")};
  return std::make_shared<CopyIfStale>(
      make_kernel([affine, pixels, channels](const KernelArgs& args) {
        parallel_for(pixels, grain_for(channels * 8), [&](std::int64_t begin, std::int64_t end) {
          float* const to = args.output<float>(0) + begin * channels;
          scale_and_shift(args.input<float>(0) + begin * channels, affine.scales.data(),
                          affine.biases.data(), to, end - begin, channels);
          binarize(affine.binarization, to, (end - begin) * channels);
        });
      }));
}

}  // namespace mpsnn::backend::cpu
