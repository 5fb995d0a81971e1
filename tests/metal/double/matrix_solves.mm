// SPDX-License-Identifier: MIT
// Factors of matrices, and what they solve. Work is in double, from the textbook's formulas.
#include <cmath>

#include "matrices.h"

namespace {

constexpr std::int32_t kSuccess = 0, kSingular = -2, kNonPositiveDefinite = -3;

void check_status(const char* kernel, id<MTLBuffer> status) {
  if (status != nil && [status length] < sizeof(std::int32_t))
    refuse(kernel, "the buffer is too small for the status");
}

void write_status(id<MTLBuffer> status, std::int32_t value) {
  if (status != nil) std::memcpy([status contents], &value, sizeof value);
}

/// A square or rectangular matrix in double.
struct Work {
  Work(const Elements& from, NSUInteger rows, NSUInteger columns)
      : columns_(columns), values(rows * columns) {
    for (NSUInteger i = 0; i < rows; ++i)
      for (NSUInteger j = 0; j < columns; ++j) (*this)(i, j) = from.at(i, j);
  }
  double& operator()(NSUInteger i, NSUInteger j) { return values[i * columns_ + j]; }
  void write(const Elements& to) const {
    for (NSUInteger i = 0; i < values.size(); ++i) to.set(i / columns_, i % columns_, values[i]);
  }
  NSUInteger columns_;
  std::vector<double> values;
};

void swap_rows(Work& work, NSUInteger a, NSUInteger b) {
  for (NSUInteger j = 0; j < work.columns_; ++j) std::swap(work(a, j), work(b, j));
}

bool factor_lu(Work& a, NSUInteger rows, NSUInteger columns, const Elements& pivots) {
  bool regular = true;
  for (NSUInteger k = 0; k < std::min(rows, columns); ++k) {
    NSUInteger pivot = k;
    for (NSUInteger i = k + 1; i < rows; ++i)
      if (std::fabs(a(i, k)) > std::fabs(a(pivot, k))) pivot = i;
    pivots.set(0, k, static_cast<double>(pivot));
    if (a(pivot, k) == 0) {
      regular = false;
      continue;
    }
    swap_rows(a, k, pivot);
    for (NSUInteger i = k + 1; i < rows; ++i) {
      a(i, k) /= a(k, k);
      for (NSUInteger j = k + 1; j < columns; ++j) a(i, j) -= a(i, k) * a(k, j);
    }
  }
  return regular;
}

/// Solves T x = b, T(i, j) being the triangle's element as it is to be used.
template <class T>
void solve(T&& triangle, bool upper, bool unit, NSUInteger order, double* x, NSUInteger step) {
  for (NSUInteger n = 0; n < order; ++n) {
    const NSUInteger i = upper ? order - 1 - n : n;
    double sum = x[i * step];
    for (NSUInteger j = upper ? i + 1 : 0; j < (upper ? order : i); ++j)
      sum -= triangle(i, j) * x[j * step];
    x[i * step] = unit ? sum : sum / triangle(i, i);
  }
}

}  // namespace

@implementation MPSMatrixDecompositionLU
- (instancetype)initWithDevice:(id<MTLDevice>)device
                          rows:(NSUInteger)rows
                       columns:(NSUInteger)columns {
  self = [super initWithDevice:device];
  rows_ = rows;
  columns_ = columns;
  return self;
}
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                 sourceMatrix:(MPSMatrix*)sourceMatrix
                 resultMatrix:(MPSMatrix*)resultMatrix
                 pivotIndices:(MPSMatrix*)pivotIndices
                       status:(id<MTLBuffer>)status {
  const Elements source(sourceMatrix), result(resultMatrix), pivots(pivotIndices);
  const char* name = "MPSMatrixDecompositionLU";
  want(name, "the source", source, rows_, columns_);
  want(name, "the result", result, rows_, columns_);
  want(name, "the pivots", pivots, 1, std::min(rows_, columns_));
  if (pivots.type() != MPSDataTypeUInt32) refuse(name, "pivots are UInt32");
  check_status(name, status);
  const NSUInteger rows = rows_, columns = columns_;
  const Ref<id<MTLBuffer>> to(status);
  record(commandBuffer, [=] {
    Work work(source, rows, columns);
    const bool regular = factor_lu(work, rows, columns, pivots);
    work.write(result);
    write_status(to, regular ? kSuccess : kSingular);
  });
}
@end

