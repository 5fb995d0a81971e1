// SPDX-License-Identifier: MIT
// Sums of matrices. Operations: matrix_sum, transpose, matrix_neuron.
#include "base/attributes.h"
#include "graph/kernel_lowering.h"
#include "graph/kernels/matrix_tools.h"

namespace mpsnn::graph {
namespace {

enum Operand : std::size_t { kSources, kResult, kScales, kOffsets, kBias };

/// The sum in its own orientation, as float32 values that `matrix_sum` reads.
void add_sum(KernelLowering& to, ValueId value, const TensorDesc& sum) {
  const std::int64_t start = get_int(to.attributes(), "start_index");
  const auto count = static_cast<std::int64_t>(to.variadic_count());
  std::vector<ValueId> inputs = {vector_as_float32(to, kScales, start + count), kNoValue};
  if (to.has(kOffsets)) {
    to.expect_type(kOffsets, {DataType::UINT32});
    inputs[1] = to.view(kOffsets, vector_part(to, kOffsets, 2 * (start + count)), 0);
  }
  for (std::size_t k = 0; k < to.variadic_count(); ++k) {
    const TensorDesc& source = to.desc(kSources, k);
    const bool is_float = source.type == DataType::FLOAT32 || source.type == DataType::FLOAT16;
    if (!is_float) {
      to.fail<ArgumentTypeError>(str("source_matrices[", k, "]"), "float32 or float16",
                                 name_of(source.type));
    }
    if (source.dims[0] != 1 || source.dims[1] < sum.dims[1] || source.dims[2] < sum.dims[2]) {
      to.fail_operand(
          kSources,
          str("one matrix of at least ", sum.dims[1], " rows and ", sum.dims[2], " columns"), k);
    }
    const bool is_float32 = source.type == DataType::FLOAT32;
    inputs.push_back(is_float32 ? to.view(kSources, source, 0, k) : to.as_float32(kSources, k));
  }
  to.add(OpId::matrix_sum, std::move(inputs), {value}, {{"start_index", start}});
}

void lower(KernelLowering& to) {
  const AttributeMap& a = to.attributes();
  const auto count = static_cast<std::int64_t>(to.variadic_count());
  if (get_int(a, "count") > 0 && count != get_int(a, "count"))
    to.fail("source_matrices", str(get_int(a, "count"), " matrices"), count);
  expect_floats(to, {kResult});
  const bool turns = get_bool(a, "transpose");
  const std::int64_t rows = get_int(a, turns ? "columns" : "rows"),
                     columns = get_int(a, turns ? "rows" : "columns");
  const MatrixPart result = matrix_part(to, kResult, "result_matrix_origin", rows, columns);
  if (result.desc.dims[0] != 1) to.fail_operand(kResult, "one matrix");
  const ValueId bias = vector_as_float32(to, kBias, result.desc.dims[2]);
  const ValueId value = strided_result(to, kResult, result, false);
  if (turns) {
    const TensorDesc turned{DataType::FLOAT32, transposed(result.desc).dims, nullptr};
    const ValueId sum = to.temporary("sum", turned),
                  view = to.temporary("transposed", {DataType::FLOAT32, result.desc.dims, nullptr});
    add_sum(to, sum, turned);
    to.add(OpId::transpose, {sum}, {view}, {}, "transpose");
    to.add(OpId::matrix_neuron, {view, bias}, {value}, neuron_operation(a, 1.0));
  } else {
    add_sum(to, value, result.desc);
    if (bias != kNoValue || has_neuron(a))
      to.add(OpId::matrix_neuron, {value, bias}, {value}, neuron_operation(a, 1.0));
  }
  finish(to, value, kResult, result);
}

constexpr std::string_view kDoc =
    R"(sum[i, j] = sum over k of scale[s + k] * source_k[row_k + i, column_k + j] for rows x columns elements; result =
f(sum + bias of the column), or, with transpose, f(sum^T + bias of the column): the bias belongs to the columns of
the result in both cases. s is start_index; scales left out are 1. offset_vector is of uint32: row_k and column_k of
source k stand at 2 * (s + k); left out they are 0. It is read when the kernel runs, so earlier work may write it; an
offset beyond its matrix fails the command with DeviceError. rows and columns left out (-1) are those that the result
has behind its origin. Sums are made in float32, in the order of the sources; the neuron f is any but PRELU.

**Unlike Apple**: one source is allowed, and with transpose the whole result is written (Apple's kernel writes the
square of min(rows, columns)).)";

constexpr std::string_view kExample =
    R"(a = mps.Matrix.from_array(device, np.array([[1, 2, 3], [4, 5, 6]], np.float32))
b = mps.Matrix.from_array(device, np.array([[10, 20, 30], [40, 50, 60]], np.float32))
bias = mps.Vector.from_array(device, np.array([1, 10, 100], np.float32))
total = mps.Matrix(device, rows=2, columns=3)
commands = mps.CommandBuffer(queue)
mps.MatrixSum(device, count=2).encode(commands, [a, b], total, bias_vector=bias)
commands.commit()
assert np.array_equal(np.asarray(total), [[12, 32, 133], [45, 65, 166]])
)";

}  // namespace

std::vector<KernelClass> matrix_sum_kernels() {
  return {
      {.name = "MatrixSum",
       .apple = "MPSMatrixSum",
       .family = "matrix_sum",
       .brief = "The weighted sum of matrices, with bias and neuron",
       .doc = kDoc,
       .example = kExample,
       .attributes =
           joined({count("count", "number of sources; -1: as many as are given"),
                   count("rows", "rows of the sum, before it is transposed; -1: all"),
                   count("columns", "columns of the sum, before it is transposed; -1: all"),
                   flag("transpose", "the sum is transposed", false),
                   {.name = "start_index",
                    .type = AttributeType::INT,
                    .doc = "of the first source in scale_vector and offset_vector",
                    .default_value = std::int64_t{0},
                    .minimum = 0}},
                  joined(neuron_attributes(), {origin("result_matrix_origin")})),
       .methods = {{.doc = "Records the sum.",
                    .operands = {{.name = "source_matrices",
                                  .doc = "matrices of float32 or float16",
                                  .variadic = true},
                                 {.name = "result_matrix",
                                  .doc = "(rows, columns); transposed (columns, rows)",
                                  .writes = true},
                                 {.name = "scale_vector",
                                  .kind = OperandKind::VECTOR,
                                  .doc = "a factor a source, float32 or float16",
                                  .optional = true},
                                 {.name = "offset_vector",
                                  .kind = OperandKind::VECTOR,
                                  .doc = "uint32: row and column of each source",
                                  .optional = true},
                                 {.name = "bias_vector",
                                  .kind = OperandKind::VECTOR,
                                  .doc = "a value a column of the result",
                                  .optional = true}},
                    .lower = lower}},
       .check = check_batch_range},
  };
}

}  // namespace mpsnn::graph
