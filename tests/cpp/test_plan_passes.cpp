// SPDX-License-Identifier: MIT
// What each pass of the planner does to small graphs.
#include "base/attributes.h"
#include "graph_fixtures.h"
#include "testing.h"

namespace {

using namespace fixtures;
using graph::kNoValue;
using graph::Operation;
using graph::Plan;
using graph::Value;
using graph::ValueKind;
using Names = std::vector<std::string>;

/// Two convolutions with neurons and a loss: the usual small net.
struct Net {
  ImageNode source{"source"}, labels{"labels"};
  std::shared_ptr<ConvolutionDataSource> first_data = weights(3, 4, "conv0", adam());
  std::shared_ptr<ConvolutionDataSource> second_data = weights(4, 3, "conv1", adam());
  FilterNode first_conv = convolution(source, first_data);
  FilterNode first_neuron = relu(first_conv);
  FilterNode second_conv = convolution(first_neuron, second_data);
  FilterNode end = loss(second_conv, labels);

  std::vector<TensorDesc> sizes() const { return {image(2, 8, 8, 3), image(2, 8, 8, 3)}; }
  Plan training(bool needed = false, const KernelChooser& chooser = FakeChooser()) const {
    return plan(results_of(train(end)), needed, sizes(), chooser);
  }
};

const Value& output(const Plan& plan, const Operation& operation, std::size_t i = 0) {
  return plan.values[operation.outputs[i]];
}

}  // namespace

TEST_CASE("lowering: a training step's operations, in order") {
  const Plan planned = Net().training();
  std::vector<std::string> got;
  for (const Operation& operation : planned.operations) got.push_back(graph::describe(operation));
  CHECK_EQ(got, (Names{"convolution + relu", "convolution", "fill", "loss_gradient",
                       "convolution_weights_gradient", "optimizer_adam",
                       "convolution_data_gradient", "optimizer_adam", "neuron_gradient",
                       "convolution_weights_gradient", "optimizer_adam", "optimizer_adam"}));
  CHECK(planned.flops() > 0);
  for (const Operation& operation : planned.operations) CHECK(operation.bytes > 0);
}

TEST_CASE("lowering: flops of convolutions and their gradients") {
  const Plan planned = Net().training();
  const std::uint64_t macs = 2 * 8 * 8 * 4 * 3 * 9;  // images, rows, columns, out, in, taps
  CHECK_EQ(first(planned, OpId::convolution).flops, 2 * macs);
  CHECK_EQ(first(planned, OpId::convolution_data_gradient).flops, 2 * macs);
  CHECK_EQ(first(planned, OpId::convolution_weights_gradient).flops, 2 * macs);
}

TEST_CASE("pruning: what is not needed is not computed") {
  const Net net;
  // The loss's value and the gradient of the source image are not asked for.
  CHECK_EQ(count(net.training(false), OpId::loss), 0);
  CHECK_EQ(count(net.training(false), OpId::convolution_data_gradient), 1);
  CHECK_EQ(count(net.training(true), OpId::convolution_data_gradient), 2);
  const Plan inference = plan({net.second_conv}, true, {image(2, 8, 8, 3)});
  CHECK_EQ(inference.operations.size(), 2);
  CHECK(plan({net.second_conv}, false, {image(2, 8, 8, 3)}).operations.empty());
}

TEST_CASE("pruning: frozen weights cost nothing") {
  const Net net;
  net.first_data->set_trainable(false);
  const Plan planned = net.training();
  CHECK_EQ(labels(planned, OpId::convolution_weights_gradient), Names{"conv1.gradient"});
  CHECK_EQ(count(planned, OpId::convolution_data_gradient), 0);  // nobody before needs it
  CHECK_EQ(labels(planned, OpId::optimizer_adam), (Names{"conv1.weights", "conv1.bias"}));
  net.second_data->set_optimizer(nullptr);
  CHECK(net.training().operations.empty());
}

