// SPDX-License-Identifier: MIT
// States, data sources of one's own, training styles, padding policies and node handlers from C++.
#include "mpsnn/mpsnn.h"

#include <atomic>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "testing.h"

using namespace mpsnn;  // NOLINT: tests only

namespace {

using Values = std::vector<float>;

/// One pixel.
Image pixel(const Device& device, const Values& values) {
  return Image(device, {1, 1, 1, static_cast<std::int64_t>(values.size())}, DataType::FLOAT32,
               values.data());
}

Values read(const Image& image) {
  Values values(static_cast<std::size_t>(image.size().count()));
  image.read(values.data(), image.bytes());
  return values;
}

GraphOutputs run(const Graph& graph, const std::map<std::string, Image>& sources,
                 const std::map<std::string, SourceState>& states = {}) {
  CommandBuffer commands(CommandQueue(graph.device()));
  GraphOutputs outputs = graph.encode(commands, sources, states);
  commands.commit();
  commands.wait_until_completed();
  return outputs;
}

ConvolutionDescriptor two_to_one() {
  ConvolutionDescriptor descriptor;
  descriptor.kernel_width = descriptor.kernel_height = 1;
  descriptor.input_feature_channels = 2;
  return descriptor;
}

/// Weights that are asked for, and how often.
class Own : public ConvolutionDataSource {
 public:
  explicit Own(std::string label = "own")
      : ConvolutionDataSource(two_to_one(), true, std::move(label)) {}
  bool load() const override {
    ++loads;
    return is_there;
  }
  void purge() const override { ++purges; }
  Values values(std::string_view parameter) const override {
    if (parameter == "bias") return {1};
    return weights;
  }

  Values weights = {2, 3};
  bool is_there = true;
  mutable std::atomic<int> loads = 0, purges = 0;
};

/// v - g, by the host.
class ByHand : public Own {
 public:
  bool updates_itself(TrainingStyle style) const override {
    return style == TrainingStyle::UPDATE_DEVICE_CPU;
  }
  std::optional<ParameterValues> update_with_gradient_state(
      const ParameterValues& gradient_state, const ParameterValues& source_state) override {
    if (fails) throw std::runtime_error("no update today");
    ParameterValues changed = source_state;
    for (auto& [name, values] : changed) {
      for (std::size_t i = 0; i < values.size(); ++i) values[i] -= gradient_state.at(name)[i];
    }
    return changed;
  }
  bool fails = false;
};

/// v - g, by a node.
class OnDevice : public Own {
 public:
  bool updates_itself(TrainingStyle style) const override {
    return style == TrainingStyle::UPDATE_DEVICE_GPU;
  }
  std::optional<ParameterImages> update_with_command_buffer(
      CommandBuffer& commands, const ParameterImages& gradient_state,
      const ParameterImages& source_state) override {
    const ImageNode value("value"), slope("slope");
    const Graph step(gradient_state.at("bias").device(),
                     {SubtractionNode(value, slope).result_image()});
    ParameterImages changed;
    for (const auto& [name, image] : source_state) {
      const GraphOutputs made =
          step.encode(commands, {{"value", image}, {"slope", gradient_state.at(name)}});
      changed.emplace(name, *made.results[0]);
    }
    return changed;
  }
};

Graph forward(const Device& device, const std::shared_ptr<ConvolutionDataSource>& weights) {
  return Graph(device, {ConvolutionNode(ImageNode("x"), weights).result_image()});
}

Graph trainer(const Device& device, const std::shared_ptr<ConvolutionDataSource>& weights,
              TrainingStyle style) {
  FilterNode gradient = ConvolutionNode(ImageNode("x"), weights).gradient_filter(ImageNode("g"));
  gradient.set_training_style(style);
  return Graph(device, {gradient.result_image()}, std::vector<bool>{false});
}

}  // namespace

TEST_CASE("states: labels of a loss, and the loss in them") {
  const Device device("cpu");
  LossDescriptor descriptor;
  descriptor.reduction_type = ReductionType::SUM;
  const LossNode loss(ImageNode("y"), descriptor);
  loss.input_labels().set_handle("truth");
  const Graph graph(device, {loss.result_image()});
  CHECK_EQ(graph.source_state_handles(), std::vector<std::string>{"truth"});
  const Image weights = pixel(device, {1, 2, 3});
  const LossLabels labels(device, pixel(device, {1, 1, 1}), weights);
  CHECK_THROWS_CONTAINS(labels.loss_image(), StateError, "expected an encode with these labels");
  const GraphOutputs outputs = run(graph, {{"y", pixel(device, {3, 0, 2})}}, {{"truth", labels}});
  CHECK_EQ(read(*outputs.results[0]), (Values{4, -4, 6}));
  CHECK_EQ(read(labels.loss_image()), Values{4 + 2 + 3});
  CHECK_THROWS_CONTAINS(run(graph, {{"y", weights}}), InvalidArgumentError,
                        "labels for the state \"truth\", got none");
  CHECK_THROWS_CONTAINS(LossLabels(device, weights, pixel(device, {1})), InvalidArgumentError,
                        "weights: expected");
  LossNodeOptions options;
  options.weights = ImageNode("w");
  CHECK_THROWS_CONTAINS(LossNode(ImageNode("y"), descriptor, options), InvalidArgumentError,
                        "expected none without labels");
}

