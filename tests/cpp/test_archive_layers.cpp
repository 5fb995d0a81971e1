// SPDX-License-Identifier: MIT
// Archives of recurrent layers: what comes back, and what is refused.
#include <functional>

#include "archive_fixtures.h"
#include "base/json.h"
#include "base/safetensors.h"
#include "mpsnn/archive.h"
#include "mpsnn/error.h"
#include "mpsnn/normalization_data_source.h"
#include "mpsnn/rnn.h"
#include "runtime_fixtures.h"
#include "testing.h"

using namespace fixtures;
using base::Json;
using base::JsonField;

namespace {

RNNWeights weights(std::int64_t inputs, std::int64_t outputs, std::string label,
                   NeuronType neuron = NeuronType::NONE) {
  ConvolutionDescriptor descriptor;
  descriptor.kernel_width = descriptor.kernel_height = 1;
  descriptor.input_feature_channels = inputs;
  descriptor.output_feature_channels = outputs;
  descriptor.fused_neuron_descriptor = {neuron, 1, 1, 0};
  return std::make_shared<ConvolutionDataSource>(
      descriptor, std::vector<float>(static_cast<std::size_t>(inputs * outputs), 0.5F),
      std::nullopt, std::move(label));
}

RNNSingleGateDescriptor single() {
  RNNSingleGateDescriptor descriptor;
  descriptor.input_feature_channels = 3;
  descriptor.output_feature_channels = 4;
  descriptor.layer_sequence_direction = RNNSequenceDirection::BACKWARD;
  descriptor.input_weights = weights(3, 4, "w", NeuronType::TANH);
  descriptor.recurrent_weights = weights(4, 4, "u");
  return descriptor;
}

LSTMDescriptor lstm() {
  LSTMDescriptor descriptor;
  descriptor.input_feature_channels = 3;
  descriptor.output_feature_channels = 4;
  descriptor.memory_weights_are_diagonal = true;
  descriptor.cell_to_output_neuron_type = NeuronType::RELUN;
  descriptor.cell_to_output_neuron_param_a = 0.1F;
  descriptor.cell_to_output_neuron_param_b = 6;
  descriptor.cell_to_output_neuron_param_c = -2;
  descriptor.forget_gate_input_weights = weights(3, 4, "wf", NeuronType::SIGMOID);
  descriptor.cell_gate_recurrent_weights = weights(4, 4, "uc");
  descriptor.output_gate_memory_weights = weights(1, 4, "vo");
  return descriptor;
}

GRUDescriptor gru() {
  GRUDescriptor descriptor;
  descriptor.input_feature_channels = descriptor.output_feature_channels = 4;
  descriptor.use_layer_input_unit_transform_mode = true;
  descriptor.gate_p_norm_value = 1.7F;
  descriptor.flip_output_gates = true;
  descriptor.output_gate_input_gate_weights = weights(4, 4, "vh");
  return descriptor;
}

/// The document of an archive.
Json document_of(const std::string& path) {
  return base::parse_json(base::SafetensorsFile(path).metadata().at("mpsnn"));
}

/// An archive with a layer "a", and a data source that is no convolution, with index 3.
void write_layer(const std::string& path) {
  const Rig rig;
  KeyedArchiver archiver;
  archiver.encode("a", RNNMatrixInferenceLayer(rig.device, lstm()));
  archiver.encode(
      "b", std::make_shared<BatchNormalizationDataSource>(4, NormalizationValues{}, 1e-3, 0.9, "b"),
      rig.device);
  archiver.write(path);
}

/// Changes the entry of a layer "a" and reads it.
class SpoiltLayer {
 public:
  SpoiltLayer() {
    write_layer(folder_ / "good");
    document_ = document_of(folder_ / "good");
  }

  void read(const std::function<void(Json::Object&)>& spoil) const {
    Json document = document_;
    spoil(object(object(object(document)["recurrent_layers"])["a"]));
    const base::SafetensorsFile good(folder_ / "good");
    std::vector<base::TensorToWrite> tensors;
    for (const auto& [name, tensor] : good.tensors())
      tensors.push_back({name, tensor.dtype, tensor.shape, tensor.bytes});
    base::write_safetensors(folder_ / "spoilt", std::move(tensors),
                            {{"mpsnn", base::to_string(document)}});
    const Rig rig;
    static_cast<void>(
        KeyedUnarchiver(rig.device).open(folder_ / "spoilt").decode_recurrent_layer("a"));
  }

