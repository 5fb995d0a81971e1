// SPDX-License-Identifier: MIT
// What an operation of a recurrent cell, or of several kernels, is made of: neurons, their slopes
// and sums of products of matrices, one MPS kernel after the other. For .mm files.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "backend/metal/kernels.h"
#include "mpsnn/data_source.h"

namespace mpsnn::backend::metal {

/// A float32 matrix of the operation: an operand, some of its columns, or scratch.
struct CellMatrix {
  enum class Memory : std::uint8_t { INPUT, OUTPUT, SCRATCH };
  Memory memory = Memory::SCRATCH;
  std::size_t operand = 0;
  NSUInteger offset = 0, rows = 1, columns = 1, row_bytes = 0;  // bytes

  bool is_dense() const noexcept { return row_bytes == columns * sizeof(float); }
};

/// A product of two matrices element by element, or one of them. A second one of one row holds for
/// all rows.
struct CellTerm {
  CellMatrix first;
  std::optional<CellMatrix> second = std::nullopt;
};

/// A kernel in the making. Results may lie over what they are made of.
class CellProgram {
 public:
  explicit CellProgram(const KernelQuery& query) : query_(query) {}

  CellMatrix input(std::size_t i) const { return matrix(CellMatrix::Memory::INPUT, i); }
  CellMatrix output(std::size_t i) const { return matrix(CellMatrix::Memory::OUTPUT, i); }
  /// The columns of one gate: as many as `like` has.
  static CellMatrix gate(const CellMatrix& gates, std::size_t index, const CellMatrix& like);
  /// Rows without gaps.
  CellMatrix scratch(const CellMatrix& like);

  /// to = neuron(from + bias). The bias: a row.
  void neuron(const NeuronDescriptor& neuron, const CellMatrix& from, const CellMatrix& to,
              const std::optional<CellMatrix>& bias = std::nullopt);
  CellMatrix neuron(const NeuronDescriptor& neuron, const CellMatrix& from);
  /// to = gradient * the neuron's slope at `at`.
  void slope(const NeuronDescriptor& neuron, const CellMatrix& gradient, const CellMatrix& at,
             const CellMatrix& to);
  /// to = (from - mean) / sqrt(variance + epsilon) of each column. Mean, variance: a row.
  void normalize(const CellMatrix& from, const CellMatrix& mean, const CellMatrix& variance,
                 float epsilon, const CellMatrix& to);
  void copy(const CellMatrix& from, const CellMatrix& to) { neuron({}, from, to); }
  /// Itself, or a copy of it.
  CellMatrix dense(const CellMatrix& matrix);
  /// to += by
  void increase(const CellMatrix& to, const CellMatrix& by);
  /// to = the sum of terms, all without gaps. By images, as MPS multiplies no matrices element by
  /// element.
  void sum(const std::vector<CellTerm>& terms, const CellMatrix& to);
  CellMatrix sum(const std::vector<CellTerm>& terms);
  void clear(const CellMatrix& matrix);
  /// to = the sums of the columns, or added to it.
  void column_sums(const CellMatrix& matrix, const CellMatrix& to, bool adds);

  std::shared_ptr<Kernel> finish();

  /// No where operands have gaps, or where rows or columns do not go into an image.
  static Fit fits(const KernelQuery& query);
  /// The same for one matrix.
  static Fit fits_image(std::int64_t rows, std::int64_t columns);

 private:
  using Step = std::function<void(const Site&)>;

  CellMatrix matrix(CellMatrix::Memory memory, std::size_t i) const;

  const KernelQuery& query_;
  std::vector<Step> steps_;
  std::size_t scratch_bytes_ = 0;
};

}  // namespace mpsnn::backend::metal
