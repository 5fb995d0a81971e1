// SPDX-License-Identifier: MIT
#include "backend/cpu/ops/dense_algebra.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "backend/cpu/parallel.h"
#include "backend/cpu/simd.h"
#include "base/check.h"
#if defined(MPSNN_WITH_ONEDNN)
#include <dnnl.h>
#endif

namespace mpsnn::backend::cpu {
namespace {

constexpr std::int64_t kBase = 32;    // order of the triangles that are not divided further
constexpr std::int64_t kPanel = 16;   // columns that are factored together: one register each row
constexpr std::int64_t kStrip = 512;  // columns of right-hand sides that a thread treats at once

/// The first part of a division: about half, whole registers.
std::int64_t half_of(std::int64_t n, std::int64_t unit) {
  return std::max(unit, n / 2 / unit * unit);
}

MPSNN_SIMD void subtract_product(float factor, const float* x, float* y, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) y[i] -= factor * x[i];
}

MPSNN_SIMD void divide(float* x, float by, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) x[i] /= by;
}

/// x[i] -= sum of a(i, k) x[k], for the rows of a strip.
void solve_left_base(const Triangle& a, const Block& x, std::int64_t n, std::int64_t columns) {
  for (std::int64_t step = 0; step < n; ++step) {
    const std::int64_t i = a.upper ? n - 1 - step : step;
    float* const row = &x(i, 0);
    const std::int64_t first = a.upper ? i + 1 : 0, last = a.upper ? n : i;
    for (std::int64_t k = first; k < last; ++k)
      subtract_product(a.block(i, k), &x(k, 0), row, columns);
    if (!a.unit) divide(row, a.block(i, i), columns);
  }
}

/// Row by row of x: x[j] = (x[j] - sum of x[k] a(k, j)) / a(j, j), column k's part as soon as x[k]
/// is known. The triangle lies in row order, so that its rows are contiguous.
MPSNN_SIMD void solve_right_rows(const float* a, bool upper, bool unit, float* x,
                                 std::int64_t stride, std::int64_t rows, std::int64_t n) {
  for (std::int64_t r = 0; r < rows; ++r, x += stride) {
    for (std::int64_t step = 0; step < n; ++step) {
      const std::int64_t k = upper ? step : n - 1 - step;
      const float* const row = a + k * kBase;
      const float own = unit ? x[k] : x[k] / row[k];
      x[k] = own;
      const std::int64_t first = upper ? k + 1 : 0, last = upper ? n : k;
      MPSNN_IVDEP
      for (std::int64_t j = first; j < last; ++j) x[j] -= own * row[j];
    }
  }
}

}  // namespace

#if defined(MPSNN_WITH_ONEDNN)
void multiply(const Block& a, const Block& b, const Block& c, std::int64_t m, std::int64_t n,
              std::int64_t k, float alpha, float beta) {
  if (m == 0 || n == 0 || k == 0) return;
  const auto order = [](const Block& block) { return block.column == 1 ? 'N' : 'T'; };
  const auto stride = [](const Block& block) { return std::max(block.row, block.column); };
  const dnnl_status_t status = dnnl_sgemm(order(a), order(b), m, n, k, alpha, a.data, stride(a),
                                          b.data, stride(b), beta, c.data, c.row);
  if (status != dnnl_success)
    throw DeviceError(str("dnnl_sgemm failed with status ", static_cast<int>(status)));
}
#else
void multiply(const Block& a, const Block& b, const Block& c, std::int64_t m, std::int64_t n,
              std::int64_t k, float alpha, float beta) {
  parallel_for(m, grain_for(n * k * 4), [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> row(b.column == 1 ? 0 : static_cast<std::size_t>(n));
    for (std::int64_t i = begin; i < end; ++i) {
      float* const to = &c(i, 0);
      if (beta != 1) std::transform(to, to + n, to, [beta](float x) { return beta * x; });
      for (std::int64_t p = 0; p < k; ++p) {
        const float* from = &b(p, 0);
        if (!row.empty()) {
          for (std::int64_t j = 0; j < n; ++j) row[static_cast<std::size_t>(j)] = b(p, j);
          from = row.data();
        }
        subtract_product(-alpha * a(i, p), from, to, n);
      }
    }
  });
}
#endif

void solve_left(const Triangle& a, const Block& x, std::int64_t n, std::int64_t columns) {
  if (n <= kBase) {
    const std::int64_t strips = (columns + kStrip - 1) / kStrip;
    parallel_for(strips, grain_for(n * n * kStrip * 2), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t strip = begin; strip < end; ++strip) {
        const std::int64_t first = strip * kStrip;
        solve_left_base(a, x.at(0, first), n, std::min(kStrip, columns - first));
      }
    });
    return;
  }
  const std::int64_t half = half_of(n, kBase), rest = n - half;
  if (a.upper) {
    solve_left(a.at(half), x.at(half, 0), rest, columns);
    multiply(a.block.at(0, half), x.at(half, 0), x, half, columns, rest, -1, 1);
    solve_left(a, x, half, columns);
  } else {
    solve_left(a, x, half, columns);
    multiply(a.block.at(half, 0), x, x.at(half, 0), rest, columns, half, -1, 1);
    solve_left(a.at(half), x.at(half, 0), rest, columns);
  }
}

