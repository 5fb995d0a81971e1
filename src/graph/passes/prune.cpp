// SPDX-License-Identifier: MIT
#include <algorithm>
#include <utility>

#include "graph/in_place.h"
#include "graph/passes/passes.h"

namespace mpsnn::graph {

void prune(Draft& draft) {
  Plan& plan = draft.plan;
  std::vector<bool> wanted(plan.values.size(), false);
  for (std::size_t i = 0; i < plan.values.size(); ++i)
    wanted[i] = plan.values[i].kind == ValueKind::RESULT;

  std::vector<Operation> kept;  // last first
  for (auto operation = plan.operations.rbegin(); operation != plan.operations.rend();
       ++operation) {
    const auto is_wanted = [&wanted](ValueId id) { return id != kNoValue && wanted[id]; };
    const bool updates = operation->optimizer != nullptr || moves_state(operation->op);
    if (!updates && std::none_of(operation->outputs.begin(), operation->outputs.end(), is_wanted))
      continue;
    for (const ValueId input : operation->inputs) {
      if (input != kNoValue) wanted[input] = true;
    }
    kept.push_back(std::move(*operation));
  }
  std::reverse(kept.begin(), kept.end());
  plan.operations = std::move(kept);
}

}  // namespace mpsnn::graph
