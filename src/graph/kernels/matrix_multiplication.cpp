// SPDX-License-Identifier: MIT
// Products of matrices. Operation: matrix_multiplication  left, right -> result.
#include <limits>

#include "base/attributes.h"
#include "graph/kernel_lowering.h"
#include "graph/kernels/matrix_tools.h"

namespace mpsnn::graph {
namespace {

enum Operand : std::size_t { kLeft, kRight, kResult };

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
  to.add(OpId::matrix_multiplication,
         {to.view(kLeft, left.desc, left.offset), to.view(kRight, right.desc, right.offset)},
         {to.view(kResult, result.desc, result.offset)},
         {{"alpha", get_float(a, "alpha")}, {"beta", get_float(a, "beta")}});
}

constexpr std::string_view kDoc =
    R"(result = alpha * op(left) * op(right) + beta * result for each matrix of the batch, op being the matrix or,
where asked for, its transpose. result_rows M, result_columns N and interior_columns K say how much of each
matrix takes part, from its origin on: op(left) is (M, K), op(right) (K, N), the result (M, N). Left out (-1)
they are all that follows the origin of the result, and of left_matrix. An operand of one matrix serves every
matrix of the result.

Sums are made in float32, of integers in int32. Where beta is 0 the result is not read: NaN there does not
spread.

**Element types** (left, right, result): float32 or float16 each; int8, int8, int32 and the like are listed in
the error where a triple is not supported.

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
  };
}

}  // namespace mpsnn::graph
