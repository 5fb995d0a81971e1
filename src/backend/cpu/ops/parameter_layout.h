// SPDX-License-Identifier: MIT
// The order of weights that our own convolution kernels want: blocks of sixteen channels, the ones
// that are summed in the same registers, lie together.
#pragma once

#include <memory>
#include <utility>

#include "backend/cpu/ops/convolution.h"
#include "base/kernel.h"

namespace mpsnn::backend::cpu {

/// [group][block][kernel row][kernel column][summed channel][16], zeros after the last channel.
/// A convolution blocks its outputs and sums over inputs; its data gradient the other way round.
struct BlockedLayout final : Layout {
  BlockedLayout(const ConvolutionCase& c, bool blocks_are_outputs);
  std::int64_t groups, taps, inputs, outputs;  // channels of one group
  bool blocks_are_outputs;

  std::int64_t blocked() const noexcept { return blocks_are_outputs ? outputs : inputs; }
  std::int64_t summed() const noexcept { return blocks_are_outputs ? inputs : outputs; }
  std::int64_t blocks() const noexcept;
  /// Floats of one block.
  std::int64_t block_size() const noexcept;
};

/// Runs `make` unless the copy is of the parameter's version already. Without versions it always
/// does.
class CopyIfStale final : public Kernel {
 public:
  explicit CopyIfStale(std::shared_ptr<Kernel> make) : make_(std::move(make)) {
    scratch_bytes = make_->scratch_bytes;
  }
  void run(const KernelArgs& args) const override;

 private:
  std::shared_ptr<Kernel> make_;
};

}  // namespace mpsnn::backend::cpu
