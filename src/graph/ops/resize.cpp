// SPDX-License-Identifier: MIT
// Resizing to any size. Operations:
//   resampling           source -> result
//   resampling_gradient  gradient -> source gradient
#include "base/attributes.h"
#include "graph/lowering.h"
#include "graph/node_table.h"
#include "graph/ops/shapes.h"

namespace mpsnn::graph {
namespace {

constexpr std::int64_t kBilinear = 0, kLanczos = 1;
// Beyond these a result pixel is made of more source pixels than an image has, or all are one.
constexpr double kSmallestScale = 1.0 / 16384, kLargestScale = 16384;

ImageSize result_size(const FilterRecord& node, const ImageSize& source) {
  return {source.n, get_int(node.attributes, "result_height"),
          get_int(node.attributes, "result_width"), source.channels};
}

ImageSize forward_shape(const ShapeQuery& query) {
  return result_size(query.node, query.sources[0]);
}

ImageSize gradient_shape(const ShapeQuery& query) {
  expect_size(query, 0, "source_gradient", result_size(query.node, query.sources[1]));
  return query.sources[1];
}

void check_transform(const FilterRecord& node) {
  const std::vector<double>& transform = get_floats(node.attributes, "transform");
  if (transform.empty()) return;
  if (transform.size() != 4) {
    fail(node, "transform", "none or 4 numbers (scale x, scale y, translate x, translate y)",
         transform.size());
  }
  for (std::size_t i = 0; i < 2; ++i) {
    if (transform[i] < kSmallestScale || transform[i] > kLargestScale)
      fail(node, "transform", "scales from 2^-14 to 2^14", transform[i]);
  }
}

AttributeMap resolved(const FilterRecord& node, const ImageSize& source, std::int64_t filter) {
  const ImageSize result = result_size(node, source);
  const auto ratio = [](std::int64_t to, std::int64_t from) {
    return static_cast<double>(to) / static_cast<double>(from);
  };
  std::vector<double> transform = get_floats(node.attributes, "transform");
  if (transform.empty()) {
    transform = {ratio(result.width, source.width), ratio(result.height, source.height), 0.0, 0.0};
  }
  return {{"filter", filter},
          {"scale_x", transform[0]},
          {"scale_y", transform[1]},
          {"translate_x", transform[2]},
          {"translate_y", transform[3]}};
}

template <std::int64_t filter>
void lower_forward(Lowering& to) {
  to.add(OpId::resampling, {to.source(0)}, {to.result()},
         resolved(to.node(), to.source_size(0), filter));
}

template <std::int64_t filter>
void lower_gradient(Lowering& to) {
  to.add(OpId::resampling_gradient, {to.source(0)}, {to.result()},
         resolved(to.node(), to.source_size(1), filter));
}

FilterNode make_gradient(const GradientQuery& query) {
  const bool bilinear = query.forward.class_name() == "BilinearScaleNode";
  return FilterNode(bilinear ? "BilinearScaleGradientNode" : "LanczosScaleGradientNode",
                    gradient_then_sources(query), query.forward.attributes());
}

std::vector<AttributeSpec> attributes() {
  return {{.name = "result_width",
           .type = AttributeType::INT,
           .doc = "columns of the result",
           .minimum = 1,
           .maximum = 1 << 20},
          {.name = "result_height",
           .type = AttributeType::INT,
           .doc = "rows of the result",
           .minimum = 1,
           .maximum = 1 << 20},
          {.name = "transform",
           .type = AttributeType::FLOATS,
           .doc = "scale x, scale y, translate x, translate y; empty: the source fills the result",
           .default_value = std::vector<double>(),
           .minimum = -1e9,
           .maximum = 1e9}};
}

std::vector<SourceSpec> gradient_sources() {
  return {{.name = "source_gradient", .doc = "gradient of the resized image"},
          {.name = "source_image", .doc = "the image that was resized; only its size is used"}};
}

constexpr std::string_view kBilinearDoc =
    R"(Interpolates between the two nearest source rows and columns, also where the image shrinks. Result column x
reads the source position (x + 0.5 - translate_x) / scale_x - 0.5, rows likewise: centres of pixels lie at halves, and
result = source * scale + translate as in MPSScaleTransform. Positions outside of the source read its nearest pixel.
Without a transform the source fills the result: scale = result size / source size, translate = 0. At position p + f,
p whole and 0 <= f < 1: result[x] = (1 - f) * source[p] + f * source[p + 1].

**Result size**: (N, result_height, result_width, C).

With a transform it crops, too: scales of 1 and translations of (-left, -top) cut a rectangle.

**Unlike Apple**: it has a gradient; the transform is a parameter of the node, not a provider that is asked at each
encode. Apple's headers do not say where it samples: the half-pixel rule is that of MPSScaleTransform's formula.)";

constexpr std::string_view kLanczosDoc =
    R"(Resizes with the kernel k(t) = sinc(t) * sinc(t / 3), |t| < 3: result[x] = sum over p of k(p - position) * source[p],
by columns and by rows. Result column x is centred at the source position
(x + 0.5 - translate_x) / scale_x - 0.5; where the image shrinks the kernel is widened by 1 / scale, so that all pixels
count. Weights are divided by their sum; positions outside of the source read its nearest pixel. Without a transform
the source fills the result: scale = result size / source size, translate = 0.

**Result size**: (N, result_height, result_width, C).

**Unlike Apple**: it has a gradient; the transform is a parameter of the node, not a provider that is asked at each
encode. Apple does not publish its kernel's width.)";

}  // namespace

