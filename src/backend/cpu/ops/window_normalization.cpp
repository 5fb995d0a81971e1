// SPDX-License-Identifier: MIT
// spatial_normalization, local_contrast_normalization and their gradients: sums over windows of
// pixels. A gradient needs the sums over the windows that hold a pixel, of what its windows' pixels
// gave: it makes images of that in scratch memory first.
#include <cmath>

#include "backend/cpu/ops/kernel_tools.h"
#include "backend/cpu/ops/power.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/ops/window_sums.h"
#include "backend/cpu/simd.h"
#include "base/attributes.h"

namespace mpsnn::backend::cpu {
namespace {

struct Window {
  ImageSize size;
  WindowReach reach;
  float alpha, beta, delta, inverse_area;

  Window(const TensorDesc& source, const AttributeMap& attributes)
      : size(source.image()),
        reach(),
        alpha(static_cast<float>(get_float(attributes, "alpha"))),
        beta(static_cast<float>(get_float(attributes, "beta"))),
        delta(static_cast<float>(get_float(attributes, "delta"))) {
    const std::int64_t height = get_int(attributes, "kernel_height"),
                       width = get_int(attributes, "kernel_width");
    reach = {height / 2, (height - 1) / 2, width / 2, (width - 1) / 2};
    inverse_area = static_cast<float>(1.0 / static_cast<double>(height * width));
  }
  RowParts parts() const noexcept { return {size.n, size.height}; }
  std::int64_t row_size() const noexcept { return size.width * size.channels; }
  std::int64_t image_size() const noexcept { return size.height * row_size(); }
  std::int64_t count() const noexcept { return size.n * image_size(); }
  WindowSums sums() const { return {size, reach}; }
  WindowSums mirrored_sums() const { return {size, reach.mirrored()}; }
};

struct Contrast {
  float p0, pm, ps;
  explicit Contrast(const AttributeMap& attributes)
      : p0(static_cast<float>(get_float(attributes, "p0"))),
        pm(static_cast<float>(get_float(attributes, "pm"))),
        ps(static_cast<float>(get_float(attributes, "ps"))) {}
};

/// Rows of a part in scratch memory: the buffer of the sums, then `rows` rows.
class PartRows {
 public:
  PartRows(const Window& w, std::int64_t rows)
      : buffer_(w.sums().buffer_size()),
        row_(w.row_size()),
        size_(buffer_ + rows * row_),
        parts_(w.parts().count()) {}
  std::int64_t floats() const noexcept { return parts_ * size_; }
  float* buffer(float* scratch, std::int64_t part) const noexcept { return scratch + part * size_; }
  float* row(float* scratch, std::int64_t part, std::int64_t i) const noexcept {
    return buffer(scratch, part) + buffer_ + i * row_;
  }

 private:
  std::int64_t buffer_, row_, size_, parts_;
};

std::size_t bytes_of(std::int64_t floats) {
  return static_cast<std::size_t>(floats) * sizeof(float);
}

void run_spatial(const Window& w, const KernelArgs& args) {
  const PartRows rows(w, 1);
  auto* const scratch = static_cast<float*>(args.scratch);
  w.parts().for_each_row(
      w.row_size() * 8, [&](std::int64_t part, std::int64_t image, std::int64_t y) {
        const float* const source = args.input<float>(0) + image * w.image_size();
        float* const sums = rows.row(scratch, part, 0);
        w.sums().row(source, y, Summand::SQUARE, rows.buffer(scratch, part), sums);
        raise_denominators(w.alpha * w.inverse_area, w.beta, w.delta, sums, w.row_size());
        const std::int64_t at = y * w.row_size();
        multiply_values(source + at, sums, args.output<float>(0) + image * w.image_size() + at,
                        w.row_size());
      });
}

/// out = g * d; inner = g * x * d / s with s = delta + alpha * squares, the denominator's base.
MPSNN_SIMD void spatial_terms(const float* g, const float* x, const float* d, const float* squares,
                              float alpha, float delta, float* out, float* inner,
                              std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) {
    const float outer = g[i] * d[i];
    out[i] = outer;
    inner[i] = outer * x[i] / (delta + alpha * squares[i]);
  }
}

MPSNN_SIMD void subtract_products(const float* x, const float* sums, float factor, float* out,
                                  std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) out[i] -= factor * x[i] * sums[i];
}