  static Json::Object& object(Json& value) {
    return const_cast<Json::Object&>(*value.get_if<Json::Object>());
  }
  /// A part of the layer's one descriptor.
  static Json::Object& descriptor(Json::Object& layer, const char* part) {
    auto& list = const_cast<Json::Array&>(*layer["descriptors"].get_if<Json::Array>());
    return object(object(list.front())[part]);
  }

 private:
  Folder folder_;
  Json document_;
};

}  // namespace

TEST_CASE("archive of layers: class, label and properties come back") {
  const Folder folder;
  const Rig rig;
  RNNMatrixInferenceLayer matrices(rig.device, {lstm(), single()});
  matrices.set_label("words");
  matrices.set_store_all_intermediate_states(true);
  matrices.set_bidirectional_combine_mode(RNNBidirectionalCombineMode::CONCATENATE);
  const RNNImageInferenceLayer images(rig.device, gru());
  RNNMatrixTrainingLayer training(rig.device, lstm());
  training.set_accumulate_weight_gradients(true);
  KeyedArchiver archiver;
  archiver.encode("matrices", matrices);
  archiver.encode("images", images);
  archiver.encode("training", training);
  CHECK_THROWS_CONTAINS(archiver.encode("images", training), InvalidArgumentError, "a new one");
  CHECK_THROWS_CONTAINS(archiver.encode("", images), InvalidArgumentError, "a name");
  CHECK_THROWS_CONTAINS(archiver.encode("../up", images), InvalidArgumentError, "elsewhere");
  archiver.write(folder / "archive");
  const Archive archive = KeyedUnarchiver(rig.device).open(folder / "archive");
  CHECK_EQ(archive.recurrent_layer_keys(),
           std::vector<std::string>({"images", "matrices", "training"}));
  const auto one = std::get<RNNMatrixInferenceLayer>(archive.decode_recurrent_layer("matrices"));
  CHECK_EQ(one.label(), "words");
  CHECK_EQ(one.number_of_layers(), 2);
  CHECK_EQ(one.input_feature_channels(), 3);
  CHECK_EQ(one.output_feature_channels(), 4);
  CHECK(one.store_all_intermediate_states());
  CHECK_EQ(static_cast<int>(one.bidirectional_combine_mode()), 2);
  const auto two = std::get<RNNImageInferenceLayer>(archive.decode_recurrent_layer("images"));
  CHECK_EQ(two.label(), "RNNImageInferenceLayer");
  CHECK(!two.store_all_intermediate_states());
  const auto three = std::get<RNNMatrixTrainingLayer>(archive.decode_recurrent_layer("training"));
  CHECK(three.accumulate_weight_gradients());
  CHECK_EQ(three.weight_ids(), training.weight_ids());
  CHECK_THROWS_CONTAINS(archive.decode_recurrent_layer("none"), InvalidArgumentError,
                        "one of \"images\"");
  // What was read is written the same: every value of every descriptor came back.
  KeyedArchiver again;
  again.encode("matrices", one);
  again.encode("images", two);
  again.encode("training", three);
  again.write(folder / "again");
  CHECK(read_bytes(folder / "again") == read_bytes(folder / "archive"));
}

TEST_CASE("archive of layers: descriptors are stored as they are given") {
  const Folder folder;
  write_layer(folder / "archive");
  const Json document = document_of(folder / "archive");
  const JsonField layer = JsonField(document, "d").at("recurrent_layers").at("a");
  const JsonField descriptor = layer.at("descriptors").at(std::size_t{0});
  CHECK_EQ(descriptor.at("class").string(), "LSTMDescriptor");
  const JsonField attributes = descriptor.at("attributes");
  CHECK_EQ(attributes.at("input_feature_channels").integer(), 3);
  CHECK(attributes.at("memory_weights_are_diagonal").boolean());
  CHECK_EQ(attributes.at("cell_to_output_neuron_param_a").number(), double{0.1F});
  CHECK_EQ(attributes.object().size(), std::size_t{9});
  CHECK_EQ(descriptor.at("weights").object().size(), std::size_t{3});
}

