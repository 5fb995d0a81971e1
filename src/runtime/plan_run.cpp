// SPDX-License-Identifier: MIT
#include "runtime/plan_run.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace mpsnn::runtime {

using graph::kNoValue;
using graph::Value;
using graph::ValueId;
using graph::ValueKind;

CompiledPlan::CompiledPlan(graph::Plan plan)
    : plan_(std::move(plan)),
      written_(plan_.data_sources.size()),
      updated_(plan_.data_sources.size()) {
  place_values();
  for (const graph::Operation& operation : plan_.operations) add_step(operation);
  for (const graph::OwnUpdate& update : plan_.own_updates) {
    written_[update.data_source] = true;
    if (plan_.data_sources[update.data_source]->optimizer()) updated_[update.data_source] = true;
  }
}

ValueId CompiledPlan::root_of(ValueId value) const {
  while (plan_.values[value].storage != kNoValue && plan_.values[value].storage != value) {
    value = plan_.values[value].storage;
  }
  return value;
}

void CompiledPlan::place_values() {
  const auto count = static_cast<ValueId>(plan_.values.size());
  for (ValueId id = 0; id < count; ++id) {
    if (root_of(id) != id) continue;
    if (plan_.values[id].kind == ValueKind::RESULT) allocated_.push_back(id);
    if (plan_.values[id].kind == ValueKind::PARAMETER) parameters_.push_back(id);
  }
  for (ValueId id = 0; id < count; ++id) {
    places_.push_back(place_of(root_of(id)));
    if (plan_.values[id].kind == ValueKind::OPERAND) places_[id].offset = plan_.values[id].offset;
    places_[id].offset += plan_.values[id].within;
  }
  places_.push_back({});
}

CompiledPlan::Place CompiledPlan::place_of(ValueId root) {
  const auto index = [root](const std::vector<ValueId>& ids) {
    const auto found = std::ranges::find(ids, root);
    check_internal(found != ids.end(), "every value of a plan has its memory");
    return static_cast<std::uint32_t>(found - ids.begin());
  };
  const Value& value = plan_.values[root];
  switch (value.kind) {
    case ValueKind::TEMPORARY:
      return {kHeapBase, value.offset};
    case ValueKind::SOURCE:
    case ValueKind::OPERAND:
      return {kFirstSourceBase + index(plan_.sources), 0};
    case ValueKind::RESULT:
      return {first_allocated_base() + index(allocated_), 0};
    case ValueKind::PARAMETER:
      return {first_parameter_base() + index(parameters_), 0};
  }
  throw InternalError("kind of a value out of range");
}

void CompiledPlan::add_step(const graph::Operation& operation) {
  const auto null = static_cast<std::uint32_t>(plan_.values.size());
  const auto add = [&](const std::vector<ValueId>& values) {
    for (const ValueId value : values) operands_.push_back(value == kNoValue ? null : value);
    return static_cast<std::uint32_t>(operands_.size());
  };
  Step step{};
  step.inputs = static_cast<std::uint32_t>(operands_.size());
  step.outputs = add(operation.inputs);
  step.end = add(operation.outputs);
  step.scratch = operation.scratch == kNoValue ? null : operation.scratch;
  for (const ValueId output : operation.outputs) {
    if (output == kNoValue || plan_.values[root_of(output)].kind != ValueKind::PARAMETER) continue;
    written_[plan_.values[root_of(output)].data_source] = true;
    if (operation.optimizer) updated_[plan_.values[root_of(output)].data_source] = true;
  }
  if (operation.optimizer) {
    const auto found = std::ranges::find(optimizers_, operation.optimizer);
    const auto which = static_cast<std::size_t>(found - optimizers_.begin());
    step.scalar_count = static_cast<std::uint32_t>(operation.optimizer->scalars().size());
    if (found == optimizers_.end()) {
      optimizers_.push_back(operation.optimizer);
      first_scalar_.push_back(scalar_count_);
      scalar_count_ += step.scalar_count;
    }
    step.scalars = first_scalar_[which];
  }
  steps_.push_back(step);
  flops_.push_back(flops_.back() + operation.flops);
  bytes_.push_back(bytes_.back() + operation.bytes);
}

std::vector<void*> CompiledPlan::table(const std::vector<void*>& bases) const {
  std::vector<void*> table(places_.size());
  for (std::size_t i = 0; i < table.size(); ++i) {
    table[i] = static_cast<std::byte*>(bases[places_[i].base]) + places_[i].offset;
  }
  return table;
}

std::vector<double> CompiledPlan::scalars() const {
  std::vector<double> all;
  all.reserve(scalar_count_);
  for (const auto& optimizer : optimizers_) {
    const std::vector<double> own = optimizer->scalars();
    all.insert(all.end(), own.begin(), own.end());
  }
  return all;
}

backend::Launch CompiledPlan::launch(std::size_t i, const std::vector<void*>& table,
                                     const std::vector<double>& scalars) const {
  const Step& step = steps_[i];
  const graph::Operation& operation = plan_.operations[i];
  const std::span<const std::uint32_t> operands(operands_);
  backend::Launch launch;
  launch.kernel = operation.kernel.get();
  launch.label = operation.label;
  launch.args.table = table.data();
  launch.args.inputs = operands.subspan(step.inputs, step.outputs - step.inputs);
  launch.args.outputs = operands.subspan(step.outputs, step.end - step.outputs);
  launch.args.scratch = table[step.scratch];
  launch.args.scalars = std::span(scalars).subspan(step.scalars, step.scalar_count);
  return launch;
}

bool Binding::is_current() const noexcept {
  return std::ranges::all_of(
      uses, [](const Use& use) { return use.state->generation() == use.generation; });
}

std::shared_ptr<const Binding> bind(const CompiledPlan& compiled,
                                    const std::shared_ptr<DeviceState>& device) {
  const graph::Plan& plan = compiled.plan();
  auto binding = std::make_shared<Binding>();
  for (std::size_t i = 0; i < plan.data_sources.size(); ++i) {
    const DataSource& source = *plan.data_sources[i];
    auto state = ParameterState::of(source, device);
    if (compiled.updates(i)) state->use_optimizer(source);
    const std::uint64_t generation = state->generation();
    binding->uses.push_back({std::move(state), generation, compiled.writes(i)});
  }
  for (const ValueId id : compiled.parameters()) {
    const Value& value = plan.values[id];
    ParameterState& state = *binding->uses[value.data_source].state;
    binding->memory.push_back(
        state.array(*plan.data_sources[value.data_source], value.parameter, value.desc.bytes()));
  }
  return binding;
}

}  // namespace mpsnn::runtime
