// SPDX-License-Identifier: MIT
// convolution and convolution_data_gradient without oneDNN: any kernel, stride, dilation, groups,
// padding and edge mode. Both gather: a pixel of the destination is a sum over taps, each a pixel
// of the other image times a matrix of the weights. Which pixels, is settled ahead in lists; so the
// gradient is the same loop with the lists inverted and the weights' channels exchanged.
#include <algorithm>

#include "backend/cpu/ops/convolution.h"
#include "backend/cpu/ops/parameter_layout.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/simd.h"

namespace mpsnn::backend::cpu {
namespace {

// Six accumulators of sixteen channels: twelve of AVX2's sixteen registers, the others hold weights
// and source values.
constexpr std::size_t kTile = 6;
struct Gather {
  std::int64_t images, rows, columns;  // of the destination
  std::int64_t source_rows, source_columns, source_channels;
  std::int64_t groups, blocked, summed, blocks;  // channels of one group: destination's, source's
  std::int64_t kernel_columns, block_size;
  AxisTaps y;
  std::vector<Tile> tiles;
  Neuron neuron;
  bool bias;

  std::int64_t channels() const noexcept { return groups * blocked; }
};

Gather make_gather(const ConvolutionCase& c, const BlockedLayout& layout) {
  const bool forward = layout.blocks_are_outputs;
  const AxisTaps y = taps_of(c.y, c.edge_mode), x = taps_of(c.x, c.edge_mode);
  Gather g;
  g.images = c.images;
  g.rows = forward ? c.y.result : c.y.source;
  g.columns = forward ? c.x.result : c.x.source;
  g.source_rows = forward ? c.y.source : c.y.result;
  g.source_columns = forward ? c.x.source : c.x.result;
  g.source_channels = forward ? c.inputs : c.outputs;
  g.groups = c.groups;
  g.blocked = layout.blocked();
  g.summed = layout.summed();
  g.blocks = layout.blocks();
  g.kernel_columns = c.x.kernel;
  g.block_size = layout.block_size();
  g.y = forward ? y : inverse(y, c.y.source);
  g.tiles = make_tiles(forward ? x : inverse(x, c.x.source), kTile);
  g.neuron = c.neuron;
  g.bias = c.bias;
  return g;
}

/// One block of channels of one tile. `image`: the source image at the group's first channel;
/// `row`: the destination row at the block's first channel.
MPSNN_SIMD void gather_tile(const Gather& g, const std::vector<Tap>& y_taps, const Tile& tile,
                            const float* image, const float* weights, float* row,
                            std::int64_t lanes) {
  Vec sum[kTile] = {};
  for (const Tap& tap : y_taps) {
    const float* source_row = image + tap.at * g.source_columns * g.source_channels;
    for (std::size_t j = 0; j < tile.k.size(); ++j) {
      const float* w = weights + (tap.k * g.kernel_columns + tile.k[j]) * g.summed * kLanes;
      const float* source[kTile];
      for (std::size_t i = 0; i < kTile; ++i)
        source[i] = source_row + tile.at[j * kTile + i] * g.source_channels;
      for (std::int64_t s = 0; s < g.summed; ++s) {
        Vec factors;
        load(factors, w + s * kLanes);
        for (std::size_t i = 0; i < kTile; ++i) sum[i] += factors * source[i][s];
      }
    }
  }
  for (std::int64_t i = 0; i < tile.count; ++i) {
    float* to = row + tile.positions[i] * g.channels();
    if (lanes == kLanes) {
      store(to, sum[i]);
    } else {
      store_first(to, sum[i], lanes);
    }
  }
}

void gather_row(const Gather& g, std::int64_t index, const float* source, const float* weights,
                const float* bias, float* destination) {
  const std::int64_t image = index / g.rows, y = index % g.rows;
  const float* source_image = source + image * g.source_rows * g.source_columns * g.source_channels;
  float* row = destination + index * g.columns * g.channels();
  for (std::int64_t group = 0; group < g.groups; ++group) {
    for (std::int64_t block = 0; block < g.blocks; ++block, weights += g.block_size) {
      const std::int64_t lanes = std::min(kLanes, g.blocked - block * kLanes);
      float* to = row + group * g.blocked + block * kLanes;
      for (const Tile& tile : g.tiles) {
        gather_tile(g, g.y[y], tile, source_image + group * g.summed, weights, to, lanes);
      }
    }
  }
  add_bias_and_neuron(g.neuron, bias, row, g.columns, g.channels());
}

std::shared_ptr<Kernel> prepare_gather(Gather gather, std::shared_ptr<const BlockedLayout> layout) {
  auto kernel = make_kernel([g = std::move(gather)](const KernelArgs& args) {
    const float* bias = g.bias ? args.input<float>(2) : nullptr;
    parallel_for(g.images * g.rows, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        gather_row(g, i, args.input<float>(0), args.input<float>(1), bias, args.output<float>(0));
      }
    });
  });
  kernel->input_layouts = {nullptr, std::move(layout)};
  return kernel;
}

}  // namespace

Fit fits_convolution_plain(const KernelQuery& query) {
  return fits_convolution_case(query, /*zero_only=*/false);
}

std::shared_ptr<Kernel> prepare_convolution_plain(const KernelQuery& query) {
  const ConvolutionCase c = read_convolution(query);
  auto layout = std::make_shared<const BlockedLayout>(c, /*outputs_are_blocked=*/true);
  Gather gather = make_gather(c, *layout);
  return prepare_gather(std::move(gather), std::move(layout));
}

Fit fits_convolution_data_gradient_plain(const KernelQuery& query) {
  return fits_convolution_case(query, /*zero_only=*/false);
}

std::shared_ptr<Kernel> prepare_convolution_data_gradient_plain(const KernelQuery& query) {
  const ConvolutionCase c = read_convolution(query);
  auto layout = std::make_shared<const BlockedLayout>(c, /*outputs_are_blocked=*/false);
  Gather gather = make_gather(c, *layout);
  return prepare_gather(std::move(gather), std::move(layout));
}

}  // namespace mpsnn::backend::cpu
