// SPDX-License-Identifier: MIT
#include "graph/verify.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "graph/in_place.h"

namespace mpsnn::graph {
namespace {

class Verifier {
 public:
  explicit Verifier(const Plan& plan)
      : plan_(plan), written_(plan.values.size(), false), has_parts_(plan.values.size(), false) {}

  void run() {
    check_ids();
    check_parts();
    for (std::size_t i = 0; i < plan_.operations.size(); ++i) {
      check_reads(i);
      check_writes(i);
    }
    check_outputs();
    check_updates();
    check_sharing();
    check_heap();
  }

 private:
  void require(bool holds, std::string_view rule, const std::string& where) const {
    if (!holds) throw InternalError(str("plan: ", rule, ": ", where));
  }

  std::string at(std::size_t i) const {
    return str("operation ", i, " ", name_of(plan_.operations[i].op), " \"",
               plan_.operations[i].label, '"');
  }

  std::string at(std::size_t i, ValueId id) const {
    return str(at(i), ", value ", id, " \"", plan_.values[id].name, '"');
  }

  bool exists(ValueId id) const { return id == kNoValue || id < plan_.values.size(); }

  void check_ids() const {
    for (std::size_t i = 0; i < plan_.operations.size(); ++i) {
      const Operation& operation = plan_.operations[i];
      bool all = exists(operation.scratch);
      for (const ValueId id : operation.inputs) all = all && exists(id);
      for (const ValueId id : operation.outputs) all = all && exists(id);
      require(all, "every operand is a value of the plan", at(i));
    }
    for (const Value& value : plan_.values) {
      const bool settled = value.storage < plan_.values.size() &&
                           plan_.values[value.storage].storage == value.storage;
      require(settled, "every value has its storage", value.name);
      require(value.kind != ValueKind::PARAMETER || value.data_source < plan_.data_sources.size(),
              "every parameter has its data source", value.name);
    }
  }

  void check_parts() {
    for (const Value& value : plan_.values) {
      if (!value.is_part) continue;
      require(value.within + value.desc.bytes() <= plan_.values[value.storage].desc.bytes(),
              "a part lies inside of its storage", value.name);
      has_parts_[value.storage] = true;
    }
  }

  /// Of memory that is written in parts we know whether any was.
  bool is_written(ValueId id) const {
    return written_[id] || (plan_.values[id].is_part && written_[plan_.values[id].storage]);
  }

  void check_reads(std::size_t i) const {
    for (const ValueId id : plan_.operations[i].inputs) {
      if (id == kNoValue) continue;
      const ValueKind kind = plan_.values[id].kind;
      const bool given = kind != ValueKind::TEMPORARY && kind != ValueKind::RESULT;
      require(given || is_written(id), "a value is written before it is read", at(i, id));
      check_alive(i, id);
    }
  }

  void check_writes(std::size_t i) {
    const Operation& operation = plan_.operations[i];
    for (const ValueId id : operation.outputs) {
      if (id == kNoValue) continue;
      const ValueKind kind = plan_.values[id].kind;
      require(kind != ValueKind::SOURCE, "a source is never written", at(i, id));
      const bool in_parts = has_parts_[plan_.values[id].storage];
      const bool keeps = kind == ValueKind::PARAMETER || kind == ValueKind::OPERAND || in_parts;
      // What an operation changes it reads, too.
      const bool changes = std::ranges::find(operation.inputs, id) != operation.inputs.end();
      require(keeps || changes || !written_[id], "a value is written once", at(i, id));
      written_[id] = true;
      if (in_parts) written_[plan_.values[id].storage] = true;
      check_alive(i, id);
    }
    if (operation.scratch != kNoValue) check_alive(i, operation.scratch);
  }

  void check_alive(std::size_t i, ValueId id) const {
    const Value& value = plan_.values[id];
    require(value.first <= i && i <= value.last, "a value is alive where it is used", at(i, id));
  }

  void check_outputs() const {
    for (const std::vector<ValueId>* ids : {&plan_.results, &plan_.exported}) {
      for (const ValueId id : *ids) {
        if (id == kNoValue) continue;
        require(exists(id) && written_[id] && plan_.values[id].kind == ValueKind::RESULT,
                "an output is a result that is written", str("value ", id));
      }
    }
    const auto check = [this](ValueId id, const std::string& name) {
      require(exists(id) && written_[id] && plan_.values[id].kind == ValueKind::RESULT,
              "an array of a state is a result that is written", name);
    };
    for (const StateOutput& output : plan_.states) check(output.value, output.name);
    for (const OwnUpdate& update : plan_.own_updates) {
      for (const OwnUpdate::Gradient& each : update.gradients) check(each.value, each.parameter);
    }
  }

