// SPDX-License-Identifier: MIT
// Public classes that no other test of C++ uses, each for what it is there for, on the CPU. That
// none is left out is checked by tools/check_api.py.
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "mpsnn/mpsnn.h"
#include "testing.h"

using namespace mpsnn;  // NOLINT: tests only

namespace {

const Device& cpu() {
  static const Device device("cpu");
  return device;
}

std::vector<float> values(const Image& image) {
  std::vector<float> read(static_cast<std::size_t>(image.size().count()));
  image.read(read.data(), image.bytes());
  return read;
}

std::vector<float> values(const Array& array) {
  std::vector<float> read(array.bytes() / sizeof(float));
  array.read(read.data(), array.bytes());
  return read;
}

Image image_of(ImageSize size, const std::vector<float>& data) {
  return Image(cpu(), size, DataType::FLOAT32, data.data());
}

Matrix matrix_of(std::int64_t rows, std::int64_t columns, const std::vector<float>& data) {
  Matrix matrix(cpu(), MatrixDescriptor{rows, columns});
  matrix.write(data.data(), data.size() * sizeof(float));
  return matrix;
}

/// The results of one encode.
GraphOutputs run(const Graph& graph, const std::map<std::string, Image>& sources) {
  CommandBuffer commands(cpu().command_queue());
  GraphOutputs outputs = graph.encode(commands, sources);
  commands.commit();
  commands.wait_until_completed();
  return outputs;
}

std::vector<float> first_result(const FilterNode& node, const Image& source) {
  return values(*run(Graph(cpu(), {node.result_image()}), {{"x", source}}).results[0]);
}

RNNWeights gate(std::int64_t inputs, std::int64_t outputs, float weight, NeuronDescriptor neuron) {
  ConvolutionDescriptor descriptor;
  descriptor.kernel_width = descriptor.kernel_height = 1;
  descriptor.input_feature_channels = inputs;
  descriptor.output_feature_channels = outputs;
  descriptor.fused_neuron_descriptor = neuron;
  return std::make_shared<ConvolutionDataSource>(
      descriptor, std::vector<float>(static_cast<std::size_t>(inputs * outputs), weight));
}

/// h1 = h0 + x, one channel.
RNNSingleGateDescriptor running_sum() {
  RNNSingleGateDescriptor descriptor;
  descriptor.input_weights = gate(1, 1, 1, NeuronDescriptor{});
  descriptor.recurrent_weights = gate(1, 1, 1, NeuronDescriptor{});
  return descriptor;
}

}  // namespace

TEST_CASE("devices: a choice among several names one that is there") {
  CHECK_EQ(Device("cpu", DeviceChoice{.name = cpu().name()}).name(), cpu().name());
  CHECK_THROWS_CONTAINS(Device("cpu", DeviceChoice{.name = "of tomorrow"}), InvalidArgumentError,
                        cpu().name());
  CHECK_THROWS_CONTAINS(Device("cpu", DeviceChoice{.low_power = true}), InvalidArgumentError,
                        "low_power");
}

TEST_CASE("devices: the processors with a limit of threads are a device of their own") {
  const int all = cpu().threads();
  CHECK_EQ(Device("cpu", DeviceChoice{.threads = all}), cpu());
  CHECK_THROWS_CONTAINS(Device("cpu", DeviceChoice{.threads = all + 1}), InvalidArgumentError,
                        "Device: threads: expected 1 to");
  CHECK_THROWS_CONTAINS(Device("cpu", DeviceChoice{.threads = -1}), InvalidArgumentError,
                        "Device: threads: expected 0 or more, got -1");
  CHECK_THROWS_CONTAINS(Device("null", DeviceChoice{.threads = 1}), InvalidArgumentError,
                        "runs no kernels on the host's threads");
  CHECK_EQ(Device("null").threads(), 0);
  if (all == 1) return;
  const Device one("cpu", DeviceChoice{.threads = 1});
  CHECK_EQ(one.threads(), 1);
  CHECK_EQ(one, Device("cpu", DeviceChoice{.threads = 1}));
  CHECK(one != cpu());
  CommandBuffer commands(one.command_queue());
  const MatrixDescriptor number{.rows = 1, .columns = 1};
  CHECK_THROWS_CONTAINS(
      MatrixNeuron(one).encode(commands, Matrix(cpu(), number), Matrix(one, number)),
      InvalidArgumentError, "1 thread,");
}

