// SPDX-License-Identifier: MIT
// Neurons of matrices with a bias a column. Operations: matrix_neuron, matrix_neuron_gradient,
// column_sums.
#include "base/attributes.h"
#include "graph/kernel_lowering.h"
#include "graph/kernels/matrix_tools.h"

namespace mpsnn::graph {
namespace {

bool is_float(DataType type) { return type == DataType::FLOAT32 || type == DataType::FLOAT16; }

void check(std::string_view title, const AttributeMap& attributes) {
  check_batch_range(title, attributes);
  const bool is_prelu =
      get_int(attributes, "neuron_type") == static_cast<std::int64_t>(NeuronType::PRELU);
  const std::size_t slopes = get_floats(attributes, "neuron_parameters").size();
  if (is_prelu == (slopes > 0)) return;
  throw_expected(str(title, ": neuron_parameters"),
                 is_prelu ? "one a column for PRELU" : "none for a neuron that is not PRELU",
                 slopes);
}

void check_slopes(const KernelLowering& to, std::int64_t columns) {
  const auto slopes = get_floats(to.attributes(), "neuron_parameters").size();
  if (slopes > 0 && slopes != static_cast<std::size_t>(columns))
    to.fail("neuron_parameters", str(columns, " of them, one a column"), slopes);
}

/// Integers take LINEAR and NONE, of one type throughout.
void check_integers(const KernelLowering& to, std::size_t input, std::size_t result) {
  const DataType from = to.desc(input).type, into = to.desc(result).type;
  if (from == DataType::INT64) {
    to.fail<ArgumentTypeError>("input_matrix", "float32, float16 or integers of 8 to 32 bits",
                               name_of(from));
  }
  if (from != into) to.fail<ArgumentTypeError>("result_matrix", name_of(from), name_of(into));
  const auto type = static_cast<NeuronType>(get_int(to.attributes(), "neuron_type"));
  if (type != NeuronType::NONE && type != NeuronType::LINEAR) {
    to.fail<ArgumentTypeError>("input_matrix", "float32 or float16 for a neuron that is not LINEAR",
                               name_of(from));
  }
}

void lower(KernelLowering& to) {
  enum : std::size_t { kInput, kResult, kBias };
  const AttributeMap& a = to.attributes();
  const MatrixPart result = matrix_part(to, kResult, "result_matrix_origin",
                                        get_int(a, "source_number_of_feature_vectors"),
                                        get_int(a, "source_input_feature_channels"));
  const std::vector<std::int64_t>& dims = result.desc.dims;
  const MatrixPart input = matrix_part(to, kInput, "source_matrix_origin", dims[1], dims[2]);
  if (input.desc.dims != dims) to.fail_operand(kInput, str(dims[0], " matrices as result_matrix"));
  check_slopes(to, dims[2]);
  const bool floats = is_float(to.desc(kInput).type) && is_float(to.desc(kResult).type);
  if (!floats) check_integers(to, kInput, kResult);
  const ValueId bias = vector_as_float32(to, kBias, dims[2]);
  const ValueId source = floats ? strided_float32(to, kInput, input)
                                : to.view(kInput, input.desc, input.offset),
                value = floats ? strided_result(to, kResult, result, false)
                               : to.view(kResult, result.desc, result.offset);
  to.add(OpId::matrix_neuron, {source, bias}, {value}, neuron_operation(a, get_float(a, "alpha")));
  if (floats) finish(to, value, kResult, result);
}

void lower_gradient(KernelLowering& to) {
  enum : std::size_t { kGradient, kInput, kResult, kBias, kBiasGradient };
  const AttributeMap& a = to.attributes();
  const double alpha = get_float(a, "alpha");
  const MatrixPart result = matrix_part(to, kResult, "result_matrix_origin",
                                        get_int(a, "source_number_of_feature_vectors"),
                                        get_int(a, "source_input_feature_channels"));
  const std::vector<std::int64_t>& dims = result.desc.dims;
  const MatrixPart gradient =
                       matrix_part(to, kGradient, "primary_source_matrix_origin", dims[1], dims[2]),
                   input =
                       matrix_part(to, kInput, "secondary_source_matrix_origin", dims[1], dims[2]);
  for (const auto& [i, part] :
       {std::pair<std::size_t, const MatrixPart*>(kGradient, &gradient), {kInput, &input}}) {
    if (part->desc.dims != dims) to.fail_operand(i, str(dims[0], " matrices as result_matrix"));
  }
  check_slopes(to, dims[2]);
  expect_floats(to, {kGradient, kInput, kResult, kBias, kBiasGradient});
  const std::vector<ValueId> inputs = {strided_float32(to, kGradient, gradient),
                                       strided_float32(to, kInput, input),
                                       vector_as_float32(to, kBias, dims[2])};
  AttributeMap attributes = neuron_operation(a, alpha);
  const ValueId value = strided_result(to, kResult, result, false);
  // The bias' gradient is that of alpha * x + bias: without alpha.
  if (to.has(kBiasGradient)) {
    const TensorDesc sums = vector_part(to, kBiasGradient, dims[2]);
    ValueId own = value;
    attributes["factor"] = 1.0;
    if (alpha != 1) own = to.temporary("unscaled", {DataType::FLOAT32, dims, nullptr});
    to.add(OpId::matrix_neuron_gradient, inputs, {own}, attributes, "unscaled");
    const ValueId total = to.result_as_float32(kBiasGradient, sums, 0);
    to.add(OpId::column_sums, {own}, {total}, {}, "bias");
    to.write_back(total, kBiasGradient, sums, 0);
    if (alpha == 1) return finish(to, value, kResult, result);
  }
  attributes["factor"] = alpha;
  to.add(OpId::matrix_neuron_gradient, inputs, {value}, attributes);
  finish(to, value, kResult, result);
}

std::vector<AttributeSpec> shared(std::vector<AttributeSpec> origins) {
  std::vector<AttributeSpec> all = {
      factor("alpha", "factor of the source", 1.0),
      count("source_number_of_feature_vectors", "rows that take part; -1: all"),
      count("source_input_feature_channels", "columns that take part; -1: all")};
  all = joined(joined(std::move(all), neuron_attributes(true)), std::move(origins));
  return joined(std::move(all), batch_range());
}

constexpr std::string_view kDoc =
    R"(result[i, j] = f(alpha * input[i, j] + bias[j]), f being the neuron: the functions and their parameters a, b
and c are those of the nodes of the same names. All parameters are given with the type: none has a default of its
own. PRELU takes its slopes, one a column, from neuron_parameters.

**Element types**: float32 and float16 in any mixture. LINEAR and NONE also take int8, int16, int32, uint8, uint16
and uint32, input and result alike: a * (alpha * x + bias) + b is computed in double, rounded to the nearest, ties
to even, and clamped. With a 1 and b -1 this counts down, as a predicate's integer.)";

constexpr std::string_view kExample =
    R"(counter = mps.Buffer(device, 4)
steps = mps.Matrix(counter, rows=1, columns=1, data_type=mps.DataType.UINT32)
steps.write(np.array([[2]], np.uint32))
total = mps.Matrix.from_array(device, np.zeros((1, 3), np.float32))
linear = mps.NeuronType.LINEAR
add = mps.MatrixNeuron(device, neuron_type=linear, neuron_parameter_a=1, neuron_parameter_b=5)
less = mps.MatrixNeuron(device, neuron_type=linear, neuron_parameter_a=1, neuron_parameter_b=-1)
commands = mps.CommandBuffer(queue)
commands.predicate = mps.Predicate(counter, 0)
for _ in range(10):
    add.encode(commands, total, total)
    less.encode(commands, steps, steps)

commands.commit()
assert np.array_equal(np.asarray(total), [[10, 10, 10]])  # two steps, then the predicate is 0
)";

constexpr std::string_view kGradientDoc =
    R"(With z = alpha * input + bias of the column: data gradient[i, j] = gradient[i, j] * f'(z[i, j]) * alpha, bias
gradient[j] = sum over i, and over all matrices of the batch, of gradient[i, j] * f'(z[i, j]). At the kink of a ReLU
the derivative is that below zero. Parameters as MatrixNeuron's; float32 and float16.)";

constexpr std::string_view kGradientExample =
    R"(gradient = mps.Matrix.from_array(device, np.ones((2, 2), np.float32))
x = mps.Matrix.from_array(device, np.array([[1, -1], [2, 3]], np.float32))
result = mps.Matrix(device, rows=2, columns=2)
bias_gradient = mps.Vector(device, length=2)
commands = mps.CommandBuffer(queue)
relu = mps.MatrixNeuronGradient(device, neuron_type=mps.NeuronType.RELU)
relu.encode(commands, gradient, x, result, result_gradient_for_bias_vector=bias_gradient)
commands.commit()
assert np.array_equal(np.asarray(result), [[1, 0], [1, 1]])
assert np.array_equal(np.asarray(bias_gradient), [2, 1])
)";

}  // namespace

