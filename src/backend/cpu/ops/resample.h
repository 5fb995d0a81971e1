// SPDX-License-Identifier: MIT
// Separable weighted sums over an image: each row of the destination is a weighted sum of source
// rows, then each column one of columns; the weights are listed ahead. Upsampling, resizing,
// average pooling and all their gradients are such sums.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace mpsnn::backend::cpu {

struct WeightedTap {
  std::int64_t at = 0;
  float weight = 1;
  bool operator==(const WeightedTap&) const = default;
};
/// For each destination position, what it sums; 0 where the list is empty.
using Resampling = std::vector<std::vector<WeightedTap>>;

/// The transposed sum, that of the gradient: for each of `sources` positions, what reads it. It
/// gathers too: nothing is added by two threads.
Resampling inverse(const Resampling& list, std::int64_t sources);

/// Windows along one axis: position p sums the positions p * stride - pad + i of [0, source), i in
/// [0, kernel).
Resampling windows(std::int64_t source, std::int64_t result, std::int64_t kernel,
                   std::int64_t stride, std::int64_t pad);

struct Resample {
  std::int64_t images = 0, channels = 0, source_rows = 0, source_columns = 0;
  Resampling y, x;
  /// What sums are divided by at the end, row times column; empty: 1.
  std::vector<float> divisors_y = {}, divisors_x = {};

  std::int64_t source_row() const noexcept { return source_columns * channels; }
  std::int64_t result_row() const noexcept {
    return static_cast<std::int64_t>(x.size()) * channels;
  }
  std::int64_t result_rows() const noexcept { return images * static_cast<std::int64_t>(y.size()); }
  std::size_t scratch_bytes() const noexcept;
  void run(const float* from, float* to, void* scratch) const;

 private:
  // A row of work a thread would need to know the threads; one a chunk of rows does not.
  std::int64_t chunks() const noexcept;
  void run_row(std::int64_t y, const float* image, float* work, float* to) const;
  void run_chunk(std::int64_t begin, std::int64_t end, const float* from, float* to,
                 float* work) const;
};

}  // namespace mpsnn::backend::cpu
