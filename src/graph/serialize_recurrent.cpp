// SPDX-License-Identifier: MIT
// Descriptors of recurrent layers as JSON.
#include <limits>
#include <type_traits>
#include <utility>

#include "base/check.h"
#include "graph/serialize.h"
#include "graph/serialize_tools.h"

namespace mpsnn::graph {
namespace {

using base::Json;
using base::JsonField;

constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
constexpr std::string_view kSingleGate = "RNNSingleGateDescriptor", kLstm = "LSTMDescriptor",
                           kGru = "GRUDescriptor";

std::string_view class_of(const RNNSingleGateDescriptor&) { return kSingleGate; }
std::string_view class_of(const LSTMDescriptor&) { return kLstm; }
std::string_view class_of(const GRUDescriptor&) { return kGru; }

/// Calls `visit` with the name and the member of each value that a descriptor holds beside its
/// weights. Writing and reading go through the same lists.
template <class Descriptor, class Visit>
void visit_values(Descriptor& d, const Visit& visit) {
  using Class = std::remove_const_t<Descriptor>;
  visit("input_feature_channels", d.input_feature_channels);
  visit("output_feature_channels", d.output_feature_channels);
  visit("use_layer_input_unit_transform_mode", d.use_layer_input_unit_transform_mode);
  visit("layer_sequence_direction", d.layer_sequence_direction);
  if constexpr (std::is_same_v<Class, LSTMDescriptor>) {
    visit("memory_weights_are_diagonal", d.memory_weights_are_diagonal);
    visit("cell_to_output_neuron_type", d.cell_to_output_neuron_type);
    visit("cell_to_output_neuron_param_a", d.cell_to_output_neuron_param_a);
    visit("cell_to_output_neuron_param_b", d.cell_to_output_neuron_param_b);
    visit("cell_to_output_neuron_param_c", d.cell_to_output_neuron_param_c);
  } else if constexpr (std::is_same_v<Class, GRUDescriptor>) {
    visit("gate_p_norm_value", d.gate_p_norm_value);
    visit("flip_output_gates", d.flip_output_gates);
  }
}

template <class Descriptor, class Visit>
void visit_weights(Descriptor& d, const Visit& visit) {
  using Class = std::remove_const_t<Descriptor>;
  if constexpr (std::is_same_v<Class, RNNSingleGateDescriptor>) {
    visit("input_weights", d.input_weights);
    visit("recurrent_weights", d.recurrent_weights);
  } else {
    visit("input_gate_input_weights", d.input_gate_input_weights);
    visit("input_gate_recurrent_weights", d.input_gate_recurrent_weights);
    visit("output_gate_input_weights", d.output_gate_input_weights);
    visit("output_gate_recurrent_weights", d.output_gate_recurrent_weights);
  }
  if constexpr (std::is_same_v<Class, LSTMDescriptor>) {
    visit("input_gate_memory_weights", d.input_gate_memory_weights);
    visit("forget_gate_input_weights", d.forget_gate_input_weights);
    visit("forget_gate_recurrent_weights", d.forget_gate_recurrent_weights);
    visit("forget_gate_memory_weights", d.forget_gate_memory_weights);
    visit("cell_gate_input_weights", d.cell_gate_input_weights);
    visit("cell_gate_recurrent_weights", d.cell_gate_recurrent_weights);
    visit("cell_gate_memory_weights", d.cell_gate_memory_weights);
    visit("output_gate_memory_weights", d.output_gate_memory_weights);
  } else if constexpr (std::is_same_v<Class, GRUDescriptor>) {
    visit("recurrent_gate_input_weights", d.recurrent_gate_input_weights);
    visit("recurrent_gate_recurrent_weights", d.recurrent_gate_recurrent_weights);
    visit("output_gate_input_gate_weights", d.output_gate_input_gate_weights);
  }
}

struct ValueWriter {
  AttributeMap& attributes;

