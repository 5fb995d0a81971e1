// SPDX-License-Identifier: MIT
// A whole graph as one kernel: an MPSNNGraph with the copies in and out around it. For .mm files.
#pragma once

#include <memory>
#include <string>

#include "backend/metal/memory.h"
#include "graph/whole_graph.h"

namespace mpsnn::backend::metal {

/// Throws UnsupportedError naming the node that MPS cannot hold.
std::shared_ptr<Kernel> make_graph_kernel(const graph::WholeGraph& graph, id<MTLDevice> device,
                                          const std::string& kind);

}  // namespace mpsnn::backend::metal
