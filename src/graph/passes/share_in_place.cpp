// SPDX-License-Identifier: MIT
#include "graph/in_place.h"
#include "graph/passes/passes.h"

namespace mpsnn::graph {
namespace {

class Sharing {
 public:
  explicit Sharing(Plan& plan)
      : plan_(plan), last_read_(plan.values.size(), 0), members_(plan.values.size()) {
    for (std::size_t i = 0; i < plan.operations.size(); ++i) {
      for (const ValueId input : plan.operations[i].inputs) {
        if (input != kNoValue) last_read_[input] = i;
      }
    }
    for (ValueId id = 0; id < plan.values.size(); ++id) members_[id] = {id};
  }

  void run() {
    for (std::size_t i = 0; i < plan_.operations.size(); ++i) {
      const Operation& operation = plan_.operations[i];
      for (const std::size_t candidate : in_place_operands(operation.op)) {
        if (candidate < operation.inputs.size() &&
            share(i, operation.inputs[candidate], operation.outputs[0]))
          break;
      }
    }
  }

 private:
  bool share(std::size_t at, ValueId input, ValueId output) {
    if (input == kNoValue || output == kNoValue) return false;
    const Value &from = plan_.values[input], &to = plan_.values[output];
    const ValueId root = from.storage;
    // Only the group's newest member can be alive: the ones before it died where it was written.
    const bool dies_here = last_read_[input] == at && members_[root].back() == input;
    const bool is_free =
        plan_.values[root].kind == ValueKind::TEMPORARY && from.kind == ValueKind::TEMPORARY;
    if (!dies_here || !is_free || from.desc.bytes() != to.desc.bytes() ||
        from.desc.type != to.desc.type) {
      return false;
    }
    // A result's memory comes from outside of the heap: it takes over what was computed before it.
    const bool takes_over = to.kind == ValueKind::RESULT;
    const ValueId new_root = takes_over ? output : root;
    std::vector<ValueId> group = std::move(members_[root]);
    group.push_back(output);
    for (const ValueId member : group) plan_.values[member].storage = new_root;
    members_[new_root] = std::move(group);
    return true;
  }

  Plan& plan_;
  std::vector<std::size_t> last_read_;         // by value: the last operation that reads it
  std::vector<std::vector<ValueId>> members_;  // by root: the values in its memory, oldest first
};

}  // namespace

void share_in_place(Draft& draft) { Sharing(draft.plan).run(); }

}  // namespace mpsnn::graph