TEST_CASE("descriptors: vectors and arrays say where elements lie") {
  const Vector vectors(cpu(), VectorDescriptor{.length = 3, .vectors = 2, .vector_bytes = 16});
  CHECK_EQ(vectors.shape(), (std::vector<std::int64_t>{2, 3}));
  CHECK_EQ(vectors.strides(), (std::vector<std::int64_t>{16, 4}));
  const NDArray array(cpu(), NDArrayDescriptor{.shape = {2, 3, 4}});
  CHECK_EQ(array.transposed(0, 2).shape(), (std::vector<std::int64_t>{4, 3, 2}));
  CHECK_EQ(array.sliced(1, 1, 2).offset(), 16);
  CHECK_THROWS_CONTAINS(NDArray(cpu(), NDArrayDescriptor{.shape = {2, 0}}), InvalidArgumentError,
                        "shape");
}

TEST_CASE("descriptors: convolutions of each channel, and of sub-pixels") {
  const DepthWiseConvolutionDescriptor depthwise(1, 1, 2, 4);
  CHECK_EQ(depthwise.channel_multiplier(), 2);
  CHECK_EQ(depthwise.weight_count(), 4);
  const auto factors =
      std::make_shared<ConvolutionDataSource>(depthwise, std::vector<float>{1, 10, 100, 1000});
  const ImageNode x("x");
  CHECK_EQ(first_result(ConvolutionNode(x, factors), image_of({1, 1, 1, 2}, {2, 3})),
           (std::vector<float>{2, 20, 300, 3000}));

  const SubPixelConvolutionDescriptor finer(1, 1, 1, 4, 2);
  const auto places =
      std::make_shared<ConvolutionDataSource>(finer, std::vector<float>{1, 2, 3, 4});
  CHECK_EQ(first_result(ConvolutionNode(x, places), image_of({1, 1, 1, 1}, {5})),
           (std::vector<float>{5, 10, 15, 20}));
}

TEST_CASE("data sources: normalisations hold their values and say what an optimizer updates") {
  NormalizationValues given;
  given.gamma = {2, 2};
  given.beta = {1, -1};
  given.mean = {3, 5};
  given.variance = {4, 9};
  const auto batch = std::make_shared<BatchNormalizationDataSource>(2, given, 0.0, 0.75, "batch");
  const NormalizationDataSource& shared = *batch;
  CHECK_EQ(shared.number_of_feature_channels(), 2);
  CHECK_EQ(batch->momentum(), 0.75);
  std::vector<std::string> trained;
  for (const ParameterInfo& parameter : shared.parameters())
    if (parameter.trained) trained.push_back(parameter.name);
  CHECK_EQ(trained, (std::vector<std::string>{"gamma", "beta"}));
  const ImageNode x("x");
  CHECK_EQ(first_result(BatchNormalizationNode(x, batch), image_of({1, 1, 1, 2}, {7, 8})),
           (std::vector<float>{5, 1}));

  const InstanceNormalizationDataSource instance(3);
  CHECK_EQ(instance.initial("gamma"), (std::vector<float>{1, 1, 1}));
  CHECK_EQ(instance.class_name(), "InstanceNormalizationDataSource");
  CHECK_EQ(GroupNormalizationDataSource(6, 3).number_of_groups(), 3);
  CHECK_THROWS_CONTAINS(GroupNormalizationDataSource(6, 4), InvalidArgumentError, "groups");
}

TEST_CASE("data sources: a dropout counts its masks") {
  const auto masks = std::make_shared<DropoutState>("masks");
  CHECK_EQ(cpu().read_parameter(*masks, "steps"), (std::vector<float>{0, 0}));
  DropoutNodeOptions options;
  options.keep_probability = 0.5;
  options.weights = masks;
  const DropoutNode dropout(ImageNode("x"), options);
  const Graph graph(cpu(), {dropout.result_image()});
  const Image ones = image_of({1, 4, 4, 1}, std::vector<float>(16, 1));
  const std::vector<float> first = values(*run(graph, {{"x", ones}}).results[0]);
  const std::vector<float> second = values(*run(graph, {{"x", ones}}).results[0]);
  CHECK(first != second);
}

