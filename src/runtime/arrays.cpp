// SPDX-License-Identifier: MIT
// The public Matrix, Vector and NDArray.
#include <array>
#include <bit>
#include <cstdint>
#include <limits>
#include <utility>

#include "base/check.h"
#include "graph/kernel_lowering.h"
#include "runtime/array_state.h"

namespace mpsnn {

using runtime::ArrayState;

namespace {

constexpr std::size_t kMostDimensions = 16;
constexpr std::int64_t kMostBytes = std::numeric_limits<std::int64_t>::max() / 4;

std::string_view name_of(ArrayKind kind) {
  constexpr std::array<std::string_view, 3> kNames = {"Matrix", "Vector", "NDArray"};
  return kNames[static_cast<std::size_t>(kind)];
}

std::int64_t times(std::string_view what, std::int64_t a, std::int64_t b) {
  std::int64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product) || product > kMostBytes)
    throw_expected(what, "a size that fits in memory", str(a, " * ", b));
  return product;
}

void check_extent(std::string_view what, std::int64_t extent) {
  if (extent < 1) throw_expected(what, "at least 1", extent);
}

/// A stride given, or the smallest one where it is 0.
std::int64_t stride(std::string_view what, std::size_t given, std::int64_t least,
                    std::int64_t unit) {
  if (given == 0) return least;
  const auto bytes = static_cast<std::int64_t>(given);
  if (given > static_cast<std::size_t>(kMostBytes) || bytes < least || bytes % unit != 0) {
    throw_expected(what, str("a multiple of ", unit, " bytes, at least ", least), given);
  }
  return bytes;
}

TensorDesc desc_of(const MatrixDescriptor& d) {
  check_extent("Matrix: rows", d.rows);
  check_extent("Matrix: columns", d.columns);
  check_extent("Matrix: matrices", d.matrices);
  const auto size = static_cast<std::int64_t>(size_of(d.data_type));
  const std::int64_t row =
      stride("Matrix: row_bytes", d.row_bytes, times("Matrix: columns", d.columns, size), size);
  const std::int64_t matrix =
      stride("Matrix: matrix_bytes", d.matrix_bytes, times("Matrix: rows", d.rows, row), row);
  times("Matrix: matrices", d.matrices, matrix);
  return {d.data_type, {d.matrices, d.rows, d.columns}, nullptr, {matrix, row, size}};
}

TensorDesc desc_of(const VectorDescriptor& d) {
  check_extent("Vector: length", d.length);
  check_extent("Vector: vectors", d.vectors);
  const auto size = static_cast<std::int64_t>(size_of(d.data_type));
  const std::int64_t vector =
      stride("Vector: vector_bytes", d.vector_bytes, times("Vector: length", d.length, size), size);
  times("Vector: vectors", d.vectors, vector);
  return {d.data_type, {d.vectors, d.length}, nullptr, {vector, size}};
}

TensorDesc desc_of(const NDArrayDescriptor& d) {
  if (d.shape.empty() || d.shape.size() > kMostDimensions)
    throw_expected("NDArray: shape", "1 to 16 dimensions", d.shape.size());
  const auto size = static_cast<std::int64_t>(size_of(d.data_type));
  std::int64_t bytes = size;
  for (const std::int64_t extent : d.shape) {
    check_extent("NDArray: shape", extent);
    bytes = times("NDArray: shape", bytes, extent);
  }
  TensorDesc desc{d.data_type, d.shape, nullptr, d.strides};
  if (d.strides.empty()) return desc;
  if (d.strides.size() != d.shape.size()) {
    throw_expected("NDArray: strides", str(d.shape.size(), ", one a dimension"),
                   str(d.strides.size()));
  }
  std::int64_t end = 0;
  for (std::size_t i = 0; i < d.shape.size(); ++i) {
    if (d.strides[i] < 1 || d.strides[i] % size != 0)
      throw_expected("NDArray: strides", str("multiples of ", size, " bytes"), d.strides[i]);
    end += times("NDArray: strides", d.shape[i], d.strides[i]);
    if (end > kMostBytes) throw_expected("NDArray: strides", "a size that fits in memory", end);
  }
  return desc;
}

/// Bytes of a fresh buffer: whole rows and matrices, so that kernels may read gaps.
std::size_t whole_bytes(const TensorDesc& desc) {
  if (desc.strides.empty()) return desc.bytes();
  std::int64_t most = 0;
  for (std::size_t i = 0; i < desc.dims.size(); ++i)
    most = std::max(most, desc.dims[i] * desc.strides[i]);
  return std::max(static_cast<std::size_t>(most), desc.bytes());
}

