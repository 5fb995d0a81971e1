// SPDX-License-Identifier: MIT
// normalization_statistics, normalization of the columns of matrices, or the channels of a batch:
// both MPSMatrixBatchNormalization.
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

}  // namespace mpsnn::backend::metal
