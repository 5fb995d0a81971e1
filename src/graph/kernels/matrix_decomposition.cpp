// SPDX-License-Identifier: MIT
// Factors of matrices and what they solve. Operations: lu_decomposition, cholesky_decomposition,
// triangular_solve, apply_pivots, all in place of a copy.
#include "base/attributes.h"
#include "graph/kernel_lowering.h"
#include "graph/kernels/matrix_tools.h"

namespace mpsnn::graph {
namespace {

constexpr std::string_view kPrimary = "primary_source_matrix_origin",
                           kSecondary = "secondary_source_matrix_origin",
                           kResultOrigin = "result_matrix_origin";

void expect_batch(const KernelLowering& to, std::size_t i, std::int64_t batch,
                  std::int64_t expected) {
  if (batch != expected) to.fail_operand(i, str(expected, " matrices as the others"));
}

/// The result as float32 that operations change in place, filled with another operand's part times
/// alpha.
ValueId filled(KernelLowering& to, std::size_t result, const MatrixPart& result_part,
               std::size_t source, const MatrixPart& source_part, double alpha) {
  const ValueId value = strided_result(to, result, result_part, false);
  if (alpha == 1) {
    to.add(OpId::copy, {to.view(source, source_part.desc, source_part.offset)}, {value}, {},
           "copy");
    return value;
  }
  AttributeMap scaled = {
      {"alpha", alpha},  {"neuron_type", static_cast<std::int64_t>(NeuronType::NONE)},
      {"neuron_a", 0.0}, {"neuron_b", 0.0},
      {"neuron_c", 0.0}, {"neuron_parameters", std::vector<double>()}};
  to.add(OpId::matrix_neuron, {strided_float32(to, source, source_part), kNoValue}, {value},
         std::move(scaled), "scaled");
  return value;
}

/// One status a matrix of the batch.
ValueId status_of(KernelLowering& to, std::size_t i, std::int64_t batch) {
  if (!to.has(i)) return kNoValue;
  to.expect_type(i, {DataType::INT32});
  return to.view(i, vector_part(to, i, batch), 0);
}

MatrixPart pivots_of(const KernelLowering& to, std::size_t i, std::int64_t count,
                     std::int64_t batch) {
  to.expect_type(i, {DataType::UINT32});
  const MatrixPart part = matrix_part(to, i, "", 1, count);
  expect_batch(to, i, part.desc.dims[0], batch);
  return part;
}

void lower_lu(KernelLowering& to) {
  enum : std::size_t { kSource, kResult, kPivots, kStatus };
  const AttributeMap& a = to.attributes();
  expect_floats(to, {kSource, kResult});
  const MatrixPart source =
      matrix_part(to, kSource, "source_matrix_origin", get_int(a, "rows"), get_int(a, "columns"));
  const std::vector<std::int64_t>& dims = source.desc.dims;
  const MatrixPart result = matrix_part(to, kResult, kResultOrigin, dims[1], dims[2]);
  expect_batch(to, kResult, result.desc.dims[0], dims[0]);
  const MatrixPart pivots = pivots_of(to, kPivots, std::min(dims[1], dims[2]), dims[0]);
  const ValueId status = status_of(to, kStatus, dims[0]),
                value = filled(to, kResult, result, kSource, source, 1.0);
  to.add(OpId::lu_decomposition, {value},
         {value, to.view(kPivots, pivots.desc, pivots.offset), status}, {});
  finish(to, value, kResult, result);
}

void lower_cholesky(KernelLowering& to) {
  enum : std::size_t { kSource, kResult, kStatus };
  const AttributeMap& a = to.attributes();
  const std::int64_t order = get_int(a, "order");
  expect_floats(to, {kSource, kResult});
  const MatrixPart source = matrix_part(to, kSource, "source_matrix_origin", order, order);
  const std::vector<std::int64_t>& dims = source.desc.dims;
  if (dims[1] != dims[2]) to.fail_operand(kSource, "as many rows as columns behind its origin");
  const MatrixPart result = matrix_part(to, kResult, kResultOrigin, dims[1], dims[2]);
  expect_batch(to, kResult, result.desc.dims[0], dims[0]);
  const ValueId status = status_of(to, kStatus, dims[0]),
                value = filled(to, kResult, result, kSource, source, 1.0);
  to.add(OpId::cholesky_decomposition, {value}, {value, status}, {{"lower", get_bool(a, "lower")}});
  finish(to, value, kResult, result);
}

/// Factors, right-hand sides, solution: the parts of a solve.
struct Solve {
  MatrixPart factors, right_hand_sides, solution;
};

Solve solve_parts(const KernelLowering& to, std::size_t right_hand_sides, std::size_t solution,
                  bool right) {
  constexpr std::size_t kSource = 0;
  const AttributeMap& a = to.attributes();
  std::int64_t rows = get_int(a, "order"), columns = get_int(a, "number_of_right_hand_sides");
  expect_floats(to, {kSource, right_hand_sides, solution});
  if (right) std::swap(rows, columns);
  const MatrixPart b = matrix_part(to, right_hand_sides, kSecondary, rows, columns);
  const std::vector<std::int64_t>& dims = b.desc.dims;
  const std::int64_t order = dims[right ? 2 : 1];
  const MatrixPart factors = matrix_part(to, kSource, kPrimary, order, order);
  const MatrixPart x = matrix_part(to, solution, kResultOrigin, dims[1], dims[2]);
  expect_batch(to, solution, x.desc.dims[0], dims[0]);
  if (factors.desc.dims[0] != 1) expect_batch(to, kSource, factors.desc.dims[0], dims[0]);
  return {factors, b, x};
}

AttributeMap triangle(bool right, bool upper, bool transpose, bool unit) {
  return {{"right", right}, {"upper", upper}, {"transpose", transpose}, {"unit", unit}};
}

void lower_triangular(KernelLowering& to) {
  enum : std::size_t { kSource, kRightHandSides, kSolution };
  const AttributeMap& a = to.attributes();
  const bool right = get_bool(a, "right");
  const Solve parts = solve_parts(to, kRightHandSides, kSolution, right);
  const ValueId factors = strided_float32(to, kSource, parts.factors),
                x = filled(to, kSolution, parts.solution, kRightHandSides, parts.right_hand_sides,
                           get_float(a, "alpha"));
  to.add(OpId::triangular_solve, {factors, x}, {x},
         triangle(right, get_bool(a, "upper"), get_bool(a, "transpose"), get_bool(a, "unit")));
  finish(to, x, kSolution, parts.solution);
}

void lower_solve_lu(KernelLowering& to) {
  enum : std::size_t { kSource, kRightHandSides, kPivots, kSolution };
  const bool transpose = get_bool(to.attributes(), "transpose");
  const Solve parts = solve_parts(to, kRightHandSides, kSolution, false);
  const std::int64_t order = parts.factors.desc.dims[1];
  const MatrixPart pivots = pivots_of(to, kPivots, order, parts.factors.desc.dims[0]);
  const ValueId factors = strided_float32(to, kSource, parts.factors),
                interchanges = to.view(kPivots, pivots.desc, pivots.offset),
                x = filled(to, kSolution, parts.solution, kRightHandSides, parts.right_hand_sides,
                           1.0);
  // A = P^T L U; its transpose is U^T L^T P.
  if (!transpose) {
    to.add(OpId::apply_pivots, {interchanges, x}, {x}, {{"backwards", false}}, "pivots");
    to.add(OpId::triangular_solve, {factors, x}, {x}, triangle(false, false, false, true), "lower");
    to.add(OpId::triangular_solve, {factors, x}, {x}, triangle(false, true, false, false), "upper");
  } else {
    to.add(OpId::triangular_solve, {factors, x}, {x}, triangle(false, true, true, false), "upper");
    to.add(OpId::triangular_solve, {factors, x}, {x}, triangle(false, false, true, true), "lower");
    to.add(OpId::apply_pivots, {interchanges, x}, {x}, {{"backwards", true}}, "pivots");
  }
  finish(to, x, kSolution, parts.solution);
}

void lower_solve_cholesky(KernelLowering& to) {
  enum : std::size_t { kSource, kRightHandSides, kSolution };
  const bool upper = get_bool(to.attributes(), "upper");
  const Solve parts = solve_parts(to, kRightHandSides, kSolution, false);
  const ValueId factors = strided_float32(to, kSource, parts.factors),
                x = filled(to, kSolution, parts.solution, kRightHandSides, parts.right_hand_sides,
                           1.0);
  to.add(OpId::triangular_solve, {factors, x}, {x}, triangle(false, upper, upper, false), "first");
  to.add(OpId::triangular_solve, {factors, x}, {x}, triangle(false, upper, !upper, false),
         "second");
  finish(to, x, kSolution, parts.solution);
}

std::vector<AttributeSpec> unary(std::vector<AttributeSpec> own) {
  own = joined(std::move(own), {origin("source_matrix_origin"), origin(kResultOrigin)});
  return joined(std::move(own), batch_range());
}

std::vector<AttributeSpec> binary(std::vector<AttributeSpec> own) {
  own = joined(std::move(own), {count("order", "order of the triangle; -1: all"),
                                count("number_of_right_hand_sides", "-1: all"), origin(kPrimary),
                                origin(kSecondary), origin(kResultOrigin)});
  return joined(std::move(own), batch_range());
}

constexpr OperandSpec kSolutionSpec = {.name = "solution_matrix",
                                       .doc = "X; may be right_hand_side_matrix",
                                       .writes = true,
                                       .in_place = true};
constexpr OperandSpec kStatusSpec = {.name = "status",
                                     .kind = OperandKind::VECTOR,
                                     .doc = "int32, one MatrixDecompositionStatus a matrix",
                                     .writes = true,
                                     .optional = true};

constexpr std::string_view kLuDoc =
    R"(P * A = L * U by partial pivoting, for each matrix of the batch: L, of ones on its diagonal, below U in the result.
Row i was interchanged with row pivot_indices[i] (counted from 0), one after the other. Where an entry of U's
diagonal is exactly zero the status is SINGULAR, not an exception: the factors are complete, but solve nothing. The
result may be the source. float32; float16 is factored as float32.)";

constexpr std::string_view kLuExample =
    R"(a = mps.Matrix.from_array(device, np.array([[1, 2], [2, 2]], np.float32))
pivots = mps.Matrix(device, rows=1, columns=2, data_type=mps.DataType.UINT32)
status = mps.Vector(device, length=1, data_type=mps.DataType.INT32)
commands = mps.CommandBuffer(queue)
mps.MatrixDecompositionLU(device).encode(commands, a, a, pivots, status)
commands.commit()
assert np.array_equal(np.asarray(a), [[2, 2], [0.5, 1]])
assert np.array_equal(np.asarray(pivots), [[1, 1]])
assert np.asarray(status)[0] == mps.MatrixDecompositionStatus.SUCCESS
)";

