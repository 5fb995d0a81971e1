// SPDX-License-Identifier: MIT
// Upsampling. Operations:
//   upsampling_nearest, upsampling_bilinear                    source -> result
//   upsampling_nearest_gradient, upsampling_bilinear_gradient  gradient -> source gradient
#include "base/attributes.h"
#include "graph/lowering.h"
#include "graph/node_table.h"
#include "graph/ops/shapes.h"

namespace mpsnn::graph {
namespace {

ImageSize result_size(const FilterRecord& node, const ImageSize& source) {
  return {source.n, source.height * get_int(node.attributes, "integer_scale_factor_y"),
          source.width * get_int(node.attributes, "integer_scale_factor_x"), source.channels};
}

ImageSize forward_shape(const ShapeQuery& query) {
  return result_size(query.node, query.sources[0]);
}

ImageSize gradient_shape(const ShapeQuery& query) {
  expect_size(query, 0, "source_gradient", result_size(query.node, query.sources[1]));
  return query.sources[1];
}

AttributeMap resolved(const FilterRecord& node) {
  AttributeMap attributes = {{"scale_y", get_int(node.attributes, "integer_scale_factor_y")},
                             {"scale_x", get_int(node.attributes, "integer_scale_factor_x")}};
  if (node.attributes.contains("align_corners")) {
    attributes["align_corners"] = get_bool(node.attributes, "align_corners");
  }
  return attributes;
}

template <OpId op>
void lower(Lowering& to) {
  to.add(op, {to.source(0)}, {to.result()}, resolved(to.node()));
}

FilterNode make_gradient(const GradientQuery& query) {
  const bool nearest = query.forward.class_name() == "UpsamplingNearestNode";
  return FilterNode(nearest ? "UpsamplingNearestGradientNode" : "UpsamplingBilinearGradientNode",
                    gradient_then_sources(query), query.forward.attributes());
}

std::vector<AttributeSpec> scale_attributes() {
  return {{.name = "integer_scale_factor_x",
           .type = AttributeType::INT,
           .doc = "factor of the width",
           .minimum = 1},
          {.name = "integer_scale_factor_y",
           .type = AttributeType::INT,
           .doc = "factor of the height",
           .default_from = "integer_scale_factor_x",
           .minimum = 1}};
}

std::vector<AttributeSpec> bilinear_attributes() {
  std::vector<AttributeSpec> attributes = scale_attributes();
  attributes.push_back({.name = "align_corners",
                        .type = AttributeType::BOOL,
                        .doc = "centres of the corner pixels coincide",
                        .default_value = false});
  return attributes;
}

std::vector<SourceSpec> gradient_sources() {
  return {{.name = "source_gradient", .doc = "gradient of the upsampling's result"},
          {.name = "source_image", .doc = "the upsampling's source; only its size is used"}};
}

constexpr std::string_view kBilinearDoc =
    R"(Interpolates between the two nearest source rows and columns. Row y of the result reads source position
y / scale, without a half-pixel shift; past the last row that row is repeated. With align_corners it reads
y * (in - 1) / (out - 1). Between rows p and p + 1, which it reads at position p + f:
result[y] = (1 - f) * source[p] + f * source[p + 1]; columns likewise.

**Result size**: (N, H * integer_scale_factor_y, W * integer_scale_factor_x, C).)";

}  // namespace

std::vector<NodeClass> upsampling_nodes() {
  return {
      {.name = "UpsamplingNearestNode",
       .apple = "MPSCNNUpsamplingNearestNode",
       .family = "upsampling",
       .brief = "Enlarges an image by repeating pixels",
       .doc = "result[n, y, x, c] = source[n, y / scale_y, x / scale_x, c], rounded "
              "down.\n\n**Result size**: "
              "(N, H * integer_scale_factor_y, W * integer_scale_factor_x, C).",
       .sources = {{.name = "source", .doc = "any image"}},
       .attributes = scale_attributes(),
       .shape = forward_shape,
       .lower = lower<OpId::upsampling_nearest>,
       .gradient_of = make_gradient},
      {.name = "UpsamplingNearestGradientNode",
       .apple = "MPSCNNUpsamplingNearestGradientNode",
       .family = "upsampling",
       .brief = "Gradient of a nearest upsampling's source",
       .doc = "result[n, y, x, c] = the sum of source_gradient[n, y * scale_y + i, x * scale_x + "
              "j, c] over i < scale_y, j < scale_x.\n\n**Result size**: source_image's.",
       .sources = gradient_sources(),
       .attributes = scale_attributes(),
       .gradient = true,
       .shape = gradient_shape,
       .lower = lower<OpId::upsampling_nearest_gradient>},
      {.name = "UpsamplingBilinearNode",
       .apple = "MPSCNNUpsamplingBilinearNode",
       .family = "upsampling",
       .brief = "Enlarges an image by bilinear interpolation",
       .doc = kBilinearDoc,
       .sources = {{.name = "source", .doc = "any image"}},
       .attributes = bilinear_attributes(),
       .shape = forward_shape,
       .lower = lower<OpId::upsampling_bilinear>,
       .gradient_of = make_gradient},
      {.name = "UpsamplingBilinearGradientNode",
       .apple = "MPSCNNUpsamplingBilinearGradientNode",
       .family = "upsampling",
       .brief = "Gradient of a bilinear upsampling's source",
       .doc = "result[n, p, q, c] = the sum over y, x of w[p, q, y, x] * source_gradient[n, y, x, "
              "c], with w the weight with which pixel (y, x) of the forward node's result reads "
              "pixel (p, q) of its source.\n\n**Result size**: source_image's.",
       .sources = gradient_sources(),
       .attributes = bilinear_attributes(),
       .gradient = true,
       .shape = gradient_shape,
       .lower = lower<OpId::upsampling_bilinear_gradient>},
  };
}

}  // namespace mpsnn::graph