TEST_CASE("optimizers: RMSProp's step on memory of one's own") {
  const OptimizerRMSProp optimizer(0.5, 0.75, 0.0);
  CHECK_EQ(optimizer.decay(), 0.75);
  const Matrix gradient = matrix_of(1, 2, {4, -4}), weights = matrix_of(1, 2, {1, 1});
  const Matrix squares = matrix_of(1, 2, {0, 0});
  CommandBuffer commands(cpu().command_queue());
  optimizer.encode(commands, gradient, weights, weights, squares);
  commands.commit();
  CHECK_EQ(values(squares), (std::vector<float>{4, 4}));
  CHECK_EQ(values(weights), (std::vector<float>{0, 2}));  // 1 - 0.5 · 4 / √4
}

TEST_CASE("losses: YOLO's descriptor is checked and kept") {
  YOLOLossDescriptor descriptor;
  descriptor.anchor_boxes = {1, 2};
  descriptor.scale_object = 7;
  const YOLOLossNode loss(ImageNode("boxes"), ImageNode("labels"), descriptor);
  CHECK_EQ(std::get<double>(loss.attribute("scale_object")), 7.0);
  descriptor.anchor_boxes = {1, 2, 3};
  CHECK_THROWS_CONTAINS(YOLOLossNode(ImageNode("boxes"), ImageNode("labels"), descriptor), Error,
                        "anchor_boxes");
}

TEST_CASE("matrix copies: from and to where the offsets say") {
  const Matrix source = matrix_of(2, 2, {1, 2, 3, 4}), destination = matrix_of(2, 2, {0, 0, 0, 0});
  const MatrixCopyOffsets offsets{.source_row_offset = 1, .destination_column_offset = 1};
  const MatrixCopyDescriptor descriptor(source, destination, offsets);
  CHECK_EQ(descriptor.offsets(), (std::vector<std::int64_t>{1, 0, 0, 1}));
  CommandBuffer commands(cpu().command_queue());
  MatrixCopy(cpu(), {.copy_rows = 1, .copy_columns = 1}).encode(commands, descriptor);
  commands.commit();
  CHECK_EQ(values(destination), (std::vector<float>{0, 3, 0, 0}));
}

TEST_CASE("kernel sequences: their kernels run at each encode") {
  const Matrix x = matrix_of(1, 2, {3, 4}), y = matrix_of(1, 2, {0, 0});
  MatrixNeuron twice(
      cpu(), {.neuron_type = NeuronType::LINEAR, .neuron_parameter_a = 2, .neuron_parameter_b = 1});
  KernelSequence step(cpu(), "step");
  CHECK(step.device().kind() == "cpu");
  CHECK_EQ(step.label(), "step");
  step.add(twice, {{x}, {y}, {}});
  step.add(twice, {{y}, {x}, {}}, "encode", {{"neuron_parameter_b", 0.0}});
  CHECK_THROWS_CONTAINS(step.add(twice, {{x}}), InvalidArgumentError, "MatrixNeuron");
  CHECK_EQ(step.size(), 2);
  CommandBuffer commands(cpu().command_queue());
  for (int i = 0; i < 2; ++i) step.encode(commands);
  commands.commit();
  CHECK_EQ(values(x), (std::vector<float>{58, 74}));  // x -> 2(2x + 1), twice
  CHECK_THROWS_CONTAINS(KernelSequence(Device("null"), "far").add(twice, {{x}, {y}, {}}),
                        InvalidArgumentError, "KernelSequence \"far\": kernel: expected one of");
  CommandBuffer other(Device("null").command_queue());
  CHECK_THROWS_CONTAINS(step.encode(other), InvalidArgumentError,
                        "KernelSequence \"step\": commands: expected a command buffer of device");
}

TEST_CASE("host kernels: the function sees its operands' memory") {
  const Matrix source = matrix_of(1, 2, {3, 4}), destination = matrix_of(1, 2, {0, 0});
  const HostKernel twice([](const std::vector<HostKernel::Operand>& reads,
                            const std::vector<HostKernel::Operand>& writes) {
    for (int i = 0; i < 2; ++i)
      static_cast<float*>(writes[0].data)[i] = 2 * static_cast<const float*>(reads[0].data)[i];
  });
  CommandBuffer commands(cpu().command_queue());
  twice.encode(commands, {source}, {destination});
  commands.commit();
  CHECK_EQ(values(destination), (std::vector<float>{6, 8}));
}

