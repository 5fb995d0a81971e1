// SPDX-License-Identifier: MIT
// Descriptors of recurrent layers.
#include "mpsnn/rnn_descriptor.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <pybind11/native_enum.h>
#include <pybind11/stl.h>

#include "bindings/bindings.h"
#include "bindings/casters.h"

namespace mpsnn::bindings {
namespace {

using OptionalWeights = std::optional<RNNWeights>;

void bind_enums(py::module_& m) {
  using Direction = RNNSequenceDirection;
  py::native_enum<Direction>(
      m, "RNNSequenceDirection", "enum.IntEnum",
      "The order of a layer in a bidirectional encode. Apple: MPSRNNSequenceDirection.")
      .value("FORWARD", Direction::FORWARD)
      .value("BACKWARD", Direction::BACKWARD)
      .finalize();
  using Mode = RNNBidirectionalCombineMode;
  py::native_enum<Mode>(
      m, "RNNBidirectionalCombineMode", "enum.IntEnum",
      "What becomes of both directions' results. Apple: MPSRNNBidirectionalCombineMode.")
      .value("NONE", Mode::NONE)
      .value("ADD", Mode::ADD)
      .value("CONCATENATE", Mode::CONCATENATE)
      .finalize();
  py::native_enum<RNNMatrixId> ids(m, "RNNMatrixId", "enum.IntEnum",
                                   "Weights of a training layer. Apple: MPSRNNMatrixId.");
  for (std::int32_t id = 0;
       id <= static_cast<std::int32_t>(RNNMatrixId::GRU_OUTPUT_GATE_BIAS_TERMS); ++id) {
    const auto value = static_cast<RNNMatrixId>(id);
    ids.value(std::string(name_of(value)).c_str(), value);
  }
  ids.finalize();
}

/// A weight as a property: None where there is none.
template <class Descriptor>
void bind_weights(py::class_<Descriptor, RNNDescriptor>& cls, const char* name,
                  RNNWeights Descriptor::* member) {
  cls.def_property(
      name,
      [member](const Descriptor& d) -> OptionalWeights {
        return d.*member ? OptionalWeights(d.*member) : std::nullopt;
      },
      [member](Descriptor& d, OptionalWeights weights) {
        d.*member = std::move(weights).value_or(nullptr);
      });
}

void bind_base(py::module_& m) {
  py::class_<RNNDescriptor>(
      m, "RNNDescriptor",
      R"(What the descriptors of recurrent layers share. Apple: MPSRNNDescriptor.

Weights are data sources of convolutions, 1x1 but for layers of images; None: zeros. Those that
multiply the layer's input carry the gate's bias and, as fused neuron, its function (none: the identity).)")
      .def_readwrite("input_feature_channels", &RNNDescriptor::input_feature_channels,
                     "Channels of the layer's input.")
      .def_readwrite("output_feature_channels", &RNNDescriptor::output_feature_channels,
                     "Channels of the layer's output.")
      .def_readwrite(
          "use_layer_input_unit_transform_mode",
          &RNNDescriptor::use_layer_input_unit_transform_mode,
          "True: the layer's input stands for its products with the input weights, whose "
          "bias and neuron apply.")
      .def_readwrite("layer_sequence_direction", &RNNDescriptor::layer_sequence_direction,
                     "Read by bidirectional encodes only.");
}

template <class Descriptor>
Descriptor start(std::int64_t inputs, std::int64_t outputs, bool unit_transform,
                 RNNSequenceDirection direction) {
  Descriptor d;
  d.input_feature_channels = inputs;
  d.output_feature_channels = outputs;
  d.use_layer_input_unit_transform_mode = unit_transform;
  d.layer_sequence_direction = direction;
  return d;
}

void bind_single_gate(py::module_& m) {
  using Descriptor = RNNSingleGateDescriptor;
  py::class_<Descriptor, RNNDescriptor> cls(
      m, "RNNSingleGateDescriptor",
      R"(A recurrent layer of one gate. Apple: MPSRNNSingleGateDescriptor.

h1 = g(W x + U h0 + b)

Args:
    input_feature_channels: Channels of x.
    output_feature_channels: Channels of h.
    input_weights: W, b and g.
    recurrent_weights: U.
    use_layer_input_unit_transform_mode: x stands for W x.
    layer_sequence_direction: Read by bidirectional encodes.)");
  cls.def(
      py::init([](std::int64_t inputs, std::int64_t outputs, OptionalWeights input,
                  OptionalWeights recurrent, bool unit_transform, RNNSequenceDirection direction) {
        auto d = start<Descriptor>(inputs, outputs, unit_transform, direction);
        d.input_weights = std::move(input).value_or(nullptr);
        d.recurrent_weights = std::move(recurrent).value_or(nullptr);
        return d;
      }),
      py::arg("input_feature_channels"), py::arg("output_feature_channels"), py::kw_only(),
      py::arg("input_weights") = py::none(), py::arg("recurrent_weights") = py::none(),
      py::arg("use_layer_input_unit_transform_mode") = false,
      py::arg("layer_sequence_direction") = RNNSequenceDirection::FORWARD);
  bind_weights(cls, "input_weights", &Descriptor::input_weights);
  bind_weights(cls, "recurrent_weights", &Descriptor::recurrent_weights);
}

using LSTMClass = py::class_<LSTMDescriptor, RNNDescriptor>;

void bind_lstm_weights(LSTMClass& cls) {
  using D = LSTMDescriptor;
  bind_weights(cls, "input_gate_input_weights", &D::input_gate_input_weights);
  bind_weights(cls, "input_gate_recurrent_weights", &D::input_gate_recurrent_weights);
  bind_weights(cls, "input_gate_memory_weights", &D::input_gate_memory_weights);
  bind_weights(cls, "forget_gate_input_weights", &D::forget_gate_input_weights);
  bind_weights(cls, "forget_gate_recurrent_weights", &D::forget_gate_recurrent_weights);
  bind_weights(cls, "forget_gate_memory_weights", &D::forget_gate_memory_weights);
  bind_weights(cls, "output_gate_input_weights", &D::output_gate_input_weights);
  bind_weights(cls, "output_gate_recurrent_weights", &D::output_gate_recurrent_weights);
  bind_weights(cls, "output_gate_memory_weights", &D::output_gate_memory_weights);
  bind_weights(cls, "cell_gate_input_weights", &D::cell_gate_input_weights);
  bind_weights(cls, "cell_gate_recurrent_weights", &D::cell_gate_recurrent_weights);
  bind_weights(cls, "cell_gate_memory_weights", &D::cell_gate_memory_weights);
}

void bind_lstm(py::module_& m) {
  LSTMClass cls(m, "LSTMDescriptor",
                R"(A long short-term memory with peepholes. Apple: MPSLSTMDescriptor.

I = gi(Wi x + Ui h0 + Vi c0 + bi); F = gf(Wf x + Uf h0 + Vf c0 + bf); C = gc(Wc x + Uc h0 + Vc c0 + bc);
c1 = F c0 + I C; O = go(Wo x + Uo h0 + Vo c1 + bo); h1 = O gh(c1). The output gate sees the new memory.

W are the input weights, U the recurrent ones, V the memory weights (peepholes) of the input gate I, forget
gate F, cell gate C and output gate O. They are properties, None at first.

Args:
    input_feature_channels: Channels of x.
    output_feature_channels: Channels of h and c.
    memory_weights_are_diagonal: The memory weights are vectors, one weight a channel.
    cell_to_output_neuron_type: gh, with the parameters below.
    cell_to_output_neuron_param_a: First parameter of gh.
    cell_to_output_neuron_param_b: Second parameter.
    cell_to_output_neuron_param_c: Third parameter.
    use_layer_input_unit_transform_mode: x stands for W x.
    layer_sequence_direction: Read by bidirectional encodes.)");
  const LSTMDescriptor d;
  cls.def(py::init([](std::int64_t inputs, std::int64_t outputs, bool diagonal, NeuronType type,
                      float a, float b, float c, bool unit_transform,
                      RNNSequenceDirection direction) {
            auto made = start<LSTMDescriptor>(inputs, outputs, unit_transform, direction);
            made.memory_weights_are_diagonal = diagonal;
            made.cell_to_output_neuron_type = type;
            made.cell_to_output_neuron_param_a = a;
            made.cell_to_output_neuron_param_b = b;
            made.cell_to_output_neuron_param_c = c;
            return made;
          }),
          py::arg("input_feature_channels"), py::arg("output_feature_channels"), py::kw_only(),
          py::arg("memory_weights_are_diagonal") = d.memory_weights_are_diagonal,
          py::arg("cell_to_output_neuron_type") = d.cell_to_output_neuron_type,
          py::arg("cell_to_output_neuron_param_a") = d.cell_to_output_neuron_param_a,
          py::arg("cell_to_output_neuron_param_b") = d.cell_to_output_neuron_param_b,
          py::arg("cell_to_output_neuron_param_c") = d.cell_to_output_neuron_param_c,
          py::arg("use_layer_input_unit_transform_mode") = false,
          py::arg("layer_sequence_direction") = RNNSequenceDirection::FORWARD)
      .def_readwrite("memory_weights_are_diagonal", &LSTMDescriptor::memory_weights_are_diagonal)
      .def_readwrite("cell_to_output_neuron_type", &LSTMDescriptor::cell_to_output_neuron_type)
      .def_readwrite("cell_to_output_neuron_param_a",
                     &LSTMDescriptor::cell_to_output_neuron_param_a)
      .def_readwrite("cell_to_output_neuron_param_b",
                     &LSTMDescriptor::cell_to_output_neuron_param_b)
      .def_readwrite("cell_to_output_neuron_param_c",
                     &LSTMDescriptor::cell_to_output_neuron_param_c);
  bind_lstm_weights(cls);
}

void bind_gru(py::module_& m) {
  using D = GRUDescriptor;
  py::class_<D, RNNDescriptor> cls(m, "GRUDescriptor",
                                   R"(A gated recurrent unit. Apple: MPSGRUDescriptor.

z = gz(Wz x + Uz h0 + bz); r = gr(Wr x + Ur h0 + br); h = gh(Wh x + Uh (r h0) + Vh (z h0) + bh);
h1 = (1 - z^p)^(1/p) h + z h0. r multiplies h0 before the weights do.

W are the input weights, U the recurrent ones of the input gate z, recurrent gate r and output gate h; Vh is
output_gate_input_gate_weights. They are properties, None at first. Without Vh this is the usual unit, without
Uh the minimal gated one.

Args:
    input_feature_channels: Channels of x.
    output_feature_channels: Channels of h.
    gate_p_norm_value: p, above 0.
    flip_output_gates: h1 = (1 - z^p)^(1/p) h0 + z h instead.
    use_layer_input_unit_transform_mode: x stands for W x.
    layer_sequence_direction: Read by bidirectional encodes.)");
  cls.def(py::init([](std::int64_t inputs, std::int64_t outputs, float p, bool flips,
                      bool unit_transform, RNNSequenceDirection direction) {
            auto d = start<D>(inputs, outputs, unit_transform, direction);
            d.gate_p_norm_value = p;
            d.flip_output_gates = flips;
            return d;
          }),
          py::arg("input_feature_channels"), py::arg("output_feature_channels"), py::kw_only(),
          py::arg("gate_p_norm_value") = 1.0F, py::arg("flip_output_gates") = false,
          py::arg("use_layer_input_unit_transform_mode") = false,
          py::arg("layer_sequence_direction") = RNNSequenceDirection::FORWARD)
      .def_readwrite("gate_p_norm_value", &D::gate_p_norm_value)
      .def_readwrite("flip_output_gates", &D::flip_output_gates);
  bind_weights(cls, "input_gate_input_weights", &D::input_gate_input_weights);
  bind_weights(cls, "input_gate_recurrent_weights", &D::input_gate_recurrent_weights);
  bind_weights(cls, "recurrent_gate_input_weights", &D::recurrent_gate_input_weights);
  bind_weights(cls, "recurrent_gate_recurrent_weights", &D::recurrent_gate_recurrent_weights);
  bind_weights(cls, "output_gate_input_weights", &D::output_gate_input_weights);
  bind_weights(cls, "output_gate_recurrent_weights", &D::output_gate_recurrent_weights);
  bind_weights(cls, "output_gate_input_gate_weights", &D::output_gate_input_gate_weights);
}

}  // namespace

void bind_recurrent_descriptors(py::module_& m) {
  bind_enums(m);
  bind_base(m);
  bind_single_gate(m);
  bind_lstm(m);
  bind_gru(m);
}

}  // namespace mpsnn::bindings
