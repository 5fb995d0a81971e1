// SPDX-License-Identifier: MIT
// What kernels read and write, out of Python objects.
#pragma once

#include <vector>

#include "bindings/attributes.h"
#include "bindings/bindings.h"
#include "bindings/casters.h"
#include "mpsnn/kernel.h"

namespace mpsnn::bindings {

struct OperandHint {
  static constexpr auto name = py::detail::const_name("Array | Image");
};
using OperandObject = Hinted<OperandHint>;

/// Throws ArgumentTypeError for an object of another kind.
KernelOperand operand_of(py::handle object);
KernelOperands operands_of(const std::vector<OperandObject>& objects);

}  // namespace mpsnn::bindings
