// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "mpsnn/array.h"
#include "mpsnn/command_buffer.h"
#include "mpsnn/device.h"
#include "mpsnn/rnn_descriptor.h"

/// Recurrent layers. A sequence is a list of matrices, a row for each sequence of a batch, or of
/// images, a pixel for each. The time step is the index into the list.
namespace mpsnn {

namespace runtime {
struct RecurrentLayer;
struct RecurrentMatrices;
struct RecurrentImages;
struct TrainingSequence;
}  // namespace runtime

/// Output and memory cell of each layer after a time step, on the device; float32. Handles: a copy
/// means the same memory. Apple: MPSRNNRecurrentMatrixState.
class RNNRecurrentMatrixState {
 public:
  /// Of each layer of a stack: outputs (rows, channels) and, for LSTMs, memory cells of the same
  /// size; none elsewhere. Matrices of float32 without gaps. Throws InvalidArgumentError for lists
  /// of unequal length, sizes that differ, matrices of several devices.
  RNNRecurrentMatrixState(std::vector<Matrix> recurrent_outputs,
                          std::vector<std::optional<Matrix>> memory_cells);
  std::int64_t number_of_layers() const;
  /// Throw InvalidArgumentError for an index beyond the layers.
  Matrix recurrent_output_matrix(std::int64_t layer_index) const;
  /// None where the layer has no memory cell.
  std::optional<Matrix> memory_cell_matrix(std::int64_t layer_index) const;

  const std::shared_ptr<const runtime::RecurrentMatrices>& state() const noexcept { return state_; }
  explicit RNNRecurrentMatrixState(std::shared_ptr<const runtime::RecurrentMatrices> state)
      : state_(std::move(state)) {}

 private:
  std::shared_ptr<const runtime::RecurrentMatrices> state_;
};

/// The same for images. Apple: MPSRNNRecurrentImageState.
class RNNRecurrentImageState {
 public:
  RNNRecurrentImageState(std::vector<Image> recurrent_outputs,
                         std::vector<std::optional<Image>> memory_cells);
  std::int64_t number_of_layers() const;
  Image recurrent_output_image(std::int64_t layer_index) const;
  std::optional<Image> memory_cell_image(std::int64_t layer_index) const;

  const std::shared_ptr<const runtime::RecurrentImages>& state() const noexcept { return state_; }
  explicit RNNRecurrentImageState(std::shared_ptr<const runtime::RecurrentImages> state)
      : state_(std::move(state)) {}

 private:
  std::shared_ptr<const runtime::RecurrentImages> state_;
};

/// What the recurrent layers share.
class RNNLayer {
 public:
  Device device() const;
  /// Name for errors and timelines; default: the class's name.
  const std::string& label() const;
  void set_label(std::string label);
  /// Of the first layer.
  std::int64_t input_feature_channels() const;
  /// Of the last layer.
  std::int64_t output_feature_channels() const;
  /// true: encodes return the state after every time step; false, the default: after the last one.
  bool store_all_intermediate_states() const;
  void set_store_all_intermediate_states(bool all);

  const std::shared_ptr<runtime::RecurrentLayer>& state() const noexcept { return state_; }

 protected:
  RNNLayer(const Device& device, std::vector<RNNLayerDescriptor> descriptors, const char* name,
           bool takes_images = false);

 private:
  std::shared_ptr<runtime::RecurrentLayer> state_;
};

/// What both inference layers share.
class RNNInferenceLayer : public RNNLayer {
 public:
  std::int64_t number_of_layers() const;
  /// Default: NONE.
  RNNBidirectionalCombineMode bidirectional_combine_mode() const;
  void set_bidirectional_combine_mode(RNNBidirectionalCombineMode mode);

