// SPDX-License-Identifier: MIT
// lu_decomposition, cholesky_decomposition, triangular_solve: LAPACK's, in place, matrix by matrix;
// a batch of them on all threads at once. apply_pivots moves rows.
#include <algorithm>
#include <exception>
#include <vector>

#include "backend/cpu/ops/kernel_tools.h"
#include "backend/cpu/ops/lapack.h"
#include "backend/cpu/ops/matrix_layout.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/parallel.h"
#include "base/attributes.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

// MatrixDecompositionStatus; its header is above this layer.
constexpr std::int32_t kSuccess = 0, kSingular = -2, kNonPositiveDefinite = -3;

lapack::Matrix matrix_of(const MatrixLayout& layout, float* data, std::int64_t matrix) {
  return {data + (layout.matrices == 1 ? 0 : matrix * layout.matrix_stride),
          std::max(layout.row_stride, layout.columns)};
}

Fit fits_lapack(const KernelQuery& query) {
  if (Fit fit = lapack::available(); !fit.yes) return fit;
  if (query.inputs[0].type != DataType::FLOAT32) return Fit::no("expected float32");
  return lapack::fits_integers(query);
}

/// Calls fn(matrix) for a batch, on all threads at once. An exception of the library below is
/// thrown when all are done.
template <class Fn>
void for_each_matrix(std::int64_t matrices, std::int64_t order, Fn&& fn) {
  if (matrices == 1) return fn(0);
  std::vector<std::exception_ptr> failures(static_cast<std::size_t>(matrices));
  parallel_for(matrices, grain_for(order * order * 16), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      try {
        fn(i);
      } catch (...) {
        failures[static_cast<std::size_t>(i)] = std::current_exception();
      }
    }
  });
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

/// Interchanges rows as the pivots say, or takes that back.
void interchange_rows(const lapack::Matrix& x, std::int64_t columns, const std::uint32_t* pivots,
                      std::int64_t count, bool backwards) {
  constexpr std::int64_t kStrip = 512;  // columns whose rows stay in the cache
  const std::int64_t strips = (columns + kStrip - 1) / kStrip;
  parallel_for(strips, grain_for(count * kStrip * 8), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t strip = begin; strip < end; ++strip) {
      const std::int64_t first = strip * kStrip, width = std::min(kStrip, columns - first);
      for (std::int64_t step = 0; step < count; ++step) {
        const std::int64_t i = backwards ? count - 1 - step : step;
        if (pivots[i] == i) continue;
        float* const row = x.data + i * x.stride + first;
        std::swap_ranges(row, row + width, x.data + pivots[i] * x.stride + first);
      }
    }
  });
}

/// Pivots of a row that does not exist would write anywhere.
void check_pivots(const std::uint32_t* pivots, std::int64_t count, std::int64_t rows,
                  std::string_view label) {
  for (std::int64_t i = 0; i < count; ++i) {
    if (pivots[i] < rows) continue;
    throw_expected<DeviceError>(str("\"", label, "\": pivot_indices"), str("rows below ", rows),
                                pivots[i]);
  }
}

}  // namespace

// matrix -> matrix (in place), pivots, status?
Fit fits_lu_decomposition_lapack(const KernelQuery& query) { return fits_lapack(query); }

std::shared_ptr<Kernel> prepare_lu_decomposition_lapack(const KernelQuery& query) {
  const MatrixLayout matrix(query.outputs[0]), pivots(query.outputs[1]);
  const std::int64_t order = std::max(matrix.rows, matrix.columns),
                     size = matrix.rows * matrix.columns;
  const auto body = [=](const KernelArgs& args) {
    auto* const status = args.output<std::int32_t>(2);
    for_each_matrix(matrix.matrices, order, [&](std::int64_t i) {
      const bool is_regular = lapack::factor_lu(
          matrix_of(matrix, args.output<float>(0), i), matrix.rows, matrix.columns,
          args.output<std::uint32_t>(1) + i * pivots.matrix_stride,
          static_cast<float*>(args.scratch) + i * size);
      if (status != nullptr) status[i] = is_regular ? kSuccess : kSingular;
    });
  };
  return make_kernel(body,
                     static_cast<std::size_t>(matrix.all_rows() * matrix.columns) * sizeof(float));
}

// matrix -> matrix (in place), status?
Fit fits_cholesky_decomposition_lapack(const KernelQuery& query) { return fits_lapack(query); }

std::shared_ptr<Kernel> prepare_cholesky_decomposition_lapack(const KernelQuery& query) {
  const MatrixLayout matrix(query.outputs[0]);
  const bool lower = get_bool(query.attributes, "lower");
  return make_kernel([=](const KernelArgs& args) {
    auto* const status = args.output<std::int32_t>(1);
    for_each_matrix(matrix.matrices, matrix.rows, [&](std::int64_t i) {
      const bool is_positive =
          lapack::factor_cholesky(matrix_of(matrix, args.output<float>(0), i), matrix.rows, lower);
      if (status != nullptr) status[i] = is_positive ? kSuccess : kNonPositiveDefinite;
    });
  });
}

// triangle, right-hand sides -> solution (in place)
Fit fits_triangular_solve_lapack(const KernelQuery& query) { return fits_lapack(query); }

std::shared_ptr<Kernel> prepare_triangular_solve_lapack(const KernelQuery& query) {
  const MatrixLayout triangle(query.inputs[0]), x(query.outputs[0]);
  const AttributeMap& a = query.attributes;
  const bool right = get_bool(a, "right"), transpose = get_bool(a, "transpose");
  const bool upper = get_bool(a, "upper"), unit = get_bool(a, "unit");
  return make_kernel([=](const KernelArgs& args) {
    for_each_matrix(x.matrices, std::max(x.rows, x.columns), [&](std::int64_t i) {
      float* const data = const_cast<float*>(args.input<float>(0));
      lapack::solve_triangular({matrix_of(triangle, data, i), upper, transpose, unit}, right,
                               matrix_of(x, args.output<float>(0), i), x.rows, x.columns);
    });
  });
}

// pivots, matrix -> matrix (in place)
Fit fits_apply_pivots_plain(const KernelQuery& query) {
  if (query.outputs[0].type != DataType::FLOAT32) return Fit::no("expected float32");
  return {};
}

std::shared_ptr<Kernel> prepare_apply_pivots_plain(const KernelQuery& query) {
  const MatrixLayout pivots(query.inputs[0]), x(query.outputs[0]);
  const bool backwards = get_bool(query.attributes, "backwards");
  return make_kernel([=, label = std::string(query.label)](const KernelArgs& args) {
    for (std::int64_t i = 0; i < x.matrices; ++i) {
      const std::uint32_t* const own =
          args.input<std::uint32_t>(0) + (pivots.matrices == 1 ? 0 : i * pivots.matrix_stride);
      check_pivots(own, pivots.columns, x.rows, label);
      interchange_rows(matrix_of(x, args.output<float>(0), i), x.columns, own, pivots.columns,
                       backwards);
    }
  });
}

}  // namespace mpsnn::backend::cpu
