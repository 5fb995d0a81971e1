// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include "mpsnn/types.h"

namespace mpsnn::backend::cpu {

/// A neuron with one set of parameters for all channels.
struct Neuron {
  NeuronType type = NeuronType::NONE;
  float a = 0, b = 0, c = 0;
};

/// y[i] = f(x[i]); y may be x.
void apply_neuron(const Neuron& neuron, const float* x, float* y, std::int64_t count);

/// out[i] = g[i] * f'(x[i]), x being the neuron's source; NONE: a copy. Not for PRELU. out may be
/// g.
void apply_neuron_gradient(const Neuron& neuron, const float* g, const float* x, float* out,
                           std::int64_t count);

/// row[i] = f(row[i] + bias[i % channels]) for the pixels of a convolution's result; bias may be
/// null.
void add_bias_and_neuron(const Neuron& neuron, const float* bias, float* row, std::int64_t pixels,
                         std::int64_t channels);

}  // namespace mpsnn::backend::cpu
