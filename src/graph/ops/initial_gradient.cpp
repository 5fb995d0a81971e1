// SPDX-License-Identifier: MIT
// Where gradients start. Operations:
//   fill  -> one value everywhere
#include "graph/lowering.h"
#include "graph/node_table.h"
#include "graph/ops/shapes.h"

namespace mpsnn::graph {
namespace {

void lower_ones(Lowering& to) { to.add(OpId::fill, {}, {to.result()}, {{"value", 1.0}}); }

}  // namespace

std::vector<NodeClass> initial_gradient_nodes() {
  return {
      {.name = "InitialGradientNode",
       .apple = "MPSNNInitialGradientNode",
       .family = "initial_gradient",
       .brief = "An image of ones: the gradient of its source with respect to itself",
       .doc = "result = 1 everywhere. It stands at the end of a net: "
              "`InitialGradientNode(loss).training_graph()` makes all "
              "gradient nodes.\n\n**Result size**: the source's.",
       .sources = {{.name = "source",
                    .doc = "the image whose gradient starts here; only its size is used",
                    .derivative = Derivative::NONE}},
       .attributes = {},
       .starts_gradient = true,
       .shape = size_of_source,
       .lower = lower_ones},
  };
}

}  // namespace mpsnn::graph
