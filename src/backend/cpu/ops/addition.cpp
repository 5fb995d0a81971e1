// SPDX-License-Identifier: MIT
// addition (either operand broadcast, in place on either) and addition_gradient (summed over what
// was broadcast).
#include <algorithm>
#include <array>
#include <limits>

#include "backend/cpu/ops/kernel_tools.h"
#include "backend/cpu/ops/reduction.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/simd.h"
#include "base/attributes.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

struct Formula {
  float primary_scale, secondary_scale, bias, minimum, maximum;
  bool clamps;
};

Formula read_formula(const AttributeMap& attributes) {
  constexpr double kLargest = std::numeric_limits<float>::max();
  const double minimum = get_float(attributes, "minimum_value"),
               maximum = get_float(attributes, "maximum_value");
  return {.primary_scale = static_cast<float>(get_float(attributes, "primary_scale")),
          .secondary_scale = static_cast<float>(get_float(attributes, "secondary_scale")),
          .bias = static_cast<float>(get_float(attributes, "bias")),
          .minimum = static_cast<float>(minimum),
          .maximum = static_cast<float>(maximum),
          // The defaults are no limits: an infinity stays one.
          .clamps = minimum > -kLargest || maximum < kLargest};
}

/// Steps from element to element of each operand: 1, or 0 where one value serves all.
struct Steps {
  std::int64_t primary, secondary;
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

MPSNN_SIMD void clamp_all(const Formula& f, float* out, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) {  // NaN compares false and stays
    const float low = out[i] < f.minimum ? f.minimum : out[i];
    out[i] = low > f.maximum ? f.maximum : low;
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
    if (f.clamps) clamp_all(f, out + at, n);
  }
}

using Strides = std::array<std::int64_t, 4>;

/// Floats from one position to the next of each dimension; 0 where the operand is broadcast.
Strides strides_of(const TensorDesc& operand, const TensorDesc& result) {
  Strides strides{};
  std::int64_t step = 1;
  for (std::size_t i = 4; i-- > 0;) {
    strides[i] = operand.dims[i] == 1 && result.dims[i] != 1 ? 0 : step;
    step *= operand.dims[i];
  }
  return strides;
}

struct Broadcast {
  ImageSize size;
  Strides primary, secondary;
  /// A row is one run where both operands step through columns as through channels.
  bool rows_are_runs() const noexcept {
    const auto steady = [&](const Strides& s) {
      return s[2] == s[3] * size.channels || size.width == 1;
    };
    return steady(primary) && steady(secondary);
  }
};

void add_row(const Formula& f, const Broadcast& b, std::int64_t row, const float* p, const float* s,
             float* out) {
  const std::int64_t n = row / b.size.height, y = row % b.size.height;
  p += n * b.primary[0] + y * b.primary[1];
  s += n * b.secondary[0] + y * b.secondary[1];
  out += row * b.size.width * b.size.channels;
  const Steps steps = {b.primary[3], b.secondary[3]};
  if (b.rows_are_runs()) return add_run(f, p, s, steps, out, b.size.width * b.size.channels);
  for (std::int64_t x = 0; x < b.size.width; ++x) {
    add_run(f, p + x * b.primary[2], s + x * b.secondary[2], steps, out + x * b.size.channels,
            b.size.channels);
  }
}

Fit fits_operand(const TensorDesc& operand, const TensorDesc& result) {
  if (operand.dims.size() == 4 && result.dims.size() == 4) {
    bool fits = true;
    for (std::size_t i = 0; i < 4; ++i)
      fits = fits && (operand.dims[i] == result.dims[i] || operand.dims[i] == 1);
    if (fits) return {};
  }
  return Fit::no(
      str("expected images that equal the result's size or are 1 where they do not, got ",
          to_string(operand), " for ", to_string(result)));
}

/// A gradient of `from` summed over the reduced dimensions. What is kept of images and rows is
/// computed apart; where that is little, the rows that are summed are split into parts that are
/// added at the end.
struct Reduction {
  ImageSize from;
  std::array<bool, 4> reduced;
  float scale;
  std::int64_t kept_images, kept_rows, summed_images, summed_rows, parts;

  Reduction(const TensorDesc& gradient, const TensorDesc& result, float factor)
      : from(gradient.image()), scale(factor) {
    constexpr std::int64_t kParts = 16;
    for (std::size_t i = 0; i < 4; ++i) reduced[i] = result.dims[i] != gradient.dims[i];
    kept_images = reduced[0] ? 1 : from.n;
    kept_rows = reduced[1] ? 1 : from.height;
    summed_images = from.n / kept_images;
    summed_rows = from.height / kept_rows;
    parts = kept() >= kParts ? 1 : std::min(kParts, summed());
  }
  std::int64_t kept() const noexcept { return kept_images * kept_rows; }
  std::int64_t summed() const noexcept { return summed_images * summed_rows; }
  std::int64_t row_size() const noexcept { return from.width * from.channels; }
  std::int64_t out_width() const noexcept { return reduced[2] ? 1 : from.width; }
  std::int64_t out_channels() const noexcept { return reduced[3] ? 1 : from.channels; }
  std::int64_t out_row_size() const noexcept { return out_width() * out_channels(); }
  std::size_t scratch_bytes() const noexcept {
    return static_cast<std::size_t>(kept() * parts * out_row_size()) * sizeof(double);
  }
  /// Row `i` of those that add up to what is kept at `place`.
  std::int64_t row_at(std::int64_t place, std::int64_t i) const noexcept {
    const std::int64_t n = reduced[0] ? i / summed_rows : place / kept_rows;
    const std::int64_t y = reduced[1] ? i % summed_rows : place % kept_rows;
    return n * from.height + y;
  }
};

