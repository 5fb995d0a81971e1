// SPDX-License-Identifier: MIT
// The Metal backend on the double of Metal: numbers, training, predicates, pieces, refusals, and
// that no object is left. Exact where the numbers are small integers. The shared case tables run
// from Python (test_metal_double.py).
#include <cmath>
#include <functional>
#include <map>

#include "mpsnn/mpsnn.h"
#include "testing.h"

using namespace mpsnn;

extern "C" long metal_double_objects(void);

namespace {

using Values = std::vector<float>;

Device metal() { return Device("metal-double"); }

Values read(const Image& image) {
  Values values(static_cast<std::size_t>(image.size().count()));
  image.read(values.data(), image.bytes());
  return values;
}

Image image_of(const Device& device, ImageSize size, const Values& values) {
  return Image(device, size, DataType::FLOAT32, values.data());
}

Values wave(std::size_t count, double step) {
  Values values(count);
  for (std::size_t i = 0; i < count; ++i)
    values[i] = static_cast<float>(std::sin(step * static_cast<double>(i)));
  return values;
}

/// The only result of a graph of one source.
Values run(const Graph& graph, const CommandQueue& queue, const Image& source) {
  CommandBuffer commands(queue);
  const GraphOutputs outputs = graph.encode(commands, {{"x", source}});
  commands.commit();
  return read(*outputs.results[0]);
}

Values run(const ImageNode& result, ImageSize size, const Values& values) {
  const Device device = metal();
  return run(Graph(device, {result}), device.command_queue(), image_of(device, size, values));
}

std::shared_ptr<ConvolutionDataSource> weights(std::shared_ptr<Optimizer> optimizer) {
  ConvolutionDescriptor descriptor;
  descriptor.input_feature_channels = 3;
  descriptor.output_feature_channels = 2;
  return std::make_shared<ConvolutionDataSource>(descriptor, wave(2 * 9 * 3, 0.7), Values(2), "w",
                                                 std::move(optimizer));
}

/// Convolution, ReLU and squared error; exports "loss".
Graph training(const Device& device, const std::shared_ptr<ConvolutionDataSource>& source) {
  const ImageNode x("x"), target("target");
  const NeuronReLUNode relu(ConvolutionNode(x, source).result_image());
  ForwardLossNode loss(relu.result_image(), target,
                       {.reduction_type = ReductionType::SUM, .weight = 0.01});
  loss.result_image().set_handle("loss");
  loss.result_image().set_export_from_graph(true);
  const auto last = InitialGradientNode(loss.result_image()).training_graph();
  return Graph(device, {last[0].result_image()}, std::vector<bool>{false});
}

double step(const Graph& graph, const CommandQueue& queue,
            const std::optional<Predicate>& predicate = std::nullopt) {
  const Device device = queue.device();
  CommandBuffer commands(queue);
  if (predicate) commands.set_predicate(predicate);
  const GraphOutputs outputs =
      graph.encode(commands, {{"x", image_of(device, {2, 6, 5, 3}, wave(180, 0.3))},
                              {"target", image_of(device, {2, 6, 5, 2}, wave(120, 0.2))}});
  commands.commit();
  commands.wait_until_completed();
  double sum = 0;
  for (const float value : read(outputs["loss"])) sum += static_cast<double>(value);
  return sum;
}

}  // namespace

TEST_CASE("metal: a convolution of integers is exact, with bias, stride and padding") {
  ConvolutionDescriptor descriptor;
  descriptor.kernel_width = descriptor.kernel_height = 2;
  descriptor.stride_in_pixels_x = 2;
  const auto source =
      std::make_shared<ConvolutionDataSource>(descriptor, Values{1, 2, 3, 4}, Values{10});
  // Same size, the odd pixel at the top left: row p reads rows p - 1 and p, column p 2p and 2p + 1.
  const Values got = run(ConvolutionNode(ImageNode("x"), source).result_image(), {1, 2, 4, 1},
                         {1, 2, 3, 4, 5, 6, 7, 8});
  CHECK_EQ(got, (Values{10 + 3 + 8, 10 + 9 + 16, 10 + 1 + 4 + 15 + 24, 10 + 3 + 8 + 21 + 32}));
}

