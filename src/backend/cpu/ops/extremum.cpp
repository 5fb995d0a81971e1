// SPDX-License-Identifier: MIT
// extremum, extremum_gradient: the smallest or largest value along an axis, or its index. NaN is
// both, so that it is not hidden. Of equal values the first counts.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "backend/cpu/ops/extrema.h"
#include "backend/cpu/ops/kernel_tools.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/simd.h"
#include "base/attributes.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

/// Values side by side that are treated at once; another thread may have the next ones.
constexpr std::int64_t kChunk = 512;

/// The source as (outer, along, inner), the result as (outer, inner).
struct Extents {
  std::int64_t outer = 1, along = 1, inner = 1;
  Extents(const TensorDesc& source, std::int64_t axis) {
    for (std::size_t i = 0; i < source.dims.size(); ++i) {
      const auto at = static_cast<std::int64_t>(i);
      (at < axis ? outer : at == axis ? along : inner) *= source.dims[i];
    }
  }
  std::int64_t chunks() const noexcept { return (inner + kChunk - 1) / kChunk; }
};

MPSNN_SIMD void take_larger(const float* x, float* best, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) best[i] = larger(best[i], x[i]);
}
MPSNN_SIMD void take_smaller(const float* x, float* best, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) best[i] = smaller(best[i], x[i]);
}

/// indices[i] = index where x[i] is better than best[i]; NaN once found stays.
MPSNN_SIMD void take_index_larger(const float* x, float* best, float* indices, float index,
                                  std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) {
    const bool better = (x[i] > best[i]) | ((x[i] != x[i]) & (best[i] == best[i]));
    indices[i] = better ? index : indices[i];
    best[i] = better ? x[i] : best[i];
  }
}
MPSNN_SIMD void take_index_smaller(const float* x, float* best, float* indices, float index,
                                   std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) {
    const bool better = (x[i] < best[i]) | ((x[i] != x[i]) & (best[i] == best[i]));
    indices[i] = better ? index : indices[i];
    best[i] = better ? x[i] : best[i];
  }
}

MPSNN_INLINE void take_larger_lanes(Vec& best, const Vec& next) {
  best = best > next ? best : next;
}
MPSNN_INLINE void take_larger_lanes(HalfVec& best, const HalfVec& next) {
  best = best > next ? best : next;
}
MPSNN_INLINE void take_smaller_lanes(Vec& best, const Vec& next) {
  best = best < next ? best : next;
}
MPSNN_INLINE void take_smaller_lanes(HalfVec& best, const HalfVec& next) {
  best = best < next ? best : next;
}

/// The extremum of each run of `along` values, at least kLanes. NaN may be passed over; false where
/// there may be one: it shows in the sum of all.
#define MPSNN_EXTREMA_OF_RUNS(name, take)                                                      \
  MPSNN_SIMD bool name(const float* x, std::int64_t along, float* out, std::int64_t runs) {    \
    Vec sum = {};                                                                              \
    for (std::int64_t run = 0; run < runs; ++run, x += along) {                                \
      Vec best, next;                                                                          \
      load(best, x + along - kLanes); /* what is left over from whole registers, and before */ \
      sum += best;                                                                             \
      for (std::int64_t at = 0; at + kLanes < along; at += kLanes) {                           \
        load(next, x + at);                                                                    \
        take(best, next);                                                                      \
        sum += next;                                                                           \
      }                                                                                        \
      HalfVec low, high;                                                                       \
      split(best, low, high);                                                                  \
      take(low, high);                                                                         \
      take(low, __builtin_shufflevector(low, low, 4, 5, 6, 7, 0, 1, 2, 3));                    \
      take(low, __builtin_shufflevector(low, low, 2, 3, 0, 1, 6, 7, 4, 5));                    \
      take(low, __builtin_shufflevector(low, low, 1, 0, 3, 2, 5, 4, 7, 6));                    \
      out[run] = low[0];                                                                       \
    }                                                                                          \
    float total = 0;                                                                           \
    for (std::int64_t lane = 0; lane < kLanes; ++lane) total += sum[lane];                     \
    return total == total;                                                                     \
  }
MPSNN_EXTREMA_OF_RUNS(largest_of_runs, take_larger_lanes)
MPSNN_EXTREMA_OF_RUNS(smallest_of_runs, take_smaller_lanes)
#undef MPSNN_EXTREMA_OF_RUNS

float largest_of(const float* x, std::int64_t count) {
  float best = x[0];
  for (std::int64_t i = 1; i < count; ++i) best = larger(best, x[i]);
  return best;
}
float smallest_of(const float* x, std::int64_t count) {
  float best = x[0];
  for (std::int64_t i = 1; i < count; ++i) best = smaller(best, x[i]);
  return best;
}

std::int64_t index_of(const float* x, std::int64_t count, float value) {
  if (value != value) return std::find_if(x, x + count, [](float v) { return v != v; }) - x;
  return std::find(x, x + count, value) - x;
}

/// What is left of each gradient goes to the value that is the extremum.
MPSNN_SIMD void give_to(const float* x, const float* result, float* left, float* out,
                        std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) {
    const bool here = (x[i] == result[i]) | ((x[i] != x[i]) & (result[i] != result[i]));
    out[i] = here ? left[i] : 0;
    left[i] = here ? 0 : left[i];
  }
}

