// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <variant>
#include <vector>

#include "mpsnn/data_source.h"

/// What recurrent layers compute: cells, their weights and neurons.
namespace mpsnn {

/// The order in which a layer of a bidirectional stack goes through a sequence. Apple:
/// MPSRNNSequenceDirection.
enum class RNNSequenceDirection : std::int32_t { FORWARD = 0, BACKWARD = 1 };

/// What a bidirectional encode makes of both results. Apple: MPSRNNBidirectionalCombineMode.
enum class RNNBidirectionalCombineMode : std::int32_t { NONE = 0, ADD = 1, CONCATENATE = 2 };

/// Names of the weights of a training layer. Apple: MPSRNNMatrixId.
enum class RNNMatrixId : std::int32_t {
  SINGLE_GATE_INPUT_WEIGHTS = 0,
  SINGLE_GATE_RECURRENT_WEIGHTS = 1,
  SINGLE_GATE_BIAS_TERMS = 2,
  LSTM_INPUT_GATE_INPUT_WEIGHTS = 3,
  LSTM_INPUT_GATE_RECURRENT_WEIGHTS = 4,
  LSTM_INPUT_GATE_MEMORY_WEIGHTS = 5,
  LSTM_INPUT_GATE_BIAS_TERMS = 6,
  LSTM_FORGET_GATE_INPUT_WEIGHTS = 7,
  LSTM_FORGET_GATE_RECURRENT_WEIGHTS = 8,
  LSTM_FORGET_GATE_MEMORY_WEIGHTS = 9,
  LSTM_FORGET_GATE_BIAS_TERMS = 10,
  LSTM_MEMORY_GATE_INPUT_WEIGHTS = 11,
  LSTM_MEMORY_GATE_RECURRENT_WEIGHTS = 12,
  LSTM_MEMORY_GATE_MEMORY_WEIGHTS = 13,
  LSTM_MEMORY_GATE_BIAS_TERMS = 14,
  LSTM_OUTPUT_GATE_INPUT_WEIGHTS = 15,
  LSTM_OUTPUT_GATE_RECURRENT_WEIGHTS = 16,
  LSTM_OUTPUT_GATE_MEMORY_WEIGHTS = 17,
  LSTM_OUTPUT_GATE_BIAS_TERMS = 18,
  GRU_INPUT_GATE_INPUT_WEIGHTS = 19,
  GRU_INPUT_GATE_RECURRENT_WEIGHTS = 20,
  GRU_INPUT_GATE_BIAS_TERMS = 21,
  GRU_RECURRENT_GATE_INPUT_WEIGHTS = 22,
  GRU_RECURRENT_GATE_RECURRENT_WEIGHTS = 23,
  GRU_RECURRENT_GATE_BIAS_TERMS = 24,
  GRU_OUTPUT_GATE_INPUT_WEIGHTS = 25,
  GRU_OUTPUT_GATE_RECURRENT_WEIGHTS = 26,
  GRU_OUTPUT_GATE_INPUT_GATE_WEIGHTS = 27,
  GRU_OUTPUT_GATE_BIAS_TERMS = 28,
};
/// "LSTM_INPUT_GATE_BIAS_TERMS".
std::string_view name_of(RNNMatrixId id);

/// Weights of one gate, a convolution, 1x1 but for layers of images; null: zeros, without bias and
/// neuron. Weights that multiply the layer's input carry the gate's bias and, as fused neuron, its
/// function.
using RNNWeights = std::shared_ptr<ConvolutionDataSource>;

/// What the descriptors share. Apple: MPSRNNDescriptor.
struct RNNDescriptor {
  std::int64_t input_feature_channels = 1, output_feature_channels = 1;
  /// true: the layer's input stands for its products with the input weights, which must be as many
  /// channels; bias and neuron of the input weights apply.
  bool use_layer_input_unit_transform_mode = false;
  /// Read by bidirectional encodes only.
  RNNSequenceDirection layer_sequence_direction = RNNSequenceDirection::FORWARD;
};

/// h1 = g(W x + U h0 + b). Apple: MPSRNNSingleGateDescriptor.
struct RNNSingleGateDescriptor : RNNDescriptor {
  RNNWeights input_weights, recurrent_weights;
};

/// I = gi(Wi x + Ui h0 + Vi c0 + bi); F = gf(Wf x + Uf h0 + Vf c0 + bf);
/// C = gc(Wc x + Uc h0 + Vc c0 + bc); c1 = F c0 + I C;
/// O = go(Wo x + Uo h0 + Vo c1 + bo); h1 = O gh(c1). Apple: MPSLSTMDescriptor.
struct LSTMDescriptor : RNNDescriptor {
  RNNWeights input_gate_input_weights, input_gate_recurrent_weights, input_gate_memory_weights;
  RNNWeights forget_gate_input_weights, forget_gate_recurrent_weights, forget_gate_memory_weights;
  RNNWeights output_gate_input_weights, output_gate_recurrent_weights, output_gate_memory_weights;
  RNNWeights cell_gate_input_weights, cell_gate_recurrent_weights, cell_gate_memory_weights;
  /// true: memory weights are vectors, one weight a channel.
  bool memory_weights_are_diagonal = false;
  /// gh.
  NeuronType cell_to_output_neuron_type = NeuronType::TANH;
  float cell_to_output_neuron_param_a = 1, cell_to_output_neuron_param_b = 1,
        cell_to_output_neuron_param_c = 1;
};

/// z = gz(Wz x + Uz h0 + bz); r = gr(Wr x + Ur h0 + br);
/// h = gh(Wh x + Uh (r h0) + Vh (z h0) + bh); h1 = (1 - z^p)^(1/p) h + z h0. z is the input gate, r
/// the recurrent gate, h the output gate; Vh its input gate weights. Apple: MPSGRUDescriptor.
struct GRUDescriptor : RNNDescriptor {
  RNNWeights input_gate_input_weights, input_gate_recurrent_weights;
  RNNWeights recurrent_gate_input_weights, recurrent_gate_recurrent_weights;
  RNNWeights output_gate_input_weights, output_gate_recurrent_weights,
      output_gate_input_gate_weights;
  /// p, above 0.
  float gate_p_norm_value = 1;
  /// true: h1 = (1 - z^p)^(1/p) h0 + z h.
  bool flip_output_gates = false;
};

/// A layer of any kind.
using RNNLayerDescriptor = std::variant<RNNSingleGateDescriptor, LSTMDescriptor, GRUDescriptor>;

}  // namespace mpsnn
