// SPDX-License-Identifier: MIT
// Softmax and its logarithm.
#include "backend/metal/lowering.h"
#include "graph/node_table.h"

namespace mpsnn::backend::metal {

using graph::FilterRecord;

void lower_softmax(Builder& builder, const FilterRecord& node) {
  MPSNNImageNode* source = builder.source(node, 0);
  MPSNNFilterNode* made = nil;
  if (node.node_class->name == "LogSoftMaxNode") {
    made = [MPSCNNLogSoftMaxNode nodeWithSource:source];
  } else {
    made = [MPSCNNSoftMaxNode nodeWithSource:source];
  }
  builder.finish(node, made);
}

}  // namespace mpsnn::backend::metal
