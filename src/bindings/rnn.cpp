// SPDX-License-Identifier: MIT
// Recurrent layers and their states.
#include "mpsnn/rnn.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <pybind11/native_enum.h>
#include <pybind11/stl.h>

#include "bindings/bindings.h"
#include "bindings/casters.h"

namespace mpsnn::bindings {
namespace {

void bind_states(py::module_& m) {
  using MatrixState = RNNRecurrentMatrixState;
  using ImageState = RNNRecurrentImageState;
  py::class_<MatrixState>(
      m, "RNNRecurrentMatrixState",
      R"(Output and memory cell of each layer after a time step, on the device. Apple: MPSRNNRecurrentMatrixState.

Args:
    recurrent_outputs: A matrix (rows, output channels) a layer, float32 or float16.
    memory_cells: A matrix of the same size for each LSTM, None for other layers.

Raises:
    InvalidArgumentError: Lists of unequal length, sizes that differ, another element type.)",
      py::release_gil_before_calling_cpp_dtor())
      .def(py::init<std::vector<Matrix>, std::vector<std::optional<Matrix>>>(),
           py::arg("recurrent_outputs"), py::arg("memory_cells"))
      .def_property_readonly("number_of_layers", &MatrixState::number_of_layers,
                             "Layers of the stack.")
      .def("recurrent_output_matrix", &MatrixState::recurrent_output_matrix,
           py::arg("layer_index") = 0,
           R"(The output of a layer. Apple: getRecurrentOutputMatrixForLayerIndex:.

Args:
    layer_index: 0 is the first layer.

Returns:
    The state's own matrix.

Raises:
    InvalidArgumentError: There is no such layer.)")
      .def("memory_cell_matrix", &MatrixState::memory_cell_matrix, py::arg("layer_index") = 0,
           R"(The memory cell of a layer. Apple: getMemoryCellMatrixForLayerIndex:.

Args:
    layer_index: 0 is the first layer.

Returns:
    The state's own matrix, None where the layer is no LSTM.

Raises:
    InvalidArgumentError: There is no such layer.)");
  py::class_<ImageState>(
      m, "RNNRecurrentImageState",
      R"(Output and memory cell of each layer after a time step, on the device. Apple: MPSRNNRecurrentImageState.

Args:
    recurrent_outputs: An image (N, H, W, output channels) a layer.
    memory_cells: An image of the same size for each LSTM, None for other layers.

Raises:
    InvalidArgumentError: Lists of unequal length, sizes that differ.)",
      py::release_gil_before_calling_cpp_dtor())
      .def(py::init<std::vector<Image>, std::vector<std::optional<Image>>>(),
           py::arg("recurrent_outputs"), py::arg("memory_cells"))
      .def_property_readonly("number_of_layers", &ImageState::number_of_layers,
                             "Layers of the stack.")
      .def("recurrent_output_image", &ImageState::recurrent_output_image,
           py::arg("layer_index") = 0,
           R"(The output of a layer. Apple: getRecurrentOutputImageForLayerIndex:.

Args:
    layer_index: 0 is the first layer.

Returns:
    The state's own image.

Raises:
    InvalidArgumentError: There is no such layer.)")
      .def("memory_cell_image", &ImageState::memory_cell_image, py::arg("layer_index") = 0,
           R"(The memory cell of a layer. Apple: getMemoryCellImageForLayerIndex:.

Args:
    layer_index: 0 is the first layer.

Returns:
    The state's own image, None where the layer is no LSTM.

Raises:
    InvalidArgumentError: There is no such layer.)");
  py::class_<RNNMatrixTrainingState>(
      m, "RNNMatrixTrainingState",
      R"(What a forward encode of a training layer keeps of one time step. Apple: MPSRNNMatrixTrainingState.)",
      py::release_gil_before_calling_cpp_dtor())
      .def_property_readonly("time_step", &RNNMatrixTrainingState::time_step,
                             "Its index in the sequence.")
      .def_property_readonly("rows", &RNNMatrixTrainingState::rows, "Of the time step.")
      .def_property_readonly("sequence_bytes", &RNNMatrixTrainingState::sequence_bytes,
                             "Bytes on the device that all states of the sequence share.");
}

