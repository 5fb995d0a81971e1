// SPDX-License-Identifier: MIT
#include "backend/cpu/ops/lapack.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

#include "backend/cpu/parallel.h"
#include "base/check.h"

#if defined(MPSNN_WITH_LAPACK)

#define MPSNN_CONCATENATED(a, b, c) a##b##c
#define MPSNN_PREFIXED(prefix, name) MPSNN_CONCATENATED(prefix, name, _)
#define MPSNN_FORTRAN(name) MPSNN_PREFIXED(MPSNN_LAPACK_PREFIX, name)

// Fortran passes the lengths of texts at the end.
extern "C" {
void MPSNN_FORTRAN(sgetrf)(const std::int32_t* m, const std::int32_t* n, float* a,
                           const std::int32_t* lda, std::int32_t* pivots, std::int32_t* info);
void MPSNN_FORTRAN(spotrf)(const char* uplo, const std::int32_t* n, float* a,
                           const std::int32_t* lda, std::int32_t* info, std::size_t);
void MPSNN_FORTRAN(strsm)(const char* side, const char* uplo, const char* transpose,
                          const char* diagonal, const std::int32_t* m, const std::int32_t* n,
                          const float* alpha, const float* a, const std::int32_t* lda, float* b,
                          const std::int32_t* ldb, std::size_t, std::size_t, std::size_t,
                          std::size_t);
void MPSNN_FORTRAN(sgemv)(const char* transpose, const std::int32_t* m, const std::int32_t* n,
                          const float* alpha, const float* a, const std::int32_t* lda,
                          const float* x, const std::int32_t* x_step, const float* beta, float* y,
                          const std::int32_t* y_step, std::size_t);
#if defined(MPSNN_LAPACK_THREADS)
void MPSNN_LAPACK_THREADS(int threads);
#endif
#if defined(MPSNN_LAPACK_CONFIG)
char* MPSNN_LAPACK_CONFIG();
#endif
}

#endif  // MPSNN_WITH_LAPACK

namespace mpsnn::backend::cpu::lapack {

base::LibraryInfo library() {
#if defined(MPSNN_LAPACK_CONFIG)
  // "OpenBLAS 0.3.34  USE64BITINT DYNAMIC_ARCH …"
  const std::string text = MPSNN_LAPACK_CONFIG();
  const std::size_t name = text.find(' '), version = text.find_first_not_of(' ', name);
  if (version == std::string::npos) return {"OpenBLAS", "", text};
  const std::size_t end = text.find(' ', version);
  const std::size_t detail = text.find_first_not_of(' ', end);
  return {text.substr(0, name), text.substr(version, end - version),
          detail == std::string::npos ? "" : text.substr(detail)};
#elif defined(MPSNN_WITH_LAPACK)
  return {"LAPACK", "", "the system's"};
#else
  return {};
#endif
}

Fit fits_integers(const KernelQuery& query) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  for (const auto& operands : {query.inputs, query.outputs}) {
    for (const TensorDesc& desc : operands) {
      const auto is_large = [](std::int64_t extent) { return extent > kMost; };
      if (std::ranges::any_of(desc.dims, is_large) || std::ranges::any_of(desc.strides, is_large))
        return Fit::no("an extent is beyond LAPACK's integers of 32 bits");
    }
  }
  return {};
}

#if defined(MPSNN_WITH_LAPACK)
namespace {

/// The library works on the thread that calls it, and our loops bring the others: its own threads
/// and ours wait by asking again and again, and would take each other's processors for
/// milliseconds. Once: the setting is the whole process's.
void settle_threads() {
#if defined(MPSNN_LAPACK_THREADS)
  static const bool is_settled = [] {
    MPSNN_LAPACK_THREADS(1);
    return true;
  }();
  static_cast<void>(is_settled);
#endif
}

std::int32_t narrow(std::int64_t value) noexcept { return static_cast<std::int32_t>(value); }

/// Leading dimensions are 1 at least, also of empty matrices.
std::int32_t leading(const Matrix& matrix) noexcept {
  return narrow(std::max<std::int64_t>(1, matrix.stride));
}

/// to(j, i) = from(i, j).
void transpose(const Matrix& from, const Matrix& to, std::int64_t rows, std::int64_t columns) {
  constexpr std::int64_t kTile = 16;  // a line of the cache each way
  const std::int64_t tiles = (columns + kTile - 1) / kTile;
  parallel_for(tiles, grain_for(kTile * rows * 8), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t first = begin * kTile; first < std::min(end * kTile, columns);
         first += kTile) {
      const std::int64_t last = std::min(first + kTile, columns);
      for (std::int64_t top = 0; top < rows; top += kTile) {
        const std::int64_t bottom = std::min(top + kTile, rows);
        for (std::int64_t j = first; j < last; ++j) {
          for (std::int64_t i = top; i < bottom; ++i)
            to.data[j * to.stride + i] = from.data[i * from.stride + j];
        }
      }
    }
  });
}

}  // namespace

