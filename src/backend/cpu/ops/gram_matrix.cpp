// SPDX-License-Identifier: MIT
// gram_matrix, gram_matrix_gradient: products of tiles of channels, held in registers.
#include <algorithm>

#include "backend/cpu/ops/kernel_tools.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/simd.h"
#include "base/attributes.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

constexpr std::int64_t kPixels = 128;  // that are packed at once: 8 KiB a register's width
constexpr std::int64_t kRows = 64;     // of the matrix, that a thread computes at once
constexpr std::int64_t kParts = 16;    // at least, over all images
// Rows that are computed together. AVX-512 has registers for twice as many, and needs them: fewer
// sums would wait for one another.
constexpr int kTile = 4, kWideTile = 8;

/// Pixels of `channels` values -> rows of `padded`, the rest zeros.
MPSNN_SIMD void pack(const float* x, std::int64_t pixels, std::int64_t channels,
                     std::int64_t padded, float* out) {
  for (std::int64_t p = 0; p < pixels; ++p, x += channels, out += padded) {
    for (std::int64_t c = 0; c < channels; ++c) out[c] = x[c];
    for (std::int64_t c = channels; c < padded; ++c) out[c] = 0;
  }
}

/// sums[f][c] += sum over the packed pixels of x[f] * x[c], for a tile of rows from `row` on and
/// the columns from them on: the matrix is symmetric.
template <int tile>
MPSNN_INLINE void add_tile(const float* packed, std::int64_t pixels, std::int64_t padded,
                           std::int64_t row, float* sums) {
  for (std::int64_t c = row / kLanes * kLanes; c < padded; c += kLanes) {
    Vec total[tile] = {};
    const float* x = packed;
    for (std::int64_t p = 0; p < pixels; ++p, x += padded) {
      Vec columns;
      load(columns, x + c);
      for (int i = 0; i < tile; ++i) total[i] += columns * x[row + i];
    }
    for (int i = 0; i < tile; ++i) {
      Vec sum;
      load(sum, sums + i * padded + c);
      store(sums + i * padded + c, sum + total[i]);
    }
  }
}

MPSNN_SIMD void add_rows(const float* packed, std::int64_t pixels, std::int64_t padded,
                         std::int64_t row, float* sums) {
  add_tile<kTile>(packed, pixels, padded, row, sums);
}

MPSNN_SIMD void add_wide_rows(const float* packed, std::int64_t pixels, std::int64_t padded,
                              std::int64_t row, float* sums) {
  add_tile<kWideTile>(packed, pixels, padded, row, sums);
}

/// out[p][c] = sum over f of x[p][f] * factors[f][c], for up to four pixels.
MPSNN_SIMD void multiply(const float* x, std::int64_t pixels, std::int64_t channels,
                         std::int64_t padded, const float* factors, float* out) {
  const std::int64_t last = pixels - 1;
  const float* const rows[kTile] = {x, x + std::min<std::int64_t>(1, last) * channels,
                                    x + std::min<std::int64_t>(2, last) * channels,
                                    x + std::min<std::int64_t>(3, last) * channels};
  for (std::int64_t c = 0; c < channels; c += kLanes) {
    Vec total[kTile] = {};
    const float* column = factors + c;
    for (std::int64_t f = 0; f < channels; ++f, column += padded) {
      Vec factor;
      load(factor, column);
      for (int i = 0; i < kTile; ++i) total[i] += factor * rows[i][f];
    }
    for (std::int64_t i = 0; i < pixels; ++i)
      store_first(out + i * channels + c, total[i], std::min(kLanes, channels - c));
  }
}

struct Gram {
  std::int64_t images, pixels, channels, padded;
  float alpha;

  Gram(const TensorDesc& source, const AttributeMap& attributes)
      : alpha(static_cast<float>(get_float(attributes, "alpha"))) {
    const ImageSize size = source.image();
    images = size.n;
    pixels = size.height * size.width;
    channels = size.channels;
    padded = (channels + kLanes - 1) / kLanes * kLanes;
  }
  std::int64_t matrix() const noexcept { return padded * padded; }
  std::int64_t row_groups() const noexcept { return (padded + kRows - 1) / kRows; }
  /// Parts that the pixels of an image are cut into.
  std::int64_t parts() const noexcept {
    return std::clamp<std::int64_t>((kParts + images - 1) / images, 1,
                                    (pixels + kPixels - 1) / kPixels);
  }
};

