// SPDX-License-Identifier: MIT
// addition (either operand broadcast, in place on either), addition_gradient (summed over what was
// broadcast) and broadcast.
#include <algorithm>

#include "backend/cpu/ops/broadcast.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/simd.h"
#include "base/attributes.h"

namespace mpsnn::backend::cpu {
namespace {

struct Formula {
  float primary_scale, secondary_scale, bias;
  Clamp clamp;
  explicit Formula(const AttributeMap& attributes)
      : primary_scale(static_cast<float>(get_float(attributes, "primary_scale"))),
        secondary_scale(static_cast<float>(get_float(attributes, "secondary_scale"))),
        bias(static_cast<float>(get_float(attributes, "bias"))),
        clamp(attributes) {}
};

// Three loops, since a step that the compiler does not know keeps it from vectorising.
MPSNN_SIMD void add_both(const Formula& f, const float* p, const float* s, float* out,
                         std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i)
    out[i] = p[i] * f.primary_scale + s[i] * f.secondary_scale + f.bias;
}

MPSNN_SIMD void add_constant(float constant, const float* x, float scale, float* out,
                             std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) out[i] = x[i] * scale + constant;
}

/// The same s for every pixel.
MPSNN_SIMD void add_to_pixels(const Formula& f, const float* p, const float* s, float* out,
                              std::int64_t pixels, std::int64_t channels) {
  for (std::int64_t x = 0; x < pixels; ++x, p += channels, out += channels) {
    MPSNN_IVDEP
    for (std::int64_t c = 0; c < channels; ++c)
      out[c] = p[c] * f.primary_scale + s[c] * f.secondary_scale + f.bias;
  }
}

void add_run(const Formula& f, const float* p, const float* s, Steps steps, float* out,
             std::int64_t count) {
  // In pieces that stay in the first-level cache until they are clamped.
  constexpr std::int64_t kPiece = 4096;
  for (std::int64_t at = 0; at < count; at += kPiece) {
    const std::int64_t n = std::min(kPiece, count - at);
    if (steps.primary == 1 && steps.secondary == 1) {
      add_both(f, p + at, s + at, out + at, n);
    } else if (steps.primary == 1) {
      add_constant(*s * f.secondary_scale + f.bias, p + at, f.primary_scale, out + at, n);
    } else if (steps.secondary == 1) {
      add_constant(*p * f.primary_scale + f.bias, s + at, f.secondary_scale, out + at, n);
    } else {
      std::fill_n(out + at, n, *p * f.primary_scale + *s * f.secondary_scale + f.bias);
    }
    f.clamp.apply(out + at, n);
  }
}

MPSNN_SIMD void scale_all(const float* x, float scale, float* out, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) out[i] = x[i] * scale;
}

std::shared_ptr<Kernel> prepare_equal_addition(const Formula& formula, std::int64_t count) {
  return make_kernel([formula, count](const KernelArgs& args) {
    parallel_for(count, grain_for(12), [&](std::int64_t begin, std::int64_t end) {
      add_run(formula, args.input<float>(0) + begin, args.input<float>(1) + begin, {1, 1},
              args.output<float>(0) + begin, end - begin);
    });
  });
}

/// A bias, say: a value a channel.
std::shared_ptr<Kernel> prepare_addition_to_pixels(const Formula& formula, const ImageSize& size) {
  const std::int64_t pixels = size.n * size.height * size.width, channels = size.channels;
  return make_kernel([formula, pixels, channels](const KernelArgs& args) {
    parallel_for(pixels, grain_for(channels * 8), [&](std::int64_t begin, std::int64_t end) {
      const std::int64_t at = begin * channels;
      float* const out = args.output<float>(0) + at;
      add_to_pixels(formula, args.input<float>(0) + at, args.input<float>(1), out, end - begin,
                    channels);
      formula.clamp.apply(out, (end - begin) * channels);
    });
  });
}

}  // namespace

