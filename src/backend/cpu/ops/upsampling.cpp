// SPDX-License-Identifier: MIT
// upsampling_nearest, upsampling_bilinear and their gradients, which have the lists of what is
// summed inverted.
#include <algorithm>
#include <utility>

#include "backend/cpu/ops/kernel_tools.h"
#include "backend/cpu/ops/resample.h"
#include "backend/cpu/ops/rows.h"
#include "base/attributes.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

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

std::shared_ptr<Kernel> make_resample(Resample resample) {
  const std::size_t scratch = resample.scratch_bytes();
  return make_kernel(
      [r = std::move(resample)](const KernelArgs& args) {
        r.run(args.input<float>(0), args.output<float>(0), args.scratch);
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
