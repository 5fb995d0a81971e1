// SPDX-License-Identifier: MIT
// Sums over windows of pixels, row by row; zeros stand outside of the image.
#pragma once

#include <algorithm>
#include <cstdint>

#include "backend/cpu/parallel.h"
#include "mpsnn/types.h"

namespace mpsnn::backend::cpu {

/// Pixels before and behind a pixel, along each axis, that its window holds.
struct WindowReach {
  std::int64_t above, below, left, right;
  /// The pixels whose windows hold a pixel.
  WindowReach mirrored() const noexcept { return {below, above, right, left}; }
  std::int64_t rows() const noexcept { return above + below + 1; }
  std::int64_t columns() const noexcept { return left + right + 1; }
};

enum class Summand { VALUE, SQUARE };

class WindowSums {
 public:
  WindowSums(const ImageSize& size, const WindowReach& reach) : size_(size), reach_(reach) {}

  std::int64_t row_size() const noexcept { return size_.width * size_.channels; }
  /// Floats that row() needs for itself.
  std::int64_t buffer_size() const noexcept {
    return row_size() + (reach_.columns() - 1) * size_.channels;
  }
  /// Sums of row y of an image, row_size() floats.
  void row(const float* image, std::int64_t y, Summand summand, float* buffer, float* sums) const;

 private:
  ImageSize size_;
  WindowReach reach_;
};

/// Rows that all images have together are cut into parts, each with memory of its own.
struct RowParts {
  static constexpr std::int64_t kMost = 16;
  std::int64_t images, height;
  std::int64_t rows() const noexcept { return images * height; }
  std::int64_t count() const noexcept { return std::min(kMost, rows()); }

  /// Calls fn(part, image, y) for all rows; those of a part one after the other.
  template <class Fn>
  void for_each_row(std::int64_t row_bytes, Fn&& fn) const {
    parallel_for(count(), grain_for(rows() / count() * row_bytes),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t part = begin; part < end; ++part) {
                     for (std::int64_t i = rows() * part / count();
                          i < rows() * (part + 1) / count(); ++i)
                       fn(part, i / height, i % height);
                   }
                 });
  }
};

}  // namespace mpsnn::backend::cpu
