// SPDX-License-Identifier: MIT
// Batch normalisation of matrices, column by column. Operations: those of images of (1, 1, rows,
// columns).
#include <limits>

#include "base/attributes.h"
#include "graph/kernel_lowering.h"
#include "graph/kernels/matrix_tools.h"

namespace mpsnn::graph {
namespace {

/// A vector that may have been left out: a constant then.
ValueId vector_or(KernelLowering& to, std::size_t i, std::int64_t length, std::string_view name,
                  double value) {
  if (to.has(i)) return vector_as_float32(to, i, length);
  const ValueId constant = to.temporary(name, {DataType::FLOAT32, {length}, nullptr});
  to.add(OpId::fill, {}, {constant}, {{"value", value}}, name);
  return constant;
}

/// One matrix with rows and columns from an origin on.
MatrixPart one_matrix(const KernelLowering& to, std::size_t i, std::string_view origin,
                      std::int64_t rows, std::int64_t columns) {
  const MatrixPart part = matrix_part(to, i, origin, rows, columns);
  if (part.desc.dims[0] != 1) to.fail_operand(i, "one matrix");
  return part;
}

MatrixPart result_part(const KernelLowering& to, std::size_t i) {
  const AttributeMap& a = to.attributes();
  return one_matrix(to, i, "result_matrix_origin", get_int(a, "source_number_of_feature_vectors"),
                    get_int(a, "source_input_feature_channels"));
}

AttributeMap normalization(const AttributeMap& a, bool with_neuron) {
  AttributeMap all = {{"epsilon", get_float(a, "epsilon")},
                      {"neuron_type", static_cast<std::int64_t>(NeuronType::NONE)},
                      {"neuron_a", 0.0},
                      {"neuron_b", 0.0},
                      {"neuron_c", 0.0}};
  if (!with_neuron) return all;
  for (const auto& [name, value] : neuron_operation(a, 1.0)) {
    if (name.starts_with("neuron_") && name != "neuron_parameters") all[name] = value;
  }
  return all;
}

void lower(KernelLowering& to) {
  enum : std::size_t { kInput, kMean, kVariance, kResult, kGamma, kBeta };
  const AttributeMap& a = to.attributes();
  expect_floats(to, {kInput, kMean, kVariance, kResult});
  const MatrixPart result = result_part(to, kResult);
  const std::int64_t rows = result.desc.dims[1], columns = result.desc.dims[2];
  const MatrixPart input = one_matrix(to, kInput, "source_matrix_origin", rows, columns);
  const std::vector<std::int64_t> image = {1, 1, rows, columns};
  const ValueId source = to.reshaped(to.as_float32(kInput, input.desc, input.offset), image);
  ValueId mean = kNoValue, variance = kNoValue;
  if (get_bool(a, "compute_statistics")) {
    const TensorDesc means = vector_part(to, kMean, columns),
                     variances = vector_part(to, kVariance, columns);
    mean = to.result_as_float32(kMean, means, 0);
    variance = to.result_as_float32(kVariance, variances, 0);
    to.add(OpId::normalization_statistics, {source}, {mean, variance}, {}, "statistics");
    to.write_back(mean, kMean, means, 0);
    to.write_back(variance, kVariance, variances, 0);
  } else {
    mean = vector_as_float32(to, kMean, columns);
    variance = vector_as_float32(to, kVariance, columns);
  }
  const ValueId gamma = vector_or(to, kGamma, columns, "gamma", 1.0),
                beta = vector_or(to, kBeta, columns, "beta", 0.0),
                value = to.result_as_float32(kResult, result.desc, result.offset);
  to.add(OpId::normalization, {source, mean, variance, gamma, beta}, {to.reshaped(value, image)},
         normalization(a, true));
  to.write_back(value, kResult, result.desc, result.offset);
}

namespace gradient {
enum : std::size_t {
  kGradient,
  kInput,
  kMean,
  kVariance,
  kResult,
  kGamma,
  kBeta,
  kGammaGradient,
  kBetaGradient
};
}  // namespace gradient

/// The gradient in front of the neuron: the normalised values are made once more.
ValueId through_neuron(KernelLowering& to, ValueId g, ValueId source, ValueId mean,
                       ValueId variance, ValueId gamma, const std::vector<std::int64_t>& image) {
  const AttributeMap& a = to.attributes();
  if (!has_neuron(a)) return to.reshaped(g, image);
  const std::int64_t columns = image[3];
  const TensorDesc desc{DataType::FLOAT32, {1, image[2], columns}, nullptr};
  const ValueId beta = vector_or(to, gradient::kBeta, columns, "beta", 0.0),
                z = to.temporary("normalized", desc), own = to.temporary("neuron", desc);
  to.add(OpId::normalization, {source, mean, variance, gamma, beta}, {to.reshaped(z, image)},
         normalization(a, false), "normalized");
  AttributeMap attributes = neuron_operation(a, 1.0);
  attributes["factor"] = 1.0;
  to.add(OpId::matrix_neuron_gradient, {g, z, kNoValue}, {own}, std::move(attributes), "neuron");
  return to.reshaped(own, image);
}

void lower_gradient(KernelLowering& to) {
  using namespace gradient;
  expect_floats(to, {kGradient, kInput, kMean, kVariance, kResult, kGammaGradient, kBetaGradient});
  const MatrixPart result = result_part(to, kResult);
  const std::int64_t rows = result.desc.dims[1], columns = result.desc.dims[2];
  const std::vector<std::int64_t> image = {1, 1, rows, columns};
  const MatrixPart g = one_matrix(to, kGradient, "primary_source_matrix_origin", rows, columns),
                   input = one_matrix(to, kInput, "secondary_source_matrix_origin", rows, columns);
  const ValueId source = to.reshaped(to.as_float32(kInput, input.desc, input.offset), image),
                mean = vector_as_float32(to, kMean, columns),
                variance = vector_as_float32(to, kVariance, columns),
                gamma = vector_or(to, kGamma, columns, "gamma", 1.0);
  const ValueId own = through_neuron(to, to.as_float32(kGradient, g.desc, g.offset), source, mean,
                                     variance, gamma, image);
  // Sums of the gradient times the normalised source, and of the gradient: what gamma and beta get.
  const auto sums = [&](std::size_t i, std::string_view name) {
    const TensorDesc desc{DataType::FLOAT32, {columns}, nullptr};
    if (!to.has(i)) return to.temporary(name, desc);
    return to.result_as_float32(i, vector_part(to, i, columns), 0);
  };
  const ValueId products = sums(kGammaGradient, "products"), total = sums(kBetaGradient, "total"),
                value = to.result_as_float32(kResult, result.desc, result.offset);
  const AttributeMap epsilon = {{"epsilon", get_float(to.attributes(), "epsilon")}};
  to.add(OpId::normalization_sums, {own, source, mean, variance}, {products, total}, epsilon,
         "sums");
  to.add(OpId::normalization_gradient, {own, source, mean, variance, gamma, products, total},
         {to.reshaped(value, image)}, epsilon);
  to.write_back(value, kResult, result.desc, result.offset);
  if (to.has(kGammaGradient))
    to.write_back(products, kGammaGradient, vector_part(to, kGammaGradient, columns), 0);
  if (to.has(kBetaGradient))
    to.write_back(total, kBetaGradient, vector_part(to, kBetaGradient, columns), 0);
}

std::vector<AttributeSpec> attributes(std::vector<AttributeSpec> others) {
  std::vector<AttributeSpec> all = {
      {.name = "epsilon",
       .type = AttributeType::FLOAT,
       .doc = "added to the variance, under the root; the default is the smallest normal float32",
       .default_value = static_cast<double>(std::numeric_limits<float>::min()),
       .minimum = 0,
       .maximum = std::numeric_limits<float>::max()},
      count("source_number_of_feature_vectors", "rows that take part; -1: all"),
      count("source_input_feature_channels", "columns that take part; -1: all")};
  return joined(joined(std::move(all), neuron_attributes()), std::move(others));
}

constexpr OperandSpec vector(std::string_view name, std::string_view doc, bool writes,
                             bool optional) {
  return {.name = name,
          .kind = OperandKind::VECTOR,
          .doc = doc,
          .writes = writes,
          .optional = optional};
}

constexpr std::string_view kDoc =
    R"(result[i, j] = f(gamma[j] * (input[i, j] - mean[j]) / sqrt(variance[j] + epsilon) + beta[j]), the neuron f being
any but PRELU. With compute_statistics the columns' mean and variance (divided by the number of rows) are computed
first and written to the vectors; otherwise they are read. Left out, gamma is 1 and beta 0. float32 and float16;
statistics are summed in double.

Apple's header prints the formula without the root; its kernel takes it, as this one does.)";

constexpr std::string_view kExample =
    R"(x = mps.Matrix.from_array(device, np.array([[1, 10], [3, 30]], np.float32))
mean, variance = mps.Vector(device, length=2), mps.Vector(device, length=2)
y = mps.Matrix(device, rows=2, columns=2)
commands = mps.CommandBuffer(queue)
normalize = mps.MatrixBatchNormalization(device, compute_statistics=True)
normalize.encode(commands, x, mean, variance, y)
commands.commit()
assert np.array_equal(np.asarray(mean), [2, 20]) and np.array_equal(np.asarray(variance), [1, 100])
assert np.allclose(np.asarray(y), [[-1, -1], [1, 1]])
)";

constexpr std::string_view kGradientDoc =
    R"(With x^ = (input - mean) / sqrt(variance + epsilon) and g the gradient, taken through the neuron where there is
one: the data's gradient is gamma / sqrt(variance + epsilon) * (g - mean of g - x^ * mean of g * x^), means being
those of the column; gamma's is the sum of g * x^ and beta's the sum of g. Mean and variance are those that the
forward kernel used. Of one row the data's gradient is 0, as batch statistics give it.)";

constexpr std::string_view kGradientExample =
    R"(g = mps.Matrix.from_array(device, np.array([[1], [2], [6]], np.float32))
x = mps.Matrix.from_array(device, np.array([[-1], [0], [1]], np.float32))
mean = mps.Vector.from_array(device, np.zeros(1, np.float32))
variance = mps.Vector.from_array(device, np.ones(1, np.float32))
result = mps.Matrix(device, rows=3, columns=1)
gamma_gradient, beta_gradient = mps.Vector(device, length=1), mps.Vector(device, length=1)
commands = mps.CommandBuffer(queue)
mps.MatrixBatchNormalizationGradient(device).encode(
    commands, g, x, mean, variance, result,
    result_gradient_for_gamma_vector=gamma_gradient,
    result_gradient_for_beta_vector=beta_gradient)
commands.commit()
assert np.asarray(gamma_gradient)[0] == 5 and np.asarray(beta_gradient)[0] == 9
)";

}  // namespace

