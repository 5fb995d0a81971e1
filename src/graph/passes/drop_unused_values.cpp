// SPDX-License-Identifier: MIT
#include <utility>

#include "graph/passes/passes.h"

namespace mpsnn::graph {
namespace {

/// Calls f on every place of the plan that names a value.
template <class F>
void for_each_use(Plan& plan, F f) {
  for (Operation& operation : plan.operations) {
    for (ValueId& id : operation.inputs) f(id);
    for (ValueId& id : operation.outputs) f(id);
    f(operation.scratch);
  }
  for (std::vector<ValueId>* ids : {&plan.sources, &plan.results, &plan.exported}) {
    for (ValueId& id : *ids) f(id);
  }
  for (StateOutput& output : plan.states) f(output.value);
  for (OwnUpdate& update : plan.own_updates) {
    for (OwnUpdate::Gradient& gradient : update.gradients) f(gradient.value);
  }
}

}  // namespace

void drop_unused_values(Draft& draft) {
  Plan& plan = draft.plan;
  std::vector<ValueId> number(plan.values.size(), kNoValue);
  for_each_use(plan, [&](ValueId& id) {
    if (id != kNoValue) number[id] = 0;
  });
  std::vector<Value> kept;
  for (std::size_t i = 0; i < number.size(); ++i) {
    if (number[i] == kNoValue) continue;
    number[i] = static_cast<ValueId>(kept.size());
    kept.push_back(std::move(plan.values[i]));
    kept.back().storage = number[i];
  }
  for_each_use(plan, [&](ValueId& id) {
    if (id != kNoValue) id = number[id];
  });
  plan.values = std::move(kept);
}

}  // namespace mpsnn::graph
