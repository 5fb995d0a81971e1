// SPDX-License-Identifier: MIT
#include <algorithm>

#include "graph/heap.h"
#include "graph/passes/passes.h"

namespace mpsnn::graph {
namespace {

void set_lifetimes(Plan& plan) {
  const auto end =
      static_cast<std::uint32_t>(plan.operations.empty() ? 0 : plan.operations.size() - 1);
  std::vector<bool> seen(plan.values.size(), false);
  const auto touch = [&](ValueId id, std::uint32_t at) {
    if (id == kNoValue) return;
    Value& value = plan.values[id];
    if (!seen[id]) value.first = at;
    value.last = at;
    seen[id] = true;
  };
  for (std::uint32_t i = 0; i < plan.operations.size(); ++i) {
    const Operation& operation = plan.operations[i];
    for (const ValueId id : operation.inputs) touch(id, i);
    for (const ValueId id : operation.outputs) touch(id, i);
    touch(operation.scratch, i);
  }
  for (Value& value : plan.values) {
    const bool is_given = value.kind == ValueKind::PARAMETER || value.kind == ValueKind::OPERAND;
    if (is_given || value.kind == ValueKind::SOURCE) value.first = 0;
    if (is_given || value.kind == ValueKind::RESULT) value.last = end;
  }
}

}  // namespace

void place_values(Draft& draft) {
  Plan& plan = draft.plan;
  set_lifetimes(plan);
  std::vector<HeapBlock> blocks;
  std::vector<std::size_t> block_of(plan.values.size(), 0);
  for (ValueId id = 0; id < plan.values.size(); ++id) {
    const Value& value = plan.values[id];
    if (value.storage != id || value.kind != ValueKind::TEMPORARY) continue;
    block_of[id] = blocks.size();
    blocks.push_back({value.desc.bytes(), value.first, value.last, 0});
  }
  for (const Value& value : plan.values) {
    if (plan.values[value.storage].kind != ValueKind::TEMPORARY) continue;
    HeapBlock& block = blocks[block_of[value.storage]];
    block.first = std::min(block.first, value.first);
    block.last = std::max(block.last, value.last);
  }
  plan.heap_bytes = place(blocks);
  for (Value& value : plan.values) {
    if (plan.values[value.storage].kind == ValueKind::TEMPORARY)
      value.offset = blocks[block_of[value.storage]].offset;
  }
}

}  // namespace mpsnn::graph
