// SPDX-License-Identifier: MIT
// What works row by row: neurons with a bias a column, softmax, sums of matrices, the largest
// values.
#include <cmath>

#include "backend/metal/kernels.h"
#include "base/attributes.h"
#include "mpsnn/error.h"

namespace mpsnn::backend::metal {
namespace {

/// Sets the neuron of a kernel that has one.
template <class K>
void set_neuron(K kernel, const AttributeMap& a) {
  const auto type = static_cast<MPSCNNNeuronType>(get_int(a, "neuron_type"));
  if (type == MPSCNNNeuronTypePReLU) {
    const std::vector<double>& values = get_floats(a, "neuron_parameters");
    const std::vector<float> slopes(values.begin(), values.end());
    [kernel setNeuronToPReLUWithParametersA:[NSData dataWithBytes:slopes.data()
                                                           length:slopes.size() * sizeof(float)]];
    return;
  }
  [kernel setNeuronType:type
             parameterA:static_cast<float>(get_float(a, "neuron_a"))
             parameterB:static_cast<float>(get_float(a, "neuron_b"))
             parameterC:static_cast<float>(get_float(a, "neuron_c"))];
}

/// Views of operands; an empty one where an operand was left out.
std::vector<MatrixView> views_of(std::span<const TensorDesc> operands) {
  std::vector<MatrixView> views;
  for (const TensorDesc& desc : operands) {
    views.push_back(desc.dims.empty() ? MatrixView() : *view_of(desc));
  }
  return views;
}

/// Operands of one element type, which MPS's neuron takes: floats, or integers for LINEAR.
Fit fits_neuron_types(const KernelQuery& query) {
  const TensorDesc &source = query.inputs[0], &result = query.outputs[0];
  if (source.type != result.type || source.type == DataType::INT64) {
    return Fit::no(str("expected one element type of at most 32 bits, got ", name_of(source.type),
                       " -> ", name_of(result.type)));
  }
  for (const TensorDesc* desc : {&source, &result}) {
    const auto view = view_of(*desc);
    if (!view || view->is_transposed)
      return Fit::no("expected rows whose elements lie together, got " + mpsnn::to_string(*desc));
  }
  return {};
}

}  // namespace

// source, bias? -> neuron(alpha * source + bias of the column)
Fit fits_matrix_neuron(const KernelQuery& query) { return fits_neuron_types(query); }

std::shared_ptr<Kernel> prepare_matrix_neuron(const KernelQuery& query) {
  const MatrixView source = *view_of(query.inputs[0]), result = *view_of(query.outputs[0]);
  const Lazy<MPSMatrixNeuron*> kernel([a = query.attributes](id<MTLDevice> device) {
    MPSMatrixNeuron* made = [[MPSMatrixNeuron alloc] initWithDevice:device];
    [made setAlpha:get_float(a, "alpha")];
    set_neuron(made, a);
    return made;
  });
  const std::int64_t columns = query.outputs[0].dims.back();
  return make_single(query, [=](const Site& site) {
    for (std::size_t i = 0; i < result.matrices(); ++i) {
      [kernel.on(site) encodeToCommandBuffer:site.commands()
                                 inputMatrix:site.matrix(site.input(0), source, i)
                                  biasVector:site.vector_if(site.input(1), columns)
                                resultMatrix:site.matrix(site.output(0), result, i)];
    }
  });
}

// source -> neuron(source); channels are columns
Fit fits_neuron(const KernelQuery& query) {
  if (has_input(query, 1)) return Fit::no("slopes that another kernel makes");
  return dense_float32(query);
}

std::shared_ptr<Kernel> prepare_neuron(const KernelQuery& query) {
  const MatrixView rows = rows_of(query.outputs[0]);
  const Lazy<MPSMatrixNeuron*> kernel([a = query.attributes](id<MTLDevice> device) {
    MPSMatrixNeuron* made = [[MPSMatrixNeuron alloc] initWithDevice:device];
    set_neuron(made, a);
    return made;
  });
  return make_single(query, [=](const Site& site) {
    [kernel.on(site) encodeToCommandBuffer:site.commands()
                               inputMatrix:site.matrix(site.input(0), rows)
                                biasVector:nil
                              resultMatrix:site.matrix(site.output(0), rows)];
  });
}

// gradient, source, bias? -> source gradient times a factor
Fit fits_matrix_neuron_gradient(const KernelQuery& query) {
  const double alpha = get_float(query.attributes, "alpha"),
               factor = get_float(query.attributes, "factor");
  if (factor != alpha && alpha == 0)
    return Fit::no(str("its gradient is times alpha, which is 0; wanted is ", factor));
  return float32_rows(query);
}

std::shared_ptr<Kernel> prepare_matrix_neuron_gradient(const KernelQuery& query) {
  const std::vector<MatrixView> inputs = views_of(query.inputs);
  const MatrixView result = *view_of(query.outputs[0]);
  const Lazy<MPSMatrixNeuronGradient*> kernel([a = query.attributes](id<MTLDevice> device) {
    MPSMatrixNeuronGradient* made = [[MPSMatrixNeuronGradient alloc] initWithDevice:device];
    [made setAlpha:get_float(a, "alpha")];
    set_neuron(made, a);
    return made;
  });
  // MPS's gradient is times alpha.
  const double rest = get_float(query.attributes, "factor") / get_float(query.attributes, "alpha");
  const Lazy<MPSMatrixNeuron*> scaling([=](id<MTLDevice> device) {
    MPSMatrixNeuron* made = [[MPSMatrixNeuron alloc] initWithDevice:device];
    [made setAlpha:rest];
    return made;
  });
  const std::int64_t columns = query.outputs[0].dims.back();
  return make_single(query, [=](const Site& site) {
    for (std::size_t i = 0; i < result.matrices(); ++i) {
      MPSMatrix* own = site.matrix(site.output(0), result, i);
      [kernel.on(site) encodeToCommandBuffer:site.commands()
                              gradientMatrix:site.matrix(site.input(0), inputs[0], i)
                                 inputMatrix:site.matrix(site.input(1), inputs[1], i)
                                  biasVector:site.vector_if(site.input(2), columns)
                 resultGradientForDataMatrix:own
                 resultGradientForBiasVector:nil];
      if (std::isnan(rest) || rest == 1) continue;  // alpha and factor 0, or the same
      [scaling.on(site) encodeToCommandBuffer:site.commands()
                                  inputMatrix:own
                                   biasVector:nil
                                 resultMatrix:own];
    }
  });
}

// scales?, offsets?, sources… -> their weighted sum
namespace {

constexpr std::size_t kFirstSource = 2;

/// MPS does not look where the offsets lead to: the host does.
void check_offsets(const std::uint32_t* offsets, const std::vector<MatrixView>& sources,
                   const MatrixView& result, std::string_view label) {
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const NSUInteger row = offsets[2 * i], column = offsets[2 * i + 1];
    const MatrixView& source = sources[i];
    if (row + result.rows <= source.rows && column + result.columns <= source.columns) continue;
    throw_expected<DeviceError>(
        str("MatrixSum \"", label, "\": offset_vector"),
        str("an offset of source matrix ", i, " at most [", source.rows - result.rows, ", ",
            source.columns - result.columns, "]"),
        str("[", row, ", ", column, "]"));
  }
}

}  // namespace