void bind_layer_bases(py::module_& m) {
  py::class_<RNNLayer>(m, "RNNLayer", "What the recurrent layers share.",
                       py::release_gil_before_calling_cpp_dtor())
      .def_property_readonly("device", &RNNLayer::device, "Where it runs.")
      .def_property("label", &RNNLayer::label, &RNNLayer::set_label,
                    "Name for errors and timelines.")
      .def_property_readonly("input_feature_channels", &RNNLayer::input_feature_channels,
                             "Of the first layer.")
      .def_property_readonly("output_feature_channels", &RNNLayer::output_feature_channels,
                             "Of the last layer.")
      .def_property("store_all_intermediate_states", &RNNLayer::store_all_intermediate_states,
                    &RNNLayer::set_store_all_intermediate_states,
                    "True: encodes return the state after every time step; False: after the last.");
  py::class_<RNNInferenceLayer, RNNLayer>(m, "RNNInferenceLayer",
                                          "What both inference layers share.",
                                          py::release_gil_before_calling_cpp_dtor())
      .def_property_readonly("number_of_layers", &RNNInferenceLayer::number_of_layers,
                             "Layers of the stack.")
      .def_property("bidirectional_combine_mode", &RNNInferenceLayer::bidirectional_combine_mode,
                    &RNNInferenceLayer::set_bidirectional_combine_mode,
                    "What a bidirectional encode makes of both results.");
}

using Descriptors = std::vector<RNNLayerDescriptor>;

void bind_matrix_inference(py::module_& m) {
  using Layer = RNNMatrixInferenceLayer;
  py::class_<Layer, RNNInferenceLayer>(
      m, "RNNMatrixInferenceLayer",
      R"(Recurrent layers, one or a stack, for inference on matrices. Apple: MPSRNNMatrixInferenceLayer.

A sequence is a list of matrices, one a time step, with a row for each sequence of the batch. Weights
are those that the data sources have on the device at each encode. May be encoded from several threads
at once, but not while a property is set.

Args:
    device: Where it runs.
    descriptor: The layer; or `descriptors`, a list: the first takes the sources.

Raises:
    InvalidArgumentError: Weights or channels that do not fit; the text names layer and argument.)",
      py::release_gil_before_calling_cpp_dtor())
      .def(py::init<const Device&, RNNLayerDescriptor>(), py::arg("device"), py::arg("descriptor"))
      .def(py::init<const Device&, Descriptors>(), py::arg("device"), py::arg("descriptors"))
      .def("encode_sequence", &Layer::encode_sequence, py::arg("commands"),
           py::arg("source_matrices"), py::arg("destination_matrices"),
           py::arg("recurrent_input_state") = py::none(), py::kw_only(),
           py::arg("source_offsets") = std::vector<std::size_t>(),
           py::arg("destination_offsets") = std::vector<std::size_t>(),
           py::arg("recurrent_output_states") = std::vector<RNNRecurrentMatrixState>(),
           py::call_guard<py::gil_scoped_release>(),
           R"(Records the layers on a sequence; all run forward.

Destinations may lie over sources.

Args:
    commands: Where it is recorded.
    source_matrices: (rows, input channels) of float32 or float16, one a time step. A matrix may have
        fewer rows than the one before, for sequences that have ended, never more.
    destination_matrices: (rows, output channels), as many and with the same rows.
    recurrent_input_state: The state before the first step, with at least as many rows; None: zeros.
    source_offsets: Bytes from each source's first element to where its rows begin; the rest of its
        buffer may be used, and a source may then have more columns. Empty: zeros.
    destination_offsets: The same of the destinations.
    recurrent_output_states: Where the states that are returned lie: one, or one a time step, each
        with the rows of its matrix. Nothing else of the encode may use their memory. Empty: new ones.

Returns:
    The state after the last step, with the rows of its matrix; or after each one where
    store_all_intermediate_states is set.

Raises:
    InvalidArgumentError: Rows, channels or offsets that do not fit, a state of another size.
    ArgumentTypeError: Element types.)")
      .def("encode_bidirectional_sequence", &Layer::encode_bidirectional_sequence,
           py::arg("commands"), py::arg("source_sequence"), py::arg("destination_forward_matrices"),
           py::arg("destination_backward_matrices") = std::vector<Matrix>(),
           py::call_guard<py::gil_scoped_release>(),
           R"(Records FORWARD layers from first to last step and BACKWARD ones from last to first.

Each direction is a stack of its own and starts from zeros. Rows may also grow from step to step.

Args:
    commands: Where it is recorded.
    source_sequence: Matrices (rows, input channels), one a time step.
    destination_forward_matrices: (rows, output channels) of the forward stack; with the mode ADD the
        sum, with CONCATENATE the forward channels and then the backward ones.
    destination_backward_matrices: Of the backward stack, with the mode NONE only.

Raises:
    InvalidArgumentError: No layer of one direction, sizes that do not fit.
    ArgumentTypeError: Element types.)");
}

