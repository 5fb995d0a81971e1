// SPDX-License-Identifier: MIT
// Descriptors of recurrent layers, checked and in one form.
#include <array>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "graph/recurrent.h"

namespace mpsnn {

std::string_view name_of(RNNMatrixId id) {
  constexpr std::array<std::string_view, 29> kNames = {"SINGLE_GATE_INPUT_WEIGHTS",
                                                       "SINGLE_GATE_RECURRENT_WEIGHTS",
                                                       "SINGLE_GATE_BIAS_TERMS",
                                                       "LSTM_INPUT_GATE_INPUT_WEIGHTS",
                                                       "LSTM_INPUT_GATE_RECURRENT_WEIGHTS",
                                                       "LSTM_INPUT_GATE_MEMORY_WEIGHTS",
                                                       "LSTM_INPUT_GATE_BIAS_TERMS",
                                                       "LSTM_FORGET_GATE_INPUT_WEIGHTS",
                                                       "LSTM_FORGET_GATE_RECURRENT_WEIGHTS",
                                                       "LSTM_FORGET_GATE_MEMORY_WEIGHTS",
                                                       "LSTM_FORGET_GATE_BIAS_TERMS",
                                                       "LSTM_MEMORY_GATE_INPUT_WEIGHTS",
                                                       "LSTM_MEMORY_GATE_RECURRENT_WEIGHTS",
                                                       "LSTM_MEMORY_GATE_MEMORY_WEIGHTS",
                                                       "LSTM_MEMORY_GATE_BIAS_TERMS",
                                                       "LSTM_OUTPUT_GATE_INPUT_WEIGHTS",
                                                       "LSTM_OUTPUT_GATE_RECURRENT_WEIGHTS",
                                                       "LSTM_OUTPUT_GATE_MEMORY_WEIGHTS",
                                                       "LSTM_OUTPUT_GATE_BIAS_TERMS",
                                                       "GRU_INPUT_GATE_INPUT_WEIGHTS",
                                                       "GRU_INPUT_GATE_RECURRENT_WEIGHTS",
                                                       "GRU_INPUT_GATE_BIAS_TERMS",
                                                       "GRU_RECURRENT_GATE_INPUT_WEIGHTS",
                                                       "GRU_RECURRENT_GATE_RECURRENT_WEIGHTS",
                                                       "GRU_RECURRENT_GATE_BIAS_TERMS",
                                                       "GRU_OUTPUT_GATE_INPUT_WEIGHTS",
                                                       "GRU_OUTPUT_GATE_RECURRENT_WEIGHTS",
                                                       "GRU_OUTPUT_GATE_INPUT_GATE_WEIGHTS",
                                                       "GRU_OUTPUT_GATE_BIAS_TERMS"};
  const auto index = static_cast<std::size_t>(id);
  return index < kNames.size() ? kNames[index] : "unknown";
}

namespace graph {
namespace {

/// Where a check stands, for its error.
struct Site {
  std::string_view title;
  const RecurrentCell& cell;
  bool takes_images;

