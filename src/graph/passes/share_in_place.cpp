// SPDX-License-Identifier: MIT
#include "graph/in_place.h"
#include "graph/passes/passes.h"

namespace mpsnn::graph {
namespace {

class Sharing {
 public:
  explicit Sharing(Plan& plan)
      : plan_(plan),
        last_read_(plan.values.size(), 0),
        newest_(plan.values.size()),
        before_(plan.values.size(), kNoValue) {
    for (std::size_t i = 0; i < plan.operations.size(); ++i) {
      for (const ValueId input : plan.operations[i].inputs) {
        if (input != kNoValue) last_read_[input] = i;
      }
    }
    for (ValueId id = 0; id < plan.values.size(); ++id) newest_[id] = id;
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
    const bool dies_here = last_read_[input] == at && newest_[root] == input;
    const bool is_free =
        plan_.values[root].kind == ValueKind::TEMPORARY && from.kind == ValueKind::TEMPORARY;
    if (!dies_here || !is_free || from.desc.bytes() != to.desc.bytes() ||
        from.desc.type != to.desc.type) {
      return false;
    }
    before_[output] = input;
    newest_[root] = output;
    // A result's memory comes from outside of the heap: it takes over what was computed before it.
    // Nothing is written over a result, so that this walk is a group's last.
    if (to.kind == ValueKind::RESULT) {
      for (ValueId member = output; member != kNoValue; member = before_[member])
        plan_.values[member].storage = output;
    } else {
      plan_.values[output].storage = root;
    }
    return true;
  }

  Plan& plan_;
  std::vector<std::size_t> last_read_;  // by value: the last operation that reads it
  std::vector<ValueId> newest_;         // by root: the last of the values in its memory
  std::vector<ValueId> before_;         // by value: the one that it was written over; or kNoValue
};

}  // namespace

void share_in_place(Draft& draft) { Sharing(draft.plan).run(); }

}  // namespace mpsnn::graph
