// SPDX-License-Identifier: MIT
// oneDNN as the kernels use it: one engine, primitives prepared once and run from any thread, and
// the layouts that it chooses for weights.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include <dnnl.hpp>

#include "base/kernel.h"

namespace mpsnn::backend::cpu::onednn {

/// The host's processors.
const dnnl::engine& engine();

/// Attributes for all primitives: scratch memory is ours, results are the same bits in each run.
/// A new object every time: copies of a primitive_attr share their state.
dnnl::primitive_attr make_attributes();

/// Weights in an order of oneDNN's choice. The name tells it exactly: equal names, equal orders.
struct WeightsLayout final : Layout {
  explicit WeightsLayout(dnnl::memory::desc order);
  dnnl::memory::desc desc;
};

/// Where a primitive's argument is found when it runs.
struct Operand {
  enum class From { INPUT, OUTPUT, SCRATCH };
  int argument = 0;  // DNNL_ARG_SRC …
  dnnl::memory::desc desc;
  From from = From::INPUT;
  std::size_t at = 0;  // index of the operand, or bytes from the start of the scratch memory
};

/// A primitive with its operands. May run on several threads at once.
class Step {
 public:
  Step(dnnl::primitive primitive, std::vector<Operand> operands);
  /// Throws DeviceError with oneDNN's status and `row`.
  void run(const KernelArgs& args, std::string_view row) const;

 private:
  class Views;
  struct Pool;
  dnnl::primitive primitive_;
  std::vector<Operand> operands_;
  std::shared_ptr<Pool> pool_;
};

/// Steps that run one after the other.
class StepsKernel final : public Kernel {
 public:
  explicit StepsKernel(std::vector<Step> steps) : steps_(std::move(steps)) {}
  void run(const KernelArgs& args) const override;

 private:
  std::vector<Step> steps_;
};

/// Rounds scratch offsets up to whole cache lines.
constexpr std::size_t aligned(std::size_t bytes) { return (bytes + 127) / 128 * 128; }

}  // namespace mpsnn::backend::cpu::onednn
