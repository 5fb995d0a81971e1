// SPDX-License-Identifier: MIT
// The public training layer.
#include <algorithm>
#include <utility>

#include "graph/kernel_lowering.h"
#include "runtime/buffer_state.h"
#include "runtime/recurrent_layer.h"

namespace mpsnn {
namespace {

using graph::RecurrentWeight;
using graph::WeightRole;
using runtime::RecurrentEncode;
using runtime::RecurrentLayer;
using runtime::RecurrentOperand;
using Sequence = std::vector<RecurrentOperand>;

const graph::RecurrentCell& cell_of(const RecurrentLayer& layer) { return layer.cells.front(); }

/// The weights or their gradients as operands, one for each weight of the cell.
Sequence weights_of(const RecurrentLayer& layer, std::string_view argument,
                    const std::vector<Matrix>& matrices) {
  const std::vector<RecurrentWeight> wanted = graph::weights_of(cell_of(layer));
  if (matrices.size() != wanted.size()) {
    layer.fail(argument, str(wanted.size(), " matrices, as weight_ids has"), matrices.size());
  }
  Sequence operands;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const RecurrentOperand operand = runtime::operand_of(matrices[i]);
    const auto subject = [&] { return str(argument, '[', i, "] (", name_of(wanted[i].id), ')'); };
    const TensorDesc& desc = operand.desc;
    if (desc.type != DataType::FLOAT32 && desc.type != DataType::FLOAT16)
      layer.fail<ArgumentTypeError>(subject(), "float32 or float16", name_of(desc.type));
    if (desc.dims != std::vector<std::int64_t>{1, wanted[i].rows, wanted[i].columns}) {
      layer.fail(subject(), str('(', wanted[i].rows, ", ", wanted[i].columns, ')'),
                 str('(', desc.dims[1], ", ", desc.dims[2], ')'));
    }
    operands.push_back(operand);
  }
  return operands;
}

void add_all(RecurrentEncode& encode, std::string_view argument, const Sequence& operands,
             bool writes) {
  for (const RecurrentOperand& operand : operands) encode.add(argument, operand, writes);
}

RecurrentOperand block_of(const runtime::TrainingSequence& sequence) {
  const std::int64_t floats = graph::training_floats(cell_of(*sequence.layer), sequence.rows);
  return {sequence.block.state(), 0, {DataType::FLOAT32, {1, 1, floats}, nullptr}};
}

/// The sequence that all states belong to.
const runtime::TrainingSequence& sequence_of(const RecurrentLayer& layer,
                                             const std::vector<RNNMatrixTrainingState>& states) {
  if (states.empty()) layer.fail("training_states", "one a time step", "none");
  const runtime::TrainingSequence& sequence = *states.front().sequence();
  if (sequence.layer.get() != &layer) {
    layer.fail("training_states", "states of this layer",
               str("those of ", sequence.layer->title(), " made by another"));
  }
  if (states.size() != sequence.rows.size())
    layer.fail("training_states", str(sequence.rows.size(), ", one a time step"), states.size());
  for (std::size_t t = 0; t < states.size(); ++t) {
    const bool is_one = states[t].sequence().get() == &sequence;
    if (is_one && states[t].time_step() == static_cast<std::int64_t>(t)) continue;
    layer.fail(str("training_states[", t, ']'), str("time step ", t, " of one sequence"),
               is_one ? str("time step ", states[t].time_step()) : "a state of another sequence");
  }
  return sequence;
}

}  // namespace

std::int64_t RNNMatrixTrainingState::rows() const {
  return sequence_->rows[static_cast<std::size_t>(step_)];
}
std::size_t RNNMatrixTrainingState::sequence_bytes() const { return sequence_->block.bytes(); }

RNNMatrixTrainingLayer::RNNMatrixTrainingLayer(const Device& device, RNNLayerDescriptor descriptor)
    : RNNLayer(device, std::vector<RNNLayerDescriptor>{std::move(descriptor)},
               runtime::kMatrixTrainingLayer) {}

bool RNNMatrixTrainingLayer::accumulate_weight_gradients() const { return state()->accumulates; }
void RNNMatrixTrainingLayer::set_accumulate_weight_gradients(bool on) { state()->accumulates = on; }

std::vector<RNNMatrixId> RNNMatrixTrainingLayer::weight_ids() const {
  std::vector<RNNMatrixId> ids;
  for (const RecurrentWeight& weight : graph::weights_of(cell_of(*state())))
    ids.push_back(weight.id);
  return ids;
}