std::shared_ptr<ArrayState> make(const Device& device, ArrayKind kind, const TensorDesc& desc) {
  return std::make_shared<ArrayState>(
      ArrayState{kind, Buffer(device, whole_bytes(desc)), 0, graph::normalized(desc)});
}

std::shared_ptr<ArrayState> view(const Buffer& buffer, ArrayKind kind, const TensorDesc& desc,
                                 std::size_t offset) {
  const std::size_t size = size_of(desc.type), bytes = desc.bytes();
  if (offset % size != 0)
    throw_expected(str(name_of(kind), ": offset"), str("a multiple of ", size, " bytes"), offset);
  if (offset > buffer.bytes() || bytes > buffer.bytes() - offset) {
    throw_expected(str(name_of(kind), ": offset"),
                   str("elements inside of the buffer's ", buffer.bytes(), " bytes"),
                   str(bytes, " bytes from ", offset));
  }
  if (std::bit_cast<std::uintptr_t>(buffer.data()) % size != 0) {
    throw_expected(str(name_of(kind), ": buffer"), str("memory at a multiple of ", size, " bytes"),
                   "wrapped memory at another address");
  }
  return std::make_shared<ArrayState>(ArrayState{kind, buffer, offset, graph::normalized(desc)});
}

std::string title(const ArrayState& array) {
  return str(name_of(array.kind), " \"", array.label, '"');
}

void check_count(const ArrayState& array, const char* what, const void* pointer,
                 std::size_t bytes) {
  const std::size_t wanted =
      static_cast<std::size_t>(array.desc.count()) * size_of(array.desc.type);
  if (pointer != nullptr && bytes == wanted) return;
  throw_expected(str(title(array), ": ", what), str(wanted, " bytes"),
                 pointer ? std::to_string(bytes) : "a null pointer");
}

/// Calls copy(bytes from the buffer's start, bytes of the packed copy, bytes) for each run of
/// elements that lie together.
template <class Copy>
void for_each_run(const ArrayState& array, const Copy& copy) {
  const TensorDesc& desc = array.desc;
  const std::size_t size = size_of(desc.type);
  if (desc.strides.empty()) return copy(array.offset, std::size_t{0}, desc.bytes());
  const bool has_rows = desc.strides.back() == static_cast<std::int64_t>(size);
  const std::size_t outer = desc.dims.size() - (has_rows ? 1 : 0);
  const std::size_t run = has_rows ? static_cast<std::size_t>(desc.dims.back()) * size : size;
  std::vector<std::int64_t> at(outer, 0);
  for (std::size_t packed = 0;; packed += run) {
    std::size_t offset = array.offset;
    for (std::size_t i = 0; i < outer; ++i)
      offset += static_cast<std::size_t>(at[i] * desc.strides[i]);
    copy(offset, packed, run);
    std::size_t i = outer;
    while (i > 0 && ++at[i - 1] == desc.dims[i - 1]) at[--i] = 0;
    if (i == 0) return;
  }
}

std::size_t leading(const ArrayState& array) {
  return array.kind != ArrayKind::NDARRAY && array.desc.dims[0] == 1 ? 1 : 0;
}

}  // namespace

std::size_t MatrixDescriptor::row_bytes_for_columns(std::int64_t columns, DataType type) {
  if (columns < 0) throw_expected("MatrixDescriptor: columns", "at least 0", columns);
  const auto size = static_cast<std::int64_t>(size_of(type));
  const bool is_float = type == DataType::FLOAT32 || type == DataType::FLOAT16;
  const std::int64_t unit = is_float ? 16 : 4 * size;
  if (columns <= 1) return static_cast<std::size_t>(columns * size);
  const std::int64_t bytes = times("MatrixDescriptor: columns", columns, size);
  return static_cast<std::size_t>((bytes + unit - 1) / unit * unit);
}

ArrayKind Array::kind() const { return state_->kind; }
DataType Array::data_type() const { return state_->desc.type; }

std::vector<std::int64_t> Array::shape() const {
  const auto& dims = state_->desc.dims;
  return {dims.begin() + static_cast<std::ptrdiff_t>(leading(*state_)), dims.end()};
}

std::vector<std::int64_t> Array::strides() const {
  const std::vector<std::int64_t> strides = graph::strides_of(state_->desc);
  return {strides.begin() + static_cast<std::ptrdiff_t>(leading(*state_)), strides.end()};
}

std::size_t Array::offset() const { return state_->offset; }
const Buffer& Array::buffer() const { return state_->buffer; }
Device Array::device() const { return state_->buffer.device(); }
const std::string& Array::label() const { return state_->label; }
void Array::set_label(std::string label) { state_->label = std::move(label); }

