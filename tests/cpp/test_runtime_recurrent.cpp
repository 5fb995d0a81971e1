// SPDX-License-Identifier: MIT
// Recurrent layers: what is recorded for them, and what they refuse.
#include <string>
#include <vector>

#include "mpsnn/rnn.h"
#include "runtime_fixtures.h"
#include "testing.h"

using namespace fixtures;

namespace {

RNNWeights weights(std::int64_t inputs, std::int64_t outputs,
                   NeuronType neuron = NeuronType::NONE) {
  ConvolutionDescriptor descriptor;
  descriptor.kernel_width = descriptor.kernel_height = 1;
  descriptor.input_feature_channels = inputs;
  descriptor.output_feature_channels = outputs;
  descriptor.fused_neuron_descriptor = {neuron, 1, 1, 0};
  return std::make_shared<ConvolutionDataSource>(
      descriptor, std::vector<float>(static_cast<std::size_t>(inputs * outputs), 1.0F));
}

RNNSingleGateDescriptor single(std::int64_t inputs, std::int64_t outputs) {
  RNNSingleGateDescriptor descriptor;
  descriptor.input_feature_channels = inputs;
  descriptor.output_feature_channels = outputs;
  descriptor.input_weights = weights(inputs, outputs);
  descriptor.recurrent_weights = weights(outputs, outputs);
  return descriptor;
}

LSTMDescriptor lstm(std::int64_t inputs, std::int64_t outputs) {
  LSTMDescriptor descriptor;
  descriptor.input_feature_channels = inputs;
  descriptor.output_feature_channels = outputs;
  descriptor.input_gate_input_weights = weights(inputs, outputs, NeuronType::SIGMOID);
  descriptor.forget_gate_input_weights = weights(inputs, outputs, NeuronType::SIGMOID);
  descriptor.cell_gate_input_weights = weights(inputs, outputs, NeuronType::TANH);
  descriptor.output_gate_input_weights = weights(inputs, outputs, NeuronType::SIGMOID);
  descriptor.input_gate_recurrent_weights = weights(outputs, outputs);
  descriptor.forget_gate_recurrent_weights = weights(outputs, outputs);
  descriptor.cell_gate_recurrent_weights = weights(outputs, outputs);
  descriptor.output_gate_recurrent_weights = weights(outputs, outputs);
  return descriptor;
}

std::vector<Matrix> sequence(const Device& device, std::size_t steps, std::int64_t columns) {
  std::vector<Matrix> matrices;
  for (std::size_t i = 0; i < steps; ++i)
    matrices.emplace_back(device, MatrixDescriptor{2, columns});
  return matrices;
}

std::size_t products(const Rig& rig) {
  std::size_t count = 0;
  for (const Command& command : rig.null->commands())
    count += command.op == OpId::matrix_multiplication ? 1 : 0;
  return count;
}

/// Products that the sequence of an LSTM with this last neuron takes.
std::size_t products_of(std::size_t steps, NeuronType last = NeuronType::RELU) {
  const Rig rig;
  const CommandQueue queue = rig.device.command_queue();
  LSTMDescriptor descriptor = lstm(3, 4);
  descriptor.cell_to_output_neuron_type = last;
  const RNNMatrixInferenceLayer layer(rig.device, descriptor);
  CommandBuffer commands(queue);
  layer.encode_sequence(commands, sequence(rig.device, steps, 3), sequence(rig.device, steps, 4));
  commands.commit();
  commands.wait_until_completed();
  return products(rig);
}

}  // namespace

TEST_CASE("recurrent: inputs are multiplied at once, gates together where it pays") {
  CHECK_EQ(products_of(1), 4 + 4);
  CHECK_EQ(products_of(3), 4 + 3 * 4);
  CHECK_EQ(products_of(10), 4 + 10);
}

TEST_CASE("recurrent: a sequence that a device has a kernel for takes no products") {
  CHECK_EQ(products_of(3, NeuronType::TANH), 4 + 3 * 4);
  CHECK_EQ(products_of(4, NeuronType::TANH), 0);
}

TEST_CASE("recurrent: numbers of one gate") {
  bool has_cpu = false;
  for (const std::string& kind : Device::available()) has_cpu = has_cpu || kind == "cpu";
  if (!has_cpu) testing::skip("built without the CPU backend");
  const Device device("cpu");
  const RNNMatrixInferenceLayer layer(device, single(1, 1));
  std::vector<Matrix> sources, results;
  for (float x = 1; x < 4; ++x) {
    sources.emplace_back(device, MatrixDescriptor{1, 1});
    sources.back().write(&x, sizeof x);
    results.emplace_back(device, MatrixDescriptor{1, 1});
  }
  CommandBuffer commands(device.command_queue());
  const auto states = layer.encode_sequence(commands, sources, results);
  commands.commit();
  float value = 0;
  for (const float expected : {1.0F, 3.0F, 6.0F}) {
    const auto step = static_cast<std::size_t>(expected == 1 ? 0 : expected == 3 ? 1 : 2);
    results[step].read(&value, sizeof value);
    CHECK_EQ(value, expected);
  }
  states[0].recurrent_output_matrix(0).read(&value, sizeof value);
  CHECK_EQ(value, 6.0F);
  // A state of one's own is written where it is.
  const Matrix mine(device, MatrixDescriptor{1, 1});
  const RNNRecurrentMatrixState given({mine}, {std::nullopt});
  CommandBuffer more(device.command_queue());
  const auto same = layer.encode_sequence(more, sources, results, states[0], {}, {}, {given});
  CHECK(same[0].recurrent_output_matrix(0).state() == mine.state());
  more.commit();
  mine.read(&value, sizeof value);
  CHECK_EQ(value, 12.0F);
  CHECK_THROWS_AS(layer.encode_sequence(more, sources, results, given, {}, {}, {given}),
                  InvalidArgumentError);
}

TEST_CASE("recurrent: training states belong to one sequence of one layer") {
  const Rig rig;
  const CommandQueue queue = rig.device.command_queue();
  const RNNMatrixTrainingLayer layer(rig.device, lstm(3, 4)), other(rig.device, lstm(3, 4));
  CHECK_EQ(layer.weight_ids().size(), 8);
  CommandBuffer commands(queue);
  const auto weights = layer.create_weight_matrices();
  const auto x = sequence(rig.device, 2, 3), y = sequence(rig.device, 2, 4);
  const RNNForwardSequence first = layer.encode_forward_sequence(commands, x, y, weights),
                           second = layer.encode_forward_sequence(commands, x, y, weights);
  const auto gradient = [&](const RNNMatrixTrainingLayer& of,
                            const std::vector<RNNMatrixTrainingState>& states) {
    return of.encode_gradient_sequence(commands, x, y, {}, {}, states, weights);
  };
  CHECK_EQ(gradient(layer, first.training_states).number_of_layers(), 1);
  CHECK_THROWS_CONTAINS(gradient(other, first.training_states), InvalidArgumentError,
                        "training_states: expected states of this layer");
  CHECK_THROWS_CONTAINS(gradient(layer, {first.training_states[0], second.training_states[1]}),
                        InvalidArgumentError, "a state of another sequence");
}
