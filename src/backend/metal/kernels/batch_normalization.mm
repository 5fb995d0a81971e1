// SPDX-License-Identifier: MIT
// normalization_statistics, normalization of the columns of matrices, or the channels of a batch:
// both MPSMatrixBatchNormalization; normalization_sums, normalization_gradient: both its gradient.
#include "backend/metal/kernels.h"
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

std::shared_ptr<Kernel> prepare_normalization(const KernelQuery& query) {
  const MatrixView rows = rows_of(query.inputs[0]);
  const std::int64_t columns = query.inputs[0].dims.back();
  const Lazy<MPSMatrixBatchNormalization*> kernel([a = query.attributes](id<MTLDevice> device) {
    const auto number = [&](std::string_view name) {
      return static_cast<float>(get_float(a, name));
    };
    MPSMatrixBatchNormalization* made = [[MPSMatrixBatchNormalization alloc] initWithDevice:device];
    [made setEpsilon:number("epsilon")];
    [made setNeuronType:static_cast<MPSCNNNeuronType>(get_int(a, "neuron_type"))
             parameterA:number("neuron_a")
             parameterB:number("neuron_b")
             parameterC:number("neuron_c")];
    return made;
  });
  return make_single(query, [=](const Site& site) {
    [kernel.on(site) encodeToCommandBuffer:site.commands()
                               inputMatrix:site.matrix(site.input(0), rows)
                                meanVector:site.vector(site.input(1), columns)
                            varianceVector:site.vector(site.input(2), columns)
                               gammaVector:site.vector_if(site.input(3), columns)
                                betaVector:site.vector_if(site.input(4), columns)
                              resultMatrix:site.matrix(site.output(0), rows)];
  });
}

// MPSMatrixBatchNormalizationGradient makes all gradients at once; each of the two operations keeps
// what it is for.
namespace {

Lazy<MPSMatrixBatchNormalizationGradient*> make_gradient(const KernelQuery& query) {
  const auto epsilon = static_cast<float>(get_float(query.attributes, "epsilon"));
  return Lazy<MPSMatrixBatchNormalizationGradient*>([=](id<MTLDevice> device) {
    MPSMatrixBatchNormalizationGradient* made =
        [[MPSMatrixBatchNormalizationGradient alloc] initWithDevice:device];
    [made setEpsilon:epsilon];
    return made;
  });
}

}  // namespace

// gradient, source, mean, variance -> gradients of gamma, beta; that of the source goes to the
// scratch
Fit fits_normalization_sums(const KernelQuery& query) {
  const bool is_plain = !has_input(query, 4) && !has_output(query, 2) && !has_output(query, 3);
  return is_plain ? fits_columns(query, query.inputs[2]) : Fit::no("it makes two sums");
}

std::shared_ptr<Kernel> prepare_normalization_sums(const KernelQuery& query) {
  const MatrixView rows = rows_of(query.inputs[1]);
  const std::int64_t columns = query.inputs[1].dims.back();
  const auto encode = [=, kernel = make_gradient(query)](const Site& site) {
    [kernel.on(site) encodeToCommandBuffer:site.commands()
                            gradientMatrix:site.matrix(site.input(0), rows)
                               inputMatrix:site.matrix(site.input(1), rows)
                                meanVector:site.vector(site.input(2), columns)
                            varianceVector:site.vector(site.input(3), columns)
                               gammaVector:nil
                                betaVector:nil
               resultGradientForDataMatrix:site.matrix(site.scratch(), rows)
              resultGradientForGammaVector:site.vector(site.output(0), columns)
               resultGradientForBetaVector:site.vector(site.output(1), columns)];
  };
  return make_single(query, encode, query.inputs[1].bytes());
}

// gradient, source, mean, variance, gamma, sums, sums -> source gradient. MPS sums by itself.
Fit fits_normalization_gradient(const KernelQuery& query) {
  const bool of_batch = has_input(query, 5) && has_input(query, 6);
  return of_batch ? fits_columns(query, query.inputs[2]) : Fit::no("statistics are the batch's");
}

std::shared_ptr<Kernel> prepare_normalization_gradient(const KernelQuery& query) {
  const MatrixView rows = rows_of(query.inputs[1]);
  const std::int64_t columns = query.inputs[1].dims.back();
  return make_single(query, [=, kernel = make_gradient(query)](const Site& site) {
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
