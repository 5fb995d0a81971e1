// SPDX-License-Identifier: MIT
// convolution with few outputs (a last layer to RGB). Kernels that fill registers with output
// channels leave most lanes idle there; this one fills them with input channels and adds the lanes
// up at the end.
#include "backend/cpu/ops/convolution.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/simd.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

constexpr std::int64_t kFewOutputs = 8;

/// Positions that are computed together: times the outputs, at most twelve accumulators, so that
/// AVX2's sixteen registers hold them.
constexpr std::int64_t tile_size(std::int64_t outputs) {
  return std::clamp<std::int64_t>(12 / outputs, 1, 4);
}

/// Taps of a tile that follow one another: their source pixels, and their weights, are one line of
/// floats.
struct Run {
  std::int64_t k, floats;
  std::vector<std::int64_t> at;  // first source column, by position
};

struct FewOutputs {
  ConvolutionCase c;
  AxisTaps y;
  std::vector<Tile> tiles;
  std::vector<std::vector<Run>> runs;  // of each tile

  explicit FewOutputs(const ConvolutionCase& convolution)
      : c(convolution), y(taps_of(c.y, c.edge_mode)) {
    const auto size = static_cast<std::size_t>(tile_size(c.outputs));
    tiles = make_tiles(taps_of(c.x, c.edge_mode), size);
    for (const Tile& tile : tiles) runs.push_back(runs_of(tile, size));
  }
  /// Whether registers of inputs do not divide some run.
  bool has_rest() const noexcept { return c.inputs % kHalfLanes != 0; }

 private:
  std::vector<Run> runs_of(const Tile& tile, std::size_t size) const {
    std::vector<Run> list;
    for (std::size_t tap = 0; tap < tile.k.size(); ++tap) {
      const auto at = tile.at.begin() + static_cast<std::ptrdiff_t>(tap * size);
      bool follows = tap > 0 && tile.k[tap] == tile.k[tap - 1] + 1;
      for (std::size_t i = 0; follows && i < size; ++i)
        follows = at[i] == tile.at[(tap - 1) * size + i] + 1;
      if (follows) {
        list.back().floats += c.inputs;
      } else {
        list.push_back({tile.k[tap], c.inputs, {at, at + static_cast<std::ptrdiff_t>(size)}});
      }
    }
    return list;
  }
};

/// One row: pointers into the arrays of this execution.
struct Row {
  const float* image;
  const float* image_end;
  const float* weights;
  const float* weights_end;
  const float* bias;  // may be null
  float* result;
};

MPSNN_INLINE void add_lanes(float& to, const HalfVec& v) {
  typedef float Quad __attribute__((vector_size(16)));
  const Quad sums =
      __builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7);
  to = (sums[0] + sums[2]) + (sums[1] + sums[3]);
}

/// sum[p][o] += `count` floats at source p times as many of filter o, in whole registers.
template <int Outputs, int Size>
MPSNN_INLINE void add_whole(HalfVec (&sum)[Size][Outputs], const float* const (&source)[Size],
                            const float* weights, std::int64_t filter, std::int64_t count) {
  for (std::int64_t i = 0; i + kHalfLanes <= count; i += kHalfLanes) {
    HalfVec values[Size];
    for (int p = 0; p < Size; ++p) load(values[p], source[p] + i);
    for (int o = 0; o < Outputs; ++o) {
      HalfVec factors;
      load(factors, weights + o * filter + i);
      for (int p = 0; p < Size; ++p) sum[p][o] += values[p] * factors;
    }
  }
}

/// The floats after `done`, which do not fill a register.
template <int Outputs, int Size>
MPSNN_INLINE void add_rest(HalfVec (&sum)[Size][Outputs], const float* const (&source)[Size],
                           const float* weights, std::int64_t filter, std::int64_t done,
                           std::int64_t count, const Row& row) {
  if (done == count) return;
  HalfMask mask;
  mask_first(mask, count - done);
  for (int o = 0; o < Outputs; ++o) {
    HalfVec factors, values;
    load_masked(factors, weights + o * filter + done, row.weights_end, mask, count - done);
    for (int p = 0; p < Size; ++p) {
      load_masked(values, source[p] + done, row.image_end, mask, count - done);
      sum[p][o] += values * factors;
    }
  }
}

