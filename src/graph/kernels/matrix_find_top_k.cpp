// SPDX-License-Identifier: MIT
// The largest values of rows. Operation: top_k.
#include "base/attributes.h"
#include "graph/kernel_lowering.h"
#include "graph/kernels/matrix_tools.h"

namespace mpsnn::graph {
namespace {

enum Operand : std::size_t { kInput, kIndices, kValues };

void lower(KernelLowering& to) {
  const AttributeMap& a = to.attributes();
  expect_floats(to, {kInput, kValues});
  to.expect_type(kIndices, {DataType::UINT32});
  const MatrixPart input = matrix_part(to, kInput, "source_matrix_origin",
                                       get_int(a, "source_rows"), get_int(a, "source_columns"));
  const std::vector<std::int64_t>& dims = input.desc.dims;
  const std::int64_t k = get_int(a, "number_of_top_k_values");
  if (k > dims[2])
    to.fail("number_of_top_k_values", str("at most ", dims[2], ", the source's columns"), k);
  const MatrixPart indices = matrix_part(to, kIndices, "result_matrix_origin", dims[1], k),
                   values = matrix_part(to, kValues, "result_matrix_origin", dims[1], k);
  for (const auto& [i, part] : {std::pair(kIndices, &indices), std::pair(kValues, &values)}) {
    if (part->desc.dims[0] != dims[0]) to.fail_operand(i, str(dims[0], " matrices as the source"));
  }
  const ValueId value = strided_result(to, kValues, values, false);
  to.add(OpId::top_k, {strided_float32(to, kInput, input)},
         {value, to.view(kIndices, indices.desc, indices.offset)},
         {{"index_offset", get_int(a, "index_offset")}});
  finish(to, value, kValues, values);
}

constexpr std::string_view kDoc =
    R"(For each row the k largest values, the largest first, and their columns, counted from index_offset. Of equal
values the one in the first column comes first; NaN counts as larger than all numbers.

**Unlike Apple**: k may be as large as the row (Apple's limit is 16), and the order of equal values is said.)";

constexpr std::string_view kExample =
    R"(x = mps.Matrix.from_array(device, np.array([[3, 9, 1, 9]], np.float32))
values = mps.Matrix(device, rows=1, columns=2)
indices = mps.Matrix(device, rows=1, columns=2, data_type=mps.DataType.UINT32)
commands = mps.CommandBuffer(queue)
mps.MatrixFindTopK(device, 2).encode(commands, x, indices, values)
commands.commit()
assert np.array_equal(np.asarray(values), [[9, 9]])
assert np.array_equal(np.asarray(indices), [[1, 3]])
)";

}  // namespace

std::vector<KernelClass> matrix_find_top_k_kernels() {
  return {
      {.name = "MatrixFindTopK",
       .apple = "MPSMatrixFindTopK",
       .family = "matrix_find_top_k",
       .brief = "The largest values of each row of a matrix and where they are",
       .doc = kDoc,
       .example = kExample,
       .attributes = joined({{.name = "number_of_top_k_values",
                              .type = AttributeType::INT,
                              .doc = "k",
                              .minimum = 1},
                             {.name = "index_offset",
                              .type = AttributeType::INT,
                              .doc = "added to the indices",
                              .default_value = std::int64_t{0},
                              .minimum = 0,
                              .maximum = 4294967295.0},
                             count("source_rows", "rows that take part; -1: all"),
                             count("source_columns", "columns that take part; -1: all"),
                             origin("source_matrix_origin"),
                             origin("result_matrix_origin")},
                            batch_range()),
       .methods = {{.doc = "Records the search.",
                    .operands = {{.name = "input_matrix", .doc = "float32 or float16"},
                                 {.name = "result_index_matrix",
                                  .doc = "uint32, at least k columns",
                                  .writes = true},
                                 {.name = "result_value_matrix",
                                  .doc = "float32 or float16, at least k columns",
                                  .writes = true}},
                    .lower = lower}},
       .check = check_batch_range},
  };
}

}  // namespace mpsnn::graph