void solve_right(const Triangle& a, const Block& x, std::int64_t rows, std::int64_t n) {
  if (n <= kBase) {
    float own[kBase * kBase];
    for (std::int64_t i = 0; i < n; ++i) {
      for (std::int64_t j = 0; j < n; ++j) own[i * kBase + j] = a.block(i, j);
    }
    parallel_for(rows, grain_for(n * n * 2), [&](std::int64_t begin, std::int64_t end) {
      solve_right_rows(own, a.upper, a.unit, &x(begin, 0), x.row, end - begin, n);
    });
    return;
  }
  const std::int64_t half = half_of(n, kBase), rest = n - half;
  if (a.upper) {
    solve_right(a, x, rows, half);
    multiply(x, a.block.at(0, half), x.at(0, half), rows, rest, half, -1, 1);
    solve_right(a.at(half), x.at(0, half), rows, rest);
  } else {
    solve_right(a.at(half), x.at(0, half), rows, rest);
    multiply(x.at(0, half), a.block.at(half, 0), x, rows, half, rest, -1, 1);
    solve_right(a, x, rows, half);
  }
}

void interchange_rows(const Block& x, std::int64_t columns, const std::uint32_t* pivots,
                      std::int64_t count, bool backwards) {
  // By strips, so that the rows of one stay in the cache.
  const std::int64_t strips = (columns + kStrip - 1) / kStrip;
  parallel_for(strips, grain_for(count * kStrip * 8), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t strip = begin; strip < end; ++strip) {
      const std::int64_t first = strip * kStrip, width = std::min(kStrip, columns - first);
      for (std::int64_t step = 0; step < count; ++step) {
        const std::int64_t i = backwards ? count - 1 - step : step;
        if (pivots[i] == i) continue;
        float* const row = &x(i, first);
        std::swap_ranges(row, row + width, &x(pivots[i], first));
      }
    }
  });
}

namespace {

/// Column j of a panel is eliminated below row j; tells where column j + 1 is largest then.
MPSNN_SIMD std::int64_t eliminate(float* panel, std::int64_t rows, std::int64_t j) {
  float pivot[kPanel];
  for (std::int64_t i = 0; i < kPanel; ++i) pivot[i] = i > j ? panel[j * kPanel + i] : 0;
  const float inverse = 1 / panel[j * kPanel + j];
  const std::int64_t next = j + 1 < kPanel ? j + 1 : j;
  float most = -1;
  std::int64_t at = j + 1;
  for (std::int64_t r = j + 1; r < rows; ++r) {
    float* const row = panel + r * kPanel;
    const float factor = row[j] * inverse;
    for (std::int64_t i = 0; i < kPanel; ++i) row[i] -= factor * pivot[i];
    row[j] = factor;
    const float size = std::fabs(row[next]);
    at = size > most ? r : at;
    most = size > most ? size : most;
  }
  return at;
}

/// A panel of at most kPanel columns, factored in contiguous memory.
bool factor_panel(const Block& a, std::int64_t rows, std::int64_t columns, std::uint32_t* pivots,
                  std::vector<float>& memory) {
  memory.assign(static_cast<std::size_t>(rows * kPanel), 0.0F);
  float* const panel = memory.data();
  for (std::int64_t r = 0; r < rows; ++r) std::copy_n(&a(r, 0), columns, panel + r * kPanel);
  std::int64_t most = 0;
  for (std::int64_t r = 1; r < rows; ++r) {
    if (std::fabs(panel[r * kPanel]) > std::fabs(panel[most * kPanel])) most = r;
  }
  bool is_regular = true;
  const std::int64_t count = std::min(rows, columns);
  for (std::int64_t j = 0; j < count; ++j) {
    pivots[j] = static_cast<std::uint32_t>(most);
    if (most != j)
      std::swap_ranges(panel + j * kPanel, panel + (j + 1) * kPanel, panel + most * kPanel);
    if (panel[j * kPanel + j] == 0) {
      // The whole column is zero from here on: nothing to eliminate, but the next pivot is wanted.
      is_regular = false;
      most = j + 1;
      for (std::int64_t r = j + 2; r < rows && j + 1 < count; ++r) {
        if (std::fabs(panel[r * kPanel + j + 1]) > std::fabs(panel[most * kPanel + j + 1]))
          most = r;
      }
      continue;
    }
    most = eliminate(panel, rows, j);
  }
  for (std::int64_t r = 0; r < rows; ++r) std::copy_n(panel + r * kPanel, columns, &a(r, 0));
  return is_regular;
}

bool factor_lu_part(const Block& a, std::int64_t rows, std::int64_t columns, std::uint32_t* pivots,
                    std::vector<float>& memory) {
  if (columns <= kPanel) return factor_panel(a, rows, columns, pivots, memory);
  const std::int64_t half = half_of(columns, kPanel), rest = columns - half;
  bool is_regular = factor_lu_part(a, rows, half, pivots, memory);
  interchange_rows(a.at(0, half), rest, pivots, half, false);
  solve_left({a, false, true}, a.at(0, half), half, rest);
  multiply(a.at(half, 0), a.at(0, half), a.at(half, half), rows - half, rest, half, -1, 1);
  is_regular &= factor_lu_part(a.at(half, half), rows - half, rest, pivots + half, memory);
  const std::int64_t count = std::min(rows - half, rest);
  interchange_rows(a.at(half, 0), half, pivots + half, count, false);
  for (std::int64_t i = 0; i < count; ++i) pivots[half + i] += static_cast<std::uint32_t>(half);
  return is_regular;
}

}  // namespace

