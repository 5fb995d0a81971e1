// SPDX-License-Identifier: MIT
// Fully connected layers of matrices. Operations: matrix_multiplication, matrix_neuron,
// column_sums.
#include <algorithm>
#include <limits>

#include "base/attributes.h"
#include "graph/kernel_lowering.h"
#include "graph/kernels/matrix_tools.h"

namespace mpsnn::graph {
namespace {

/// Feature vectors, input and output channels: those that are asked for, or the fewest that the
/// operands have behind their origins.
struct Extents {
  std::int64_t vectors, inputs, outputs;
};

/// An operand with what its rows and columns stand for.
struct Role {
  std::size_t operand;
  std::string_view origin;
  std::int64_t Extents::* rows;
  std::int64_t Extents::* columns;
};

Extents extents_of(const KernelLowering& to, std::initializer_list<Role> roles) {
  const AttributeMap& a = to.attributes();
  constexpr std::int64_t kNone = std::numeric_limits<std::int64_t>::max();
  Extents least{kNone, kNone, kNone};
  for (const Role& role : roles) {
    const auto& at = std::get<std::vector<std::int64_t>>(a.find(role.origin)->second);
    const std::vector<std::int64_t>& dims = to.desc(role.operand).dims;
    least.*role.rows = std::min(least.*role.rows, dims[1] - at[0]);
    least.*role.columns = std::min(least.*role.columns, dims[2] - at[1]);
  }
  const auto take = [&](std::string_view name, std::int64_t& extent) {
    if (get_int(a, name) > 0) extent = get_int(a, name);
  };
  take("source_number_of_feature_vectors", least.vectors);
  take("source_input_feature_channels", least.inputs);
  take("source_output_feature_channels", least.outputs);
  return least;
}

MatrixPart part_for(const KernelLowering& to, const Role& role, const Extents& extents) {
  return matrix_part(to, role.operand, role.origin, extents.*role.rows, extents.*role.columns);
}

void check_batch(const KernelLowering& to, std::size_t i, const MatrixPart& part,
                 const MatrixPart& result) {
  const std::int64_t batch = result.desc.dims[0];
  if (part.desc.dims[0] != batch && part.desc.dims[0] != 1)
    to.fail_operand(i, str(batch, " matrices as the result, or one"));
}

void add_product(KernelLowering& to, ValueId left, ValueId right, ValueId result) {
  to.add(OpId::matrix_multiplication, {left, right}, {result},
         {{"alpha", get_float(to.attributes(), "alpha")}, {"beta", 0.0}}, "product");
}

constexpr std::string_view kPrimary = "primary_source_matrix_origin",
                           kSecondary = "secondary_source_matrix_origin",
                           kResultOrigin = "result_matrix_origin";

void lower(KernelLowering& to) {
  const Role input{0, kPrimary, &Extents::vectors, &Extents::inputs},
      weights{1, kSecondary, &Extents::inputs, &Extents::outputs},
      result{2, kResultOrigin, &Extents::vectors, &Extents::outputs};
  constexpr std::size_t kBias = 3;
  expect_floats(to, {0, 1, 2});
  const Extents extents = extents_of(to, {input, weights, result});
  const MatrixPart x = part_for(to, input, extents), w = part_for(to, weights, extents),
                   y = part_for(to, result, extents);
  check_batch(to, 0, x, y);
  check_batch(to, 1, w, y);
  const ValueId value = strided_result(to, 2, y, false);
  add_product(to, strided_float32(to, 0, x), strided_float32(to, 1, w), value);
  const ValueId bias = vector_as_float32(to, kBias, extents.outputs);
  if (bias != kNoValue || has_neuron(to.attributes())) {
    // In place: the value is what it reads.
    to.add(OpId::matrix_neuron, {value, bias}, {value}, neuron_operation(to.attributes(), 1.0));
  }
  finish(to, value, 2, y);
}

void lower_data(KernelLowering& to) {
  const Role gradient{0, kPrimary, &Extents::vectors, &Extents::outputs},
      weights{1, kSecondary, &Extents::inputs, &Extents::outputs},
      result{2, kResultOrigin, &Extents::vectors, &Extents::inputs};
  expect_floats(to, {0, 1, 2});
  const Extents extents = extents_of(to, {gradient, weights, result});
  const MatrixPart g = part_for(to, gradient, extents), y = part_for(to, result, extents);
  MatrixPart w = part_for(to, weights, extents);
  check_batch(to, 0, g, y);
  check_batch(to, 1, w, y);
  w.desc = transposed(w.desc);
  const ValueId value = strided_result(to, 2, y, false);
  add_product(to, strided_float32(to, 0, g), strided_float32(to, 1, w), value);
  finish(to, value, 2, y);
}

void lower_weights(KernelLowering& to) {
  const Role gradient{0, kPrimary, &Extents::vectors, &Extents::outputs},
      input{1, kSecondary, &Extents::vectors, &Extents::inputs},
      result{2, kResultOrigin, &Extents::inputs, &Extents::outputs};
  constexpr std::size_t kBias = 3;
  expect_floats(to, {0, 1, 2, kBias});
  const Extents extents = extents_of(to, {gradient, input, result});
  const MatrixPart g = part_for(to, gradient, extents), y = part_for(to, result, extents);
  MatrixPart x = part_for(to, input, extents);
  check_batch(to, 0, g, y);
  check_batch(to, 1, x, y);
  x.desc = transposed(x.desc);
  const ValueId own = strided_float32(to, 0, g), value = strided_result(to, 2, y, false);
  add_product(to, strided_float32(to, 1, x), own, value);
  finish(to, value, 2, y);
  if (!to.has(kBias)) return;
  const TensorDesc sums = vector_part(to, kBias, extents.outputs);
  const ValueId total = to.result_as_float32(kBias, sums, 0);
  to.add(OpId::column_sums, {own}, {total}, {}, "bias");
  to.write_back(total, kBias, sums, 0);
}

std::vector<AttributeSpec> attributes(std::vector<AttributeSpec> neuron) {
  std::vector<AttributeSpec> all = {
      factor("alpha", "factor of the product", 1.0),
      count("source_number_of_feature_vectors", "rows of the layer's source; -1: all"),
      count("source_input_feature_channels", "channels that a feature vector has; -1: all"),
      count("source_output_feature_channels", "channels that the layer makes; -1: all")};
  all = joined(joined(std::move(all), std::move(neuron)),
               {origin(kPrimary), origin(kSecondary), origin(kResultOrigin)});
  return joined(std::move(all), batch_range());
}

constexpr std::string_view kDoc =
    R"(result = f(alpha * input * weights + bias of the column): input is (feature vectors, input channels), weights
(input channels, output channels), the result (feature vectors, output channels). Extents that are left out (-1) are
the fewest that the matrices have behind their origins. The neuron f is any but PRELU; float32 and float16.)";

constexpr std::string_view kExample =
    R"(x = mps.Matrix.from_array(device, np.array([[1, 2]], np.float32))
weights = mps.Matrix.from_array(device, np.array([[1, 0, -1], [0, 1, -1]], np.float32))
bias = mps.Vector.from_array(device, np.array([10, 20, 0], np.float32))
y = mps.Matrix(device, rows=1, columns=3)
commands = mps.CommandBuffer(queue)
layer = mps.MatrixFullyConnected(device, neuron_type=mps.NeuronType.RELU)
layer.encode(commands, x, weights, y, bias)
commands.commit()
assert np.array_equal(np.asarray(y), [[11, 22, 0]])
)";

