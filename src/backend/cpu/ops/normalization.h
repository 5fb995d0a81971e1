// SPDX-License-Identifier: MIT
// What the normalisation kernels share: where statistics stand, and how an image is cut.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/kernel.h"

namespace mpsnn::backend::cpu {

/// An image normalised by statistics. It is cut into sets (the whole batch, or its images) of rows
/// (pixels) of channels. Rows are folded: several short ones count as one wide row, so that narrow
/// images fill registers too.
struct NormalizedImage {
  std::int64_t sets, rows, channels, groups;  // rows a set; groups of channels with statistics

  /// Throws InternalError where the statistics do not belong to the image.
  NormalizedImage(const TensorDesc& image, const TensorDesc& statistics);

  std::int64_t set_size() const noexcept { return rows * channels; }
  std::int64_t width() const noexcept { return fold_ * channels; }
  std::int64_t wide_rows() const noexcept { return rows / fold_; }
  /// Values behind the last wide row of a set.
  std::int64_t rest() const noexcept { return rows % fold_ * channels; }
  /// Values that one mean is taken of.
  std::int64_t values_a_mean() const noexcept { return rows * (channels / groups); }
  /// Which statistic belongs to a channel of a set.
  std::int64_t statistic(std::int64_t set, std::int64_t channel) const noexcept {
    return set * groups + channel / (channels / groups);
  }

 private:
  std::int64_t fold_;
};

/// Double sums over the rows of each set, two for each channel: parts of a set are summed on
/// several threads and added in order, so that the result depends on the sizes only.
class ChannelSums {
 public:
  explicit ChannelSums(const NormalizedImage& image);
  std::size_t scratch_bytes() const noexcept;

  /// Calls add(first value of a range, wide rows, width, tile, sums, sums + width) for the parts of
  /// all sets; `tile_of(set, tile)` fills `width` floats that belong to the columns. The totals of
  /// set s and channel c stand in total(scratch, 0 or 1, s, c) then.
  template <class TileOf, class Add>
  void run(void* scratch, TileOf&& tile_of, Add&& add) const;
  double total(const void* scratch, int which, std::int64_t set, std::int64_t channel) const {
    return static_cast<const double*>(scratch)[(set * 2 + which) * image_.channels + channel];
  }

 private:
  std::int64_t part_doubles() const noexcept {
    return 2 * image_.width() + (image_.width() + 1) / 2;
  }
  void add_parts(void* scratch) const;

  NormalizedImage image_;
  std::int64_t parts_;  // of each set
};

}  // namespace mpsnn::backend::cpu

#include "backend/cpu/parallel.h"

namespace mpsnn::backend::cpu {

template <class TileOf, class Add>
void ChannelSums::run(void* scratch, TileOf&& tile_of, Add&& add) const {
  double* const own = static_cast<double*>(scratch) + image_.sets * 2 * image_.channels;
  const std::int64_t width = image_.width(), wide = image_.wide_rows();
  parallel_for(image_.sets * parts_, grain_for(image_.set_size() / parts_ * 4),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t i = begin; i < end; ++i) {
                   const std::int64_t set = i / parts_, part = i % parts_;
                   double* const sums = own + i * part_doubles();
                   std::fill_n(sums, 2 * width, 0.0);
                   float* const tile = reinterpret_cast<float*>(sums + 2 * width);
                   tile_of(set, tile);
                   const std::int64_t first = wide * part / parts_,
                                      last = wide * (part + 1) / parts_;
                   const std::int64_t at = set * image_.set_size();
                   add(at + first * width, last - first, width, tile, sums, sums + width);
                   if (part == parts_ - 1 && image_.rest() > 0)
                     add(at + wide * width, 1, image_.rest(), tile, sums, sums + width);
                 }
               });
  add_parts(scratch);
}

}  // namespace mpsnn::backend::cpu
