// SPDX-License-Identifier: MIT
// upsampling_nearest, upsampling_bilinear and their gradients. All four are the same: each row of
// the destination is a weighted sum of source rows, then each column one of columns; the weights
// are listed ahead. A gradient has the lists inverted, so that it gathers too: nothing is added by
// two threads.
#include <algorithm>
#include <vector>

#include "backend/cpu/ops/kernel_tools.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/simd.h"
#include "base/attributes.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

struct WeightedTap {
  std::int64_t at = 0;
  float weight = 1;
};
/// For each destination position, what it sums.
using Resampling = std::vector<std::vector<WeightedTap>>;

Resampling nearest(std::int64_t source, std::int64_t scale) {
  Resampling list(static_cast<std::size_t>(source * scale));
  for (std::size_t p = 0; p < list.size(); ++p)
    list[p].push_back({static_cast<std::int64_t>(p) / scale, 1.0F});
  return list;
}

/// Position p samples p / scale, or p * (source - 1) / (result - 1) where corners are aligned;
/// beyond the last source position its value goes on.
Resampling bilinear(std::int64_t source, std::int64_t scale, bool align_corners) {
  const std::int64_t result = source * scale;
  const std::int64_t numerator = align_corners ? source - 1 : 1;
  const std::int64_t denominator = align_corners ? std::max<std::int64_t>(result - 1, 1) : scale;
  Resampling list(static_cast<std::size_t>(result));
  for (std::int64_t p = 0; p < result; ++p) {
    const std::int64_t low = std::min(p * numerator / denominator, source - 1);
    const std::int64_t rest = p * numerator - low * denominator;
    const double fraction = static_cast<double>(rest) / static_cast<double>(denominator);
    if (rest == 0 || low == source - 1) {
      list[p].push_back({low, 1.0F});
    } else {
      list[p].push_back({low, static_cast<float>(1 - fraction)});
      list[p].push_back({low + 1, static_cast<float>(fraction)});
    }
  }
  return list;
}

Resampling inverse(const Resampling& list, std::int64_t sources) {
  Resampling result(static_cast<std::size_t>(sources));
  for (std::size_t p = 0; p < list.size(); ++p) {
    for (const WeightedTap& tap : list[p])
      result[tap.at].push_back({static_cast<std::int64_t>(p), tap.weight});
  }
  return result;
}

struct Resample {
  std::int64_t images, channels, source_rows, source_columns;
  Resampling y, x;
  std::int64_t source_row() const noexcept { return source_columns * channels; }
  std::int64_t result_row() const noexcept {
    return static_cast<std::int64_t>(x.size()) * channels;
  }
};

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

void resample_row(const Resample& r, std::int64_t y, const float* image, float* work, float* to) {
  const std::vector<WeightedTap>& taps = r.y[y];
  const float* row = work;
  if (taps.size() == 1 && taps[0].weight == 1) {
    row = image + taps[0].at * r.source_row();
  } else {
    sum_rows(image, r.source_row(), taps, work);
  }
  sum_columns(row, r.channels, r.x, to);
}

std::shared_ptr<Kernel> make_resample(Resample resample) {
  // A row of work a thread would need to know the threads; one a chunk of rows does not.
  constexpr std::int64_t kChunks = 64;
  const std::int64_t rows = resample.images * static_cast<std::int64_t>(resample.y.size());
  const std::int64_t chunks = std::min(rows, kChunks);
  const std::size_t scratch =
      static_cast<std::size_t>(chunks * resample.source_row()) * sizeof(float);
  return make_kernel(
      [r = std::move(resample), rows, chunks](const KernelArgs& args) {
        const auto height = static_cast<std::int64_t>(r.y.size());
        const std::int64_t grain = grain_for(rows / chunks * (r.result_row() + r.source_row()) * 4);
        parallel_for(chunks, grain, [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t chunk = begin; chunk < end; ++chunk) {
            float* const work = static_cast<float*>(args.scratch) + chunk * r.source_row();
            for (std::int64_t i = rows * chunk / chunks; i < rows * (chunk + 1) / chunks; ++i) {
              resample_row(r, i % height,
                           args.input<float>(0) + i / height * r.source_rows * r.source_row(), work,
                           args.output<float>(0) + i * r.result_row());
            }
          }
        });
      },
      scratch);
}

std::shared_ptr<Kernel> prepare_upsampling(const KernelQuery& query, bool is_bilinear,
                                           bool is_gradient) {
  const ImageSize from = query.inputs[0].image(), to = query.outputs[0].image();
  const ImageSize& small = is_gradient ? to : from;
  const std::int64_t scale_y = get_int(query.attributes, "scale_y"),
                     scale_x = get_int(query.attributes, "scale_x");
  const ImageSize large = {small.n, small.height * scale_y, small.width * scale_x, small.channels};
  check_internal((is_gradient ? from : to) == large,
                 "upsampling multiplies height and width by its factors");
  const bool align = is_bilinear && get_bool(query.attributes, "align_corners");
  const auto list = [&](std::int64_t source, std::int64_t scale) {
    Resampling forward = is_bilinear ? bilinear(source, scale, align) : nearest(source, scale);
    return is_gradient ? inverse(forward, source) : forward;
  };
  return make_resample({.images = from.n,
                        .channels = from.channels,
                        .source_rows = from.height,
                        .source_columns = from.width,
                        .y = list(small.height, scale_y),
                        .x = list(small.width, scale_x)});
}

}  // namespace

Fit fits_upsampling_nearest_plain(const KernelQuery& query) { return all_plain_float32(query); }
Fit fits_upsampling_nearest_gradient_plain(const KernelQuery& query) {
  return all_plain_float32(query);
}
Fit fits_upsampling_bilinear_plain(const KernelQuery& query) { return all_plain_float32(query); }
Fit fits_upsampling_bilinear_gradient_plain(const KernelQuery& query) {
  return all_plain_float32(query);
}

std::shared_ptr<Kernel> prepare_upsampling_nearest_plain(const KernelQuery& query) {
  return prepare_upsampling(query, /*is_bilinear=*/false, /*is_gradient=*/false);
}
std::shared_ptr<Kernel> prepare_upsampling_nearest_gradient_plain(const KernelQuery& query) {
  return prepare_upsampling(query, /*is_bilinear=*/false, /*is_gradient=*/true);
}
std::shared_ptr<Kernel> prepare_upsampling_bilinear_plain(const KernelQuery& query) {
  return prepare_upsampling(query, /*is_bilinear=*/true, /*is_gradient=*/false);
}
std::shared_ptr<Kernel> prepare_upsampling_bilinear_gradient_plain(const KernelQuery& query) {
  return prepare_upsampling(query, /*is_bilinear=*/true, /*is_gradient=*/true);
}

}  // namespace mpsnn::backend::cpu