std::vector<KernelClass> matrix_neuron_kernels() {
  return {
      {.name = "MatrixNeuron",
       .apple = "MPSMatrixNeuron",
       .family = "matrix_neuron",
       .brief = "A neuron of each element of a matrix",
       .doc = kDoc,
       .example = kExample,
       .attributes = shared({origin("source_matrix_origin"), origin("result_matrix_origin")}),
       .methods = {{.doc = "Records the neuron.",
                    .operands = {{.name = "input_matrix", .doc = "any matrix"},
                                 {.name = "result_matrix",
                                  .doc = "as many rows and columns; may be input_matrix",
                                  .writes = true,
                                  .in_place = true},
                                 {.name = "bias_vector",
                                  .kind = OperandKind::VECTOR,
                                  .doc = "one value a column, float32 or float16",
                                  .optional = true}},
                    .lower = lower}},
       .check = check},
      {.name = "MatrixNeuronGradient",
       .apple = "MPSMatrixNeuronGradient",
       .family = "matrix_neuron",
       .brief = "The gradients of a neuron's source and bias",
       .doc = kGradientDoc,
       .example = kGradientExample,
       .attributes =
           shared({origin("primary_source_matrix_origin"), origin("secondary_source_matrix_origin"),
                   origin("result_matrix_origin")}),
       .methods = {{.doc = "Records the gradients.",
                    .operands = {{.name = "gradient_matrix", .doc = "gradient of the result"},
                                 {.name = "input_matrix", .doc = "the neuron's source"},
                                 {.name = "result_gradient_for_data_matrix",
                                  .doc = "gradient of the source; may be gradient_matrix",
                                  .writes = true,
                                  .in_place = true},
                                 {.name = "bias_vector",
                                  .kind = OperandKind::VECTOR,
                                  .doc = "the neuron's bias",
                                  .optional = true},
                                 {.name = "result_gradient_for_bias_vector",
                                  .kind = OperandKind::VECTOR,
                                  .doc = "gradient of the bias, a value a column",
                                  .writes = true,
                                  .optional = true}},
                    .lower = lower_gradient}},
       .check = check},
  };
}

}  // namespace mpsnn::graph
