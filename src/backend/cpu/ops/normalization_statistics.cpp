// SPDX-License-Identifier: MIT
// normalization_statistics, normalization_sums, moving_average: one pass over the image each. Sums
// are taken in double, of differences from the set's first pixel (statistics) or from the mean, so
// that a large mean cancels nothing.
#include <cmath>

#include "backend/cpu/ops/kernel_tools.h"
#include "backend/cpu/ops/normalization.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/simd.h"
#include "base/attributes.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

constexpr std::int64_t kMinWidth = 64;  // floats: four registers of AVX-512
constexpr std::int64_t kParts = 16;     // at least, over all sets

/// Sums of x - shift and of its square, column by column.
MPSNN_SIMD void add_moments(const float* x, std::int64_t rows, std::int64_t width,
                            const float* shift, double* sums, double* squares) {
  std::int64_t r = 0;
  for (; r + 4 <= rows; r += 4, x += 4 * width) {
    MPSNN_IVDEP
    for (std::int64_t i = 0; i < width; ++i) {
      const auto s = static_cast<double>(shift[i]);
      const double a = static_cast<double>(x[i]) - s, b = static_cast<double>(x[width + i]) - s,
                   c = static_cast<double>(x[2 * width + i]) - s,
                   d = static_cast<double>(x[3 * width + i]) - s;
      sums[i] += (a + b) + (c + d);
      squares[i] += (a * a + b * b) + (c * c + d * d);
    }
  }
  for (; r < rows; ++r, x += width) {
    MPSNN_IVDEP
    for (std::int64_t i = 0; i < width; ++i) {
      const double a = static_cast<double>(x[i]) - static_cast<double>(shift[i]);
      sums[i] += a;
      squares[i] += a * a;
    }
  }
}

/// Sums of g * (x - mean) and of g, column by column.
MPSNN_SIMD void add_products(const float* g, const float* x, std::int64_t rows, std::int64_t width,
                             const float* mean, double* products, double* sums) {
  std::int64_t r = 0;
  for (; r + 2 <= rows; r += 2, g += 2 * width, x += 2 * width) {
    MPSNN_IVDEP
    for (std::int64_t i = 0; i < width; ++i) {
      const auto m = static_cast<double>(mean[i]);
      const auto a = static_cast<double>(g[i]), b = static_cast<double>(g[width + i]);
      sums[i] += a + b;
      products[i] +=
          a * (static_cast<double>(x[i]) - m) + b * (static_cast<double>(x[width + i]) - m);
    }
  }
  for (; r < rows; ++r, g += width, x += width) {
    MPSNN_IVDEP
    for (std::int64_t i = 0; i < width; ++i) {
      const auto a = static_cast<double>(g[i]);
      sums[i] += a;
      products[i] += a * (static_cast<double>(x[i]) - static_cast<double>(mean[i]));
    }
  }
}

/// Repeats the values of a set's channels over a wide row.
template <class ValueOf>
void tile(const NormalizedImage& image, float* to, ValueOf&& value_of) {
  for (std::int64_t c = 0; c < image.channels; ++c) to[c] = value_of(c);
  for (std::int64_t i = image.channels; i < image.width(); ++i) to[i] = to[i - image.channels];
}

/// Mean and variance of a group of channels of one set, from the sums of each channel.
void write_statistics(const NormalizedImage& image, const ChannelSums& sums, const KernelArgs& args,
                      std::int64_t set, std::int64_t group) {
  const float* const shift = args.input<float>(0) + set * image.set_size();
  const std::int64_t channels = image.channels / image.groups, first = group * channels;
  const auto rows = static_cast<double>(image.rows);
  const auto mean_of = [&](std::int64_t c) {
    return static_cast<double>(shift[c]) + sums.total(args.scratch, 0, set, c) / rows;
  };
  double mean = 0, squares = 0;
  for (std::int64_t c = first; c < first + channels; ++c) mean += mean_of(c);
  mean /= static_cast<double>(channels);
  for (std::int64_t c = first; c < first + channels; ++c) {
    const double sum = sums.total(args.scratch, 0, set, c), off = mean_of(c) - mean;
    const double own = sums.total(args.scratch, 1, set, c) - sum * sum / rows;
    // NaN goes through; a negative rest is rounding.
    squares += (own < 0 ? 0 : own) + rows * off * off;
  }
  const std::int64_t at = set * image.groups + group;
  args.output<float>(0)[at] = static_cast<float>(mean);
  args.output<float>(1)[at] =
      static_cast<float>(squares / static_cast<double>(image.values_a_mean()));
}

double inverse_deviation(const KernelArgs& args, double epsilon, std::int64_t at) {
  return 1 / std::sqrt(static_cast<double>(args.input<float>(3)[at]) + epsilon);
}

/// gradient, source, mean, variance, gamma?. Without gamma the sums of each statistic are the
/// gradients of gamma and beta; with it they are weighted by it, and those gradients stand apart.
void write_sums(const NormalizedImage& image, const ChannelSums& sums, const KernelArgs& args,
                double epsilon) {
  const float* const gamma = args.input<float>(4);
  for (std::int64_t set = 0; set < image.sets; ++set) {
    for (std::int64_t group = 0; group < image.groups; ++group) {
      const std::int64_t at = set * image.groups + group, channels = image.channels / image.groups;
      double projection = 0, total = 0;
      for (std::int64_t c = group * channels; c < (group + 1) * channels; ++c) {
        const double weight = gamma != nullptr ? static_cast<double>(gamma[c]) : 1.0;
        projection += weight * sums.total(args.scratch, 0, set, c);
        total += weight * sums.total(args.scratch, 1, set, c);
      }
      args.output<float>(0)[at] =
          static_cast<float>(projection * inverse_deviation(args, epsilon, at));
      args.output<float>(1)[at] = static_cast<float>(total);
    }
  }
  if (args.output<float>(2) == nullptr) return;
  for (std::int64_t c = 0; c < image.channels; ++c) {
    double gamma_gradient = 0, beta_gradient = 0;
    for (std::int64_t set = 0; set < image.sets; ++set) {
      gamma_gradient += sums.total(args.scratch, 0, set, c) *
                        inverse_deviation(args, epsilon, image.statistic(set, c));
      beta_gradient += sums.total(args.scratch, 1, set, c);
    }
    args.output<float>(2)[c] = static_cast<float>(gamma_gradient);
    args.output<float>(3)[c] = static_cast<float>(beta_gradient);
  }
}

}  // namespace

