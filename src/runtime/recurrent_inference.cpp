// SPDX-License-Identifier: MIT
// The public inference layers.
#include <algorithm>
#include <array>
#include <utility>

#include "runtime/recurrent_layer.h"

namespace mpsnn {
namespace {

using runtime::RecurrentEncode;
using runtime::RecurrentLayer;
using runtime::RecurrentOperand;
using Sequence = std::vector<RecurrentOperand>;

/// Each layer of a stack takes what the one before it makes.
void check_stack(const RecurrentLayer& layer) {
  const auto& cells = layer.cells;
  // A bidirectional stack is two; which it is to be is known at the encode.
  const bool is_mixed = std::ranges::any_of(
      cells, [&](const graph::RecurrentCell& cell) { return cell.backward != cells[0].backward; });
  for (const bool backward : {false, true}) {
    const graph::RecurrentCell* before = nullptr;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (is_mixed ? cells[i].backward != backward : backward) continue;
      if (before != nullptr && before->outputs != cells[i].inputs) {
        layer.fail(str("layer ", i, ": input_feature_channels"),
                   str(before->outputs, ", as the layer before it makes"), cells[i].inputs);
      }
      before = &cells[i];
    }
  }
}

/// All layers as one stack, forward.
void check_chain(const RecurrentLayer& layer) {
  for (std::size_t i = 1; i < layer.cells.size(); ++i) {
    const std::int64_t made = layer.cells[i - 1].outputs, wanted = layer.cells[i].inputs;
    if (made == wanted) continue;
    layer.fail(str("layer ", i, ": input_feature_channels"),
               str(made, ", as the layer before it makes"), wanted);
  }
}

void add_all(RecurrentEncode& encode, std::string_view argument, const Sequence& sequence,
             bool writes) {
  for (const RecurrentOperand& operand : sequence) encode.add(argument, operand, writes);
}

/// First and last layer of a direction. Throws where there is none.
std::pair<const graph::RecurrentCell*, const graph::RecurrentCell*> ends(
    const RecurrentLayer& layer, bool backward) {
  const graph::RecurrentCell *first = nullptr, *last = nullptr;
  for (const graph::RecurrentCell& cell : layer.cells) {
    if (cell.backward != backward) continue;
    if (first == nullptr) first = &cell;
    last = &cell;
  }
  if (first == nullptr) {
    layer.fail("layer_sequence_direction", "layers of both directions in a bidirectional encode",
               backward ? "no BACKWARD layer" : "no FORWARD layer");
  }
  return {first, last};
}

/// Channels of the forward and the backward destinations (0: none) by combine mode; `backward`
/// destinations are given.
std::array<std::int64_t, 2> destination_channels(const RecurrentLayer& layer,
                                                 std::size_t backward) {
  const auto [first, last] = ends(layer, false);
  const auto [back_first, back_last] = ends(layer, true);
  if (first->inputs != back_first->inputs) {
    layer.fail("input_feature_channels", str(first->inputs, ", as the first FORWARD layer"),
               back_first->inputs);
  }
  if (layer.combine != RNNBidirectionalCombineMode::NONE && backward != 0)
    layer.fail("destination_backward", "none where both directions are combined", backward);
  const std::int64_t n = last->outputs, m = back_last->outputs;
  switch (layer.combine) {
    case RNNBidirectionalCombineMode::NONE:
      return {n, m};
    case RNNBidirectionalCombineMode::ADD:
      if (n != m)
        layer.fail("output_feature_channels", str(n, ", as the last FORWARD layer, to ADD"), m);
      return {n, 0};
    case RNNBidirectionalCombineMode::CONCATENATE:
      return {n + m, 0};
  }
  throw InternalError("bidirectional combine mode out of range");
}

void encode_both_ways(RecurrentLayer& layer, RecurrentEncode& encode, const Sequence& sources,
                      const Sequence& forward, const Sequence& backward) {
  const auto rows = runtime::checked_rows(layer, "source_sequence", sources, true);
  runtime::expect_rows(layer, "destination_forward", forward, rows);
  if (layer.combine == RNNBidirectionalCombineMode::NONE)
    runtime::expect_rows(layer, "destination_backward", backward, rows);
  add_all(encode, "source_sequence", sources, false);
  add_all(encode, "destination_forward", forward, true);
  add_all(encode, "destination_backward", backward, true);
  encode.record("encode_bidirectional_sequence", rows.size(),
                {static_cast<std::int64_t>(layer.combine)}, [&](const graph::RecurrentCall& call) {
                  return graph::plan_inference(call, layer.cells,
                                               {.bidirectional = true, .combine = layer.combine},
                                               layer.device.state()->chooser);
                });
}

void record_forward(RecurrentLayer& layer, RecurrentEncode& encode, std::size_t steps,
                    bool has_input_state, std::size_t output_states) {
  encode.record(
      "encode_sequence", steps, {has_input_state, static_cast<std::int64_t>(output_states)},
      [&](const graph::RecurrentCall& call) {
        return graph::plan_inference(
            call, layer.cells, {.has_input_state = has_input_state, .output_states = output_states},
            layer.device.state()->chooser);
      });
}

/// Adds the states that an encode writes: those that were given, or else new ones of `make(rows)`.
template <class State, class Make>
std::vector<State> add_output_states(const RecurrentLayer& layer, RecurrentEncode& encode,
                                     const std::vector<State>& given,
                                     const std::vector<std::int64_t>& rows, const Make& make) {
  const std::size_t count = layer.store_all ? rows.size() : 1, first = encode.size();
  if (!given.empty() && given.size() != count) {
    layer.fail("recurrent_output_states",
               str(count, layer.store_all ? ", one a time step" : ", that of the last time step"),
               given.size());
  }
  std::vector<State> states = given;
  for (std::size_t s = 0; s < count; ++s) {
    const std::int64_t of = layer.store_all ? rows[s] : rows.back();
    if (given.empty()) states.emplace_back(make(of));
    runtime::add_state(layer, encode, "recurrent_output_states", *states[s].state(), of, true);
  }
  if (!given.empty()) encode.expect_apart("recurrent_output_states", first);
  return states;
}

}  // namespace

