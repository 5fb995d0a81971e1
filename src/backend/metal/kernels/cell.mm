// SPDX-License-Identifier: MIT
#include "backend/metal/kernels/cell.h"

#include "backend/metal/images.h"

namespace mpsnn::backend::metal {
namespace {

const std::byte* address_of(const Site& site, const CellMatrix& matrix) {
  switch (matrix.memory) {
    case CellMatrix::Memory::INPUT:
      return site.input(matrix.operand) + matrix.offset;
    case CellMatrix::Memory::OUTPUT:
      return site.output(matrix.operand) + matrix.offset;
    case CellMatrix::Memory::SCRATCH:
      break;
  }
  return site.scratch() + matrix.offset;
}

BufferRange range_of(const Site& site, const CellMatrix& matrix) {
  return site.range(address_of(site, matrix));
}

MPSMatrix* mps_matrix(const Site& site, const CellMatrix& matrix) {
  MatrixView view;
  view.rows = matrix.rows;
  view.columns = matrix.columns;
  view.row_bytes = matrix.rows == 1 ? matrix.columns * sizeof(float) : matrix.row_bytes;
  view.offsets = {0};
  return Site::matrix_at(range_of(site, matrix), view);
}

MPSVector* mps_row(const Site& site, const std::optional<CellMatrix>& row) {
  if (!row) return nil;
  return site.vector(address_of(site, *row), static_cast<std::int64_t>(row->columns));
}

/// One image of one channel.
TensorDesc image_of(const CellMatrix& matrix) {
  return {DataType::FLOAT32,
          {1, static_cast<std::int64_t>(matrix.rows), static_cast<std::int64_t>(matrix.columns), 1},
          nullptr};
}

template <class K>
Lazy<K*> make_neuron(const NeuronDescriptor& neuron) {
  return Lazy<K*>([=](id<MTLDevice> device) {
    K* made = [[K alloc] initWithDevice:device];
    [made setNeuronType:static_cast<MPSCNNNeuronType>(neuron.type)
             parameterA:neuron.a
             parameterB:neuron.b
             parameterC:neuron.c];
    return made;
  });
}

/// Adds up terms in images; those that it makes are read once.
class TermSum {
 public:
  TermSum(std::vector<CellTerm> terms, const CellMatrix& to) : terms_(std::move(terms)), to_(to) {}

  void encode(const Site& site) const {
    MPSImageBatch* total = nil;
    for (const CellTerm& term : terms_) {
      MPSImageBatch* value = value_of(site, term);
      total = total == nil ? value : combined(site, add_.on(site), total, value);
    }
    site.copies().copy_out(site.commands(), total, range_of(site, to_), image_of(to_));
  }

 private:
  MPSImageBatch* image(const Site& site, const CellMatrix& matrix) const {
    return site.copies().copy_in(site.commands(), range_of(site, matrix), image_of(matrix));
  }
  MPSImageBatch* combined(const Site& site, MPSCNNArithmetic* kernel, MPSImageBatch* first,
                          MPSImageBatch* second) const {
    MPSImageBatch* made = ImageCopies::make_images(site.commands(), image_of(to_));
    [kernel encodeBatchToCommandBuffer:site.commands()
                         primaryImages:first
                       secondaryImages:second
                     destinationImages:made];
    return made;
  }
  MPSImageBatch* value_of(const Site& site, const CellTerm& term) const {
    MPSImageBatch* first = image(site, term.first);
    if (!term.second) return first;
    const bool repeats = term.second->rows != term.first.rows;
    return combined(site, (repeats ? multiply_rows_ : multiply_).on(site), first,
                    image(site, *term.second));
  }

