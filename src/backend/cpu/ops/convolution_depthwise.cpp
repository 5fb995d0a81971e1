// SPDX-License-Identifier: MIT
// Depthwise convolution of images with few channels (a fixed filter over RGB), and its data
// gradient. A row is taken as one line of floats: the same column step is the same distance for all
// channels, so registers are full although channels are few; the weights are repeated to match.
#include <algorithm>

#include "backend/cpu/ops/convolution.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/simd.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

constexpr std::int64_t kMaxChannels = 4;

/// Registers after which the weights repeat, times as many as fill the processor's pipelines.
constexpr std::int64_t registers_for(std::int64_t channels) { return channels == 3 ? 3 : 4; }

struct Depthwise {
  ConvolutionCase c;     // of the gradient: with the two images exchanged
  bool flipped = false;  // the gradient reads the weights backwards
  AxisTaps y, x;
  std::int64_t first_inside = 0, last_inside = 0;  // columns that no edge touches: [first, last)

  Depthwise(const ConvolutionCase& convolution, bool gradient) : c(convolution), flipped(gradient) {
    if (gradient) {
      for (ConvolutionAxis* axis : {&c.y, &c.x}) {
        std::swap(axis->source, axis->result);
        axis->pad = (axis->kernel - 1) * axis->dilation - axis->pad;
      }
    }
    y = taps_of(c.y, ImageEdgeMode::ZERO);
    x = taps_of(c.x, ImageEdgeMode::ZERO);
    first_inside = std::clamp<std::int64_t>(c.x.pad, 0, c.x.result);
    last_inside = std::clamp<std::int64_t>(c.x.source + c.x.pad - (c.x.kernel - 1) * c.x.dilation,
                                           first_inside, c.x.result);
  }
  std::int64_t channels() const noexcept { return c.inputs; }
  std::int64_t registers() const noexcept { return registers_for(channels()); }
  std::int64_t block_pixels() const noexcept { return registers() * kLanes / channels(); }
  std::size_t scratch_bytes() const noexcept {
    return static_cast<std::size_t>(c.taps() * registers() * kLanes) * sizeof(float);
  }
  /// Weight of a tap; the data source keeps [channel][tap].
  float weight(const float* weights, std::int64_t channel, std::int64_t tap) const noexcept {
    return weights[channel * c.taps() + (flipped ? c.taps() - 1 - tap : tap)];
  }
};

/// to[tap][register lane]: the weight of the lane's channel.
void repeat_weights(const Depthwise& d, const float* weights, float* to) {
  for (std::int64_t tap = 0; tap < d.c.taps(); ++tap) {
    for (std::int64_t lane = 0; lane < d.registers() * kLanes; ++lane) {
      *to++ = d.weight(weights, lane % d.channels(), tap);
    }
  }
}

/// One block of a row. `source` and `to` start at the block's first column.
template <int Registers>
MPSNN_INLINE void run_block(const Depthwise& d, const std::vector<Tap>& y_taps, const float* source,
                            const float* repeated, float* to) {
  const std::int64_t row_size = d.c.x.source * d.channels(), step = d.c.x.dilation * d.channels();
  Vec sum[Registers] = {};
  for (const Tap& tap : y_taps) {
    const float* from = source + tap.at * row_size;
    const float* weights = repeated + tap.k * d.c.x.kernel * Registers * kLanes;
    for (std::int64_t kx = 0; kx < d.c.x.kernel;
         ++kx, from += step, weights += Registers * kLanes) {
      for (int r = 0; r < Registers; ++r) {
        Vec values, factors;
        load(values, from + r * kLanes);
        load(factors, weights + r * kLanes);
        sum[r] += values * factors;
      }
    }
  }
  for (int r = 0; r < Registers; ++r) store(to + r * kLanes, sum[r]);
}

