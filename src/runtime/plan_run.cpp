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
  std::vector<std::uint32_t> bases(count, kHeapBase);  // by root
  for (std::size_t i = 0; i < plan_.sources.size(); ++i)
    bases[plan_.sources[i]] = kFirstSourceBase + static_cast<std::uint32_t>(i);
  for (ValueId id = 0; id < count; ++id) {
    if (root_of(id) != id) continue;
    if (plan_.values[id].kind == ValueKind::RESULT) allocated_.push_back(id);
    if (plan_.values[id].kind == ValueKind::PARAMETER) parameters_.push_back(id);
  }
  for (std::size_t i = 0; i < allocated_.size(); ++i)
    bases[allocated_[i]] = first_allocated_base() + static_cast<std::uint32_t>(i);
  for (std::size_t i = 0; i < parameters_.size(); ++i)
    bases[parameters_[i]] = first_parameter_base() + static_cast<std::uint32_t>(i);
  for (ValueId id = 0; id < count; ++id) {
    const ValueId root = root_of(id);
    const bool is_temporary = plan_.values[root].kind == ValueKind::TEMPORARY;
    check_internal(is_temporary == (bases[root] == kHeapBase),
                   "every value of a plan has its memory");
    places_.push_back({bases[root], is_temporary ? plan_.values[root].offset : 0});
    if (plan_.values[id].kind == ValueKind::OPERAND) places_[id].offset = plan_.values[id].offset;
    places_[id].offset += plan_.values[id].within;
  }
  places_.push_back({});
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
    if (operation.optimizer || !operation.optimizers.empty())
      updated_[plan_.values[root_of(output)].data_source] = true;
  }
  if (operation.optimizer) step.take(add_scalars(operation.optimizer));
  for (const auto& optimizer : operation.optimizers) step.take(add_scalars(optimizer));
  steps_.push_back(step);
  flops_.push_back(flops_.back() + operation.flops);
  bytes_.push_back(bytes_.back() + operation.bytes);
}

std::pair<std::uint32_t, std::uint32_t> CompiledPlan::add_scalars(
    const std::shared_ptr<Optimizer>& optimizer) {
  const auto count = static_cast<std::uint32_t>(optimizer->scalars().size());
  const auto found = std::ranges::find(optimizers_, optimizer);
  const auto which = static_cast<std::size_t>(found - optimizers_.begin());
  if (found == optimizers_.end()) {
    optimizers_.push_back(optimizer);
    first_scalar_.push_back(scalar_count_);
    scalar_count_ += count;
  }
  return {first_scalar_[which], count};
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
