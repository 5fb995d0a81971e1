// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>

namespace mpsnn::backend::cpu {

/// Sums over the rows of a matrix, in double and in an order that depends on the sizes only.
class ColumnSum {
 public:
  ColumnSum() = default;
  ColumnSum(std::int64_t rows, std::int64_t columns);
  std::size_t scratch_bytes() const noexcept;
  /// out[c] = scale * sum over r of matrix[r * columns + c].
  void run(const float* matrix, float scale, float* out, void* scratch) const;

 private:
  std::int64_t rows_ = 0, columns_ = 0;
  std::int64_t fold_ = 1;  // rows that are added side by side, so that narrow ones fill a register
  std::int64_t blocks_ = 1;  // parts that are summed at once
};

/// Sum of an array, in double and in a fixed order.
double sum_of(const float* values, std::int64_t count);

}  // namespace mpsnn::backend::cpu
