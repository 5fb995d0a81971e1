// SPDX-License-Identifier: MIT
#include <map>
#include <set>
#include <string>
#include <utility>

#include "base/attributes.h"
#include "base/check.h"
#include "graph/passes/passes.h"

namespace mpsnn::graph {
namespace {

/// How an array is called that an operation makes of weights alone, beside them: "transposed.1";
/// empty for operations that are not kept.
std::string name_of_kept(const Operation& operation) {
  if (operation.inputs.size() != 1) return "";
  const AttributeMap& attributes = operation.attributes;
  if (operation.op == OpId::transposed_weights)
    return str("transposed.", get_int(attributes, "groups"));
  if (operation.op != OpId::channel_affine || !get_floats(attributes, "scales").empty() ||
      !get_floats(attributes, "biases").empty())
    return "";
  return str("binary.", get_int(attributes, "binarization"));
}

class Chooser {
 public:
  explicit Chooser(Draft& draft) : draft_(draft) {}

  void run() {
    std::vector<Operation> operations = std::move(draft_.plan.operations);
    for (const Operation& operation : operations) {
      if (operation.optimizer != nullptr) updated_.insert(operation.inputs[0]);
    }
    for (Operation& operation : operations) {
      read_kept(operation);
      if (keeps(operation) && !keep(operation)) continue;
      choose(operation);
      use_layouts(operation);
      done_.push_back(std::move(operation));
    }
    draft_.plan.operations = std::move(done_);
  }

 private:
  std::vector<TensorDesc> descs(const std::vector<ValueId>& ids) const {
    std::vector<TensorDesc> descs;
    for (const ValueId id : ids) {
      descs.push_back(id == kNoValue ? TensorDesc{DataType::FLOAT32, {}, nullptr}
                                     : draft_.plan.values[id].desc);
    }
    return descs;
  }

  void read_kept(Operation& operation) const {
    for (ValueId& input : operation.inputs) {
      const auto found = kept_.find(input);
      if (found != kept_.end()) input = found->second;
    }
  }

  /// What is made of a parameter alone, and no run of the plan updates, is made when the parameter
  /// changes and not at each run.
  bool keeps(const Operation& operation) const {
    return !name_of_kept(operation).empty() && !updated_.contains(operation.inputs[0]) &&
           draft_.plan.values[operation.inputs[0]].kind == ValueKind::PARAMETER &&
           draft_.plan.values[operation.outputs.at(0)].kind == ValueKind::TEMPORARY;
  }

  /// false: an earlier operation of the plan makes it.
  bool keep(Operation& operation) {
    const ValueId parameter = operation.inputs[0], temporary = operation.outputs[0];
    const Value original = draft_.plan.values[parameter];
    const std::string name = str(original.parameter, '@', name_of_kept(operation));
    const std::size_t values_before = draft_.plan.values.size();
    const ValueId kept =
        draft_.parameter(original.data_source, name, draft_.plan.values[temporary].desc);
    kept_[temporary] = kept;
    if (kept < values_before) return false;
    add_versions(original, name, operation.inputs, operation.outputs);
    operation.outputs[0] = kept;
    return true;
  }

  /// Completes the operands of an operation that makes `name` of a parameter: it does where the
  /// versions differ.
  void add_versions(const Value& original, const std::string& name, std::vector<ValueId>& inputs,
                    std::vector<ValueId>& outputs) {
    const ValueId version =
        draft_.parameter(original.data_source, original.parameter + ".version", counter_desc());
    const ValueId copy_version =
        draft_.parameter(original.data_source, name + ".version", counter_desc());
    inputs.insert(inputs.end(), {version, copy_version});
    outputs.push_back(copy_version);
  }

  void choose(Operation& operation) {
    const std::vector<TensorDesc> inputs = descs(operation.inputs),
                                  outputs = descs(operation.outputs);
    operation.kernel = draft_.chooser.choose(
        {operation.op, operation.label, inputs, outputs, operation.attributes});
    check_internal(operation.kernel != nullptr, "a KernelChooser returns a kernel or throws");
    if (operation.kernel->scratch_bytes == 0) return;
    const auto bytes = static_cast<std::int64_t>(operation.kernel->scratch_bytes);
    operation.scratch = draft_.add_value(operation.label + ".scratch",
                                         {DataType::UINT8, {bytes}, nullptr}, ValueKind::TEMPORARY);
  }

  void use_layouts(Operation& operation) {
    const auto& layouts = operation.kernel->input_layouts;
    for (std::size_t i = 0; i < layouts.size() && i < operation.inputs.size(); ++i) {
      if (layouts[i] == nullptr || operation.inputs[i] == kNoValue) continue;
      operation.inputs[i] = copy_in_layout(operation.inputs[i], layouts[i]);
    }
  }

  /// The copy of a parameter, or of a value made of one, in a layout: one a plan, however many
  /// operations read it. Where the plan updates the parameter, a kept copy would be stale at every
  /// run: it is a temporary then.
  ValueId copy_in_layout(ValueId parameter, const std::shared_ptr<const Layout>& layout) {
    const Value original = draft_.plan.values[parameter];
    if (original.kind == ValueKind::TEMPORARY) return fresh_copy(parameter, layout->name, layout);
    check_internal(original.kind == ValueKind::PARAMETER,
                   "only parameters and what is made of them have a kernel's layout");
    const std::string name = str(original.parameter, '@', layout->name);
    if (updated_.contains(parameter)) return fresh_copy(parameter, name, layout);
    const std::size_t values_before = draft_.plan.values.size();
    const ValueId copy = draft_.parameter(original.data_source, name,
                                          {original.desc.type, original.desc.dims, layout});
    if (copy < values_before) return copy;
    std::vector<ValueId> inputs = {parameter}, outputs = {copy};
    add_versions(original, name, inputs, outputs);
    add_copying(std::move(inputs), std::move(outputs));
    return copy;
  }

  ValueId fresh_copy(ValueId parameter, const std::string& name,
                     const std::shared_ptr<const Layout>& layout) {
    const auto [known, is_new] = fresh_.try_emplace({parameter, name}, kNoValue);
    if (!is_new) return known->second;
    const Value original = draft_.plan.values[parameter];
    const ValueId copy =
        draft_.add_value(str(original.name, '@', layout->name),
                         {original.desc.type, original.desc.dims, layout}, ValueKind::TEMPORARY);
    known->second = copy;
    add_copying({parameter}, {copy});
    return copy;
  }

  void add_copying(std::vector<ValueId> inputs, std::vector<ValueId> outputs) {
    Operation operation{.op = OpId::parameter_layout,
                        .label = draft_.plan.values[outputs[0]].name,
                        .node_class = {},
                        .attributes = {},
                        .inputs = std::move(inputs),
                        .outputs = std::move(outputs),
                        .kernel = nullptr,
                        .optimizer = nullptr};
    choose(operation);
    done_.push_back(std::move(operation));
  }

  Draft& draft_;
  std::set<ValueId> updated_;  // parameters that an optimizer of this plan writes
  std::map<std::pair<ValueId, std::string>, ValueId> fresh_;
  std::map<ValueId, ValueId> kept_;  // what stands for a temporary beside its parameter
  std::vector<Operation> done_;
};

}  // namespace

void choose_kernels(Draft& draft) { Chooser(draft).run(); }

}  // namespace mpsnn::graph
