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

/// neuron_type, neuron_parameter_a, _b and _c; `with_prelu`: neuron_parameters, too.
std::vector<AttributeSpec> neuron_attributes(bool with_prelu = false);
/// The attributes of the operation matrix_neuron.
AttributeMap neuron_operation(const AttributeMap& attributes, double alpha);
/// Whether the kernel has a neuron.
bool has_neuron(const AttributeMap& attributes);
std::vector<AttributeSpec> joined(std::vector<AttributeSpec> first,
                                  std::vector<AttributeSpec> second);

/// For KernelClass::check: origins have two entries, counts are not 0.
void check_batch_range(std::string_view title, const AttributeMap& attributes);

/// Rows and columns of an operand from the origin that an attribute holds ("": [0, 0]), of the
/// batch range where the class has one; below 0: all. Throws where they do not lie inside.
MatrixPart matrix_part(const KernelLowering& to, std::size_t i, std::string_view origin,
                       std::int64_t rows, std::int64_t columns);

/// Throws ArgumentTypeError unless the operands that are there are float32 or float16.
void expect_floats(const KernelLowering& to, std::initializer_list<std::size_t> operands);

/// A part as an operation of strided float32 takes it: the same memory, or a copy.
ValueId strided_float32(KernelLowering& to, std::size_t i, const MatrixPart& part);
/// The same for what is written; reads: as it was before. `finish` fills the operand.
ValueId strided_result(KernelLowering& to, std::size_t i, const MatrixPart& part, bool reads);
void finish(KernelLowering& to, ValueId value, std::size_t i, const MatrixPart& part);

/// The first `length` elements of one vector, dense: its desc. Throws where there are fewer.
TensorDesc vector_part(const KernelLowering& to, std::size_t i, std::int64_t length);
/// The same as a value of dense float32; kNoValue where it was left out.
ValueId vector_as_float32(KernelLowering& to, std::size_t i, std::int64_t length);
/// A vector as a matrix of one column.
TensorDesc column_of(const TensorDesc& vector);

/// Throws ArgumentTypeError unless a product of these types is supported.
void check_product_types(const KernelLowering& to, DataType left, DataType right, DataType result);

}  // namespace mpsnn::graph
