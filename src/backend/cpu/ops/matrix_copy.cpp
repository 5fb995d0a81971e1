// SPDX-License-Identifier: MIT
// matrix_copy: a part of a matrix into a part of another, both found on the device: by offsets and
// by the places that rows and columns get.
#include <algorithm>

#include "backend/cpu/ops/kernel_tools.h"
#include "backend/cpu/ops/matrix_layout.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/parallel.h"
#include "base/attributes.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

/// What is copied: rows and columns of the result's part.
struct Case {
  MatrixLayout source, result;
  std::int64_t rows, columns;
  bool from_transposed, to_transposed;
  std::int64_t offsets[4];  // source row and column, result row and column
  std::int64_t offset_index;
  std::string label;
};

std::int64_t checked(const Case& c, std::string_view argument, std::int64_t at, std::int64_t size,
                     std::int64_t extent, std::string_view what) {
  if (at >= 0 && size <= extent - at) return at;
  throw_expected<DeviceError>(str("MatrixCopy \"", c.label, "\": ", argument),
                              str("a ", what, " of at most ", extent - size), at);
}

/// The place of each local row or column: permuted, and inside of the extent.
std::vector<std::int64_t> places(const Case& c, std::string_view argument,
                                 const std::uint32_t* permutation, std::int64_t offset,
                                 std::int64_t count, std::int64_t extent) {
  std::vector<std::int64_t> to(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t own = permutation == nullptr ? i : permutation[i];
    to[static_cast<std::size_t>(i)] = checked(c, argument, own + offset, 1, extent, "place");
  }
  return to;
}

template <class T>
void copy_part(const Case& c, const KernelArgs& args) {
  std::int64_t offsets[4];
  std::copy_n(c.offsets, 4, offsets);
  if (const auto* given = args.input<std::uint32_t>(1)) {
    for (std::int64_t i = 0; i < 4; ++i) offsets[i] = given[4 * c.offset_index + i];
  }
  // Local rows and columns are those of the part that is read, turned where it is asked.
  const std::int64_t source_rows = c.from_transposed ? c.columns : c.rows,
                     source_columns = c.from_transposed ? c.rows : c.columns;
  checked(c, "offset_vector", offsets[0], source_rows, c.source.rows, "source row");
  checked(c, "offset_vector", offsets[1], source_columns, c.source.columns, "source column");
  const std::int64_t rows = c.to_transposed ? c.columns : c.rows,
                     columns = c.to_transposed ? c.rows : c.columns;
  const auto row_places = places(c, "row_permute_indices", args.input<std::uint32_t>(2), offsets[2],
                                 rows, c.result.rows);
  const auto column_places = places(c, "column_permute_indices", args.input<std::uint32_t>(3),
                                    offsets[3], columns, c.result.columns);
  const bool turns = c.from_transposed != c.to_transposed;
  const std::int64_t row_step = turns ? 1 : c.source.row_stride,
                     column_step = turns ? c.source.row_stride : 1;
  const T* const from = args.input<T>(0) + offsets[0] * c.source.row_stride + offsets[1];
  T* const to = args.output<T>(0);
  const bool moves_rows = column_step == 1 && args.input<std::uint32_t>(3) == nullptr;
  const auto copy_rows = [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      T* const row = to + row_places[static_cast<std::size_t>(i)] * c.result.row_stride;
      const T* const own = from + i * row_step;
      if (moves_rows) {
        std::copy_n(own, columns, row + offsets[3]);
        continue;
      }
      for (std::int64_t j = 0; j < columns; ++j)
        row[column_places[static_cast<std::size_t>(j)]] = own[j * column_step];
    }
  };
  // Rows that a permutation sends to one place are written in order, so that the last one wins.
  if (args.input<std::uint32_t>(2) == nullptr) {
    parallel_for(rows, grain_for(columns * 2 * static_cast<std::int64_t>(sizeof(T))), copy_rows);
  } else {
    copy_rows(0, rows);
  }
}

}  // namespace

// source, offsets?, row permutation?, column permutation? -> result
Fit fits_matrix_copy_plain(const KernelQuery& query) {
  if (query.inputs[0].type == query.outputs[0].type) return {};
  return Fit::no(str(name_of(query.inputs[0].type), " -> ", name_of(query.outputs[0].type)));
}

std::shared_ptr<Kernel> prepare_matrix_copy_plain(const KernelQuery& query) {
  const AttributeMap& a = query.attributes;
  Case c{MatrixLayout(query.inputs[0]),
         MatrixLayout(query.outputs[0]),
         get_int(a, "copy_rows"),
         get_int(a, "copy_columns"),
         get_bool(a, "source_is_transposed"),
         get_bool(a, "destination_is_transposed"),
         {get_int(a, "source_row"), get_int(a, "source_column"), get_int(a, "result_row"),
          get_int(a, "result_column")},
         get_int(a, "offset_index"),
         std::string(query.label)};
  switch (size_of(query.inputs[0].type)) {
    case 1:
      return make_kernel([c](const KernelArgs& args) { copy_part<std::uint8_t>(c, args); });
    case 2:
      return make_kernel([c](const KernelArgs& args) { copy_part<std::uint16_t>(c, args); });
    case 4:
      return make_kernel([c](const KernelArgs& args) { copy_part<std::uint32_t>(c, args); });
    default:
      return make_kernel([c](const KernelArgs& args) { copy_part<std::uint64_t>(c, args); });
  }
}

}  // namespace mpsnn::backend::cpu
