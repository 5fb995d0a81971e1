// SPDX-License-Identifier: MIT
// convolution_weights_gradient without oneDNN: any kernel, stride, dilation, groups, padding and
// edge mode. Few weights: every part of the images makes a partial gradient, and they are added.
// Many: every thread makes its own weights from all of the images. Which of the two depends on
// sizes only, so the bits do not depend on the number of threads.
#include <algorithm>

#include "backend/cpu/ops/convolution.h"
#include "backend/cpu/ops/reduction.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/simd.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

// Outputs whose gradients are made together; times one or two Vecs of inputs: eight accumulators.
constexpr std::int64_t kOutputs = 4;
constexpr std::int64_t kParts = 16;
// Partial gradients up to this many floats (64 KiB) stay in the caches of a core.
constexpr std::int64_t kMaxPartialWeights = 16 << 10;
// Below, a row is over before its sums, which live in registers, have paid for their way to memory.
constexpr std::int64_t kLongRow = 16;

/// Columns that meet in one kernel column.
struct Pair {
  std::int64_t result = 0, source = 0;
};

struct WeightsGradient {
  ConvolutionCase c;
  AxisTaps y;
  std::vector<std::vector<Pair>> pairs;  // by kernel column
  std::int64_t output_blocks, items;     // item: group, block of outputs, kernel row
  bool two_vecs = has_wide_registers();  // of inputs; AVX2's registers hold one
  std::int64_t parts;
  ColumnSum bias;

  explicit WeightsGradient(const ConvolutionCase& convolution)
      : c(convolution), y(taps_of(c.y, c.edge_mode)) {
    pairs.resize(static_cast<std::size_t>(c.x.kernel));
    const AxisTaps x = taps_of(c.x, c.edge_mode);
    for (std::size_t p = 0; p < x.size(); ++p) {
      for (const Tap& tap : x[p]) pairs[tap.k].push_back({static_cast<std::int64_t>(p), tap.at});
    }
    output_blocks = (c.outputs_a_group() + kOutputs - 1) / kOutputs;
    items = c.groups * output_blocks * c.y.kernel;
    parts = c.weights() <= kMaxPartialWeights ? std::min(kParts, rows()) : 1;
    if (c.bias) bias = ColumnSum(rows() * c.x.result, c.outputs);
  }
  std::int64_t rows() const noexcept { return c.images * c.y.result; }
  std::size_t partial_bytes() const noexcept {
    return parts > 1 ? static_cast<std::size_t>(parts * c.weights()) * sizeof(float) : 0;
  }
};

/// What one leaf adds up: sixteen inputs (times Vecs) of `outputs` filters over the pairs of a row.
struct Products {
  const Pair* pairs;
  std::int64_t count;
  const float* gradient;  // of the row, at the first output
  const float* source;    // of the row, at the first input
  const float* source_end;
  std::int64_t gradient_stride, source_stride;  // floats of a pixel
  float* weights;                               // added to
  std::int64_t filter;                          // floats between filters
};

template <int Outputs, int Vecs>
MPSNN_INLINE void add_products(const Products& p) {
  Vec sum[Outputs][Vecs] = {};
  for (std::int64_t i = 0; i < p.count; ++i) {
    const float* gradient = p.gradient + p.pairs[i].result * p.gradient_stride;
    const float* source = p.source + p.pairs[i].source * p.source_stride;
    for (int v = 0; v < Vecs; ++v) {
      Vec values;
      load(values, source + v * kLanes);
      for (int o = 0; o < Outputs; ++o) sum[o][v] += values * gradient[o];
    }
  }
  for (int o = 0; o < Outputs; ++o) {
    for (int v = 0; v < Vecs; ++v) {
      float* to = p.weights + o * p.filter + v * kLanes;
      Vec before;
      load(before, to);
      store(to, before + sum[o][v]);
    }
  }
}

