// SPDX-License-Identifier: MIT
// normalization_statistics, normalization of the columns of matrices, or the channels of a batch:
// both MPSMatrixBatchNormalization; normalization_sums: products with what it makes;
// normalization_gradient: its gradient.
#include <algorithm>

#include "backend/metal/kernels/cell.h"
#include "base/attributes.h"

namespace mpsnn::backend::metal {
namespace {

/// One set of statistics, a number a column.
Fit fits_columns(const KernelQuery& query, const TensorDesc& statistics) {
  if (statistics.dims.size() != 1 || statistics.dims[0] != query.inputs[0].dims.back())
    return Fit::no("expected one mean a column, got " + mpsnn::to_string(statistics));
  return dense_float32(query);
}

/// How many times rows are taken together: the images, where each has statistics of its own.
std::int64_t sets_of(const KernelQuery& query) {
  return query.outputs[0].count() / query.inputs[0].dims.back();
}

}  // namespace

// source -> mean, variance of all rows, or of each image's; the normalised values go to the scratch
Fit fits_normalization_statistics(const KernelQuery& query) {
  const std::vector<std::int64_t>&source = query.inputs[0].dims, &mean = query.outputs[0].dims;
  const bool of_images = source.size() == 4 && mean == std::vector{source[0], source[3]};
  return of_images ? dense_float32(query) : fits_columns(query, query.outputs[0]);
}

std::shared_ptr<Kernel> prepare_normalization_statistics(const KernelQuery& query) {
  const std::int64_t sets = sets_of(query), columns = query.inputs[0].dims.back(),
                     count = query.inputs[0].count() / sets;
  const MatrixView rows = rows_of({DataType::FLOAT32, {count / columns, columns}, nullptr});
  const Lazy<MPSMatrixBatchNormalization*> kernel([](id<MTLDevice> device) {
    MPSMatrixBatchNormalization* made = [[MPSMatrixBatchNormalization alloc] initWithDevice:device];
    [made setComputeStatistics:YES];
    [made setEpsilon:1];
    return made;
  });
  const auto encode = [=](const Site& site) {
    for (std::int64_t i = 0; i < sets; ++i) {
      const std::int64_t own = i * count * 4, place = i * columns * 4;  // bytes
      [kernel.on(site) encodeToCommandBuffer:site.commands()
                                 inputMatrix:site.matrix(site.input(0) + own, rows)
                                  meanVector:site.vector(site.output(0) + place, columns)
                              varianceVector:site.vector(site.output(1) + place, columns)
                                 gammaVector:nil
                                  betaVector:nil
                                resultMatrix:site.matrix(site.scratch(), rows)];
    }
  };
  return make_single(query, encode, static_cast<std::size_t>(count) * 4);
}

// source, mean, variance, gamma, beta -> result
Fit fits_normalization(const KernelQuery& query) { return fits_columns(query, query.inputs[1]); }

namespace {

NeuronDescriptor neuron_of(const AttributeMap& a) {
  const auto number = [&](std::string_view name) { return static_cast<float>(get_float(a, name)); };
  return {static_cast<NeuronType>(get_int(a, "neuron_type")), number("neuron_a"),
          number("neuron_b"), number("neuron_c")};
}

/// GeLU as MPSMatrixBatchNormalization's own neuron was measured to crash on macOS 26.5 (and no
/// more on 27.0): it is a neuron of its own behind it, on the result in its place.
Lazy<MPSMatrixNeuron*> make_separate_gelu() {
  return Lazy<MPSMatrixNeuron*>([](id<MTLDevice> device) {
    MPSMatrixNeuron* made = [[MPSMatrixNeuron alloc] initWithDevice:device];
    [made setNeuronType:MPSCNNNeuronTypeGeLU parameterA:0 parameterB:0 parameterC:0];
    return made;
  });
}

}  // namespace

std::shared_ptr<Kernel> prepare_normalization(const KernelQuery& query) {
  const MatrixView rows = rows_of(query.inputs[0]);
  const std::int64_t columns = query.inputs[0].dims.back();
  const NeuronDescriptor neuron = neuron_of(query.attributes);
  const bool is_gelu = neuron.type == NeuronType::GELU;
  const auto epsilon = static_cast<float>(get_float(query.attributes, "epsilon"));
  const Lazy<MPSMatrixBatchNormalization*> kernel([=](id<MTLDevice> device) {
    MPSMatrixBatchNormalization* made = [[MPSMatrixBatchNormalization alloc] initWithDevice:device];
    [made setEpsilon:epsilon];
    if (is_gelu) return made;
    [made setNeuronType:static_cast<MPSCNNNeuronType>(neuron.type)
             parameterA:neuron.a
             parameterB:neuron.b
             parameterC:neuron.c];
    return made;
  });
  return make_single(query, [=, gelu = make_separate_gelu()](const Site& site) {
    MPSMatrix* result = site.matrix(site.output(0), rows);
    [kernel.on(site) encodeToCommandBuffer:site.commands()
                               inputMatrix:site.matrix(site.input(0), rows)
                                meanVector:site.vector(site.input(1), columns)
                            varianceVector:site.vector(site.input(2), columns)
                               gammaVector:site.vector_if(site.input(3), columns)
                                betaVector:site.vector_if(site.input(4), columns)
                              resultMatrix:result];
    if (!is_gelu) return;
    [gelu.on(site) encodeToCommandBuffer:site.commands()
                             inputMatrix:result
                              biasVector:nil
                            resultMatrix:result];
  });
}

// gradient, source, mean, variance -> gradients of gamma, beta
Fit fits_normalization_sums(const KernelQuery& query) {
  const bool is_plain = !has_input(query, 4) && !has_output(query, 2) && !has_output(query, 3);
  if (!is_plain) return Fit::no("it makes two sums");
  if (Fit fit = fits_columns(query, query.inputs[2]); !fit.yes) return fit;
  return CellProgram::fits_image(1, query.inputs[1].dims.back());
}

namespace {

/// A dense operand as one matrix.
CellMatrix operand_of(std::size_t i, const TensorDesc& desc) {
  const MatrixView rows = rows_of(desc);
  return {CellMatrix::Memory::INPUT, i, 0, rows.rows, rows.columns, rows.row_bytes};
}

/// MPSMatrixBatchNormalizationGradient was measured to leave zeros for gamma and beta on macOS 26.5
/// (on 27.0 the sums): the sums are made of the normalised source, products in images, and products
/// with ones.
std::shared_ptr<Kernel> make_sums_without_gradient_kernel(const KernelQuery& query) {
  CellProgram program(query);
  const CellMatrix gradient = operand_of(0, query.inputs[0]),
                   source = operand_of(1, query.inputs[1]);
  const CellMatrix normalized = program.scratch(source);
  program.normalize(source, operand_of(2, query.inputs[2]), operand_of(3, query.inputs[3]),
                    static_cast<float>(get_float(query.attributes, "epsilon")), normalized);
  // As many rows as an image has.
  for (NSUInteger row = 0; row < source.rows; row += kMostPixels) {
    const auto part = [&](CellMatrix matrix) {
      matrix.offset += row * matrix.row_bytes;
      matrix.rows = std::min<NSUInteger>(matrix.rows - row, kMostPixels);
      return matrix;
    };
    program.sum({CellTerm{part(gradient), part(normalized)}}, part(normalized));
  }
  program.column_sums(normalized, program.output(0), false);
  program.column_sums(gradient, program.output(1), false);
  return program.finish();
}

}  // namespace

std::shared_ptr<Kernel> prepare_normalization_sums(const KernelQuery& query) {
  return make_sums_without_gradient_kernel(query);
}

// gradient, source, mean, variance, gamma, sums, sums -> source gradient. MPS sums by itself.
Fit fits_normalization_gradient(const KernelQuery& query) {
  const bool of_batch = has_input(query, 5) && has_input(query, 6);
  return of_batch ? fits_columns(query, query.inputs[2]) : Fit::no("statistics are the batch's");
}

std::shared_ptr<Kernel> prepare_normalization_gradient(const KernelQuery& query) {
  const MatrixView rows = rows_of(query.inputs[1]);
  const std::int64_t columns = query.inputs[1].dims.back();
  const auto epsilon = static_cast<float>(get_float(query.attributes, "epsilon"));
  const Lazy<MPSMatrixBatchNormalizationGradient*> kernel([=](id<MTLDevice> device) {
    MPSMatrixBatchNormalizationGradient* made =
        [[MPSMatrixBatchNormalizationGradient alloc] initWithDevice:device];
    [made setEpsilon:epsilon];
    return made;
  });
  return make_single(query, [=](const Site& site) {
    [kernel.on(site) encodeToCommandBuffer:site.commands()
                            gradientMatrix:site.matrix(site.input(0), rows)
                               inputMatrix:site.matrix(site.input(1), rows)
                                meanVector:site.vector(site.input(2), columns)
                            varianceVector:site.vector(site.input(3), columns)
                               gammaVector:site.vector(site.input(4), columns)
                                betaVector:nil
               resultGradientForDataMatrix:site.matrix(site.output(0), rows)
              resultGradientForGammaVector:nil
               resultGradientForBetaVector:nil];
  });
}

}  // namespace mpsnn::backend::metal
