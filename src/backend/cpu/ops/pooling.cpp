// SPDX-License-Identifier: MIT
// pooling_max, pooling_max_gradient. NaN counts as the largest value, so that it is not hidden.
#include <algorithm>
#include <limits>

#include "backend/cpu/ops/extrema.h"
#include "backend/cpu/ops/pooling.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/simd.h"
#include "base/attributes.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

/// Channels that the general gradient treats at once; another thread may have the next ones.
constexpr std::int64_t kChannelChunk = 64;

/// The part of a window that lies in the image.
struct Window {
  PoolingRange y, x;
  bool cut;  // the window reaches outside

  Window(const Pooling& p, std::int64_t row, std::int64_t column)
      : y(p.y, row), x(p.x, column), cut(y.count * x.count != p.y.kernel * p.x.kernel) {}
  bool empty() const noexcept { return y.count == 0 || x.count == 0; }
};

MPSNN_SIMD void max_2x2(const float* top, const float* bottom, float* out, std::int64_t columns,
                        std::int64_t channels) {
  for (std::int64_t x = 0; x < columns;
       ++x, top += 2 * channels, bottom += 2 * channels, out += channels) {
    MPSNN_IVDEP
    for (std::int64_t c = 0; c < channels; ++c) {
      const float a = top[c], b = top[channels + c], d = bottom[c], e = bottom[channels + c];
      const float high = a > b ? a : b, low = d > e ? d : e, largest = high > low ? high : low;
      // Not larger() three times: the compiler makes branches of it.
      const bool has_nan = (a != a) | (b != b) | (d != d) | (e != e);
      out[c] = has_nan ? std::numeric_limits<float>::quiet_NaN() : largest;
    }
  }
}

MPSNN_SIMD void max_window(const float* first, std::int64_t row_step, std::int64_t rows,
                           std::int64_t column_step, std::int64_t columns, std::int64_t channels,
                           bool with_zero, float* out) {
  for (std::int64_t c = 0; c < channels; ++c)
    out[c] = with_zero ? larger(first[c], 0.0F) : first[c];
  for (std::int64_t y = 0; y < rows; ++y) {
    for (std::int64_t x = 0; x < columns; ++x) {
      const float* pixel = first + y * row_step + x * column_step;
      MPSNN_IVDEP
      for (std::int64_t c = 0; c < channels; ++c) out[c] = larger(out[c], pixel[c]);
    }
  }
}

void pool_row(const Pooling& p, std::int64_t y, const float* image, float* out) {
  const std::int64_t row_size = p.x.source * p.channels;
  if (p.is_2x2())
    return max_2x2(image + 2 * y * row_size, image + (2 * y + 1) * row_size, out, p.x.result,
                   p.channels);
  for (std::int64_t x = 0; x < p.x.result; ++x, out += p.channels) {
    const Window window(p, y, x);
    if (window.empty()) {
      std::fill_n(out, p.channels, 0.0F);
    } else {
      max_window(image + window.y.begin * row_size + window.x.begin * p.channels,
                 p.y.dilation * row_size, window.y.count, p.x.dilation * p.channels, window.x.count,
                 p.channels, p.zero_edges && window.cut, out);
    }
  }
}

/// Whether a window's gradient may go to `pixel`: it holds the maximum. A NaN is one.
MPSNN_INLINE bool holds(float pixel, float maximum) {
  return (pixel >= maximum) | (pixel != pixel);
}

MPSNN_SIMD void gradient_2x2(const float* gradient, const float* result, const float* top,
                             const float* bottom, float* out_top, float* out_bottom,
                             std::int64_t columns, std::int64_t channels) {
  for (std::int64_t x = 0; x < columns; ++x) {
    const float *right = top + channels, *low = bottom, *low_right = bottom + channels;
    MPSNN_IVDEP
    for (std::int64_t c = 0; c < channels; ++c) {
      // The first one takes all.
      const bool at0 = holds(top[c], result[c]), at1 = holds(right[c], result[c]),
                 at2 = holds(low[c], result[c]);
      const float g = gradient[c];
      const float after0 = at0 ? 0 : g, after1 = at1 ? 0 : after0, after2 = at2 ? 0 : after1;
      out_top[c] = at0 ? g : 0;
      out_top[channels + c] = at1 ? after0 : 0;
      out_bottom[c] = at2 ? after1 : 0;
      out_bottom[channels + c] = holds(low_right[c], result[c]) ? after2 : 0;
    }
    gradient += channels, result += channels;
    top += 2 * channels, bottom += 2 * channels, out_top += 2 * channels,
        out_bottom += 2 * channels;
  }
}

/// What is left of a window's gradient goes to `pixel` where it holds the maximum.
MPSNN_SIMD void give_to(const float* pixel, const float* result, float* left, float* out,
                        std::int64_t channels) {
  MPSNN_IVDEP
  for (std::int64_t c = 0; c < channels; ++c) {
    const bool here = holds(pixel[c], result[c]);
    out[c] += here ? left[c] : 0;
    left[c] = here ? 0 : left[c];
  }
}

