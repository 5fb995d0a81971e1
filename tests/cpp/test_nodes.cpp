// SPDX-License-Identifier: MIT
// The node table, and nodes and data sources as the user makes them.
#include <limits>
#include <set>

#include "graph/node_table.h"
#include "graph_fixtures.h"
#include "testing.h"

namespace {

using namespace fixtures;

std::int64_t value(ImageEdgeMode mode) { return static_cast<std::int64_t>(mode); }

ConvolutionDescriptor descriptor(std::int64_t in, std::int64_t out) {
  ConvolutionDescriptor made;
  made.input_feature_channels = in;
  made.output_feature_channels = out;
  return made;
}

}  // namespace

TEST_CASE("node table: every row is complete and every name is there once") {
  std::set<std::string_view> names, apple_names;
  for (const graph::NodeClass& row : graph::node_classes()) {
    CHECK(names.insert(row.name).second);
    CHECK(row.name.ends_with("Node"));
    // Nodes of our own have no name there.
    CHECK(row.apple.empty() || apple_names.insert(row.apple).second);
    CHECK(row.apple.empty() || row.apple.ends_with(row.name));
    CHECK(!row.family.empty() && !row.brief.empty() && !row.doc.empty() && !row.sources.empty());
    CHECK(!row.brief.ends_with('.'));
    CHECK(row.shape != nullptr && row.lower != nullptr);
    CHECK_EQ(row.gradient, row.name.ends_with("GradientNode") && row.name != "InitialGradientNode");
    CHECK_EQ(graph::find_node_class(row.name), &row);
  }
  CHECK(names.contains("ConvolutionNode") && names.contains("SubtractionGradientNode"));
  CHECK(graph::find_node_class("NoSuchNode") == nullptr);
}

TEST_CASE("node table: sources and attributes can be turned into constructors") {
  for (const graph::NodeClass& row : graph::node_classes()) {
    std::set<std::string_view> names;
    for (std::size_t i = 0; i < row.sources.size(); ++i) {
      CHECK(!row.sources[i].doc.empty() && names.insert(row.sources[i].name).second);
      CHECK(!row.sources[i].variadic || i + 1 == row.sources.size());
      CHECK(i == 0 || !row.sources[i - 1].optional || row.sources[i].optional);
    }
    bool had_default = false;
    for (const graph::AttributeSpec& spec : row.attributes) {
      CHECK(!spec.doc.empty());
      CHECK(spec.default_from.empty() || names.contains(spec.default_from));
      CHECK(names.insert(spec.name).second);
      CHECK(!had_default || !spec.required());
      had_default = !spec.required();
      if (spec.type == graph::AttributeType::ENUM)
        REQUIRE(graph::find_enum_class(spec.enum_name) != nullptr);
    }
  }
}

TEST_CASE("enumerations: values of the public header") {
  CHECK_EQ(graph::enumerator_name("NeuronType", 11), std::string("RELUN"));
  CHECK_EQ(graph::enumerator_name("LossType", 6), std::string("HUBER"));
  CHECK_EQ(graph::enumerator_name("LossType", 99), std::string("99"));
  CHECK(graph::find_enum_class("NoSuch") == nullptr);
}

TEST_CASE("node: defaults, fixed attributes and derived defaults are filled in") {
  const ImageNode source("source");
  const FilterNode pool = node("PoolingMaxNode", {source}, {{"kernel_width", std::int64_t{2}}});
  for (const char* name : {"kernel_height", "stride_in_pixels_x", "stride_in_pixels_y"}) {
    CHECK(pool.attribute(name) == AttributeValue(std::int64_t{2}));
  }
  CHECK(pool.attribute("edge_mode") == AttributeValue(value(ImageEdgeMode::CLAMP)));
  const FilterNode neuron =
      node("NeuronReLUNode", {source}, {{"a", std::int64_t{2}}});  // an integer is a number
  CHECK(neuron.attribute("a") == AttributeValue(2.0));
  CHECK(neuron.attribute("neuron_type") == AttributeValue(std::int64_t{1}));
  // What attributes() gives, the constructor takes: archives rely on it.
  CHECK(FilterNode("NeuronReLUNode", neuron.sources(), neuron.attributes()).attributes() ==
        neuron.attributes());
  CHECK_THROWS_CONTAINS(neuron.attribute("b"), InvalidArgumentError, "\"b\"");
}

TEST_CASE("node: labels") {
  const ImageNode source("source");
  const FilterNode first = relu(source), second = relu(first);
  CHECK_EQ(first.label(), std::string("NeuronReLU1"));
  CHECK_EQ(second.label(), std::string("NeuronReLU2"));
  CHECK_EQ(convolution(source, weights(1, 1, "enc0.1")).label(), std::string("enc0.1"));
  FilterNode named = relu(source);
  named.set_label("mine");
  CHECK_EQ(named.label(), std::string("mine"));
}

