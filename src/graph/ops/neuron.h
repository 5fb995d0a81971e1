// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

#include "graph/lowering.h"
#include "graph/node_records.h"

namespace mpsnn::graph {

/// Throws unless `c` is a base that the neuron type can have: EXPONENTIAL > 0 or -1 (for e),
/// LOGARITHM the same but 1. Other types take any c.
void check_neuron(const FilterRecord& node, std::string_view argument, NeuronType type, double c);

/// Gives an operation that can have a neuron fused into it that neuron; without one: none, so that
/// the planner may fuse one later.
void set_neuron(AttributeMap& attributes, const NeuronDescriptor& neuron = {});
/// A neuron with one set of parameters as an operation of its own.
void add_neuron(Lowering& to, ValueId value, const NeuronDescriptor& neuron, ValueId result);

}  // namespace mpsnn::graph