  /// Updates come after every reader of the parameter and of its copies in other layouts.
  void check_updates() const {
    std::set<std::pair<std::uint32_t, std::string>> updated;
    for (std::size_t i = 0; i < plan_.operations.size(); ++i) {
      const Operation& operation = plan_.operations[i];
      for (const ValueId id : operation.inputs) {
        if (id == kNoValue || plan_.values[id].kind != ValueKind::PARAMETER) continue;
        const Value& value = plan_.values[id];
        const std::string master = value.parameter.substr(0, value.parameter.find('@'));
        // Averages of one data source follow one another.
        const bool moves_on = moves_state(operation.op);
        require(moves_on || !updated.contains({value.data_source, master}),
                "a parameter is updated after its readers", at(i, id));
      }
      if (operation.optimizer == nullptr && !moves_state(operation.op)) continue;
      const Value& value = plan_.values[operation.inputs.at(0)];
      updated.insert({value.data_source, value.parameter});
    }
  }

  bool writes_in_place(std::size_t i, ValueId input, ValueId output) const {
    const Operation& operation = plan_.operations[i];
    if (operation.outputs.empty() || operation.outputs[0] != output) return false;
    for (const std::size_t operand : in_place_operands(operation.op)) {
      if (operand < operation.inputs.size() && operation.inputs[operand] == input) return true;
    }
    return false;
  }

  /// Values of one memory follow one another: the next begins where an operation writes it over the
  /// one before, and only the last may be a result.
  void check_sharing() const {
    std::map<ValueId, std::vector<ValueId>> groups;
    for (ValueId id = 0; id < plan_.values.size(); ++id)
      groups[plan_.values[id].storage].push_back(id);
    for (auto& [root, group] : groups) {
      if (plan_.values[root].kind == ValueKind::OPERAND || has_parts_[root]) continue;  // views
      std::stable_sort(group.begin(), group.end(), [this](ValueId a, ValueId b) {
        return plan_.values[a].first < plan_.values[b].first;
      });
      for (std::size_t i = 1; i < group.size(); ++i) {
        const Value &before = plan_.values[group[i - 1]], &after = plan_.values[group[i]];
        require(before.kind == ValueKind::TEMPORARY && before.last == after.first &&
                    before.desc.bytes() == after.desc.bytes() &&
                    writes_in_place(after.first, group[i - 1], group[i]),
                "memory is shared only in place", str(before.name, ", ", after.name));
      }
    }
  }

  /// Sweeps over the operations with the blocks that are alive, by offset.
  void check_heap() const {
    struct Event {
      std::uint32_t at;
      bool begins;
      ValueId root;
    };
    std::map<ValueId, std::pair<std::uint32_t, std::uint32_t>> spans;
    for (const Value& value : plan_.values) {
      if (plan_.values[value.storage].kind != ValueKind::TEMPORARY) continue;
      auto& span = spans.try_emplace(value.storage, value.first, value.last).first->second;
      span = {std::min(span.first, value.first), std::max(span.second, value.last)};
    }
    std::vector<Event> events;
    for (const auto& [root, span] : spans) {
      events.push_back({span.first, true, root});
      events.push_back({span.second + 1, false, root});
    }
    std::stable_sort(events.begin(), events.end(), [](const Event& a, const Event& b) {
      return a.at != b.at ? a.at < b.at : a.begins < b.begins;
    });
    std::map<std::size_t, ValueId> alive;  // by offset
    for (const Event& event : events) {
      const std::size_t offset = plan_.values[event.root].offset;
      if (event.begins) {
        check_room(event.root, alive);
        alive.emplace(offset, event.root);
      } else {
        alive.erase(offset);
      }
    }
  }

  void check_room(ValueId root, const std::map<std::size_t, ValueId>& alive) const {
    const Value& value = plan_.values[root];
    const std::size_t end = value.offset + value.desc.bytes();
    require(value.offset % kHeapAlignment == 0 && end <= plan_.heap_bytes,
            "a value lies in the heap, aligned", value.name);
    const auto next = alive.lower_bound(value.offset);
    require(next == alive.end() || next->first >= end, "values alive at once do not overlap",
            value.name);
    if (next == alive.begin()) return;
    const auto before = std::prev(next);
    require(before->first + plan_.values[before->second].desc.bytes() <= value.offset,
            "values alive at once do not overlap", value.name);
  }

  const Plan& plan_;
  std::vector<bool> written_, has_parts_;
};

}  // namespace

void verify(const Plan& plan) { Verifier(plan).run(); }

}  // namespace mpsnn::graph