std::vector<NodeClass> resize_nodes() {
  const std::vector<SourceSpec> source = {{.name = "source", .doc = "any image"}};
  return {
      {.name = "BilinearScaleNode",
       .apple = "MPSNNBilinearScaleNode",
       .family = "resize",
       .brief = "Resizes an image by bilinear interpolation",
       .doc = kBilinearDoc,
       .sources = source,
       .attributes = attributes(),
       .check = check_transform,
       .shape = forward_shape,
       .lower = lower_forward<kBilinear>,
       .gradient_of = make_gradient},
      {.name = "BilinearScaleGradientNode",
       .apple = "",
       .family = "resize",
       .brief = "Gradient of a bilinear resizing's source",
       .doc = "result[n, p, q, c] = the sum over y, x of w[p, q, y, x] * source_gradient[n, y, x, "
              "c], with w the weight with which pixel (y, x) of the forward node's result reads "
              "pixel (p, q) of its source.\n\n**Result size**: source_image's.",
       .sources = gradient_sources(),
       .attributes = attributes(),
       .gradient = true,
       .check = check_transform,
       .shape = gradient_shape,
       .lower = lower_gradient<kBilinear>},
      {.name = "LanczosScaleNode",
       .apple = "MPSNNLanczosScaleNode",
       .family = "resize",
       .brief = "Resizes an image with Lanczos' kernel",
       .doc = kLanczosDoc,
       .sources = source,
       .attributes = attributes(),
       .check = check_transform,
       .shape = forward_shape,
       .lower = lower_forward<kLanczos>,
       .gradient_of = make_gradient},
      {.name = "LanczosScaleGradientNode",
       .apple = "",
       .family = "resize",
       .brief = "Gradient of a Lanczos resizing's source",
       .doc = "result[n, p, q, c] = the sum over y, x of w[p, q, y, x] * source_gradient[n, y, x, "
              "c], with w the weight with which pixel (y, x) of the forward node's result reads "
              "pixel (p, q) of its source.\n\n**Result size**: source_image's.",
       .sources = gradient_sources(),
       .attributes = attributes(),
       .gradient = true,
       .check = check_transform,
       .shape = gradient_shape,
       .lower = lower_gradient<kLanczos>},
  };
}

}  // namespace mpsnn::graph