TEST_CASE("node: images know their filters and their flags") {
  ImageNode source("source");
  CHECK(!source.producer().has_value());
  const FilterNode filter = relu(source);
  CHECK(filter.result_image().producer() == filter);
  CHECK(filter.result_image() == filter.result_image());
  CHECK(!(source == ImageNode("source")));
  source.set_handle("renamed");
  CHECK_EQ(filter.sources()[0].handle(), std::string("renamed"));
  CHECK(ImageNode::exported("out").export_from_graph());
  CHECK(!source.stop_gradient() && !source.export_from_graph() && !source.format().has_value());
}

TEST_CASE("node: an image keeps alive all that makes it") {
  ImageNode last("none");
  {
    const ImageNode source("source");
    last = relu(relu(source));
  }
  const ImageNode before = last.producer()->sources()[0];
  CHECK_EQ(before.producer()->sources()[0].handle(), std::string("source"));
}

TEST_CASE("node: bad arguments name class, label and argument") {
  const ImageNode source("source");
  CHECK_THROWS_CONTAINS(node("NoSuchNode", {source}), InvalidArgumentError, "\"NoSuchNode\"");
  CHECK_THROWS_CONTAINS(node("NeuronReLUNode", {}), InvalidArgumentError,
                        "NeuronReLUNode \"NeuronReLU1\": sources: expected 1 (source), got 0");
  CHECK_THROWS_CONTAINS(node("NeuronReLUNode", {source, source}), InvalidArgumentError, "got 2");
  CHECK_THROWS_CONTAINS(node("ConcatenationNode", {}), InvalidArgumentError, "at least 1");
  CHECK_THROWS_CONTAINS(node("ForwardLossNode", {source}, {{"loss_type", std::int64_t{0}}}),
                        InvalidArgumentError, "at least 2 (predictions, labels, weights?), got 1");
  CHECK_THROWS_CONTAINS(node("NeuronReLUNode", {ImageNode(std::shared_ptr<graph::ImageRecord>())}),
                        InvalidArgumentError, "source 0: expected an image node, got none");
  CHECK_THROWS_CONTAINS(node("NeuronReLUNode", {source}, {{"slope", 1.0}}), InvalidArgumentError,
                        "slope");
  CHECK_THROWS_CONTAINS(node("InitialGradientNode", {source}, {{"slope", 1.0}}),
                        InvalidArgumentError, "expected no arguments, got an argument slope");
  CHECK_THROWS_CONTAINS(node("PoolingMaxNode", {source}), InvalidArgumentError,
                        "PoolingMaxNode \"PoolingMax1\": expected argument kernel_width, got none");
  CHECK_THROWS_CONTAINS(node("PoolingMaxNode", {source}, {{"kernel_width", 2.0}}),
                        InvalidArgumentError, "kernel_width: expected an integer, got 2");
  CHECK_THROWS_CONTAINS(node("NeuronReLUNode", {source}, {{"a", true}}), InvalidArgumentError,
                        "a: expected a number, got true");
  CHECK_THROWS_CONTAINS(node("NeuronPReLUNode", {source}, {{"a", 0.5}}), InvalidArgumentError,
                        "a: expected a list of numbers, got 0.5");
  CHECK_THROWS_CONTAINS(node("NeuronReLUNode", {source}, {{"neuron_type", std::int64_t{2}}}),
                        InvalidArgumentError, "neuron_type: expected 1, got 2");
}

TEST_CASE("node: values out of range") {
  const ImageNode source("source");
  const double infinity = std::numeric_limits<double>::infinity();
  CHECK_THROWS_CONTAINS(node("PoolingMaxNode", {source}, {{"kernel_width", std::int64_t{0}}}),
                        InvalidArgumentError, "kernel_width: expected >= 1, got 0");
  CHECK_THROWS_AS(relu(source, std::numeric_limits<double>::quiet_NaN()), InvalidArgumentError);
  CHECK_THROWS_AS(relu(source, infinity), InvalidArgumentError);
  CHECK_THROWS_AS(node("NeuronPReLUNode", {source}, {{"a", std::vector<double>{0.1, infinity}}}),
                  InvalidArgumentError);
  CHECK_THROWS_CONTAINS(
      node("AdditionNode", {source, source}, {{"minimum_value", 1.0}, {"maximum_value", 0.0}}),
      InvalidArgumentError, "maximum_value: expected >= 1, got 0");
  CHECK_THROWS_CONTAINS(
      node("ConcatenationGradientNode", {source, source}, {{"source_index", std::int64_t{1}}}),
      InvalidArgumentError, "source_index: expected less than 1, got 1");
}

