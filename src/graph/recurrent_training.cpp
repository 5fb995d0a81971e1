// SPDX-License-Identifier: MIT
// Plans of training: a forward run that keeps its values, and the gradients made of them.
#include <numeric>
#include <string>
#include <utility>

#include "base/check.h"
#include "graph/recurrent_draft.h"

namespace mpsnn::graph {
namespace {

/// The parts of a block, one after the other.
struct Room {
  std::int64_t rows, columns;
};
std::vector<Room> rooms_of(const RecurrentCell& cell, std::int64_t total, std::int64_t first) {
  const std::int64_t n = cell.outputs;
  std::vector<Room> rooms = {{total, cell.gate_channels()}, {total, n}, {first, n}};
  if (cell.kind == CellKind::LSTM) rooms.insert(rooms.end(), {{total, n}, {first, n}});
  if (cell.kind == CellKind::GRU) rooms.insert(rooms.end(), {{total, n}, {total, n}});
  return rooms;
}

}  // namespace

std::int64_t training_floats(const RecurrentCell& cell, std::span<const std::int64_t> rows) {
  const std::int64_t total = std::accumulate(rows.begin(), rows.end(), std::int64_t{0});
  std::int64_t floats = 0;
  for (const Room& room : rooms_of(cell, total, rows.front())) floats += room.rows * room.columns;
  return floats;
}

CellValues training_values(RecurrentDraft& draft, const RecurrentCell& cell, const Steps& steps,
                           ValueId block) {
  std::vector<ValueId> parts;
  std::int64_t at = 0;
  for (const Room& room : rooms_of(cell, steps.total, steps.rows.front())) {
    parts.push_back(draft.floats(block, at, room.rows, room.columns));
    at += room.rows * room.columns;
  }
  CellValues values;
  values.gates = parts[0];
  values.outputs = parts[1];
  values.first_output = parts[2];
  if (cell.kind == CellKind::LSTM) {
    values.memory = parts[3];
    values.first_memory = parts[4];
  }
  if (cell.kind == CellKind::GRU) {
    values.reset = parts[3];
    values.updated = parts[4];
  }
  return values;
}

namespace {

/// The weights, given as matrices of floating-point numbers with any strides.
CellWeights take_weights(RecurrentDraft& draft, const RecurrentCell& cell) {
  CellWeights weights{std::vector<CellWeights::Gate>(cell.gates.size())};
  for (const RecurrentWeight& weight : weights_of(cell)) {
    const ValueId given = draft.operand(name_of(weight.id));
    weights.at(weight.gate, weight.role) = draft.dense(given, name_of(weight.id));
  }
  return weights;
}

void start(RecurrentDraft& draft, ValueId first, ValueId state) {
  if (state == kNoValue) return draft.clear(first, "first");
  draft.copy(draft.row_part(state, 0, draft.rows(first)), first, "first");
}

/// Goes back through a sequence and makes the gradients of the gates, then all others of them.
class CellGradient {
 public:
  CellGradient(RecurrentDraft& draft, const RecurrentCell& cell, const CellWeights& weights,
               const Steps& steps, const CellValues& values, ValueId outputs)
      : draft_(draft),
        cell_(cell),
        weights_(weights),
        steps_(steps),
        values_(values),
        blocks_(recurrent_blocks(draft, cell, weights, steps.count())),
        outputs_(outputs),
        gates_(draft.temporary("gates_gradient", steps.total, cell.gate_channels())) {}

  /// first_output, first_memory: gradients of the state before the first step, zeros and the
  /// memory's gradient after the last step at first.
  void run(ValueId first_output, ValueId first_memory) {
    for (std::size_t t = steps_.count(); t-- > 0;) step(t, first_output, first_memory);
  }

