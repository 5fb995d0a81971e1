// SPDX-License-Identifier: MIT
#include <algorithm>
#include <unordered_map>

#include "base/attributes.h"
#include "graph/passes/passes.h"

namespace mpsnn::graph {
namespace {

NeuronType type_of(const Operation& operation) {
  return static_cast<NeuronType>(get_int(operation.attributes, "neuron_type"));
}

/// true where the derivative can be told from the neuron's result. The ReLU family: f keeps the
/// sign of its source and tells by itself whether the bound was met. SOFT_SIGN could be, but not
/// without losing digits.
bool result_tells_derivative(const Operation& neuron) {
  const auto slope_keeps_sign = [](double a) { return a >= 0; };
  const double a = get_float(neuron.attributes, "neuron_a");
  switch (type_of(neuron)) {
    case NeuronType::RELU:
      return slope_keeps_sign(a);
    case NeuronType::RELUN:
      return slope_keeps_sign(a) && get_float(neuron.attributes, "neuron_b") > 0;
    case NeuronType::LINEAR:
    case NeuronType::SIGMOID:
    case NeuronType::HARD_SIGMOID:
    case NeuronType::EXPONENTIAL:
      return true;
    case NeuronType::TANH:
    case NeuronType::SOFT_PLUS:
      return a != 0;
    case NeuronType::ELU:
      return slope_keeps_sign(a);
    case NeuronType::PRELU: {
      const auto& slopes = get_floats(neuron.attributes, "neuron_parameters");
      return std::all_of(slopes.begin(), slopes.end(), slope_keeps_sign);
    }
    default:
      return false;
  }
}

/// float16 rounds the neuron's result: what met its bound may lie below it, and the other way
/// round. Only what is zero or the source itself tells as much as the source.
bool is_told_exactly(const Operation& neuron, const TensorDesc& source, const TensorDesc& result) {
  if (result.type == DataType::FLOAT32) return true;
  return source.type == result.type && type_of(neuron) == NeuronType::RELU &&
         get_float(neuron.attributes, "neuron_a") == 0;
}

/// true where `gradient` is the gradient of `neuron`: same source, same function.
bool belongs_to(const Operation& gradient, const Operation& neuron) {
  return std::all_of(
      neuron.attributes.begin(), neuron.attributes.end(), [&](const auto& attribute) {
        const auto found = gradient.attributes.find(attribute.first);
        return found != gradient.attributes.end() && found->second == attribute.second;
      });
}

/// The neuron's source need not be kept then: the result, which the next node reads in the backward
/// pass anyway, serves both. Only neurons that stand before the gradient: the order of operations
/// follows the nodes', where a gradient waits for its neuron's source alone.
void read_results(Plan& plan) {
  std::unordered_map<ValueId, const Operation*> neurons;  // by source
  for (Operation& operation : plan.operations) {
    if (operation.op == OpId::neuron) neurons.emplace(operation.inputs[0], &operation);
    if (operation.op != OpId::neuron_gradient) continue;
    const auto found = neurons.find(operation.inputs[1]);
    if (found == neurons.end()) continue;
    const Operation& neuron = *found->second;
    if (!belongs_to(operation, neuron) || !result_tells_derivative(neuron)) continue;
    if (!is_told_exactly(neuron, plan.values[neuron.inputs[0]].desc,
                         plan.values[neuron.outputs[0]].desc))
      continue;
    operation.inputs[1] = neuron.outputs[0];
    operation.attributes["from_result"] = true;
  }
}

/// Any neuron with one set of parameters.
bool takes_neuron(OpId op, NeuronType type) {
  return (op == OpId::convolution || op == OpId::normalization) && type != NeuronType::PRELU;
}

bool can_fuse(const Plan& plan, const Operation& before, const Operation& neuron) {
  const Value& between = plan.values[before.outputs[0]];
  return type_of(before) == NeuronType::NONE && takes_neuron(before.op, type_of(neuron)) &&
         between.kind == ValueKind::TEMPORARY &&
         between.desc == plan.values[neuron.outputs[0]].desc;
}

void fuse(Plan& plan) {
  std::vector<std::size_t> readers(plan.values.size(), 0);
  std::unordered_map<ValueId, std::size_t> takers;  // by result
  std::vector<bool> fused(plan.operations.size(), false);
  for (const Operation& operation : plan.operations) {
    for (const ValueId input : operation.inputs) {
      if (input != kNoValue) ++readers[input];
    }
  }
  for (std::size_t i = 0; i < plan.operations.size(); ++i) {
    Operation& operation = plan.operations[i];
    if (takes_neuron(operation.op, NeuronType::RELU)) takers[operation.outputs[0]] = i;
    if (operation.op != OpId::neuron || readers[operation.inputs[0]] != 1) continue;
    const auto found = takers.find(operation.inputs[0]);
    if (found == takers.end()) continue;
    Operation& before = plan.operations[found->second];
    if (!can_fuse(plan, before, operation)) continue;
    for (const char* name : {"neuron_type", "neuron_a", "neuron_b", "neuron_c"}) {
      before.attributes[name] = operation.attributes.at(name);
    }
    before.outputs[0] = operation.outputs[0];
    fused[i] = true;
  }
  std::size_t i = 0;
  std::erase_if(plan.operations, [&](const Operation&) { return fused[i++]; });
}

}  // namespace

void fuse_neurons(Draft& draft) {
  read_results(draft.plan);
  fuse(draft.plan);
}

}  // namespace mpsnn::graph