/// The last inputs of a group, fewer than sixteen.
template <int Outputs>
MPSNN_INLINE void add_last_products(const Products& p, std::int64_t lanes) {
  Vec sum[Outputs] = {};
  for (std::int64_t i = 0; i < p.count; ++i) {
    const float* gradient = p.gradient + p.pairs[i].result * p.gradient_stride;
    Vec values;
    load_at_least(values, p.source + p.pairs[i].source * p.source_stride, p.source_end, lanes);
    for (int o = 0; o < Outputs; ++o) sum[o] += values * gradient[o];
  }
  for (int o = 0; o < Outputs; ++o) {
    for (std::int64_t lane = 0; lane < lanes; ++lane)
      p.weights[o * p.filter + lane] += sum[o][lane];
  }
}

template <int Outputs>
MPSNN_INLINE void add_all_products(Products p, std::int64_t inputs, bool two_vecs) {
  std::int64_t first = 0;
  for (; two_vecs && first + 2 * kLanes <= inputs;
       first += 2 * kLanes, p.source += 2 * kLanes, p.weights += 2 * kLanes) {
    add_products<Outputs, 2>(p);
  }
  for (; first + kLanes <= inputs; first += kLanes, p.source += kLanes, p.weights += kLanes) {
    add_products<Outputs, 1>(p);
  }
  if (first < inputs) add_last_products<Outputs>(p, inputs - first);
}

MPSNN_SIMD void add_row(const Products& p, std::int64_t outputs, std::int64_t inputs,
                        bool two_vecs) {
  switch (outputs) {
    case 1:
      return add_all_products<1>(p, inputs, two_vecs);
    case 2:
      return add_all_products<2>(p, inputs, two_vecs);
    case 3:
      return add_all_products<3>(p, inputs, two_vecs);
    default:
      return add_all_products<4>(p, inputs, two_vecs);
  }
}

struct Item {
  std::int64_t group, first_output, outputs, ky;
};

Item item_at(const WeightsGradient& w, std::int64_t index) {
  const std::int64_t block = index / w.c.y.kernel % w.output_blocks;
  return {.group = index / w.c.y.kernel / w.output_blocks,
          .first_output = block * kOutputs,
          .outputs = std::min(kOutputs, w.c.outputs_a_group() - block * kOutputs),
          .ky = index % w.c.y.kernel};
}

/// The gradient of an item's weights from one row of results that reads source row `source_row`.
void add_item(const WeightsGradient& w, const Item& item, const float* gradient_row,
              const float* source_row, const float* source_end, float* weights) {
  const ConvolutionCase& c = w.c;
  const std::int64_t inputs = c.inputs_a_group(),
                     output = item.group * c.outputs_a_group() + item.first_output;
  const std::int64_t filter = c.taps() * inputs;
  for (std::int64_t kx = 0; kx < c.x.kernel; ++kx) {
    const std::vector<Pair>& pairs = w.pairs[kx];
    add_row({.pairs = pairs.data(),
             .count = static_cast<std::int64_t>(pairs.size()),
             .gradient = gradient_row + output,
             .source = source_row + item.group * inputs,
             .source_end = source_end,
             .gradient_stride = c.outputs,
             .source_stride = c.inputs,
             .weights = weights + output * filter + (item.ky * c.x.kernel + kx) * inputs,
             .filter = filter},
            item.outputs, inputs, w.two_vecs);
  }
}

/// All that rows [first_row, last_row) give to items [first_item, last_item).
void add_rows(const WeightsGradient& w, std::int64_t first_row, std::int64_t last_row,
              std::int64_t first_item, std::int64_t last_item, const float* gradient,
              const float* source, float* weights) {
  const ConvolutionCase& c = w.c;
  const float* source_end = source + c.images * c.y.source * c.x.source * c.inputs;
  for (std::int64_t row = first_row; row < last_row; ++row) {
    const float* image = source + row / c.y.result * c.y.source * c.x.source * c.inputs;
    for (std::int64_t index = first_item; index < last_item; ++index) {
      const Item item = item_at(w, index);
      for (const Tap& tap : w.y[row % c.y.result]) {
        if (tap.k != item.ky) continue;
        add_item(w, item, gradient + row * c.x.result * c.outputs,
                 image + tap.at * c.x.source * c.inputs, source_end, weights);
      }
    }
  }
}

