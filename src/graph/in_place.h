// SPDX-License-Identifier: MIT
// Which operations may write over an operand, and which change a parameter.
#pragma once

#include <cstddef>
#include <vector>

#include "base/kernel.h"

namespace mpsnn::graph {

/// Operations that change a parameter without being an optimizer's; they come last.
inline bool moves_state(OpId op) { return op == OpId::moving_average || op == OpId::count_step; }

/// Inputs over which the operation's output 0 may be written, the preferred one first. Every kernel
/// of these operations reads an element before it writes that element.
inline std::vector<std::size_t> in_place_operands(OpId op) {
  switch (op) {
    case OpId::neuron:
    case OpId::neuron_gradient:
      return {0};
    case OpId::normalization:
    case OpId::softmax:
    case OpId::dropout:
      return {0};
    case OpId::addition:
    case OpId::multiplication:
    case OpId::division:
    case OpId::comparison:
    case OpId::normalization_gradient:
    case OpId::softmax_gradient:
      return {0, 1};
    case OpId::reshape:
    case OpId::channel_affine:
    case OpId::multiplication_gradient:
      return {0};
    default:
      return {};
  }
}

}  // namespace mpsnn::graph
