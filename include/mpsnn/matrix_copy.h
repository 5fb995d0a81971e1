// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "mpsnn/array.h"
#include "mpsnn/kernel.h"

namespace mpsnn {

/// Where a copy begins, in rows and columns of the two matrices, none negative. Apple:
/// MPSMatrixCopyOffsets.
struct MatrixCopyOffsets {
  std::int64_t source_row_offset = 0, source_column_offset = 0;
  std::int64_t destination_row_offset = 0, destination_column_offset = 0;
  friend bool operator==(const MatrixCopyOffsets&, const MatrixCopyOffsets&) = default;
};

/// What MatrixCopy copies: a list of operations, each a source, a destination and where in them it
/// begins. It holds the matrices; sizes are checked where it is encoded. Apple:
/// MPSMatrixCopyDescriptor.
class MatrixCopyDescriptor {
 public:
  /// As many operations, all of which have to be set before it is encoded. Throws
  /// InvalidArgumentError for none.
  explicit MatrixCopyDescriptor(std::size_t count);
  /// One operation.
  MatrixCopyDescriptor(const Matrix& source_matrix, const Matrix& destination_matrix,
                       const MatrixCopyOffsets& offsets = {});
  /// One operation a source. Offsets are read from the device when the copies run: uint32, four an
  /// operation in the order of MatrixCopyOffsets, from byte `byte_offset` of the vector on; without
  /// a vector all are 0. Throws InvalidArgumentError for no source, another number of destinations,
  /// a vector that is too short, an offset that is no multiple of 4; ArgumentTypeError for a vector
  /// of another type.
  MatrixCopyDescriptor(const std::vector<Matrix>& source_matrices,
                       const std::vector<Matrix>& destination_matrices,
                       const std::optional<Vector>& offset_vector = std::nullopt,
                       std::size_t byte_offset = 0);

  /// Replaces an operation. Encodes that were recorded keep the old one. Throws
  /// InvalidArgumentError for an index beyond the count, for a negative offset, and for a
  /// descriptor whose offsets come from a vector.
  void set_copy_operation(std::size_t index, const Matrix& source_matrix,
                          const Matrix& destination_matrix, const MatrixCopyOffsets& offsets = {});

  std::size_t count() const noexcept { return operations_.size(); }
  /// Of all operations, in their order. Throw InvalidArgumentError naming one that was not set.
  std::vector<Matrix> source_matrices() const;
  std::vector<Matrix> destination_matrices() const;
  /// Four numbers an operation; empty where they come from a vector.
  std::vector<std::int64_t> offsets() const;
  /// The part of the vector that is read.
  const std::optional<Vector>& offset_vector() const noexcept { return offset_vector_; }

 private:
  struct Operation {
    Matrix source, destination;
    MatrixCopyOffsets offsets;
  };
  const Operation& operation(std::size_t index) const;

  std::vector<std::optional<Operation>> operations_;
  std::optional<Vector> offset_vector_;
};

}  // namespace mpsnn
