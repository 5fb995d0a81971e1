// SPDX-License-Identifier: MIT
// Gram matrix. Operations:
//   gram_matrix           source -> result
//   gram_matrix_gradient  gradient, source -> source gradient
#include <limits>

#include "graph/lowering.h"
#include "graph/node_table.h"
#include "graph/ops/shapes.h"

namespace mpsnn::graph {
namespace {

constexpr double kFloatMax = std::numeric_limits<float>::max();

ImageSize matrix_size(const ImageSize& source) {
  return {source.n, 1, source.channels, source.channels};
}

ImageSize forward_shape(const ShapeQuery& query) { return matrix_size(query.sources[0]); }

ImageSize gradient_shape(const ShapeQuery& query) {
  expect_size(query, 0, "source_gradient", matrix_size(query.sources[1]));
  return query.sources[1];
}

void lower_forward(Lowering& to) {
  to.add(OpId::gram_matrix, {to.source(0)}, {to.result()}, to.node().attributes);
}

void lower_gradient(Lowering& to) {
  to.add(OpId::gram_matrix_gradient, {to.source(0), to.source(1)}, {to.result()},
         to.node().attributes);
}

FilterNode make_gradient(const GradientQuery& query) {
  return FilterNode("GramMatrixCalculationGradientNode", gradient_then_sources(query),
                    query.forward.attributes());
}

AttributeSpec alpha() {
  return {.name = "alpha",
          .type = AttributeType::FLOAT,
          .doc = "factor of the matrix; style transfer takes 1 / (H * W)",
          .default_value = 1.0,
          .minimum = -kFloatMax,
          .maximum = kFloatMax};
}

}  // namespace

std::vector<NodeClass> gram_matrix_nodes() {
  return {
      {.name = "GramMatrixCalculationNode",
       .apple = "MPSNNGramMatrixCalculationNode",
       .family = "gram_matrix",
       .brief = "Sums of the products of all pairs of feature channels",
       .doc = "result[n, 0, f, c] = alpha * sum over y, x of source[n, y, x, f] * source[n, y, x, "
              "c], symmetric in f and c.\n\n**Result size**: (N, 1, C, C).",
       .sources = {{.name = "source", .doc = "any image"}},
       .attributes = {alpha()},
       .shape = forward_shape,
       .lower = lower_forward,
       .gradient_of = make_gradient},
      {.name = "GramMatrixCalculationGradientNode",
       .apple = "MPSNNGramMatrixCalculationGradientNode",
       .family = "gram_matrix",
       .brief = "Gradient of a Gram matrix's source",
       .doc =
           "With g the source_gradient: result[n, y, x, c] = alpha * sum over f of (g[n, 0, f, c] "
           "+ g[n, 0, c, f]) * source_image[n, y, x, f]. alpha must be the forward "
           "node's.\n\n**Result size**: source_image's.",
       .sources = {{.name = "source_gradient", .doc = "gradient of the matrix"},
                   {.name = "source_image", .doc = "the forward node's source"}},
       .attributes = {alpha()},
       .gradient = true,
       .shape = gradient_shape,
       .lower = lower_gradient},
  };
}

}  // namespace mpsnn::graph
