// SPDX-License-Identifier: MIT
// Triangular solves, LU and Cholesky factors of one float32 matrix in row order: recursions whose
// work is products of blocks, which are oneDNN's.
#pragma once

#include <cstdint>

namespace mpsnn::backend::cpu {

/// A matrix in memory: element (i, j) at data[i * row + j * column]; one of the two is 1.
struct Block {
  float* data;
  std::int64_t row, column;

  Block at(std::int64_t i, std::int64_t j) const noexcept {
    return {data + i * row + j * column, row, column};
  }
  Block transposed() const noexcept { return {data, column, row}; }
  float& operator()(std::int64_t i, std::int64_t j) const noexcept {
    return data[i * row + j * column];
  }
};

/// c = beta * c + alpha * a * b; a is (m, k), b (k, n), c (m, n) in row order.
void multiply(const Block& a, const Block& b, const Block& c, std::int64_t m, std::int64_t n,
              std::int64_t k, float alpha, float beta);

/// A triangular matrix of which the other triangle is not read; unit: nor is the diagonal, of ones.
struct Triangle {
  Block block;
  bool upper, unit;

  Triangle transposed() const noexcept { return {block.transposed(), !upper, unit}; }
  Triangle at(std::int64_t i) const noexcept { return {block.at(i, i), upper, unit}; }
};

/// x = a^-1 * x, x being (n, columns) in row order.
void solve_left(const Triangle& a, const Block& x, std::int64_t n, std::int64_t columns);
/// x = x * a^-1, x being (rows, n) in row order.
void solve_right(const Triangle& a, const Block& x, std::int64_t rows, std::int64_t n);

/// P a = L U in place with partial pivoting; pivots[i] is the row that row i was interchanged with.
/// false: an entry of U's diagonal is zero.
bool factor_lu(const Block& a, std::int64_t rows, std::int64_t columns, std::uint32_t* pivots);
/// Interchanges rows as the pivots say, or takes that back.
void interchange_rows(const Block& x, std::int64_t columns, const std::uint32_t* pivots,
                      std::int64_t count, bool backwards);

/// a = L L^T in the lower triangle in place. false: a leading minor is not positive. The upper
/// triangle is neither read nor written.
bool factor_cholesky(const Block& a, std::int64_t n);
/// a = U^T U in the upper triangle, the same.
bool factor_cholesky_upper(const Block& a, std::int64_t n);

}  // namespace mpsnn::backend::cpu
