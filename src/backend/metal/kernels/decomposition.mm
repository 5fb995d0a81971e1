// SPDX-License-Identifier: MIT
// Factors of matrices and what they solve, matrix by matrix.
#include <algorithm>
#include <cstring>
#include <numeric>

#include "backend/metal/kernels.h"
#include "base/attributes.h"
#include "mpsnn/error.h"

namespace mpsnn::backend::metal {
namespace {

std::optional<StridedCopy> status_copy() {
  const TensorDesc one{DataType::INT32, {1}, nullptr};
  return StridedCopy::between(one, one);
}

/// MPS writes a status to the start of a buffer: one for each matrix, copied to its place then.
class Statuses {
 public:
  explicit Statuses(const Site& site)
      : buffer_([site.device() newBufferWithLength:sizeof(std::int32_t)
                                           options:MTLResourceStorageModeShared]) {
    if (!buffer_) fail_on_device("status", "the device has no memory left");
  }
  id<MTLBuffer> buffer() const noexcept { return buffer_.get(); }
  void copy(const Site& site, const StridedCopy& copy, std::byte* statuses, std::size_t i) const {
    copy.encode(site, {buffer_, 0}, site.range(statuses + i * sizeof(std::int32_t)));
  }

 private:
  Owned<id<MTLBuffer>> buffer_;
};

}  // namespace

// matrix -> matrix (in place), pivots, status?
Fit fits_lu_decomposition(const KernelQuery& query) {
  const auto view = view_of(query.outputs[0]);
  if (query.outputs[0].type != DataType::FLOAT32 || !view || view->is_transposed)
    return Fit::no("expected rows of float32, got " + mpsnn::to_string(query.outputs[0]));
  return {};
}

std::shared_ptr<Kernel> prepare_lu_decomposition(const KernelQuery& query) {
  const MatrixView matrix = *view_of(query.outputs[0]), pivots = *view_of(query.outputs[1]);
  const Lazy<MPSMatrixDecompositionLU*> kernel([=](id<MTLDevice> device) {
    return [[MPSMatrixDecompositionLU alloc] initWithDevice:device
                                                       rows:matrix.rows
                                                    columns:matrix.columns];
  });
  return make_single(query, [=, copy = *status_copy()](const Site& site) {
    for (std::size_t i = 0; i < matrix.matrices(); ++i) {
      const Statuses status(site);
      MPSMatrix* own = site.matrix(site.output(0), matrix, i);
      [kernel.on(site) encodeToCommandBuffer:site.commands()
                                sourceMatrix:own
                                resultMatrix:own
                                pivotIndices:site.matrix(site.output(1), pivots, i)
                                      status:status.buffer()];
      if (site.output(2) != nullptr) status.copy(site, copy, site.output(2), i);
    }
  });
}

// matrix -> matrix (in place), status?
Fit fits_cholesky_decomposition(const KernelQuery& query) { return fits_lu_decomposition(query); }

std::shared_ptr<Kernel> prepare_cholesky_decomposition(const KernelQuery& query) {
  const MatrixView matrix = *view_of(query.outputs[0]);
  const bool lower = get_bool(query.attributes, "lower");
  const Lazy<MPSMatrixDecompositionCholesky*> kernel([=](id<MTLDevice> device) {
    return [[MPSMatrixDecompositionCholesky alloc] initWithDevice:device
                                                            lower:lower
                                                            order:matrix.rows];
  });
  return make_single(query, [=, copy = *status_copy()](const Site& site) {
    for (std::size_t i = 0; i < matrix.matrices(); ++i) {
      const Statuses status(site);
      MPSMatrix* own = site.matrix(site.output(0), matrix, i);
      [kernel.on(site) encodeToCommandBuffer:site.commands()
                                sourceMatrix:own
                                resultMatrix:own
                                      status:status.buffer()];
      if (site.output(1) != nullptr) status.copy(site, copy, site.output(1), i);
    }
  });
}

// triangle, right-hand sides -> solution (in place). Apple's header does not say that MPS solves in
// place: a copy of the right-hand sides is given.
Fit fits_triangular_solve(const KernelQuery& query) { return float32_rows(query); }

std::shared_ptr<Kernel> prepare_triangular_solve(const KernelQuery& query) {
  const TensorDesc& x = query.outputs[0];
  const TensorDesc sides = dense(x);
  const AttributeMap& a = query.attributes;
  const bool right = get_bool(a, "right"), upper = get_bool(a, "upper"),
             transpose = get_bool(a, "transpose"), unit = get_bool(a, "unit");
  const std::span<const std::int64_t> batch(x.dims.data(), x.dims.size() - 2);
  const MatrixView triangle = *view_of(query.inputs[0], batch), solution = *view_of(x),
                   given = *view_of(sides);
  const Lazy<MPSMatrixSolveTriangular*> kernel([=](id<MTLDevice> device) {
    return [[MPSMatrixSolveTriangular alloc] initWithDevice:device
                                                      right:right
                                                      upper:upper
                                                  transpose:transpose
                                                       unit:unit
                                                      order:right ? solution.columns : solution.rows
                                     numberOfRightHandSides:right ? solution.rows : solution.columns
                                                      alpha:1];
  });
  const StridedCopy copy = *StridedCopy::between(x, sides);
  const auto encode = [=](const Site& site) {
    copy.encode(site, site.range(site.output(0)), site.range(site.scratch()));
    for (std::size_t i = 0; i < solution.matrices(); ++i) {
      [kernel.on(site) encodeToCommandBuffer:site.commands()
                                sourceMatrix:site.matrix(site.input(0), triangle, i)
                         rightHandSideMatrix:site.matrix(site.scratch(), given, i)
                              solutionMatrix:site.matrix(site.output(0), solution, i)];
    }
  };
  return make_single(query, encode, sides.bytes());
}

// pivots, matrix -> matrix (in place). MPS interchanges rows where it solves: by the factors of the
// identity nothing else happens.
namespace {

/// Pivots of a row that does not exist would read anywhere.
void check_pivots(const Site& site, const MatrixView& pivots, std::size_t i, NSUInteger rows,
                  std::string_view label) {
  const auto* own = reinterpret_cast<const std::uint32_t*>(site.input(0) + pivots.offsets[i]);
  for (NSUInteger k = 0; k < pivots.columns; ++k) {
    if (own[k] < rows) continue;
    throw_expected<DeviceError>(str("\"", label, "\": pivot_indices"), str("rows below ", rows),
                                own[k]);
  }
}

/// Where each row comes from when the interchanges are taken back, the last first.
std::vector<std::uint32_t> rows_taken_back(const Site& site, const MatrixView& pivots,
                                           std::size_t i, NSUInteger rows) {
  const auto* own = reinterpret_cast<const std::uint32_t*>(site.input(0) + pivots.offsets[i]);
  std::vector<std::uint32_t> from(rows);
  std::iota(from.begin(), from.end(), 0U);
  for (NSUInteger k = pivots.columns; k-- > 0;) std::swap(from[k], from[own[k]]);
  return from;
}

/// MPSMatrixSolveLU's header does not say what a transpose makes of its pivots: rows are copied.
std::shared_ptr<Kernel> prepare_pivots_taken_back(const KernelQuery& query) {
  const TensorDesc& x = query.outputs[0];
  const TensorDesc sides = dense(x);
  const std::span<const std::int64_t> batch(x.dims.data(), x.dims.size() - 2);
  const MatrixView pivots = *view_of(query.inputs[0], batch), result = *view_of(x),
                   given = *view_of(sides);
  const Lazy<MPSMatrixCopy*> kernel([=](id<MTLDevice> device) {
    return [[MPSMatrixCopy alloc] initWithDevice:device
                                        copyRows:1
                                     copyColumns:result.columns
                            sourcesAreTransposed:NO
                       destinationsAreTransposed:NO];
  });
  const StridedCopy copy = *StridedCopy::between(x, sides);
  const auto encode = [=, label = std::string(query.label)](const Site& site) {
    if (!site.settle()) return;
    copy.encode(site, site.range(site.output(0)), site.range(site.scratch()));
    for (std::size_t i = 0; i < result.matrices(); ++i) {
      check_pivots(site, pivots, i, result.rows, label);
      const std::vector<std::uint32_t> from = rows_taken_back(site, pivots, i, result.rows);
      MPSMatrixCopyDescriptor* copies =
          [[[MPSMatrixCopyDescriptor alloc] initWithDevice:site.device()
                                                     count:result.rows] autorelease];
      for (std::uint32_t row = 0; row < from.size(); ++row) {
        [copies setCopyOperationAtIndex:row
                           sourceMatrix:site.matrix(site.scratch(), given, i)
                      destinationMatrix:site.matrix(site.output(0), result, i)
                                offsets:MPSMatrixCopyOffsets{from[row], 0, row, 0}];
      }
      [kernel.on(site) encodeToCommandBuffer:site.commands() copyDescriptor:copies];
    }
  };
  return make_single(query, encode, sides.bytes());
}

id<MTLBuffer> make_identity(id<MTLDevice> device, NSUInteger order) {
  id<MTLBuffer> made = make_constant(device, DataType::FLOAT32, 0, order * order);
  for (NSUInteger k = 0; k < order; ++k) static_cast<float*>([made contents])[k * (order + 1)] = 1;
  return made;
}

}  // namespace

Fit fits_apply_pivots(const KernelQuery& query) { return fits_lu_decomposition(query); }

std::shared_ptr<Kernel> prepare_apply_pivots(const KernelQuery& query) {
  if (get_bool(query.attributes, "backwards")) return prepare_pivots_taken_back(query);
  const TensorDesc& x = query.outputs[0];
  const TensorDesc sides = dense(x);
  const std::span<const std::int64_t> batch(x.dims.data(), x.dims.size() - 2);
  const MatrixView pivots = *view_of(query.inputs[0], batch), result = *view_of(x),
                   given = *view_of(sides);
  const MatrixView square =
      rows_of({DataType::FLOAT32, {x.dims[x.dims.size() - 2], x.dims[x.dims.size() - 2]}, nullptr});
  const Lazy<MPSMatrixSolveLU*> kernel([=](id<MTLDevice> device) {
    return [[MPSMatrixSolveLU alloc] initWithDevice:device
                                          transpose:NO
                                              order:result.rows
                             numberOfRightHandSides:result.columns];
  });
  const Lazy<id<MTLBuffer>> identity(
      [=](id<MTLDevice> device) { return make_identity(device, result.rows); });
  const StridedCopy copy = *StridedCopy::between(x, sides);
  const auto encode = [=, label = std::string(query.label)](const Site& site) {
    if (!site.settle()) return;
    const BufferRange factors{Owned<id<MTLBuffer>>::retained(identity.on(site)), 0};
    copy.encode(site, site.range(site.output(0)), site.range(site.scratch()));
    for (std::size_t i = 0; i < result.matrices(); ++i) {
      check_pivots(site, pivots, i, result.rows, label);
      [kernel.on(site) encodeToCommandBuffer:site.commands()
                                sourceMatrix:Site::matrix_at(factors, square)
                         rightHandSideMatrix:site.matrix(site.scratch(), given, i)
                                pivotIndices:site.matrix(site.input(0), pivots, i)
                              solutionMatrix:site.matrix(site.output(0), result, i)];
    }
  };
  return make_single(query, encode, sides.bytes());
}

}  // namespace mpsnn::backend::metal
