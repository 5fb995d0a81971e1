// SPDX-License-Identifier: MIT
#include "backend/metal/kernels.h"

#include <array>

namespace mpsnn::backend::metal {
namespace {

#define MPSNN_METAL_ROW(op, mps) {OpId::op, #op "/" mps, fits_##op, prepare_##op}
constexpr KernelRow kRows[] = {
    MPSNN_METAL_ROW(random_philox, "MPSMatrixRandomPhilox"),
    MPSNN_METAL_ROW(random_mtgp32, "MPSMatrixRandomMTGP32"),
    MPSNN_METAL_ROW(copy, "MPSMatrixCopy"),
    {OpId::copy, "copy/MPSCNNNeuron", fits_conversion, prepare_conversion},
    MPSNN_METAL_ROW(matrix_copy, "MPSMatrixCopy"),
    MPSNN_METAL_ROW(transpose, "MPSMatrixCopy"),
    MPSNN_METAL_ROW(concatenation, "MPSMatrixCopy"),
    MPSNN_METAL_ROW(slice, "MPSMatrixCopy"),
    MPSNN_METAL_ROW(fill, "MPSMatrixCopy"),
    MPSNN_METAL_ROW(matrix_multiplication, "MPSMatrixMultiplication"),
    MPSNN_METAL_ROW(matrix_neuron, "MPSMatrixNeuron"),
    MPSNN_METAL_ROW(matrix_neuron_gradient, "MPSMatrixNeuronGradient"),
    MPSNN_METAL_ROW(column_sums, "MPSMatrixMultiplication"),
    MPSNN_METAL_ROW(matrix_sum, "MPSMatrixSum"),
    MPSNN_METAL_ROW(neuron, "MPSMatrixNeuron"),
    MPSNN_METAL_ROW(convolution, "MPSCNNConvolution"),
    MPSNN_METAL_ROW(addition, "MPSCNNAdd"),
    MPSNN_METAL_ROW(multiplication, "MPSCNNMultiply"),
    MPSNN_METAL_ROW(division, "MPSCNNDivide"),
    MPSNN_METAL_ROW(comparison, "MPSNNCompare"),
    MPSNN_METAL_ROW(broadcast, "MPSCNNMultiply"),
    MPSNN_METAL_ROW(channel_affine, "MPSCNNMultiply"),
    MPSNN_METAL_ROW(padding, "MPSNNPad"),
    MPSNN_METAL_ROW(image_filter, "MPSImageConvolution"),
    MPSNN_METAL_ROW(resampling, "MPSImageBilinearScale"),
    MPSNN_METAL_ROW(grid_sample, "MPSNNGridSample"),
    MPSNN_METAL_ROW(local_correlation, "MPSNNLocalCorrelation"),
    MPSNN_METAL_ROW(extremum, "MPSNNReduceUnary"),
    MPSNN_METAL_ROW(addition_gradient, "MPSNNReduceUnary"),
    MPSNN_METAL_ROW(normalization_statistics, "MPSMatrixBatchNormalization"),
    MPSNN_METAL_ROW(normalization, "MPSMatrixBatchNormalization"),
    MPSNN_METAL_ROW(normalization_sums, "MPSMatrixBatchNormalization"),
    MPSNN_METAL_ROW(normalization_gradient, "MPSMatrixBatchNormalizationGradient"),
    MPSNN_METAL_ROW(softmax, "MPSMatrixSoftMax"),
    MPSNN_METAL_ROW(softmax_gradient, "MPSMatrixSoftMaxGradient"),
    MPSNN_METAL_ROW(top_k, "MPSMatrixFindTopK"),
    MPSNN_METAL_ROW(lu_decomposition, "MPSMatrixDecompositionLU"),
    MPSNN_METAL_ROW(cholesky_decomposition, "MPSMatrixDecompositionCholesky"),
    MPSNN_METAL_ROW(triangular_solve, "MPSMatrixSolveTriangular"),
    MPSNN_METAL_ROW(apply_pivots, "MPSMatrixSolveLU"),
    MPSNN_METAL_ROW(single_gate, "MPSMatrixNeuron"),
    MPSNN_METAL_ROW(single_gate_gradient, "MPSMatrixNeuronGradient"),
    MPSNN_METAL_ROW(lstm_memory, "MPSMatrixNeuron"),
    MPSNN_METAL_ROW(lstm_memory_gradient, "MPSMatrixNeuronGradient"),
    MPSNN_METAL_ROW(lstm_output, "MPSMatrixNeuron"),
    MPSNN_METAL_ROW(lstm_output_gradient, "MPSMatrixNeuronGradient"),
    MPSNN_METAL_ROW(gru_gates, "MPSMatrixNeuron"),
    MPSNN_METAL_ROW(gru_gates_gradient, "MPSMatrixNeuronGradient"),
    MPSNN_METAL_ROW(gru_output, "MPSMatrixNeuron"),
    MPSNN_METAL_ROW(gru_output_gradient, "MPSMatrixNeuronGradient"),
    MPSNN_METAL_ROW(gate_sums, "MPSMatrixMultiplication"),
    MPSNN_METAL_ROW(gather, "MPSMatrixCopy"),
    MPSNN_METAL_ROW(gather_gradient, "MPSMatrixSum"),
    MPSNN_METAL_ROW(optimizer_stochastic_gradient_descent,
                    "MPSNNOptimizerStochasticGradientDescent"),
    MPSNN_METAL_ROW(optimizer_adam, "MPSNNOptimizerAdam"),
    MPSNN_METAL_ROW(optimizer_rms_prop, "MPSNNOptimizerRMSProp"),
};
#undef MPSNN_METAL_ROW

/// Offsets of all matrices of dims `batch`; a dimension of 1 is repeated.
std::vector<NSUInteger> offsets_of(std::span<const std::int64_t> own,
                                   std::span<const std::int64_t> strides,
                                   std::span<const std::int64_t> batch) {
  std::vector<NSUInteger> offsets = {0};
  for (std::size_t i = 0; i < batch.size(); ++i) {
    std::vector<NSUInteger> next;
    const std::int64_t step = own[i] == 1 ? 0 : strides[i];
    for (const NSUInteger offset : offsets) {
      for (std::int64_t k = 0; k < batch[i]; ++k)
        next.push_back(offset + static_cast<NSUInteger>(k * step));
    }
    offsets = std::move(next);
  }
  return offsets;
}

/// Sets rows, columns and row_bytes of a view. False: neither rows nor columns lie together.
bool place_rows(MatrixView& view, std::int64_t rows, std::int64_t columns, std::int64_t row_step,
                std::int64_t column_step, std::int64_t element) {
  if (columns > 1 && column_step != element) {
    if (rows > 1 && row_step != element) return false;
    view.is_transposed = true;
    std::swap(rows, columns);
    std::swap(row_step, column_step);
  }
  view.rows = static_cast<NSUInteger>(rows);
  view.columns = static_cast<NSUInteger>(columns);
  view.row_bytes = static_cast<NSUInteger>(rows == 1 ? columns * element : row_step);
  return rows == 1 || (row_step >= columns * element && row_step % element == 0);
}

template <class Check>
Fit each_operand(const KernelQuery& query, Check&& check) {
  for (const auto& operands : {query.inputs, query.outputs}) {
    for (const TensorDesc& desc : operands) {
      if (desc.dims.empty()) continue;
      if (const char* wanted = check(desc); wanted != nullptr)
        return Fit::no(str("expected ", wanted, ", got ", mpsnn::to_string(desc)));
    }
  }
  return {};
}

}  // namespace

std::span<const KernelRow> kernel_rows() noexcept { return kRows; }

std::vector<std::int64_t> strides_of(const TensorDesc& desc) {
  if (!desc.strides.empty()) return desc.strides;
  std::vector<std::int64_t> strides(desc.dims.size());
  auto next = static_cast<std::int64_t>(size_of(desc.type));
  for (std::size_t i = desc.dims.size(); i-- > 0; next *= desc.dims[i]) strides[i] = next;
  return strides;
}

bool is_dense(const TensorDesc& desc) {
  TensorDesc plain = desc;
  plain.strides.clear();
  const std::vector<std::int64_t> strides = strides_of(plain);
  for (std::size_t i = 0; i < desc.dims.size(); ++i) {
    if (!desc.strides.empty() && desc.dims[i] != 1 && desc.strides[i] != strides[i]) return false;
  }
  return !desc.layout;
}

MPSDataType mps_type(DataType type) {
  switch (type) {
    case DataType::FLOAT32:
      return MPSDataTypeFloat32;
    case DataType::FLOAT16:
      return MPSDataTypeFloat16;
    case DataType::INT32:
      return MPSDataTypeInt32;
    case DataType::UINT32:
      return MPSDataTypeUInt32;
    case DataType::UINT8:
      return MPSDataTypeUInt8;
    case DataType::INT8:
      return MPSDataTypeInt8;
    case DataType::INT16:
      return MPSDataTypeInt16;
    case DataType::UINT16:
      return MPSDataTypeUInt16;
    case DataType::INT64:
      break;
  }
  throw InternalError("rows refuse int64");
}

std::optional<MatrixView> view_of(const TensorDesc& desc, std::span<const std::int64_t> batch) {
  if (desc.type == DataType::INT64 || desc.layout) return std::nullopt;
  std::vector<std::int64_t> dims = desc.dims, strides = strides_of(desc);
  const auto element = static_cast<std::int64_t>(size_of(desc.type));
  if (dims.size() == 1) {
    dims.insert(dims.begin(), 1);
    strides.insert(strides.begin(), dims[1] * element);
  }
  const std::size_t last = dims.size() - 1, leading = dims.size() - 2;
  MatrixView view;
  view.type = mps_type(desc.type);
  if (!place_rows(view, dims[leading], dims[last], strides[leading], strides[last], element))
    return std::nullopt;
  const std::span<const std::int64_t> own(dims.data(), leading);
  view.offsets = offsets_of(own, strides, batch.empty() ? own : batch);
  return view;
}

MatrixView rows_of(const TensorDesc& desc) {
  return *view_of({desc.type, {desc.count() / desc.dims.back(), desc.dims.back()}, nullptr});
}

Fit float32_matrices(const KernelQuery& query) {
  return each_operand(query, [](const TensorDesc& desc) -> const char* {
    if (desc.type != DataType::FLOAT32) return "float32";
    return view_of(desc) ? nullptr : "rows or columns whose elements lie together";
  });
}

Fit float32_rows(const KernelQuery& query) {
  return each_operand(query, [](const TensorDesc& desc) -> const char* {
    if (desc.type != DataType::FLOAT32) return "float32";
    const auto view = view_of(desc);
    return view && !view->is_transposed ? nullptr : "rows whose elements lie together";
  });
}

Fit dense_float32(const KernelQuery& query) {
  return each_operand(query, [](const TensorDesc& desc) -> const char* {
    if (desc.type != DataType::FLOAT32) return "float32";
    return is_dense(desc) ? nullptr : "dense memory";
  });
}

MPSMatrix* Site::matrix_at(const BufferRange& found, const MatrixView& view, std::size_t index) {
  MPSMatrixDescriptor* descriptor = [MPSMatrixDescriptor matrixDescriptorWithRows:view.rows
                                                                          columns:view.columns
                                                                         rowBytes:view.row_bytes
                                                                         dataType:view.type];
  return [[[MPSMatrix alloc] initWithBuffer:found.buffer.get()
                                     offset:found.offset + view.offsets[index]
                                 descriptor:descriptor] autorelease];
}

MPSVector* Site::vector(const void* address, std::int64_t length, MPSDataType type) const {
  const BufferRange found = range(address);
  MPSVectorDescriptor* descriptor =
      [MPSVectorDescriptor vectorDescriptorWithLength:static_cast<NSUInteger>(length)
                                             dataType:type];
  return [[[MPSVector alloc] initWithBuffer:found.buffer.get()
                                     offset:found.offset
                                 descriptor:descriptor] autorelease];
}

namespace {

std::size_t operand_bytes(const KernelQuery& query) {
  std::size_t bytes = 0;
  for (const auto& operands : {query.inputs, query.outputs}) {
    for (const TensorDesc& desc : operands)
      if (!desc.dims.empty()) bytes += dense(desc).bytes();
  }
  return bytes;
}

}  // namespace

SingleKernel::SingleKernel(const KernelQuery& query, Encode encode)
    : label_(query.label), bytes_(operand_bytes(query)), encode_(std::move(encode)) {}

void SingleKernel::run(const KernelArgs& args) const {
  auto& stream = *static_cast<CommandStream*>(static_cast<Stream*>(args.queue));
  std::unique_lock lock(mutex_);
  guarded(label_, [&] { encode_(Site(args, stream, lock)); });
  stream.encoded_bytes += bytes_;
}

}  // namespace mpsnn::backend::metal