  template <class Expected, class Got>
  [[noreturn]] void fail(std::string_view argument, const Expected& expected,
                         const Got& got) const {
    throw_expected(str(title, ": ", argument), expected, got);
  }
};

void check_neuron(const Site& site, std::string_view argument, const NeuronDescriptor& neuron) {
  if (neuron.type < NeuronType::NONE || neuron.type > NeuronType::GELU ||
      neuron.type == NeuronType::PRELU) {
    site.fail(str(argument, ": neuron"), "any type but PRELU",
              str("type ", static_cast<int>(neuron.type)));
  }
  const bool has_base =
      neuron.type == NeuronType::EXPONENTIAL || neuron.type == NeuronType::LOGARITHM;
  const bool is_one = neuron.type == NeuronType::LOGARITHM && neuron.c == 1.0F;
  if (has_base && (is_one || (!(neuron.c > 0) && neuron.c != -1.0F)))
    site.fail(str(argument, ": neuron: c"), "a base above 0, or -1 for e", neuron.c);
}

/// Convolutions of images may have windows, but keep the image's size. Diagonal weights, and those
/// of matrices, have one tap.
void check_window(const Site& site, std::string_view argument, const ConvolutionDescriptor& d,
                  bool is_diagonal) {
  if ((!site.takes_images || is_diagonal) && (d.kernel_width != 1 || d.kernel_height != 1)) {
    site.fail(argument,
              is_diagonal ? "a 1x1 convolution, as they are diagonal" : "a 1x1 convolution",
              str(d.kernel_height, "x", d.kernel_width));
  }
  if (d.stride_in_pixels_x != 1 || d.stride_in_pixels_y != 1) {
    site.fail(str(argument, ": strides"), "1, as all images of a layer have one size",
              str(d.stride_in_pixels_y, "x", d.stride_in_pixels_x));
  }
  if (d.sub_pixel_scale_factor != 1)
    site.fail(str(argument, ": sub_pixel_scale_factor"), 1, d.sub_pixel_scale_factor);
}

/// A square of weights, or rows of them: a convolution from `inputs` to the cell's outputs.
void check_weights(const Site& site, std::string_view argument, const RNNWeights& weights,
                   std::int64_t inputs, bool is_diagonal) {
  if (!weights) return;
  const ConvolutionDescriptor& d = weights->descriptor();
  check_window(site, argument, d, is_diagonal);
  if (d.output_feature_channels != site.cell.outputs) {
    site.fail(str(argument, ": output_feature_channels"), site.cell.outputs,
              d.output_feature_channels);
  }
  if (is_diagonal) {
    if (d.weight_count() == site.cell.outputs) return;
    site.fail(argument, str(site.cell.outputs, " weights, one a channel, as they are diagonal"),
              d.weight_count());
  }
  if (d.input_feature_channels != inputs)
    site.fail(str(argument, ": input_feature_channels"), inputs, d.input_feature_channels);
  if (d.groups != 1) site.fail(str(argument, ": groups"), 1, d.groups);
}

/// Only weights of the input have bias and neuron.
void check_plain(const Site& site, std::string_view argument, const RNNWeights& weights) {
  if (!weights) return;
  if (weights->has_bias())
    site.fail(argument, "weights without bias (those of the input have it)", "a bias");
  if (weights->descriptor().fused_neuron_descriptor.type != NeuronType::NONE)
    site.fail(argument, "weights without neuron (those of the input have it)", "a neuron");
}

struct GateNames {
  std::string_view input, recurrent, memory;
};

RecurrentGate make_gate(const Site& site, const GateNames& names, const RNNWeights& input,
                        const RNNWeights& recurrent, const RNNWeights& memory = nullptr) {
  const RecurrentCell& cell = site.cell;
  check_weights(site, names.input, input, cell.inputs, false);
  check_weights(site, names.recurrent, recurrent, cell.outputs, false);
  check_weights(site, names.memory, memory, cell.outputs, cell.diagonal);
  check_plain(site, names.recurrent, recurrent);
  check_plain(site, names.memory, memory);
  RecurrentGate gate{input, recurrent, memory, {}, false};
  if (!input) return gate;
  gate.neuron = input->descriptor().fused_neuron_descriptor;
  gate.has_bias = input->has_bias();
  check_neuron(site, names.input, gate.neuron);
  return gate;
}

void add_gates(const Site& site, RecurrentCell& cell, const RNNSingleGateDescriptor& d) {
  cell.gates = {make_gate(site, {"input_weights", "recurrent_weights", ""}, d.input_weights,
                          d.recurrent_weights)};
}

void add_gates(const Site& site, RecurrentCell& cell, const LSTMDescriptor& d) {
  cell.kind = CellKind::LSTM;
  cell.diagonal = d.memory_weights_are_diagonal;
  cell.memory_to_output = {d.cell_to_output_neuron_type, d.cell_to_output_neuron_param_a,
                           d.cell_to_output_neuron_param_b, d.cell_to_output_neuron_param_c};
  check_neuron(site, "cell_to_output", cell.memory_to_output);
  cell.gates = {
      make_gate(
          site,
          {"input_gate_input_weights", "input_gate_recurrent_weights", "input_gate_memory_weights"},
          d.input_gate_input_weights, d.input_gate_recurrent_weights, d.input_gate_memory_weights),
      make_gate(site,
                {"forget_gate_input_weights", "forget_gate_recurrent_weights",
                 "forget_gate_memory_weights"},
                d.forget_gate_input_weights, d.forget_gate_recurrent_weights,
                d.forget_gate_memory_weights),
      make_gate(
          site,
          {"cell_gate_input_weights", "cell_gate_recurrent_weights", "cell_gate_memory_weights"},
          d.cell_gate_input_weights, d.cell_gate_recurrent_weights, d.cell_gate_memory_weights),
      make_gate(site,
                {"output_gate_input_weights", "output_gate_recurrent_weights",
                 "output_gate_memory_weights"},
                d.output_gate_input_weights, d.output_gate_recurrent_weights,
                d.output_gate_memory_weights)};
}

void add_gates(const Site& site, RecurrentCell& cell, const GRUDescriptor& d) {
  cell.kind = CellKind::GRU;
  cell.p = static_cast<double>(d.gate_p_norm_value);
  cell.flips = d.flip_output_gates;
  if (!(cell.p > 0) || !std::isfinite(cell.p))
    site.fail("gate_p_norm_value", "a number above 0", cell.p);
  cell.gates = {
      make_gate(site, {"input_gate_input_weights", "input_gate_recurrent_weights", ""},
                d.input_gate_input_weights, d.input_gate_recurrent_weights),
      make_gate(site, {"recurrent_gate_input_weights", "recurrent_gate_recurrent_weights", ""},
                d.recurrent_gate_input_weights, d.recurrent_gate_recurrent_weights),
      make_gate(site,
                {"output_gate_input_weights", "output_gate_recurrent_weights",
                 "output_gate_input_gate_weights"},
                d.output_gate_input_weights, d.output_gate_recurrent_weights,
                d.output_gate_input_gate_weights)};
}

bool has_weights(const RecurrentCell& cell) {
  for (const RecurrentGate& gate : cell.gates) {
    if (gate.input || gate.recurrent || gate.memory) return true;
  }
  return false;
}

}  // namespace

RecurrentCell make_cell(std::string_view title, const RNNLayerDescriptor& descriptor,
                        bool takes_images) {
  RecurrentCell cell;
  std::visit(
      [&](const auto& d) {
        const Site site{title, cell, takes_images};
        cell.inputs = d.input_feature_channels;
        cell.outputs = d.output_feature_channels;
        cell.unit_transform = d.use_layer_input_unit_transform_mode;
        cell.backward = d.layer_sequence_direction == RNNSequenceDirection::BACKWARD;
        if (cell.inputs < 1) site.fail("input_feature_channels", "at least 1", cell.inputs);
        if (cell.outputs < 1) site.fail("output_feature_channels", "at least 1", cell.outputs);
        if (cell.unit_transform && cell.inputs != cell.outputs) {
          site.fail("input_feature_channels",
                    str(cell.outputs, ", as output_feature_channels, in unit transform mode"),
                    cell.inputs);
        }
        add_gates(site, cell, d);
        if (!has_weights(cell) && !cell.unit_transform)
          site.fail("weights", "at least one data source", "none");
      },
      descriptor);
  return cell;
}

namespace {

/// Ids of a gate's weights: input, recurrent, memory (below 0: none), bias.
struct GateIds {
  int input, recurrent, memory, bias;
};

GateIds ids_of(CellKind kind, std::size_t gate) {
  const int g = static_cast<int>(gate);
  switch (kind) {
    case CellKind::SINGLE_GATE:
      return {0, 1, -1, 2};
    case CellKind::LSTM:
      return {3 + 4 * g, 4 + 4 * g, 5 + 4 * g, 6 + 4 * g};
    case CellKind::GRU:
      if (g == 2) return {25, 26, 27, 28};
      return {19 + 3 * g, 20 + 3 * g, -1, 21 + 3 * g};
  }
  throw InternalError("kind of a recurrent cell out of range");
}

}  // namespace

const RNNWeights& source_of(const RecurrentGate& gate, WeightRole role) {
  switch (role) {
    case WeightRole::INPUT:
    case WeightRole::BIAS:
      return gate.input;
    case WeightRole::RECURRENT:
      return gate.recurrent;
    case WeightRole::MEMORY:
      return gate.memory;
  }
  throw InternalError("role of a weight out of range");
}

bool has_window(const RNNWeights& weights) {
  if (!weights) return false;
  const ConvolutionDescriptor& d = weights->descriptor();
  return d.kernel_width != 1 || d.kernel_height != 1;
}

std::vector<RecurrentWeight> weights_of(const RecurrentCell& cell) {
  std::vector<RecurrentWeight> weights;
  for (std::size_t g = 0; g < cell.gates.size(); ++g) {
    const RecurrentGate& gate = cell.gates[g];
    const GateIds ids = ids_of(cell.kind, g);
    const auto add = [&](bool there, int id, WeightRole role, std::int64_t rows,
                         std::int64_t columns) {
      if (there) weights.push_back({static_cast<RNNMatrixId>(id), g, role, rows, columns});
    };
    const std::int64_t n = cell.outputs;
    add(gate.input && !cell.unit_transform, ids.input, WeightRole::INPUT, n, cell.inputs);
    add(gate.recurrent != nullptr, ids.recurrent, WeightRole::RECURRENT, n, n);
    add(gate.memory != nullptr, ids.memory, WeightRole::MEMORY, cell.diagonal ? 1 : n, n);
    add(gate.has_bias, ids.bias, WeightRole::BIAS, 1, n);
  }
  return weights;
}

}  // namespace graph
}  // namespace mpsnn
