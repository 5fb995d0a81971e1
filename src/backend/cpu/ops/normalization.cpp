// SPDX-License-Identifier: MIT
// normalization, normalization_gradient: one pass over the image with factors for each channel.
#include "backend/cpu/ops/normalization.h"

#include <cmath>

#include "backend/cpu/ops/kernel_tools.h"
#include "backend/cpu/ops/neuron.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/simd.h"
#include "base/attributes.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

constexpr std::int64_t kPiece = 4096;  // floats that a thread treats at once; two fit the cache

/// y = (x - mean) * scale + shift.
struct Factors {
  const float *mean, *scale, *shift;
};

MPSNN_SIMD void normalize(const float* x, float* y, std::int64_t rows, std::int64_t width,
                          const Factors& f) {
  for (std::int64_t r = 0; r < rows; ++r, x += width, y += width) {
    MPSNN_IVDEP
    for (std::int64_t i = 0; i < width; ++i) y[i] = (x[i] - f.mean[i]) * f.scale[i] + f.shift[i];
  }
}

/// dx = scale * ((weight * g - total) - projection * (x - mean)).
struct GradientFactors {
  const float *mean, *scale, *weight, *total, *projection;
};

MPSNN_SIMD void differentiate(const float* g, const float* x, float* out, std::int64_t rows,
                              std::int64_t width, const GradientFactors& f) {
  for (std::int64_t r = 0; r < rows; ++r, g += width, x += width, out += width) {
    MPSNN_IVDEP
    for (std::int64_t i = 0; i < width; ++i) {
      out[i] =
          f.scale[i] * ((f.weight[i] * g[i] - f.total[i]) - f.projection[i] * (x[i] - f.mean[i]));
    }
  }
}

MPSNN_SIMD void scale_rows(const float* g, float* out, std::int64_t rows, std::int64_t width,
                           const float* scale) {
  for (std::int64_t r = 0; r < rows; ++r, g += width, out += width) {
    MPSNN_IVDEP
    for (std::int64_t i = 0; i < width; ++i) out[i] = scale[i] * g[i];
  }
}

/// Calls fn(set, first value, wide rows, values behind them) for pieces that together are the
/// image.
template <class Fn>
void for_each_piece(const NormalizedImage& image, std::int64_t bytes_a_value, Fn&& fn) {
  const std::int64_t width = image.width(), rows = std::max<std::int64_t>(kPiece / width, 1);
  const std::int64_t pieces = (image.set_size() + rows * width - 1) / (rows * width);
  parallel_for(image.sets * pieces, grain_for(rows * width * bytes_a_value),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t i = begin; i < end; ++i) {
                   const std::int64_t within = i % pieces * rows * width;
                   const std::int64_t count = std::min(rows * width, image.set_size() - within);
                   fn(i / pieces, i / pieces * image.set_size() + within, count / width,
                      count % width);
                 }
               });
}

/// Factors of all channels of all sets, each repeated over a wide row, in scratch memory.
class FactorTable {
 public:
  FactorTable(const NormalizedImage& image, std::int64_t kinds) : image_(image), kinds_(kinds) {}
  std::size_t scratch_bytes() const noexcept {
    return static_cast<std::size_t>(image_.sets * kinds_ * image_.width()) * sizeof(float);
  }
  float* row(void* scratch, std::int64_t set, std::int64_t kind) const noexcept {
    return static_cast<float*>(scratch) + (set * kinds_ + kind) * image_.width();
  }
  /// value_of(set, channel, out): the factors of a channel, in the order of the kinds.
  template <class ValuesOf>
  void fill(void* scratch, ValuesOf&& values_of) const {
    for (std::int64_t set = 0; set < image_.sets; ++set) {
      for (std::int64_t c = 0; c < image_.channels; ++c) {
        float values[8];
        values_of(set, c, values);
        for (std::int64_t kind = 0; kind < kinds_; ++kind) {
          float* const to = row(scratch, set, kind);
          for (std::int64_t i = c; i < image_.width(); i += image_.channels) to[i] = values[kind];
        }
      }
    }
  }

 private:
  NormalizedImage image_;
  std::int64_t kinds_;
};

double inverse_deviation(float variance, double epsilon) {
  return 1 / std::sqrt(static_cast<double>(variance) + epsilon);
}

Neuron read_neuron(const AttributeMap& attributes) {
  return {static_cast<NeuronType>(get_int(attributes, "neuron_type")),
          static_cast<float>(get_float(attributes, "neuron_a")),
          static_cast<float>(get_float(attributes, "neuron_b")),
          static_cast<float>(get_float(attributes, "neuron_c"))};
}

