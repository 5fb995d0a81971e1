// SPDX-License-Identifier: MIT
// convolution with few outputs (a last layer to RGB). Kernels that fill registers with output channels
// leave most lanes idle there; this one fills them with input channels and adds the lanes up at the end.
#include "backend/cpu/ops/convolution.h"
#include "backend/cpu/ops/parallel.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/ops/simd.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

constexpr std::int64_t kFewOutputs = 8;

/// Positions that are computed together: times the outputs, at most twelve accumulators, so that AVX2's
/// sixteen registers hold them.
constexpr std::int64_t tile_size(std::int64_t outputs) { return std::clamp<std::int64_t>(12 / outputs, 1, 4); }

struct FewOutputs {
  ConvolutionCase c;
  AxisTaps y;
  std::vector<Tile> tiles;

  explicit FewOutputs(const ConvolutionCase& convolution)
      : c(convolution), y(taps_of(c.y, c.edge_mode)),
        tiles(make_tiles(taps_of(c.x, c.edge_mode), static_cast<std::size_t>(tile_size(c.outputs)))) {}
};

/// One tile: pointers into the arrays of this run.
struct TileRun {
  const float* image;
  const float* image_end;
  const float* weights;
  const float* weights_end;
  const float* bias;  // may be null
  float* row;         // of the result
};

MPSNN_INLINE void add_lanes(float& to, const HalfVec& v) {
  typedef float Quad __attribute__((vector_size(16)));
  const Quad sums = __builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7);
  to = (sums[0] + sums[2]) + (sums[1] + sums[3]);
}

/// sum[p][o] += source pixel p times filter o, over all inputs.
template <int Outputs, int Size>
MPSNN_INLINE void add_tap(HalfVec (&sum)[Size][Outputs], const float* const (&source)[Size], const float* weights,
                          std::int64_t filter, std::int64_t inputs, const TileRun& run, const HalfMask& tail) {
  const std::int64_t whole = inputs / kHalfLanes * kHalfLanes, rest = inputs - whole;
  for (std::int64_t i = 0; i < whole; i += kHalfLanes) {
    HalfVec values[Size];
    for (int p = 0; p < Size; ++p) load(values[p], source[p] + i);
    for (int o = 0; o < Outputs; ++o) {
      HalfVec factors;
      load(factors, weights + o * filter + i);
      for (int p = 0; p < Size; ++p) sum[p][o] += values[p] * factors;
    }
  }
  if (rest == 0) return;
  for (int o = 0; o < Outputs; ++o) {
    HalfVec factors, values;
    load_masked(factors, weights + o * filter + whole, run.weights_end, tail, rest);
    for (int p = 0; p < Size; ++p) {
      load_masked(values, source[p] + whole, run.image_end, tail, rest);
      sum[p][o] += values * factors;
    }
  }
}

template <int Outputs>
MPSNN_INLINE void run_tile(const FewOutputs& f, const std::vector<Tap>& y_taps, const Tile& tile, const TileRun& run) {
  constexpr int kSize = static_cast<int>(tile_size(Outputs));
  const ConvolutionCase& c = f.c;
  HalfVec sum[kSize][Outputs] = {};
  HalfMask tail;
  mask_first(tail, c.inputs % kHalfLanes);
  for (const Tap& tap : y_taps) {
    const float* source_row = run.image + tap.at * c.x.source * c.inputs;
    for (std::size_t j = 0; j < tile.k.size(); ++j) {
      const float* source[kSize];
      for (int p = 0; p < kSize; ++p) source[p] = source_row + tile.at[j * kSize + p] * c.inputs;
      const float* weights = run.weights + (tap.k * c.x.kernel + tile.k[j]) * c.inputs;
      add_tap<Outputs, kSize>(sum, source, weights, c.taps() * c.inputs, c.inputs, run, tail);
    }
  }
  for (std::int64_t p = 0; p < tile.count; ++p) {
    float* pixel = run.row + tile.positions[p] * Outputs;
    for (int o = 0; o < Outputs; ++o) {
      add_lanes(pixel[o], sum[p][o]);
      if (run.bias != nullptr) pixel[o] += run.bias[o];
    }
  }
}

MPSNN_SIMD void run_row(const FewOutputs& f, const std::vector<Tap>& y_taps, const TileRun& run) {
  for (const Tile& tile : f.tiles) {
    switch (f.c.outputs) {
      case 1: run_tile<1>(f, y_taps, tile, run); break;
      case 2: run_tile<2>(f, y_taps, tile, run); break;
      case 3: run_tile<3>(f, y_taps, tile, run); break;
      case 4: run_tile<4>(f, y_taps, tile, run); break;
      case 5: run_tile<5>(f, y_taps, tile, run); break;
      case 6: run_tile<6>(f, y_taps, tile, run); break;
      case 7: run_tile<7>(f, y_taps, tile, run); break;
      default: run_tile<8>(f, y_taps, tile, run); break;
    }
  }
}

}  // namespace

Fit fits_convolution_few_outputs(const KernelQuery& query) {
  const Fit fit = fits_convolution_case(query, /*zero_only=*/false);
  if (!fit.yes) return fit;
  const ConvolutionCase c = read_convolution(query);
  if (c.groups == 1 && c.outputs <= kFewOutputs && c.inputs >= kHalfLanes) return {};
  return Fit::no(str("expected 1 group, at least ", kHalfLanes, " inputs and at most ", kFewOutputs, " outputs, got ",
                     c.groups, ", ", c.inputs, " and ", c.outputs));
}

std::shared_ptr<Kernel> prepare_convolution_few_outputs(const KernelQuery& query) {
  return make_kernel([f = FewOutputs(read_convolution(query))](const KernelArgs& args) {
    const ConvolutionCase& c = f.c;
    const std::int64_t image_size = c.y.source * c.x.source * c.inputs, row_size = c.x.result * c.outputs;
    const float* const source = args.input<float>(0);
    const float* const weights = args.input<float>(1);
    parallel_for(c.images * c.y.result, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const TileRun run = {.image = source + i / c.y.result * image_size, .image_end = source + c.images * image_size,
                             .weights = weights, .weights_end = weights + c.weights(),
                             .bias = c.bias ? args.input<float>(2) : nullptr,
                             .row = args.output<float>(0) + i * row_size};
        run_row(f, f.y[i % c.y.result], run);
        apply_neuron(c.neuron, run.row, run.row, row_size);
      }
    });
  });
}

}  // namespace mpsnn::backend::cpu
