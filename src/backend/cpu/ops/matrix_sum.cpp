// SPDX-License-Identifier: MIT
// matrix_sum: a weighted sum of parts of matrices. Where the parts begin is read on the device.
#include <algorithm>

#include "backend/cpu/ops/kernel_tools.h"
#include "backend/cpu/ops/matrix_layout.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/simd.h"
#include "base/attributes.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

/// One addend as it stands in this run.
struct Addend {
  const float* start;
  std::int64_t row_stride;
  float scale;
};

MPSNN_SIMD void set_product(const float* x, float scale, float* y, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) y[i] = scale * x[i];
}

MPSNN_SIMD void add_product(const float* x, float scale, float* y, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) y[i] += scale * x[i];
}

MPSNN_SIMD void set_products(const float* x, float a, const float* z, float b, float* y,
                             std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) y[i] = a * x[i] + b * z[i];
}

constexpr std::size_t kFirstSource = 2;
constexpr std::int64_t kPiece = 2048;  // columns that stay in the cache while all addends are added

/// Where an addend begins. Throws where its part does not lie inside of the matrix.
Addend addend_of(const KernelArgs& args, const MatrixLayout& source, std::size_t i,
                 std::int64_t start, std::int64_t rows, std::int64_t columns,
                 std::string_view label) {
  const auto at = static_cast<std::size_t>(start) + i;
  const float* const scales = args.input<float>(0);
  const auto* const offsets = args.input<std::uint32_t>(1);
  const std::int64_t row = offsets == nullptr ? 0 : offsets[2 * at],
                     column = offsets == nullptr ? 0 : offsets[2 * at + 1];
  if (row + rows > source.rows || column + columns > source.columns) {
    throw_expected<DeviceError>(str("MatrixSum \"", label, "\": offset_vector"),
                                str("an offset of source matrix ", i, " at most [",
                                    source.rows - rows, ", ", source.columns - columns, "]"),
                                str("[", row, ", ", column, "]"));
  }
  return {args.input<float>(kFirstSource + i) + row * source.row_stride + column, source.row_stride,
          scales == nullptr ? 1.0F : scales[at]};
}

void add_all(const Addend* addends, std::size_t count, std::int64_t row, std::int64_t column,
             float* y, std::int64_t columns) {
  const auto from = [&](std::size_t i) {
    return addends[i].start + row * addends[i].row_stride + column;
  };
  std::size_t next = 1;
  if (count > 1) {
    set_products(from(0), addends[0].scale, from(1), addends[1].scale, y, columns);
    next = 2;
  } else {
    set_product(from(0), addends[0].scale, y, columns);
  }
  for (; next < count; ++next) add_product(from(next), addends[next].scale, y, columns);
}

}  // namespace

// scales?, offsets?, sources… -> sum
Fit fits_matrix_sum_plain(const KernelQuery& query) { return fits_float32_rows(query); }

std::shared_ptr<Kernel> prepare_matrix_sum_plain(const KernelQuery& query) {
  std::vector<MatrixLayout> sources;
  for (std::size_t i = kFirstSource; i < query.inputs.size(); ++i)
    sources.emplace_back(query.inputs[i]);
  const MatrixLayout result(query.outputs[0]);
  const std::int64_t start = get_int(query.attributes, "start_index");
  const std::int64_t pieces = (result.columns + kPiece - 1) / kPiece;
  const auto bytes =
      std::min(result.columns, kPiece) * static_cast<std::int64_t>(4 * (sources.size() + 1));
  return make_kernel([=, label = std::string(query.label)](const KernelArgs& args) {
    std::vector<Addend> addends;
    for (std::size_t i = 0; i < sources.size(); ++i)
      addends.push_back(addend_of(args, sources[i], i, start, result.rows, result.columns, label));
    parallel_for(result.rows * pieces, grain_for(bytes), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t row = i / pieces, column = i % pieces * kPiece;
        add_all(addends.data(), addends.size(), row, column,
                args.output<float>(0) + row * result.row_stride + column,
                std::min(kPiece, result.columns - column));
      }
    });
  });
}

// matrix -> its transpose
Fit fits_transpose_plain(const KernelQuery& query) { return fits_float32_rows(query); }

std::shared_ptr<Kernel> prepare_transpose_plain(const KernelQuery& query) {
  constexpr std::int64_t kTile = 16;  // a line of the cache each way
  const MatrixLayout from(query.inputs[0]), to(query.outputs[0]);
  const std::int64_t tiles = (to.rows + kTile - 1) / kTile;
  return make_kernel([=](const KernelArgs& args) {
    parallel_for(to.matrices * tiles, grain_for(kTile * to.columns * 8),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t i = begin; i < end; ++i) {
                     const std::int64_t matrix = i / tiles, first = i % tiles * kTile,
                                        last = std::min(first + kTile, to.rows);
                     const float* const x = args.input<float>(0) + matrix * from.matrix_stride;
                     float* const y = args.output<float>(0) + matrix * to.matrix_stride;
                     for (std::int64_t column = 0; column < to.columns; ++column) {
                       for (std::int64_t row = first; row < last; ++row)
                         y[row * to.row_stride + column] = x[column * from.row_stride + row];
                     }
                   }
                 });
  });
}

}  // namespace mpsnn::backend::cpu