/// Through stored statistics: scale * gradient.
std::shared_ptr<Kernel> scaled_gradient(const NormalizedImage& image, double epsilon) {
  const FactorTable table(image, 1);
  return make_kernel(
      [=](const KernelArgs& args) {
        table.fill(args.scratch, [&](std::int64_t set, std::int64_t c, float* values) {
          const double inverse =
              inverse_deviation(args.input<float>(3)[image.statistic(set, c)], epsilon);
          values[0] = static_cast<float>(static_cast<double>(args.input<float>(4)[c]) * inverse);
        });
        for_each_piece(
            image, 8, [&](std::int64_t set, std::int64_t at, std::int64_t rows, std::int64_t rest) {
              const float* const scale = table.row(args.scratch, set, 0);
              const std::int64_t width = image.width(), behind = at + rows * width;
              const float* const gradient = args.input<float>(0);
              float* const out = args.output<float>(0);
              scale_rows(gradient + at, out + at, rows, width, scale);
              scale_rows(gradient + behind, out + behind, 1, rest, scale);
            });
      },
      table.scratch_bytes());
}

}  // namespace

Fit fits_normalization_plain(const KernelQuery& query) {
  const Fit plain = all_plain_float32(query);
  if (!plain.yes) return plain;
  const auto type = static_cast<NeuronType>(get_int(query.attributes, "neuron_type"));
  if (type != NeuronType::PRELU) return {};
  return Fit::no("neuron_type: expected any but PRELU to fuse, got PRELU");
}

std::shared_ptr<Kernel> prepare_normalization_plain(const KernelQuery& query) {
  const NormalizedImage image(query.inputs[0], query.inputs[1]);
  const FactorTable table(image, 3);
  const double epsilon = get_float(query.attributes, "epsilon");
  const Neuron neuron = read_neuron(query.attributes);
  return make_kernel(
      [=](const KernelArgs& args) {
        table.fill(args.scratch, [&](std::int64_t set, std::int64_t c, float* values) {
          const std::int64_t at = image.statistic(set, c);
          const double inverse = inverse_deviation(args.input<float>(2)[at], epsilon);
          values[0] = args.input<float>(1)[at];
          values[1] = static_cast<float>(static_cast<double>(args.input<float>(3)[c]) * inverse);
          values[2] = args.input<float>(4)[c];
        });
        for_each_piece(
            image, 8, [&](std::int64_t set, std::int64_t at, std::int64_t rows, std::int64_t rest) {
              const Factors factors = {table.row(args.scratch, set, 0),
                                       table.row(args.scratch, set, 1),
                                       table.row(args.scratch, set, 2)};
              const std::int64_t width = image.width(), behind = at + rows * width;
              const float* const source = args.input<float>(0);
              float* const out = args.output<float>(0);
              normalize(source + at, out + at, rows, width, factors);
              normalize(source + behind, out + behind, 1, rest, factors);
              if (neuron.type != NeuronType::NONE)
                apply_neuron(neuron, out + at, out + at, rows * width + rest);
            });
      },
      table.scratch_bytes());
}

Fit fits_normalization_gradient_plain(const KernelQuery& query) { return all_plain_float32(query); }

// gradient, source, mean, variance, gamma, projection?, total?
std::shared_ptr<Kernel> prepare_normalization_gradient_plain(const KernelQuery& query) {
  const NormalizedImage image(query.inputs[1], query.inputs[2]);
  const double epsilon = get_float(query.attributes, "epsilon");
  if (!has_input(query, 5)) return scaled_gradient(image, epsilon);
  const std::int64_t count = image.values_a_mean();
  if (count == 1) {
    // The result is beta whatever the source is.
    return make_kernel([values = image.sets * image.set_size()](const KernelArgs& args) {
      std::fill_n(args.output<float>(0), values, 0.0F);
    });
  }
  const bool an_image = query.inputs[2].dims.size() == 2;  // the sums are weighted by gamma then
  const FactorTable table(image, 5);
  return make_kernel(
      [=](const KernelArgs& args) {
        table.fill(args.scratch, [&](std::int64_t set, std::int64_t c, float* values) {
          const std::int64_t at = image.statistic(set, c);
          const double inverse = inverse_deviation(args.input<float>(3)[at], epsilon);
          const auto gamma = static_cast<double>(args.input<float>(4)[c]);
          const auto values_a_mean = static_cast<double>(count);
          values[0] = args.input<float>(2)[at];
          values[1] = static_cast<float>(an_image ? inverse : gamma * inverse);
          values[2] = an_image ? args.input<float>(4)[c] : 1.0F;
          values[3] =
              static_cast<float>(static_cast<double>(args.input<float>(6)[at]) / values_a_mean);
          values[4] = static_cast<float>(static_cast<double>(args.input<float>(5)[at]) * inverse /
                                         values_a_mean);
        });
        for_each_piece(
            image, 12,
            [&](std::int64_t set, std::int64_t at, std::int64_t rows, std::int64_t rest) {
              const GradientFactors factors = {
                  table.row(args.scratch, set, 0), table.row(args.scratch, set, 1),
                  table.row(args.scratch, set, 2), table.row(args.scratch, set, 3),
                  table.row(args.scratch, set, 4)};
              const std::int64_t width = image.width(), behind = at + rows * width;
              const float *const g = args.input<float>(0), *const x = args.input<float>(1);
              float* const out = args.output<float>(0);
              differentiate(g + at, x + at, out + at, rows, width, factors);
              differentiate(g + behind, x + behind, out + behind, 1, rest, factors);
            });
      },
      table.scratch_bytes());
}

}  // namespace mpsnn::backend::cpu
