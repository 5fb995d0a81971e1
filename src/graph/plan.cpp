// SPDX-License-Identifier: MIT
#include "graph/plan.h"

#include <algorithm>
#include <iomanip>
#include <sstream>

#include "base/attributes.h"
#include "base/check.h"
#include "graph/node_table.h"

namespace mpsnn::graph {
namespace {

/// Where a value lies: "heap [0, 65536)", "result", "as 12" where it shares the memory of value 12.
std::string place_of(const Plan& plan, ValueId id) {
  const Value& value = plan.values[id];
  const Value& root = plan.values[value.storage];
  std::string text = value.storage == id ? "" : str("as ", value.storage, " ");
  if (root.kind == ValueKind::RESULT) return text + "result";
  if (root.kind == ValueKind::OPERAND) return text + str("operand, from byte ", value.offset);
  return text + str("heap [", root.offset, ", ", root.offset + root.desc.bytes(), ")");
}

std::string operand(const Plan& plan, ValueId id) {
  return id == kNoValue ? "-" : str('%', id, ' ', plan.values[id].name);
}

std::string operands(const Plan& plan, const std::vector<ValueId>& ids) {
  std::string text;
  for (const ValueId id : ids) text += str(text.empty() ? "" : ", ", operand(plan, id));
  return text;
}

void print_operation(std::ostream& out, const Plan& plan, std::size_t index) {
  const Operation& operation = plan.operations[index];
  out << std::setw(4) << index << "  " << operation.label << "  " << describe(operation) << "  ["
      << (operation.kernel ? operation.kernel->row : "no kernel") << "]\n"
      << "        " << operands(plan, operation.inputs) << " -> "
      << operands(plan, operation.outputs) << '\n';
  for (const ValueId id : operation.outputs) {
    if (id == kNoValue || plan.values[id].kind == ValueKind::PARAMETER) continue;
    const Value& value = plan.values[id];
    out << "        %" << id << ": " << to_string(value.desc) << ", " << place_of(plan, id)
        << ", alive " << value.first << ".." << value.last << '\n';
  }
  if (operation.scratch != kNoValue) {
    out << "        scratch: " << place_of(plan, operation.scratch) << '\n';
  }
}

}  // namespace

std::string describe(const Operation& operation) {
  std::string text(name_of(operation.op));
  if (operation.op != OpId::convolution) return text;
  const std::int64_t type = get_int(operation.attributes, "neuron_type");
  if (type == static_cast<std::int64_t>(NeuronType::NONE)) return text;
  std::string neuron = enumerator_name("NeuronType", type);
  std::transform(neuron.begin(), neuron.end(), neuron.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return text + " + " + neuron;
}

std::uint64_t Plan::flops() const noexcept {
  std::uint64_t total = 0;
  for (const Operation& operation : operations) total += operation.flops;
  return total;
}

std::string to_text(const Plan& plan) {
  std::ostringstream out;
  for (std::size_t i = 0; i < plan.operations.size(); ++i) print_operation(out, plan, i);
  std::size_t temporaries = 0, bytes = 0;
  for (const Value& value : plan.values) {
    if (value.kind != ValueKind::TEMPORARY) continue;
    ++temporaries;
    bytes += value.desc.bytes();
  }
  out << plan.operations.size() << " operations, " << plan.flops() << " flops, " << temporaries
      << " temporaries of " << bytes << " bytes in a heap of " << plan.heap_bytes << '\n';
  return out.str();
}

}  // namespace mpsnn::graph