TEST_CASE("training style NONE: gradients pass, weights stay") {
  const Net net;
  const std::vector<FilterNode> ends =
      train(net.end, [&](FilterNode& gradient, const std::optional<FilterNode>& inference,
                         const std::optional<ImageNode>&, const ImageNode&) {
        if (inference == net.second_conv)
          gradient.set_training_style(TrainingStyle::UPDATE_DEVICE_NONE);
      });
  const Plan planned = plan(results_of(ends), false, net.sizes());
  CHECK_EQ(labels(planned, OpId::convolution_weights_gradient), Names{"conv0.gradient"});
  CHECK_EQ(labels(planned, OpId::convolution_data_gradient), Names{"conv1.gradient"});
}

TEST_CASE("updates: operands of Adam, and of gradient descent with and without momentum") {
  const Net net;
  const Plan planned = net.training();
  const auto names_of = [](const Plan& of, const std::vector<graph::ValueId>& ids) {
    Names names;
    for (const graph::ValueId id : ids) names.push_back(of.values[id].name);
    return names;
  };
  const Operation& update =
      planned.operations[index_of(planned, OpId::optimizer_adam, "conv1.weights")];
  CHECK_EQ(names_of(planned, update.inputs),
           (Names{"conv1.weights", "conv1.gradient.weights", "conv1.weights.version",
                  "conv1.weights.time_step", "conv1.weights.momentum", "conv1.weights.velocity"}));
  CHECK_EQ(names_of(planned, update.outputs),
           (Names{"conv1.weights", "conv1.weights.version", "conv1.weights.time_step",
                  "conv1.weights.momentum", "conv1.weights.velocity"}));
  CHECK(update.optimizer == net.second_data->optimizer());
  CHECK(planned.values[update.inputs[2]].desc == (TensorDesc{DataType::INT64, {1}, nullptr}));
  CHECK_EQ(planned.values[update.inputs[4]].parameter, std::string("weights.momentum"));
  CHECK(get_float(update.attributes, "beta2") == 0.999);

  net.second_data->set_optimizer(std::make_shared<OptimizerStochasticGradientDescent>(0.1));
  const Plan plain = net.training();
  CHECK_EQ(first(plain, OpId::optimizer_stochastic_gradient_descent).inputs.size(), 3);
  net.second_data->set_optimizer(std::make_shared<OptimizerStochasticGradientDescent>(0.1, 0.9));
  const Plan momentum = net.training();
  CHECK_EQ(names_of(momentum, first(momentum, OpId::optimizer_stochastic_gradient_descent).outputs)
               .back(),
           std::string("conv1.bias.momentum"));
}

TEST_CASE("updates: gradients of a shared data source are added, then applied once") {
  const ImageNode source("source");
  const auto shared = weights(2, 2, "shared", adam());
  const FilterNode end = convolution(convolution(convolution(source, shared), shared), shared);
  const Plan planned = plan(results_of(train(end)), false, {image(1, 4, 4, 2)});
  CHECK_EQ(labels(planned, OpId::optimizer_adam), (Names{"shared.weights", "shared.bias"}));
  CHECK_EQ(labels(planned, OpId::addition),
           (Names{"shared.weights.gradient_sum", "shared.bias.gradient_sum",
                  "shared.weights.gradient_sum", "shared.bias.gradient_sum"}));
  const Operation& last =
      planned.operations[index_of(planned, OpId::optimizer_adam, "shared.weights")];
  CHECK_EQ(planned.values[last.inputs[1]].desc.dims, (std::vector<std::int64_t>{2, 3, 3, 2}));
}

