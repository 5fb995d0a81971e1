// SPDX-License-Identifier: MIT
// Plans of inference: stacks of cells, one direction or both.
#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

#include "base/check.h"
#include "graph/lowering.h"
#include "graph/recurrent_draft.h"

namespace mpsnn::graph {
namespace {

/// Output of each layer, and its memory where it has one.
struct StateValues {
  std::vector<ValueId> outputs, memories;
};

StateValues take_state(RecurrentDraft& draft, const std::vector<RecurrentCell>& cells,
                       const std::string& name) {
  StateValues state;
  for (const RecurrentCell& cell : cells) {
    state.outputs.push_back(draft.operand(str(name, ".output")));
    state.memories.push_back(cell.has_memory() ? draft.operand(str(name, ".memory")) : kNoValue);
  }
  return state;
}

/// Memory for a cell's results; the state before the first step is zero.
CellValues temporary_values(RecurrentDraft& draft, const RecurrentCell& cell, const Steps& steps) {
  CellValues values;
  values.outputs = draft.temporary("outputs", steps.total, cell.outputs);
  if (cell.has_memory()) values.memory = draft.temporary("memory", steps.total, cell.outputs);
  return values;
}

ValueId first_of(RecurrentDraft& draft, const StateValues* state, const std::vector<ValueId>& of,
                 std::size_t layer, std::int64_t rows, std::int64_t channels) {
  if (state != nullptr) return draft.dense(of[layer], "first");
  const ValueId zeros = draft.temporary("first", rows, channels);
  draft.clear(zeros, "first");
  return zeros;
}

/// Runs the cells one after the other over a sequence; gives the values of each. keeps_memories:
/// those of all steps are wanted, not only of the last one.
std::vector<CellValues> run_stack(RecurrentDraft& draft, const std::vector<RecurrentCell>& cells,
                                  const Steps& steps, ValueId inputs, bool backward,
                                  const StateValues* state, bool keeps_memories = false) {
  std::vector<std::size_t> order(steps.count());
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (backward) std::ranges::reverse(order);
  const std::int64_t rows = steps.rows[order.front()];
  std::vector<CellValues> all;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const RecurrentCell& cell = cells[i];
    CellValues values = temporary_values(draft, cell, steps);
    values.first_output = first_of(draft, state, state ? state->outputs : std::vector<ValueId>(), i,
                                   rows, cell.outputs);
    if (cell.has_memory()) {
      values.first_memory = first_of(draft, state, state ? state->memories : std::vector<ValueId>(),
                                     i, rows, cell.outputs);
    }
    const bool wants_steps = keeps_memories && cell.has_memory();
    if (wants_steps || !run_whole_sequence(draft, cell, steps, values, inputs, backward)) {
      values.gates = draft.temporary("gates", steps.total, cell.gate_channels());
      CellForward(draft, cell, parameters_of(draft, cell), steps, values).run(inputs, order);
    }
    inputs = values.outputs;
    all.push_back(values);
  }
  return all;
}

void write_states(RecurrentDraft& draft, const std::vector<CellValues>& layers, const Steps& steps,
                  const std::vector<StateValues>& states) {
  for (std::size_t s = 0; s < states.size(); ++s) {
    const std::size_t t = states.size() == 1 ? steps.count() - 1 : s;
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const auto at = [&](ValueId all) {
        return draft.row_part(all, steps.first[t], steps.rows[t]);
      };
      draft.copy(at(layers[i].outputs), states[s].outputs[i], "state");
      if (layers[i].memory != kNoValue)
        draft.copy(at(layers[i].memory), states[s].memories[i], "state");
    }
  }
}

std::vector<RecurrentCell> cells_of(const std::vector<RecurrentCell>& cells, bool backward) {
  std::vector<RecurrentCell> found;
  for (const RecurrentCell& cell : cells) {
    if (cell.backward == backward) found.push_back(cell);
  }
  return found;
}

void run_both_ways(RecurrentDraft& draft, const std::vector<RecurrentCell>& cells,
                   const Steps& steps, ValueId inputs, RNNBidirectionalCombineMode combine,
                   const std::vector<ValueId>& destinations) {
  const std::vector<RecurrentCell> forward = cells_of(cells, false),
                                   backward = cells_of(cells, true);
  const ValueId there = run_stack(draft, forward, steps, inputs, false, nullptr).back().outputs,
                back = run_stack(draft, backward, steps, inputs, true, nullptr).back().outputs;
  const auto half = destinations.begin() + static_cast<std::ptrdiff_t>(steps.count());
  switch (combine) {
    case RNNBidirectionalCombineMode::NONE:
      scatter(draft, there, steps, {destinations.begin(), half}, "destination");
      return scatter(draft, back, steps, {half, destinations.end()}, "destination");
    case RNNBidirectionalCombineMode::ADD: {
      const ValueId sum = draft.temporary("sum", steps.total, draft.columns(there));
      draft.add(OpId::addition, {there, back}, {sum}, plain_binary(), "sum");
      return scatter(draft, sum, steps, destinations, "destination");
    }
    case RNNBidirectionalCombineMode::CONCATENATE: {
      std::vector<ValueId> left, right;
      for (const ValueId destination : destinations) {
        left.push_back(draft.column_part(destination, 0, draft.columns(there)));
        right.push_back(draft.column_part(destination, draft.columns(there), draft.columns(back)));
      }
      scatter(draft, there, steps, left, "destination");
      return scatter(draft, back, steps, right, "destination");
    }
  }
}

}  // namespace

Plan plan_inference(const RecurrentCall& call, const std::vector<RecurrentCell>& cells,
                    const InferenceOptions& options, const KernelChooser& chooser) {
  RecurrentDraft draft(call, chooser);
  const bool is_apart =
      options.bidirectional && options.combine == RNNBidirectionalCombineMode::NONE;
  const std::vector<ValueId> sources = draft.operands("source", call.steps),
                             destinations =
                                 draft.operands("destination", call.steps * (is_apart ? 2 : 1));
  const Steps steps = steps_of(draft, sources);
  if (options.bidirectional) {
    run_both_ways(draft, cells, steps, gathered(draft, sources, steps, "inputs"), options.combine,
                  destinations);
    return draft.finish();
  }
  StateValues input;
  if (options.has_input_state) input = take_state(draft, cells, "input_state");
  std::vector<StateValues> output;
  for (std::size_t s = 0; s < options.output_states; ++s)
    output.push_back(take_state(draft, cells, str("output_state.", s)));
  const std::vector<CellValues> layers =
      run_stack(draft, cells, steps, gathered(draft, sources, steps, "inputs"), false,
                options.has_input_state ? &input : nullptr, options.output_states > 1);
  scatter(draft, layers.back().outputs, steps, destinations, "destination");
  write_states(draft, layers, steps, output);
  return draft.finish();
}

Plan plan_copy(const RecurrentCall& call, const KernelChooser& chooser) {
  RecurrentDraft draft(call, chooser);
  const ValueId from = draft.operand("from"), to = draft.operand("to");
  draft.copy(from, to, "copy");
  return draft.finish();
}

}  // namespace mpsnn::graph