struct Extremum {
  Extents extents;
  bool takes_maximum, takes_index;

  void reduce_values(const float* x, float* out, std::int64_t count) const {
    std::copy_n(x, count, out);
    for (std::int64_t k = 1; k < extents.along; ++k)
      (takes_maximum ? take_larger : take_smaller)(x + k * extents.inner, out, count);
  }

  void reduce_indices(const float* x, float* out, std::int64_t count) const {
    std::array<float, kChunk> best;
    std::copy_n(x, count, best.data());
    std::fill_n(out, count, 0.0F);
    for (std::int64_t k = 1; k < extents.along; ++k) {
      (takes_maximum ? take_index_larger : take_index_smaller)(x + k * extents.inner, best.data(),
                                                               out, static_cast<float>(k), count);
    }
  }

  /// inner = 1: each result is the extremum of a run.
  void reduce_runs(const float* x, float* out, std::int64_t runs) const {
    const std::int64_t along = extents.along;
    const bool is_done = along >= kLanes &&
                         (takes_maximum ? largest_of_runs : smallest_of_runs)(x, along, out, runs);
    for (std::int64_t i = 0; i < runs; ++i, x += along) {
      if (!is_done) out[i] = (takes_maximum ? largest_of : smallest_of)(x, along);
      if (takes_index) out[i] = static_cast<float>(index_of(x, along, out[i]));
    }
  }

  void run(const float* source, float* result) const {
    const Extents& e = extents;
    if (e.inner == 1) {
      parallel_for(e.outer, grain_for(e.along * 4), [&](std::int64_t begin, std::int64_t end) {
        reduce_runs(source + begin * e.along, result + begin, end - begin);
      });
      return;
    }
    parallel_for(e.outer * e.chunks(), grain_for(e.along * std::min(e.inner, kChunk) * 4),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t i = begin; i < end; ++i) {
                     const std::int64_t at = i % e.chunks() * kChunk, outer = i / e.chunks();
                     const std::int64_t count = std::min(kChunk, e.inner - at);
                     const float* x = source + outer * e.along * e.inner + at;
                     float* out = result + outer * e.inner + at;
                     takes_index ? reduce_indices(x, out, count) : reduce_values(x, out, count);
                   }
                 });
  }
};

void spread(const Extents& e, const float* gradient, const float* source, const float* result,
            float* out) {
  parallel_for(e.outer * e.chunks(), grain_for(e.along * std::min(e.inner, kChunk) * 8),
               [&](std::int64_t begin, std::int64_t end) {
                 std::array<float, kChunk> left;
                 for (std::int64_t i = begin; i < end; ++i) {
                   const std::int64_t at = i % e.chunks() * kChunk, outer = i / e.chunks();
                   const std::int64_t count = std::min(kChunk, e.inner - at);
                   const std::int64_t small = outer * e.inner + at;
                   std::copy_n(gradient + small, count, left.data());
                   for (std::int64_t k = 0; k < e.along; ++k) {
                     const std::int64_t large = (outer * e.along + k) * e.inner + at;
                     give_to(source + large, result + small, left.data(), out + large, count);
                   }
                 }
               });
}

/// inner = 1: each result is the extremum of a run.
void spread_rows(const Extents& e, const float* gradient, const float* source, const float* result,
                 float* out) {
  parallel_for(e.outer, grain_for(e.along * 8), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      float* const row = out + i * e.along;
      std::fill_n(row, e.along, 0.0F);
      const std::int64_t at = index_of(source + i * e.along, e.along, result[i]);
      if (at < e.along) row[at] = gradient[i];
    }
  });
}

Fit fits_extremum(const KernelQuery& query) {
  const Fit plain = all_plain_float32(query);
  if (!plain.yes) return plain;
  const std::int64_t axis = get_int(query.attributes, "axis");
  if (axis < 1 || axis > 3) return Fit::no(str("axis: expected 1, 2 or 3, got ", axis));
  return {};
}

}  // namespace

Fit fits_extremum_plain(const KernelQuery& query) { return fits_extremum(query); }

std::shared_ptr<Kernel> prepare_extremum_plain(const KernelQuery& query) {
  const Extremum extremum = {Extents(query.inputs[0], get_int(query.attributes, "axis")),
                             get_bool(query.attributes, "takes_maximum"),
                             get_bool(query.attributes, "takes_index")};
  return make_kernel([extremum](const KernelArgs& args) {
    extremum.run(args.input<float>(0), args.output<float>(0));
  });
}

Fit fits_extremum_gradient_plain(const KernelQuery& query) { return fits_extremum(query); }

std::shared_ptr<Kernel> prepare_extremum_gradient_plain(const KernelQuery& query) {
  const Extents extents(query.inputs[1], get_int(query.attributes, "axis"));
  return make_kernel([extents](const KernelArgs& args) {
    (extents.inner == 1 ? spread_rows : spread)(extents, args.input<float>(0), args.input<float>(1),
                                                args.input<float>(2), args.output<float>(0));
  });
}

}  // namespace mpsnn::backend::cpu