TEST_CASE("updates stand behind every reader of the parameter") {
  const ImageNode source("source");
  const auto shared = weights(2, 2, "shared", adam());
  const FilterNode first_conv = convolution(source, shared);
  const FilterNode frozen_end = relu(convolution(first_conv, shared));
  std::vector<ImageNode> results = results_of(train(frozen_end));
  const FilterNode after =
      convolution(relu(results[0]), shared);  // reads the weights after the gradients
  const Plan planned = plan({after}, true, {image(1, 4, 4, 2)});
  CHECK_EQ(planned.operations.back().op, OpId::optimizer_adam);
  CHECK(index_of(planned, OpId::optimizer_adam, "shared.weights") >
        index_of(planned, OpId::convolution, after.label()));
}

TEST_CASE("fusion: convolution, bias and neuron become one; the gradient reads the result") {
  const Plan planned = Net().training();
  CHECK_EQ(count(planned, OpId::neuron), 0);
  const Operation& fused = first(planned, OpId::convolution);
  CHECK_EQ(get_int(fused.attributes, "neuron_type"), 1);
  CHECK_EQ(fused.inputs.size(), 3);
  const Operation& gradient = first(planned, OpId::neuron_gradient);
  CHECK(get_bool(gradient.attributes, "from_result"));
  CHECK_EQ(gradient.inputs[1], fused.outputs[0]);
}

TEST_CASE("fusion: parameters of ReLUN go into the convolution") {
  const ImageNode source("source");
  const FilterNode conv = convolution(source, weights(1, 1, "conv", nullptr, 3, false));
  const Plan planned =
      plan({node("NeuronReLUNNode", {conv}, {{"a", 0.0}, {"b", 6.0}})}, true, {image(1, 4, 4, 1)});
  REQUIRE(planned.operations.size() == 1);
  CHECK_EQ(graph::describe(planned.operations[0]), std::string("convolution + relun"));
  CHECK_EQ(get_float(planned.operations[0].attributes, "neuron_b"), 6.0);
  CHECK_EQ(planned.operations[0].inputs.size(), 2);  // no bias
}

TEST_CASE(
    "fusion: not where the convolution's result is read, exported or a result, nor for PReLU") {
  const ImageNode source("source");
  const std::vector<TensorDesc> sizes = {image(1, 4, 4, 1)};
  const auto make = [&] { return convolution(source, weights(1, 1, "conv")); };
  const FilterNode read_twice = make();
  CHECK_EQ(count(plan({node("AdditionNode", {relu(read_twice), read_twice})}, true, sizes),
                 OpId::neuron),
           1);
  const FilterNode a_result = make();
  CHECK_EQ(count(plan({relu(a_result), a_result}, true, sizes), OpId::neuron), 1);
  const FilterNode exported = make();
  exported.result_image().set_handle("inner");
  exported.result_image().set_export_from_graph(true);
  CHECK_EQ(count(plan({relu(exported)}, true, sizes), OpId::neuron), 1);
  const FilterNode prelu = node("NeuronPReLUNode", {make()}, {{"a", std::vector<double>{0.5}}});
  CHECK_EQ(count(plan({prelu}, true, sizes), OpId::neuron), 1);
  CHECK_EQ(count(plan({relu(relu(make()))}, true, sizes), OpId::neuron),
           1);  // one neuron a convolution
  CHECK_EQ(count(plan({relu(make())}, true, sizes), OpId::neuron), 0);
}

TEST_CASE("fusion: a slope below 0 hides the sign, so the gradient keeps the source") {
  const ImageNode source("source");
  const auto build = [&](double a) {
    const FilterNode neuron = relu(convolution(source, weights(1, 1, "conv0", adam())), a);
    return plan(results_of(train(convolution(neuron, weights(1, 1, "conv1", adam())))), false,
                {image(1, 4, 4, 1)});
  };
  CHECK_EQ(count(build(-0.5), OpId::neuron), 1);
  CHECK(!get_bool(first(build(-0.5), OpId::neuron_gradient).attributes, "from_result"));
  CHECK_EQ(count(build(0.5), OpId::neuron), 0);
}