@implementation MPSMatrixDecompositionCholesky
- (instancetype)initWithDevice:(id<MTLDevice>)device lower:(BOOL)lower order:(NSUInteger)order {
  self = [super initWithDevice:device];
  lower_ = lower;
  order_ = order;
  return self;
}
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                 sourceMatrix:(MPSMatrix*)sourceMatrix
                 resultMatrix:(MPSMatrix*)resultMatrix
                       status:(id<MTLBuffer>)status {
  const Elements source(sourceMatrix), result(resultMatrix);
  want("MPSMatrixDecompositionCholesky", "the source", source, order_, order_);
  want("MPSMatrixDecompositionCholesky", "the result", result, order_, order_);
  check_status("MPSMatrixDecompositionCholesky", status);
  const NSUInteger order = order_;
  const BOOL lower = lower_;
  const Ref<id<MTLBuffer>> to(status);
  record(commandBuffer, [=] {
    Work work(source, order, order);
    const auto at = [&](NSUInteger i, NSUInteger j) -> double& {
      return lower ? work(i, j) : work(j, i);
    };
    std::int32_t outcome = kSuccess;
    for (NSUInteger j = 0; j < order && outcome == kSuccess; ++j) {
      double sum = at(j, j);
      for (NSUInteger k = 0; k < j; ++k) sum -= at(j, k) * at(j, k);
      if (!(sum > 0)) outcome = kNonPositiveDefinite;
      at(j, j) = std::sqrt(sum);
      for (NSUInteger i = j + 1; i < order; ++i) {
        double rest = at(i, j);
        for (NSUInteger k = 0; k < j; ++k) rest -= at(i, k) * at(j, k);
        at(i, j) = rest / at(j, j);
      }
    }
    work.write(result);
    write_status(to, outcome);
  });
}
@end

@implementation MPSMatrixSolveTriangular
- (instancetype)initWithDevice:(id<MTLDevice>)device
                         right:(BOOL)right
                         upper:(BOOL)upper
                     transpose:(BOOL)transpose
                          unit:(BOOL)unit
                         order:(NSUInteger)order
        numberOfRightHandSides:(NSUInteger)numberOfRightHandSides
                         alpha:(double)alpha {
  self = [super initWithDevice:device];
  right_ = right;
  upper_ = upper;
  transpose_ = transpose;
  unit_ = unit;
  order_ = order;
  sides_ = numberOfRightHandSides;
  alpha_ = alpha;
  return self;
}
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                 sourceMatrix:(MPSMatrix*)sourceMatrix
          rightHandSideMatrix:(MPSMatrix*)rightHandSideMatrix
               solutionMatrix:(MPSMatrix*)solutionMatrix {
  const Elements source(sourceMatrix), sides(rightHandSideMatrix), solution(solutionMatrix);
  const char* name = "MPSMatrixSolveTriangular";
  const NSUInteger rows = right_ ? sides_ : order_, columns = right_ ? order_ : sides_;
  want(name, "the source", source, order_, order_);
  want(name, "the right-hand side", sides, rows, columns);
  want(name, "the solution", solution, rows, columns);
  const NSUInteger order = order_, count = sides_;
  const double alpha = alpha_;
  // X op(A) = B is op(A)^T X^T = B^T.
  const bool turns = (transpose_ != NO) != (right_ != NO), unit = unit_;
  const bool upper = (upper_ != NO) != turns, right = right_;
  record(commandBuffer, [=] {
    Work work(sides, rows, columns);
    for (double& value : work.values) value *= alpha;
    const auto triangle = [&](NSUInteger i, NSUInteger j) {
      return turns ? source.at(j, i) : source.at(i, j);
    };
    for (NSUInteger n = 0; n < count; ++n) {
      double* x = right ? &work(n, 0) : &work(0, n);
      solve(triangle, upper, unit, order, x, right ? 1 : columns);
    }
    work.write(solution);
  });
}
@end

@implementation MPSMatrixSolveLU
- (instancetype)initWithDevice:(id<MTLDevice>)device
                     transpose:(BOOL)transpose
                         order:(NSUInteger)order
        numberOfRightHandSides:(NSUInteger)numberOfRightHandSides {
  if (transpose) refuse("MPSMatrixSolveLU", "the double does not transpose");
  self = [super initWithDevice:device];
  order_ = order;
  sides_ = numberOfRightHandSides;
  return self;
}
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                 sourceMatrix:(MPSMatrix*)sourceMatrix
          rightHandSideMatrix:(MPSMatrix*)rightHandSideMatrix
                 pivotIndices:(MPSMatrix*)pivotIndices
               solutionMatrix:(MPSMatrix*)solutionMatrix {
  const Elements source(sourceMatrix), sides(rightHandSideMatrix), pivots(pivotIndices),
      solution(solutionMatrix);
  const char* name = "MPSMatrixSolveLU";
  want(name, "the source", source, order_, order_);
  want(name, "the right-hand side", sides, order_, sides_);
  want(name, "the solution", solution, order_, sides_);
  want(name, "the pivots", pivots, 1, order_);
  if (pivots.type() != MPSDataTypeUInt32) refuse(name, "pivots are UInt32");
  const NSUInteger order = order_, count = sides_;
  record(commandBuffer, [=] {
    Work work(sides, order, count);
    for (NSUInteger k = 0; k < order; ++k)
      swap_rows(work, k, static_cast<NSUInteger>(pivots.at(k)));
    const auto factors = [&](NSUInteger i, NSUInteger j) { return source.at(i, j); };
    for (NSUInteger n = 0; n < count; ++n) {
      solve(factors, false, true, order, &work(0, n), count);
      solve(factors, true, false, order, &work(0, n), count);
    }
    work.write(solution);
  });
}
@end
