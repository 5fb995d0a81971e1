// SPDX-License-Identifier: MIT
// Images read at positions that another image holds, and compared with their neighbourhoods.
// Operations: grid_sample, local_correlation.
#include "base/attributes.h"
#include "graph/kernel_lowering.h"
#include "graph/kernels/image_tools.h"
#include "graph/kernels/matrix_tools.h"

namespace mpsnn::graph {
namespace {

enum Operand : std::size_t { kPrimary, kSecondary, kDestination };

void lower_grid_sample(KernelLowering& to) {
  const ImageSize source = to.desc(kPrimary).image(), result = to.desc(kDestination).image();
  expect_images_and_channels(to, kDestination, source.n, source.channels);
  to.expect_dims(kSecondary, {result.n, result.height, result.width, 2});
  const AttributeMap& a = to.attributes();
  to.add(OpId::grid_sample, {to.operand(kPrimary), to.operand(kSecondary)},
         {to.operand(kDestination)},
         {{"is_absolute", get_bool(a, "use_grid_value_as_input_coordinate")},
          {"edge_mode", get_int(a, "edge_mode")}});
}

void lower_local_correlation(KernelLowering& to) {
  const AttributeMap& a = to.attributes();
  const ImageSize source = to.desc(kPrimary).image();
  const std::int64_t window_x = get_int(a, "window_in_x"), window_y = get_int(a, "window_in_y"),
                     stride_x = get_int(a, "stride_in_x"), stride_y = get_int(a, "stride_in_y");
  to.expect_dims(kSecondary, to.desc(kPrimary).dims);
  to.expect_dims(kDestination,
                 {source.n, source.height, source.width, (2 * window_x + 1) * (2 * window_y + 1)});
  const std::int64_t margin_x = window_x * stride_x, margin_y = window_y * stride_y;
  const ValueId neighbours = read_rectangle(
      to, kSecondary,
      {-margin_x, -margin_y, source.width + 2 * margin_x, source.height + 2 * margin_y},
      static_cast<std::int64_t>(ImageEdgeMode::ZERO));
  to.add(OpId::local_correlation, {to.operand(kPrimary), neighbours}, {to.operand(kDestination)},
         {{"window_y", window_y},
          {"window_x", window_x},
          {"stride_y", stride_y},
          {"stride_x", stride_x}});
}

AttributeSpec pixels(std::string_view name, std::string_view doc, std::int64_t smallest) {
  return {.name = name,
          .type = AttributeType::INT,
          .doc = doc,
          .default_value = smallest,
          .minimum = static_cast<double>(smallest),
          .maximum = 1024};
}

EncodeMethod method(std::string_view doc, const OperandSpec& second, std::string_view destination,
                    void (*lower)(KernelLowering&)) {
  return {.doc = doc,
          .operands = {{.name = "primary_image", .kind = OperandKind::IMAGE, .doc = "any image"},
                       second,
                       {.name = "destination_image",
                        .kind = OperandKind::IMAGE,
                        .doc = destination,
                        .writes = true}},
          .lower = lower};
}

constexpr std::string_view kGridDoc =
    R"(destination[n, y, x] is the primary image n at the position (grid[n, y, x, 0], grid[n, y, x, 1]), column and row
in pixels, interpolated bilinearly between the four nearest; without use_grid_value_as_input_coordinate the position is
(x + grid[n, y, x, 0], y + grid[n, y, x, 1]). Whole numbers are centres of pixels. Pixels outside of the image are read as
edge_mode says. A position that is not finite gives NaN. Formats may differ.

**Unlike Apple**: Apple's headers do not state that whole numbers are centres.)";

constexpr std::string_view kCorrelationDoc =
    R"(destination[n, y, x, k] = sum over c of primary[n, y, x, c] * secondary[n, y + j * stride_in_y, x + i *
stride_in_x, c], i in [-window_in_x, window_in_x], j in [-window_in_y, window_in_y], k = (j + window_in_y) * (2 *
window_in_x + 1) + i + window_in_x. Zeros lie outside of the secondary image. Formats may differ; sums are made in float32.)";

constexpr std::string_view kGridExample =
    R"(source = mps.Image(device, np.arange(4, dtype=np.float32).reshape(1, 2, 2, 1))
grid = mps.Image(device, np.full((1, 1, 1, 2), 0.5, np.float32))
sampled = mps.Image(device, size=(1, 1, 1, 1))
commands = mps.CommandBuffer(queue)
mps.GridSample(device).encode(commands, source, grid, sampled)
commands.commit()
assert np.asarray(sampled).item() == 1.5
)";

constexpr std::string_view kCorrelationExample =
    R"(first = mps.Image(device, np.ones((1, 3, 3, 2), np.float32))
second = mps.Image(device, np.ones((1, 3, 3, 2), np.float32))
products = mps.Image(device, size=(1, 3, 3, 3))
commands = mps.CommandBuffer(queue)
mps.LocalCorrelation(device, window_in_x=1).encode(commands, first, second, products)
commands.commit()
assert np.array_equal(np.asarray(products)[0, 0, 0], [0, 2, 2])
)";

}  // namespace

std::vector<KernelClass> image_sampling_kernels() {
  return {
      {.name = "GridSample",
       .apple = "MPSNNGridSample",
       .family = "image_sampling",
       .brief = "Samples an image at positions that another one holds",
       .doc = kGridDoc,
       .example = kGridExample,
       .attributes = {flag("use_grid_value_as_input_coordinate",
                           "the grid holds positions, else distances from the pixel's own", true),
                      sampled_edge_mode()},
       .methods = {method("Records the sampling.",
                          {.name = "grid",
                           .kind = OperandKind::IMAGE,
                           .doc = "image of the destination's size and 2 channels: x, y"},
                          "image of any size, as many images and channels as the primary",
                          lower_grid_sample)}},
      {.name = "LocalCorrelation",
       .apple = "MPSNNLocalCorrelation",
       .family = "image_sampling",
       .brief = "Products of each pixel with the neighbourhood in another image",
       .doc = kCorrelationDoc,
       .example = kCorrelationExample,
       .attributes = {pixels("window_in_x", "neighbours to the left and to the right", 0),
                      pixels("window_in_y", "neighbours above and below", 0),
                      pixels("stride_in_x", "columns from one neighbour to the next", 1),
                      pixels("stride_in_y", "rows from one neighbour to the next", 1)},
       .methods = {method("Records the correlation.",
                          {.name = "secondary_image",
                           .kind = OperandKind::IMAGE,
                           .doc = "image of the primary's size"},
                          "image of the primary's size with (2 * window_in_x + 1) * (2 * "
                          "window_in_y + 1) channels",
                          lower_local_correlation)}},
  };
}

}  // namespace mpsnn::graph
