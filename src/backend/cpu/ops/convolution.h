// SPDX-License-Identifier: MIT
// What the convolution kernels share: the case in one struct, and which pixels each tap reads.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "backend/cpu/ops/kernel_tools.h"
#include "backend/cpu/ops/neuron.h"

namespace mpsnn::backend::cpu {

/// One axis (rows or columns) of a convolution: result position p reads source positions
/// p * stride - pad + k * dilation for k in [0, kernel).
struct ConvolutionAxis {
  std::int64_t source = 0, result = 0, kernel = 1, stride = 1, dilation = 1, pad = 0;
  /// Zeros needed after the last source position; negative where the result ends before the source.
  std::int64_t pad_after() const noexcept {
    return (result - 1) * stride + (kernel - 1) * dilation + 1 - pad - source;
  }
};

struct ConvolutionCase {
  std::int64_t images = 0, groups = 1;
  std::int64_t inputs = 0, outputs = 0;  // channels of source and result
  ConvolutionAxis y, x;
  ImageEdgeMode edge_mode = ImageEdgeMode::ZERO;
  bool bias = false;
  Neuron neuron;

  std::int64_t inputs_a_group() const noexcept { return inputs / groups; }
  std::int64_t outputs_a_group() const noexcept { return outputs / groups; }
  std::int64_t taps() const noexcept { return y.kernel * x.kernel; }
  /// Floats of the weights.
  std::int64_t weights() const noexcept { return outputs * taps() * inputs_a_group(); }
};

/// The case of a convolution, convolution_data_gradient or convolution_weights_gradient. Throws
/// InternalError where operands and attributes do not belong together.
ConvolutionCase read_convolution(const KernelQuery& query);

/// Yes if operands are plain float32 and the edge mode is one that `zero_only` allows.
Fit fits_convolution_case(const KernelQuery& query, bool zero_only);

/// Yes for a neuron that a convolution may have fused.
Fit fits_fused_neuron(NeuronType type);

/// A kernel that runs `kernel`, a convolution's, and then the neuron over the result: for neurons
/// that the kernel itself cannot apply. `row` names both.
std::shared_ptr<Kernel> with_neuron_after(std::shared_ptr<Kernel> kernel, const Neuron& neuron,
                                          std::int64_t count, std::string_view row);

/// A tap of one axis: kernel position and the position that it reads.
struct Tap {
  std::int64_t k = 0, at = 0;
};
/// For each position of one side, the taps that read the other, in the order of k.
using AxisTaps = std::vector<std::vector<Tap>>;

/// Which source positions each result position reads. Zeros outside are left out; CLAMP reads the
/// nearest pixel instead.
AxisTaps taps_of(const ConvolutionAxis& axis, ImageEdgeMode edge_mode);
/// The other way: which result positions read each source position, and through which k.
AxisTaps inverse(const AxisTaps& taps, std::int64_t sources);

/// Positions of a row that are computed together: their taps have the same k, and so the same
/// weights, in step.
struct Tile {
  std::int64_t count = 0;  // positions that are stored; up to the tile's size, the last is repeated
  std::vector<std::int64_t> positions;
  std::vector<std::int64_t> k;   // kernel positions, in order
  std::vector<std::int64_t> at;  // [tap][position]: what each reads
};

/// Tiles of `size` positions that together are all of `taps`.
std::vector<Tile> make_tiles(const AxisTaps& taps, std::size_t size);

}  // namespace mpsnn::backend::cpu