Fit fits_addition_plain(const KernelQuery& query) {
  const Fit plain = all_plain_float32(query);
  const TensorDesc& result = query.outputs[0];
  if (!plain.yes || (query.inputs[0].dims == result.dims && query.inputs[1].dims == result.dims))
    return plain;
  const Fit primary = fits_broadcast(query.inputs[0], result);
  return primary.yes ? fits_broadcast(query.inputs[1], result) : primary;
}

std::shared_ptr<Kernel> prepare_addition_plain(const KernelQuery& query) {
  const Formula formula(query.attributes);
  const TensorDesc& result = query.outputs[0];
  if (query.inputs[0].dims == result.dims && query.inputs[1].dims == result.dims) {
    return prepare_equal_addition(formula, result.count());
  }
  const Broadcast broadcast(query.inputs[0], query.inputs[1], result);
  // A value a channel: one a column or row may be as many.
  if (query.inputs[0].dims == result.dims && query.inputs[1].dims[3] == result.dims[3] &&
      query.inputs[1].count() == result.dims[3])
    return prepare_addition_to_pixels(formula, broadcast.size);
  return make_kernel([formula, b = broadcast](const KernelArgs& args) {
    const auto run = [&](const float* p, const float* s, Steps steps, float* out,
                         std::int64_t count) { add_run(formula, p, s, steps, out, count); };
    parallel_for(b.rows(), grain_for(b.row_size() * 12), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        b.each_run(b.primary_row(args.input<float>(0), row),
                   b.secondary_row(args.input<float>(1), row),
                   args.output<float>(0) + row * b.row_size(), run);
      }
    });
  });
}

Fit fits_addition_gradient_plain(const KernelQuery& query) {
  const Fit plain = all_plain_float32(query);
  if (!plain.yes || query.inputs[0].dims == query.outputs[0].dims) return plain;
  return fits_broadcast(query.outputs[0], query.inputs[0]);
}

std::shared_ptr<Kernel> prepare_addition_gradient_plain(const KernelQuery& query) {
  const double scale = get_float(query.attributes, "scale");
  if (query.inputs[0].dims == query.outputs[0].dims) {
    return make_kernel([scale = static_cast<float>(scale),
                        count = query.outputs[0].count()](const KernelArgs& args) {
      parallel_for(count, grain_for(8), [&](std::int64_t begin, std::int64_t end) {
        scale_all(args.input<float>(0) + begin, scale, args.output<float>(0) + begin, end - begin);
      });
    });
  }
  const ReducedSum sum(query.inputs[0], query.outputs[0], scale, /*computes_rows=*/false);
  const std::int64_t row_size = query.inputs[0].image().width * query.inputs[0].image().channels;
  return make_kernel(
      [sum, row_size](const KernelArgs& args) {
        const float* const gradient = args.input<float>(0);
        sum.run([=](std::int64_t row, float*) { return gradient + row * row_size; },
                args.output<float>(0), args.scratch);
      },
      sum.scratch_bytes());
}

Fit fits_broadcast_plain(const KernelQuery& query) {
  const Fit plain = all_plain_float32(query);
  return plain.yes ? fits_broadcast(query.inputs[0], query.outputs[0]) : plain;
}

std::shared_ptr<Kernel> prepare_broadcast_plain(const KernelQuery& query) {
  const auto scale = static_cast<float>(get_float(query.attributes, "scale"));
  const Broadcast broadcast(query.inputs[0], query.inputs[0], query.outputs[0]);
  return make_kernel([scale, b = broadcast](const KernelArgs& args) {
    const float* const source = args.input<float>(0);
    const auto run = [scale](const float* p, const float*, Steps steps, float* out,
                             std::int64_t count) {
      if (steps.primary == 1) {
        scale_all(p, scale, out, count);
      } else {
        std::fill_n(out, count, *p * scale);
      }
    };
    parallel_for(b.rows(), grain_for(b.row_size() * 4), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row)
        b.each_run(b.primary_row(source, row), source, args.output<float>(0) + row * b.row_size(),
                   run);
    });
  });
}

}  // namespace mpsnn::backend::cpu