constexpr std::string_view kCholeskyDoc =
    R"(A = L * L^T, or with lower off A = U^T * U, for each matrix of the batch. Only that triangle of the source counts;
the other one of the result holds what the source holds there. A matrix that is not positive definite gives the
status NON_POSITIVE_DEFINITE, not an exception, and a result without meaning. The result may be the source. float32;
float16 is factored as float32.)";

constexpr std::string_view kCholeskyExample =
    R"(a = mps.Matrix.from_array(device, np.array([[4, 0], [2, 5]], np.float32))
status = mps.Vector(device, length=1, data_type=mps.DataType.INT32)
commands = mps.CommandBuffer(queue)
mps.MatrixDecompositionCholesky(device).encode(commands, a, a, status)
commands.commit()
assert np.array_equal(np.asarray(a), [[2, 0], [1, 2]])
assert np.asarray(status)[0] == mps.MatrixDecompositionStatus.SUCCESS
)";

constexpr std::string_view kTriangularDoc =
    R"(op(A) * X = alpha * B, or with right X * op(A) = alpha * B, op being the triangle A or, where asked for, its
transpose. upper says which triangle of the source counts, unit that its diagonal is of ones and not read. A zero on
the diagonal gives infinities or NaN. One source matrix serves all of a batch; the solution may be the right-hand
sides. float32; float16 is solved as float32.)";

