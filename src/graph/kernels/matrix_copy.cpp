// SPDX-License-Identifier: MIT
// Copies of parts of matrices. Operations: matrix_copy, copy (other element types).
#include "base/attributes.h"
#include "graph/kernel_lowering.h"
#include "graph/kernels/matrix_tools.h"

namespace mpsnn::graph {
namespace {

enum Operand : std::size_t { kSources, kDestinations, kOffsets, kRows, kColumns };

struct Offsets {
  std::int64_t source_row = 0, source_column = 0, result_row = 0, result_column = 0;
};

Offsets offsets_of(const KernelLowering& to, std::size_t k) {
  const auto& all = std::get<std::vector<std::int64_t>>(to.attributes().find("offsets")->second);
  if (all.empty()) return {};
  return {all[4 * k], all[4 * k + 1], all[4 * k + 2], all[4 * k + 3]};
}

/// Rows and columns of one copy, before the source is turned to them: as many as are asked for or
/// as the source has behind its offset.
std::pair<std::int64_t, std::int64_t> extent_of(const KernelLowering& to, std::size_t k,
                                                const Offsets& offsets) {
  const AttributeMap& a = to.attributes();
  const bool turns = get_bool(a, "sources_are_transposed");
  const std::vector<std::int64_t>& dims = to.desc(kSources, k).dims;
  std::int64_t rows = dims[1] - offsets.source_row, columns = dims[2] - offsets.source_column;
  if (turns) std::swap(rows, columns);
  if (get_int(a, "copy_rows") > 0) rows = get_int(a, "copy_rows");
  if (get_int(a, "copy_columns") > 0) columns = get_int(a, "copy_columns");
  return {rows, columns};
}

/// One matrix, inside of which the part lies. Offsets of the device are checked there.
void check_part(const KernelLowering& to, std::size_t i, std::size_t k, std::int64_t row,
                std::int64_t column, std::int64_t rows, std::int64_t columns) {
  const std::vector<std::int64_t>& dims = to.desc(i, k).dims;
  if (dims[0] == 1 && rows >= 1 && columns >= 1 && row + rows <= dims[1] &&
      column + columns <= dims[2])
    return;
  to.fail_operand(i,
                  str("one matrix with rows and columns [", row, ", ", column, "] + [", rows, ", ",
                      columns, "]"),
                  k);
}

ValueId places(KernelLowering& to, std::size_t i, std::string_view offset, std::int64_t count) {
  if (!to.has(i)) return kNoValue;
  to.expect_type(i, {DataType::UINT32});
  const std::int64_t first = get_int(to.attributes(), offset);
  TensorDesc part = vector_part(to, i, first + count);
  part.dims[0] = count;
  return to.view(i, part, first * static_cast<std::int64_t>(size_of(part.type)));
}

void lower_copy(KernelLowering& to, std::size_t k) {
  const AttributeMap& a = to.attributes();
  const bool from_turns = get_bool(a, "sources_are_transposed"),
             to_turns = get_bool(a, "destinations_are_transposed");
  const bool on_device = to.has(kOffsets);
  const Offsets offsets = offsets_of(to, k);
  const auto [rows, columns] = extent_of(to, k, offsets);
  check_part(to, kSources, k, offsets.source_row, offsets.source_column,
             from_turns ? columns : rows, from_turns ? rows : columns);
  const std::int64_t written_rows = to_turns ? columns : rows,
                     written_columns = to_turns ? rows : columns;
  check_part(to, kDestinations, k, offsets.result_row, offsets.result_column, written_rows,
             written_columns);
  const TensorDesc &source = to.desc(kSources, k), &result = to.desc(kDestinations, k);
  ValueId from = to.view(kSources, source, 0, k);
  if (source.type != result.type) {
    from = to.temporary("converted", {result.type, source.dims, nullptr});
    to.add(OpId::copy, {to.view(kSources, source, 0, k)}, {from}, {}, "converted");
  }
  ValueId given = kNoValue;
  if (on_device) {
    to.expect_type(kOffsets, {DataType::UINT32});
    const auto count = static_cast<std::int64_t>(4 * to.variadic_count());
    given = to.view(kOffsets, vector_part(to, kOffsets, count), 0);
  }
  to.add(OpId::matrix_copy,
         {from, given, places(to, kRows, "row_permute_offset", written_rows),
          places(to, kColumns, "column_permute_offset", written_columns)},
         {to.view(kDestinations, result, 0, k)},
         {{"copy_rows", rows},
          {"copy_columns", columns},
          {"source_is_transposed", from_turns},
          {"destination_is_transposed", to_turns},
          {"source_row", offsets.source_row},
          {"source_column", offsets.source_column},
          {"result_row", offsets.result_row},
          {"result_column", offsets.result_column},
          {"offset_index", static_cast<std::int64_t>(k)}});
}

void lower(KernelLowering& to) {
  const auto& offsets =
      std::get<std::vector<std::int64_t>>(to.attributes().find("offsets")->second);
  if (!offsets.empty() && offsets.size() != 4 * to.variadic_count())
    to.fail("offsets", str(4 * to.variadic_count(), " numbers, four a copy"), offsets.size());
  if (!offsets.empty() && to.has(kOffsets))
    to.fail("offset_vector", "none where offsets are given", to_string(to.desc(kOffsets)));
  for (std::size_t k = 0; k < to.variadic_count(); ++k) lower_copy(to, k);
}

AttributeSpec first(std::string_view name, std::string_view doc) {
  return {.name = name,
          .type = AttributeType::INT,
          .doc = doc,
          .default_value = std::int64_t{0},
          .minimum = 0};
}

constexpr std::string_view kDoc =
    R"(Copies copy_rows x copy_columns elements of each source into its destination, in the order of the lists. A
transposed source is read by columns, a transposed destination written by columns; with both nothing turns. Four
numbers a copy say where it begins: source row, source column, destination row, destination column. They are given
as offsets, or as a vector of uint32 that is read when the kernel runs (earlier work may write it), or left out: 0.
A MatrixCopyDescriptor may stand in the place of both lists: it holds them and the offsets, which then count instead
of the kernel's.

Row i of what is written goes to row row_permute_indices[row_permute_offset + i] behind the destination's offset
instead of row i; columns alike. A transposed destination is turned first.

Offsets or places beyond a matrix fail at the call, or, where they are read on the device, fail the command with
DeviceError before anything of that copy is written. The destination may have another element type: values are
converted, to integers by rounding to the nearest and clamping.)";

constexpr std::string_view kExample =
    R"(a = mps.Matrix.from_array(device, np.array([[1, 2], [3, 4]], np.float32))
b = mps.Matrix.from_array(device, np.array([[5, 6], [7, 8]], np.float32))
both = mps.Matrix(device, rows=2, columns=4)
commands = mps.CommandBuffer(queue)
side_by_side = mps.MatrixCopy(device, offsets=[0, 0, 0, 0, 0, 0, 0, 2])
side_by_side.encode(commands, [a, b], [both, both])
commands.commit()
assert np.array_equal(np.asarray(both), [[1, 2, 5, 6], [3, 4, 7, 8]])

corner = mps.MatrixCopyDescriptor(b, both, mps.MatrixCopyOffsets(source_column_offset=1))
commands = mps.CommandBuffer(queue)
mps.MatrixCopy(device, copy_rows=1, copy_columns=1).encode(commands, corner)
commands.commit()
assert np.array_equal(np.asarray(both), [[6, 2, 5, 6], [3, 4, 7, 8]])
)";

}  // namespace