std::vector<KernelClass> matrix_batch_normalization_kernels() {
  return {
      {.name = "MatrixBatchNormalization",
       .apple = "MPSMatrixBatchNormalization",
       .family = "matrix_batch_normalization",
       .brief = "Batch normalisation of the columns of a matrix",
       .doc = kDoc,
       .example = kExample,
       .attributes = attributes(
           {flag("compute_statistics", "mean and variance are computed and written", false),
            origin("source_matrix_origin"), origin("result_matrix_origin")}),
       .methods = {{.doc = "Records the normalisation.",
                    .operands = {{.name = "input_matrix", .doc = "(feature vectors, channels)"},
                                 vector("mean_vector", "a value a column", true, false),
                                 vector("variance_vector", "a value a column", true, false),
                                 {.name = "result_matrix",
                                  .doc = "as input_matrix, and may be it",
                                  .writes = true,
                                  .in_place = true},
                                 vector("gamma_vector", "a value a column", false, true),
                                 vector("beta_vector", "a value a column", false, true)},
                    .lower = lower}},
       .check = check_batch_range},
      {.name = "MatrixBatchNormalizationGradient",
       .apple = "MPSMatrixBatchNormalizationGradient",
       .family = "matrix_batch_normalization",
       .brief = "The gradients of a batch normalisation of columns",
       .doc = kGradientDoc,
       .example = kGradientExample,
       .attributes =
           attributes({origin("primary_source_matrix_origin"),
                       origin("secondary_source_matrix_origin"), origin("result_matrix_origin")}),
       .methods = {{.doc = "Records the gradients.",
                    .operands =
                        {{.name = "gradient_matrix", .doc = "gradient of the result"},
                         {.name = "input_matrix", .doc = "the forward kernel's source"},
                         vector("mean_vector", "a value a column", false, false),
                         vector("variance_vector", "a value a column", false, false),
                         {.name = "result_gradient_for_data_matrix",
                          .doc = "gradient of the source",
                          .writes = true},
                         vector("gamma_vector", "a value a column", false, true),
                         vector("beta_vector", "a value a column; for a neuron", false, true),
                         vector("result_gradient_for_gamma_vector", "a value a column", true, true),
                         vector("result_gradient_for_beta_vector", "a value a column", true, true)},
                    .lower = lower_gradient}},
       .check = check_batch_range},
  };
}

}  // namespace mpsnn::graph
