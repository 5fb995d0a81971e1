// SPDX-License-Identifier: MIT
#include "backend/cpu/ops/reduction.h"

#include <algorithm>
#include <span>

#include "backend/cpu/parallel.h"
#include "backend/cpu/simd.h"

namespace mpsnn::backend::cpu {
namespace {

constexpr std::int64_t kBlocks = 16;
constexpr std::int64_t kMinWidth = 64;  // doubles: eight registers of AVX-512

MPSNN_SIMD void add_rows(const float* rows, std::int64_t count, std::int64_t width, double* sums) {
  for (std::int64_t r = 0; r < count; ++r, rows += width) {
    MPSNN_IVDEP
    for (std::int64_t i = 0; i < width; ++i) sums[i] += static_cast<double>(rows[i]);
  }
}

}  // namespace

ColumnSum::ColumnSum(std::int64_t rows, std::int64_t columns)
    : rows_(rows),
      columns_(columns),
      fold_(std::max<std::int64_t>(1, kMinWidth / std::max<std::int64_t>(columns, 1))),
      blocks_(std::clamp<std::int64_t>(rows / fold_, 1, kBlocks)) {}

std::size_t ColumnSum::scratch_bytes() const noexcept {
  return static_cast<std::size_t>(blocks_ * fold_ * columns_) * sizeof(double);
}

void ColumnSum::run(const float* matrix, float scale, float* out, void* scratch) const {
  double* const sums = static_cast<double*>(scratch);
  const std::int64_t width = fold_ * columns_;
  parallel_for(blocks_, grain_for(rows_ / blocks_ * columns_ * 4),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t block = begin; block < end; ++block) {
                   const std::int64_t first = rows_ * block / blocks_,
                                      count = rows_ * (block + 1) / blocks_ - first;
                   const float* rows = matrix + first * columns_;
                   double* const own = sums + block * width;
                   std::fill_n(own, width, 0.0);
                   add_rows(rows, count / fold_, width, own);
                   add_rows(rows + count / fold_ * width, 1, count % fold_ * columns_, own);
                 }
               });
  for (std::int64_t c = 0; c < columns_; ++c) {
    double total = 0;
    for (std::int64_t i = 0; i < blocks_ * fold_; ++i) total += sums[i * columns_ + c];
    out[c] = static_cast<float>(scale * total);
  }
}

double sum_of(const float* values, std::int64_t count) {
  double sums[kMinWidth] = {};
  add_rows(values, count / kMinWidth, kMinWidth, sums);
  add_rows(values + count / kMinWidth * kMinWidth, 1, count % kMinWidth, sums);
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

}  // namespace mpsnn::backend::cpu
