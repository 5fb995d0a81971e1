// SPDX-License-Identifier: MIT
// Softmax along the rows of matrices. Operation: softmax of (1, 1, rows, columns).
#include "base/attributes.h"
#include "graph/kernel_lowering.h"
#include "graph/kernels/matrix_tools.h"

namespace mpsnn::graph {
namespace {

enum Operand : std::size_t { kInput, kResult };

template <bool logarithm>
void lower(KernelLowering& to) {
  const AttributeMap& a = to.attributes();
  const MatrixPart result = matrix_part(to, kResult, "result_matrix_origin",
                                        get_int(a, "source_rows"), get_int(a, "source_columns"));
  const std::vector<std::int64_t>& dims = result.desc.dims;
  const MatrixPart input = matrix_part(to, kInput, "source_matrix_origin", dims[1], dims[2]);
  if (input.desc.dims != dims) to.fail_operand(kInput, str(dims[0], " matrices as result_matrix"));
  to.expect_type(kInput, {DataType::FLOAT32, DataType::FLOAT16});
  to.expect_type(kResult, {DataType::FLOAT32, DataType::FLOAT16});
  const std::vector<std::int64_t> rows = {1, 1, dims[0] * dims[1], dims[2]};
  const ValueId source = to.as_float32(kInput, input.desc, input.offset),
                value = to.result_as_float32(kResult, result.desc, result.offset);
  to.add(OpId::softmax, {to.reshaped(source, rows)}, {to.reshaped(value, rows)},
         {{"logarithm", logarithm}});
  to.write_back(value, kResult, result.desc, result.offset);
}

template <bool logarithm>
void lower_gradient(KernelLowering& to) {
  enum : std::size_t { kGradient, kForward, kSourceGradient };
  const AttributeMap& a = to.attributes();
  const MatrixPart result = matrix_part(to, kSourceGradient, "result_matrix_origin",
                                        get_int(a, "source_rows"), get_int(a, "source_columns"));
  const std::vector<std::int64_t>& dims = result.desc.dims;
  const std::vector<std::int64_t> rows = {1, 1, dims[0] * dims[1], dims[2]};
  expect_floats(to, {kGradient, kForward, kSourceGradient});
  const auto operand = [&](std::size_t i, std::string_view origin) {
    const MatrixPart part = matrix_part(to, i, origin, dims[1], dims[2]);
    if (part.desc.dims != dims) to.fail_operand(i, str(dims[0], " matrices as result_matrix"));
    return to.reshaped(to.as_float32(i, part.desc, part.offset), rows);
  };
  const ValueId gradient = operand(kGradient, "primary_source_matrix_origin"),
                forward = operand(kForward, "secondary_source_matrix_origin"),
                value = to.result_as_float32(kSourceGradient, result.desc, result.offset);
  to.add(OpId::softmax_gradient, {gradient, forward}, {to.reshaped(value, rows)},
         {{"logarithm", logarithm}});
  to.write_back(value, kSourceGradient, result.desc, result.offset);
}

KernelClass gradient_row(std::string_view name, std::string_view apple, std::string_view brief,
                         std::string_view doc, std::string_view example,
                         void (*lower)(KernelLowering&)) {
  return {.name = name,
          .apple = apple,
          .family = "matrix_softmax",
          .brief = brief,
          .doc = doc,
          .example = example,
          .attributes =
              joined({count("source_rows", "rows that take part; -1: all"),
                      count("source_columns", "columns that take part; -1: all"),
                      origin("primary_source_matrix_origin"),
                      origin("secondary_source_matrix_origin"), origin("result_matrix_origin")},
                     batch_range()),
          .methods = {{.doc = "Records the gradient.",
                       .operands = {{.name = "gradient_matrix",
                                     .doc = "gradient of the result, float32 or float16"},
                                    {.name = "forward_output_matrix",
                                     .doc = "the result of the forward kernel"},
                                    {.name = "result_matrix",
                                     .doc = "gradient of the source; may be gradient_matrix",
                                     .writes = true,
                                     .in_place = true}},
                       .lower = lower}},
          .check = check_batch_range};
}

constexpr std::string_view kGradientExample =
    R"(gradient = mps.Matrix.from_array(device, np.array([[1, 0]], np.float32))
output = mps.Matrix.from_array(device, np.array([[0.5, 0.5]], np.float32))
result = mps.Matrix(device, rows=1, columns=2)
commands = mps.CommandBuffer(queue)
mps.MatrixSoftMaxGradient(device).encode(commands, gradient, output, result)
commands.commit()
assert np.array_equal(np.asarray(result), [[0.25, -0.25]])
)";

constexpr std::string_view kLogGradientExample =
    R"(gradient = mps.Matrix.from_array(device, np.array([[1, 0]], np.float32))
output = mps.Matrix.from_array(device, np.log(np.array([[0.5, 0.5]], np.float32)))
result = mps.Matrix(device, rows=1, columns=2)
commands = mps.CommandBuffer(queue)
mps.MatrixLogSoftMaxGradient(device).encode(commands, gradient, output, result)
commands.commit()
assert np.allclose(np.asarray(result), [[0.5, -0.5]])
)";

