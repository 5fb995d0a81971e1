// SPDX-License-Identifier: MIT
#include "backend/cpu/ops/broadcast.h"

#include <limits>

#include "backend/cpu/ops/reduction.h"
#include "backend/cpu/simd.h"
#include "base/attributes.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

Strides strides_of(const TensorDesc& operand, const TensorDesc& result) {
  Strides strides{};
  std::int64_t step = 1;
  for (std::size_t i = 4; i-- > 0;) {
    strides[i] = operand.dims[i] == 1 && result.dims[i] != 1 ? 0 : step;
    step *= operand.dims[i];
  }
  return strides;
}

MPSNN_SIMD void clamp_all(float minimum, float maximum, float* out, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) {  // NaN compares false and stays
    const float low = out[i] < minimum ? minimum : out[i];
    out[i] = low > maximum ? maximum : low;
  }
}

/// sums[i] += runs[0][i] + runs[1][i] …, one after the other; runs of `size` values.
MPSNN_SIMD void add_runs(const float* runs, std::int64_t count, std::int64_t size, double* sums) {
  for (; count >= 4; count -= 4, runs += 4 * size) {
    const float *first = runs, *second = first + size, *third = second + size,
                *fourth = third + size;
    MPSNN_IVDEP
    for (std::int64_t i = 0; i < size; ++i) {
      sums[i] = sums[i] + static_cast<double>(first[i]) + static_cast<double>(second[i]) +
                static_cast<double>(third[i]) + static_cast<double>(fourth[i]);
    }
  }
  for (; count > 0; --count, runs += size) {
    MPSNN_IVDEP
    for (std::int64_t i = 0; i < size; ++i) sums[i] += static_cast<double>(runs[i]);
  }
}

/// The sum of whole registers, in lanes and then lane by lane.
MPSNN_INLINE double sum_in_lanes(const float* x, std::int64_t count) {
  Vec lanes = {}, next;
  for (std::int64_t c = 0; c < count; c += kLanes) {
    load(next, x + c);
    lanes += next;
  }
  HalfVec low, high;
  split(lanes, low, high);
  low += high;
  low += __builtin_shufflevector(low, low, 4, 5, 6, 7, 0, 1, 2, 3);
  low += __builtin_shufflevector(low, low, 2, 3, 0, 1, 6, 7, 4, 5);
  low += __builtin_shufflevector(low, low, 1, 0, 3, 2, 5, 4, 7, 6);
  return static_cast<double>(low[0]);
}

/// sums[x] += the sum of pixel x. Up to 128 channels are added as floats: turning every float into
/// a double would take longer than to read them.
MPSNN_SIMD void add_pixel_sums(const float* row, std::int64_t pixels, std::int64_t channels,
                               double* sums) {
  constexpr std::int64_t kRun = 8 * kLanes;
  const std::int64_t whole = channels / kLanes * kLanes;
  if (whole == channels && channels <= kRun) {
    for (std::int64_t x = 0; x < pixels; ++x) sums[x] += sum_in_lanes(row + x * channels, channels);
    return;
  }
  for (std::int64_t x = 0; x < pixels; ++x, row += channels) {
    double total = 0;
    for (std::int64_t c = 0; c < whole; c += kRun)
      total += sum_in_lanes(row + c, c + kRun < whole ? kRun : whole - c);
    for (std::int64_t c = whole; c < channels; ++c) total += static_cast<double>(row[c]);
    sums[x] += total;
  }
}

constexpr double kLargest = std::numeric_limits<float>::max();

}  // namespace

Broadcast::Broadcast(const TensorDesc& p, const TensorDesc& s, const TensorDesc& result)
    : size(result.image()), primary(strides_of(p, result)), secondary(strides_of(s, result)) {}

Fit fits_broadcast(const TensorDesc& operand, const TensorDesc& result) {
  if (operand.dims.size() == 4 && result.dims.size() == 4) {
    bool fits = true;
    for (std::size_t i = 0; i < 4; ++i)
      fits = fits && (operand.dims[i] == result.dims[i] || operand.dims[i] == 1);
    if (fits) return {};
  }
  return Fit::no(
      str("expected images that equal the result's size or are 1 where they do not, got ",
          to_string(operand), " for ", to_string(result)));
}

Clamp::Clamp(const AttributeMap& attributes)
    : minimum(static_cast<float>(get_float(attributes, "minimum_value"))),
      maximum(static_cast<float>(get_float(attributes, "maximum_value"))),
      is_on(minimum > -kLargest || maximum < kLargest) {
  // The defaults clamp nothing, infinities neither.
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  if (minimum <= -kLargest) minimum = -kInfinity;
  if (maximum >= kLargest) maximum = kInfinity;
}

void Clamp::apply(float* values, std::int64_t count) const {
  if (is_on) clamp_all(minimum, maximum, values, count);
}

ReducedSum::ReducedSum(const TensorDesc& from, const TensorDesc& to, double scale,
                       bool computes_rows)
    : from_(from.image()), scale_(scale), computes_rows_(computes_rows) {
  // Parts for all threads, each of some rows: its doubles are written and read once more.
  constexpr std::int64_t kParts = 16, kRowsOfPart = 4;
  for (std::size_t i = 0; i < 4; ++i) reduced_[i] = to.dims[i] != from.dims[i];
  kept_images_ = reduced_[0] ? 1 : from_.n;
  kept_rows_ = reduced_[1] ? 1 : from_.height;
  summed_images_ = from_.n / kept_images_;
  summed_rows_ = from_.height / kept_rows_;
  parts_ = std::clamp<std::int64_t>(summed() / kRowsOfPart, 1, (kParts + kept() - 1) / kept());
}

std::size_t ReducedSum::scratch_bytes() const noexcept {
  return static_cast<std::size_t>(items() * out_row_size()) * sizeof(double) +
         (computes_rows_ ? static_cast<std::size_t>(chunks() * row_size()) * sizeof(float) : 0);
}

void ReducedSum::add_row(const float* row, double* sums) const {
  if (reduced_[2] && reduced_[3]) {
    sums[0] += sum_of(row, row_size());
  } else if (reduced_[3]) {
    add_pixel_sums(row, from_.width, from_.channels, sums);
  } else {
    add_runs(row, row_size() / out_row_size(), out_row_size(), sums);
  }
}

void ReducedSum::finish(std::int64_t begin, std::int64_t end, const double* sums,
                        float* out) const {
  const std::int64_t size = out_row_size();
  for (std::int64_t place = begin; place < end; ++place) {
    const double* const first = sums + place * parts_ * size;
    for (std::int64_t i = 0; i < size; ++i) {
      double total = 0;
      for (std::int64_t part = 0; part < parts_; ++part) total += first[part * size + i];
      out[place * size + i] = static_cast<float>(scale_ * total);
    }
  }
}

}  // namespace mpsnn::backend::cpu
