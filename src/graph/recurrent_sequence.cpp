// SPDX-License-Identifier: MIT
// A whole sequence as one operation, for the cells that libraries know.
#include <algorithm>
#include <utility>

#include "graph/recurrent_draft.h"

namespace mpsnn::graph {
namespace {

/// Steps from which on it pays to put the weights into another order: a step of one row does little
/// beside that.
std::size_t fewest_steps(std::int64_t rows) { return rows == 1 ? 16 : 4; }

bool is_sigmoid(const NeuronDescriptor& neuron) { return neuron.type == NeuronType::SIGMOID; }
bool is_tanh(const NeuronDescriptor& neuron) {
  return neuron.type == NeuronType::TANH && neuron.a == 1 && neuron.b == 1;
}

bool has_usual_weights(const RecurrentCell& cell) {
  return !cell.unit_transform && std::ranges::all_of(cell.gates, [](const RecurrentGate& gate) {
    return gate.input && gate.recurrent && !has_window(gate.input) && !has_window(gate.recurrent);
  });
}

/// The LSTM and the GRU of the textbooks, whose r comes before the product; peepholes are vectors.
bool is_usual(const RecurrentCell& cell) {
  if (cell.kind == CellKind::SINGLE_GATE || !has_usual_weights(cell)) return false;
  const auto& gates = cell.gates;
  if (!is_sigmoid(gates[0].neuron) || !is_sigmoid(gates[1].neuron) || !is_tanh(gates[2].neuron))
    return false;
  if (cell.kind == CellKind::GRU) return cell.p == 1 && !cell.flips && !gates[2].memory;
  const bool has_full = !cell.diagonal && std::ranges::any_of(gates, [](const RecurrentGate& gate) {
    return gate.memory != nullptr;
  });
  return is_sigmoid(gates[3].neuron) && is_tanh(cell.memory_to_output) && !has_full &&
         !gates[2].memory;
}

bool has_peepholes(const RecurrentCell& cell) {
  return cell.has_memory() &&
         std::ranges::any_of(cell.gates, [](const auto& gate) { return gate.memory != nullptr; });
}

TensorDesc matrix(std::int64_t rows, std::int64_t columns) {
  return {DataType::FLOAT32, {1, rows, columns}, nullptr};
}

/// Weights of gates one after the other, zeros where a gate has none.
ValueId stacked(RecurrentDraft& draft, const std::vector<ValueId>& weights, std::int64_t rows,
                std::int64_t columns, std::string_view name) {
  const auto count = static_cast<std::int64_t>(weights.size());
  const ValueId all = draft.temporary(name, count * rows, columns);
  for (std::int64_t g = 0; g < count; ++g) {
    const ValueId part = draft.row_part(all, g * rows, rows),
                  from = weights[static_cast<std::size_t>(g)];
    if (from == kNoValue) {
      draft.clear(part, name);
    } else {
      draft.copy(from, part, name);
    }
  }
  return all;
}

}  // namespace

bool run_whole_sequence(RecurrentDraft& draft, const RecurrentCell& cell, const Steps& steps,
                        const CellValues& values, ValueId inputs, bool backward) {
  const std::int64_t n = cell.outputs, rows = steps.rows.front();
  if (steps.count() < fewest_steps(rows) || !steps.are_equal || !is_usual(cell)) return false;
  const auto count = static_cast<std::int64_t>(cell.gates.size());
  const AttributeMap attributes = {{"is_gru", cell.kind == CellKind::GRU},
                                   {"steps", static_cast<std::int64_t>(steps.count())},
                                   {"backward", backward}};
  const TensorDesc absent{DataType::FLOAT32, {}, nullptr}, state = matrix(rows, n);
  std::vector<TensorDesc> takes = {matrix(steps.total, cell.inputs),
                                   matrix(count * n, cell.inputs),
                                   matrix(count * n, n),
                                   matrix(count, n),
                                   has_peepholes(cell) ? matrix(3, n) : absent,
                                   state},
                          makes = {matrix(steps.total, n)};
  if (cell.has_memory()) {
    takes.push_back(state);
    makes.push_back(state);
  }
  if (!draft.has(OpId::recurrent_sequence, takes, makes, attributes)) return false;

  const CellWeights weights = parameters_of(draft, cell);
  std::vector<ValueId> of_inputs, of_outputs, biases;
  for (const CellWeights::Gate& gate : weights.gates) {
    of_inputs.push_back(gate.input);
    of_outputs.push_back(gate.recurrent);
    biases.push_back(gate.bias);
  }
  std::vector<ValueId> reads = {inputs,
                                stacked(draft, of_inputs, n, cell.inputs, "input_weights"),
                                stacked(draft, of_outputs, n, n, "recurrent_weights"),
                                stacked(draft, biases, 1, n, "biases"),
                                kNoValue,
                                draft.row_part(values.first_output, 0, rows)},
                       writes = {values.outputs};
  if (has_peepholes(cell)) {
    const auto& gates = weights.gates;
    reads[4] =
        stacked(draft, {gates[0].memory, gates[1].memory, gates[3].memory}, 1, n, "peepholes");
  }
  if (cell.has_memory()) {
    reads.push_back(draft.row_part(values.first_memory, 0, rows));
    writes.push_back(draft.row_part(values.memory, steps.first.back(), rows));
  }
  draft.add(OpId::recurrent_sequence, std::move(reads), std::move(writes), attributes, "sequence");
  return true;
}

}  // namespace mpsnn::graph
