// SPDX-License-Identifier: MIT
#include <sstream>

#include "base/check.h"
#include "graph/dot.h"
#include "graph/plan.h"

namespace mpsnn::graph {
namespace {

std::string_view style_of(ValueKind kind) {
  switch (kind) {
    case ValueKind::SOURCE:
    case ValueKind::OPERAND:
      return kDotSource;
    case ValueKind::RESULT:
      return kDotResult;
    case ValueKind::PARAMETER:
      return kDotParameter;
    case ValueKind::TEMPORARY:
      return kDotTemporary;
  }
  throw InternalError("value kind out of range");
}

void print_value(std::ostream& out, const Plan& plan, ValueId id) {
  const Value& value = plan.values[id];
  const Value& root = plan.values[value.storage];
  std::string text = str(value.name, '\n', to_string(value.desc));
  if (root.kind == ValueKind::TEMPORARY) {
    text += str("\nheap [", root.offset, ", ", root.offset + root.desc.bytes(), ")");
  }
  out << "  v" << id << " [label=" << dot_string(text) << ", " << style_of(value.kind) << "];\n";
}

void print_operation(std::ostream& out, const Plan& plan, std::size_t index) {
  const Operation& operation = plan.operations[index];
  std::string text = str(index, "  ", operation.label, '\n', describe(operation));
  if (operation.kernel) text += str('\n', operation.kernel->row);
  const bool gradient = operation.node_class.ends_with("GradientNode");
  out << "  o" << index << " [label=" << dot_string(text) << (gradient ? ", " : "")
      << (gradient ? kDotGradient : std::string_view()) << "];\n";
  const auto edge_style = [&plan](ValueId id) {
    return plan.values[id].kind == ValueKind::PARAMETER ? " [style=dashed]" : "";
  };
  for (const ValueId id : operation.inputs) {
    if (id != kNoValue) out << "  v" << id << " -> o" << index << edge_style(id) << ";\n";
  }
  for (const ValueId id : operation.outputs) {
    if (id != kNoValue) out << "  o" << index << " -> v" << id << edge_style(id) << ";\n";
  }
}

/// Scratch memory is no operand: it stays out of the picture.
std::vector<bool> operands_of(const Plan& plan) {
  std::vector<bool> used(plan.values.size(), false);
  for (const Operation& operation : plan.operations) {
    for (const std::vector<ValueId>* ids : {&operation.inputs, &operation.outputs}) {
      for (const ValueId id : *ids) {
        if (id != kNoValue) used[id] = true;
      }
    }
  }
  return used;
}

}  // namespace

std::string to_dot(const Plan& plan) {
  std::ostringstream out;
  out << "digraph plan {\n" << kDotHead;
  const std::vector<bool> used = operands_of(plan);
  for (ValueId id = 0; id < plan.values.size(); ++id) {
    if (used[id]) print_value(out, plan, id);
  }
  for (std::size_t i = 0; i < plan.operations.size(); ++i) print_operation(out, plan, i);
  out << "}\n";
  return out.str();
}

}  // namespace mpsnn::graph
