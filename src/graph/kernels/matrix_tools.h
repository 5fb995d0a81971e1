// SPDX-License-Identifier: MIT
// What the families of matrix kernels share: attributes with the same meaning, and parts of
// operands.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "graph/kernel_lowering.h"

namespace mpsnn::graph {

AttributeSpec flag(std::string_view name, std::string_view doc, bool value);
/// A number of rows, columns or the like; -1, the default, stands for all.
AttributeSpec count(std::string_view name, std::string_view doc);
/// Any finite number of float32.
AttributeSpec factor(std::string_view name, std::string_view doc, double value);
/// First row and column of a matrix that take part.
AttributeSpec origin(std::string_view name);
/// batch_start and batch_size.
std::vector<AttributeSpec> batch_range();

/// For KernelClass::check: origins have two entries, counts are not 0.
void check_batch_range(std::string_view title, const AttributeMap& attributes);

/// Rows and columns of an operand from the origin that an attribute holds ("": [0, 0]), of the
/// batch range where the class has one; below 0: all. Throws where they do not lie inside.
MatrixPart matrix_part(const KernelLowering& to, std::size_t i, std::string_view origin,
                       std::int64_t rows, std::int64_t columns);

/// Throws ArgumentTypeError unless a product of these types is supported.
void check_product_types(const KernelLowering& to, DataType left, DataType right, DataType result);

}  // namespace mpsnn::graph