constexpr std::string_view kGradientDoc =
    R"(With the gradient g of the layer's result, in front of its neuron: the data's gradient is alpha * g *
weights^T, the weights' alpha * input^T * g, the bias' the sums of g's columns. The neuron's gradient is a kernel of
its own (MatrixNeuronGradient). Extents as in MatrixFullyConnected.)";

constexpr std::string_view kGradientExample =
    R"(g = mps.Matrix.from_array(device, np.array([[1, 2], [3, 4]], np.float32))
x = mps.Matrix.from_array(device, np.array([[1], [10]], np.float32))
weights = mps.Matrix.from_array(device, np.array([[5, 6]], np.float32))
data, weight_gradient = mps.Matrix(device, rows=2, columns=1), mps.Matrix(device, rows=1, columns=2)
bias = mps.Vector(device, length=2)
commands = mps.CommandBuffer(queue)
layer = mps.MatrixFullyConnectedGradient(device)
layer.encode_gradient_for_data(commands, g, weights, data)
layer.encode_gradient_for_weights_and_bias(commands, g, x, weight_gradient, bias)
commands.commit()
assert np.array_equal(np.asarray(data), [[17], [39]])
assert np.array_equal(np.asarray(weight_gradient), [[31, 42]])
assert np.array_equal(np.asarray(bias), [4, 6])
)";

}  // namespace

std::vector<KernelClass> matrix_fully_connected_kernels() {
  return {
      {.name = "MatrixFullyConnected",
       .apple = "MPSMatrixFullyConnected",
       .family = "matrix_fully_connected",
       .brief = "A fully connected layer",
       .doc = kDoc,
       .example = kExample,
       .attributes = attributes(neuron_attributes()),
       .methods = {{.doc = "Records the layer.",
                    .operands = {{.name = "input_matrix", .doc = "(feature vectors, inputs)"},
                                 {.name = "weight_matrix", .doc = "(inputs, outputs)"},
                                 {.name = "result_matrix",
                                  .doc = "(feature vectors, outputs)",
                                  .writes = true},
                                 {.name = "bias_vector",
                                  .kind = OperandKind::VECTOR,
                                  .doc = "a value an output channel",
                                  .optional = true}},
                    .lower = lower}},
       .check = check_batch_range},
      {.name = "MatrixFullyConnectedGradient",
       .apple = "MPSMatrixFullyConnectedGradient",
       .family = "matrix_fully_connected",
       .brief = "The gradients of a fully connected layer",
       .doc = kGradientDoc,
       .example = kGradientExample,
       .attributes = attributes({}),
       .methods = {{.name = "encode_gradient_for_data",
                    .doc = "Records the gradient of the layer's source.",
                    .operands = {{.name = "gradient_matrix", .doc = "(feature vectors, outputs)"},
                                 {.name = "weight_matrix", .doc = "(inputs, outputs)"},
                                 {.name = "result_gradient_for_data_matrix",
                                  .doc = "(feature vectors, inputs)",
                                  .writes = true}},
                    .lower = lower_data},
                   {.name = "encode_gradient_for_weights_and_bias",
                    .doc = "Records the gradients of weights and bias.",
                    .operands = {{.name = "gradient_matrix", .doc = "(feature vectors, outputs)"},
                                 {.name = "input_matrix", .doc = "(feature vectors, inputs)"},
                                 {.name = "result_gradient_for_weight_matrix",
                                  .doc = "(inputs, outputs)",
                                  .writes = true},
                                 {.name = "result_gradient_for_bias_vector",
                                  .kind = OperandKind::VECTOR,
                                  .doc = "a value an output channel",
                                  .writes = true,
                                  .optional = true}},
                    .lower = lower_weights}},
       .check = check_batch_range},
  };
}

}  // namespace mpsnn::graph
