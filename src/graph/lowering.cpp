// SPDX-License-Identifier: MIT
#include "graph/lowering.h"

#include <limits>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "graph/node_table.h"

namespace mpsnn::graph {

ValueId Lowering::source(std::size_t i) const {
  if (i >= node_.sources.size()) return kNoValue;
  return draft_.images.at(node_.sources[i].record().get());
}

ImageSize Lowering::source_size(std::size_t i) const {
  return draft_.shapes.at(node_.sources.at(i).record().get()).image();
}

bool Lowering::is_rounded(std::size_t result, std::size_t from) const {
  const auto type_of = [this](std::size_t i) {
    return draft_.shapes.at(node_.sources.at(i).record().get()).type;
  };
  return type_of(from) != type_of(result) && type_of(result) == DataType::FLOAT16;
}

ValueId Lowering::result() {
  const ValueId id =
      draft_.add_value(node_.label, draft_.shapes.at(&node_.result), ValueKind::TEMPORARY);
  draft_.images[&node_.result] = id;
  return id;
}

void Lowering::result_is(ValueId value) {
  check_internal(result_can_be(value), "an alias has the result's size and type");
  draft_.images[&node_.result] = value;
}

bool Lowering::result_can_be(ValueId value) const {
  return draft_.plan.values.at(value).desc == draft_.shapes.at(&node_.result);
}

ValueId Lowering::source_state_result(std::string_view name, const ImageSize& size) {
  if (!node_.input_state) return kNoValue;
  const auto& states = draft_.network.source_states;
  const auto found = std::ranges::find(states, node_.input_state, &StateNode::record);
  const TensorDesc desc = {
      DataType::FLOAT32, {size.n, size.height, size.width, size.channels}, nullptr};
  const ValueId id = draft_.add_value(str(found->handle(), '.', name), desc, ValueKind::RESULT);
  draft_.plan.states.push_back(
      {true, static_cast<std::uint32_t>(found - states.begin()), std::string(name), id});
  return id;
}

ValueId Lowering::given(std::string_view name, const std::vector<std::int64_t>& dims) {
  if (!node_.input_state) return kNoValue;
  const auto& parts = node_.input_state->parts;
  const auto part = std::ranges::find(parts, name, &StateRecord::Part::name);
  const ValueId value = draft_.images.at(&(*part)->image);
  if (draft_.plan.values[value].desc.dims == dims) return value;
  const ValueId id = temporary(name, {DataType::FLOAT32, dims, nullptr});
  add(OpId::reshape, {value}, {id}, {});
  return id;
}

namespace {

/// Position of the node's result state among the exported ones; their number where it is not.
std::size_t exported_position(const Draft& draft, const FilterRecord& node) {
  const auto& states = draft.network.exported_states;
  return static_cast<std::size_t>(std::ranges::find_if(states,
                                                       [&](const StateNode& each) {
                                                         return each.record().get() ==
                                                                &node.result_state;
                                                       }) -
                                  states.begin());
}

}  // namespace

bool Lowering::state_is_wanted() const {
  return exported_position(draft_, node_) < draft_.network.exported_states.size();
}

void Lowering::leave_in_state(std::string_view name, ValueId value) {
  if (value == kNoValue || !state_is_wanted()) return;
  TensorDesc desc = draft_.plan.values[value].desc;
  desc.dims.insert(desc.dims.begin(), 4 - desc.dims.size(), 1);
  const std::size_t state = exported_position(draft_, node_);
  const std::string& handle = draft_.network.exported_states[state].handle();
  const ValueId id = draft_.add_value(str(handle, '.', name), std::move(desc), ValueKind::RESULT);
  add(OpId::reshape, {value}, {id}, {});
  draft_.plan.states.push_back({false, static_cast<std::uint32_t>(state), std::string(name), id});
}

ValueId Lowering::temporary(std::string_view name, const ImageSize& size) {
  return draft_.add_value(
      str(node_.label, '.', name),
      {DataType::FLOAT32, {size.n, size.height, size.width, size.channels}, nullptr},
      ValueKind::TEMPORARY);
}

ValueId Lowering::parameter(std::string_view name) {
  for (const ParameterInfo& info : node_.weights->parameters()) {
    if (info.name != name) continue;
    const std::uint32_t owner = draft_.data_sources.at(node_.weights.get());
    return draft_.parameter(owner, info.name, {DataType::FLOAT32, info.shape, nullptr});
  }
  return kNoValue;
}

ValueId Lowering::parameter_gradient(std::string_view name) {
  for (const ParameterInfo& info : node_.weights->parameters()) {
    if (info.name != name) continue;
    const ValueId gradient =
        draft_.add_value(str(node_.label, '.', name), {DataType::FLOAT32, info.shape, nullptr},
                         ValueKind::TEMPORARY);
    gradients_.emplace_back(info.name, gradient);
    if (updates_weights()) {
      draft_.gradients.push_back({draft_.data_sources.at(node_.weights.get()), info.name, gradient,
                                  node_.training_style, title(node_)});
    }
    return gradient;
  }
  return kNoValue;
}

ValueId Lowering::temporary(std::string_view name, TensorDesc desc) {
  return draft_.add_value(str(node_.label, '.', name), std::move(desc), ValueKind::TEMPORARY);
}

ValueId& Lowering::shared(std::size_t i, std::string_view name) {
  const auto key =
      std::tuple(node_.sources.at(i).record().get(), node_.weights.get(), std::string(name));
  return draft_.shared.try_emplace(key, kNoValue).first->second;
}

bool Lowering::is_differentiated(std::size_t i) const {
  return draft_.differentiated.contains({node_.sources.at(i).record().get(), node_.weights.get()});
}

void Lowering::change_state(std::string_view parameter, OpId op, std::vector<ValueId> inputs,
                            AttributeMap attributes) {
  inputs.insert(inputs.begin(), this->parameter(parameter));
  draft_.changes.push_back({draft_.plan.values[inputs[0]].name, std::string(node_.node_class->name),
                            op, std::move(inputs), std::move(attributes)});
}

bool Lowering::changes_state(std::string_view parameter) {
  const ValueId value = this->parameter(parameter);
  return std::ranges::any_of(
      draft_.changes, [value](const StateChange& change) { return change.inputs[0] == value; });
}

bool Lowering::updates_weights() const {
  return node_.weights != nullptr && node_.weights->is_updated() &&
         node_.training_style != TrainingStyle::UPDATE_DEVICE_NONE;
}

bool Lowering::weights_are_updated() const { return updates_weights() || state_is_wanted(); }

void Lowering::leave_gradients_in_state() {
  for (const auto& [name, gradient] : gradients_) leave_in_state(name, gradient);
}

void Lowering::add(OpId op, std::vector<ValueId> inputs, std::vector<ValueId> outputs,
                   AttributeMap attributes) {
  // Absent operands at the end are left out, as KernelQuery wants it.
  while (!inputs.empty() && inputs.back() == kNoValue) inputs.pop_back();
  while (!outputs.empty() && outputs.back() == kNoValue) outputs.pop_back();
  draft_.plan.operations.push_back({.op = op,
                                    .label = node_.label,
                                    .node_class = std::string(node_.node_class->name),
                                    .attributes = std::move(attributes),
                                    .inputs = std::move(inputs),
                                    .outputs = std::move(outputs),
                                    .kernel = nullptr,
                                    .optimizer = nullptr});
}

AttributeMap plain_binary() {
  constexpr double kFloatMax = std::numeric_limits<float>::max();
  return {{"primary_scale", 1.0},
          {"secondary_scale", 1.0},
          {"bias", 0.0},
          {"minimum_value", -kFloatMax},
          {"maximum_value", kFloatMax}};
}

}  // namespace mpsnn::graph