MPSNN_SIMD void add_part(float* sum, const float* part, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) sum[i] += part[i];
}

void run_by_parts(const WeightsGradient& w, const float* gradient, const float* source,
                  float* weights, float* partial) {
  const std::int64_t count = w.c.weights();
  parallel_for(w.parts, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t part = begin; part < end; ++part) {
      float* own = partial + part * count;
      std::fill_n(own, count, 0.0F);
      add_rows(w, w.rows() * part / w.parts, w.rows() * (part + 1) / w.parts, 0, w.items, gradient,
               source, own);
    }
  });
  std::copy_n(partial, count, weights);
  for (std::int64_t part = 1; part < w.parts; ++part)
    add_part(weights, partial + part * count, count);
}

void run_by_items(const WeightsGradient& w, const float* gradient, const float* source,
                  float* weights) {
  std::fill_n(weights, w.c.weights(), 0.0F);
  parallel_for(w.items, 1, [&](std::int64_t begin, std::int64_t end) {
    add_rows(w, 0, w.rows(), begin, end, gradient, source, weights);
  });
}

}  // namespace

Fit fits_convolution_weights_gradient_plain(const KernelQuery& query) {
  return fits_convolution_case(query, /*zero_only=*/false);
}

std::shared_ptr<Kernel> prepare_convolution_weights_gradient_plain(const KernelQuery& query) {
  WeightsGradient gradient(read_convolution(query));
  const std::size_t scratch = std::max(gradient.partial_bytes(), gradient.bias.scratch_bytes());
  return make_kernel(
      [w = std::move(gradient)](const KernelArgs& args) {
        const float* const incoming = args.input<float>(0);
        if (w.parts > 1) {
          run_by_parts(w, incoming, args.input<float>(1), args.output<float>(0),
                       static_cast<float*>(args.scratch));
        } else {
          run_by_items(w, incoming, args.input<float>(1), args.output<float>(0));
        }
        if (w.c.bias) w.bias.run(incoming, 1.0F, args.output<float>(1), args.scratch);
      },
      scratch);
}

// The cases in which the plain kernel was measured to be as fast as oneDNN or faster (it makes the
// plain order at once): inputs fill registers, sums stay in them for long rows, and the weights in
// the caches.
Fit fits_convolution_weights_gradient_direct(const KernelQuery& query) {
  const Fit fit = fits_convolution_case(query, /*zero_only=*/false);
  if (!fit.yes) return fit;
  const ConvolutionCase c = read_convolution(query);
  constexpr std::int64_t kFewOutputs = 8, kManyOutputs = 32, kMaxTaps = 9, kMaxWeights = 1 << 20;
  const bool outputs_fit = c.outputs <= kFewOutputs ? c.groups == 1 : c.outputs >= kManyOutputs;
  if (c.inputs_a_group() % kLanes != 0)
    return Fit::no(str("expected a multiple of ", kLanes, " inputs a group"));
  if (!outputs_fit || (c.groups > 1 && c.outputs_a_group() < kOutputs)) {
    return Fit::no(str("expected at most ", kFewOutputs, " outputs of one group, or ", kManyOutputs,
                       " and more, ", kOutputs, " or more a group"));
  }
  if (c.x.result < kLongRow) return Fit::no(str("expected rows of ", kLongRow, " columns or more"));
  if (c.taps() <= kMaxTaps && c.weights() <= kMaxWeights) return {};
  return Fit::no(str("expected at most ", kMaxTaps, " taps and ", kMaxWeights, " weights"));
}

std::shared_ptr<Kernel> prepare_convolution_weights_gradient_direct(const KernelQuery& query) {
  return prepare_convolution_weights_gradient_plain(query);
}

}  // namespace mpsnn::backend::cpu