 protected:
  using RNNLayer::RNNLayer;
};

/// Recurrent layers, one or a stack, for inference on matrices. Weights are those that the data
/// sources have on the device at each encode. Thread rule: may be encoded from several threads at
/// once, but not while a property is set. Apple: MPSRNNMatrixInferenceLayer.
class RNNMatrixInferenceLayer : public RNNInferenceLayer {
 public:
  /// Throws InvalidArgumentError naming layer and argument: no descriptor, channels of a layer that
  /// are not those of the layer before, weights of another size.
  RNNMatrixInferenceLayer(const Device& device, RNNLayerDescriptor descriptor);
  RNNMatrixInferenceLayer(const Device& device, std::vector<RNNLayerDescriptor> descriptors);

  /// Records the layers on a sequence of any length; all run forward. Matrices are float32 or
  /// float16: sources (rows, input channels), destinations (rows, output channels); a matrix may
  /// have fewer rows than the one before (sequences that have ended), never more. Offsets are bytes
  /// from the matrices' first elements, one a matrix; empty: zeros. No input state: zeros. Returns
  /// the state after the last step (with as many rows as its matrix), or after each one: the output
  /// states where they are given, whose memory nothing else of the encode may use, or else new
  /// ones. Throws InvalidArgumentError naming layer and argument, ArgumentTypeError for element
  /// types.
  std::vector<RNNRecurrentMatrixState> encode_sequence(
      CommandBuffer& commands, const std::vector<Matrix>& source_matrices,
      const std::vector<Matrix>& destination_matrices,
      const std::optional<RNNRecurrentMatrixState>& recurrent_input_state = std::nullopt,
      const std::vector<std::size_t>& source_offsets = {},
      const std::vector<std::size_t>& destination_offsets = {},
      const std::vector<RNNRecurrentMatrixState>& recurrent_output_states = {}) const;

  /// Records the layers whose direction is FORWARD from the first matrix to the last, and those
  /// whose direction is BACKWARD from the last to the first; each direction is a stack of its own
  /// and starts from zeros. Combine mode NONE: each has its destinations. ADD: their sum goes to
  /// the forward destinations. CONCATENATE: forward channels, then backward ones. Throws as
  /// encode_sequence does, and where a direction has no layer.
  void encode_bidirectional_sequence(
      CommandBuffer& commands, const std::vector<Matrix>& source_sequence,
      const std::vector<Matrix>& destination_forward_matrices,
      const std::vector<Matrix>& destination_backward_matrices = {}) const;
};

/// The same on images (N, H, W, channels). With 1x1 weights each pixel is a sequence of its own;
/// others are convolutions of the images, the outputs before and, where they are not diagonal, the
/// memory cells before. Convolutions keep the size: outside of an image are zeros, and an even
/// window reaches further to the top and left. Strides other than 1 are refused. Apple:
/// MPSRNNImageInferenceLayer.
class RNNImageInferenceLayer : public RNNInferenceLayer {
 public:
  RNNImageInferenceLayer(const Device& device, RNNLayerDescriptor descriptor);
  RNNImageInferenceLayer(const Device& device, std::vector<RNNLayerDescriptor> descriptors);

  /// As for matrices; all images of a sequence have one size. Images are written where they are.
  std::vector<RNNRecurrentImageState> encode_sequence(
      CommandBuffer& commands, const std::vector<Image>& source_images,
      const std::vector<Image>& destination_images,
      const std::optional<RNNRecurrentImageState>& recurrent_input_state = std::nullopt,
      const std::vector<RNNRecurrentImageState>& recurrent_output_states = {}) const;
  void encode_bidirectional_sequence(
      CommandBuffer& commands, const std::vector<Image>& source_sequence,
      const std::vector<Image>& destination_forward_images,
      const std::vector<Image>& destination_backward_images = {}) const;
};

/// What a forward encode of a training layer keeps of one time step for the gradient. Apple:
/// MPSRNNMatrixTrainingState.
class RNNMatrixTrainingState {
 public:
  /// Its index in the sequence.
  std::int64_t time_step() const noexcept { return step_; }
  std::int64_t rows() const;
  /// Bytes that the whole sequence keeps on the device; all of its states share them.
  std::size_t sequence_bytes() const;

