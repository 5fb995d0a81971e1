// SPDX-License-Identifier: MIT
// lu_decomposition, cholesky_decomposition, triangular_solve, apply_pivots: in place, matrix by
// matrix; a batch of small ones on all threads at once.
#include <algorithm>
#include <exception>
#include <vector>

#include "backend/cpu/ops/dense_algebra.h"
#include "backend/cpu/ops/kernel_tools.h"
#include "backend/cpu/ops/matrix_layout.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/parallel.h"
#include "base/attributes.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

// MatrixDecompositionStatus; its header is above this layer.
constexpr std::int32_t kSuccess = 0, kSingular = -2, kNonPositiveDefinite = -3;

Block block_of(const MatrixLayout& layout, float* data, std::int64_t matrix) {
  return {data + (layout.matrices == 1 ? 0 : matrix * layout.matrix_stride),
          std::max(layout.row_stride, layout.columns), 1};
}

/// Calls fn(matrix) for a batch: one after the other where each fills all threads, otherwise at
/// once. An exception of the library below is thrown when all are done.
template <class Fn>
void for_each_matrix(std::int64_t matrices, std::int64_t order, Fn&& fn) {
  constexpr std::int64_t kLarge = 256;
  if (matrices == 1 || order >= kLarge) {
    for (std::int64_t i = 0; i < matrices; ++i) fn(i);
    return;
  }
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
Fit fits_lu_decomposition_plain(const KernelQuery& query) {
  if (query.inputs[0].type != DataType::FLOAT32) return Fit::no("expected float32");
  return {};
}

std::shared_ptr<Kernel> prepare_lu_decomposition_plain(const KernelQuery& query) {
  const MatrixLayout matrix(query.outputs[0]), pivots(query.outputs[1]);
  return make_kernel([=](const KernelArgs& args) {
    auto* const status = args.output<std::int32_t>(2);
    for_each_matrix(matrix.matrices, std::min(matrix.rows, matrix.columns), [&](std::int64_t i) {
      const bool is_regular =
          factor_lu(block_of(matrix, args.output<float>(0), i), matrix.rows, matrix.columns,
                    args.output<std::uint32_t>(1) + i * pivots.matrix_stride);
      if (status != nullptr) status[i] = is_regular ? kSuccess : kSingular;
    });
  });
}

// matrix -> matrix (in place), status?
Fit fits_cholesky_decomposition_plain(const KernelQuery& query) {
  if (query.inputs[0].type != DataType::FLOAT32) return Fit::no("expected float32");
  return {};
}

std::shared_ptr<Kernel> prepare_cholesky_decomposition_plain(const KernelQuery& query) {
  const MatrixLayout matrix(query.outputs[0]);
  const bool lower = get_bool(query.attributes, "lower");
  return make_kernel([=](const KernelArgs& args) {
    auto* const status = args.output<std::int32_t>(1);
    for_each_matrix(matrix.matrices, matrix.rows, [&](std::int64_t i) {
      const Block block = block_of(matrix, args.output<float>(0), i);
      const bool is_positive =
          lower ? factor_cholesky(block, matrix.rows) : factor_cholesky_upper(block, matrix.rows);
      if (status != nullptr) status[i] = is_positive ? kSuccess : kNonPositiveDefinite;
    });
  });
}

// triangle, right-hand sides -> solution (in place)
Fit fits_triangular_solve_plain(const KernelQuery& query) {
  if (query.inputs[0].type != DataType::FLOAT32) return Fit::no("expected float32");
  return {};
}

std::shared_ptr<Kernel> prepare_triangular_solve_plain(const KernelQuery& query) {
  const MatrixLayout triangle(query.inputs[0]), x(query.outputs[0]);
  const AttributeMap& a = query.attributes;
  const bool right = get_bool(a, "right"), transpose = get_bool(a, "transpose");
  const bool upper = get_bool(a, "upper"), unit = get_bool(a, "unit");
  return make_kernel([=](const KernelArgs& args) {
    for_each_matrix(x.matrices, std::min(x.rows, x.columns), [&](std::int64_t i) {
      float* const data = const_cast<float*>(args.input<float>(0));
      const Triangle given{block_of(triangle, data, i), upper, unit};
      const Triangle own = transpose ? given.transposed() : given;
      const Block block = block_of(x, args.output<float>(0), i);
      if (right) {
        solve_right(own, block, x.rows, x.columns);
      } else {
        solve_left(own, block, x.rows, x.columns);
      }
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
      interchange_rows(block_of(x, args.output<float>(0), i), x.columns, own, pivots.columns,
                       backwards);
    }
  });
}

}  // namespace mpsnn::backend::cpu
