// SPDX-License-Identifier: MIT
// pooling_average and pooling_average_gradient: sums of rows, then of columns.
#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "backend/cpu/ops/pooling.h"
#include "backend/cpu/ops/reduction.h"
#include "backend/cpu/ops/resample.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/parallel.h"
#include "base/attributes.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

/// What the sum of each window is divided by, along one axis: the area is a product.
std::vector<float> divisors(const PoolingAxis& axis, bool zero_edges, std::int64_t border) {
  std::vector<float> counts;
  for (std::int64_t p = 0; p < axis.result; ++p) {
    const std::int64_t first = std::max(axis.first(p), -border),
                       end = std::min(axis.first(p) + axis.kernel, axis.source + border);
    // A window that lies wholly outside sums nothing and gives 0.
    const std::int64_t count = zero_edges ? axis.kernel : std::max<std::int64_t>(end - first, 1);
    counts.push_back(static_cast<float>(count));
  }
  return counts;
}

struct Average {
  Pooling pooling;
  std::vector<float> divisors_y, divisors_x;

  Average(const AttributeMap& attributes, const ImageSize& source, const ImageSize& result)
      : pooling(read_pooling(attributes, source, result)),
        divisors_y(divisors(pooling.y, pooling.zero_edges, get_int(attributes, "zero_pad_y"))),
        divisors_x(divisors(pooling.x, pooling.zero_edges, get_int(attributes, "zero_pad_x"))) {}
};

Average read_average(const KernelQuery& query) {
  return {query.attributes, query.inputs[0].image(), query.outputs[0].image()};
}

Resampling sums(const PoolingAxis& axis) {
  return windows(axis.source, axis.result, axis.kernel, axis.stride, axis.pad);
}

Resampling means(const PoolingAxis& axis, const std::vector<float>& divisors) {
  Resampling list = sums(axis);
  for (std::size_t p = 0; p < list.size(); ++p) {
    for (WeightedTap& tap : list[p]) tap.weight = 1 / divisors[p];
  }
  return list;
}

/// Whether a product with the divisors' inverses is as exact as a quotient.
bool are_powers_of_2(const std::vector<float>& divisors) {
  return std::ranges::all_of(divisors, [](float divisor) {
    int exponent = 0;
    return std::frexp(divisor, &exponent) == 0.5F;
  });
}

std::shared_ptr<Kernel> make_resample(Resample resample) {
  const std::size_t scratch = resample.scratch_bytes();
  return make_kernel(
      [r = std::move(resample)](const KernelArgs& args) {
        r.run(args.input<float>(0), args.output<float>(0), args.scratch);
      },
      scratch);
}

bool covers(const PoolingAxis& axis) {
  return axis.result == 1 && axis.first(0) <= 0 && axis.first(0) + axis.kernel >= axis.source;
}

}  // namespace

Fit fits_pooling_average_global(const KernelQuery& query) {
  const Fit fit = fits_pooling(query);
  if (!fit.yes) return fit;
  const Average average = read_average(query);
  if (covers(average.pooling.y) && covers(average.pooling.x)) return {};
  return Fit::no("expected one window that covers the source");
}

std::shared_ptr<Kernel> prepare_pooling_average_global(const KernelQuery& query) {
  const Average average = read_average(query);
  const Pooling& p = average.pooling;
  const ColumnSum sum(p.y.source * p.x.source, p.channels);
  const float divisor = average.divisors_y[0] * average.divisors_x[0];
  return make_kernel(
      [sum, divisor, images = p.images, channels = p.channels,
       size = p.y.source * p.source_row()](const KernelArgs& args) {
        float* const out = args.output<float>(0);
        for (std::int64_t i = 0; i < images; ++i)
          sum.run(args.input<float>(0) + i * size, 1.0F, out + i * channels, args.scratch);
        for (std::int64_t i = 0; i < images * channels; ++i) out[i] /= divisor;
      },
      sum.scratch_bytes());
}

Fit fits_pooling_average_plain(const KernelQuery& query) { return fits_pooling(query); }

std::shared_ptr<Kernel> prepare_pooling_average_plain(const KernelQuery& query) {
  const Average average = read_average(query);
  const Pooling& p = average.pooling;
  Resample resample = {.images = p.images,
                       .channels = p.channels,
                       .source_rows = p.y.source,
                       .source_columns = p.x.source,
                       .y = sums(p.y),
                       .x = sums(p.x)};
  if (are_powers_of_2(average.divisors_y) && are_powers_of_2(average.divisors_x)) {
    resample.y = means(p.y, average.divisors_y);
    resample.x = means(p.x, average.divisors_x);
  } else {
    resample.divisors_y = average.divisors_y;
    resample.divisors_x = average.divisors_x;
  }
  return make_resample(std::move(resample));
}

Fit fits_pooling_average_gradient_plain(const KernelQuery& query) { return fits_pooling(query); }

std::shared_ptr<Kernel> prepare_pooling_average_gradient_plain(const KernelQuery& query) {
  const Average average(query.attributes, query.outputs[0].image(), query.inputs[0].image());
  const Pooling& p = average.pooling;
  return make_resample({.images = p.images,
                        .channels = p.channels,
                        .source_rows = p.y.result,
                        .source_columns = p.x.result,
                        .y = inverse(means(p.y, average.divisors_y), p.y.source),
                        .x = inverse(means(p.x, average.divisors_x), p.x.source)});
}

}  // namespace mpsnn::backend::cpu