constexpr std::string_view kTriangularExample =
    R"(a = mps.Matrix.from_array(device, np.array([[2, 0], [1, 4]], np.float32))
b = mps.Matrix.from_array(device, np.array([[2], [9]], np.float32))
commands = mps.CommandBuffer(queue)
mps.MatrixSolveTriangular(device).encode(commands, a, b, b)
commands.commit()
assert np.array_equal(np.asarray(b), [[1], [2]])
)";

constexpr std::string_view kSolveLuDoc =
    R"(A * X = B, or with transpose A^T * X = B, from the factors and pivots that MatrixDecompositionLU made of A. The
solution may be the right-hand sides. A pivot beyond the matrix fails the command with DeviceError.)";

constexpr std::string_view kSolveLuExample =
    R"(a = mps.Matrix.from_array(device, np.array([[1, 2], [2, 2]], np.float32))
b = mps.Matrix.from_array(device, np.array([[5], [6]], np.float32))
pivots = mps.Matrix(device, rows=1, columns=2, data_type=mps.DataType.UINT32)
commands = mps.CommandBuffer(queue)
mps.MatrixDecompositionLU(device).encode(commands, a, a, pivots)
mps.MatrixSolveLU(device).encode(commands, a, b, pivots, b)
commands.commit()
assert np.array_equal(np.asarray(b), [[1], [2]])
)";

