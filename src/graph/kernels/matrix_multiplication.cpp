// SPDX-License-Identifier: MIT
// Products of matrices. Operation: matrix_multiplication  left, right -> result.
#include <algorithm>
#include <utility>

#include "base/attributes.h"
#include "graph/kernel_lowering.h"
#include "graph/kernels/matrix_tools.h"

namespace mpsnn::graph {
namespace {

enum Operand : std::size_t { kLeft, kRight, kResult };

struct Factor {
  std::size_t operand;
  const MatrixPart& part;
};

/// Floating-point numbers are multiplied as float32, integers as they are.
void add_product(KernelLowering& to, const Factor& left, const Factor& right,
                 const Factor& result) {
  const AttributeMap& a = to.attributes();
  const double beta = get_float(a, "beta");
  const auto factor = [&](const Factor& from) {
    const DataType type = from.part.desc.type;
    if (type == DataType::INT8 || type == DataType::INT16)
      return to.view(from.operand, from.part.desc, from.part.offset);
    return strided_float32(to, from.operand, from.part);
  };
  std::vector<ValueId> inputs = {factor(left), factor(right)};
  const bool is_integer = result.part.desc.type == DataType::INT32;
  const ValueId value = is_integer ? to.view(result.operand, result.part.desc, result.part.offset)
                                   : strided_result(to, result.operand, result.part, beta != 0);
  if (beta != 0) inputs.push_back(value);
  to.add(OpId::matrix_multiplication, std::move(inputs), {value},
         {{"alpha", get_float(a, "alpha")}, {"beta", beta}});
  if (!is_integer) finish(to, value, result.operand, result.part);
}

void lower(KernelLowering& to) {
  const AttributeMap& a = to.attributes();
  const bool left_turns = get_bool(a, "transpose_left"),
             right_turns = get_bool(a, "transpose_right");
  const std::int64_t rows = get_int(a, "result_rows"), columns = get_int(a, "result_columns"),
                     interior = get_int(a, "interior_columns");
  MatrixPart result = matrix_part(to, kResult, "result_matrix_origin", rows, columns);
  const std::int64_t m = result.desc.dims[1], n = result.desc.dims[2];
  MatrixPart left = left_turns ? matrix_part(to, kLeft, "left_matrix_origin", interior, m)
                               : matrix_part(to, kLeft, "left_matrix_origin", m, interior);
  const std::int64_t k = left.desc.dims[left_turns ? 1 : 2];
  MatrixPart right = right_turns ? matrix_part(to, kRight, "right_matrix_origin", n, interior)
                                 : matrix_part(to, kRight, "right_matrix_origin", interior, n);
  const std::int64_t right_k = right.desc.dims[right_turns ? 2 : 1];
  if (right_k != k) {
    to.fail("right_matrix", str(k, " interior columns, as left_matrix"), right_k);
  }
  if (left_turns) left.desc = transposed(left.desc);
  if (right_turns) right.desc = transposed(right.desc);
  for (const auto& [i, one] : {std::pair(kLeft, &left), std::pair(kRight, &right)}) {
    const std::int64_t batch = one->desc.dims[0];
    if (batch != result.desc.dims[0] && batch != 1)
      to.fail_operand(i, str(result.desc.dims[0], " matrices as result_matrix, or one"));
  }
  check_product_types(to, to.desc(kLeft).type, to.desc(kRight).type, to.desc(kResult).type);
  add_product(to, {kLeft, left}, {kRight, right}, {kResult, result});
}

/// As many vectors as matrices, or one of either.
void lower_vector(KernelLowering& to) {
  const AttributeMap& a = to.attributes();
  const bool turns = get_bool(a, "transpose");
  const std::int64_t rows = get_int(a, "rows"), columns = get_int(a, "columns");
  MatrixPart matrix = turns ? matrix_part(to, kLeft, "primary_source_matrix_origin", columns, rows)
                            : matrix_part(to, kLeft, "primary_source_matrix_origin", rows, columns);
  if (turns) matrix.desc = transposed(matrix.desc);
  check_product_types(to, to.desc(kLeft).type, to.desc(kRight).type, to.desc(kResult).type);
  const auto part_of_vectors = [&](std::size_t i, std::int64_t length) {
    const TensorDesc& desc = to.desc(i);
    const std::int64_t batch = get_int(a, "batch_size") < 0 && desc.dims[0] > 1
                                   ? desc.dims[0] - get_int(a, "batch_start")
                                   : std::min(desc.dims[0], matrix.desc.dims[0]);
    const std::int64_t start = desc.dims[0] == 1 ? 0 : get_int(a, "batch_start");
    const auto part = part_of(column_of(desc), 0, 0, length, 1, start, batch);
    if (!part) to.fail_operand(i, str("at least ", length, " elements"));
    return *part;
  };
  const MatrixPart input = part_of_vectors(kRight, matrix.desc.dims[2]),
                   result = part_of_vectors(kResult, matrix.desc.dims[1]);
  const std::int64_t batch = result.desc.dims[0];
  for (const auto& [i, count] :
       {std::pair(kLeft, matrix.desc.dims[0]), std::pair(kRight, input.desc.dims[0])}) {
    if (count != batch && count != 1)
      to.fail_operand(i, str(batch, " of them as result_vector has, or one"));
  }
  add_product(to, {kLeft, matrix}, {kRight, input}, {kResult, result});
}

constexpr std::string_view kVectorDoc =
    R"(result = alpha * op(matrix) * input + beta * result, op being the matrix or, where asked for, its
transpose. rows and columns are those of op(matrix), from its origin on: the length of the result and of the
input; left out (-1) all that there are. Longer vectors keep their other elements. Several vectors are
multiplied by as many matrices, or by one.

Sums, element types and beta as in MatrixMultiplication.)";

constexpr std::string_view kVectorExample =
    R"(matrix = mps.Matrix.from_array(device, np.arange(6, dtype=np.float32).reshape(2, 3))
x = mps.Vector.from_array(device, np.ones(3, np.float32))
y = mps.Vector(device, length=2)
commands = mps.CommandBuffer(queue)
mps.MatrixVectorMultiplication(device).encode(commands, matrix, x, y)
commands.commit()
assert np.array_equal(np.asarray(y), [3, 12])
)";

