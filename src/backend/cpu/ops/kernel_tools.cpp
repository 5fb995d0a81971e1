// SPDX-License-Identifier: MIT
#include "backend/cpu/ops/kernel_tools.h"

#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

Fit check_operands(std::span<const TensorDesc> operands, std::string_view role) {
  for (std::size_t i = 0; i < operands.size(); ++i) {
    const TensorDesc& operand = operands[i];
    if (operand.dims.empty()) continue;
    if (operand.type != DataType::FLOAT32) {
      return Fit::no(str(role, " ", i, ": expected float32, got ", name_of(operand.type)));
    }
    if (!operand.strides.empty())
      return Fit::no(str(role, " ", i, ": expected elements without gaps, got strides"));
    if (operand.layout) {
      return Fit::no(str(role, " ", i, ": expected the plain layout, got ", operand.layout->name));
    }
  }
  return {};
}

}  // namespace

Fit all_plain_float32(const KernelQuery& query) {
  const Fit inputs = check_operands(query.inputs, "input");
  return inputs.yes ? check_operands(query.outputs, "output") : inputs;
}

}  // namespace mpsnn::backend::cpu