/// dx = g * s^-beta - 2 * alpha * beta / area * x * (mirrored window sum of g * x * s^(-beta - 1)).
void run_spatial_gradient(const Window& w, const KernelArgs& args) {
  const PartRows rows(w, 2);
  auto* const inner = static_cast<float*>(args.scratch);
  float* const scratch = inner + w.count();
  const float *const g = args.input<float>(0), *const x = args.input<float>(1);
  float* const out = args.output<float>(0);
  const float alpha = w.alpha * w.inverse_area;
  w.parts().for_each_row(w.row_size() * 16, [&](std::int64_t part, std::int64_t image,
                                                std::int64_t y) {
    float *const squares = rows.row(scratch, part, 0), *const d = rows.row(scratch, part, 1);
    w.sums().row(x + image * w.image_size(), y, Summand::SQUARE, rows.buffer(scratch, part),
                 squares);
    std::copy_n(squares, w.row_size(), d);
    raise_denominators(alpha, w.beta, w.delta, d, w.row_size());
    const std::int64_t at = image * w.image_size() + y * w.row_size();
    spatial_terms(g + at, x + at, d, squares, alpha, w.delta, out + at, inner + at, w.row_size());
  });
  w.parts().for_each_row(
      w.row_size() * 12, [&](std::int64_t part, std::int64_t image, std::int64_t y) {
        float* const sums = rows.row(scratch, part, 0);
        w.mirrored_sums().row(inner + image * w.image_size(), y, Summand::VALUE,
                              rows.buffer(scratch, part), sums);
        const std::int64_t at = image * w.image_size() + y * w.row_size();
        subtract_products(x + at, sums, 2 * alpha * w.beta, out + at, w.row_size());
      });
}

/// Sums of values and of squares -> mean and variance.
MPSNN_SIMD void to_mean_and_variance(float inverse_area, float* sums, float* squares,
                                     std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) {
    const float mean = sums[i] * inverse_area, variance = squares[i] * inverse_area - mean * mean;
    sums[i] = mean;
    squares[i] = variance < 0 ? 0 : variance;
  }
}

MPSNN_SIMD void contrast(const float* x, const float* mean, const float* d, const Contrast& c,
                         float* out, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) out[i] = c.pm + c.ps * (x[i] - c.p0 * mean[i]) * d[i];
}

/// Mean and variance of the windows of a row.
void window_statistics(const Window& w, const float* image, std::int64_t y, float* buffer,
                       float* mean, float* variance) {
  w.sums().row(image, y, Summand::VALUE, buffer, mean);
  w.sums().row(image, y, Summand::SQUARE, buffer, variance);
  to_mean_and_variance(w.inverse_area, mean, variance, w.row_size());
}

void run_contrast(const Window& w, const Contrast& c, const KernelArgs& args) {
  const PartRows rows(w, 2);
  auto* const scratch = static_cast<float*>(args.scratch);
  w.parts().for_each_row(
      w.row_size() * 8, [&](std::int64_t part, std::int64_t image, std::int64_t y) {
        const float* const source = args.input<float>(0) + image * w.image_size();
        float *const mean = rows.row(scratch, part, 0), *const d = rows.row(scratch, part, 1);
        window_statistics(w, source, y, rows.buffer(scratch, part), mean, d);
        raise_denominators(w.alpha, w.beta, w.delta, d, w.row_size());
        const std::int64_t at = y * w.row_size();
        contrast(source + at, mean, d, c, args.output<float>(0) + image * w.image_size() + at,
                 w.row_size());
      });
}

/// Rows of the two images that a gradient sums over windows.
struct ContrastSums {
  float *plain, *scaled;
};

/// With d = s^-beta, s = delta + alpha * variance, e = ps * g * (x - p0 * mean) * alpha * beta * d
/// / s: out = ps * g * d, plain = p0 * out - 2 * e * mean, scaled = 2 * e.
MPSNN_SIMD void contrast_terms(const float* g, const float* x, const float* mean,
                               const float* variance, const float* d, const Window& w,
                               const Contrast& c, float* out, const ContrastSums& sums,
                               std::int64_t count) {
  const float alpha = w.alpha, factor = 2 * w.alpha * w.beta, delta = w.delta;
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) {
    const float outer = c.ps * g[i] * d[i];
    const float e = factor * outer * (x[i] - c.p0 * mean[i]) / (delta + alpha * variance[i]);
    out[i] = outer;
    sums.plain[i] = c.p0 * outer - e * mean[i];
    sums.scaled[i] = e;
  }
}

