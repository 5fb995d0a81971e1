// SPDX-License-Identifier: MIT
// What operations cost, for plans, benchmarks and the size of committed pieces.
#pragma once

#include "graph/plan.h"

namespace mpsnn::graph {

/// Fills flops and bytes of every operation. Multiply and add count one each; comparisons and
/// copies of elements count nothing or one, as said in cost.cpp.
void estimate_costs(Plan& plan);

}  // namespace mpsnn::graph