Fit fits_matrix_sum(const KernelQuery& query) {
  if (query.inputs.size() < kFirstSource + 2)
    return Fit::no("it sums two matrices or more, got one");
  for (const TensorDesc& desc : query.inputs.subspan(kFirstSource)) {
    const auto view = view_of(desc);
    if (desc.type != DataType::FLOAT32 || !view || view->is_transposed)
      return Fit::no("expected rows of float32, got " + mpsnn::to_string(desc));
  }
  return {};
}

std::shared_ptr<Kernel> prepare_matrix_sum(const KernelQuery& query) {
  const std::vector<MatrixView> sources = views_of(query.inputs.subspan(kFirstSource));
  const MatrixView result = *view_of(query.outputs[0]);
  const std::int64_t start = get_int(query.attributes, "start_index"),
                     end = start + static_cast<std::int64_t>(sources.size());
  const Lazy<MPSMatrixSum*> kernel([=, count = sources.size()](id<MTLDevice> device) {
    return [[MPSMatrixSum alloc] initWithDevice:device
                                          count:count
                                           rows:result.rows
                                        columns:result.columns
                                      transpose:NO];
  });
  return make_single(query, [=, label = std::string(query.label)](const Site& site) {
    MPSVector* offsets = nil;
    if (const std::byte* given = site.input(1)) {
      if (!site.settle()) return;
      check_offsets(reinterpret_cast<const std::uint32_t*>(given) + 2 * start, sources, result,
                    label);
      offsets = site.vector(given, 2 * end, MPSDataTypeUInt32);
    }
    NSMutableArray<MPSMatrix*>* matrices = [NSMutableArray array];
    for (std::size_t i = 0; i < sources.size(); ++i)
      [matrices addObject:site.matrix(site.input(kFirstSource + i), sources[i])];
    [kernel.on(site) encodeToCommandBuffer:site.commands()
                            sourceMatrices:matrices
                              resultMatrix:site.matrix(site.output(0), result)
                               scaleVector:site.vector_if(site.input(0), end)
                              offsetVector:offsets
                                biasVector:nil
                                startIndex:static_cast<NSUInteger>(start)];
  });
}

