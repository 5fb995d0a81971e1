// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "mpsnn/buffer.h"
#include "mpsnn/device.h"
#include "mpsnn/types.h"

/// Matrices, vectors and arrays: views of buffers, with strides. Handles: a copy means the same
/// memory.
namespace mpsnn {

namespace runtime {
struct ArrayState;
}

/// Where the elements of matrices lie: element (i, j) of matrix k at k * matrix_bytes + i *
/// row_bytes + j * the element's size. Apple: MPSMatrixDescriptor.
struct MatrixDescriptor {
  std::int64_t rows = 0, columns = 0;
  DataType data_type = DataType::FLOAT32;
  std::int64_t matrices = 1;
  /// Bytes from one row to the next, a multiple of the element's size; 0: columns without gaps.
  std::size_t row_bytes = 0;
  /// Bytes from one matrix to the next, a multiple of row_bytes; 0: rows * row_bytes.
  std::size_t matrix_bytes = 0;

  /// A stride at which kernels are fastest: floating-point rows are rounded up to 16 bytes, others
  /// to 4 elements; one column is not rounded. Apple: rowBytesForColumns:dataType:.
  static std::size_t row_bytes_for_columns(std::int64_t columns, DataType type);
};

/// Where the elements of vectors lie. Apple: MPSVectorDescriptor.
struct VectorDescriptor {
  std::int64_t length = 0;
  DataType data_type = DataType::FLOAT32;
  std::int64_t vectors = 1;
  /// Bytes from one vector to the next, a multiple of the element's size; 0: no gaps.
  std::size_t vector_bytes = 0;
};

/// Where the elements of an array lie. Apple: MPSNDArrayDescriptor, whose `shape` this is: the
/// slowest dimension first, the last one contiguous.
struct NDArrayDescriptor {
  std::vector<std::int64_t> shape;  // 1 to 16 dimensions
  DataType data_type = DataType::FLOAT32;
  /// Bytes from one element to the next along each dimension, positive; empty: no gaps.
  std::vector<std::int64_t> strides = {};
};

/// What a view is.
enum class ArrayKind : std::uint8_t { MATRIX, VECTOR, NDARRAY };

/// Base of Matrix, Vector and NDArray, which add constructors only. Reading waits for the work that
/// was committed and writes the buffer; work that was recorded and not committed is not seen. Two
/// views of one buffer count as one for ordering queues.
class Array {
 public:
  ArrayKind kind() const;
  DataType data_type() const;
  /// (rows, columns) or (matrices, rows, columns); (length,) or (vectors, length); the shape.
  std::vector<std::int64_t> shape() const;
  /// Bytes from one element to the next along each dimension of `shape`.
  std::vector<std::int64_t> strides() const;
  /// Of the first element, in bytes from the buffer's start.
  std::size_t offset() const;
  const Buffer& buffer() const;
  Device device() const;
  const std::string& label() const;
  void set_label(std::string label);
  /// Bytes of all elements without gaps: what `read` and `write` copy.
  std::size_t bytes() const;
  /// Copies all elements, without gaps, to the host. Waits for the work that writes the buffer;
  /// throws InvalidArgumentError for another number of bytes, DeviceError where that work failed.
  void read(void* to, std::size_t bytes) const;
  /// Copies all elements from the host; waits for all work on the buffer.
  void write(const void* from, std::size_t bytes) const;
  /// The first element where the host can see it (CPU); waits like read. Null elsewhere.
  void* data() const;

  const std::shared_ptr<runtime::ArrayState>& state() const noexcept { return state_; }
  explicit Array(std::shared_ptr<runtime::ArrayState> state) : state_(std::move(state)) {}

 private:
  std::shared_ptr<runtime::ArrayState> state_;
};

/// One or more matrices of one size. Apple: MPSMatrix.
class Matrix : public Array {
 public:
  /// Zeros. All constructors throw InvalidArgumentError naming the field: extents below 1, strides
  /// that are too short or no multiple, elements beyond the buffer's end.
  Matrix(const Device& device, const MatrixDescriptor& descriptor);
  /// A view of a buffer from `offset` bytes on. Throws InvalidArgumentError, too, where the offset
  /// is no multiple of the element's size, or the buffer's memory, wrapped, does not lie at one.
  Matrix(const Buffer& buffer, const MatrixDescriptor& descriptor, std::size_t offset = 0);

  std::int64_t rows() const;
  std::int64_t columns() const;
  std::int64_t matrices() const;
  std::size_t row_bytes() const;
  std::size_t matrix_bytes() const;
};

/// One or more vectors of one length. Apple: MPSVector.
class Vector : public Array {
 public:
  /// Zeros. Throws as Matrix does.
  Vector(const Device& device, const VectorDescriptor& descriptor);
  /// A view of a buffer from `offset` bytes on. Throws as Matrix does, also for memory that is not
  /// aligned to the element's size.
  Vector(const Buffer& buffer, const VectorDescriptor& descriptor, std::size_t offset = 0);

  std::int64_t length() const;
  std::int64_t vectors() const;
  std::size_t vector_bytes() const;
};

/// An array of up to 16 dimensions. Apple: MPSNDArray.
class NDArray : public Array {
 public:
  /// Zeros. Throws as Matrix does.
  NDArray(const Device& device, const NDArrayDescriptor& descriptor);
  /// A view of a buffer from `offset` bytes on. Throws as Matrix does, also for memory that is not
  /// aligned to the element's size.
  NDArray(const Buffer& buffer, const NDArrayDescriptor& descriptor, std::size_t offset = 0);

  /// The same memory with two dimensions exchanged. Apple: transposeDimension:withDimension:.
  NDArray transposed(std::size_t first, std::size_t second) const;
  /// The same memory, `count` elements of a dimension from `start` on. Apple:
  /// sliceDimension:withSubrange:.
  NDArray sliced(std::size_t dimension, std::int64_t start, std::int64_t count) const;
};

}  // namespace mpsnn
