// SPDX-License-Identifier: MIT
// Softmax over the feature channels. Operations:
//   softmax           source -> result
//   softmax_gradient  gradient, result -> source gradient
#include "graph/lowering.h"
#include "graph/node_table.h"
#include "graph/ops/shapes.h"

namespace mpsnn::graph {
namespace {

ImageSize gradient_shape(const ShapeQuery& query) {
  expect_size(query, 0, "source_gradient", query.sources[1]);
  expect_size(query, 2, "result_image", query.sources[1]);
  return query.sources[1];
}

template <bool logarithm>
void lower_forward(Lowering& to) {
  to.add(OpId::softmax, {to.source(0)}, {to.result()}, {{"logarithm", logarithm}});
}

template <bool logarithm>
void lower_gradient(Lowering& to) {
  to.add(OpId::softmax_gradient, {to.source(0), to.source(2)}, {to.result()},
         {{"logarithm", logarithm}});
}

template <bool logarithm>
FilterNode make_gradient(const GradientQuery& query) {
  std::vector<ImageNode> sources = gradient_then_sources(query);
  sources.push_back(query.forward.result_image());
  return FilterNode(logarithm ? "LogSoftMaxGradientNode" : "SoftMaxGradientNode", sources);
}

template <bool logarithm>
NodeClass forward_class(NodeClass row) {
  row.family = "softmax";
  row.sources = {{.name = "source", .doc = "any image"}};
  row.shape = size_of_source;
  row.lower = lower_forward<logarithm>;
  row.gradient_of = make_gradient<logarithm>;
  return row;
}

template <bool logarithm>
NodeClass gradient_class(NodeClass row) {
  row.family = "softmax";
  row.sources = {{.name = "source_gradient", .doc = "gradient of the forward node's result"},
                 {.name = "source_image", .doc = "the forward node's source"},
                 {.name = "result_image", .doc = "the forward node's result"}};
  row.gradient = true;
  row.shape = gradient_shape;
  row.lower = lower_gradient<logarithm>;
  return row;
}

}  // namespace

std::vector<NodeClass> softmax_nodes() {
  return {
      forward_class<false>(
          {.name = "SoftMaxNode",
           .apple = "MPSCNNSoftMaxNode",
           .family = {},
           .brief = "Softmax over the feature channels of each pixel",
           .doc =
               "result[c] = exp(source[c]) / sum over k of exp(source[k]). The largest channel is "
               "subtracted first, "
               "so that nothing overflows. One channel gives 1.\n\n**Result size**: the source's.",
           .sources = {},
           .attributes = {}}),
      gradient_class<false>({.name = "SoftMaxGradientNode",
                             .apple = "MPSCNNSoftMaxGradientNode",
                             .family = {},
                             .brief = "Gradient of a softmax's source",
                             .doc = "With s the softmax's result and g the source_gradient: "
                                    "result[c] = s[c] * (g[c] - sum over k of g[k] * "
                                    "s[k]).\n\n**Result size**: source_image's.",
                             .sources = {},
                             .attributes = {}}),
      forward_class<true>({.name = "LogSoftMaxNode",
                           .apple = "MPSCNNLogSoftMaxNode",
                           .family = {},
                           .brief = "Logarithm of the softmax over the feature channels",
                           .doc = "result[c] = source[c] - ln(sum over k of exp(source[k])), "
                                  "computed without overflow.\n\n**Result size**: the source's.",
                           .sources = {},
                           .attributes = {}}),
      gradient_class<true>({.name = "LogSoftMaxGradientNode",
                            .apple = "MPSCNNLogSoftMaxGradientNode",
                            .family = {},
                            .brief = "Gradient of a logarithmic softmax's source",
                            .doc = "With y the forward node's result and g the source_gradient: "
                                   "result[c] = g[c] - exp(y[c]) * sum over k of g[k].\n\n**Result "
                                   "size**: source_image's.",
                            .sources = {},
                            .attributes = {}}),
  };
}

}  // namespace mpsnn::graph