// source -> result, over the last dimension
Fit fits_softmax(const KernelQuery& query) { return dense_float32(query); }

std::shared_ptr<Kernel> prepare_softmax(const KernelQuery& query) {
  const MatrixView rows = rows_of(query.outputs[0]);
  const bool logarithm = get_bool(query.attributes, "logarithm");
  const Lazy<MPSMatrixSoftMax*> kernel([=](id<MTLDevice> device) -> MPSMatrixSoftMax* {
    if (logarithm) return [[MPSMatrixLogSoftMax alloc] initWithDevice:device];
    return [[MPSMatrixSoftMax alloc] initWithDevice:device];
  });
  return make_single(query, [=](const Site& site) {
    [kernel.on(site) encodeToCommandBuffer:site.commands()
                               inputMatrix:site.matrix(site.input(0), rows)
                              resultMatrix:site.matrix(site.output(0), rows)];
  });
}

// gradient, result -> source gradient
Fit fits_softmax_gradient(const KernelQuery& query) { return dense_float32(query); }

std::shared_ptr<Kernel> prepare_softmax_gradient(const KernelQuery& query) {
  const MatrixView rows = rows_of(query.outputs[0]);
  const bool logarithm = get_bool(query.attributes, "logarithm");
  const Lazy<MPSMatrixSoftMaxGradient*> kernel(
      [=](id<MTLDevice> device) -> MPSMatrixSoftMaxGradient* {
        if (logarithm) return [[MPSMatrixLogSoftMaxGradient alloc] initWithDevice:device];
        return [[MPSMatrixSoftMaxGradient alloc] initWithDevice:device];
      });
  return make_single(query, [=](const Site& site) {
    [kernel.on(site) encodeToCommandBuffer:site.commands()
                            gradientMatrix:site.matrix(site.input(0), rows)
                       forwardOutputMatrix:site.matrix(site.input(1), rows)
                              resultMatrix:site.matrix(site.output(0), rows)];
  });
}

// source -> largest values of each row, their columns
Fit fits_top_k(const KernelQuery& query) {
  constexpr std::int64_t kMost = 16;
  const std::int64_t count = query.outputs[0].dims.back();
  if (count > kMost) return Fit::no(str("it finds at most ", kMost, " values, wanted are ", count));
  for (const TensorDesc* desc : {&query.inputs[0], &query.outputs[0], &query.outputs[1]}) {
    const bool is_index = desc == &query.outputs[1];
    const auto view = view_of(*desc);
    if (desc->type != (is_index ? DataType::UINT32 : DataType::FLOAT32) || !view ||
        view->is_transposed) {
      return Fit::no("expected rows of float32 and indices of uint32, got " +
                     mpsnn::to_string(*desc));
    }
  }
  return {};
}

std::shared_ptr<Kernel> prepare_top_k(const KernelQuery& query) {
  const MatrixView source = *view_of(query.inputs[0]), values = *view_of(query.outputs[0]),
                   indices = *view_of(query.outputs[1]);
  const auto index_offset = static_cast<NSUInteger>(get_int(query.attributes, "index_offset"));
  const Lazy<MPSMatrixFindTopK*> kernel([=, count = values.columns](id<MTLDevice> device) {
    MPSMatrixFindTopK* made = [[MPSMatrixFindTopK alloc] initWithDevice:device
                                                     numberOfTopKValues:count];
    [made setIndexOffset:index_offset];
    return made;
  });
  return make_single(query, [=](const Site& site) {
    for (std::size_t i = 0; i < values.matrices(); ++i) {
      [kernel.on(site) encodeToCommandBuffer:site.commands()
                                 inputMatrix:site.matrix(site.input(0), source, i)
                           resultIndexMatrix:site.matrix(site.output(1), indices, i)
                           resultValueMatrix:site.matrix(site.output(0), values, i)];
    }
  });
}

}  // namespace mpsnn::backend::metal
