// SPDX-License-Identifier: MIT
// resampling, resampling_gradient: bilinear and Lanczos, separable sums whose weights are listed
// ahead.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <numbers>
#include <utility>

#include "backend/cpu/ops/kernel_tools.h"
#include "backend/cpu/ops/resample.h"
#include "backend/cpu/ops/rows.h"
#include "base/attributes.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

constexpr std::int64_t kBilinear = 0, kLanczos = 1;
constexpr double kLobes = 3;

double sinc(double x) {
  const double angle = std::numbers::pi * x;
  return x == 0 ? 1.0 : std::sin(angle) / angle;
}

double lanczos(double x) { return std::abs(x) < kLobes ? sinc(x) * sinc(x / kLobes) : 0.0; }

double triangle(double x) { return std::max(0.0, 1.0 - std::abs(x)); }

/// Result position p lies at (p + 0.5 - translate) / scale - 0.5 in the source. Weights are those
/// of the kernel there, divided by their sum; positions outside read the nearest one.
Resampling taps_for(std::int64_t filter, std::int64_t source, std::int64_t result, double scale,
                    double translate) {
  // Lanczos' kernel is widened where the image shrinks, so that it takes all pixels in.
  const double stretch = filter == kLanczos ? std::max(1.0, 1.0 / scale) : 1.0;
  const double support = stretch * (filter == kLanczos ? kLobes : 1.0);
  Resampling list(static_cast<std::size_t>(result));
  for (std::int64_t p = 0; p < result; ++p) {
    const double centre = (static_cast<double>(p) + 0.5 - translate) / scale - 0.5;
    std::map<std::int64_t, double> weights;
    double total = 0;
    const auto first = static_cast<std::int64_t>(std::ceil(centre - support)),
               last = static_cast<std::int64_t>(std::floor(centre + support));
    for (std::int64_t at = first; at <= last; ++at) {
      const double distance = (static_cast<double>(at) - centre) / stretch;
      const double weight = filter == kLanczos ? lanczos(distance) : triangle(distance);
      weights[std::clamp<std::int64_t>(at, 0, source - 1)] += weight;
      total += weight;
    }
    for (const auto& [at, weight] : weights) {
      if (weight != 0) list[p].push_back({at, static_cast<float>(weight / total)});
    }
  }
  return list;
}

Fit fits_resampling(const KernelQuery& query) {
  const Fit plain = all_plain_float32(query);
  if (!plain.yes) return plain;
  const std::int64_t filter = get_int(query.attributes, "filter");
  if (filter == kBilinear || filter == kLanczos) return {};
  return Fit::no(str("filter: expected 0 or 1, got ", filter));
}

std::shared_ptr<Kernel> prepare(const KernelQuery& query, bool is_gradient) {
  const AttributeMap& a = query.attributes;
  const ImageSize from = query.inputs[0].image(), to = query.outputs[0].image();
  const ImageSize &source = is_gradient ? to : from, &result = is_gradient ? from : to;
  check_internal(from.n == to.n && from.channels == to.channels,
                 "resampling keeps the numbers of images and channels");
  const auto list = [&](std::int64_t in, std::int64_t out, std::string_view axis) {
    Resampling taps = taps_for(get_int(a, "filter"), in, out, get_float(a, str("scale_", axis)),
                               get_float(a, str("translate_", axis)));
    return is_gradient ? inverse(taps, in) : taps;
  };
  Resample resample = {.images = from.n,
                       .channels = from.channels,
                       .source_rows = from.height,
                       .source_columns = from.width,
                       .y = list(source.height, result.height, "y"),
                       .x = list(source.width, result.width, "x")};
  const std::size_t scratch = resample.scratch_bytes();
  return make_kernel(
      [r = std::move(resample)](const KernelArgs& args) {
        r.run(args.input<float>(0), args.output<float>(0), args.scratch);
      },
      scratch);
}

}  // namespace

Fit fits_resampling_plain(const KernelQuery& query) { return fits_resampling(query); }
Fit fits_resampling_gradient_plain(const KernelQuery& query) { return fits_resampling(query); }

std::shared_ptr<Kernel> prepare_resampling_plain(const KernelQuery& query) {
  return prepare(query, /*is_gradient=*/false);
}
std::shared_ptr<Kernel> prepare_resampling_gradient_plain(const KernelQuery& query) {
  return prepare(query, /*is_gradient=*/true);
}

}  // namespace mpsnn::backend::cpu