  void operator()(std::string_view name, const std::int64_t& value) const { add(name, value); }
  void operator()(std::string_view name, const bool& value) const { add(name, value); }
  void operator()(std::string_view name, const float& value) const { add(name, double{value}); }
  void operator()(std::string_view name, const NeuronType& value) const {
    add(name, static_cast<std::int64_t>(value));
  }
  void operator()(std::string_view name, const RNNSequenceDirection& value) const {
    add(name, static_cast<std::int64_t>(value));
  }
  void add(std::string_view name, AttributeValue value) const {
    attributes.emplace(name, std::move(value));
  }
};

struct ValueReader {
  AttributesToTake& attributes;

  void operator()(std::string_view name, std::int64_t& value) const {
    value = attributes.integer(name, 1, kMost);
  }
  void operator()(std::string_view name, bool& value) const { value = attributes.boolean(name); }
  void operator()(std::string_view name, float& value) const {
    value = static_cast<float>(attributes.take<double>(name, "a number"));
  }
  void operator()(std::string_view name, NeuronType& value) const {
    // make_cell() knows which it takes.
    value = static_cast<NeuronType>(attributes.integer(name, 0, kMost));
  }
  void operator()(std::string_view name, RNNSequenceDirection& value) const {
    value = static_cast<RNNSequenceDirection>(attributes.integer(name, 0, 1));
  }
};

template <class Descriptor>
void read_weights(const JsonField& field, const DataSourceAt& data_source_at, Descriptor& d) {
  Json::Object unknown = field.object();
  visit_weights(d, [&](std::string_view name, RNNWeights& held) {
    const auto index = field.find(name);
    if (!index) return;
    held = std::dynamic_pointer_cast<ConvolutionDataSource>(data_source_at(*index));
    if (!held) index->fail("expected a ConvolutionDataSource");
    unknown.erase(unknown.find(name));
  });
  if (!unknown.empty()) field.fail(str("unknown: \"", unknown.begin()->first, '"'));
}

RNNLayerDescriptor descriptor_named(const JsonField& name) {
  if (name.string() == kSingleGate) return RNNSingleGateDescriptor();
  if (name.string() == kLstm) return LSTMDescriptor();
  if (name.string() == kGru) return GRUDescriptor();
  name.fail(
      str("expected ", kSingleGate, ", ", kLstm, " or ", kGru, ", got \"", name.string(), "\""));
}

}  // namespace

void for_each_weights(const RNNLayerDescriptor& descriptor,
                      const std::function<void(const RNNWeights&)>& take) {
  std::visit(
      [&](const auto& d) {
        visit_weights(d, [&](std::string_view, const RNNWeights& weights) {
          if (weights) take(weights);
        });
      },
      descriptor);
}

Json to_json(const RNNLayerDescriptor& descriptor, const IndexOfDataSource& index_of) {
  return std::visit(
      [&](const auto& d) -> Json {
        AttributeMap attributes;
        visit_values(d, ValueWriter{attributes});
        Json::Object weights;
        visit_weights(d, [&](std::string_view name, const RNNWeights& held) {
          if (held) weights.emplace(name, static_cast<std::int64_t>(index_of(*held)));
        });
        return Json::Object{{"class", class_of(d)},
                            {"attributes", to_json(attributes)},
                            {"weights", std::move(weights)}};
      },
      descriptor);
}

RNNLayerDescriptor read_layer_descriptor(const JsonField& field,
                                         const DataSourceAt& data_source_at) {
  RNNLayerDescriptor descriptor = descriptor_named(field.at("class"));
  std::visit(
      [&](auto& d) {
        AttributesToTake attributes(field.at("attributes"));
        visit_values(d, ValueReader{attributes});
        attributes.expect_none_left();
        read_weights(field.at("weights"), data_source_at, d);
      },
      descriptor);
  return descriptor;
}

}  // namespace mpsnn::graph