void bind_image_inference(py::module_& m) {
  using Layer = RNNImageInferenceLayer;
  py::class_<Layer, RNNInferenceLayer>(
      m, "RNNImageInferenceLayer",
      R"(Recurrent layers, one or a stack, for inference on images. Apple: MPSRNNImageInferenceLayer.

A sequence is a list of images (N, H, W, channels), one a time step. With 1x1 weights each pixel is a
sequence of its own; others are convolutions of the images, the outputs before and, where they are
not diagonal, the memory cells before. Convolutions keep the size: outside of an image are zeros, and
an even window reaches further to the top and left. Strides other than 1 are refused.

Args:
    device: Where it runs.
    descriptor: The layer; or `descriptors`, a list: the first takes the sources.

Raises:
    InvalidArgumentError: Weights or channels that do not fit; the text names layer and argument.)",
      py::release_gil_before_calling_cpp_dtor())
      .def(py::init<const Device&, RNNLayerDescriptor>(), py::arg("device"), py::arg("descriptor"))
      .def(py::init<const Device&, Descriptors>(), py::arg("device"), py::arg("descriptors"))
      .def("encode_sequence", &Layer::encode_sequence, py::arg("commands"),
           py::arg("source_images"), py::arg("destination_images"),
           py::arg("recurrent_input_state") = py::none(), py::kw_only(),
           py::arg("recurrent_output_states") = std::vector<RNNRecurrentImageState>(),
           py::call_guard<py::gil_scoped_release>(),
           R"(Records the layers on a sequence; all run forward.

Args:
    commands: Where it is recorded.
    source_images: Images of float32 or float16 and of one size, one a time step.
    destination_images: As many, with the output channels. They are written where they are.
    recurrent_input_state: The state before the first step; None: zeros.
    recurrent_output_states: Where the states that are returned lie, as for matrices; empty: new ones.

Returns:
    The state after the last step, or after each one where store_all_intermediate_states is set.

Raises:
    InvalidArgumentError: Sizes that do not fit, a state of another size.
    ArgumentTypeError: Element types.)")
      .def("encode_bidirectional_sequence", &Layer::encode_bidirectional_sequence,
           py::arg("commands"), py::arg("source_sequence"), py::arg("destination_forward_images"),
           py::arg("destination_backward_images") = std::vector<Image>(),
           py::call_guard<py::gil_scoped_release>(),
           R"(Records FORWARD layers from first to last step and BACKWARD ones from last to first.

Args:
    commands: Where it is recorded.
    source_sequence: Images, one a time step.
    destination_forward_images: Of the forward stack; with the mode ADD the sum, with CONCATENATE the
        forward channels and then the backward ones.
    destination_backward_images: Of the backward stack, with the mode NONE only.

Raises:
    InvalidArgumentError: No layer of one direction, sizes that do not fit.
    ArgumentTypeError: Element types.)");
}

using TrainingClass = py::class_<RNNMatrixTrainingLayer, RNNLayer>;

void bind_weights(TrainingClass& cls) {
  using Layer = RNNMatrixTrainingLayer;
  cls.def_property_readonly("weight_ids", &Layer::weight_ids,
                            "The weights that there are, in the order of their matrices.")
      .def("create_weight_matrices", &Layer::create_weight_matrices,
           py::call_guard<py::gil_scoped_release>(), R"(Matrices with the data sources' weights.

Input weights are (output channels, input channels), recurrent and full memory weights (output channels,
output channels), bias terms and diagonal memory weights (1, output channels).

Returns:
    A new float32 matrix for each of weight_ids, with what the data sources have on the device.)")
      .def("create_weight_gradient_matrices", &Layer::create_weight_gradient_matrices,
           py::arg("data_type") = DataType::FLOAT32,
           R"(Matrices of the weights' sizes: for gradients, or an optimizer's moments.

Args:
    data_type: FLOAT32 or FLOAT16.

Returns:
    A new matrix of zeros for each of weight_ids.

Raises:
    ArgumentTypeError: Another element type.)")
      .def("encode_copy_weights", &Layer::encode_copy_weights, py::arg("commands"),
           py::arg("weights"), py::arg("matrix_id"), py::arg("matrix"),
           py::arg("copy_from_weights_to_matrix"), py::arg("row") = 0, py::arg("column") = 0,
           py::call_guard<py::gil_scoped_release>(),
           R"(Records a copy between one of the weights and a part of a matrix.

Args:
    commands: Where it is recorded.
    weights: A matrix for each of weight_ids.
    matrix_id: Which of them.
    matrix: Float32 or float16, converted where it is not the weights' type.
    copy_from_weights_to_matrix: The direction.
    row: First row of the part.
    column: First column of the part.

Raises:
    InvalidArgumentError: The layer has no such weights, or the part does not lie inside.
    ArgumentTypeError: Element types.)");
}