KernelClass matrix_vector_multiplication() {
  return {.name = "MatrixVectorMultiplication",
          .apple = "MPSMatrixVectorMultiplication",
          .family = "matrix_multiplication",
          .brief = "The product of a matrix and a vector",
          .doc = kVectorDoc,
          .example = kVectorExample,
          .attributes = joined({flag("transpose", "the matrix is transposed", false),
                                count("rows", "rows of the matrix as it is multiplied; -1: all"),
                                count("columns", "columns of it; -1: all"),
                                factor("alpha", "factor of the product", 1.0),
                                factor("beta", "factor of what result_vector held", 0.0),
                                origin("primary_source_matrix_origin")},
                               batch_range()),
          .methods = {{.doc = "Records the product.",
                       .operands = {{.name = "input_matrix",
                                     .doc = "(rows, columns), transposed (columns, rows)"},
                                    {.name = "input_vector",
                                     .kind = OperandKind::VECTOR,
                                     .doc = "at least columns elements"},
                                    {.name = "result_vector",
                                     .kind = OperandKind::VECTOR,
                                     .doc = "at least rows elements",
                                     .writes = true}},
                       .lower = lower_vector}},
          .check = check_batch_range};
}

constexpr std::string_view kDoc =
    R"(result = alpha * op(left) * op(right) + beta * result for each matrix of the batch, op being the matrix or,
where asked for, its transpose. result_rows M, result_columns N and interior_columns K say how much of each
matrix takes part, from its origin on: op(left) is (M, K), op(right) (K, N), the result (M, N). Left out (-1)
they are all that follows the origin of the result, and of left_matrix. An operand of one matrix serves every
matrix of the result.

Sums are made in float32, of integers in int32. Where beta is 0 the result is not read: NaN there does not
spread.

**Element types** (left, right, result): float32 or float16 each; int8, int8 or int16, int16 with int32, float32
or float16. Sums of integers wrap at 32 bits; with alpha or beta the int32 result is rounded to the nearest.

**Unlike Apple**: a batch_size of 0 is refused (Apple's header takes it for all, its kernel for none).)";

constexpr std::string_view kExample =
    R"(left = mps.Matrix.from_array(device, np.arange(6, dtype=np.float32).reshape(2, 3))
right = mps.Matrix.from_array(device, np.ones((3, 4), np.float32))
result = mps.Matrix(device, rows=2, columns=4)
commands = mps.CommandBuffer(queue)
mps.MatrixMultiplication(device, alpha=2.0).encode(commands, left, right, result)
commands.commit()
assert np.array_equal(np.asarray(result), [[6.0] * 4, [24.0] * 4])
)";

}  // namespace

std::vector<KernelClass> matrix_multiplication_kernels() {
  std::vector<AttributeSpec> attributes = {
      flag("transpose_left", "left_matrix is transposed", false),
      flag("transpose_right", "right_matrix is transposed", false),
      count("result_rows", "M; -1: all"),
      count("result_columns", "N; -1: all"),
      count("interior_columns", "K; -1: all"),
      factor("alpha", "factor of the product", 1.0),
      factor("beta", "factor of what result_matrix held", 0.0),
      origin("left_matrix_origin"),
      origin("right_matrix_origin"),
      origin("result_matrix_origin"),
  };
  for (AttributeSpec& spec : batch_range()) attributes.push_back(std::move(spec));
  return {
      {.name = "MatrixMultiplication",
       .apple = "MPSMatrixMultiplication",
       .family = "matrix_multiplication",
       .brief = "The product of matrices",
       .doc = kDoc,
       .example = kExample,
       .attributes = std::move(attributes),
       .methods = {{.doc = "Records the product.",
                    .operands = {{.name = "left_matrix", .doc = "(M, K), transposed (K, M)"},
                                 {.name = "right_matrix", .doc = "(K, N), transposed (N, K)"},
                                 {.name = "result_matrix", .doc = "(M, N)", .writes = true}},
                    .lower = lower}},
       .check = check_batch_range},
      matrix_vector_multiplication(),
  };
}

}  // namespace mpsnn::graph
