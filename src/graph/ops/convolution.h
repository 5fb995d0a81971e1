// SPDX-License-Identifier: MIT
// What the nodes that are made of convolutions share.
#pragma once

#include "graph/lowering.h"

namespace mpsnn::graph {

/// Throws unless a convolution can have the neuron in its descriptor.
void check_fused_neuron(const FilterRecord& node, const NeuronDescriptor& neuron);
/// Throws unless a node that is trained has no neuron in its descriptor.
void check_trained_without_neuron(const FilterRecord& node, const NeuronDescriptor& neuron);

/// The operations of a gradient node whose sources are (gradient, source image): gradients of the
/// weights and bias where they are updated, and of the source. `gradient` is that of the
/// convolution itself.
void add_convolution_gradients(Lowering& to, ValueId gradient, const AttributeMap& attributes);

/// Adds the bias to every pixel: for what is convolved otherwise than by a convolution.
void add_bias(Lowering& to, ValueId value, ValueId result);

}  // namespace mpsnn::graph