std::int64_t RNNInferenceLayer::number_of_layers() const {
  return static_cast<std::int64_t>(state()->cells.size());
}
RNNBidirectionalCombineMode RNNInferenceLayer::bidirectional_combine_mode() const {
  return state()->combine;
}
void RNNInferenceLayer::set_bidirectional_combine_mode(RNNBidirectionalCombineMode mode) {
  if (mode < RNNBidirectionalCombineMode::NONE || mode > RNNBidirectionalCombineMode::CONCATENATE) {
    state()->fail("bidirectional_combine_mode", "NONE, ADD or CONCATENATE", static_cast<int>(mode));
  }
  state()->combine = mode;
}

RNNMatrixInferenceLayer::RNNMatrixInferenceLayer(const Device& device,
                                                 RNNLayerDescriptor descriptor)
    : RNNMatrixInferenceLayer(device, std::vector<RNNLayerDescriptor>{std::move(descriptor)}) {}
RNNMatrixInferenceLayer::RNNMatrixInferenceLayer(const Device& device,
                                                 std::vector<RNNLayerDescriptor> descriptors)
    : RNNInferenceLayer(device, std::move(descriptors), runtime::kMatrixInferenceLayer) {
  check_stack(*state());
}

std::vector<RNNRecurrentMatrixState> RNNMatrixInferenceLayer::encode_sequence(
    CommandBuffer& commands, const std::vector<Matrix>& source_matrices,
    const std::vector<Matrix>& destination_matrices,
    const std::optional<RNNRecurrentMatrixState>& recurrent_input_state,
    const std::vector<std::size_t>& source_offsets,
    const std::vector<std::size_t>& destination_offsets,
    const std::vector<RNNRecurrentMatrixState>& recurrent_output_states) const {
  RecurrentLayer& layer = *state();
  check_chain(layer);
  const Sequence sources = runtime::sequence_of(layer, "source_matrices", source_matrices,
                                                source_offsets, input_feature_channels());
  const Sequence destinations =
      runtime::sequence_of(layer, "destination_matrices", destination_matrices, destination_offsets,
                           output_feature_channels());
  const auto rows = runtime::checked_rows(layer, "source_matrices", sources);
  runtime::expect_rows(layer, "destination_matrices", destinations, rows);
  RecurrentEncode encode(layer, commands);
  add_all(encode, "source_matrices", sources, false);
  add_all(encode, "destination_matrices", destinations, true);
  if (recurrent_input_state) {
    runtime::add_state(layer, encode, "recurrent_input_state", *recurrent_input_state->state(),
                       rows.front(), false);
  }
  std::vector<RNNRecurrentMatrixState> states =
      add_output_states(layer, encode, recurrent_output_states, rows,
                        [&](std::int64_t of) { return runtime::make_state(layer, of); });
  record_forward(layer, encode, rows.size(), recurrent_input_state.has_value(), states.size());
  return states;
}