NormalizedImage::NormalizedImage(const TensorDesc& image, const TensorDesc& statistics) {
  const ImageSize size = image.image();
  channels = size.channels;
  const bool an_image = statistics.dims.size() == 2;
  sets = an_image ? size.n : 1;
  rows = size.n * size.height * size.width / sets;
  groups = statistics.dims.back();
  check_internal(statistics.count() == sets * groups && channels % groups == 0,
                 "statistics are of the channels of a batch, or of groups of them of each image");
  fold_ = std::clamp<std::int64_t>(kMinWidth / channels, 1, rows);
}

ChannelSums::ChannelSums(const NormalizedImage& image)
    : image_(image),
      parts_(std::clamp<std::int64_t>((kParts + image.sets - 1) / image.sets, 1,
                                      std::max<std::int64_t>(image.wide_rows(), 1))) {}

std::size_t ChannelSums::scratch_bytes() const noexcept {
  return static_cast<std::size_t>(image_.sets * (2 * image_.channels + parts_ * part_doubles())) *
         sizeof(double);
}

void ChannelSums::add_parts(void* scratch) const {
  double* const totals = static_cast<double*>(scratch);
  const double* const own = totals + image_.sets * 2 * image_.channels;
  for (std::int64_t set = 0; set < image_.sets; ++set) {
    for (std::int64_t which = 0; which < 2; ++which) {
      double* const to = totals + (set * 2 + which) * image_.channels;
      std::fill_n(to, image_.channels, 0.0);
      for (std::int64_t part = 0; part < parts_; ++part) {
        const double* from = own + (set * parts_ + part) * part_doubles() + which * image_.width();
        for (std::int64_t i = 0; i < image_.width(); i += image_.channels) {
          for (std::int64_t c = 0; c < image_.channels; ++c) to[c] += from[i + c];
        }
      }
    }
  }
}

Fit fits_normalization_statistics_plain(const KernelQuery& query) {
  return all_plain_float32(query);
}

std::shared_ptr<Kernel> prepare_normalization_statistics_plain(const KernelQuery& query) {
  const NormalizedImage image(query.inputs[0], query.outputs[0]);
  const ChannelSums sums(image);
  return make_kernel(
      [image, sums](const KernelArgs& args) {
        const float* const source = args.input<float>(0);
        sums.run(
            args.scratch,
            [&](std::int64_t set, float* shift) {
              const float* const first = source + set * image.set_size();
              tile(image, shift, [first](std::int64_t c) { return first[c]; });
            },
            [source](std::int64_t at, std::int64_t rows, std::int64_t width, const float* shift,
                     double* first, double* second) {
              add_moments(source + at, rows, width, shift, first, second);
            });
        for (std::int64_t set = 0; set < image.sets; ++set) {
          for (std::int64_t group = 0; group < image.groups; ++group)
            write_statistics(image, sums, args, set, group);
        }
      },
      sums.scratch_bytes());
}

Fit fits_normalization_sums_plain(const KernelQuery& query) { return all_plain_float32(query); }

std::shared_ptr<Kernel> prepare_normalization_sums_plain(const KernelQuery& query) {
  const NormalizedImage image(query.inputs[1], query.inputs[2]);
  const ChannelSums sums(image);
  const double epsilon = get_float(query.attributes, "epsilon");
  return make_kernel(
      [image, sums, epsilon](const KernelArgs& args) {
        const float *const gradient = args.input<float>(0), *const source = args.input<float>(1);
        const float* const means = args.input<float>(2);
        sums.run(
            args.scratch,
            [&](std::int64_t set, float* mean) {
              tile(image, mean, [&](std::int64_t c) { return means[image.statistic(set, c)]; });
            },
            [=](std::int64_t at, std::int64_t rows, std::int64_t width, const float* mean,
                double* first, double* second) {
              add_products(gradient + at, source + at, rows, width, mean, first, second);
            });
        write_sums(image, sums, args, epsilon);
      },
      sums.scratch_bytes());
}

Fit fits_moving_average_plain(const KernelQuery& query) { return all_plain_float32(query); }

std::shared_ptr<Kernel> prepare_moving_average_plain(const KernelQuery& query) {
  check_internal(query.inputs[0].count() == query.inputs[1].count(),
                 "an average and its value have one size");
  const auto momentum = static_cast<float>(get_float(query.attributes, "momentum"));
  const auto rest = static_cast<float>(1 - get_float(query.attributes, "momentum"));
  return make_kernel([=, count = query.inputs[0].count()](const KernelArgs& args) {
    const float *const average = args.input<float>(0), *const value = args.input<float>(1);
    for (std::int64_t i = 0; i < count; ++i)
      args.output<float>(0)[i] = momentum * average[i] + rest * value[i];
  });
}

}  // namespace mpsnn::backend::cpu
