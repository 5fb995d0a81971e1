// SPDX-License-Identifier: MIT
#include <algorithm>
#include <map>
#include <utility>

#include "base/check.h"
#include "graph/lowering.h"
#include "graph/passes/passes.h"

namespace mpsnn::graph {
namespace {

OpId operation_of(const Optimizer& optimizer) {
  for (std::size_t i = 0; i < kOpCount; ++i) {
    const auto op = static_cast<OpId>(i);
    if (name_of(op) == optimizer.operation()) return op;
  }
  throw InternalError(str("optimizer operation \"", optimizer.operation(), "\" is not in ops.def"));
}

/// Adds the gradients that several nodes gave, in the order of the nodes.
ValueId sum(Draft& draft, const std::string& label, const std::vector<ValueId>& gradients) {
  ValueId total = gradients[0];
  for (std::size_t i = 1; i < gradients.size(); ++i) {
    const TensorDesc desc = draft.plan.values[total].desc;
    const ValueId next = draft.add_value(label + ".gradient_sum", desc, ValueKind::TEMPORARY);
    draft.plan.operations.push_back({.op = OpId::addition,
                                     .label = label + ".gradient_sum",
                                     .node_class = {},
                                     .attributes = plain_binary(),
                                     .inputs = {total, gradients[i]},
                                     .outputs = {next},
                                     .kernel = nullptr,
                                     .optimizer = nullptr});
    total = next;
  }
  return total;
}

/// Operands: value, gradient, version, time step?, moments… -> the same but the gradient.
void add_update(Draft& draft, std::uint32_t owner, const std::string& name,
                const std::vector<ValueId>& gradients) {
  const DataSource& source = *draft.plan.data_sources[owner];
  const std::shared_ptr<Optimizer>& optimizer = source.optimizer();
  AttributeMap attributes = optimizer->attributes();
  const TensorDesc desc = draft.plan.values[gradients[0]].desc;
  const ValueId value = draft.parameter(owner, name, desc);
  const std::string label = draft.plan.values[value].name;

  std::vector<ValueId> state = {draft.parameter(owner, name + ".version", counter_desc())};
  if (attributes.contains("time_step")) {
    state.push_back(draft.parameter(owner, name + ".time_step", counter_desc()));
  }
  for (const std::string& moment : optimizer->moments()) {
    state.push_back(draft.parameter(owner, str(name, '.', moment), desc));
  }
  std::vector<ValueId> inputs = {value, sum(draft, label, gradients)}, outputs = {value};
  inputs.insert(inputs.end(), state.begin(), state.end());
  outputs.insert(outputs.end(), state.begin(), state.end());
  draft.plan.operations.push_back({.op = operation_of(*optimizer),
                                   .label = label,
                                   .node_class = {},
                                   .attributes = std::move(attributes),
                                   .inputs = std::move(inputs),
                                   .outputs = std::move(outputs),
                                   .kernel = nullptr,
                                   .optimizer = optimizer});
}

/// Whether the planner's operations leave the update to the data source or the host.
bool is_own(const DataSource& source, TrainingStyle style) {
  return style == TrainingStyle::UPDATE_DEVICE_CPU || source.updates_itself(style);
}

void check_updatable(const DataSource& source, const ParameterGradient& gradient) {
  if (source.optimizer() || source.updates_itself(gradient.style)) return;
  const bool on_cpu = gradient.style == TrainingStyle::UPDATE_DEVICE_CPU;
  throw_expected(str(gradient.node, ": training_style"),
                 str(on_cpu ? "UPDATE_DEVICE_GPU" : "UPDATE_DEVICE_CPU", ", since \"",
                     source.label(), "\" updates itself so only"),
                 on_cpu ? "UPDATE_DEVICE_CPU" : "UPDATE_DEVICE_GPU");
}

/// The nodes that share a data source train it in one way.
void check_styles(const Draft& draft) {
  std::map<std::uint32_t, const ParameterGradient*> first;
  for (const ParameterGradient& each : draft.gradients) {
    check_updatable(*draft.plan.data_sources[each.data_source], each);
    const ParameterGradient& before = *first.try_emplace(each.data_source, &each).first->second;
    if (before.style == each.style) continue;
    throw_expected(str(each.node, ": training_style"),
                   str("that of ", before.node, ", which has the same data source"), "another");
  }
}

/// Leaves the gradients for the end of the run.
void add_own_update(Draft& draft, const ParameterGradient& of, ValueId gradient) {
  Plan& plan = draft.plan;
  plan.values[gradient].kind = ValueKind::RESULT;
  if (plan.own_updates.empty() || plan.own_updates.back().data_source != of.data_source)
    plan.own_updates.push_back({of.data_source, of.style});
  plan.own_updates.back().gradients.push_back({of.parameter, gradient});
}

void add_change(Draft& draft, const StateChange& change) {
  draft.plan.operations.push_back({.op = change.op,
                                   .label = change.label,
                                   .node_class = change.node_class,
                                   .attributes = change.attributes,
                                   .inputs = change.inputs,
                                   .outputs = {change.inputs[0]},
                                   .kernel = nullptr,
                                   .optimizer = nullptr});
}

}  // namespace

void add_updates(Draft& draft) {
  std::vector<std::pair<std::uint32_t, std::string>>
      parameters;  // in the order of the first gradient
  std::map<std::pair<std::uint32_t, std::string>, std::vector<ValueId>> gradients;
  std::map<std::pair<std::uint32_t, std::string>, const ParameterGradient*> own;
  check_styles(draft);
  for (const ParameterGradient& each : draft.gradients) {
    const auto key = std::pair(each.data_source, each.parameter);
    std::vector<ValueId>& parts = gradients[key];
    if (parts.empty()) parameters.push_back(key);
    parts.push_back(each.gradient);
    if (is_own(*draft.plan.data_sources[each.data_source], each.style)) own.emplace(key, &each);
  }
  for (const auto& key : parameters) {
    if (!own.contains(key)) add_update(draft, key.first, key.second, gradients.at(key));
  }
  for (const auto& [key, each] : own) {
    const std::string label = str(draft.plan.data_sources[key.first]->label(), '.', key.second);
    add_own_update(draft, *each, sum(draft, label, gradients.at(key)));
  }
  // In the order in which their values are made: that of the inference nodes.
  std::stable_sort(
      draft.changes.begin(), draft.changes.end(),
      [](const StateChange& a, const StateChange& b) { return a.inputs.back() < b.inputs.back(); });
  for (const StateChange& each : draft.changes) add_change(draft, each);
}

}  // namespace mpsnn::graph