void RNNMatrixInferenceLayer::encode_bidirectional_sequence(
    CommandBuffer& commands, const std::vector<Matrix>& source_sequence,
    const std::vector<Matrix>& destination_forward_matrices,
    const std::vector<Matrix>& destination_backward_matrices) const {
  RecurrentLayer& layer = *state();
  const auto channels = destination_channels(layer, destination_backward_matrices.size());
  const auto sequence = [&](const char* argument, const std::vector<Matrix>& matrices,
                            std::int64_t of) {
    return runtime::sequence_of(layer, argument, matrices, {}, of);
  };
  RecurrentEncode encode(layer, commands);
  encode_both_ways(
      layer, encode, sequence("source_sequence", source_sequence, ends(layer, false).first->inputs),
      sequence("destination_forward_matrices", destination_forward_matrices, channels[0]),
      sequence("destination_backward_matrices", destination_backward_matrices, channels[1]));
}

RNNImageInferenceLayer::RNNImageInferenceLayer(const Device& device, RNNLayerDescriptor descriptor)
    : RNNImageInferenceLayer(device, std::vector<RNNLayerDescriptor>{std::move(descriptor)}) {}
RNNImageInferenceLayer::RNNImageInferenceLayer(const Device& device,
                                               std::vector<RNNLayerDescriptor> descriptors)
    : RNNInferenceLayer(device, std::move(descriptors), runtime::kImageInferenceLayer,
                        /*takes_images=*/true) {
  check_stack(*state());
}

namespace {

/// A sequence whose images are as high, wide and many as those of another.
Sequence images_like(const RecurrentLayer& layer, std::string_view argument,
                     const std::vector<Image>& images, const std::vector<Image>& sources,
                     std::int64_t channels) {
  if (!images.empty() && !sources.empty()) {
    ImageSize wanted = sources[0].size();
    wanted.channels = channels;
    if (images[0].size() != wanted)
      layer.fail(str(argument, "[0]"), to_string(wanted), to_string(images[0].size()));
  }
  return runtime::sequence_of(layer, argument, images, channels);
}

void set_pixels(RecurrentEncode& encode, const std::vector<Image>& images) {
  if (!images.empty()) encode.set_pixels(images[0].size().height, images[0].size().width);
}

std::shared_ptr<const runtime::RecurrentImages> make_image_state(const RecurrentLayer& layer,
                                                                 ImageSize size) {
  auto state = std::make_shared<runtime::RecurrentImages>();
  for (const graph::RecurrentCell& cell : layer.cells) {
    size.channels = cell.outputs;
    state->outputs.emplace_back(layer.device, size);
    state->memories.emplace_back();
    if (cell.has_memory()) state->memories.back().emplace(layer.device, size);
  }
  return state;
}

}  // namespace

std::vector<RNNRecurrentImageState> RNNImageInferenceLayer::encode_sequence(
    CommandBuffer& commands, const std::vector<Image>& source_images,
    const std::vector<Image>& destination_images,
    const std::optional<RNNRecurrentImageState>& recurrent_input_state,
    const std::vector<RNNRecurrentImageState>& recurrent_output_states) const {
  RecurrentLayer& layer = *state();
  check_chain(layer);
  const Sequence sources =
      runtime::sequence_of(layer, "source_images", source_images, input_feature_channels());
  const Sequence destinations = images_like(layer, "destination_images", destination_images,
                                            source_images, output_feature_channels());
  const auto rows = runtime::checked_rows(layer, "source_images", sources);
  runtime::expect_rows(layer, "destination_images", destinations, rows);
  RecurrentEncode encode(layer, commands);
  set_pixels(encode, source_images);
  add_all(encode, "source_images", sources, false);
  add_all(encode, "destination_images", destinations, true);
  if (recurrent_input_state) {
    runtime::add_state(layer, encode, "recurrent_input_state", *recurrent_input_state->state(),
                       rows.front(), false);
  }
  std::vector<RNNRecurrentImageState> states = add_output_states(
      layer, encode, recurrent_output_states, rows,
      [&](std::int64_t /*rows*/) { return make_image_state(layer, source_images[0].size()); });
  record_forward(layer, encode, rows.size(), recurrent_input_state.has_value(), states.size());
  return states;
}

void RNNImageInferenceLayer::encode_bidirectional_sequence(
    CommandBuffer& commands, const std::vector<Image>& source_sequence,
    const std::vector<Image>& destination_forward_images,
    const std::vector<Image>& destination_backward_images) const {
  RecurrentLayer& layer = *state();
  const auto channels = destination_channels(layer, destination_backward_images.size());
  RecurrentEncode encode(layer, commands);
  set_pixels(encode, source_sequence);
  encode_both_ways(layer, encode,
                   runtime::sequence_of(layer, "source_sequence", source_sequence,
                                        ends(layer, false).first->inputs),
                   images_like(layer, "destination_forward_images", destination_forward_images,
                               source_sequence, channels[0]),
                   images_like(layer, "destination_backward_images", destination_backward_images,
                               source_sequence, channels[1]));
}

}  // namespace mpsnn