MPSNN_SIMD void scale_all(const float* x, float scale, float* out, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) out[i] = x[i] * scale;
}

MPSNN_SIMD void add_to_doubles(const float* x, double* sums, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) sums[i] += static_cast<double>(x[i]);
}

/// sums[x] += the sum of pixel x. Eight partial sums: one chain of additions would be waited for.
MPSNN_SIMD void add_pixel_sums(const float* row, std::int64_t pixels, std::int64_t channels,
                               double* sums) {
  for (std::int64_t x = 0; x < pixels; ++x, row += channels) {
    double parts[8] = {};
    std::int64_t c = 0;
    for (; c + 8 <= channels; c += 8) {
      for (std::int64_t i = 0; i < 8; ++i) parts[i] += static_cast<double>(row[c + i]);
    }
    for (; c < channels; ++c) parts[c % 8] += static_cast<double>(row[c]);
    sums[x] += ((parts[0] + parts[4]) + (parts[1] + parts[5])) +
               ((parts[2] + parts[6]) + (parts[3] + parts[7]));
  }
}

/// Adds a row of the gradient to the sums, reduced over its width and channels.
void add_reduced(const Reduction& r, const float* row, double* sums) {
  if (r.reduced[2] && r.reduced[3]) {
    sums[0] += sum_of(row, r.row_size());
  } else if (r.reduced[3]) {
    add_pixel_sums(row, r.from.width, r.from.channels, sums);
  } else {
    const std::int64_t run = r.out_row_size();
    for (std::int64_t at = 0; at < r.row_size(); at += run) add_to_doubles(row + at, sums, run);
  }
}

void run_reduction(const Reduction& r, const float* gradient, float* out, double* sums) {
  const std::int64_t size = r.out_row_size();
  const std::int64_t bytes = r.row_size() * r.summed() / r.parts * 4;
  parallel_for(r.kept() * r.parts, grain_for(bytes), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t place = i / r.parts, part = i % r.parts;
      double* const own = sums + i * size;
      std::fill_n(own, size, 0.0);
      for (std::int64_t k = r.summed() * part / r.parts; k < r.summed() * (part + 1) / r.parts;
           ++k) {
        add_reduced(r, gradient + r.row_at(place, k) * r.row_size(), own);
      }
    }
  });
  parallel_for(r.kept(), grain_for(size * r.parts * 8), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin * size; i < end * size; ++i) {
      const double* first = sums + i / size * r.parts * size + i % size;
      double total = 0;
      for (std::int64_t part = 0; part < r.parts; ++part) total += first[part * size];
      out[i] = static_cast<float>(r.scale * total);
    }
  });
}

std::shared_ptr<Kernel> prepare_equal_addition(const Formula& formula, std::int64_t count) {
  return make_kernel([formula, count](const KernelArgs& args) {
    parallel_for(count, grain_for(12), [&](std::int64_t begin, std::int64_t end) {
      add_run(formula, args.input<float>(0) + begin, args.input<float>(1) + begin, {1, 1},
              args.output<float>(0) + begin, end - begin);
    });
  });
}

}  // namespace

Fit fits_addition_plain(const KernelQuery& query) {
  const Fit plain = all_plain_float32(query);
  const TensorDesc& result = query.outputs[0];
  if (!plain.yes || (query.inputs[0].dims == result.dims && query.inputs[1].dims == result.dims))
    return plain;
  const Fit primary = fits_operand(query.inputs[0], result);
  return primary.yes ? fits_operand(query.inputs[1], result) : primary;
}

std::shared_ptr<Kernel> prepare_addition_plain(const KernelQuery& query) {
  const Formula formula = read_formula(query.attributes);
  const TensorDesc& result = query.outputs[0];
  if (query.inputs[0].dims == result.dims && query.inputs[1].dims == result.dims) {
    return prepare_equal_addition(formula, result.count());
  }
  const Broadcast broadcast = {result.image(), strides_of(query.inputs[0], result),
                               strides_of(query.inputs[1], result)};
  return make_kernel([formula, b = broadcast](const KernelArgs& args) {
    const std::int64_t row_bytes = b.size.width * b.size.channels * 12;
    parallel_for(b.size.n * b.size.height, grain_for(row_bytes),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t row = begin; row < end; ++row) {
                     add_row(formula, b, row, args.input<float>(0), args.input<float>(1),
                             args.output<float>(0));
                   }
                 });
  });
}

Fit fits_addition_gradient_plain(const KernelQuery& query) {
  const Fit plain = all_plain_float32(query);
  if (!plain.yes || query.inputs[0].dims == query.outputs[0].dims) return plain;
  return fits_operand(query.outputs[0], query.inputs[0]);
}

std::shared_ptr<Kernel> prepare_addition_gradient_plain(const KernelQuery& query) {
  const auto scale = static_cast<float>(get_float(query.attributes, "scale"));
  if (query.inputs[0].dims == query.outputs[0].dims) {
    return make_kernel([scale, count = query.outputs[0].count()](const KernelArgs& args) {
      parallel_for(count, grain_for(8), [&](std::int64_t begin, std::int64_t end) {
        scale_all(args.input<float>(0) + begin, scale, args.output<float>(0) + begin, end - begin);
      });
    });
  }
  const Reduction reduction(query.inputs[0], query.outputs[0], scale);
  return make_kernel(
      [r = reduction](const KernelArgs& args) {
        run_reduction(r, args.input<float>(0), args.output<float>(0),
                      static_cast<double*>(args.scratch));
      },
      reduction.scratch_bytes());
}

}  // namespace mpsnn::backend::cpu
