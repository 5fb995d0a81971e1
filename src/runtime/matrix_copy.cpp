// SPDX-License-Identifier: MIT
// What MatrixCopy copies.
#include "mpsnn/matrix_copy.h"

#include "base/check.h"

namespace mpsnn {
namespace {

void check_offset(std::string_view name, std::int64_t offset) {
  if (offset < 0) throw_expected(str("MatrixCopyDescriptor: ", name), "at least 0", offset);
}

/// The numbers of the operations in a vector.
Vector part_of(const Vector& vector, std::size_t count, std::size_t byte_offset) {
  if (vector.data_type() != DataType::UINT32) {
    throw_expected<ArgumentTypeError>("MatrixCopyDescriptor: offset_vector", "uint32",
                                      name_of(vector.data_type()));
  }
  if (byte_offset % sizeof(std::uint32_t) != 0)
    throw_expected("MatrixCopyDescriptor: byte_offset", "a multiple of 4", byte_offset);
  const auto length = static_cast<std::size_t>(vector.length()),
             first = byte_offset / sizeof(std::uint32_t);
  if (first > length || length - first < 4 * count) {
    throw_expected("MatrixCopyDescriptor: offset_vector",
                   str(4 * count, " elements from byte ", byte_offset, " on"),
                   str(length, " in all"));
  }
  return {vector.buffer(),
          {.length = static_cast<std::int64_t>(4 * count), .data_type = DataType::UINT32},
          vector.offset() + byte_offset};
}

}  // namespace

MatrixCopyDescriptor::MatrixCopyDescriptor(std::size_t count) : operations_(count) {
  if (count == 0) throw_expected("MatrixCopyDescriptor: count", "at least 1", count);
}

MatrixCopyDescriptor::MatrixCopyDescriptor(const Matrix& source_matrix,
                                           const Matrix& destination_matrix,
                                           const MatrixCopyOffsets& offsets)
    : operations_(1) {
  set_copy_operation(0, source_matrix, destination_matrix, offsets);
}

MatrixCopyDescriptor::MatrixCopyDescriptor(const std::vector<Matrix>& source_matrices,
                                           const std::vector<Matrix>& destination_matrices,
                                           const std::optional<Vector>& offset_vector,
                                           std::size_t byte_offset) {
  if (source_matrices.empty())
    throw_expected("MatrixCopyDescriptor: source_matrices", "at least one matrix", "none");
  if (source_matrices.size() != destination_matrices.size()) {
    throw_expected("MatrixCopyDescriptor: destination_matrices",
                   str(source_matrices.size(), " matrices, as source_matrices"),
                   destination_matrices.size());
  }
  for (std::size_t i = 0; i < source_matrices.size(); ++i)
    operations_.push_back(Operation{source_matrices[i], destination_matrices[i], {}});
  if (offset_vector) offset_vector_ = part_of(*offset_vector, count(), byte_offset);
}

void MatrixCopyDescriptor::set_copy_operation(std::size_t index, const Matrix& source_matrix,
                                              const Matrix& destination_matrix,
                                              const MatrixCopyOffsets& offsets) {
  if (index >= count())
    throw_expected("MatrixCopyDescriptor: index", str("below ", count()), index);
  if (offset_vector_) {
    throw_expected("MatrixCopyDescriptor: offsets", "none beside a vector of offsets",
                   "an operation with offsets of its own");
  }
  check_offset("source_row_offset", offsets.source_row_offset);
  check_offset("source_column_offset", offsets.source_column_offset);
  check_offset("destination_row_offset", offsets.destination_row_offset);
  check_offset("destination_column_offset", offsets.destination_column_offset);
  operations_[index] = Operation{source_matrix, destination_matrix, offsets};
}

const MatrixCopyDescriptor::Operation& MatrixCopyDescriptor::operation(std::size_t index) const {
  if (operations_[index]) return *operations_[index];
  throw_expected(str("MatrixCopyDescriptor: copy operation ", index), "to be set", "none");
}

std::vector<Matrix> MatrixCopyDescriptor::source_matrices() const {
  std::vector<Matrix> matrices;
  for (std::size_t i = 0; i < count(); ++i) matrices.push_back(operation(i).source);
  return matrices;
}

std::vector<Matrix> MatrixCopyDescriptor::destination_matrices() const {
  std::vector<Matrix> matrices;
  for (std::size_t i = 0; i < count(); ++i) matrices.push_back(operation(i).destination);
  return matrices;
}

std::vector<std::int64_t> MatrixCopyDescriptor::offsets() const {
  std::vector<std::int64_t> numbers;
  if (offset_vector_) return numbers;
  for (std::size_t i = 0; i < count(); ++i) {
    const MatrixCopyOffsets& o = operation(i).offsets;
    numbers.insert(numbers.end(), {o.source_row_offset, o.source_column_offset,
                                   o.destination_row_offset, o.destination_column_offset});
  }
  return numbers;
}

}  // namespace mpsnn