void bind_forward(TrainingClass& cls) {
  using Layer = RNNMatrixTrainingLayer;
  cls.def(
      "encode_forward_sequence",
      [](const Layer& layer, CommandBuffer& commands, const std::vector<Matrix>& sources,
         const std::vector<Matrix>& destinations, const std::vector<Matrix>& weights,
         const std::optional<RNNRecurrentMatrixState>& state,
         const std::vector<std::size_t>& source_offsets,
         const std::vector<std::size_t>& destination_offsets) {
        RNNForwardSequence made = layer.encode_forward_sequence(
            commands, sources, destinations, weights, state, source_offsets, destination_offsets);
        return std::pair(std::move(made.training_states), std::move(made.recurrent_output_states));
      },
      py::arg("commands"), py::arg("source_matrices"), py::arg("destination_matrices"),
      py::arg("weights"), py::arg("recurrent_input_state") = py::none(), py::kw_only(),
      py::arg("source_offsets") = std::vector<std::size_t>(),
      py::arg("destination_offsets") = std::vector<std::size_t>(),
      py::call_guard<py::gil_scoped_release>(),
      R"(Records the layer on a sequence, as `RNNMatrixInferenceLayer.encode_sequence` does.

Args:
    commands: Where it is recorded.
    source_matrices: (rows, input channels), one a time step; rows may become fewer.
    destination_matrices: (rows, output channels).
    weights: A matrix for each of weight_ids, float32 or float16.
    recurrent_input_state: The state before the first step; None: zeros.
    source_offsets: Bytes from each source's first element to where its rows begin. Empty: zeros.
    destination_offsets: The same of the destinations.

Returns:
    The training states, one a time step, and the recurrent output states.

Raises:
    InvalidArgumentError: Sizes that do not fit.
    ArgumentTypeError: Element types.)");
}

void bind_gradient(TrainingClass& cls) {
  cls.def("encode_gradient_sequence", &RNNMatrixTrainingLayer::encode_gradient_sequence,
          py::arg("commands"), py::arg("forward_sources"), py::arg("source_gradients"),
          py::arg("destination_gradients"), py::arg("weight_gradients"), py::arg("training_states"),
          py::arg("weights"), py::arg("recurrent_input_state") = py::none(), py::kw_only(),
          py::arg("forward_source_offsets") = std::vector<std::size_t>(),
          py::arg("source_gradient_offsets") = std::vector<std::size_t>(),
          py::arg("destination_offsets") = std::vector<std::size_t>(),
          py::call_guard<py::gil_scoped_release>(),
          R"(Records the gradients of a sequence that was encoded forward.

All lists begin with the first time step.

Args:
    commands: Where it is recorded.
    forward_sources: The sources of the forward encode.
    source_gradients: Gradients of its destinations.
    destination_gradients: Where the gradients of its sources go; empty: not wanted.
    weight_gradients: Where those of the weights go, a matrix for each of weight_ids; empty: not wanted.
    training_states: What the forward encode returned.
    weights: The weights of the forward encode.
    recurrent_input_state: The gradient of the state after the last step; None: zeros.
    forward_source_offsets: Bytes from each matrix's first element. Empty: zeros.
    source_gradient_offsets: The same of the source gradients.
    destination_offsets: The same of the destination gradients.

Returns:
    The gradient of the state before the first step.

Raises:
    InvalidArgumentError: Sizes that do not fit, training states of another layer or sequence.
    ArgumentTypeError: Element types.)");
}

void bind_training(py::module_& m) {
  using Layer = RNNMatrixTrainingLayer;
  TrainingClass cls(
      m, "RNNMatrixTrainingLayer",
      R"(A recurrent layer that is trained, its weights being matrices. Apple: MPSRNNMatrixTrainingLayer.

Weights that the descriptor leaves out are zeros and stay so: they have no matrix.

Args:
    device: Where it runs.
    descriptor: The layer.

Raises:
    InvalidArgumentError: Weights or channels that do not fit; the text names the argument.)",
      py::release_gil_before_calling_cpp_dtor());
  cls.def(py::init<const Device&, RNNLayerDescriptor>(), py::arg("device"), py::arg("descriptor"))
      .def_property("accumulate_weight_gradients", &Layer::accumulate_weight_gradients,
                    &Layer::set_accumulate_weight_gradients,
                    "True: gradients are added to what the matrices hold; False: they replace it.");
  bind_weights(cls);
  bind_forward(cls);
  bind_gradient(cls);
}

}  // namespace

void bind_recurrent_layers(py::module_& m) {
  bind_states(m);
  bind_layer_bases(m);
  bind_matrix_inference(m);
  bind_image_inference(m);
  bind_training(m);
}

}  // namespace mpsnn::bindings