TEST_CASE("recurrent: matrices go on from a state") {
  RNNMatrixInferenceLayer layer(cpu(), running_sum());
  RNNInferenceLayer& inference = layer;
  RNNLayer& shared = layer;
  shared.set_store_all_intermediate_states(true);
  CHECK_EQ(inference.number_of_layers(), 1);
  CHECK_EQ(shared.input_feature_channels(), 1);
  const RNNRecurrentMatrixState before({matrix_of(1, 1, {10})}, {std::nullopt});
  const std::vector<Matrix> sources = {matrix_of(1, 1, {1}), matrix_of(1, 1, {2})};
  const std::vector<Matrix> results = {matrix_of(1, 1, {0}), matrix_of(1, 1, {0})};
  CommandBuffer commands(cpu().command_queue());
  const std::vector<RNNRecurrentMatrixState> states =
      layer.encode_sequence(commands, sources, results, before);
  commands.commit();
  CHECK_EQ(values(results[1]), (std::vector<float>{13}));
  REQUIRE(states.size() == 2);
  CHECK_EQ(values(states[0].recurrent_output_matrix(0)), (std::vector<float>{11}));
  CHECK(!states[0].memory_cell_matrix(0));
}

TEST_CASE("recurrent: images go on from a state") {
  const RNNImageInferenceLayer layer(cpu(), running_sum());
  const RNNRecurrentImageState before({image_of({1, 1, 2, 1}, {10, 20})}, {std::nullopt});
  const Image result = image_of({1, 1, 2, 1}, {0, 0});
  CommandBuffer commands(cpu().command_queue());
  const std::vector<RNNRecurrentImageState> states =
      layer.encode_sequence(commands, {image_of({1, 1, 2, 1}, {1, 2})}, {result}, before);
  commands.commit();
  CHECK_EQ(values(result), (std::vector<float>{11, 22}));
  REQUIRE(states.size() == 1);
  CHECK_EQ(values(states[0].recurrent_output_image(0)), (std::vector<float>{11, 22}));
}

TEST_CASE("recurrent: a gated unit without weights halves its memory") {
  GRUDescriptor unit;  // gates are 0 but for z, which a neuron's offset sets to 1/2
  RNNDescriptor& shared = unit;
  shared.input_feature_channels = shared.output_feature_channels = 1;
  unit.input_gate_input_weights = gate(1, 1, 0, {NeuronType::LINEAR, 1, 0.5F, 0});
  const RNNMatrixInferenceLayer layer(cpu(), unit);
  const RNNRecurrentMatrixState before({matrix_of(1, 1, {8})}, {std::nullopt});
  const Matrix result = matrix_of(1, 1, {0});
  CommandBuffer commands(cpu().command_queue());
  layer.encode_sequence(commands, {matrix_of(1, 1, {1})}, {result}, before);
  commands.commit();
  CHECK_EQ(values(result), (std::vector<float>{4}));
}

TEST_CASE("devices: a queue's memory is told by its label, the null device's kernels by theirs") {
  const NullDevice null;
  const CommandQueue queue(null.device(), "mine");
  const FilterNode node = NeuronReLUNode(ImageNode("x"));
  CommandBuffer commands(queue);
  Graph(null.device(), {node.result_image()})
      .encode(commands, {{"x", Image(null.device(), {1, 2, 2, 1})}});
  commands.commit();
  commands.wait_until_completed();
  const std::vector<NullCommand> ran = null.commands();
  REQUIRE(ran.size() == 1);
  CHECK_EQ(ran[0].label, node.label());
  bool found = false;
  for (const QueueMemory& memory : null.device().memory_stats().queues)
    found = found || memory.label == "mine";
  CHECK(found);
}

TEST_CASE("timelines: a queue that had nothing to do has a gap") {
  const Trace trace;
  {
    const Capture capture(trace);
    const CommandQueue queue(cpu(), "two pieces");
    for (int i = 0; i < 2; ++i) {
      CommandBuffer commands(queue);
      commands.encode_host_function("work", [] {});
      commands.commit();
      commands.wait_until_completed();
      // Long beside what a piece takes without its work.
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }
  for (const QueueSummary& queue : trace.summary().queues) {
    if (queue.lane.find("two pieces") == std::string::npos) continue;
    REQUIRE(queue.gaps.size() == 1);
    const Gap& gap = queue.gaps[0];
    CHECK(gap.starved);
    CHECK(gap.end_ns > gap.start_ns);
    CHECK_EQ(gap.after, "work");
    return;
  }
  CHECK(false && "no summary of the queue");
}