/// One window, for channels [first, first + count). Positions outside of the image are zeros where
/// edges are; they may hold the maximum and then swallow the gradient.
void scatter_window(const Pooling& p, std::int64_t row, std::int64_t column, const float* image,
                    const float* gradient, const float* result, float* out, std::int64_t first,
                    std::int64_t count) {
  float left[kChannelChunk];
  const float zeros[kChannelChunk] = {};
  float swallowed[kChannelChunk] = {};
  std::copy_n(gradient + first, count, left);
  for (std::int64_t i = 0; i < p.y.kernel; ++i) {
    const std::int64_t y = p.y.first(row) + i * p.y.dilation;
    for (std::int64_t j = 0; j < p.x.kernel; ++j) {
      const std::int64_t x = p.x.first(column) + j * p.x.dilation;
      const bool inside = y >= 0 && y < p.y.source && x >= 0 && x < p.x.source;
      const std::int64_t at = (y * p.x.source + x) * p.channels + first;
      if (inside) {
        give_to(image + at, result + first, left, out + at, count);
      } else if (p.zero_edges) {
        give_to(zeros, result + first, left, swallowed, count);
      }
    }
  }
}

/// Windows may overlap: one thread takes all of them, in row order, for some channels of one image.
void scatter_image(const Pooling& p, const float* image, const float* gradient, const float* result,
                   float* out, std::int64_t first) {
  const std::int64_t count = std::min(kChannelChunk, p.channels - first);
  for (std::int64_t i = 0; i < p.y.source * p.x.source; ++i)
    std::fill_n(out + i * p.channels + first, count, 0.0F);
  for (std::int64_t y = 0; y < p.y.result; ++y) {
    for (std::int64_t x = 0; x < p.x.result; ++x, gradient += p.channels, result += p.channels) {
      scatter_window(p, y, x, image, gradient, result, out, first, count);
    }
  }
}

/// gradient, source, result -> source gradient.
Pooling read_gradient(const KernelQuery& query) {
  return read_pooling(query.attributes, query.inputs[1].image(), query.inputs[2].image());
}

}  // namespace

Pooling read_pooling(const AttributeMap& attributes, const ImageSize& source,
                     const ImageSize& result) {
  check_internal(source.n == result.n && source.channels == result.channels,
                 "pooling keeps the numbers of images and channels");
  return {.images = source.n,
          .channels = source.channels,
          .y = {source.height, result.height, get_int(attributes, "kernel_height"),
                get_int(attributes, "stride_y"), get_int(attributes, "pad_top"),
                get_int(attributes, "dilation_y")},
          .x = {source.width, result.width, get_int(attributes, "kernel_width"),
                get_int(attributes, "stride_x"), get_int(attributes, "pad_left"),
                get_int(attributes, "dilation_x")},
          .zero_edges =
              get_int(attributes, "edge_mode") == static_cast<std::int64_t>(ImageEdgeMode::ZERO)};
}

Fit fits_pooling(const KernelQuery& query) {
  const Fit plain = all_plain_float32(query);
  if (!plain.yes) return plain;
  const auto mode = static_cast<ImageEdgeMode>(get_int(query.attributes, "edge_mode"));
  if (mode == ImageEdgeMode::ZERO || mode == ImageEdgeMode::CLAMP) return {};
  return Fit::no(str("edge_mode: expected ZERO or CLAMP, got mode ", static_cast<int>(mode)));
}

Fit fits_pooling_max_plain(const KernelQuery& query) { return fits_pooling(query); }

std::shared_ptr<Kernel> prepare_pooling_max_plain(const KernelQuery& query) {
  const Pooling pooling =
      read_pooling(query.attributes, query.inputs[0].image(), query.outputs[0].image());
  return make_kernel([p = pooling](const KernelArgs& args) {
    const std::int64_t image_size = p.y.source * p.x.source * p.channels,
                       row_size = p.x.result * p.channels;
    parallel_for(p.images * p.y.result, grain_for(row_size * 20),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t i = begin; i < end; ++i) {
                     pool_row(p, i % p.y.result, args.input<float>(0) + i / p.y.result * image_size,
                              args.output<float>(0) + i * row_size);
                   }
                 });
  });
}

Fit fits_pooling_max_gradient_2x2(const KernelQuery& query) {
  const Fit fit = fits_pooling(query);
  if (!fit.yes || read_gradient(query).is_2x2()) return fit;
  return Fit::no("expected windows of 2 x 2 with strides of 2 that cover the source exactly");
}

std::shared_ptr<Kernel> prepare_pooling_max_gradient_2x2(const KernelQuery& query) {
  return make_kernel([p = read_gradient(query)](const KernelArgs& args) {
    const std::int64_t source_row = p.x.source * p.channels, result_row = p.x.result * p.channels;
    parallel_for(
        p.images * p.y.result, grain_for(result_row * 40),
        [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t i = begin; i < end; ++i) {  // the rows of all images follow one another
            const float* source = args.input<float>(1) + 2 * i * source_row;
            float* out = args.output<float>(0) + 2 * i * source_row;
            gradient_2x2(args.input<float>(0) + i * result_row,
                         args.input<float>(2) + i * result_row, source, source + source_row, out,
                         out + source_row, p.x.result, p.channels);
          }
        });
  });
}

Fit fits_pooling_max_gradient_plain(const KernelQuery& query) { return fits_pooling(query); }

std::shared_ptr<Kernel> prepare_pooling_max_gradient_plain(const KernelQuery& query) {
  return make_kernel([p = read_gradient(query)](const KernelArgs& args) {
    const std::int64_t chunks = (p.channels + kChannelChunk - 1) / kChannelChunk;
    const std::int64_t source_size = p.y.source * p.x.source * p.channels;
    const std::int64_t result_size = p.y.result * p.x.result * p.channels;
    parallel_for(p.images * chunks, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t image = i / chunks;
        scatter_image(p, args.input<float>(1) + image * source_size,
                      args.input<float>(0) + image * result_size,
                      args.input<float>(2) + image * result_size,
                      args.output<float>(0) + image * source_size, i % chunks * kChannelChunk);
      }
    });
  });
}

}  // namespace mpsnn::backend::cpu
