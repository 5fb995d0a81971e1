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
    draft_.gradients.push_back({draft_.data_sources.at(node_.weights.get()), info.name, gradient});
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

bool Lowering::weights_are_updated() const noexcept {
  return node_.weights != nullptr && node_.weights->is_updated() &&
         node_.training_style == TrainingStyle::UPDATE_DEVICE_GPU;
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
