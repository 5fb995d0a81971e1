// SPDX-License-Identifier: MIT
// What the kernel rows share: checks of a case, and kernels made of a function.
#pragma once

#include <memory>
#include <utility>

#include "backend/backend.h"

namespace mpsnn::backend::cpu {

/// A kernel that calls `body(args)`. The body holds by value all that was decided ahead.
template <class Body>
class FunctionKernel final : public Kernel {
 public:
  explicit FunctionKernel(Body body) : body_(std::move(body)) {}
  void run(const KernelArgs& args) const override { body_(args); }

 private:
  Body body_;
};

template <class Body>
std::shared_ptr<Kernel> make_kernel(Body body, std::size_t scratch_bytes = 0) {
  auto kernel = std::make_shared<FunctionKernel<Body>>(std::move(body));
  kernel->scratch_bytes = scratch_bytes;
  return kernel;
}

/// Yes if all operands are float32 and dense in row order; no with the operand at fault.
Fit all_plain_float32(const KernelQuery& query);

/// Yes if all operands are float32, or all float16, and dense: for kernels that move values only.
Fit all_plain_alike(const KernelQuery& query);
inline bool moves_halves(const KernelQuery& query) {
  return query.outputs[0].type == DataType::FLOAT16;
}

/// Whether operand i was given (absent ones have no dims or are left out at the end).
inline bool has_input(const KernelQuery& query, std::size_t i) {
  return i < query.inputs.size() && !query.inputs[i].dims.empty();
}
inline bool has_output(const KernelQuery& query, std::size_t i) {
  return i < query.outputs.size() && !query.outputs[i].dims.empty();
}

}  // namespace mpsnn::backend::cpu
