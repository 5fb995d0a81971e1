// SPDX-License-Identifier: MIT
// dropout, count_step. The mask is a function of seed, step and position: word i % 4 of Philox
// block i / 4 belongs to value i of the mask, with key (seed, seed >> 32) and counter
// (step, step >> 32, block >> 32, block). A value is kept where word >> 9 < keep * 2^23.
#include <algorithm>
#include <cmath>

#include "backend/cpu/ops/kernel_tools.h"
#include "backend/cpu/ops/random_words.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/simd.h"
#include "base/attributes.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

constexpr std::int64_t kGroup = 4 * kPhiloxGroup;  // values of a mask that are made side by side
constexpr std::int64_t kPiece = 1024;              // values that a thread treats at once
constexpr float kStepLimit = 1 << 20;  // of the lower of the two floats that hold the count

struct Mask {
  std::uint64_t seed;
  std::uint32_t threshold;  // of the upper 23 bits
  float scale;              // of values that are kept
};

MPSNN_SIMD void to_mask(const std::uint32_t* words, std::uint32_t threshold, float scale,
                        float* out, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) out[i] = (words[i] >> 9) < threshold ? scale : 0.0F;
}

/// Values [first, first + count) of a mask: the scale, or 0. `first` is a multiple of kPiece, and
/// `count` at most that.
void make_mask(const Mask& mask, std::uint64_t step, std::int64_t first, std::int64_t count,
               float* out) {
  std::uint32_t words[kPiece];
  const std::int64_t groups = (count + kGroup - 1) / kGroup;
  philox_words({mask.seed, step}, static_cast<std::uint64_t>(first / 4), groups * kPhiloxGroup,
               words);
  to_mask(words, mask.threshold, mask.scale, out, count);
}

// What is dropped is 0, even where it was infinite.
MPSNN_SIMD void apply(const float* x, const float* mask, float* out, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) out[i] = mask[i] != 0 ? x[i] * mask[i] : 0.0F;
}

MPSNN_SIMD void apply_one(const float* x, float mask, float* out, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) out[i] = mask != 0 ? x[i] * mask : 0.0F;
}

struct Dropout {
  Mask mask;
  ImageSize size;
  std::int64_t stride_y, stride_x, stride_channel;

  explicit Dropout(const KernelQuery& query)
      : size(query.inputs[0].image()),
        stride_y(get_int(query.attributes, "mask_stride_y")),
        stride_x(get_int(query.attributes, "mask_stride_x")),
        stride_channel(get_int(query.attributes, "mask_stride_channel")) {
    const double keep = get_float(query.attributes, "keep_probability");
    mask.seed = static_cast<std::uint64_t>(get_int(query.attributes, "seed"));
    mask.threshold = static_cast<std::uint32_t>(std::ceil(keep * (1 << 23)));
    mask.scale = static_cast<float>(1 / keep);
  }
  bool is_full() const noexcept { return stride_y == 1 && stride_x == 1 && stride_channel == 1; }
  std::int64_t mask_height() const noexcept { return stride_y != 0 ? size.height : 1; }
  std::int64_t mask_width() const noexcept { return stride_x != 0 ? size.width : 1; }
  std::int64_t mask_channels() const noexcept { return stride_channel != 0 ? size.channels : 1; }
  std::int64_t mask_count() const noexcept {
    return size.n * mask_height() * mask_width() * mask_channels();
  }
};

std::uint64_t step_of(const KernelArgs& args) {
  const float* const steps = args.input<float>(1);
  return static_cast<std::uint64_t>(steps[0]) +
         static_cast<std::uint64_t>(steps[1]) * static_cast<std::uint64_t>(kStepLimit);
}

/// Calls fn(first value, values) for pieces of an array.
template <class Fn>
void for_each_piece(std::int64_t count, Fn&& fn) {
  parallel_for((count + kPiece - 1) / kPiece, grain_for(kPiece * 24),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t i = begin; i < end; ++i)
                   fn(i * kPiece, std::min(kPiece, count - i * kPiece));
               });
}

void run_full(const Dropout& d, const KernelArgs& args) {
  const std::uint64_t step = step_of(args);
  for_each_piece(d.size.count(), [&](std::int64_t at, std::int64_t count) {
    float mask[kPiece];
    make_mask(d.mask, step, at, count, mask);
    apply(args.input<float>(0) + at, mask, args.output<float>(0) + at, count);
  });
}

/// A mask that several values share is made first, in scratch memory.
void run_shared(const Dropout& d, const KernelArgs& args) {
  float* const masks = static_cast<float*>(args.scratch);
  const std::uint64_t step = step_of(args);
  for_each_piece(d.mask_count(), [&](std::int64_t at, std::int64_t count) {
    make_mask(d.mask, step, at, count, masks + at);
  });
  const std::int64_t channels = d.size.channels, row_size = d.size.width * channels;
  parallel_for(d.size.n * d.size.height, grain_for(row_size * 8),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t row = begin; row < end; ++row) {
                   const std::int64_t image = row / d.size.height, y = row % d.size.height;
                   const float* mask = masks + (image * d.mask_height() + y * d.stride_y) *
                                                   d.mask_width() * d.mask_channels();
                   const float* x = args.input<float>(0) + row * row_size;
                   float* out = args.output<float>(0) + row * row_size;
                   for (std::int64_t p = 0; p < d.size.width; ++p, x += channels, out += channels) {
                     const float* const own = mask + p * d.stride_x * d.mask_channels();
                     if (d.stride_channel != 0) {
                       apply(x, own, out, channels);
                     } else {
                       apply_one(x, *own, out, channels);
                     }
                   }
                 }
               });
}

}  // namespace

Fit fits_dropout_plain(const KernelQuery& query) { return all_plain_float32(query); }

std::shared_ptr<Kernel> prepare_dropout_plain(const KernelQuery& query) {
  check_internal(query.inputs[1].count() == 2, "the steps of a dropout are two numbers");
  const Dropout dropout(query);
  if (dropout.is_full())
    return make_kernel([dropout](const KernelArgs& args) { run_full(dropout, args); });
  return make_kernel([dropout](const KernelArgs& args) { run_shared(dropout, args); },
                     static_cast<std::size_t>(dropout.mask_count()) * sizeof(float));
}

Fit fits_count_step_plain(const KernelQuery& query) { return all_plain_float32(query); }

std::shared_ptr<Kernel> prepare_count_step_plain(const KernelQuery& query) {
  check_internal(query.inputs[0].count() == 2, "the steps of a dropout are two numbers");
  return make_kernel([](const KernelArgs& args) {
    const float* const steps = args.input<float>(0);
    const float low = steps[0] + 1, high = steps[1];
    const bool carries = low >= kStepLimit;
    args.output<float>(0)[0] = carries ? 0.0F : low;
    args.output<float>(0)[1] = carries ? high + 1 : high;
  });
}

}  // namespace mpsnn::backend::cpu