bool factor_lu(const Block& a, std::int64_t rows, std::int64_t columns, std::uint32_t* pivots) {
  std::vector<float> memory;
  // What lies right of the square part is solved for once.
  const std::int64_t square = std::min(rows, columns), rest = columns - square;
  const bool is_regular = factor_lu_part(a, rows, square, pivots, memory);
  if (rest > 0) {
    interchange_rows(a.at(0, square), rest, pivots, square, false);
    solve_left({a, false, true}, a.at(0, square), square, rest);
  }
  return is_regular;
}

namespace {

/// The lower triangle of c less that of a * a^T; a is (n, k).
void subtract_square(const Block& a, const Block& c, std::int64_t n, std::int64_t k) {
  constexpr std::int64_t kWhole = 128;  // below, the upper triangle's work is saved for nothing
  if (n <= kWhole) {
    // Into memory of its own: the upper triangle of c is the caller's.
    std::vector<float> square(static_cast<std::size_t>(n * n));
    multiply(a, a.transposed(), {square.data(), n, 1}, n, n, k, 1, 0);
    for (std::int64_t i = 0; i < n; ++i)
      subtract_product(1, square.data() + i * n, &c(i, 0), i + 1);
    return;
  }
  const std::int64_t half = half_of(n, kBase), rest = n - half;
  subtract_square(a, c, half, k);
  multiply(a.at(half, 0), a.transposed(), c.at(half, 0), rest, half, k, -1, 1);
  subtract_square(a.at(half, 0), c.at(half, half), rest, k);
}

bool factor_cholesky_base(const Block& a, std::int64_t n) {
  for (std::int64_t j = 0; j < n; ++j) {
    // Row j of L from the rows above, then the diagonal.
    for (std::int64_t i = 0; i < j; ++i) {
      float sum = a(j, i);
      for (std::int64_t k = 0; k < i; ++k) sum -= a(j, k) * a(i, k);
      a(j, i) = sum / a(i, i);
    }
    float rest = a(j, j);
    for (std::int64_t k = 0; k < j; ++k) rest -= a(j, k) * a(j, k);
    if (!(rest > 0)) return false;
    a(j, j) = std::sqrt(rest);
  }
  return true;
}

}  // namespace

bool factor_cholesky(const Block& a, std::int64_t n) {
  if (n <= kBase) return factor_cholesky_base(a, n);
  const std::int64_t half = half_of(n, kBase), rest = n - half;
  if (!factor_cholesky(a, half)) return false;
  solve_right(Triangle{a, false, false}.transposed(), a.at(half, 0), rest, half);
  subtract_square(a.at(half, 0), a.at(half, half), rest, half);
  return factor_cholesky(a.at(half, half), rest);
}

// In row order U's rows are what L's columns are not: contiguous. The triangle is turned, factored
// and turned back; both take n^2 moves of n^3 / 3 operations.
bool factor_cholesky_upper(const Block& a, std::int64_t n) {
  std::vector<float> memory(static_cast<std::size_t>(n * n), 0.0F);
  const Block lower{memory.data(), n, 1};
  const auto rows = [n](auto&& fn) {
    parallel_for(n, grain_for(n * 8), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) fn(i);
    });
  };
  rows([&](std::int64_t i) {
    for (std::int64_t j = i; j < n; ++j) lower(j, i) = a(i, j);
  });
  const bool is_positive = factor_cholesky(lower, n);
  rows([&](std::int64_t i) {
    for (std::int64_t j = i; j < n; ++j) a(i, j) = lower(j, i);
  });
  return is_positive;
}

}  // namespace mpsnn::backend::cpu
