// SPDX-License-Identifier: MIT
// padding, padding_gradient, reshape.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "backend/cpu/ops/kernel_tools.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/simd.h"
#include "base/attributes.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

/// For each result position along an axis the source position that it reads; kFill where none.
using Map = std::vector<std::int64_t>;
constexpr std::int64_t kFill = -1;

/// Folds a position outside of [0, size) back into it, again and again.
std::int64_t mirrored(std::int64_t at, std::int64_t size, bool repeats_edge) {
  const std::int64_t period = repeats_edge ? 2 * size : std::max<std::int64_t>(2 * size - 2, 1);
  const std::int64_t folded = (at % period + period) % period;
  return folded < size ? folded : period - folded - (repeats_edge ? 1 : 0);
}

std::int64_t source_of(std::int64_t at, std::int64_t size, ImageEdgeMode mode) {
  if (at >= 0 && at < size) return at;
  switch (mode) {
    case ImageEdgeMode::CLAMP:
      return std::clamp<std::int64_t>(at, 0, size - 1);
    case ImageEdgeMode::MIRROR:
      return mirrored(at, size, false);
    case ImageEdgeMode::MIRROR_WITH_EDGE:
      return mirrored(at, size, true);
    default:
      return kFill;
  }
}

Map map_of(std::int64_t source, std::int64_t result, std::int64_t before, ImageEdgeMode mode) {
  Map map(static_cast<std::size_t>(result));
  for (std::int64_t p = 0; p < result; ++p) map[p] = source_of(p - before, source, mode);
  return map;
}

/// Positions side by side that read positions side by side.
struct Run {
  std::int64_t to, from, count;  // from kFill: filled
};

std::vector<Run> runs_of(const Map& map) {
  std::vector<Run> runs;
  for (std::int64_t p = 0; p < static_cast<std::int64_t>(map.size()); ++p) {
    if (!runs.empty()) {
      Run& last = runs.back();
      const bool goes_on = last.from == kFill ? map[p] == kFill : map[p] == last.from + last.count;
      if (goes_on) {
        ++last.count;
        continue;
      }
    }
    runs.push_back({p, map[p], 1});
  }
  return runs;
}

struct Padding {
  ImageSize source, result;
  Map y, x;
  std::vector<Run> columns, channels;
  float fill;

  Padding(const AttributeMap& a, const ImageSize& from, const ImageSize& to)
      : source(from), result(to) {
    const auto mode = static_cast<ImageEdgeMode>(get_int(a, "edge_mode"));
    y = map_of(from.height, to.height, get_int(a, "before_y"), mode);
    x = map_of(from.width, to.width, get_int(a, "before_x"), mode);
    columns = runs_of(x);
    channels = runs_of(map_of(from.channels, to.channels, get_int(a, "before_channel"), mode));
    fill = mode == ImageEdgeMode::CONSTANT ? static_cast<float>(get_float(a, "fill_value")) : 0.0F;
  }
  bool keeps_channels() const noexcept {
    return source.channels == result.channels && channels.size() == 1 && channels[0].from == 0;
  }
  std::int64_t source_row() const noexcept { return source.width * source.channels; }
  std::int64_t result_row() const noexcept { return result.width * result.channels; }

  void fill_pixel(const float* from, float* to) const {
    for (const Run& run : channels) {
      if (run.from == kFill) {
        std::fill_n(to + run.to, run.count, fill);
      } else {
        std::copy_n(from + run.from, run.count, to + run.to);
      }
    }
  }

  void fill_row(const float* from, float* to) const {
    for (const Run& run : columns) {
      float* const out = to + run.to * result.channels;
      if (run.from == kFill) {
        std::fill_n(out, run.count * result.channels, fill);
      } else if (keeps_channels()) {
        std::copy_n(from + run.from * source.channels, run.count * source.channels, out);
      } else {
        for (std::int64_t i = 0; i < run.count; ++i)
          fill_pixel(from + (run.from + i) * source.channels, out + i * result.channels);
      }
    }
  }
};

MPSNN_SIMD void add_all(const float* x, float* sums, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) sums[i] += x[i];
}

