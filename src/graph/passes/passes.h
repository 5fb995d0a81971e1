// SPDX-License-Identifier: MIT
// The passes of make_plan, in the order in which it runs them; one file each. A pass changes the
// draft and leaves operations in an order in which every value is written before it is read.
#pragma once

#include <vector>

#include "graph/draft.h"

namespace mpsnn::graph {

/// Fills Draft::shapes from the sizes of the sources, node by node. Throws InvalidArgumentError
/// naming the node whose sources do not fit.
void infer_shapes(Draft& draft, const std::vector<TensorDesc>& sources);

/// Turns every node into operations by its row of the node table.
void lower_nodes(Draft& draft);

/// Adds up the gradients of each parameter and appends the operations of its optimizer.
void add_updates(Draft& draft);

/// Says which values leave the plan. An image that would share its value with another output or is
/// a source itself gets a copy: `slice` over all channels.
void mark_results(Draft& draft);

/// Drops operations that no result and no update needs.
void prune(Draft& draft);

/// Lets gradients of neurons read the neuron's result where that is enough, and fuses neurons into
/// the convolution before them where nothing else reads its result.
void fuse_neurons(Draft& draft);

/// Asks for each operation's kernel; adds scratch memory and parameter_layout operations.
void choose_kernels(Draft& draft);

/// Settles the order: the nodes' order, but updates as early as their readers allow, and what needs
/// no image (fill, parameter_layout) right before its first reader.
void order_operations(Draft& draft);

/// Makes cheap values again in the backward pass instead of keeping them while the peak passes.
void recompute(Draft& draft);

/// Drops values that no operation uses; numbers stay in order.
void drop_unused_values(Draft& draft);

/// Lets neurons, their gradients and additions write over an operand that dies there.
void share_in_place(Draft& draft);

/// Lifetimes and heap offsets.
void place_values(Draft& draft);

}  // namespace mpsnn::graph