std::vector<Matrix> RNNMatrixTrainingLayer::create_weight_matrices() const {
  const RecurrentLayer& layer = *state();
  std::vector<Matrix> matrices;
  for (const RecurrentWeight& weight : graph::weights_of(cell_of(layer))) {
    const graph::RecurrentGate& gate = cell_of(layer).gates[weight.gate];
    const bool of_input = weight.role == WeightRole::INPUT || weight.role == WeightRole::BIAS;
    const RNNWeights& other = weight.role == WeightRole::MEMORY ? gate.memory : gate.recurrent;
    const std::vector<float> values = layer.device.read_parameter(
        of_input ? *gate.input : *other, weight.role == WeightRole::BIAS ? "bias" : "weights");
    matrices.emplace_back(layer.device, MatrixDescriptor{weight.rows, weight.columns});
    matrices.back().set_label(std::string(name_of(weight.id)));
    matrices.back().write(values.data(), values.size() * sizeof(float));
  }
  return matrices;
}

std::vector<Matrix> RNNMatrixTrainingLayer::create_weight_gradient_matrices(
    DataType data_type) const {
  const RecurrentLayer& layer = *state();
  if (data_type != DataType::FLOAT32 && data_type != DataType::FLOAT16)
    layer.fail<ArgumentTypeError>("data_type", "float32 or float16", name_of(data_type));
  std::vector<Matrix> matrices;
  for (const RecurrentWeight& weight : graph::weights_of(cell_of(layer))) {
    matrices.emplace_back(layer.device, MatrixDescriptor{weight.rows, weight.columns, data_type});
    matrices.back().set_label(std::string(name_of(weight.id)));
  }
  return matrices;
}

void RNNMatrixTrainingLayer::encode_copy_weights(CommandBuffer& commands,
                                                 const std::vector<Matrix>& weights,
                                                 RNNMatrixId matrix_id, const Matrix& matrix,
                                                 bool copy_from_weights_to_matrix, std::int64_t row,
                                                 std::int64_t column) const {
  RecurrentLayer& layer = *state();
  const Sequence all = weights_of(layer, "weights", weights);
  const std::vector<RNNMatrixId> ids = weight_ids();
  const auto found = std::ranges::find(ids, matrix_id);
  if (found == ids.end()) {
    std::string there;
    for (const RNNMatrixId id : ids) there += str(there.empty() ? "" : ", ", name_of(id));
    layer.fail("matrix_id", there, name_of(matrix_id));
  }
  const RecurrentOperand& weight = all[static_cast<std::size_t>(found - ids.begin())];
  const std::int64_t rows = weight.desc.dims[1], columns = weight.desc.dims[2];
  RecurrentOperand part = runtime::operand_of(matrix);
  if (part.desc.type != DataType::FLOAT32 && part.desc.type != DataType::FLOAT16)
    layer.fail<ArgumentTypeError>("matrix", "float32 or float16", name_of(part.desc.type));
  const auto inside = graph::part_of(part.desc, row, column, rows, columns, 0, 1);
  if (!inside) {
    layer.fail("matrix",
               str(rows, " rows and ", columns, " columns from (", row, ", ", column, ')'),
               str(part.desc.dims[1], " rows, ", part.desc.dims[2], " columns"));
  }
  part.desc = inside->desc;
  part.offset += static_cast<std::size_t>(inside->offset);
  RecurrentEncode encode(layer, commands);
  encode.add("weights", copy_from_weights_to_matrix ? weight : part, false);
  encode.add("matrix", copy_from_weights_to_matrix ? part : weight, true);
  encode.record("encode_copy_weights", 1, {}, [&](const graph::RecurrentCall& call) {
    return graph::plan_copy(call, layer.device.state()->chooser);
  });
}