TEST_CASE("metal: a neuron of the descriptor is applied to the result") {
  ConvolutionDescriptor descriptor;
  descriptor.kernel_width = descriptor.kernel_height = 1;
  descriptor.fused_neuron_descriptor = {.type = NeuronType::RELU, .a = 0.5F};
  const auto source = std::make_shared<ConvolutionDataSource>(descriptor, Values{2});
  CHECK_EQ(run(ConvolutionNode(ImageNode("x"), source).result_image(), {1, 1, 3, 1}, {-2, 0, 3}),
           (Values{-2, 0, 6}));
}

TEST_CASE("metal: scales and bias of an addition are applied, which MPS's graph ignores") {
  const ImageNode x("x");
  const AdditionNode node(x, x, {.primary_scale = 2, .secondary_scale = -3, .bias = 5});
  CHECK_EQ(run(node.result_image(), {2, 1, 2, 1}, {1, 2, 3, 4}), (Values{4, 3, 2, 1}));
}

TEST_CASE("metal: channels beyond a slice of four come back in order") {
  const ImageNode x("x");
  Values values(2 * 3 * 2 * 6);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  Values expected = values;
  for (float& value : expected) value = 2 * value + 1;
  CHECK_EQ(run(NeuronLinearNode(x, {.a = 2, .b = 1}).result_image(), {2, 3, 2, 6}, values),
           expected);
}

TEST_CASE("metal: what MPS cannot hold is refused with node and reason") {
  const ImageNode x("x");
  const auto refused = [&](const ImageNode& result, ImageSize size) -> std::string {
    const Device device = metal();
    const Graph graph(device, {result});
    CommandBuffer commands(device.command_queue());
    std::map<std::string, Image> sources;
    for (const std::string& handle : graph.source_handles())
      sources.emplace(handle, Image(device, size, DataType::FLOAT32));
    try {
      graph.encode(commands, sources);
    } catch (const UnsupportedError& error) {
      return error.what();
    }
    return "nothing";
  };
  const LanczosScaleNode scale(
      x, {.result_width = 3, .result_height = 3, .transform = {1, 1, 0, 0}, .label = "s"});
  CHECK_EQ(refused(scale.result_image(), {1, 2, 2, 1}),
           std::string("LanczosScaleNode \"s\": device \"metal-double\" cannot hold this node: "
                       "transform: Apple's header does not say what is read beyond the source, "
                       "where pixels of the result lie; the source is of (1, 2, 2, 1)"));
  const PadNode pad(x,
                    {.padding_size_after_x = 9, .edge_mode = ImageEdgeMode::MIRROR, .label = "p"});
  CHECK_EQ(refused(pad.result_image(), {1, 2, 2, 3}),
           std::string("PadNode \"p\": device \"metal-double\" cannot hold this node: "
                       "padding_size_after_x: MPS mirrors an image once, at most 1, got 9"));
}

TEST_CASE("metal: optimizers descend, and their steps are counted") {
  const std::vector<std::shared_ptr<Optimizer>> all = {
      std::make_shared<OptimizerStochasticGradientDescent>(0.01),
      std::make_shared<OptimizerStochasticGradientDescent>(0.01, 0.9),
      std::make_shared<OptimizerStochasticGradientDescent>(0.01, 0.9, true),
      std::make_shared<OptimizerAdam>(0.01),
      std::make_shared<OptimizerAdam>(0.01, 0.9, 0.999, 1e-8, 0, true),
      std::make_shared<OptimizerRMSProp>(0.01)};
  for (const auto& optimizer : all) {
    const Device device = metal();
    const auto source = weights(optimizer);
    const Graph graph = training(device, source);
    const CommandQueue queue = device.command_queue();
    const double first = step(graph, queue);
    double last = first;
    for (int i = 0; i < 3; ++i) last = step(graph, queue);
    CHECK(last < first);
    CHECK_EQ(device.time_step(*source), 4);
    bool has_cpu = false;
    for (const std::string& kind : Device::available()) has_cpu = has_cpu || kind == "cpu";
    if (!has_cpu) continue;
    const Device cpu("cpu");
    const auto other = weights(optimizer);
    const Graph reference = training(cpu, other);
    const CommandQueue other_queue = cpu.command_queue();
    for (int i = 0; i < 4; ++i) step(reference, other_queue);
    const Values got = device.read_parameter(*source, "weights");
    const Values expected = cpu.read_parameter(*other, "weights");
    for (std::size_t i = 0; i < got.size(); ++i) CHECK(std::abs(got[i] - expected[i]) < 2e-5F);
  }
}