TEST_CASE(
    "layouts: one copy a parameter and layout, kept with the parameter and made before its "
    "reader") {
  FakeChooser chooser;
  chooser.weights_layout = {{OpId::convolution, "blocked"}};
  Net net;
  const Plan planned = plan({net.second_conv.result_image()}, true, {image(2, 8, 8, 3)}, chooser);
  CHECK_EQ(labels(planned, OpId::parameter_layout),
           (Names{"conv0.weights@blocked", "conv1.weights@blocked"}));
  const Operation& copy = first(planned, OpId::parameter_layout);
  REQUIRE(copy.inputs.size() == 3 && copy.outputs.size() == 2);
  CHECK_EQ(planned.values[copy.inputs[0]].parameter, std::string("weights"));
  CHECK_EQ(planned.values[copy.inputs[1]].parameter, std::string("weights.version"));
  CHECK_EQ(planned.values[copy.inputs[2]].parameter, std::string("weights@blocked.version"));
  CHECK_EQ(planned.values[copy.outputs[0]].parameter, std::string("weights@blocked"));
  CHECK_EQ(copy.outputs[1], copy.inputs[2]);
  const Value& blocked = output(planned, copy);
  CHECK(blocked.kind == ValueKind::PARAMETER);
  CHECK_EQ(blocked.desc.layout->name, std::string("blocked"));
  CHECK_EQ(planned.operations[1].inputs[1], copy.outputs[0]);
}

TEST_CASE("layouts: copies of a parameter that the plan updates are temporaries") {
  FakeChooser chooser;
  chooser.weights_layout = {{OpId::convolution, "blocked"},
                            {OpId::convolution_data_gradient, "turned"}};
  const Plan planned = Net().training(false, chooser);
  CHECK_EQ(labels(planned, OpId::parameter_layout),
           (Names{"conv0.weights@blocked", "conv1.weights@blocked", "conv1.weights@turned"}));
  for (const Operation& operation : planned.operations) {
    if (operation.op != OpId::parameter_layout) continue;
    REQUIRE(operation.inputs.size() == 1 && operation.outputs.size() == 1);
    CHECK_EQ(planned.values[operation.inputs[0]].parameter, std::string("weights"));
    CHECK(output(planned, operation).kind == ValueKind::TEMPORARY);
  }
  CHECK(index_of(planned, OpId::optimizer_adam, "conv1.weights") >
        index_of(planned, OpId::parameter_layout, "conv1.weights@turned"));
}

TEST_CASE("layouts: shared by the operations that want the same") {
  FakeChooser chooser;
  chooser.weights_layout = {{OpId::convolution, "blocked"},
                            {OpId::convolution_data_gradient, "blocked"}};
  CHECK_EQ(labels(Net().training(false, chooser), OpId::parameter_layout),
           (Names{"conv0.weights@blocked", "conv1.weights@blocked"}));
}

FilterNode transposed(const ImageNode& source, const std::shared_ptr<ConvolutionDataSource>& data) {
  return FilterNode("ConvolutionTransposeNode", std::vector<ImageNode>{source}, {}, data);
}

TEST_CASE("kept: what is made of a parameter alone is kept beside it, and shared") {
  FakeChooser chooser;
  chooser.weights_layout = {{OpId::convolution_data_gradient, "blocked"}};
  const ImageNode source("source");
  const auto data = weights(3, 3, "conv0");
  const FilterNode end = transposed(transposed(source, data), data);
  const Plan planned = plan({end.result_image()}, true, {image(2, 8, 8, 3)}, chooser);
  REQUIRE(count(planned, OpId::transposed_weights) == 1);
  const Operation& made = first(planned, OpId::transposed_weights);
  REQUIRE(made.inputs.size() == 3 && made.outputs.size() == 2);
  CHECK_EQ(planned.values[made.inputs[1]].parameter, std::string("weights.version"));
  CHECK_EQ(planned.values[made.outputs[0]].parameter, std::string("weights@transposed.1"));
  CHECK_EQ(planned.values[made.outputs[1]].parameter, std::string("weights@transposed.1.version"));
  CHECK_EQ(made.outputs[1], made.inputs[2]);
  // A copy of it in a layout follows its version.
  REQUIRE(count(planned, OpId::parameter_layout) == 1);
  const Operation& copy = first(planned, OpId::parameter_layout);
  CHECK_EQ(copy.inputs[0], made.outputs[0]);
  CHECK_EQ(copy.inputs[1], made.outputs[1]);
  CHECK_EQ(planned.values[copy.outputs[0]].parameter, std::string("weights@transposed.1@blocked"));
}