/// sums (a row of the source) += what a row of the gradient gives back.
void gather_row(const Padding& p, const float* gradient, float* sums) {
  for (const Run& run : p.columns) {
    if (run.from == kFill) continue;
    const float* g = gradient + run.to * p.result.channels;
    float* to = sums + run.from * p.source.channels;
    if (p.keeps_channels()) {
      add_all(g, to, run.count * p.source.channels);
      continue;
    }
    for (std::int64_t i = 0; i < run.count; ++i) {
      for (const Run& c : p.channels) {
        if (c.from == kFill) continue;
        add_all(g + i * p.result.channels + c.to, to + i * p.source.channels + c.from, c.count);
      }
    }
  }
}

Fit fits_padding(const KernelQuery& query) {
  const Fit plain = all_plain_float32(query);
  if (!plain.yes) return plain;
  const std::int64_t mode = get_int(query.attributes, "edge_mode");
  if (mode < 0 || mode > static_cast<std::int64_t>(ImageEdgeMode::CONSTANT))
    return Fit::no(str("edge_mode: expected 0 to 4, got ", mode));
  return {};
}

}  // namespace

Fit fits_padding_plain(const KernelQuery& query) { return fits_padding(query); }

std::shared_ptr<Kernel> prepare_padding_plain(const KernelQuery& query) {
  return make_kernel([p = Padding(query.attributes, query.inputs[0].image(),
                                  query.outputs[0].image())](const KernelArgs& args) {
    const std::int64_t height = p.result.height;
    parallel_for(p.result.n * height, grain_for(p.result_row() * 8),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t i = begin; i < end; ++i) {
                     float* const to = args.output<float>(0) + i * p.result_row();
                     const std::int64_t from = p.y[i % height];
                     if (from == kFill) {
                       std::fill_n(to, p.result_row(), p.fill);
                     } else {
                       p.fill_row(args.input<float>(0) +
                                      (i / height * p.source.height + from) * p.source_row(),
                                  to);
                     }
                   }
                 });
  });
}

Fit fits_padding_gradient_plain(const KernelQuery& query) { return fits_padding(query); }

std::shared_ptr<Kernel> prepare_padding_gradient_plain(const KernelQuery& query) {
  const Padding padding(query.attributes, query.outputs[0].image(), query.inputs[0].image());
  std::vector<std::vector<std::int64_t>> readers(static_cast<std::size_t>(padding.source.height));
  for (std::size_t row = 0; row < padding.y.size(); ++row) {
    if (padding.y[row] != kFill) readers[padding.y[row]].push_back(static_cast<std::int64_t>(row));
  }
  return make_kernel([p = padding, readers](const KernelArgs& args) {
    const std::int64_t height = p.source.height;
    parallel_for(p.source.n * height, grain_for(p.source_row() * 12),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t i = begin; i < end; ++i) {
                     float* const to = args.output<float>(0) + i * p.source_row();
                     std::fill_n(to, p.source_row(), 0.0F);
                     for (const std::int64_t row : readers[i % height]) {
                       gather_row(p,
                                  args.input<float>(0) +
                                      (i / height * p.result.height + row) * p.result_row(),
                                  to);
                     }
                   }
                 });
  });
}

Fit fits_reshape_plain(const KernelQuery& query) {
  const Fit plain = all_plain_alike(query);
  if (!plain.yes || query.inputs[0].count() == query.outputs[0].count()) return plain;
  return Fit::no(str("expected as many values as ", to_string(query.inputs[0]), ", got ",
                     to_string(query.outputs[0])));
}

std::shared_ptr<Kernel> prepare_reshape_plain(const KernelQuery& query) {
  return make_kernel(
      [bytes = static_cast<std::int64_t>(query.outputs[0].bytes())](const KernelArgs& args) {
        const std::byte* const from = args.input<std::byte>(0);
        std::byte* const to = args.output<std::byte>(0);
        if (from == to) return;  // in place: nothing moves
        parallel_for(bytes, grain_for(2), [&](std::int64_t begin, std::int64_t end) {
          std::copy_n(from + begin, end - begin, to + begin);
        });
      });
}

}  // namespace mpsnn::backend::cpu