TEST_CASE("node: enumerators that are not there, and those that are not supported") {
  const ImageNode source("source");
  const auto with_loss = [&](std::int64_t type) {
    return node("ForwardLossNode", {source, source}, {{"loss_type", type}});
  };
  CHECK_THROWS_CONTAINS(node("ConvolutionNode", {source},
                             {{"edge_mode", value(ImageEdgeMode::CONSTANT)}}, weights(1, 1, "w")),
                        UnsupportedError, "edge_mode: expected ZERO or CLAMP, got CONSTANT");
  CHECK_THROWS_CONTAINS(with_loss(77), InvalidArgumentError, "a value of LossType, got 77");
  CHECK_THROWS_AS(
      node("PoolingMaxNode", {source},
           {{"kernel_width", std::int64_t{2}}, {"edge_mode", value(ImageEdgeMode::MIRROR)}}),
      UnsupportedError);
}

TEST_CASE("node: weights must be there where the class takes them") {
  const ImageNode source("source");
  CHECK_THROWS_CONTAINS(node("ConvolutionNode", {source}), InvalidArgumentError,
                        "weights: expected ConvolutionDataSource, got none");
  CHECK_THROWS_CONTAINS(node("NeuronReLUNode", {source}, {}, weights(1, 1, "w")),
                        InvalidArgumentError, "weights: expected none, got ConvolutionDataSource");
}

TEST_CASE("node: padding policy and training style") {
  const ImageNode source("source");
  FilterNode filter = convolution(source, weights(1, 1, "w"));
  CHECK_EQ(filter.padding_policy().method, PaddingMethod::SIZE_SAME);
  filter.set_padding_policy({PaddingMethod::SIZE_VALID_ONLY});
  CHECK_EQ(filter.padding_policy().method, 0);
  CHECK_THROWS_AS(filter.set_padding_policy({3}), InvalidArgumentError);
  CHECK_THROWS_AS(filter.set_padding_policy({1 << 14}), InvalidArgumentError);
  CHECK_THROWS_AS(filter.set_padding_policy({PaddingMethod::EXCLUDE_EDGES}), InvalidArgumentError);
  FilterNode neuron = relu(source);
  CHECK_THROWS_CONTAINS(neuron.set_padding_policy({}), InvalidArgumentError,
                        "NeuronReLU1\": padding_policy");
  CHECK_THROWS_AS(neuron.set_training_style(TrainingStyle::UPDATE_DEVICE_NONE),
                  InvalidArgumentError);
  filter.set_training_style(TrainingStyle::UPDATE_DEVICE_CPU);
  CHECK(filter.training_style() == TrainingStyle::UPDATE_DEVICE_CPU);
  filter.set_training_style(TrainingStyle::UPDATE_DEVICE_NONE);
  CHECK(filter.training_style() == TrainingStyle::UPDATE_DEVICE_NONE);
}

TEST_CASE("node: neurons in a convolution's descriptor") {
  ConvolutionDescriptor with_neuron = descriptor(1, 1);
  const auto make = [&](NeuronType type) {
    with_neuron.fused_neuron_descriptor.type = type;
    auto data = std::make_shared<ConvolutionDataSource>(with_neuron, std::vector<float>(9),
                                                        std::nullopt, "w");
    return convolution(ImageNode("source"), data);
  };
  CHECK_EQ(make(NeuronType::GELU).label(), "w");
  CHECK_THROWS_CONTAINS(make(NeuronType::PRELU), UnsupportedError, "got PRELU");
  CHECK_THROWS_CONTAINS(make(NeuronType::RELU).gradient_filters(ImageNode("gradient")),
                        InvalidArgumentError,
                        "ConvolutionNode \"w\": fused_neuron_descriptor: expected NONE");
}

TEST_CASE("convolution data source: what does not fit the descriptor") {
  const std::vector<float> nine(9);
  const auto make = [&](ConvolutionDescriptor d, std::vector<float> bias = {}) {
    return ConvolutionDataSource(d, nine, bias.empty() ? std::nullopt : std::optional(bias), "w");
  };
  CHECK_EQ(make(descriptor(1, 1)).parameters().size(), 1);
  CHECK_THROWS_CONTAINS(make(descriptor(2, 1)), InvalidArgumentError,
                        "ConvolutionDataSource \"w\": weights: expected 18 values, got 9");
  CHECK_THROWS_CONTAINS(make(descriptor(1, 1), {1, 2}), InvalidArgumentError,
                        "bias_terms: expected 1 values, got 2");
  ConvolutionDescriptor grouped = descriptor(3, 4);
  grouped.groups = 2;
  CHECK_THROWS_CONTAINS(make(grouped), InvalidArgumentError, "a multiple of groups (2), got 3");
  ConvolutionDescriptor no_stride = descriptor(1, 1);
  no_stride.stride_in_pixels_x = 0;
  CHECK_THROWS_CONTAINS(make(no_stride), InvalidArgumentError,
                        "stride_in_pixels_x: expected >= 1, got 0");
}