  void inputs_gradient(ValueId result) {
    const std::int64_t n = cell_.outputs;
    if (cell_.unit_transform) {
      const auto gates = static_cast<std::int64_t>(cell_.gates.size());
      if (gates == 1) return draft_.copy(gates_, result, "inputs_gradient");
      return draft_.add(
          OpId::addition_gradient, {draft_.reshaped(gates_, {steps_.total, 1, gates, n})},
          {draft_.reshaped(result, {steps_.total, 1, 1, n})}, {{"scale", 1.0}}, "inputs_gradient");
    }
    bool adds = false;
    for (std::size_t g = 0; g < cell_.gates.size(); ++g) {
      if (weights_.gates[g].input == kNoValue) continue;
      draft_.multiply(gate(gates_, g), weights_.gates[g].input, result, adds, "inputs_gradient");
      adds = true;
    }
    if (!adds) draft_.clear(result, "inputs_gradient");
  }

  void weight_gradient(const RecurrentWeight& weight, ValueId inputs, ValueId result,
                       bool accumulates) {
    const bool is_gru_candidate = cell_.kind == CellKind::GRU && weight.gate == 2;
    const bool is_vector =
        weight.role == WeightRole::BIAS || (weight.role == WeightRole::MEMORY && cell_.diagonal);
    const auto sum = [&](ValueId gates, ValueId factors, bool adds) {
      if (is_vector) {
        draft_.add(OpId::gate_sums, {gates, factors}, {result}, {{"accumulates", adds}},
                   name_of(weight.id));
      } else {
        draft_.multiply(draft_.transposed(gates), factors, result, adds, name_of(weight.id));
      }
    };
    const ValueId gates = gate(gates_, weight.gate);
    switch (weight.role) {
      case WeightRole::INPUT:
        return sum(gates, inputs, accumulates);
      case WeightRole::BIAS:
        return sum(gates, kNoValue, accumulates);
      case WeightRole::RECURRENT:
        if (is_gru_candidate) return sum(gates, values_.reset, accumulates);
        return over_previous(gates, values_.outputs, values_.first_output, accumulates, sum);
      case WeightRole::MEMORY:
        if (is_gru_candidate) return sum(gates, values_.updated, accumulates);
        if (weight.gate == 3) return sum(gates, values_.memory, accumulates);
        return over_previous(gates, values_.memory, values_.first_memory, accumulates, sum);
    }
  }

 private:
  ValueId gate(ValueId gates, std::size_t g) {
    return draft_.column_part(gates, static_cast<std::int64_t>(g) * cell_.outputs, cell_.outputs);
  }
  ValueId at(ValueId sequence, std::size_t t) {
    return draft_.row_part(sequence, steps_.first[t], steps_.rows[t]);
  }
  /// As many rows as step t has, of the step before it.
  ValueId before(ValueId sequence, ValueId first, std::size_t t) {
    const ValueId whole = t == 0 ? first : at(sequence, t - 1);
    return draft_.row_part(whole, 0, steps_.rows[t]);
  }

  /// Sums over the steps, each with what the step before it made; at once where that lies together.
  template <class Sum>
  void over_previous(ValueId gates, ValueId sequence, ValueId first, bool accumulates,
                     const Sum& sum) {
    sum(at(gates, 0), before(sequence, first, 0), accumulates);
    if (steps_.count() == 1) return;
    if (steps_.are_equal) {
      const std::int64_t rows = steps_.total - steps_.rows[0];
      return sum(draft_.row_part(gates, steps_.rows[0], rows), draft_.row_part(sequence, 0, rows),
                 true);
    }
    for (std::size_t t = 1; t < steps_.count(); ++t)
      sum(at(gates, t), before(sequence, first, t), true);
  }

  void step(std::size_t t, ValueId first_output, ValueId first_memory) {
    const ValueId previous = before(outputs_, first_output, t);
    switch (cell_.kind) {
      case CellKind::SINGLE_GATE:
        draft_.add(OpId::single_gate_gradient, {at(values_.gates, t), at(outputs_, t)},
                   {at(gates_, t)}, gate_attributes(cell_, 0, 1), "output_gradient");
        break;
      case CellKind::LSTM:
        lstm(t, draft_.row_part(first_memory, 0, steps_.rows[t]));
        break;
      case CellKind::GRU:
        gru(t, previous);
        break;
    }
    for (const GateBlock& block : blocks_) {
      const std::int64_t n = cell_.outputs;
      draft_.multiply(draft_.column_part(at(gates_, t), static_cast<std::int64_t>(block.first) * n,
                                         static_cast<std::int64_t>(block.count) * n),
                      block.weights, previous, true, "recurrent_gradient");
    }
  }

