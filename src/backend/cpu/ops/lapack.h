// SPDX-License-Identifier: MIT
// LAPACK and BLAS as the kernels use them: float32, called by their Fortran names, which all
// libraries have. Matrices are in row order here; the library sees their transposes.
#pragma once

#include <cstdint>

#include "backend/backend.h"
#include "base/library.h"

namespace mpsnn::backend::cpu::lapack {

/// Whether this build has a library: no, with the reason, if not.
Fit available();
/// What it is; without a name where there is none.
base::LibraryInfo library();
/// No where an extent or a stride is beyond the library's 32-bit integers.
Fit fits_integers(const KernelQuery& query);

/// A matrix in row order: element (i, j) at data[i * stride + j].
struct Matrix {
  float* data;
  std::int64_t stride;
};

/// P a = L U in place with partial pivoting; pivots[i], counted from 0, is the row that row i was
/// interchanged with. false: an entry of U's diagonal is zero. `scratch` holds rows * columns.
bool factor_lu(const Matrix& a, std::int64_t rows, std::int64_t columns, std::uint32_t* pivots,
               float* scratch);

/// a = L L^T in the lower triangle, or a = U^T U in the upper one, in place. false: a leading minor
/// is not positive. The other triangle is neither read nor written.
bool factor_cholesky(const Matrix& a, std::int64_t n, bool lower);

struct Triangle {
  Matrix matrix;
  bool upper, transpose, unit;  // the triangle that counts; op(A); a diagonal of ones, not read
};

/// x = op(a)^-1 x, or with `right` x = x op(a)^-1; x is (rows, columns).
void solve_triangular(const Triangle& a, bool right, const Matrix& x, std::int64_t rows,
                      std::int64_t columns);

/// y = alpha op(a) x + beta y; a is (rows, columns) before `transpose`. A beta of 0: y is not read.
void multiply_vector(const Matrix& a, std::int64_t rows, std::int64_t columns, bool transpose,
                     float alpha, const float* x, std::int64_t x_step, float beta, float* y,
                     std::int64_t y_step);

}  // namespace mpsnn::backend::cpu::lapack