RNNForwardSequence RNNMatrixTrainingLayer::encode_forward_sequence(
    CommandBuffer& commands, const std::vector<Matrix>& source_matrices,
    const std::vector<Matrix>& destination_matrices, const std::vector<Matrix>& weights,
    const std::optional<RNNRecurrentMatrixState>& recurrent_input_state,
    const std::vector<std::size_t>& source_offsets,
    const std::vector<std::size_t>& destination_offsets) const {
  RecurrentLayer& layer = *state();
  const Sequence sources = runtime::sequence_of(layer, "source_matrices", source_matrices,
                                                source_offsets, input_feature_channels());
  const Sequence destinations =
      runtime::sequence_of(layer, "destination_matrices", destination_matrices, destination_offsets,
                           output_feature_channels());
  const auto rows = runtime::checked_rows(layer, "source_matrices", sources);
  runtime::expect_rows(layer, "destination_matrices", destinations, rows);
  RecurrentEncode encode(layer, commands);
  add_all(encode, "source_matrices", sources, false);
  add_all(encode, "destination_matrices", destinations, true);
  add_all(encode, "weights", weights_of(layer, "weights", weights), false);
  if (recurrent_input_state) {
    runtime::add_state(layer, encode, "recurrent_input_state", *recurrent_input_state->state(),
                       rows.front(), false);
  }
  RNNForwardSequence made;
  const std::size_t count = layer.store_all ? rows.size() : 1;
  for (std::size_t s = 0; s < count; ++s) {
    const std::int64_t of = layer.store_all ? rows[s] : rows.back();
    made.recurrent_output_states.emplace_back(runtime::make_state(layer, of));
    runtime::add_state(layer, encode, "recurrent_output_states",
                       *made.recurrent_output_states.back().state(), of, true);
  }
  const auto floats = static_cast<std::size_t>(graph::training_floats(cell_of(layer), rows));
  const auto sequence = std::make_shared<runtime::TrainingSequence>(
      runtime::TrainingSequence{state(), rows, Buffer(layer.device, floats * sizeof(float))});
  encode.add("training_states", block_of(*sequence), true);
  encode.record("encode_forward_sequence", rows.size(),
                {recurrent_input_state.has_value(), static_cast<std::int64_t>(count)},
                [&](const graph::RecurrentCall& call) {
                  return graph::plan_forward(call, cell_of(layer),
                                             {recurrent_input_state.has_value(), count},
                                             layer.device.state()->chooser);
                });
  for (std::size_t t = 0; t < rows.size(); ++t)
    made.training_states.emplace_back(sequence, static_cast<std::int64_t>(t));
  return made;
}

RNNRecurrentMatrixState RNNMatrixTrainingLayer::encode_gradient_sequence(
    CommandBuffer& commands, const std::vector<Matrix>& forward_sources,
    const std::vector<Matrix>& source_gradients, const std::vector<Matrix>& destination_gradients,
    const std::vector<Matrix>& weight_gradients,
    const std::vector<RNNMatrixTrainingState>& training_states, const std::vector<Matrix>& weights,
    const std::optional<RNNRecurrentMatrixState>& recurrent_input_state,
    const std::vector<std::size_t>& forward_source_offsets,
    const std::vector<std::size_t>& source_gradient_offsets,
    const std::vector<std::size_t>& destination_offsets) const {
  RecurrentLayer& layer = *state();
  const runtime::TrainingSequence& sequence = sequence_of(layer, training_states);
  const auto checked = [&](std::string_view argument, const std::vector<Matrix>& matrices,
                           const std::vector<std::size_t>& offsets, std::int64_t channels) {
    Sequence operands = runtime::sequence_of(layer, argument, matrices, offsets, channels);
    runtime::expect_rows(layer, argument, operands, sequence.rows);
    return operands;
  };
  const std::int64_t inputs = input_feature_channels(), outputs = output_feature_channels();
  const graph::GradientOptions options{recurrent_input_state.has_value(),
                                       !destination_gradients.empty(), !weight_gradients.empty(),
                                       layer.accumulates};
  RecurrentEncode encode(layer, commands);
  add_all(encode, "forward_sources",
          checked("forward_sources", forward_sources, forward_source_offsets, inputs), false);
  add_all(encode, "source_gradients",
          checked("source_gradients", source_gradients, source_gradient_offsets, outputs), false);
  add_all(encode, "weights", weights_of(layer, "weights", weights), false);
  encode.add("training_states", block_of(sequence), false);
  RNNRecurrentMatrixState initial(runtime::make_state(layer, sequence.rows.front()));
  runtime::add_state(layer, encode, "recurrent_output_states", *initial.state(),
                     sequence.rows.front(), true);
  if (options.has_input_state) {
    runtime::add_state(layer, encode, "recurrent_input_state", *recurrent_input_state->state(),
                       sequence.rows.back(), false);
  }
  if (options.wants_sources) {
    add_all(encode, "destination_gradients",
            checked("destination_gradients", destination_gradients, destination_offsets, inputs),
            true);
  }
  if (options.wants_weights) {
    add_all(encode, "weight_gradients", weights_of(layer, "weight_gradients", weight_gradients),
            true);
  }
  encode.record(
      "encode_gradient_sequence", sequence.rows.size(),
      {options.has_input_state, options.wants_sources, options.wants_weights, options.accumulates},
      [&](const graph::RecurrentCall& call) {
        return graph::plan_gradient(call, cell_of(layer), options, layer.device.state()->chooser);
      });
  return initial;
}

}  // namespace mpsnn