  std::vector<CellTerm> terms_;
  CellMatrix to_;
  Lazy<MPSCNNArithmetic*> add_{
      [](id<MTLDevice> device) { return [[MPSCNNAdd alloc] initWithDevice:device]; }};
  Lazy<MPSCNNArithmetic*> multiply_{
      [](id<MTLDevice> device) { return [[MPSCNNMultiply alloc] initWithDevice:device]; }};
  Lazy<MPSCNNArithmetic*> multiply_rows_{[](id<MTLDevice> device) {
    MPSCNNMultiply* made = [[MPSCNNMultiply alloc] initWithDevice:device];
    [made setSecondaryStrideInPixelsY:0];
    return made;
  }};
};

}  // namespace

CellMatrix CellProgram::matrix(CellMatrix::Memory memory, std::size_t i) const {
  const bool is_input = memory == CellMatrix::Memory::INPUT;
  const MatrixView view = *view_of(is_input ? query_.inputs[i] : query_.outputs[i]);
  return {memory, i, 0, view.rows, view.columns, view.row_bytes};
}

CellMatrix CellProgram::gate(const CellMatrix& gates, std::size_t index, const CellMatrix& like) {
  CellMatrix part = gates;
  part.columns = like.columns;
  part.offset += index * like.columns * sizeof(float);
  return part;
}

CellMatrix CellProgram::scratch(const CellMatrix& like) {
  const std::size_t row_bytes = like.columns * sizeof(float), at = scratch_bytes_;
  scratch_bytes_ += aligned(like.rows * row_bytes);
  return {CellMatrix::Memory::SCRATCH, 0, at, like.rows, like.columns, row_bytes};
}

void CellProgram::neuron(const NeuronDescriptor& neuron, const CellMatrix& from,
                         const CellMatrix& to, const std::optional<CellMatrix>& bias) {
  steps_.emplace_back([=, kernel = make_neuron<MPSMatrixNeuron>(neuron)](const Site& site) {
    [kernel.on(site) encodeToCommandBuffer:site.commands()
                               inputMatrix:mps_matrix(site, from)
                                biasVector:mps_row(site, bias)
                              resultMatrix:mps_matrix(site, to)];
  });
}

CellMatrix CellProgram::neuron(const NeuronDescriptor& descriptor, const CellMatrix& from) {
  const CellMatrix to = scratch(from);
  neuron(descriptor, from, to);
  return to;
}

void CellProgram::slope(const NeuronDescriptor& neuron, const CellMatrix& gradient,
                        const CellMatrix& at, const CellMatrix& to) {
  steps_.emplace_back([=, kernel = make_neuron<MPSMatrixNeuronGradient>(neuron)](const Site& site) {
    [kernel.on(site) encodeToCommandBuffer:site.commands()
                            gradientMatrix:mps_matrix(site, gradient)
                               inputMatrix:mps_matrix(site, at)
                                biasVector:nil
               resultGradientForDataMatrix:mps_matrix(site, to)
               resultGradientForBiasVector:nil];
  });
}

void CellProgram::normalize(const CellMatrix& from, const CellMatrix& mean,
                            const CellMatrix& variance, float epsilon, const CellMatrix& to) {
  const Lazy<MPSMatrixBatchNormalization*> kernel([=](id<MTLDevice> device) {
    MPSMatrixBatchNormalization* made = [[MPSMatrixBatchNormalization alloc] initWithDevice:device];
    [made setEpsilon:epsilon];
    return made;
  });
  steps_.emplace_back([=](const Site& site) {
    [kernel.on(site) encodeToCommandBuffer:site.commands()
                               inputMatrix:mps_matrix(site, from)
                                meanVector:mps_row(site, mean)
                            varianceVector:mps_row(site, variance)
                               gammaVector:nil
                                betaVector:nil
                              resultMatrix:mps_matrix(site, to)];
  });
}

CellMatrix CellProgram::dense(const CellMatrix& matrix) {
  return matrix.is_dense() ? matrix : neuron({}, matrix);
}

void CellProgram::increase(const CellMatrix& to, const CellMatrix& by) {
  const Lazy<MPSMatrixSum*> kernel([=](id<MTLDevice> device) {
    return [[MPSMatrixSum alloc] initWithDevice:device
                                          count:2
                                           rows:to.rows
                                        columns:to.columns
                                      transpose:NO];
  });
  steps_.emplace_back([=](const Site& site) {
    MPSMatrix* result = mps_matrix(site, to);
    [kernel.on(site) encodeToCommandBuffer:site.commands()
                            sourceMatrices:@[ result, mps_matrix(site, by) ]
                              resultMatrix:result
                               scaleVector:nil
                              offsetVector:nil
                                biasVector:nil
                                startIndex:0];
  });
}

void CellProgram::sum(const std::vector<CellTerm>& terms, const CellMatrix& to) {
  std::vector<CellTerm> all;
  for (const CellTerm& term : terms) {
    all.push_back({dense(term.first), std::nullopt});
    if (term.second) all.back().second = dense(*term.second);
  }
  steps_.emplace_back([sum = TermSum(std::move(all), to)](const Site& site) { sum.encode(site); });
}

CellMatrix CellProgram::sum(const std::vector<CellTerm>& terms) {
  const CellMatrix to = scratch(terms.front().first);
  sum(terms, to);
  return to;
}

void CellProgram::clear(const CellMatrix& matrix) {
  const Lazy<id<MTLBuffer>> zeros([=](id<MTLDevice> device) {
    return make_constant(device, DataType::FLOAT32, 0, matrix.rows * matrix.columns);
  });
  const auto rows = static_cast<std::int64_t>(matrix.rows),
             columns = static_cast<std::int64_t>(matrix.columns);
  const TensorDesc dense{DataType::FLOAT32, {rows, columns}, nullptr};
  TensorDesc result = dense;
  result.strides = {static_cast<std::int64_t>(matrix.row_bytes), sizeof(float)};
  steps_.emplace_back([=, copy = *StridedCopy::between(dense, result)](const Site& site) {
    copy.encode(site, {Owned<id<MTLBuffer>>::retained(zeros.on(site)), 0}, range_of(site, matrix));
  });
}

void CellProgram::column_sums(const CellMatrix& matrix, const CellMatrix& to, bool adds) {
  const Lazy<MPSMatrixMultiplication*> product([=](id<MTLDevice> device) {
    return [[MPSMatrixMultiplication alloc] initWithDevice:device
                                             transposeLeft:NO
                                            transposeRight:NO
                                                resultRows:1
                                             resultColumns:matrix.columns
                                           interiorColumns:matrix.rows
                                                     alpha:1
                                                      beta:adds ? 1 : 0];
  });
  const Lazy<id<MTLBuffer>> ones([=](id<MTLDevice> device) {
    return make_constant(device, DataType::FLOAT32, 1, matrix.rows);
  });
  const auto rows = static_cast<std::int64_t>(matrix.rows);
  const MatrixView row = rows_of({DataType::FLOAT32, {rows}, nullptr});
  steps_.emplace_back([=](const Site& site) {
    const BufferRange constant{Owned<id<MTLBuffer>>::retained(ones.on(site)), 0};
    [product.on(site) encodeToCommandBuffer:site.commands()
                                 leftMatrix:Site::matrix_at(constant, row)
                                rightMatrix:mps_matrix(site, matrix)
                               resultMatrix:mps_matrix(site, to)];
  });
}

std::shared_ptr<Kernel> CellProgram::finish() {
  return make_single(
      query_,
      [steps = std::move(steps_)](const Site& site) {
        for (const Step& step : steps) step(site);
      },
      scratch_bytes_);
}

Fit CellProgram::fits_image(std::int64_t rows, std::int64_t columns) {
  if (rows <= kMostPixels && columns <= kMostPixels) return {};
  return Fit::no(str("products of at most ", kMostPixels,
                     " rows and columns, which are images', got ", rows, " x ", columns));
}

Fit CellProgram::fits(const KernelQuery& query) {
  if (Fit fit = dense_float32(query); !fit.yes) return fit;
  const std::vector<std::int64_t>& values = query.inputs[0].dims;
  const std::vector<std::int64_t>& result =
      has_input(query, 1) ? query.inputs[1].dims : query.outputs[0].dims;
  return fits_image(values[1], result[2]);
}

}  // namespace mpsnn::backend::metal