TEST_CASE("metal: a predicate that is 0 skips an update and leaves the count") {
  const Device device = metal();
  const auto source = weights(std::make_shared<OptimizerAdam>(0.01));
  const Graph graph = training(device, source);
  const CommandQueue queue = device.command_queue();
  const Predicate predicate(device);
  step(graph, queue);
  const Values before = device.read_parameter(*source, "weights");
  predicate.set_value(0);
  step(graph, queue, predicate);
  CHECK_EQ(device.read_parameter(*source, "weights"), before);
  CHECK_EQ(device.time_step(*source), 1);
  predicate.set_value(1);
  step(graph, queue, predicate);
  CHECK(device.read_parameter(*source, "weights") != before);
  CHECK_EQ(device.time_step(*source), 2);
}

TEST_CASE("metal: a predicate is read on the device, in its turn") {
  const Device device = metal();
  const CommandQueue queue = device.command_queue();
  const Graph graph(device, {NeuronLinearNode(ImageNode("x"), {.a = 3}).result_image()});
  const Predicate predicate(device);
  const Image source = image_of(device, {1, 1, 1, 1}, {2});
  Values seen;
  for (const std::int32_t value : {1, 0}) {
    predicate.set_value(value);
    CommandBuffer commands(queue);
    commands.set_predicate(predicate);
    const GraphOutputs outputs = graph.encode(commands, {{"x", source}});
    outputs.results[0]->write(Values{-1}.data(), sizeof(float));
    commands.commit();
    seen.push_back(read(*outputs.results[0])[0]);
  }
  CHECK_EQ(seen, (Values{6, -1}));
}

TEST_CASE("metal: pieces of two buffers run in the order of their commits") {
  const Device device = metal();
  const CommandQueue queue = device.command_queue();
  const Graph graph(device, {NeuronLinearNode(ImageNode("x"), {.a = 2}).result_image()});
  CommandBuffer buffers[] = {CommandBuffer(queue), CommandBuffer(queue)};
  std::vector<Image> made;
  std::vector<int> order;
  for (int turn = 0; turn < 6; ++turn) {
    CommandBuffer& commands = buffers[turn % 2];
    const Image source = image_of(device, {1, 1, 1, 1}, {static_cast<float>(turn)});
    made.push_back(*graph.encode(commands, {{"x", source}}).results[0]);
    commands.add_completed_handler([&order, turn](CommandBuffer&) { order.push_back(turn); });
    commands.commit_and_continue();
  }
  for (CommandBuffer& commands : buffers) {
    commands.commit();
    commands.wait_until_completed();
  }
  for (int turn = 0; turn < 6; ++turn)
    CHECK_EQ(read(made[static_cast<std::size_t>(turn)])[0], static_cast<float>(2 * turn));
  CHECK_EQ(order, (std::vector<int>{0, 1, 2, 3, 4, 5}));
}

TEST_CASE("metal: graphs share weights that one of them trains or the host writes") {
  const Device device = metal();
  const CommandQueue queue = device.command_queue();
  const auto source = weights(std::make_shared<OptimizerAdam>(0.01));
  const Graph apply(device, {ConvolutionNode(ImageNode("x"), source).result_image()});
  const Graph graph = training(device, source);
  const Image ones = image_of(device, {1, 3, 3, 3}, Values(27, 1.0F));
  for (int i = 0; i < 2; ++i) {
    step(graph, queue);
    const Values now = device.read_parameter(*source, "weights");
    double sum = static_cast<double>(device.read_parameter(*source, "bias")[0]);
    for (std::size_t k = 0; k < 27; ++k) sum += static_cast<double>(now[k]);
    const Values got = run(apply, queue, ones);
    CHECK(std::abs(static_cast<double>(got[8]) - sum) < 1e-5);
  }
  device.write_parameter(*source, "weights", Values(54));
  device.write_parameter(*source, "bias", Values{4, 5});
  CHECK_EQ(run(apply, queue, ones)[8], 4.0F);
}

TEST_CASE("metal: no object is left when graphs and queues are gone") {
  std::vector<long> counts;
  for (int round = 0; round < 4; ++round) {
    {
      const Device device = metal();
      const CommandQueue queue = device.command_queue();
      const Graph graph = training(device, weights(std::make_shared<OptimizerAdam>(0.01)));
      for (int i = 0; i < 3; ++i) step(graph, queue);
    }
    metal().trim();
    counts.push_back(metal_double_objects());
  }
  CHECK_EQ(counts[2], counts[1]);
  CHECK_EQ(counts[3], counts[1]);
}