std::size_t Array::bytes() const {
  return static_cast<std::size_t>(state_->desc.count()) * size_of(state_->desc.type);
}

void Array::read(void* to, std::size_t bytes) const {
  check_count(*state_, "read", to, bytes);
  runtime::wait_for_maker(*state_->resource());
  for_each_run(*state_, [&](std::size_t offset, std::size_t packed, std::size_t count) {
    state_->buffer.read(offset, static_cast<std::byte*>(to) + packed, count);
  });
}

void Array::write(const void* from, std::size_t bytes) const {
  check_count(*state_, "write", from, bytes);
  runtime::wait_for_users(*state_->resource());
  for_each_run(*state_, [&](std::size_t offset, std::size_t packed, std::size_t count) {
    state_->buffer.write(offset, static_cast<const std::byte*>(from) + packed, count);
  });
  runtime::take_over(*state_->resource());
}

void* Array::data() const {
  runtime::wait_for_maker(*state_->resource());
  auto* const start = static_cast<std::byte*>(state_->buffer.data());
  return start == nullptr ? nullptr : start + state_->offset;
}

Matrix::Matrix(const Device& device, const MatrixDescriptor& descriptor)
    : Array(make(device, ArrayKind::MATRIX, desc_of(descriptor))) {}
Matrix::Matrix(const Buffer& buffer, const MatrixDescriptor& descriptor, std::size_t offset)
    : Array(view(buffer, ArrayKind::MATRIX, desc_of(descriptor), offset)) {}

std::int64_t Matrix::rows() const { return state()->desc.dims[1]; }
std::int64_t Matrix::columns() const { return state()->desc.dims[2]; }
std::int64_t Matrix::matrices() const { return state()->desc.dims[0]; }
std::size_t Matrix::row_bytes() const {
  return static_cast<std::size_t>(graph::strides_of(state()->desc)[1]);
}
std::size_t Matrix::matrix_bytes() const {
  return static_cast<std::size_t>(graph::strides_of(state()->desc)[0]);
}

Vector::Vector(const Device& device, const VectorDescriptor& descriptor)
    : Array(make(device, ArrayKind::VECTOR, desc_of(descriptor))) {}
Vector::Vector(const Buffer& buffer, const VectorDescriptor& descriptor, std::size_t offset)
    : Array(view(buffer, ArrayKind::VECTOR, desc_of(descriptor), offset)) {}

std::int64_t Vector::length() const { return state()->desc.dims[1]; }
std::int64_t Vector::vectors() const { return state()->desc.dims[0]; }
std::size_t Vector::vector_bytes() const {
  return static_cast<std::size_t>(graph::strides_of(state()->desc)[0]);
}

NDArray::NDArray(const Device& device, const NDArrayDescriptor& descriptor)
    : Array(make(device, ArrayKind::NDARRAY, desc_of(descriptor))) {}
NDArray::NDArray(const Buffer& buffer, const NDArrayDescriptor& descriptor, std::size_t offset)
    : Array(view(buffer, ArrayKind::NDARRAY, desc_of(descriptor), offset)) {}

namespace {

void check_dimension(const TensorDesc& desc, const char* what, std::size_t dimension) {
  if (dimension < desc.dims.size()) return;
  throw_expected(str("NDArray: ", what), str("below ", desc.dims.size()), dimension);
}

}  // namespace

NDArray NDArray::transposed(std::size_t first, std::size_t second) const {
  const TensorDesc& desc = state()->desc;
  check_dimension(desc, "transposed: first", first);
  check_dimension(desc, "transposed: second", second);
  NDArrayDescriptor to{desc.dims, desc.type, graph::strides_of(desc)};
  std::swap(to.shape[first], to.shape[second]);
  std::swap(to.strides[first], to.strides[second]);
  return NDArray(buffer(), to, offset());
}

NDArray NDArray::sliced(std::size_t dimension, std::int64_t start, std::int64_t count) const {
  const TensorDesc& desc = state()->desc;
  check_dimension(desc, "sliced: dimension", dimension);
  const std::int64_t extent = desc.dims[dimension];
  if (start < 0 || count < 1 || start > extent - count) {
    throw_expected("NDArray: sliced: start, count", str("a range of ", extent, " elements"),
                   str(start, ", ", count));
  }
  NDArrayDescriptor to{desc.dims, desc.type, graph::strides_of(desc)};
  to.shape[dimension] = count;
  return NDArray(buffer(), to, offset() + static_cast<std::size_t>(start * to.strides[dimension]));
}

}  // namespace mpsnn