// HasRest apart, since its code keeps the sums from staying in registers.
template <int Outputs, bool HasRest>
MPSNN_INLINE void run_tile(const FewOutputs& f, const std::vector<Tap>& y_taps, std::size_t index,
                           const Row& row) {
  constexpr int kSize = static_cast<int>(tile_size(Outputs));
  const ConvolutionCase& c = f.c;
  const std::int64_t filter = c.taps() * c.inputs;
  HalfVec sum[kSize][Outputs];
  for (int p = 0; p < kSize; ++p) {
    for (int o = 0; o < Outputs; ++o) sum[p][o] = HalfVec{};
  }
  for (const Tap& tap : y_taps) {
    const float* source_row = row.image + tap.at * c.x.source * c.inputs;
    for (const Run& run : f.runs[index]) {
      const float* source[kSize];
      for (int p = 0; p < kSize; ++p) source[p] = source_row + run.at[p] * c.inputs;
      const float* weights = row.weights + (tap.k * c.x.kernel + run.k) * c.inputs;
      add_whole<Outputs, kSize>(sum, source, weights, filter, run.floats);
      if constexpr (HasRest) {
        add_rest<Outputs, kSize>(sum, source, weights, filter, run.floats / kHalfLanes * kHalfLanes,
                                 run.floats, row);
      }
    }
  }
  const Tile& tile = f.tiles[index];
  for (std::int64_t p = 0; p < tile.count; ++p) {
    float* pixel = row.result + tile.positions[p] * Outputs;
    for (int o = 0; o < Outputs; ++o) {
      add_lanes(pixel[o], sum[p][o]);
      if (row.bias != nullptr) pixel[o] += row.bias[o];
    }
  }
}

template <int Outputs>
MPSNN_INLINE void run_tiles(const FewOutputs& f, const std::vector<Tap>& y_taps, const Row& row) {
  for (std::size_t i = 0; i < f.tiles.size(); ++i) {
    if (f.has_rest()) {
      run_tile<Outputs, true>(f, y_taps, i, row);
    } else {
      run_tile<Outputs, false>(f, y_taps, i, row);
    }
  }
}

MPSNN_SIMD void run_row(const FewOutputs& f, const std::vector<Tap>& y_taps, const Row& row) {
  switch (f.c.outputs) {
    case 1:
      return run_tiles<1>(f, y_taps, row);
    case 2:
      return run_tiles<2>(f, y_taps, row);
    case 3:
      return run_tiles<3>(f, y_taps, row);
    case 4:
      return run_tiles<4>(f, y_taps, row);
    case 5:
      return run_tiles<5>(f, y_taps, row);
    case 6:
      return run_tiles<6>(f, y_taps, row);
    case 7:
      return run_tiles<7>(f, y_taps, row);
    default:
      return run_tiles<8>(f, y_taps, row);
  }
}

}  // namespace

Fit fits_convolution_few_outputs(const KernelQuery& query) {
  const Fit fit = fits_convolution_case(query, /*zero_only=*/false);
  if (!fit.yes) return fit;
  const ConvolutionCase c = read_convolution(query);
  if (c.groups == 1 && c.outputs <= kFewOutputs && c.inputs >= kHalfLanes) return {};
  return Fit::no(str("expected 1 group, at least ", kHalfLanes, " inputs and at most ", kFewOutputs,
                     " outputs, got ", c.groups, ", ", c.inputs, " and ", c.outputs));
}

std::shared_ptr<Kernel> prepare_convolution_few_outputs(const KernelQuery& query) {
  return make_kernel([f = FewOutputs(read_convolution(query))](const KernelArgs& args) {
    const ConvolutionCase& c = f.c;
    const std::int64_t image_size = c.y.source * c.x.source * c.inputs,
                       row_size = c.x.result * c.outputs;
    const float* const source = args.input<float>(0);
    const float* const weights = args.input<float>(1);
    parallel_for(c.images * c.y.result, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const Row row = {.image = source + i / c.y.result * image_size,
                         .image_end = source + c.images * image_size,
                         .weights = weights,
                         .weights_end = weights + c.weights(),
                         .bias = c.bias ? args.input<float>(2) : nullptr,
                         .result = args.output<float>(0) + i * row_size};
        run_row(f, f.y[i % c.y.result], row);
        apply_neuron(c.neuron, row.result, row.result, row_size);
      }
    });
  });
}

}  // namespace mpsnn::backend::cpu