constexpr std::string_view kSolveCholeskyDoc =
    R"(A * X = B from the factor that MatrixDecompositionCholesky made of A: L, or with upper U. The solution may be the
right-hand sides.)";

constexpr std::string_view kSolveCholeskyExample =
    R"(factor = mps.Matrix.from_array(device, np.array([[2, 0], [1, 2]], np.float32))
b = mps.Matrix.from_array(device, np.array([[8], [12]], np.float32))
commands = mps.CommandBuffer(queue)
mps.MatrixSolveCholesky(device).encode(commands, factor, b, b)
commands.commit()
assert np.array_equal(np.asarray(b), [[1], [2]])
)";

KernelClass row(std::string_view name, std::string_view apple, std::string_view brief,
                std::string_view doc, std::string_view example,
                std::vector<AttributeSpec> attributes, EncodeMethod method) {
  return {.name = name,
          .apple = apple,
          .family = "matrix_decomposition",
          .brief = brief,
          .doc = doc,
          .example = example,
          .attributes = std::move(attributes),
          .methods = {std::move(method)},
          .check = check_batch_range};
}

std::vector<KernelClass> decompositions() {
  const OperandSpec source = {.name = "source_matrix", .doc = "A"},
                    result = {.name = "result_matrix",
                              .doc = "the factors; may be source_matrix",
                              .writes = true,
                              .in_place = true},
                    pivots = {.name = "pivot_indices",
                              .doc = "uint32, one row of min(rows, columns)",
                              .writes = true};
  return {
      row("MatrixDecompositionLU", "MPSMatrixDecompositionLU",
          "The LU factors of a matrix with partial pivoting", kLuDoc, kLuExample,
          unary({count("rows", "rows of A; -1: all"), count("columns", "columns of A; -1: all")}),
          {.doc = "Records the decomposition.",
           .operands = {source, result, pivots, kStatusSpec},
           .lower = lower_lu}),
      row("MatrixDecompositionCholesky", "MPSMatrixDecompositionCholesky",
          "The Cholesky factor of a symmetric positive definite matrix", kCholeskyDoc,
          kCholeskyExample,
          unary({flag("lower", "the lower triangle, else the upper one", true),
                 count("order", "rows and columns of A; -1: all")}),
          {.doc = "Records the decomposition.",
           .operands = {source, result, kStatusSpec},
           .lower = lower_cholesky})};
}

}  // namespace

std::vector<KernelClass> matrix_decomposition_kernels() {
  std::vector<KernelClass> all = decompositions();
  const OperandSpec sides = {.name = "right_hand_side_matrix", .doc = "B"};
  all.push_back(row(
      "MatrixSolveTriangular", "MPSMatrixSolveTriangular", "The solution of a triangular system",
      kTriangularDoc, kTriangularExample,
      binary({flag("right", "the triangle stands right of X", false),
              flag("upper", "the upper triangle counts", false),
              flag("transpose", "the triangle is transposed", false),
              flag("unit", "its diagonal is of ones", false),
              factor("alpha", "factor of the right-hand sides", 1.0)}),
      {.doc = "Records the solve.",
       .operands = {{.name = "source_matrix", .doc = "A, (order, order)"}, sides, kSolutionSpec},
       .lower = lower_triangular}));
  all.push_back(row("MatrixSolveLU", "MPSMatrixSolveLU", "The solution of a system from LU factors",
                    kSolveLuDoc, kSolveLuExample,
                    binary({flag("transpose", "A is transposed", false)}),
                    {.doc = "Records the solve.",
                     .operands = {{.name = "source_matrix", .doc = "the factors"},
                                  sides,
                                  {.name = "pivot_indices", .doc = "uint32, one row of order"},
                                  kSolutionSpec},
                     .lower = lower_solve_lu}));
  all.push_back(
      row("MatrixSolveCholesky", "MPSMatrixSolveCholesky",
          "The solution of a system from a Cholesky factor", kSolveCholeskyDoc,
          kSolveCholeskyExample, binary({flag("upper", "the factor is U, else L", false)}),
          {.doc = "Records the solve.",
           .operands = {{.name = "source_matrix", .doc = "the factor"}, sides, kSolutionSpec},
           .lower = lower_solve_cholesky}));
  return all;
}

}  // namespace mpsnn::graph