std::vector<AttributeSpec> attributes() {
  std::vector<AttributeSpec> all = {count("source_rows", "rows that take part; -1: all"),
                                    count("source_columns", "columns that take part; -1: all"),
                                    origin("source_matrix_origin"), origin("result_matrix_origin")};
  for (AttributeSpec& spec : batch_range()) all.push_back(std::move(spec));
  return all;
}

EncodeMethod method(void (*lower)(KernelLowering&)) {
  return {.doc = "Records the softmax of each row.",
          .operands = {{.name = "input_matrix", .doc = "any matrix of float32 or float16"},
                       {.name = "result_matrix",
                        .doc = "matrix of as many rows and columns; may be input_matrix",
                        .writes = true,
                        .in_place = true}},
          .lower = lower};
}

constexpr std::string_view kExample =
    R"(x = mps.Matrix.from_array(device, np.zeros((2, 4), np.float32))
commands = mps.CommandBuffer(queue)
mps.MatrixSoftMax(device).encode(commands, x, x)
commands.commit()
assert np.array_equal(np.asarray(x), np.full((2, 4), 0.25))
)";

constexpr std::string_view kLogExample =
    R"(x = mps.Matrix.from_array(device, np.zeros((2, 4), np.float32))
commands = mps.CommandBuffer(queue)
mps.MatrixLogSoftMax(device).encode(commands, x, x)
commands.commit()
assert np.allclose(np.asarray(x), -np.log(4))
)";

}  // namespace

std::vector<KernelClass> matrix_softmax_kernels() {
  return {
      {.name = "MatrixSoftMax",
       .apple = "MPSMatrixSoftMax",
       .family = "matrix_softmax",
       .brief = "The softmax of each row of a matrix",
       .doc = "result[i, j] = exp(input[i, j] - m) / sum over k of exp(input[i, k] - m), m being "
              "the row's largest value.",
       .example = kExample,
       .attributes = attributes(),
       .methods = {method(lower<false>)},
       .check = check_batch_range},
      {.name = "MatrixLogSoftMax",
       .apple = "MPSMatrixLogSoftMax",
       .family = "matrix_softmax",
       .brief = "The logarithm of the softmax of each row of a matrix",
       .doc =
           "result[i, j] = input[i, j] - m - ln(sum over k of exp(input[i, k] - m)), m being the "
           "row's largest value.",
       .example = kLogExample,
       .attributes = attributes(),
       .methods = {method(lower<true>)},
       .check = check_batch_range},
      gradient_row("MatrixSoftMaxGradient", "MPSMatrixSoftMaxGradient",
                   "The gradient of the softmax of each row of a matrix",
                   "result[i, j] = y[i, j] * (g[i, j] - sum over k of g[i, k] * y[i, k]), y being "
                   "the forward output and g the gradient.",
                   kGradientExample, lower_gradient<false>),
      gradient_row("MatrixLogSoftMaxGradient", "MPSMatrixLogSoftMaxGradient",
                   "The gradient of the logarithm of the softmax of each row of a matrix",
                   "result[i, j] = g[i, j] - exp(y[i, j]) * (sum over k of g[i, k]), y being the "
                   "forward output and g the gradient. Apple's header prints the exponential of "
                   "the product instead, which is not the derivative.",
                   kLogGradientExample, lower_gradient<true>),
  };
}

}  // namespace mpsnn::graph