/// Columns [first, last) in whole blocks, the last of which may overlap the one before; false where
/// there is not room for one.
MPSNN_SIMD bool run_inside(const Depthwise& d, const std::vector<Tap>& y_taps, const float* image,
                           const float* repeated, float* row) {
  const std::int64_t pixels = d.block_pixels(), channels = d.channels();
  if (d.last_inside - d.first_inside < pixels) return false;
  for (std::int64_t at = d.first_inside; at < d.last_inside; at += pixels) {
    const std::int64_t column = std::min(at, d.last_inside - pixels);
    const float* source = image + (column - d.c.x.pad) * channels;
    if (channels == 3) {
      run_block<registers_for(3)>(d, y_taps, source, repeated, row + column * channels);
    } else {
      run_block<registers_for(4)>(d, y_taps, source, repeated, row + column * channels);
    }
  }
  return true;
}

void run_column(const Depthwise& d, const std::vector<Tap>& y_taps, const float* image,
                const float* weights, std::int64_t column, float* pixel) {
  const std::int64_t channels = d.channels();
  std::fill_n(pixel, channels, 0.0F);
  for (const Tap& row : y_taps) {
    for (const Tap& tap : d.x[column]) {
      const float* from = image + (row.at * d.c.x.source + tap.at) * channels;
      for (std::int64_t channel = 0; channel < channels; ++channel) {
        pixel[channel] += d.weight(weights, channel, row.k * d.c.x.kernel + tap.k) * from[channel];
      }
    }
  }
}

void run_row(const Depthwise& d, std::int64_t y, const float* image, const float* weights,
             const float* repeated, float* row) {
  const bool inside = run_inside(d, d.y[y], image, repeated, row);
  for (std::int64_t column = 0; column < d.c.x.result; ++column) {
    if (inside && column == d.first_inside) column = d.last_inside;
    if (column < d.c.x.result)
      run_column(d, d.y[y], image, weights, column, row + column * d.channels());
  }
}

Fit fits_depthwise(const KernelQuery& query) {
  const Fit fit = fits_convolution_case(query, /*zero_only=*/true);
  if (!fit.yes) return fit;
  const ConvolutionCase c = read_convolution(query);
  if (c.groups != c.inputs || c.groups != c.outputs || c.groups > kMaxChannels) {
    return Fit::no(str("expected a depthwise convolution of at most ", kMaxChannels,
                       " channels, got ", c.groups, " groups of ", c.inputs_a_group(),
                       " inputs and ", c.outputs_a_group(), " outputs"));
  }
  if (c.x.stride == 1 && c.y.stride == 1) return {};
  return Fit::no(str("expected strides of 1, got ", c.y.stride, " and ", c.x.stride));
}

std::shared_ptr<Kernel> prepare_depthwise(const KernelQuery& query, bool gradient) {
  Depthwise depthwise(read_convolution(query), gradient);
  const std::size_t scratch = depthwise.scratch_bytes();
  return make_kernel(
      [d = std::move(depthwise)](const KernelArgs& args) {
        const ConvolutionCase& c = d.c;
        const float* const weights = args.input<float>(1);
        const float* const bias = c.bias ? args.input<float>(2) : nullptr;
        float* const repeated = static_cast<float*>(args.scratch);
        repeat_weights(d, weights, repeated);
        const std::int64_t image_size = c.y.source * c.x.source * c.inputs,
                           row_size = c.x.result * c.inputs;
        parallel_for(c.images * c.y.result, 1, [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t i = begin; i < end; ++i) {
            const float* image = args.input<float>(0) + i / c.y.result * image_size;
            float* row = args.output<float>(0) + i * row_size;
            run_row(d, i % c.y.result, image, weights, repeated, row);
            add_bias_and_neuron(c.neuron, bias, row, c.x.result, c.inputs);
          }
        });
      },
      scratch);
}

}  // namespace

Fit fits_convolution_narrow_depthwise(const KernelQuery& query) { return fits_depthwise(query); }

std::shared_ptr<Kernel> prepare_convolution_narrow_depthwise(const KernelQuery& query) {
  return prepare_depthwise(query, /*gradient=*/false);
}

Fit fits_convolution_data_gradient_narrow_depthwise(const KernelQuery& query) {
  return fits_depthwise(query);
}

std::shared_ptr<Kernel> prepare_convolution_data_gradient_narrow_depthwise(
    const KernelQuery& query) {
  return prepare_depthwise(query, /*gradient=*/true);
}

}  // namespace mpsnn::backend::cpu
