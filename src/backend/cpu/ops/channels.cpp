// SPDX-License-Identifier: MIT
// concatenation and slice along the channels, and fill.
#include <algorithm>
#include <utility>
#include <vector>

#include "backend/cpu/half.h"
#include "backend/cpu/ops/kernel_tools.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/simd.h"
#include "base/attributes.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

/// A range of channels in an image of `channels`.
struct ChannelRange {
  std::int64_t channels, offset;
};

template <std::int64_t Count, class T>
MPSNN_INLINE void copy_fixed(const T* from, std::int64_t from_step, T* to, std::int64_t to_step,
                             std::int64_t pixels) {
  for (std::int64_t p = 0; p < pixels; ++p) {
    std::memcpy(to + p * to_step, from + p * from_step, Count * sizeof(T));
  }
}

/// `count` channels of each pixel. Narrow images (RGB, normals) are the common ones, and a call of
/// memcpy a pixel would take longer than the copy.
template <class T>
MPSNN_INLINE void copy_any(const T* from, std::int64_t from_step, T* to, std::int64_t to_step,
                           std::int64_t count, std::int64_t pixels) {
  switch (count) {
    case 1:
      return copy_fixed<1>(from, from_step, to, to_step, pixels);
    case 2:
      return copy_fixed<2>(from, from_step, to, to_step, pixels);
    case 3:
      return copy_fixed<3>(from, from_step, to, to_step, pixels);
    case 4:
      return copy_fixed<4>(from, from_step, to, to_step, pixels);
    default:
      break;
  }
  for (std::int64_t p = 0; p < pixels; ++p, from += from_step, to += to_step) {
    std::int64_t c = 0;
    for (; c + kLanes <= count; c += kLanes) std::memcpy(to + c, from + c, kLanes * sizeof(T));
    for (; c < count; ++c) to[c] = from[c];
  }
}

MPSNN_SIMD void fill(float* to, float value, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = value;
}

MPSNN_SIMD void copy_channels(const float* from, std::int64_t from_step, float* to,
                              std::int64_t to_step, std::int64_t count, std::int64_t pixels) {
  copy_any(from, from_step, to, to_step, count, pixels);
}

MPSNN_SIMD void copy_channels(const Half* from, std::int64_t from_step, Half* to,
                              std::int64_t to_step, std::int64_t count, std::int64_t pixels) {
  copy_any(from, from_step, to, to_step, count, pixels);
}

std::int64_t pixels_of(const TensorDesc& image) {
  const ImageSize size = image.image();
  return size.n * size.height * size.width;
}

struct Concatenation {
  std::int64_t pixels, channels;
  std::vector<ChannelRange> sources;

  template <class T>
  void run(const KernelArgs& args) const {
    parallel_for(pixels, grain_for(channels * 8), [&](std::int64_t begin, std::int64_t end) {
      // In pieces, so that each line of the result is written while it is in the cache.
      constexpr std::int64_t kPiece = 256;
      for (std::int64_t at = begin; at < end; at += kPiece) {
        const std::int64_t count = std::min(kPiece, end - at);
        for (std::size_t i = 0; i < sources.size(); ++i) {
          copy_channels(args.input<T>(i) + at * sources[i].channels, sources[i].channels,
                        args.output<T>(0) + at * channels + sources[i].offset, channels,
                        sources[i].channels, count);
        }
      }
    });
  }
};

struct Slice {
  std::int64_t pixels, count;
  ChannelRange from;

  template <class T>
  void run(const KernelArgs& args) const {
    parallel_for(pixels, grain_for(count * 8), [&](std::int64_t begin, std::int64_t end) {
      copy_channels(args.input<T>(0) + begin * from.channels + from.offset, from.channels,
                    args.output<T>(0) + begin * count, count, count, end - begin);
    });
  }
};

template <class Move>
std::shared_ptr<Kernel> make_moving_kernel(const KernelQuery& query, Move move) {
  return make_kernel(
      [move = std::move(move), halves = moves_halves(query)](const KernelArgs& args) {
        halves ? move.template run<Half>(args) : move.template run<float>(args);
      });
}

}  // namespace

Fit fits_concatenation_plain(const KernelQuery& query) { return all_plain_alike(query); }

std::shared_ptr<Kernel> prepare_concatenation_plain(const KernelQuery& query) {
  const std::int64_t pixels = pixels_of(query.outputs[0]), channels = query.outputs[0].dims[3];
  std::vector<ChannelRange> sources;
  std::int64_t offset = 0;
  for (const TensorDesc& source : query.inputs) {
    check_internal(pixels_of(source) == pixels, "concatenated images have one size");
    sources.push_back({source.dims[3], offset});
    offset += source.dims[3];
  }
  check_internal(offset == channels, "a concatenation has the channels of all of its sources");
  return make_moving_kernel(query, Concatenation{pixels, channels, std::move(sources)});
}

Fit fits_slice_plain(const KernelQuery& query) { return all_plain_alike(query); }

std::shared_ptr<Kernel> prepare_slice_plain(const KernelQuery& query) {
  const std::int64_t pixels = pixels_of(query.outputs[0]), count = query.outputs[0].dims[3];
  const ChannelRange from = {query.inputs[0].dims[3], get_int(query.attributes, "channel_offset")};
  check_internal(pixels_of(query.inputs[0]) == pixels && from.offset >= 0 &&
                     from.offset + count <= from.channels,
                 "a slice lies inside of its source");
  return make_moving_kernel(query, Slice{pixels, count, from});
}

Fit fits_fill_plain(const KernelQuery& query) { return all_plain_float32(query); }

std::shared_ptr<Kernel> prepare_fill_plain(const KernelQuery& query) {
  const auto value = static_cast<float>(get_float(query.attributes, "value"));
  return make_kernel([value, count = query.outputs[0].count()](const KernelArgs& args) {
    parallel_for(count, grain_for(4), [&](std::int64_t begin, std::int64_t end) {
      fill(args.output<float>(0) + begin, value, end - begin);
    });
  });
}

}  // namespace mpsnn::backend::cpu