TEST_CASE("states: gradients of weights that are exported") {
  const Device device("cpu");
  const auto weights = std::make_shared<Own>();
  FilterNode gradient = ConvolutionNode(ImageNode("x"), weights).gradient_filter(ImageNode("g"));
  StateNode state = gradient.result_state();
  state.set_handle("slopes");
  state.set_export_from_graph(true);
  CHECK_EQ(state.names(), (std::vector<std::string>{"weights", "bias"}));
  const Graph graph(device, {gradient.result_image()});
  const GraphOutputs outputs =
      run(graph, {{"x", pixel(device, {5, 7})}, {"g", pixel(device, {2})}});
  CHECK_EQ(read(outputs.states.at("slopes").at("weights")), (Values{10, 14}));
  CHECK_EQ(read(outputs.states.at("slopes").at("bias")), Values{2});
  CHECK_THROWS_CONTAINS(NeuronReLUNode(ImageNode("x")).result_state(), InvalidArgumentError,
                        "result_state: expected a node that has a state");
}

TEST_CASE("data sources of one's own: loaded once, purged, read again") {
  const Device device("cpu");
  const auto weights = std::make_shared<Own>();
  const Graph graph = forward(device, weights);
  CHECK_EQ(weights->loads.load(), 1);
  CHECK_EQ(weights->purges.load(), 1);
  const Image x = pixel(device, {1, 10});
  CHECK_EQ(read(*run(graph, {{"x", x}}).results[0]), Values{33});
  weights->weights = {0, 1};
  CHECK_EQ(read(*run(graph, {{"x", x}}).results[0]), Values{33});
  graph.reload_from_data_sources();
  CHECK_EQ(read(*run(graph, {{"x", x}}).results[0]), Values{11});
  CHECK_EQ(weights->loads.load(), 2);
  CHECK_EQ(weights->purges.load(), 2);
  weights->weights = {1};
  CHECK_THROWS_CONTAINS(graph.reload_from_data_sources(), InvalidArgumentError,
                        "\"own\": values(\"weights\"): expected 2 values, got 1");
  CHECK_EQ(weights->purges.load(), 3);
  weights->is_there = false;
  CHECK_THROWS_CONTAINS(graph.reload_from_data_sources(), StateError,
                        "\"own\": load: expected true, got false");
  CHECK_EQ(weights->purges.load(), 3);
}

TEST_CASE("data sources of one's own: updates by the host and by the device") {
  const Device device("cpu");
  const Image x = pixel(device, {5, 7}), g = pixel(device, {2});
  const auto by_hand = std::make_shared<ByHand>();
  const auto on_device = std::make_shared<OnDevice>();
  CHECK(by_hand->is_updated());
  CHECK(!Own().is_updated());
  run(trainer(device, by_hand, TrainingStyle::UPDATE_DEVICE_CPU), {{"x", x}, {"g", g}});
  run(trainer(device, on_device, TrainingStyle::UPDATE_DEVICE_GPU), {{"x", x}, {"g", g}});
  for (const std::shared_ptr<Own>& weights :
       {std::shared_ptr<Own>(by_hand), std::shared_ptr<Own>(on_device)}) {
    CHECK_EQ(device.read_parameter(*weights, "weights"), (Values{2 - 10, 3 - 14}));
    CHECK_EQ(device.read_parameter(*weights, "bias"), Values{1 - 2});
    CHECK_EQ(device.time_step(*weights), 1);
  }
  by_hand->fails = true;
  const Graph step = trainer(device, by_hand, TrainingStyle::UPDATE_DEVICE_CPU);
  CHECK_THROWS_CONTAINS(run(step, {{"x", x}, {"g", g}}), DeviceError, "no update today");
  CHECK_THROWS_CONTAINS(
      run(trainer(device, by_hand, TrainingStyle::UPDATE_DEVICE_GPU), {{"x", x}, {"g", g}}),
      InvalidArgumentError, "training_style: expected UPDATE_DEVICE_CPU");
}

