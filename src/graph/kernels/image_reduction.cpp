// SPDX-License-Identifier: MIT
// Reductions of the rows or columns of images. Operations: extremum, addition_gradient (a scaled
// sum).
#include "base/attributes.h"
#include "graph/kernel_lowering.h"
#include "graph/kernels/image_tools.h"

namespace mpsnn::graph {
namespace {

enum Operand : std::size_t { kSource, kDestination };
enum class Kind : std::uint8_t { MIN, MAX, MEAN, SUM };

/// Row and column name what is kept: a row's values are reduced along x.
template <bool of_rows, Kind kind>
void lower(KernelLowering& to) {
  const ImageSize source = to.desc(kSource).image();
  const Rectangle clip = rectangle_of(to, kSource, "clip_rect_source");
  const std::vector<std::int64_t> dims = {source.n, of_rows ? clip.height : 1,
                                          of_rows ? 1 : clip.width, source.channels};
  to.expect_dims(kDestination, dims);
  const ValueId clipped =
      read_rectangle(to, kSource, clip, static_cast<std::int64_t>(ImageEdgeMode::ZERO));
  const ValueId result = to.operand(kDestination);
  if (kind == Kind::MIN || kind == Kind::MAX) {
    to.add(OpId::extremum, {clipped}, {result},
           {{"axis", std::int64_t{of_rows ? 2 : 1}},
            {"takes_maximum", kind == Kind::MAX},
            {"takes_index", false}});
    return;
  }
  const auto count = static_cast<double>(of_rows ? clip.width : clip.height);
  to.add(OpId::addition_gradient, {clipped}, {result},
         {{"scale", kind == Kind::MEAN ? 1.0 / count : 1.0}});
}

/// The texts of a class; they live as long as the table.
struct Texts {
  std::string_view name, apple, brief, doc, example;
};

template <bool of_rows, Kind kind>
KernelClass row(const Texts& texts) {
  return {.name = texts.name,
          .apple = texts.apple,
          .family = "image_reduction",
          .brief = texts.brief,
          .doc = texts.doc,
          .example = texts.example,
          .attributes = {clip_rect_source()},
          .methods = {{.doc = "Records the reduction.",
                       .operands = {{.name = "source_image",
                                     .kind = OperandKind::IMAGE,
                                     .doc = "any image (N, H, W, C)"},
                                    {.name = "destination_image",
                                     .kind = OperandKind::IMAGE,
                                     .doc = of_rows ? "image (N, H, 1, C), H as many rows as are "
                                                      "read"
                                                    : "image (N, 1, W, C), W as many columns as "
                                                      "are read",
                                     .writes = true}},
                       .lower = lower<of_rows, kind>}},
          .check = check_rectangles};
}

#define MPSNN_EXAMPLE(kernel, size, expected)                                        \
  "source = mps.Image(device, np.arange(6, dtype=np.float32).reshape(1, 2, 3, 1))\n" \
  "reduced = mps.Image(device, size=" size                                           \
  ")\n"                                                                              \
  "commands = mps.CommandBuffer(queue)\n"                                            \
  "mps." kernel                                                                      \
  "(device).encode(commands, source, reduced)\n"                                     \
  "commands.commit()\n"                                                              \
  "assert np.array_equal(np.asarray(reduced).ravel(), " expected ")\n"
#define MPSNN_ROW(kernel, kind, what, formula, expected)                               \
  row<true, Kind::kind>({kernel, "MPS" kernel, "The " what " of each row of an image", \
                         "destination[n, y, 0, c] = " formula                          \
                         " source[n, y, x, c] over x. Formats may differ.",            \
                         MPSNN_EXAMPLE(kernel, "(1, 2, 1, 1)", expected)})
#define MPSNN_COLUMN(kernel, kind, what, formula, expected)                                \
  row<false, Kind::kind>({kernel, "MPS" kernel, "The " what " of each column of an image", \
                          "destination[n, 0, x, c] = " formula                             \
                          " source[n, y, x, c] over y. Formats may differ.",               \
                          MPSNN_EXAMPLE(kernel, "(1, 1, 3, 1)", expected)})

}  // namespace

std::vector<KernelClass> image_reduction_kernels() {
  return {
      MPSNN_ROW("ImageReduceRowMin", MIN, "smallest value", "the smallest", "[0, 3]"),
      MPSNN_ROW("ImageReduceRowMax", MAX, "largest value", "the largest", "[2, 5]"),
      MPSNN_ROW("ImageReduceRowMean", MEAN, "mean", "the mean of", "[1, 4]"),
      MPSNN_ROW("ImageReduceRowSum", SUM, "sum", "the sum of", "[3, 12]"),
      MPSNN_COLUMN("ImageReduceColumnMin", MIN, "smallest value", "the smallest", "[0, 1, 2]"),
      MPSNN_COLUMN("ImageReduceColumnMax", MAX, "largest value", "the largest", "[3, 4, 5]"),
      MPSNN_COLUMN("ImageReduceColumnMean", MEAN, "mean", "the mean of", "[1.5, 2.5, 3.5]"),
      MPSNN_COLUMN("ImageReduceColumnSum", SUM, "sum", "the sum of", "[3, 5, 7]"),
  };
}

}  // namespace mpsnn::graph