  void lstm(std::size_t t, ValueId memory_gradient) {
    const auto& w = weights_.gates;
    const ValueId gates = at(values_.gates, t), gradient = at(gates_, t);
    const auto diagonal = [&](std::size_t g) { return cell_.diagonal ? w[g].memory : kNoValue; };
    const auto peephole = [&](std::size_t g) {
      if (w[g].memory == kNoValue || cell_.diagonal) return;
      draft_.multiply(gate(gradient, g), w[g].memory, memory_gradient, true, "peephole_gradient");
    };
    draft_.add(OpId::lstm_output_gradient,
               {gates, at(values_.memory, t), at(outputs_, t), diagonal(3)},
               {gradient, memory_gradient}, lstm_output_attributes(cell_), "output_gradient");
    peephole(3);
    draft_.add(OpId::lstm_memory_gradient,
               {gates, before(values_.memory, values_.first_memory, t), diagonal(0), diagonal(1),
                diagonal(2)},
               {gradient, memory_gradient}, gate_attributes(cell_, 0, 3), "memory_gradient");
    for (std::size_t g = 0; g < 3; ++g) peephole(g);
  }

  void gru(std::size_t t, ValueId previous_gradient) {
    const auto& w = weights_.gates[2];
    const ValueId gates = at(values_.gates, t), gradient = at(gates_, t),
                  previous = before(values_.outputs, values_.first_output, t);
    draft_.add(OpId::gru_output_gradient, {gates, previous, at(outputs_, t)},
               {gradient, previous_gradient}, gru_output_attributes(cell_), "output_gradient");
    const auto through = [&](ValueId weights) {
      if (weights == kNoValue) return kNoValue;
      const ValueId made = draft_.temporary("candidate_gradient", steps_.rows[t], cell_.outputs);
      draft_.multiply(gate(gradient, 2), weights, made, false, "candidate_gradient");
      return made;
    };
    const ValueId reset = through(w.recurrent), updated = through(w.memory);
    draft_.add(OpId::gru_gates_gradient, {gates, previous, reset, updated},
               {gradient, previous_gradient}, gate_attributes(cell_, 0, 2), "gates_gradient");
  }

