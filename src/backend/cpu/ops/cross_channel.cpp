// SPDX-License-Identifier: MIT
// cross_channel_normalization and its gradient: sums over windows of channels, pixel by pixel.
#include <algorithm>

#include "backend/cpu/ops/kernel_tools.h"
#include "backend/cpu/ops/power.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/simd.h"
#include "base/attributes.h"

namespace mpsnn::backend::cpu {
namespace {

constexpr std::int64_t kParts = 16;  // that the pixels are cut into, each with a buffer of its own
constexpr std::int64_t kBlock = 4096;  // values of pixels that are treated at once

struct Channels {
  std::int64_t pixels, channels, before, behind;
  float alpha, beta, delta;

  Channels(const TensorDesc& source, const AttributeMap& attributes)
      : pixels(source.count() / source.dims.back()),
        channels(source.dims.back()),
        beta(static_cast<float>(get_float(attributes, "beta"))),
        delta(static_cast<float>(get_float(attributes, "delta"))) {
    // What lies beyond the channels on either side adds nothing.
    const std::int64_t size = get_int(attributes, "kernel_size");
    before = std::min(size / 2, channels - 1);
    behind = std::min((size - 1) / 2, channels - 1);
    alpha = static_cast<float>(get_float(attributes, "alpha") / static_cast<double>(size));
  }
  std::int64_t block() const noexcept { return std::max<std::int64_t>(kBlock / channels, 1); }
  std::int64_t parts() const noexcept { return std::min(kParts, pixels); }
  std::int64_t block_values() const noexcept { return block() * channels; }
  std::int64_t padded_values() const noexcept { return block() * padded(); }
  std::int64_t padded() const noexcept { return channels + before + behind; }
};

/// Pixels with zeros before and behind their channels.
MPSNN_SIMD void pad(const float* x, std::int64_t pixels, std::int64_t channels, std::int64_t before,
                    std::int64_t padded, float* out) {
  for (std::int64_t p = 0; p < pixels; ++p, x += channels, out += padded) {
    for (std::int64_t c = 0; c < before; ++c) out[c] = 0;
    MPSNN_IVDEP
    for (std::int64_t c = 0; c < channels; ++c) out[before + c] = x[c];
    for (std::int64_t c = before + channels; c < padded; ++c) out[c] = 0;
  }
}

/// sums[c] = sum of the window that begins at the padded channel c.
MPSNN_SIMD void add_windows(const float* padded, std::int64_t pixels, std::int64_t channels,
                            std::int64_t row, float* sums) {
  const std::int64_t terms = row - channels + 1;
  for (std::int64_t p = 0; p < pixels; ++p, padded += row, sums += channels) {
    MPSNN_IVDEP
    for (std::int64_t c = 0; c < channels; ++c) sums[c] = padded[c];
    for (std::int64_t k = 1; k < terms; ++k) {
      MPSNN_IVDEP
      for (std::int64_t c = 0; c < channels; ++c) sums[c] += padded[c + k];
    }
  }
}

MPSNN_SIMD void channel_terms(const float* g, const float* x, const float* d, const float* sums,
                              float alpha, float delta, float* out, float* inner,
                              std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) {
    const float outer = g[i] * d[i];
    inner[i] = outer * x[i] / (delta + alpha * sums[i]);
    out[i] = outer;
  }
}

MPSNN_SIMD void subtract_products(const float* x, const float* sums, float factor, float* out,
                                  std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) out[i] -= factor * x[i] * sums[i];
}

/// A block's arrays in a part's scratch memory.
struct Block {
  float *padded, *sums, *d, *inner;
  Block(const Channels& c, void* scratch, std::int64_t part) {
    padded = static_cast<float*>(scratch) + part * size(c);
    sums = padded + c.padded_values();
    d = sums + c.block_values();
    inner = d + c.block_values();
  }
  static std::int64_t size(const Channels& c) { return c.padded_values() + 3 * c.block_values(); }
};

/// Sums of squares over the windows of channels.
void sum_squares(const Channels& c, const Block& b, const float* x, std::int64_t pixels) {
  multiply_values(x, x, b.inner, pixels * c.channels);
  pad(b.inner, pixels, c.channels, c.before, c.padded(), b.padded);
  add_windows(b.padded, pixels, c.channels, c.padded(), b.sums);
}

/// Calls fn(part, first pixel, pixels) for blocks that together are the image.
template <class Fn>
void for_each_block(const Channels& c, Fn&& fn) {
  parallel_for(c.parts(), grain_for(c.pixels / c.parts() * c.channels * 16),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t part = begin; part < end; ++part) {
                   const std::int64_t last = c.pixels * (part + 1) / c.parts();
                   for (std::int64_t p = c.pixels * part / c.parts(); p < last; p += c.block())
                     fn(part, p, std::min(c.block(), last - p));
                 }
               });
}

void run_forward(const Channels& c, const KernelArgs& args) {
  for_each_block(c, [&](std::int64_t part, std::int64_t pixel, std::int64_t pixels) {
    const Block b(c, args.scratch, part);
    const std::int64_t at = pixel * c.channels, count = pixels * c.channels;
    sum_squares(c, b, args.input<float>(0) + at, pixels);
    raise_denominators(c.alpha, c.beta, c.delta, b.sums, count);
    multiply_values(args.input<float>(0) + at, b.sums, args.output<float>(0) + at, count);
  });
}

/// dx = g * s^-beta - 2 * alpha * beta / size * x * (mirrored window sum of g * x * s^(-beta - 1)).
void run_gradient(const Channels& c, const KernelArgs& args) {
  for_each_block(c, [&](std::int64_t part, std::int64_t pixel, std::int64_t pixels) {
    const Block b(c, args.scratch, part);
    const std::int64_t at = pixel * c.channels, count = pixels * c.channels;
    const float* const x = args.input<float>(1) + at;
    float* const out = args.output<float>(0) + at;
    sum_squares(c, b, x, pixels);
    std::copy_n(b.sums, count, b.d);
    raise_denominators(c.alpha, c.beta, c.delta, b.d, count);
    channel_terms(args.input<float>(0) + at, x, b.d, b.sums, c.alpha, c.delta, out, b.inner, count);
    pad(b.inner, pixels, c.channels, c.behind, c.padded(), b.padded);
    add_windows(b.padded, pixels, c.channels, c.padded(), b.sums);
    subtract_products(x, b.sums, 2 * c.alpha * c.beta, out, count);
  });
}

std::size_t scratch_bytes(const Channels& c) {
  return static_cast<std::size_t>(c.parts() * Block::size(c)) * sizeof(float);
}

}  // namespace

Fit fits_cross_channel_normalization_plain(const KernelQuery& query) {
  return all_plain_float32(query);
}

std::shared_ptr<Kernel> prepare_cross_channel_normalization_plain(const KernelQuery& query) {
  const Channels channels(query.inputs[0], query.attributes);
  return make_kernel([channels](const KernelArgs& args) { run_forward(channels, args); },
                     scratch_bytes(channels));
}

Fit fits_cross_channel_normalization_gradient_plain(const KernelQuery& query) {
  return all_plain_float32(query);
}

std::shared_ptr<Kernel> prepare_cross_channel_normalization_gradient_plain(
    const KernelQuery& query) {
  const Channels channels(query.inputs[1], query.attributes);
  return make_kernel([channels](const KernelArgs& args) { run_gradient(channels, args); },
                     scratch_bytes(channels));
}

}  // namespace mpsnn::backend::cpu