Fit available() { return {}; }

bool factor_lu(const Matrix& a, std::int64_t rows, std::int64_t columns, std::uint32_t* pivots,
               float* scratch) {
  settle_threads();
  // Pivoting tells rows from columns, so that the library must see the matrix itself.
  const Matrix turned{scratch, rows};
  transpose(a, turned, rows, columns);
  const std::int32_t m = narrow(rows), n = narrow(columns), stride = leading(turned);
  std::int32_t info = 0;
  MPSNN_FORTRAN(sgetrf)
  (&m, &n, turned.data, &stride, reinterpret_cast<std::int32_t*>(pivots), &info);
  check_internal(info >= 0, str("sgetrf: argument ", -info));
  for (std::int64_t i = 0; i < std::min(rows, columns); ++i) --pivots[i];
  transpose(turned, a, columns, rows);
  return info == 0;
}

bool factor_cholesky(const Matrix& a, std::int64_t n, bool lower) {
  settle_threads();
  const std::int32_t order = narrow(n), stride = leading(a);
  std::int32_t info = 0;
  MPSNN_FORTRAN(spotrf)(lower ? "U" : "L", &order, a.data, &stride, &info, 1);
  check_internal(info >= 0, str("spotrf: argument ", -info));
  if (info != 0) return false;
  // Not every library takes NaN for what it is.
  for (std::int64_t i = 0; i < n; ++i) {
    if (std::isnan(a.data[i * (a.stride + 1)])) return false;
  }
  return true;
}

void solve_triangular(const Triangle& a, bool right, const Matrix& x, std::int64_t rows,
                      std::int64_t columns) {
  settle_threads();
  // Of transposes: X^T op(A)^T = B^T, and the library's A is our A^T.
  const std::int32_t a_stride = leading(a.matrix), x_stride = leading(x);
  const float one = 1;
  // The other side's columns, or rows, are solved each by itself: strips of them on all threads.
  constexpr std::int64_t kStrip = 64;
  const std::int64_t sides = right ? rows : columns, order = right ? columns : rows;
  const auto solve = [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t strip = begin; strip < end; ++strip) {
      const std::int64_t first = strip * kStrip, count = std::min(kStrip, sides - first);
      const std::int32_t m = narrow(right ? order : count), n = narrow(right ? count : order);
      float* const part = x.data + first * (right ? x.stride : 1);
      MPSNN_FORTRAN(strsm)
      (right ? "L" : "R", a.upper ? "L" : "U", a.transpose ? "T" : "N", a.unit ? "U" : "N", &m, &n,
       &one, a.matrix.data, &a_stride, part, &x_stride, 1, 1, 1, 1);
    }
  };
  parallel_for((sides + kStrip - 1) / kStrip, grain_for(kStrip * order * order / 4), solve);
}

void multiply_vector(const Matrix& a, std::int64_t rows, std::int64_t columns, bool transpose,
                     float alpha, const float* x, std::int64_t x_step, float beta, float* y,
                     std::int64_t y_step) {
  settle_threads();
  if (beta == 0) {
    // Some libraries multiply what is there, NaN included, by 0.
    for (std::int64_t i = 0; i < (transpose ? columns : rows); ++i) y[i * y_step] = 0;
  }
  constexpr std::int64_t kPart = 64;  // of y, always the same ones in one call: so are the sums
  const std::int64_t results = transpose ? columns : rows, terms = transpose ? rows : columns;
  const std::int32_t stride = leading(a), from_step = narrow(x_step), to_step = narrow(y_step);
  const auto multiply = [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t part = begin; part < end; ++part) {
      const std::int64_t first = part * kPart, count = std::min(kPart, results - first);
      const std::int32_t m = narrow(transpose ? count : columns),
                         n = narrow(transpose ? rows : count);
      MPSNN_FORTRAN(sgemv)
      (transpose ? "N" : "T", &m, &n, &alpha, a.data + first * (transpose ? 1 : a.stride), &stride,
       x, &from_step, &beta, y + first * y_step, &to_step, 1);
    }
  };
  parallel_for((results + kPart - 1) / kPart, grain_for(kPart * terms * 4), multiply);
}
#else

Fit available() { return Fit::no("this build has no LAPACK (CMake's option MPSNN_LAPACK)"); }

namespace {

[[noreturn]] void refuse() {
  throw InternalError("mpsnn broke its own rule: a build without LAPACK prepares no such kernel");
}

}  // namespace

bool factor_lu(const Matrix&, std::int64_t, std::int64_t, std::uint32_t*, float*) { refuse(); }
bool factor_cholesky(const Matrix&, std::int64_t, bool) { refuse(); }
void solve_triangular(const Triangle&, bool, const Matrix&, std::int64_t, std::int64_t) {
  refuse();
}
void multiply_vector(const Matrix&, std::int64_t, std::int64_t, bool, float, const float*,
                     std::int64_t, float, float*, std::int64_t) {
  refuse();
}
#endif

}  // namespace mpsnn::backend::cpu::lapack
