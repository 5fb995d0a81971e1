// SPDX-License-Identifier: MIT
#include "seeds.h"

#include <memory>
#include <utility>
#include <vector>

#include "../cpp/archive_fixtures.h"
#include "fuzz.h"
#include "mpsnn/archive.h"
#include "mpsnn/kernels.h"
#include "mpsnn/nodes.h"
#include "mpsnn/normalization_data_source.h"
#include "mpsnn/null_device.h"

namespace fuzzing {
namespace {

using namespace mpsnn;  // NOLINT: tests only

std::shared_ptr<ConvolutionDataSource> convolution(ConvolutionWeights weights, std::string label,
                                                   std::shared_ptr<Optimizer> optimizer = nullptr) {
  ConvolutionDescriptor descriptor;
  descriptor.kernel_width = descriptor.kernel_height = 1;
  descriptor.input_feature_channels = descriptor.output_feature_channels = 2;
  return std::make_shared<ConvolutionDataSource>(descriptor, std::move(weights),
                                                 std::vector<float>(2, 0.5F), std::move(label),
                                                 std::move(optimizer));
}

RNNWeights weights(std::string label, NeuronType neuron = NeuronType::NONE) {
  ConvolutionDescriptor descriptor;
  descriptor.kernel_width = descriptor.kernel_height = 1;
  descriptor.input_feature_channels = descriptor.output_feature_channels = 2;
  descriptor.fused_neuron_descriptor = {neuron, 1, 1, 0};
  return std::make_shared<ConvolutionDataSource>(descriptor, std::vector<float>(4, 0.5F),
                                                 std::nullopt, std::move(label));
}

/// A descriptor of each kind, one after the other.
RNNMatrixInferenceLayer layers(const Device& device) {
  RNNSingleGateDescriptor single;
  LSTMDescriptor lstm;
  GRUDescriptor gru;
  for (RNNDescriptor* one : std::initializer_list<RNNDescriptor*>{&single, &lstm, &gru})
    one->input_feature_channels = one->output_feature_channels = 2;
  single.input_weights = weights("single", NeuronType::TANH);
  lstm.cell_gate_input_weights = weights("lstm", NeuronType::TANH);
  lstm.output_gate_memory_weights = single.recurrent_weights = weights("shared");
  gru.output_gate_input_weights = weights("gru", NeuronType::TANH);
  return RNNMatrixInferenceLayer(device, {single, lstm, gru});
}

Graph training(const Device& device) {
  const auto adam = std::make_shared<OptimizerAdam>(0.01);
  const auto momentum = std::make_shared<OptimizerStochasticGradientDescent>(0.1, 0.9);
  const ConvolutionNode floats(ImageNode("in"),
                               convolution({std::vector<float>(4, 0.25F)}, "floats", adam));
  const BatchNormalizationNode normalized(
      floats.result_image(), std::make_shared<BatchNormalizationDataSource>(
                                 2, NormalizationValues{}, 1e-3, 0.9, "normalized", momentum));
  const NeuronReLUNode relu(normalized.result_image());
  const DropoutNode dropped(relu.result_image(), 0.5);
  const ConvolutionNode halves(dropped.result_image(),
                               convolution({std::vector<std::uint16_t>(4, 0x3800)}, "halves"));
  const ConvolutionNode bytes(
      halves.result_image(),
      convolution({std::vector<std::uint8_t>{0, 255, 7, 9}, {-1, 1, 0, 2}}, "bytes"));
  const ForwardLossNode loss(bytes.result_image(), ImageNode("target"), LossDescriptor{});
  ImageNode value = loss.result_image();
  value.set_handle("loss");
  std::vector<ImageNode> results = {value};
  std::vector<bool> needed = {true};
  for (const FilterNode& end : InitialGradientNode(value).training_graph()) {
    results.push_back(end.result_image());
    needed.push_back(false);
  }
  return Graph(device, results, needed);
}

}  // namespace

std::string training_archive() {
  const NullDevice null;
  const Device& device = null.device();
  const fixtures::Folder folder;
  const Graph graph = training(device);
  for (const auto& source : graph.data_sources()) {
    if (source->optimizer()) device.set_time_step(*source, 3);
  }
  KeyedArchiver archiver;
  archiver.encode("training", graph);
  archiver.encode("noise", MatrixRandomPhilox(device));
  archiver.encode("softmax", MatrixSoftMax(device));
  archiver.encode("layers", layers(device));
  archiver.encode("settings", Settings());
  archiver.encode("alone", convolution({std::vector<float>(4, 0.75F)}, "alone"), device);
  archiver.set_metadata("note", "a text");
  archiver.write(folder / "seed");
  return fixtures::read_bytes(folder / "seed");
}

}  // namespace fuzzing