TEST_CASE("archive of layers: what does not fit is refused with its place") {
  const SpoiltLayer layer;
  layer.read([](Json::Object&) {});
  const auto value = [](const char* name, Json to) {
    return [name, to = std::move(to)](Json::Object& entry) {
      SpoiltLayer::descriptor(entry, "attributes")[name] = to;
    };
  };
  const auto weight = [](const char* name, Json to) {
    return [name, to = std::move(to)](Json::Object& entry) {
      SpoiltLayer::descriptor(entry, "weights")[name] = to;
    };
  };
  const auto set = [](const char* name, Json to) {
    return [name, to = std::move(to)](Json::Object& entry) { entry[name] = to; };
  };
  const auto property = [](const char* name, Json to) {
    return [name, to = std::move(to)](Json::Object& entry) {
      SpoiltLayer::object(entry["attributes"])[name] = to;
    };
  };
  struct Row {
    std::function<void(Json::Object&)> spoil;
    std::string part;
  };
  const Row rows[] = {
      {set("class", "Virus"), "recurrent_layers.a.class: expected RNNMatrixInferenceLayer"},
      {set("class", 3), "class: expected a string"},
      {set("class", "RNNMatrixTrainingLayer"), "accumulate_weight_gradients"},
      {set("label", 1), "label: expected a string"},
      {set("descriptors", Json::Object{}), "descriptors: expected an array"},
      {set("descriptors", Json::Array{}), "descriptors: expected at least one"},
      {set("descriptors", Json::Array{1}), "descriptors[0]: expected an object"},
      {set("attributes", 1), "attributes: expected an object"},
      {property("surprise", 1), "attributes: unknown: \"surprise\""},
      {property("store_all_intermediate_states", 1), "expected true or false"},
      {property("bidirectional_combine_mode", 3), "from 0 to 2, got 3"},
      {property("bidirectional_combine_mode", "x"), "expected an integer"},
      {value("surprise", 1), "attributes: unknown: \"surprise\""},
      {value("input_feature_channels", 0), "input_feature_channels: expected an integer from 1"},
      {value("input_feature_channels", std::int64_t{1} << 40), "input_feature_channels"},
      {value("input_feature_channels", 5), "input_feature_channels: expected 5, got 3"},
      {value("output_feature_channels", 1 << 30), "output_feature_channels"},
      {value("output_feature_channels", 0.5), "expected an integer"},
      {value("layer_sequence_direction", 2), "from 0 to 1, got 2"},
      {value("memory_weights_are_diagonal", false), "output_gate_memory_weights"},
      {value("memory_weights_are_diagonal", 1), "expected true or false"},
      {value("cell_to_output_neuron_type", 99), "cell_to_output: neuron"},
      {value("cell_to_output_neuron_type", -1), "cell_to_output_neuron_type"},
      {value("cell_to_output_neuron_param_a", "x"), "expected a number"},
      {value("use_layer_input_unit_transform_mode", true), "in unit transform mode"},
      {weight("output_gate_memory_weights", -1), "an index below 4, got -1"},
      {weight("output_gate_memory_weights", 4), "an index below 4, got 4"},
      {weight("output_gate_memory_weights", 3), "expected a ConvolutionDataSource"},
      {weight("output_gate_memory_weights", "x"), "expected an integer"},
      {weight("output_gate_input_weights", 2), "output_gate_input_weights"},
      {weight("surprise", 0), "weights: unknown: \"surprise\""},
  };
  for (const Row& row : rows) {
    CHECK_THROWS_CONTAINS(layer.read(row.spoil), ArchiveError, row.part);
    CHECK_THROWS_CONTAINS(layer.read(row.spoil), ArchiveError, "spoilt\": ");
  }
  // A key that is left out.
  const auto without = [](Json::Object& entry) {
    SpoiltLayer::descriptor(entry, "attributes").erase("output_feature_channels");
  };
  CHECK_THROWS_CONTAINS(layer.read(without), ArchiveError,
                        "expected a key \"output_feature_channels\"");
}