TEST_CASE("convolution data source: values, shapes, attributes") {
  ConvolutionDescriptor grouped = descriptor(4, 6);
  grouped.groups = 2;
  ConvolutionDataSource source(grouped, std::vector<float>(6 * 9 * 2, 0.5f),
                               std::vector<float>(6, 1.0f), "w");
  CHECK_EQ(source.parameters()[0].shape, (std::vector<std::int64_t>{6, 3, 3, 2}));
  CHECK_EQ(source.parameters()[1].shape, (std::vector<std::int64_t>{6}));
  source.set_initial("bias", std::vector<float>(6, 2.0f));
  CHECK_EQ(source.initial("bias")[5], 2.0f);
  CHECK_THROWS_AS(source.set_initial("bias", {1.0f}), InvalidArgumentError);
  CHECK_THROWS_CONTAINS(source.initial("gamma"), InvalidArgumentError, "\"gamma\"");
  CHECK(source.attributes().at("groups") == AttributeValue(std::int64_t{2}));
  CHECK(!source.is_updated());
  source.set_optimizer(adam());
  CHECK(source.is_updated());
  source.set_trainable(false);
  CHECK(!source.is_updated());
}

TEST_CASE("optimizers: bad values") {
  CHECK_THROWS_AS(OptimizerAdam(-1.0), InvalidArgumentError);
  CHECK_THROWS_AS(OptimizerAdam(1e-3, 1.0), InvalidArgumentError);
  CHECK_THROWS_AS(OptimizerAdam(1e-3, 0.9, 0.999, -1.0), InvalidArgumentError);
  CHECK_THROWS_AS(OptimizerAdam(1e-3, 0.9, 0.999, 1e-8, -1), InvalidArgumentError);
  CHECK_THROWS_AS(OptimizerStochasticGradientDescent(1e-3, 1.5), InvalidArgumentError);
  OptimizerDescriptor clipped;
  clipped.apply_gradient_clipping = true;
  clipped.gradient_clip_min = 1.0;
  CHECK_THROWS_CONTAINS(OptimizerAdam(clipped, 0.9, 0.999, 1e-8, 0), InvalidArgumentError,
                        "gradient_clip_max");
  OptimizerAdam optimizer;
  CHECK_THROWS_AS(optimizer.set_learning_rate(std::numeric_limits<double>::infinity()),
                  InvalidArgumentError);
  optimizer.set_learning_rate(0.5);
  CHECK_EQ(optimizer.scalars(), std::vector<double>{0.5});
}

TEST_CASE("optimizers: attributes make the same optimizer again") {
  OptimizerDescriptor shared;
  shared.learning_rate = 0.25;
  shared.gradient_rescale = 0.5;
  shared.regularization_type = RegularizationType::L2;
  shared.regularization_scale = 1e-4;
  const OptimizerAdam adam_optimizer(shared, 0.8, 0.99, 1e-6, 7);
  const OptimizerStochasticGradientDescent descent(shared, 0.9, true);
  CHECK(make_optimizer(adam_optimizer.attributes())->attributes() == adam_optimizer.attributes());
  CHECK(make_optimizer(descent.attributes())->attributes() == descent.attributes());
  CHECK_EQ(descent.moments(), std::vector<std::string>{"momentum"});
  CHECK(OptimizerStochasticGradientDescent().moments().empty());
  AttributeMap unknown = descent.attributes();
  unknown["type"] = std::string("OptimizerNoSuch");
  CHECK_THROWS_CONTAINS(make_optimizer(unknown), InvalidArgumentError, "OptimizerNoSuch");
  AttributeMap incomplete = adam_optimizer.attributes();
  incomplete.erase("beta1");
  CHECK_THROWS_CONTAINS(make_optimizer(incomplete), InvalidArgumentError, "beta1");
}

TEST_CASE("data types") {
  CHECK_EQ(size_of(DataType::FLOAT16), 2);
  CHECK(data_type_named("uint8") == DataType::UINT8);
  CHECK_THROWS_CONTAINS(data_type_named("float64"), ArgumentTypeError, "float64");
  CHECK_EQ(to_string(image(4, 128, 128, 12)), std::string("float32 (4, 128, 128, 12)"));
  CHECK_EQ(to_string(ImageSize{1, 2, 3, 4}), std::string("(1, 2, 3, 4)"));
  CHECK_EQ(name_of(OpId::parameter_layout), std::string_view("parameter_layout"));
}
