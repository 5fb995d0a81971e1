// SPDX-License-Identifier: MIT
#include "backend/cpu/ops/resample.h"

#include <algorithm>

#include "backend/cpu/parallel.h"
#include "backend/cpu/simd.h"

namespace mpsnn::backend::cpu {
namespace {

/// to = sum of the taps' rows.
MPSNN_SIMD void sum_rows(const float* image, std::int64_t row_size,
                         const std::vector<WeightedTap>& taps, float* to) {
  const float* a = image + taps[0].at * row_size;
  const float wa = taps[0].weight;
  std::size_t next = 1;
  if (taps.size() >= 3) {  // the gradient of a factor of 2: one pass
    const float *b = image + taps[1].at * row_size, *c = image + taps[2].at * row_size;
    const float wb = taps[1].weight, wc = taps[2].weight;
    MPSNN_IVDEP
    for (std::int64_t i = 0; i < row_size; ++i) to[i] = a[i] * wa + b[i] * wb + c[i] * wc;
    next = 3;
  } else if (taps.size() == 2) {
    const float* b = image + taps[1].at * row_size;
    const float wb = taps[1].weight;
    MPSNN_IVDEP
    for (std::int64_t i = 0; i < row_size; ++i) to[i] = a[i] * wa + b[i] * wb;
    next = 2;
  } else {
    MPSNN_IVDEP
    for (std::int64_t i = 0; i < row_size; ++i) to[i] = a[i] * wa;
  }
  for (; next < taps.size(); ++next) {
    const float* b = image + taps[next].at * row_size;
    const float wb = taps[next].weight;
    MPSNN_IVDEP
    for (std::int64_t i = 0; i < row_size; ++i) to[i] += b[i] * wb;
  }
}

/// The same over the columns of one row: each pixel of `to` a sum of pixels of `row`.
MPSNN_SIMD void sum_columns(const float* row, std::int64_t channels, const Resampling& columns,
                            float* to) {
  for (const std::vector<WeightedTap>& taps : columns) {
    if (taps.empty()) {
      for (std::int64_t c = 0; c < channels; ++c) to[c] = 0;
      to += channels;
      continue;
    }
    const float* a = row + taps[0].at * channels;
    const float wa = taps[0].weight;
    if (taps.size() == 1) {
      MPSNN_IVDEP
      for (std::int64_t c = 0; c < channels; ++c) to[c] = a[c] * wa;
    } else {
      const float* b = row + taps[1].at * channels;
      const float wb = taps[1].weight;
      MPSNN_IVDEP
      for (std::int64_t c = 0; c < channels; ++c) to[c] = a[c] * wa + b[c] * wb;
      for (std::size_t t = 2; t < taps.size(); ++t) {
        const float* more = row + taps[t].at * channels;
        const float weight = taps[t].weight;
        MPSNN_IVDEP
        for (std::int64_t c = 0; c < channels; ++c) to[c] += more[c] * weight;
      }
    }
    to += channels;
  }
}

MPSNN_SIMD void divide_columns(float* to, std::int64_t channels, const std::vector<float>& columns,
                               float row) {
  for (const float column : columns) {
    const float divisor = row * column;
    MPSNN_IVDEP
    for (std::int64_t c = 0; c < channels; ++c) to[c] /= divisor;
    to += channels;
  }
}

constexpr std::int64_t kChunks = 64;

}  // namespace

Resampling inverse(const Resampling& list, std::int64_t sources) {
  Resampling result(static_cast<std::size_t>(sources));
  for (std::size_t p = 0; p < list.size(); ++p) {
    for (const WeightedTap& tap : list[p])
      result[tap.at].push_back({static_cast<std::int64_t>(p), tap.weight});
  }
  return result;
}

Resampling windows(std::int64_t source, std::int64_t result, std::int64_t kernel,
                   std::int64_t stride, std::int64_t pad) {
  Resampling list(static_cast<std::size_t>(result));
  for (std::int64_t p = 0; p < result; ++p) {
    const std::int64_t first = p * stride - pad;
    for (std::int64_t at = std::max<std::int64_t>(first, 0); at < std::min(first + kernel, source);
         ++at) {
      list[p].push_back({at, 1.0F});
    }
  }
  return list;
}

std::int64_t Resample::chunks() const noexcept { return std::min(result_rows(), kChunks); }

std::size_t Resample::scratch_bytes() const noexcept {
  return static_cast<std::size_t>(chunks() * source_row()) * sizeof(float);
}

void Resample::run_row(std::int64_t row, const float* image, float* work, float* to) const {
  const std::vector<WeightedTap>& taps = y[row];
  if (taps.empty()) {
    std::fill_n(to, result_row(), 0.0F);
  } else if (taps.size() == 1 && taps[0].weight == 1) {
    sum_columns(image + taps[0].at * source_row(), channels, x, to);
  } else {
    sum_rows(image, source_row(), taps, work);
    sum_columns(work, channels, x, to);
  }
  if (!divisors_y.empty()) divide_columns(to, channels, divisors_x, divisors_y[row]);
}

/// Rows [begin, end) of all images' results; one that equals the row before is copied.
void Resample::run_chunk(std::int64_t begin, std::int64_t end, const float* from, float* to,
                         float* work) const {
  const auto height = static_cast<std::int64_t>(y.size());
  for (std::int64_t i = begin; i < end; ++i) {
    const std::int64_t row = i % height;
    float* const place = to + i * result_row();
    if (i > begin && row > 0 && y[row] == y[row - 1] && divisors_y.empty()) {
      std::copy_n(place - result_row(), result_row(), place);
    } else {
      run_row(row, from + i / height * source_rows * source_row(), work, place);
    }
  }
}

void Resample::run(const float* from, float* to, void* scratch) const {
  const std::int64_t rows = result_rows(), parts = chunks();
  if (rows == 0) return;
  const std::int64_t grain = grain_for(rows / parts * (result_row() + source_row()) * 4);
  parallel_for(parts, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t part = begin; part < end; ++part) {
      float* const work = static_cast<float*>(scratch) + part * source_row();
      run_chunk(rows * part / parts, rows * (part + 1) / parts, from, to, work);
    }
  });
}

}  // namespace mpsnn::backend::cpu