TEST_CASE("kept: not where the plan updates the parameter") {
  const ImageNode source("source"), labels("labels");
  const FilterNode middle = transposed(source, weights(3, 3, "conv0", adam()));
  const FilterNode end = loss(transposed(middle, weights(3, 3, "conv1", adam())), labels);
  const Plan planned = plan(results_of(train(end)), false, {image(2, 8, 8, 3), image(2, 8, 8, 3)});
  for (const Operation& operation : planned.operations) {
    if (operation.op != OpId::transposed_weights) continue;
    CHECK_EQ(operation.inputs.size(), std::size_t{1});
    CHECK(output(planned, operation).kind != ValueKind::PARAMETER);
  }
}

TEST_CASE("scratch memory is in the heap while its operation runs") {
  FakeChooser chooser;
  chooser.scratch_bytes = {{OpId::convolution, 1000}};
  const Plan planned = Net().training(false, chooser);
  const std::size_t at = index_of(planned, OpId::convolution, "conv1");
  const Value& scratch = planned.values[planned.operations[at].scratch];
  CHECK(scratch.kind == ValueKind::TEMPORARY);
  CHECK_EQ(scratch.desc.bytes(), 1000);
  CHECK_EQ(scratch.first, at);
  CHECK_EQ(scratch.last, at);
}

TEST_CASE("kernels: a refusal reaches the caller with the node's name") {
  FakeChooser chooser;
  chooser.refused = {OpId::loss_gradient};
  CHECK_THROWS_CONTAINS(Net().training(false, chooser), UnsupportedError,
                        "loss_gradient: no kernel");
}

TEST_CASE("results: names, kinds, the same image twice") {
  Net net;
  net.second_conv.result_image().set_handle("prediction");
  const Plan planned = plan({net.second_conv, net.second_conv}, true, {image(2, 8, 8, 3)});
  CHECK_EQ(planned.results[0], planned.results[1]);
  const Value& result = planned.values[planned.results[0]];
  CHECK(result.kind == ValueKind::RESULT);
  CHECK_EQ(result.name, std::string("prediction"));
  CHECK_EQ(plan({net.second_conv}, false, {image(2, 8, 8, 3)}).results[0], kNoValue);
}

TEST_CASE("results: an identity gets memory of its own where two would share") {
  const ImageNode a("a"), b("b"), gradient("gradient");
  const std::vector<FilterNode> both = node("AdditionNode", {a, b}).gradient_filters(gradient);
  const FilterNode made = relu(gradient);
  const std::vector<TensorDesc> sizes = {image(1, 4, 4, 2), image(1, 4, 4, 2), image(1, 4, 4, 2)};
  // The gradient is a source: both results are copies.
  const Plan of_source = plan(results_of(both), true, sizes);
  CHECK_EQ(count(of_source, OpId::slice), 2);
  CHECK(of_source.results[0] != of_source.results[1]);
  // Made by a node: the first takes the value itself.
  const std::vector<FilterNode> of_made = node("AdditionNode", {a, b}).gradient_filters(made);
  const Plan copied = plan(results_of(of_made), true, sizes);
  CHECK_EQ(count(copied, OpId::slice), 1);
  CHECK_EQ(count(plan({of_made[0]}, true, sizes), OpId::slice), 0);
}

