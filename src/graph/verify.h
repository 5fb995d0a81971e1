// SPDX-License-Identifier: MIT
#pragma once

#include "graph/plan.h"

namespace mpsnn::graph {

/// Checks the rules that every plan keeps: operands exist; temporaries and results are written
/// once, and before they are read; memory is shared only where an operation writes in place; no two
/// values that are alive at once overlap in the heap; a parameter is updated after all that read
/// it. Throws InternalError naming operation and value. Cheap: runs at the end of every make_plan.
void verify(const Plan& plan);

}  // namespace mpsnn::graph