TEST_CASE("training styles: an optimizer run by the host") {
  const Device device("cpu");
  const auto weights = std::make_shared<ConvolutionDataSource>(
      two_to_one(), Values{2, 3}, std::nullopt, "w",
      std::make_shared<OptimizerStochasticGradientDescent>(0.5));
  run(trainer(device, weights, TrainingStyle::UPDATE_DEVICE_CPU),
      {{"x", pixel(device, {5, 7})}, {"g", pixel(device, {2})}});
  CHECK_EQ(device.read_parameter(*weights, "weights"), (Values{2 - 5, 3 - 7}));
}

namespace {

/// One row and column of zeros on each side.
class OneAround : public Padding {
 public:
  PaddingPlacement destination(const PaddingQuery& query) const override {
    return {query.source_height + 2 - query.kernel_height + 1,
            query.source_width + 2 - query.kernel_width + 1, query.kernel_height / 2 - 1,
            query.kernel_width / 2 - 1, ImageEdgeMode::ZERO};
  }
};

}  // namespace

TEST_CASE("padding policies: explicit ones and one's own") {
  const Device device("cpu");
  const Values values = {1, 2, 3, 4};
  const Image x(device, {1, 2, 2, 1}, DataType::FLOAT32, values.data());
  for (const PaddingPolicy& policy :
       {PaddingPolicy::with_pads(1, 1, 1, 1), PaddingPolicy::of(std::make_shared<OneAround>())}) {
    PoolingAverageNodeOptions options;
    options.kernel_width = 2;
    options.stride_in_pixels_x = options.stride_in_pixels_y = 1;
    options.padding_policy = policy;
    const PoolingAverageNode node(ImageNode("x"), options);
    CHECK_EQ(read(*run(Graph(device, {node.result_image()}), {{"x", x}}).results[0]),
             (Values{0.25, 0.75, 0.5, 1, 2.5, 1.5, 0.75, 1.75, 1}));
  }
  FilterNode node = PoolingMaxNode(ImageNode("x"), 2);
  CHECK_THROWS_CONTAINS(node.set_padding_policy({.method = PaddingMethod::CUSTOM}),
                        InvalidArgumentError, "the bit CUSTOM together");
  CHECK_THROWS_AS(PaddingPolicy::of(nullptr), InvalidArgumentError);
}

TEST_CASE("node handlers: another node in the place of a gradient node") {
  const Device device("cpu");
  const NeuronLinearNode node(ImageNode("x"), {.a = 3.0});
  const auto negate = [](FilterNode& gradient, const std::optional<FilterNode>&,
                         const std::optional<ImageNode>&,
                         const ImageNode&) { gradient = NeuronLinearNode(gradient, {.a = -1.0}); };
  const std::vector<FilterNode> ends = node.training_graph(ImageNode("g"), negate);
  REQUIRE(ends.size() == 1);
  const Graph graph(device, {ends[0].result_image()});
  const GraphOutputs outputs =
      run(graph, {{"x", pixel(device, {1, 2})}, {"g", pixel(device, {1, 10})}});
  CHECK_EQ(read(*outputs.results[0]), (Values{-3, -30}));
}

TEST_CASE("source states: a mask goes from graph to graph") {
  const Device device("cpu");
  DropoutNode node(ImageNode("x"), {.keep_probability = 0.5F, .seed = 3});
  node.result_state().set_handle("mask");
  node.result_state().set_export_from_graph(true);
  const Image x = pixel(device, Values(64, 1)), g = pixel(device, Values(64, 3));
  const GraphOutputs forward = run(Graph(device, {node.result_image()}), {{"x", x}});
  FilterNode gradient = node.gradient_filter(ImageNode("g"));
  const StateNode state = gradient.use_source_state("given");
  CHECK_EQ(state.names(), (std::vector<std::string>{"mask"}));
  const Graph graph(device, {gradient.result_image()});
  CHECK_EQ(graph.source_state_handles(), (std::vector<std::string>{"given"}));
  const StateArrays& mask = forward.states.at("mask");
  Values wanted = read(mask.at("mask"));
  for (float& value : wanted) value *= 3;
  CHECK_EQ(read(*run(graph, {{"x", x}, {"g", g}}, {{"given", mask}}).results[0]), wanted);
  CHECK_THROWS_CONTAINS(run(graph, {{"x", x}, {"g", g}}, {{"given", LossLabels(device, x)}}),
                        InvalidArgumentError, "the arrays \"mask\", got a LossLabels");
}
