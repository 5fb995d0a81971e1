// SPDX-License-Identifier: MIT
#include <map>
#include <set>
#include <string>
#include <utility>

#include "base/check.h"
#include "graph/passes/passes.h"

namespace mpsnn::graph {
namespace {

class Chooser {
 public:
  explicit Chooser(Draft& draft) : draft_(draft) {}

  void run() {
    std::vector<Operation> operations = std::move(draft_.plan.operations);
    for (const Operation& operation : operations) {
      if (operation.optimizer != nullptr) updated_.insert(operation.inputs[0]);
    }
    for (Operation& operation : operations) {
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
    const ValueId version =
        draft_.parameter(original.data_source, original.parameter + ".version", counter_desc());
    const ValueId copy_version =
        draft_.parameter(original.data_source, name + ".version", counter_desc());
    add_copying({parameter, version, copy_version}, {copy, copy_version});
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
  std::vector<Operation> done_;
};

}  // namespace

void choose_kernels(Draft& draft) { Chooser(draft).run(); }

}  // namespace mpsnn::graph