  RecurrentDraft& draft_;
  const RecurrentCell& cell_;
  const CellWeights& weights_;
  const Steps& steps_;
  const CellValues& values_;
  const std::vector<GateBlock> blocks_;
  const ValueId outputs_, gates_;
};

/// Lets `make` write a matrix that may have gaps or be float16.
template <class Make>
void write_dense(RecurrentDraft& draft, ValueId result, bool is_read, std::string_view name,
                 const Make& make) {
  const TensorDesc& desc = draft.desc(result);
  if (desc.type == DataType::FLOAT32 && desc.strides.empty()) return make(result);
  const ValueId dense = draft.temporary(name, draft.rows(result), draft.columns(result));
  if (is_read) draft.copy(result, dense, name);
  make(dense);
  draft.copy(dense, result, name);
}

}  // namespace

Plan plan_forward(const RecurrentCall& call, const RecurrentCell& cell,
                  const ForwardOptions& options, const KernelChooser& chooser) {
  RecurrentDraft draft(call, chooser);
  const std::vector<ValueId> sources = draft.operands("source", call.steps),
                             destinations = draft.operands("destination", call.steps);
  const Steps steps = steps_of(draft, sources);
  const CellWeights weights = take_weights(draft, cell);
  const auto state = [&](bool there, const char* name) {
    return there ? draft.operand(name) : kNoValue;
  };
  const ValueId input = state(options.has_input_state, "input_state.output"),
                input_memory =
                    state(options.has_input_state && cell.has_memory(), "input_state.memory");
  std::vector<ValueId> outputs, memories;
  for (std::size_t s = 0; s < options.output_states; ++s) {
    outputs.push_back(draft.operand("output_state.output"));
    memories.push_back(state(cell.has_memory(), "output_state.memory"));
  }
  const CellValues values = training_values(draft, cell, steps, draft.operand("training"));
  start(draft, values.first_output, input);
  if (cell.has_memory()) start(draft, values.first_memory, input_memory);
  std::vector<std::size_t> order(steps.count());
  std::iota(order.begin(), order.end(), std::size_t{0});
  CellForward(draft, cell, weights, steps, values)
      .run(gathered(draft, sources, steps, "inputs"), order);
  scatter(draft, values.outputs, steps, destinations, "destination");
  for (std::size_t s = 0; s < outputs.size(); ++s) {
    const std::size_t t = outputs.size() == 1 ? call.steps - 1 : s;
    draft.copy(draft.row_part(values.outputs, steps.first[t], steps.rows[t]), outputs[s], "state");
    if (!cell.has_memory()) continue;
    draft.copy(draft.row_part(values.memory, steps.first[t], steps.rows[t]), memories[s], "state");
  }
  return draft.finish();
}

Plan plan_gradient(const RecurrentCall& call, const RecurrentCell& cell,
                   const GradientOptions& options, const KernelChooser& chooser) {
  RecurrentDraft draft(call, chooser);
  const std::vector<ValueId> sources = draft.operands("forward_source", call.steps),
                             gradients = draft.operands("source_gradient", call.steps);
  const Steps steps = steps_of(draft, sources);
  const CellWeights weights = take_weights(draft, cell);
  const CellValues values = training_values(draft, cell, steps, draft.operand("training"));
  const bool has_memory = cell.has_memory();
  const ValueId first_output = draft.operand("initial_state_gradient.output"),
                first_memory =
                    has_memory ? draft.operand("initial_state_gradient.memory") : kNoValue;
  const bool has_last = options.has_input_state;
  const ValueId last_output = has_last ? draft.operand("input_state.output") : kNoValue,
                last_memory =
                    has_last && has_memory ? draft.operand("input_state.memory") : kNoValue;
  std::vector<ValueId> destinations, weight_gradients;
  if (options.wants_sources) destinations = draft.operands("destination_gradient", call.steps);
  if (options.wants_weights)
    weight_gradients = draft.operands("weight_gradient", weights_of(cell).size());

  // What is read is read first: destinations may lie over sources.
  const ValueId inputs = options.wants_weights ? joined(draft, sources, steps, "inputs") : kNoValue;
  const ValueId outputs = joined(draft, gradients, steps, "outputs_gradient");
  const std::size_t last = call.steps - 1;
  draft.clear(first_output, "initial_state_gradient");
  if (has_memory) draft.clear(first_memory, "initial_state_gradient");
  if (last_output != kNoValue) {
    draft.increase(draft.row_part(outputs, steps.first[last], steps.rows[last]),
                   draft.dense(draft.row_part(last_output, 0, steps.rows[last]), "input_state"),
                   "input_state");
  }
  if (last_memory != kNoValue) {
    draft.copy(draft.row_part(last_memory, 0, steps.rows[last]),
               draft.row_part(first_memory, 0, steps.rows[last]), "input_state");
  }
  CellGradient gradient(draft, cell, weights, steps, values, outputs);
  gradient.run(first_output, first_memory);

  if (options.wants_sources) {
    const ValueId all = draft.temporary("inputs_gradient", steps.total, cell.inputs);
    gradient.inputs_gradient(all);
    scatter(draft, all, steps, destinations, "destination_gradient");
  }
  if (!options.wants_weights) return draft.finish();
  const std::vector<RecurrentWeight> all = weights_of(cell);
  for (std::size_t i = 0; i < all.size(); ++i) {
    write_dense(draft, weight_gradients[i], options.accumulates, name_of(all[i].id),
                [&](ValueId result) {
                  gradient.weight_gradient(all[i], inputs, result, options.accumulates);
                });
  }
  return draft.finish();
}

}  // namespace mpsnn::graph