TEST_CASE("exported: the same value is not made twice, sources are copied") {
  const ImageNode source = ImageNode::exported("source");
  const FilterNode neuron = relu(source);
  neuron.result_image().set_handle("inner");
  neuron.result_image().set_export_from_graph(true);
  const Plan planned = plan({relu(neuron)}, true, {image(1, 4, 4, 1)});
  REQUIRE(planned.exported.size() == 2);
  CHECK_EQ(planned.values[planned.exported[0]].name, std::string("source"));
  CHECK_EQ(count(planned, OpId::slice), 1);
  CHECK_EQ(planned.exported[1], first(planned, OpId::neuron).outputs[0]);
}

TEST_CASE("addition's gradient: no operation where it is the identity") {
  const ImageNode a("a"), b("b"), gradient("gradient");
  const auto gradients = [&](AttributeMap scales, TensorDesc second) {
    const std::vector<FilterNode> both =
        node("AdditionNode", {a, b}, scales).gradient_filters(relu(gradient));
    return plan({relu(both[0]), relu(both[1])}, true,
                {image(1, 4, 4, 2), image(1, 4, 4, 2), second});
  };
  CHECK_EQ(count(gradients({}, image(1, 4, 4, 2)), OpId::addition_gradient), 0);
  CHECK_EQ(count(gradients({}, image(1, 1, 1, 2)), OpId::addition_gradient),
           1);  // summed over rows, columns
  const Plan scaled = gradients({{"secondary_scale", -2.0}, {"bias", 3.0}}, image(1, 4, 4, 2));
  CHECK_EQ(count(scaled, OpId::addition_gradient), 1);
  CHECK_EQ(get_float(first(scaled, OpId::addition_gradient).attributes, "scale"), -2.0);
}

TEST_CASE("concatenation's gradient: slices at the sources' offsets") {
  const ImageNode a("a"), b("b"), gradient("gradient");
  const std::vector<FilterNode> both = node("ConcatenationNode", {a, b}).gradient_filters(gradient);
  const Plan planned =
      plan(results_of(both), true, {image(1, 4, 4, 8), image(1, 4, 4, 3), image(1, 4, 4, 5)});
  REQUIRE(planned.operations.size() == 2);
  CHECK_EQ(get_int(planned.operations[0].attributes, "channel_offset"), 0);
  CHECK_EQ(get_int(planned.operations[1].attributes, "channel_offset"), 3);
  CHECK_EQ(output(planned, planned.operations[1]).desc.image(), (ImageSize{1, 4, 4, 5}));
}

TEST_CASE("formats: a result's type is its own, an alias of another type is converted") {
  const ImageNode source("source");
  const FilterNode neuron = relu(source);
  neuron.result_image().set_format(DataType::FLOAT16);
  const Plan planned = plan({relu(neuron)}, true, {image(1, 4, 4, 1)});
  CHECK(planned.values[planned.results[0]].desc.type == DataType::FLOAT16);  // that of its source
  const FilterNode added = node("AdditionNode", {source, source}).gradient_filter(neuron);
  added.result_image().set_format(DataType::FLOAT32);
  CHECK_EQ(count(plan({added}, true, {image(1, 4, 4, 1)}), OpId::addition_gradient), 1);
}

TEST_CASE("the same graph gives the same plan, as text and as a drawing") {
  const Net net;
  const std::string text = graph::to_text(net.training(true));
  CHECK_EQ(text, graph::to_text(net.training(true)));
  CHECK(text.find("conv0  convolution + relu  [fake]") != std::string::npos);
  CHECK(text.find("%0 source, ") != std::string::npos);
  CHECK(text.find("bytes in a heap of") != std::string::npos);
  const std::string dot = graph::to_dot(net.training(true));
  CHECK(dot.starts_with("digraph plan {"));
  CHECK(dot.find("conv0\\nconvolution + relu\\nfake") != std::string::npos);
}