/// One part of one image's pixels, and some rows of its matrix. `packed` is the item's own.
void add_part(const Gram& g, const float* image, std::int64_t part, std::int64_t row_group,
              float* packed, float* sums) {
  const std::int64_t first = g.pixels * part / g.parts(), last = g.pixels * (part + 1) / g.parts();
  const std::int64_t from = row_group * kRows, to = std::min(from + kRows, g.padded);
  std::fill(sums + from * g.padded, sums + to * g.padded, 0.0F);
  for (std::int64_t p = first; p < last; p += kPixels) {
    const std::int64_t count = std::min(kPixels, last - p);
    pack(image + p * g.channels, count, g.channels, g.padded, packed);
    const bool is_wide = has_wide_registers();
    for (std::int64_t row = from; row < to; row += is_wide ? kWideTile : kTile)
      (is_wide ? add_wide_rows : add_rows)(packed, count, g.padded, row, sums + row * g.padded);
  }
}

void run_forward(const Gram& g, const KernelArgs& args) {
  float* const sums = static_cast<float*>(args.scratch);
  const std::int64_t parts = g.parts(), groups = g.row_groups(), items = g.images * parts * groups;
  float* const packed = sums + g.images * parts * g.matrix();
  parallel_for(items, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t image = i / (parts * groups), part = i / groups % parts;
      add_part(g, args.input<float>(0) + image * g.pixels * g.channels, part, i % groups,
               packed + i * kPixels * g.padded, sums + (image * parts + part) * g.matrix());
    }
  });
  const auto alpha = static_cast<double>(g.alpha);
  parallel_for(g.images * g.channels, grain_for(g.channels * parts * 8),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t i = begin; i < end; ++i) {
                   const std::int64_t image = i / g.channels, f = i % g.channels;
                   const float* const first = sums + image * parts * g.matrix();
                   for (std::int64_t c = 0; c < g.channels; ++c) {
                     const std::int64_t at = std::min(f, c) * g.padded + std::max(f, c);
                     double total = 0;
                     for (std::int64_t part = 0; part < parts; ++part)
                       total += static_cast<double>(first[part * g.matrix() + at]);
                     args.output<float>(0)[i * g.channels + c] = static_cast<float>(alpha * total);
                   }
                 }
               });
}

/// result[p, c] = alpha * sum over f of (gradient[f, c] + gradient[c, f]) * source[p, f].
void run_gradient(const Gram& g, const KernelArgs& args) {
  float* const factors = static_cast<float*>(args.scratch);
  for (std::int64_t image = 0; image < g.images; ++image) {
    const float* const gradient = args.input<float>(0) + image * g.channels * g.channels;
    for (std::int64_t f = 0; f < g.channels; ++f) {
      float* const to = factors + (image * g.channels + f) * g.padded;
      for (std::int64_t c = 0; c < g.channels; ++c)
        to[c] = g.alpha * (gradient[f * g.channels + c] + gradient[c * g.channels + f]);
      std::fill(to + g.channels, to + g.padded, 0.0F);
    }
  }
  const std::int64_t tiles = (g.pixels + kTile - 1) / kTile;
  parallel_for(g.images * tiles, grain_for(kTile * g.channels * g.channels / 4),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t i = begin; i < end; ++i) {
                   const std::int64_t image = i / tiles, p = i % tiles * kTile;
                   const std::int64_t at = (image * g.pixels + p) * g.channels;
                   multiply(args.input<float>(1) + at, std::min<std::int64_t>(kTile, g.pixels - p),
                            g.channels, g.padded, factors + image * g.channels * g.padded,
                            args.output<float>(0) + at);
                 }
               });
}

std::size_t floats(std::int64_t count) { return static_cast<std::size_t>(count) * sizeof(float); }

}  // namespace

Fit fits_gram_matrix_plain(const KernelQuery& query) { return all_plain_float32(query); }

std::shared_ptr<Kernel> prepare_gram_matrix_plain(const KernelQuery& query) {
  const Gram gram(query.inputs[0], query.attributes);
  const std::int64_t parts = gram.images * gram.parts();
  return make_kernel(
      [gram](const KernelArgs& args) { run_forward(gram, args); },
      floats(parts * gram.matrix() + parts * gram.row_groups() * kPixels * gram.padded));
}

Fit fits_gram_matrix_gradient_plain(const KernelQuery& query) { return all_plain_float32(query); }

std::shared_ptr<Kernel> prepare_gram_matrix_gradient_plain(const KernelQuery& query) {
  const Gram gram(query.inputs[1], query.attributes);
  return make_kernel([gram](const KernelArgs& args) { run_gradient(gram, args); },
                     floats(gram.images * gram.channels * gram.padded));
}

}  // namespace mpsnn::backend::cpu
