// SPDX-License-Identifier: MIT
// Archives of graphs: what is written comes back, weights, optimizers and all.
#include <algorithm>
#include <limits>

#include "archive_fixtures.h"
#include "base/json.h"
#include "base/safetensors.h"
#include "graph/serialize.h"
#include "mpsnn/archive.h"
#include "mpsnn/error.h"
#include "runtime_fixtures.h"
#include "testing.h"

using namespace fixtures;

namespace {

using Names = std::vector<std::string>;
using Values = std::vector<float>;

Values pattern(std::size_t count, float start) {
  Values values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = start + 0.125F * static_cast<float>(i);
  return values;
}

void save(const Graph& graph, const std::string& path) {
  KeyedArchiver archiver;
  archiver.encode("net", graph);
  archiver.write(path);
}

Graph load(const Device& device, const std::string& path) {
  return KeyedUnarchiver(device).open(path).decode_graph("net");
}

/// Everything about the nodes that archives must keep, as text.
Names describe(const Graph& graph) {
  Names lines;
  const std::vector<FilterNode> nodes = graph.nodes();
  const auto position = [&](const FilterNode& node) {
    return std::to_string(std::find(nodes.begin(), nodes.end(), node) - nodes.begin());
  };
  for (const FilterNode& node : nodes) {
    std::string line = std::string(node.class_name()) + " " + node.label() + " ";
    line += to_string(graph::to_json(node.attributes()));
    line += " " + std::to_string(node.padding_policy().method) + " ";
    line += std::to_string(static_cast<int>(node.training_style()));
    if (node.weights()) line += " weights " + node.weights()->label();
    if (node.inference_node()) line += " of " + position(*node.inference_node());
    for (const ImageNode& source : node.sources()) {
      line += " <" + (source.producer() ? position(*source.producer()) : source.handle());
    }
    const ImageNode result = node.result_image();
    line += " >" + result.handle() + (result.export_from_graph() ? " exported" : "");
    line += result.stop_gradient() ? " stop" : "";
    line += result.format() ? " " + std::string(name_of(*result.format())) : "";
    lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace

TEST_CASE("archive: a training graph comes back with nodes, flags, links and weights") {
  const Folder folder;
  const Rig rig, other;
  const CommandQueue queue(rig.device);
  SmallNet net(std::make_shared<OptimizerAdam>(0.25, 0.8, 0.7, 1e-5, 3));
  net.source.set_stop_gradient(true);
  Graph graph = net.training(rig.device);
  graph.set_label("trainer");
  for (FilterNode node : graph.nodes()) {
    if (node.class_name() != "NeuronReLUNode") continue;
    ImageNode result = node.result_image();
    result.set_handle("hidden");
    result.set_export_from_graph(true);
    result.set_format(DataType::FLOAT32);
  }
  graph = Graph(rig.device, graph.result_images(), graph.results_are_needed());
  graph.set_label("trainer");
  train_once(graph, queue, batch(rig.device));
  rig.device.write_parameter(*net.first, "weights", pattern(108, 1.0F));
  rig.device.write_parameter(*net.first, "weights.velocity", pattern(108, 2.0F));
  rig.device.write_parameter(*net.second, "bias.momentum", pattern(2, 3.0F));
  rig.device.set_time_step(*net.first, 41);
  net.second->set_trainable(false);
  save(graph, folder / "net");

  const Graph restored = load(other.device, folder / "net");
  CHECK_EQ(restored.label(), "trainer");
  CHECK_EQ(describe(restored), describe(graph));
  CHECK_EQ(restored.source_handles(), graph.source_handles());
  CHECK_EQ(restored.intermediate_handles(), (Names{"hidden"}));
  CHECK_EQ(restored.results_are_needed(), graph.results_are_needed());
  REQUIRE(restored.data_sources().size() == 2);
  const auto& first = *restored.data_sources()[0];
  const auto& second = *restored.data_sources()[1];
  CHECK_EQ(first.initial("weights"), pattern(108, 1.0F));
  CHECK_EQ(other.device.read_parameter(first, "weights.velocity"), pattern(108, 2.0F));
  CHECK_EQ(other.device.read_parameter(first, "weights.momentum"), Values(108, 0.0F));
  CHECK_EQ(other.device.read_parameter(second, "bias.momentum"), pattern(2, 3.0F));
  CHECK_EQ(other.device.time_step(first), 41);
  CHECK_EQ(other.device.time_step(second), 3);
  CHECK(!second.trainable());
  CHECK(first.optimizer() == second.optimizer());
  CHECK(first.optimizer()->attributes() == net.first->optimizer()->attributes());

  const CommandQueue elsewhere(other.device);
  train_once(restored, elsewhere, batch(other.device));
  CHECK_EQ(other.device.read_parameter(first, "weights.velocity"), pattern(108, 2.0F));
}

TEST_CASE("archive: the same graph gives the same bytes, also after a round trip") {
  const Folder folder;
  const Rig rig;
  const CommandQueue queue(rig.device);
  const SmallNet net(std::make_shared<OptimizerAdam>());
  const Graph graph = net.training(rig.device);
  train_once(graph, queue, batch(rig.device));
  save(graph, folder / "a");
  save(graph, folder / "b");
  save(load(rig.device, folder / "a"), folder / "c");
  CHECK(read_bytes(folder / "a") == read_bytes(folder / "b"));
  CHECK(read_bytes(folder / "a") == read_bytes(folder / "c"));
  CHECK_EQ(folder.file_count(), 3U);
}

TEST_CASE("archive: graphs of one archive share what was shared") {
  const Folder folder;
  const Rig rig;
  const SmallNet net(std::make_shared<OptimizerAdam>());
  KeyedArchiver archiver;
  archiver.encode("inference", net.graph(rig.device));
  rig.device.write_parameter(*net.first, "bias", pattern(4, 9.0F));
  archiver.encode("training", net.training(rig.device));  // brings the weights up to date
  archiver.set_metadata("note", "trained on a train");
  archiver.write(folder / "nets");

  const Archive archive = KeyedUnarchiver(rig.device).open(folder / "nets");
  CHECK_EQ(archive.keys(), (Names{"inference", "training"}));
  CHECK_EQ(archive.metadata().size(), 1U);
  CHECK_EQ(archive.metadata().at("note"), "trained on a train");
  const Graph inference = archive.decode_graph("inference"),
              training = archive.decode_graph("training");
  CHECK(inference.data_sources() == training.data_sources());
  CHECK(archive.decode_graph("training").data_sources() == training.data_sources());
  CHECK_EQ(inference.data_sources()[0]->initial("bias"), pattern(4, 9.0F));
  CHECK_THROWS_CONTAINS(archive.decode_graph("net"), InvalidArgumentError,
                        "one of \"inference\", \"training\", got \"net\"");
}

TEST_CASE("archive: tensors have the labels' names, unique where labels repeat") {
  const Folder folder;
  const Rig rig;
  const auto sgd = std::make_shared<OptimizerStochasticGradientDescent>(0.1);
  ImageNode image("in");
  for (const char* label : {"conv", "conv", "", "conv.weights"}) {
    image = ConvolutionNode(image, convolution_weights(3, 3, label, *label != '\0' ? sgd : nullptr))
                .result_image();
  }
  const Graph graph(rig.device, {image});
  const std::vector<std::shared_ptr<DataSource>> sources = graph.data_sources();
  for (std::size_t i = 0; i < sources.size(); ++i) {
    rig.device.write_parameter(*sources[i], "bias", pattern(3, static_cast<float>(i)));
  }
  rig.device.set_time_step(*sources[1], 8);
  save(graph, folder / "net");
  const base::SafetensorsFile file(folder / "net");
  Names names;
  for (const auto& entry : file.tensors()) names.push_back(entry.first);
  CHECK_EQ(names,
           (Names{"2.bias", "2.weights", "conv#2.bias", "conv#2.bias.time_step", "conv#2.weights",
                  "conv#2.weights.time_step", "conv.bias", "conv.bias.time_step", "conv.weights",
                  "conv.weights.bias", "conv.weights.bias.time_step", "conv.weights.time_step",
                  "conv.weights.weights", "conv.weights.weights.time_step"}));
  const Graph restored = load(rig.device, folder / "net");
  for (std::size_t i = 0; i < sources.size(); ++i) {
    CHECK_EQ(restored.data_sources()[i]->initial("bias"), pattern(3, static_cast<float>(i)));
    CHECK_EQ(restored.data_sources()[i]->label(), sources[i]->label());
  }
  CHECK_EQ(rig.device.time_step(*restored.data_sources()[1]), 8);
  CHECK(restored.data_sources()[2]->optimizer() == nullptr);
}

TEST_CASE("archive: attributes of every type survive, infinities and empty lists too") {
  const double infinity = std::numeric_limits<double>::infinity();
  const AttributeMap attributes = {{"flag", true},
                                   {"integer", std::int64_t{-5}},
                                   {"number", 1.0},
                                   {"third", 1.0 / 3.0},
                                   {"infinite", -infinity},
                                   {"text", std::string("inf")},
                                   {"integers", std::vector<std::int64_t>{1, 2}},
                                   {"no_integers", std::vector<std::int64_t>{}},
                                   {"numbers", std::vector<double>{0.5, infinity, 3.0}},
                                   {"no_numbers", std::vector<double>{}}};
  const base::Json json = base::parse_json(to_string(graph::to_json(attributes)));
  CHECK(graph::read_attributes({json, "attributes"}) == attributes);
}

TEST_CASE("archive: wrong keys, unwritable files") {
  const Folder folder;
  const Rig rig;
  const Graph graph = SmallNet().graph(rig.device);
  KeyedArchiver archiver;
  CHECK_THROWS_AS(archiver.encode("", graph), InvalidArgumentError);
  archiver.encode("net", graph);
  CHECK_THROWS_CONTAINS(archiver.encode("net", graph), InvalidArgumentError, "\"net\" again");
  CHECK_THROWS_AS(archiver.set_metadata("", "x"), InvalidArgumentError);
  CHECK_THROWS_AS(archiver.set_metadata("mpsnn", "x"), InvalidArgumentError);
  CHECK_THROWS_AS(archiver.write(folder / "no/folder"), FileError);
  CHECK_THROWS_AS(KeyedUnarchiver(rig.device).open(folder / "none"), FileError);
  archiver.set_metadata("note", "\xff");
  CHECK_THROWS_CONTAINS(archiver.write(folder / "net"), InvalidArgumentError, "UTF-8");
  CHECK_EQ(folder.file_count(), 0U);
}

TEST_CASE("archive: an empty one has no graphs") {
  const Folder folder;
  const Rig rig;
  KeyedArchiver().write(folder / "empty");
  const Archive archive = KeyedUnarchiver(rig.device).open(folder / "empty");
  CHECK(archive.keys().empty());
  CHECK_THROWS_AS(archive.decode_graph("net"), InvalidArgumentError);
}
