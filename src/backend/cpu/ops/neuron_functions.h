// SPDX-License-Identifier: MIT
// The neurons that are not of the ReLU family, as loops over arrays.
#pragma once

#include <cstdint>

#include "backend/cpu/ops/neuron.h"

namespace mpsnn::backend::cpu {

/// y[i] = f(x[i]); y may be x. Not for NONE, RELU, RELUN and PRELU.
void apply_function(const Neuron& neuron, const float* x, float* y, std::int64_t count);

/// out[i] = g[i] * f'(x[i]), x being the neuron's source; out may be g.
void apply_derivative(const Neuron& neuron, const float* g, const float* x, float* out,
                      std::int64_t count);

/// The same with the neuron's result y, for those that tells_derivative() allows.
void apply_derivative_of_result(const Neuron& neuron, const float* g, const float* y, float* out,
                                std::int64_t count);

/// true where f' can be computed from f(x).
bool tells_derivative(const Neuron& neuron);

}  // namespace mpsnn::backend::cpu
