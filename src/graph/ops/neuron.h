// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

#include "graph/node_records.h"

namespace mpsnn::graph {

/// Throws unless `c` is a base that the neuron type can have: EXPONENTIAL > 0 or -1 (for e),
/// LOGARITHM the same but 1. Other types take any c.
void check_neuron(const FilterRecord& node, std::string_view argument, NeuronType type, double c);

/// Throws unless a convolution can have the neuron in its descriptor.
void check_fused_neuron(const FilterRecord& node, const NeuronDescriptor& neuron);
/// Throws unless a node that is trained has no neuron in its descriptor.
void check_trained_without_neuron(const FilterRecord& node, const NeuronDescriptor& neuron);

}  // namespace mpsnn::graph
