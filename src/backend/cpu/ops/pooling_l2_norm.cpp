// SPDX-License-Identifier: MIT
// pooling_l2_norm, pooling_l2_norm_gradient.
#include <algorithm>
#include <cmath>
#include <cstddef>

#include "backend/cpu/ops/pooling.h"
#include "backend/cpu/ops/resample.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/simd.h"
#include "base/attributes.h"

namespace mpsnn::backend::cpu {
namespace {

constexpr std::int64_t kChunks = 64;

MPSNN_SIMD void add_squares(const float* x, float* sums, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) sums[i] += x[i] * x[i];
}

MPSNN_SIMD void add_all(const float* x, float* sums, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) sums[i] += x[i];
}

MPSNN_SIMD void take_roots(float* x, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) x[i] = __builtin_sqrtf(x[i]);
}

MPSNN_SIMD void divide_by_norms(const float* g, const float* norm, float* out, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) out[i] = norm[i] == 0 ? 0 : g[i] / norm[i];
}

MPSNN_SIMD void multiply_by(const float* x, float* out, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) out[i] *= x[i];
}

/// work: a row of the source.
void norm_row(const Pooling& p, std::int64_t row, const float* image, float* work, float* out) {
  std::fill_n(work, p.source_row(), 0.0F);
  const PoolingRange rows(p.y, row);
  for (std::int64_t i = 0; i < rows.count; ++i)
    add_squares(image + (rows.begin + i) * p.source_row(), work, p.source_row());
  std::fill_n(out, p.result_row(), 0.0F);
  for (std::int64_t x = 0; x < p.x.result; ++x) {
    const PoolingRange columns(p.x, x);
    for (std::int64_t j = 0; j < columns.count; ++j)
      add_all(work + (columns.begin + j) * p.channels, out + x * p.channels, p.channels);
  }
  take_roots(out, p.result_row());
}

void run_norm(const Pooling& p, const KernelArgs& args) {
  const std::int64_t rows = p.images * p.y.result, chunks = std::min(rows, kChunks);
  const std::int64_t image_size = p.y.source * p.source_row();
  parallel_for(chunks, grain_for(p.images * image_size / std::max<std::int64_t>(chunks, 1) * 4),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t chunk = begin; chunk < end; ++chunk) {
                   float* work = static_cast<float*>(args.scratch) + chunk * p.source_row();
                   for (std::int64_t i = rows * chunk / chunks; i < rows * (chunk + 1) / chunks;
                        ++i) {
                     norm_row(p, i % p.y.result, args.input<float>(0) + i / p.y.result * image_size,
                              work, args.output<float>(0) + i * p.result_row());
                   }
                 }
               });
}

}  // namespace

Fit fits_pooling_l2_norm_plain(const KernelQuery& query) { return fits_pooling(query); }

std::shared_ptr<Kernel> prepare_pooling_l2_norm_plain(const KernelQuery& query) {
  const Pooling pooling =
      read_pooling(query.attributes, query.inputs[0].image(), query.outputs[0].image());
  const std::int64_t chunks = std::min(pooling.images * pooling.y.result, kChunks);
  return make_kernel([pooling](const KernelArgs& args) { run_norm(pooling, args); },
                     static_cast<std::size_t>(chunks * pooling.source_row()) * sizeof(float));
}

Fit fits_pooling_l2_norm_gradient_plain(const KernelQuery& query) { return fits_pooling(query); }

/// d/dx of sqrt(sum x^2) is x / norm: the quotients gradient / norm are summed over the windows
/// that a pixel lies in, and multiplied by the pixel at the end.
std::shared_ptr<Kernel> prepare_pooling_l2_norm_gradient_plain(const KernelQuery& query) {
  const Pooling p =
      read_pooling(query.attributes, query.inputs[1].image(), query.inputs[2].image());
  const auto readers = [](const PoolingAxis& axis) {
    return inverse(windows(axis.source, axis.result, axis.kernel, axis.stride, axis.pad),
                   axis.source);
  };
  Resample resample = {.images = p.images,
                       .channels = p.channels,
                       .source_rows = p.y.result,
                       .source_columns = p.x.result,
                       .y = readers(p.y),
                       .x = readers(p.x)};
  const std::int64_t quotients = query.inputs[2].count(), count = query.outputs[0].count();
  const std::size_t scratch =
      resample.scratch_bytes() + static_cast<std::size_t>(quotients) * sizeof(float);
  return make_kernel(
      [r = std::move(resample), quotients, count](const KernelArgs& args) {
        float* const q = static_cast<float*>(args.scratch);
        parallel_for(quotients, grain_for(12), [&](std::int64_t begin, std::int64_t end) {
          divide_by_norms(args.input<float>(0) + begin, args.input<float>(2) + begin, q + begin,
                          end - begin);
        });
        r.run(q, args.output<float>(0), q + quotients);
        parallel_for(count, grain_for(12), [&](std::int64_t begin, std::int64_t end) {
          multiply_by(args.input<float>(1) + begin, args.output<float>(0) + begin, end - begin);
        });
      },
      scratch);
}

}  // namespace mpsnn::backend::cpu
