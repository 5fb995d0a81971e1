// SPDX-License-Identifier: MIT
// Operands whose size is 1 along some dimensions, and sums over the dimensions along which an
// operand was broadcast.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "backend/cpu/ops/kernel_tools.h"
#include "backend/cpu/parallel.h"

namespace mpsnn::backend::cpu {

/// Floats from one position to the next of each dimension; 0 where the operand is broadcast.
using Strides = std::array<std::int64_t, 4>;

/// Steps from element to element of each operand: 1, or 0 where one value serves all.
struct Steps {
  std::int64_t primary, secondary;
};

/// Two operands and the size of their result.
struct Broadcast {
  ImageSize size;
  Strides primary, secondary;

  Broadcast(const TensorDesc& p, const TensorDesc& s, const TensorDesc& result);
  std::int64_t rows() const noexcept { return size.n * size.height; }
  std::int64_t row_size() const noexcept { return size.width * size.channels; }
  /// A row is one run where both operands step through columns as through channels.
  bool rows_are_runs() const noexcept {
    const auto steady = [&](const Strides& s) {
      return s[2] == s[3] * size.channels || size.width == 1;
    };
    return steady(primary) && steady(secondary);
  }

  const float* primary_row(const float* p, std::int64_t row) const noexcept {
    return p + row / size.height * primary[0] + row % size.height * primary[1];
  }
  const float* secondary_row(const float* s, std::int64_t row) const noexcept {
    return s + row / size.height * secondary[0] + row % size.height * secondary[1];
  }

  /// Calls run(p, s, steps, out, count) for the runs of a row of the result, which goes to `out`.
  /// p and s: the operands' rows.
  template <class Run>
  void each_run(const float* p, const float* s, float* out, Run&& run) const {
    const Steps steps = {primary[3], secondary[3]};
    if (rows_are_runs()) return run(p, s, steps, out, row_size());
    for (std::int64_t x = 0; x < size.width; ++x) {
      run(p + x * primary[2], s + x * secondary[2], steps, out + x * size.channels, size.channels);
    }
  }
};

/// Yes if each dimension of the operand is the result's, or 1.
Fit fits_broadcast(const TensorDesc& operand, const TensorDesc& result);

/// Limits of results; the defaults are none: an infinity stays one.
struct Clamp {
  float minimum, maximum;
  bool is_on;
  explicit Clamp(const AttributeMap& attributes);
  void apply(float* values, std::int64_t count) const;
};

/// Sums rows of the size `from` over the reduced dimensions, in double and in an order that depends
/// on the sizes only. What is kept of images and rows is computed apart; where that is little, the
/// rows that are summed are split into parts that are added at the end.
class ReducedSum {
 public:
  /// computes_rows: run()'s row_of writes into its work.
  ReducedSum(const TensorDesc& from, const TensorDesc& to, double scale, bool computes_rows);
  std::size_t scratch_bytes() const noexcept;

  /// out = scale * sums. row_of(row, work) gives a row of what is summed; `work` has room for one
  /// where rows are computed.
  template <class RowOf>
  void run(RowOf&& row_of, float* out, void* scratch) const {
    auto* const sums = static_cast<double*>(scratch);
    auto* const works = reinterpret_cast<float*>(sums + items() * out_row_size());
    parallel_for(chunks(), grain_for(row_size() * (from_.n * from_.height / chunks()) * 4),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t chunk = begin; chunk < end; ++chunk) {
                     float* const work = computes_rows_ ? works + chunk * row_size() : nullptr;
                     for (std::int64_t item = items() * chunk / chunks();
                          item < items() * (chunk + 1) / chunks(); ++item) {
                       add_item(item, row_of, work, sums + item * out_row_size());
                       if (parts_ == 1) finish(item, item + 1, sums, out);
                     }
                   }
                 });
    if (parts_ == 1) return;
    parallel_for(kept(), grain_for(out_row_size() * parts_ * 8),
                 [&](std::int64_t begin, std::int64_t end) { finish(begin, end, sums, out); });
  }

 private:
  std::int64_t kept() const noexcept { return kept_images_ * kept_rows_; }
  std::int64_t summed() const noexcept { return summed_images_ * summed_rows_; }
  std::int64_t items() const noexcept { return kept() * parts_; }
  std::int64_t chunks() const noexcept { return std::min<std::int64_t>(items(), 64); }
  std::int64_t row_size() const noexcept { return from_.width * from_.channels; }
  std::int64_t out_row_size() const noexcept {
    return (reduced_[2] ? 1 : from_.width) * (reduced_[3] ? 1 : from_.channels);
  }

  template <class RowOf>
  void add_item(std::int64_t item, RowOf&& row_of, float* work, double* sums) const {
    std::fill_n(sums, out_row_size(), 0.0);
    const std::int64_t place = item / parts_, part = item % parts_;
    for (std::int64_t k = summed() * part / parts_; k < summed() * (part + 1) / parts_; ++k) {
      const std::int64_t n = reduced_[0] ? k / summed_rows_ : place / kept_rows_;
      const std::int64_t y = reduced_[1] ? k % summed_rows_ : place % kept_rows_;
      add_row(row_of(n * from_.height + y, work), sums);
    }
  }
  void add_row(const float* row, double* sums) const;
  /// The sums of the kept places `begin` to `end`, of all of their parts.
  void finish(std::int64_t begin, std::int64_t end, const double* sums, float* out) const;

  ImageSize from_;
  std::array<bool, 4> reduced_{};
  double scale_;
  bool computes_rows_;
  std::int64_t kept_images_, kept_rows_, summed_images_, summed_rows_, parts_;
};

}  // namespace mpsnn::backend::cpu