std::vector<KernelClass> matrix_copy_kernels() {
  return {
      {.name = "MatrixCopy",
       .apple = "MPSMatrixCopy",
       .family = "matrix_copy",
       .brief = "Copies of parts of matrices, transposed and permuted",
       .doc = kDoc,
       .example = kExample,
       .attributes = {count("copy_rows", "rows of each copy; -1: all of the source"),
                      count("copy_columns", "columns of each copy; -1: all of the source"),
                      flag("sources_are_transposed", "sources are read by columns", false),
                      flag("destinations_are_transposed", "destinations are written by columns",
                           false),
                      {.name = "offsets",
                       .type = AttributeType::INTS,
                       .doc = "four numbers a copy; empty: zeros",
                       .default_value = std::vector<std::int64_t>(),
                       .minimum = 0},
                      first("row_permute_offset", "first entry of row_permute_indices that counts"),
                      first("column_permute_offset",
                            "first entry of column_permute_indices that counts")},
       .methods = {{.doc = "Records the copies.",
                    .operands = {{.name = "source_matrices",
                                  .doc = "a matrix a copy; or a MatrixCopyDescriptor",
                                  .variadic = true},
                                 {.name = "destination_matrices",
                                  .doc = "a matrix a copy; one may come several times",
                                  .writes = true,
                                  .variadic = true},
                                 {.name = "offset_vector",
                                  .kind = OperandKind::VECTOR,
                                  .doc = "uint32, four numbers a copy",
                                  .optional = true},
                                 {.name = "row_permute_indices",
                                  .kind = OperandKind::VECTOR,
                                  .doc = "uint32, the same for each copy",
                                  .optional = true},
                                 {.name = "column_permute_indices",
                                  .kind = OperandKind::VECTOR,
                                  .doc = "uint32, the same for each copy",
                                  .optional = true}},
                    .lower = lower}},
       .check = check_batch_range},
  };
}

}  // namespace mpsnn::graph
