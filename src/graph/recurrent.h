// SPDX-License-Identifier: MIT
// Recurrent layers: what their descriptors say in one form, and the plans of their encodes. A plan
// covers a whole sequence: the products of all inputs at once, then step by step the products of
// the previous output and one or two operations of the cell.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/kernel.h"
#include "graph/plan.h"
#include "mpsnn/rnn_descriptor.h"

namespace mpsnn::graph {

enum class CellKind : std::uint8_t { SINGLE_GATE, LSTM, GRU };

/// One gate. Gates of an LSTM: input, forget, memory, output; of a GRU: input (z), recurrent (r),
/// output.
struct RecurrentGate {
  RNNWeights input, recurrent;
  RNNWeights memory;  // an LSTM's peepholes; a GRU's output gate: the input gate weights
  NeuronDescriptor neuron;
  bool has_bias = false;
};

/// A layer, checked.
struct RecurrentCell {
  CellKind kind = CellKind::SINGLE_GATE;
  std::int64_t inputs = 1, outputs = 1;
  bool unit_transform = false, backward = false, diagonal = false, flips = false;
  std::vector<RecurrentGate> gates;
  NeuronDescriptor memory_to_output = {};
  double p = 1;

  bool has_memory() const noexcept { return kind == CellKind::LSTM; }
  std::int64_t gate_channels() const noexcept {
    return static_cast<std::int64_t>(gates.size()) * outputs;
  }
};

/// Throws InvalidArgumentError, `<title>: <argument>: expected …, got …`. Only layers of images
/// take weights with more than one tap.
RecurrentCell make_cell(std::string_view title, const RNNLayerDescriptor& descriptor,
                        bool takes_images);

/// What a weight is for its gate.
enum class WeightRole : std::uint8_t { INPUT, RECURRENT, MEMORY, BIAS };
struct RecurrentWeight {
  RNNMatrixId id;
  std::size_t gate;
  WeightRole role;
  std::int64_t rows, columns;
};
/// The data source that holds a weight; a bias belongs to the input weights.
const RNNWeights& source_of(const RecurrentGate& gate, WeightRole role);
/// Whether weights are convolutions of more than one tap.
bool has_window(const RNNWeights& weights);
/// The weights that a cell has, in the order of their ids.
std::vector<RecurrentWeight> weights_of(const RecurrentCell& cell);

/// Floats that the training of a sequence keeps, its steps having so many rows.
std::int64_t training_floats(const RecurrentCell& cell, std::span<const std::int64_t> rows);

/// One encode. `operands` are given in the order that each planner names; all have three dims, (1,
/// rows, channels).
struct RecurrentCall {
  std::string_view label, class_name;  // for plans and timelines
  std::span<const TensorDesc> operands;
  std::size_t steps = 0;
  /// Of images: the rows of a step are images of so many rows and columns of pixels.
  std::int64_t height = 1, width = 1;
};

struct InferenceOptions {
  bool bidirectional = false;
  RNNBidirectionalCombineMode combine = RNNBidirectionalCombineMode::NONE;
  bool has_input_state = false;
  std::size_t output_states = 0;  // 0, 1 or one a step
};
/// Operands: the sources; the destinations (bidirectional and not combined: forward, then
/// backward); the input state; the output states. A state is an output for each layer, followed by
/// its memory where it has one.
Plan plan_inference(const RecurrentCall& call, const std::vector<RecurrentCell>& cells,
                    const InferenceOptions& options, const KernelChooser& chooser);

struct ForwardOptions {
  bool has_input_state = false;
  std::size_t output_states = 0;
};
/// Operands: sources, destinations, weights, input state, output states, training_floats().
Plan plan_forward(const RecurrentCall& call, const RecurrentCell& cell,
                  const ForwardOptions& options, const KernelChooser& chooser);

struct GradientOptions {
  bool has_input_state = false, wants_sources = false, wants_weights = false, accumulates = false;
};
/// Operands: forward sources, source gradients, weights, training_floats(), gradient of the initial
/// state, gradient of the last state?, destination gradients?, weight gradients?.
Plan plan_gradient(const RecurrentCall& call, const RecurrentCell& cell,
                   const GradientOptions& options, const KernelChooser& chooser);

/// Operands: from, to; both of any strides and of floating-point types.
Plan plan_copy(const RecurrentCall& call, const KernelChooser& chooser);

}  // namespace mpsnn::graph
