// SPDX-License-Identifier: MIT
// A cell that runs over a sequence.
#include <algorithm>
#include <string>
#include <utility>

#include "base/check.h"
#include "graph/recurrent_draft.h"

namespace mpsnn::graph {

ValueId& CellWeights::at(std::size_t gate, WeightRole role) {
  switch (role) {
    case WeightRole::INPUT:
      return gates[gate].input;
    case WeightRole::RECURRENT:
      return gates[gate].recurrent;
    case WeightRole::MEMORY:
      return gates[gate].memory;
    case WeightRole::BIAS:
      return gates[gate].bias;
  }
  throw InternalError("role of a weight out of range");
}

CellWeights parameters_of(RecurrentDraft& draft, const RecurrentCell& cell) {
  CellWeights weights{std::vector<CellWeights::Gate>(cell.gates.size())};
  for (const RecurrentWeight& weight : weights_of(cell)) {
    const RecurrentGate& gate = cell.gates[weight.gate];
    const bool is_bias = weight.role == WeightRole::BIAS;
    const RNNWeights& source = source_of(gate, weight.role);
    weights.at(weight.gate, weight.role) =
        !is_bias && has_window(source)
            ? draft.parameter(source, "weights")
            : draft.parameter(source, is_bias ? "bias" : "weights", weight.rows, weight.columns);
  }
  return weights;
}

std::vector<double> neurons_of(const RecurrentCell& cell, std::size_t first, std::size_t count) {
  std::vector<double> numbers;
  for (std::size_t g = first; g < first + count; ++g) {
    const NeuronDescriptor& neuron = cell.gates[g].neuron;
    numbers.insert(numbers.end(), {static_cast<double>(neuron.type), static_cast<double>(neuron.a),
                                   static_cast<double>(neuron.b), static_cast<double>(neuron.c)});
  }
  return numbers;
}

AttributeMap gate_attributes(const RecurrentCell& cell, std::size_t first, std::size_t count) {
  return {{"neurons", neurons_of(cell, first, count)}};
}

AttributeMap lstm_output_attributes(const RecurrentCell& cell) {
  std::vector<double> neurons = neurons_of(cell, 3, 1);
  const NeuronDescriptor& last = cell.memory_to_output;
  neurons.insert(neurons.end(), {static_cast<double>(last.type), static_cast<double>(last.a),
                                 static_cast<double>(last.b), static_cast<double>(last.c)});
  return {{"neurons", std::move(neurons)}};
}

AttributeMap gru_output_attributes(const RecurrentCell& cell) {
  // The gradient needs the input gate, too.
  std::vector<double> neurons = neurons_of(cell, 0, 1), candidate = neurons_of(cell, 2, 1);
  neurons.insert(neurons.end(), candidate.begin(), candidate.end());
  return {{"neurons", std::move(neurons)}, {"p", cell.p}, {"flips", cell.flips}};
}

namespace {

/// Steps from which on one product with all gates' weights is worth putting them together: it costs
/// about as much as a step.
constexpr std::size_t kStepsToPack = 4;

}  // namespace

std::vector<GateBlock> recurrent_blocks(RecurrentDraft& draft, const RecurrentCell& cell,
                                        const CellWeights& weights, std::size_t steps) {
  const std::size_t count = cell.kind == CellKind::GRU ? 2 : cell.gates.size();
  std::vector<GateBlock> blocks;
  for (std::size_t g = 0; g < count; ++g) {
    if (weights.gates[g].recurrent != kNoValue && !has_window(cell.gates[g].recurrent))
      blocks.push_back({weights.gates[g].recurrent, g, 1});
  }
  if (steps < kStepsToPack || blocks.size() < 2 || blocks.size() != count) return blocks;
  const std::int64_t n = cell.outputs;
  const ValueId packed =
      draft.temporary("recurrent_weights", static_cast<std::int64_t>(count) * n, n);
  for (std::size_t g = 0; g < count; ++g) {
    draft.copy(blocks[g].weights, draft.row_part(packed, static_cast<std::int64_t>(g) * n, n),
               "recurrent_weights");
  }
  return {{packed, 0, count}};
}

CellForward::CellForward(RecurrentDraft& draft, const RecurrentCell& cell, CellWeights weights,
                         Steps steps, CellValues values)
    : draft_(draft),
      cell_(cell),
      weights_(std::move(weights)),
      steps_(std::move(steps)),
      values_(values),
      blocks_(recurrent_blocks(draft, cell, weights_, steps_.count())),
      before_(steps_.count()) {}

void CellForward::run(ValueId inputs, const std::vector<std::size_t>& order) {
  project(inputs);
  std::size_t last = order.front();
  for (const std::size_t t : order) {
    before_[t] = last;
    step(t);
    last = t;
  }
}

ValueId CellForward::at(ValueId sequence, std::size_t t) {
  return draft_.row_part(sequence, steps_.first[t], steps_.rows[t]);
}

/// Rows that begin at this step begin with zeros.
ValueId CellForward::previous(ValueId sequence, ValueId first, std::size_t t) {
  const std::int64_t rows = steps_.rows[t];
  const std::size_t before = before_[t];
  if (before == t) return draft_.row_part(first, 0, rows);
  const std::int64_t there = steps_.rows[before];
  if (there >= rows) return draft_.row_part(sequence, steps_.first[before], rows);
  const ValueId grown = draft_.temporary("previous", rows, cell_.outputs);
  draft_.copy(at(sequence, before), draft_.row_part(grown, 0, there), "previous");
  draft_.clear(draft_.row_part(grown, there, rows - there), "previous");
  return grown;
}

ValueId CellForward::gate_part(ValueId gates, std::size_t gate) {
  const std::int64_t n = cell_.outputs;
  return draft_.column_part(gates, static_cast<std::int64_t>(gate) * n, n);
}

void CellForward::apply(std::size_t gate, WeightRole role, ValueId rows, ValueId result, bool adds,
                        std::string_view name) {
  const ValueId weights = weights_.at(gate, role);
  const RNNWeights& source = source_of(cell_.gates[gate], role);
  if (has_window(source))
    return draft_.convolve(rows, weights, source->descriptor(), result, adds, name);
  draft_.multiply(rows, draft_.transposed(weights), result, adds, name);
}

/// The gates' products with all inputs.
void CellForward::project(ValueId inputs) {
  const bool is_whole = cell_.unit_transform ||
                        std::ranges::none_of(weights_.gates, [](const CellWeights::Gate& gate) {
                          return gate.input == kNoValue;
                        });
  if (!is_whole) draft_.clear(values_.gates, "gates");
  for (std::size_t g = 0; g < cell_.gates.size(); ++g) {
    const ValueId gate = gate_part(values_.gates, g);
    if (cell_.unit_transform) {
      draft_.copy(inputs, gate, "inputs");
    } else if (weights_.gates[g].input != kNoValue) {
      apply(g, WeightRole::INPUT, inputs, gate, false, "inputs");
    }
  }
}

void CellForward::step(std::size_t t) {
  const std::int64_t n = cell_.outputs;
  const ValueId gates = at(values_.gates, t),
                before = previous(values_.outputs, values_.first_output, t);
  for (const GateBlock& block : blocks_) {
    draft_.multiply(before, draft_.transposed(block.weights),
                    draft_.column_part(gates, static_cast<std::int64_t>(block.first) * n,
                                       static_cast<std::int64_t>(block.count) * n),
                    true, "recurrent");
  }
  const std::size_t direct = cell_.kind == CellKind::GRU ? 2 : cell_.gates.size();
  for (std::size_t g = 0; g < direct; ++g) {
    if (has_window(cell_.gates[g].recurrent))
      apply(g, WeightRole::RECURRENT, before, gate_part(gates, g), true, "recurrent");
  }
  switch (cell_.kind) {
    case CellKind::SINGLE_GATE:
      return draft_.add(OpId::single_gate, {gates, weights_.gates[0].bias},
                        {at(values_.outputs, t), gates}, gate_attributes(cell_, 0, 1), "output");
    case CellKind::LSTM:
      return lstm(t, gates);
    case CellKind::GRU:
      return gru(t, gates, before);
  }
}

void CellForward::lstm(std::size_t t, ValueId gates) {
  const ValueId before = previous(values_.memory, values_.first_memory, t),
                after = at(values_.memory, t);
  const auto& w = weights_.gates;
  const auto peephole = [&](std::size_t g, ValueId memory) {
    if (w[g].memory == kNoValue || cell_.diagonal) return;
    apply(g, WeightRole::MEMORY, memory, gate_part(gates, g), true, "peephole");
  };
  const auto diagonal = [&](std::size_t g) { return cell_.diagonal ? w[g].memory : kNoValue; };
  for (std::size_t g = 0; g < 3; ++g) peephole(g, before);
  draft_.add(
      OpId::lstm_memory,
      {gates, before, w[0].bias, w[1].bias, w[2].bias, diagonal(0), diagonal(1), diagonal(2)},
      {after, gates}, gate_attributes(cell_, 0, 3), "memory");
  peephole(3, after);
  draft_.add(OpId::lstm_output, {gates, after, w[3].bias, diagonal(3)},
             {at(values_.outputs, t), gates}, lstm_output_attributes(cell_), "output");
}

void CellForward::gru(std::size_t t, ValueId gates, ValueId before) {
  const std::int64_t n = cell_.outputs, rows = steps_.rows[t];
  const auto& w = weights_.gates;
  const auto product = [&](ValueId weights, ValueId kept, std::string_view name) {
    if (weights == kNoValue) return kNoValue;
    return kept == kNoValue ? draft_.temporary(name, rows, n) : at(kept, t);
  };
  const ValueId reset = product(w[2].recurrent, values_.reset, "reset"),
                updated = product(w[2].memory, values_.updated, "updated");
  draft_.add(OpId::gru_gates, {gates, before, w[0].bias, w[1].bias}, {gates, reset, updated},
             gate_attributes(cell_, 0, 2), "gates");
  const ValueId candidate = gate_part(gates, 2);
  if (reset != kNoValue) apply(2, WeightRole::RECURRENT, reset, candidate, true, "candidate");
  if (updated != kNoValue) apply(2, WeightRole::MEMORY, updated, candidate, true, "candidate");
  draft_.add(OpId::gru_output, {gates, before, w[2].bias}, {at(values_.outputs, t), gates},
             gru_output_attributes(cell_), "output");
}

}  // namespace mpsnn::graph