  const std::shared_ptr<runtime::TrainingSequence>& sequence() const noexcept { return sequence_; }
  RNNMatrixTrainingState(std::shared_ptr<runtime::TrainingSequence> sequence, std::int64_t step)
      : sequence_(std::move(sequence)), step_(step) {}

 private:
  std::shared_ptr<runtime::TrainingSequence> sequence_;
  std::int64_t step_;
};

/// What a forward encode of a training layer gives.
struct RNNForwardSequence {
  std::vector<RNNMatrixTrainingState> training_states;  // one a time step
  std::vector<RNNRecurrentMatrixState> recurrent_output_states;
};

/// One recurrent layer that is trained. Its weights are matrices of the caller, one for each entry
/// of weight_ids(): input weights (output channels, input channels), recurrent and full memory
/// weights (output channels, output channels), bias terms and diagonal memory weights (1, output
/// channels). Apple: MPSRNNMatrixTrainingLayer.
class RNNMatrixTrainingLayer : public RNNLayer {
 public:
  /// Weights that the descriptor leaves out are zeros and stay so: they have no matrix.
  RNNMatrixTrainingLayer(const Device& device, RNNLayerDescriptor descriptor);

  /// true: gradients are added to what the weight gradient matrices hold; false, the default: they
  /// replace it.
  bool accumulate_weight_gradients() const;
  void set_accumulate_weight_gradients(bool on);

  /// The weights that there are, in the order of the matrices.
  std::vector<RNNMatrixId> weight_ids() const;
  /// Matrices of float32 with the weights that the data sources have on the device.
  std::vector<Matrix> create_weight_matrices() const;
  /// Zeros, float32 or float16.
  std::vector<Matrix> create_weight_gradient_matrices(DataType data_type = DataType::FLOAT32) const;

  /// Records a copy between one of the weights and a part of a matrix, from (row, column) on.
  /// Throws InvalidArgumentError for an id that the layer has no weights for, a part that does not
  /// lie inside.
  void encode_copy_weights(CommandBuffer& commands, const std::vector<Matrix>& weights,
                           RNNMatrixId matrix_id, const Matrix& matrix,
                           bool copy_from_weights_to_matrix, std::int64_t row = 0,
                           std::int64_t column = 0) const;

  /// Records the layer on a sequence, as the inference layer's encode_sequence.
  RNNForwardSequence encode_forward_sequence(
      CommandBuffer& commands, const std::vector<Matrix>& source_matrices,
      const std::vector<Matrix>& destination_matrices, const std::vector<Matrix>& weights,
      const std::optional<RNNRecurrentMatrixState>& recurrent_input_state = std::nullopt,
      const std::vector<std::size_t>& source_offsets = {},
      const std::vector<std::size_t>& destination_offsets = {}) const;

  /// Records the gradients of a sequence that was encoded forward with the same weights and
  /// sources. source_gradients are the gradients of the forward destinations, one a time step;
  /// destination_gradients, of the sources, and weight_gradients may be empty: not wanted.
  /// recurrent_input_state: the gradient of the state after the last step; none: zeros. Returns the
  /// gradient of the state before the first step. Throws InvalidArgumentError naming layer and
  /// argument: sizes, training states of another layer or sequence or out of order.
  RNNRecurrentMatrixState encode_gradient_sequence(
      CommandBuffer& commands, const std::vector<Matrix>& forward_sources,
      const std::vector<Matrix>& source_gradients, const std::vector<Matrix>& destination_gradients,
      const std::vector<Matrix>& weight_gradients,
      const std::vector<RNNMatrixTrainingState>& training_states,
      const std::vector<Matrix>& weights,
      const std::optional<RNNRecurrentMatrixState>& recurrent_input_state = std::nullopt,
      const std::vector<std::size_t>& forward_source_offsets = {},
      const std::vector<std::size_t>& source_gradient_offsets = {},
      const std::vector<std::size_t>& destination_offsets = {}) const;
};

/// A layer of any class.
using RNNAnyLayer =
    std::variant<RNNMatrixInferenceLayer, RNNImageInferenceLayer, RNNMatrixTrainingLayer>;

}  // namespace mpsnn