MPSNN_SIMD void subtract_contrast(const float* x, const float* plain, const float* scaled,
                                  float inverse_area, float* out, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) out[i] -= inverse_area * (plain[i] + x[i] * scaled[i]);
}

void run_contrast_gradient(const Window& w, const Contrast& c, const KernelArgs& args) {
  const PartRows rows(w, 3);
  auto* const plain = static_cast<float*>(args.scratch);
  float *const scaled = plain + w.count(), *const scratch = scaled + w.count();
  const float *const g = args.input<float>(0), *const x = args.input<float>(1);
  float* const out = args.output<float>(0);
  w.parts().for_each_row(w.row_size() * 20, [&](std::int64_t part, std::int64_t image,
                                                std::int64_t y) {
    float *const mean = rows.row(scratch, part, 0), *const variance = rows.row(scratch, part, 1);
    float* const d = rows.row(scratch, part, 2);
    window_statistics(w, x + image * w.image_size(), y, rows.buffer(scratch, part), mean, variance);
    std::copy_n(variance, w.row_size(), d);
    raise_denominators(w.alpha, w.beta, w.delta, d, w.row_size());
    const std::int64_t at = image * w.image_size() + y * w.row_size();
    contrast_terms(g + at, x + at, mean, variance, d, w, c, out + at, {plain + at, scaled + at},
                   w.row_size());
  });
  w.parts().for_each_row(
      w.row_size() * 16, [&](std::int64_t part, std::int64_t image, std::int64_t y) {
        float *const first = rows.row(scratch, part, 0), *const second = rows.row(scratch, part, 1);
        float* const buffer = rows.buffer(scratch, part);
        const WindowSums sums = w.mirrored_sums();
        sums.row(plain + image * w.image_size(), y, Summand::VALUE, buffer, first);
        sums.row(scaled + image * w.image_size(), y, Summand::VALUE, buffer, second);
        const std::int64_t at = image * w.image_size() + y * w.row_size();
        subtract_contrast(x + at, first, second, w.inverse_area, out + at, w.row_size());
      });
}

}  // namespace

Fit fits_spatial_normalization_plain(const KernelQuery& query) { return all_plain_float32(query); }

std::shared_ptr<Kernel> prepare_spatial_normalization_plain(const KernelQuery& query) {
  const Window window(query.inputs[0], query.attributes);
  return make_kernel([window](const KernelArgs& args) { run_spatial(window, args); },
                     bytes_of(PartRows(window, 1).floats()));
}

Fit fits_spatial_normalization_gradient_plain(const KernelQuery& query) {
  return all_plain_float32(query);
}

std::shared_ptr<Kernel> prepare_spatial_normalization_gradient_plain(const KernelQuery& query) {
  const Window window(query.inputs[1], query.attributes);
  return make_kernel([window](const KernelArgs& args) { run_spatial_gradient(window, args); },
                     bytes_of(window.count() + PartRows(window, 2).floats()));
}

Fit fits_local_contrast_normalization_plain(const KernelQuery& query) {
  return all_plain_float32(query);
}

std::shared_ptr<Kernel> prepare_local_contrast_normalization_plain(const KernelQuery& query) {
  const Window window(query.inputs[0], query.attributes);
  const Contrast contrast(query.attributes);
  return make_kernel([=](const KernelArgs& args) { run_contrast(window, contrast, args); },
                     bytes_of(PartRows(window, 2).floats()));
}

Fit fits_local_contrast_normalization_gradient_plain(const KernelQuery& query) {
  return all_plain_float32(query);
}

std::shared_ptr<Kernel> prepare_local_contrast_normalization_gradient_plain(
    const KernelQuery& query) {
  const Window window(query.inputs[1], query.attributes);
  const Contrast contrast(query.attributes);
  return make_kernel([=](const KernelArgs& args) { run_contrast_gradient(window, contrast, args); },
                     bytes_of(2 * window.count() + PartRows(window, 3).floats()));
}

}  // namespace mpsnn::backend::cpu
