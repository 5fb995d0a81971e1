// SPDX-License-Identifier: MIT
// Where the elements of matrices lie whose rows are contiguous.
#pragma once

#include <cstdint>

#include "backend/backend.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {

/// (matrices, rows, columns), strides in elements. Rows count through all matrices.
struct MatrixLayout {
  std::int64_t matrices, rows, columns, matrix_stride, row_stride;

  explicit MatrixLayout(const TensorDesc& desc)
      : matrices(desc.dims[0]),
        rows(desc.dims[1]),
        columns(desc.dims[2]),
        matrix_stride(rows * columns),
        row_stride(columns) {
    check_internal(desc.dims.size() == 3, "a matrix operand has three dimensions");
    if (desc.strides.empty()) return;
    const auto size = static_cast<std::int64_t>(size_of(desc.type));
    matrix_stride = desc.strides[0] / size;
    row_stride = desc.strides[1] / size;
  }
  std::int64_t all_rows() const noexcept { return matrices * rows; }
  std::int64_t at(std::int64_t row) const noexcept {
    return row / rows * matrix_stride + row % rows * row_stride;
  }
  bool is_dense() const noexcept {
    return (rows == 1 || row_stride == columns) &&
           (matrices == 1 || matrix_stride == rows * columns);
  }
};

/// Whether the elements of each row lie together.
inline bool has_contiguous_rows(const TensorDesc& desc) {
  return desc.strides.empty() || desc.dims.back() == 1 ||
         desc.strides.back() == static_cast<std::int64_t>(size_of(desc.type));
}

/// Yes if operands are float32 matrices with contiguous rows.
inline Fit fits_float32_rows(const KernelQuery& query) {
  for (const auto& operands : {query.inputs, query.outputs}) {
    for (const TensorDesc& desc : operands) {
      if (desc.dims.size() < 3) continue;  // vectors, dense
      if (desc.type != DataType::FLOAT32)
        return Fit::no(str("expected float32, got ", name_of(desc.type)));
      if (!has_contiguous_rows(desc)) return Fit::no("the elements of a row do not lie together");
    }
  }
  return {};
}

}  // namespace mpsnn::backend::cpu
