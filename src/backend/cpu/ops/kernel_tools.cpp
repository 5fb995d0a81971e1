// SPDX-License-Identifier: MIT
#include "backend/cpu/ops/kernel_tools.h"

#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

Fit check_operands(std::span<const TensorDesc> operands, std::string_view role, DataType type) {
  for (std::size_t i = 0; i < operands.size(); ++i) {
    const TensorDesc& operand = operands[i];
    if (operand.dims.empty()) continue;
    if (operand.type != type) {
      return Fit::no(
          str(role, " ", i, ": expected ", name_of(type), ", got ", name_of(operand.type)));
    }
    if (!operand.strides.empty())
      return Fit::no(str(role, " ", i, ": expected elements without gaps, got strides"));
    if (operand.layout) {
      return Fit::no(str(role, " ", i, ": expected the plain layout, got ", operand.layout->name));
    }
  }
  return {};
}

Fit all_plain(const KernelQuery& query, DataType type) {
  const Fit inputs = check_operands(query.inputs, "input", type);
  return inputs.yes ? check_operands(query.outputs, "output", type) : inputs;
}

}  // namespace

Fit all_plain_float32(const KernelQuery& query) { return all_plain(query, DataType::FLOAT32); }

Fit all_plain_alike(const KernelQuery& query) {
  return all_plain(query, moves_halves(query) ? DataType::FLOAT16 : DataType::FLOAT32);
}

}  // namespace mpsnn::backend::cpu
