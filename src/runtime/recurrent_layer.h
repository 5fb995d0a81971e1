// SPDX-License-Identifier: MIT
// What the public recurrent layers and their states hold, and how their encodes are recorded.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "graph/recurrent.h"
#include "mpsnn/rnn.h"
#include "runtime/plan_cache.h"

namespace mpsnn::runtime {

inline constexpr const char* kMatrixInferenceLayer = "RNNMatrixInferenceLayer";
inline constexpr const char* kImageInferenceLayer = "RNNImageInferenceLayer";
inline constexpr const char* kMatrixTrainingLayer = "RNNMatrixTrainingLayer";

struct RecurrentLayer {
  RecurrentLayer(const Device& on, std::vector<RNNLayerDescriptor> given, const char* name,
                 bool takes_images);

  const Device device;
  const std::string_view class_name;
  std::string label;
  const std::vector<RNNLayerDescriptor> descriptors;
  std::vector<graph::RecurrentCell> cells;  // what they say
  bool store_all = false, accumulates = false;
  RNNBidirectionalCombineMode combine = RNNBidirectionalCombineMode::NONE;
  PlanCache plans;

  /// `RNNMatrixInferenceLayer "words"`: how errors call it.
  std::string title() const { return str(class_name, " \"", label, '"'); }
  template <class E = InvalidArgumentError, class Expected, class Got>
  [[noreturn]] void fail(std::string_view argument, const Expected& expected,
                         const Got& got) const {
    throw_expected<E>(str(title(), ": ", argument), expected, got);
  }
};

struct RecurrentMatrices {
  std::vector<Matrix> outputs;
  std::vector<std::optional<Matrix>> memories;
};

struct RecurrentImages {
  std::vector<Image> outputs;
  std::vector<std::optional<Image>> memories;
};

struct TrainingSequence {
  std::shared_ptr<const RecurrentLayer> layer;
  std::vector<std::int64_t> rows;  // of each step
  Buffer block;                    // graph::training_floats()
};

/// An operand: memory with a matrix in it, or an image's pixels as rows.
struct RecurrentOperand {
  std::shared_ptr<Resource> resource;
  std::size_t offset = 0;
  TensorDesc desc;  // (1, rows, columns)
};

RecurrentOperand operand_of(const Matrix& matrix);
RecurrentOperand operand_of(const Image& image);

/// One encode in the making: operands are added in the order of the plan's.
class RecurrentEncode {
 public:
  /// Throws where layer and command buffer are of two devices.
  RecurrentEncode(RecurrentLayer& layer, CommandBuffer& commands);

  /// Throws InvalidArgumentError where the memory is another device's.
  void add(std::string_view argument, RecurrentOperand operand, bool writes);
  /// Throws where operands from number `first` on share memory with others: they are written while
  /// those may still be read.
  void expect_apart(std::string_view argument, std::size_t first) const;
  std::size_t size() const noexcept { return descs_.size(); }
  /// Says that the rows of the sequences are the pixels of images of this size.
  void set_pixels(std::int64_t height, std::int64_t width) {
    height_ = height;
    width_ = width;
  }
  /// Plans, or finds the plan, and records it. `options`: all that the plan depends on beside
  /// method and operands.
  void record(std::string_view method, std::size_t steps, std::vector<std::int64_t> options,
              const std::function<graph::Plan(const graph::RecurrentCall&)>& plan);

 private:
  RecurrentLayer& layer_;
  CommandBuffer& commands_;
  std::int64_t height_ = 1, width_ = 1;
  std::vector<TensorDesc> descs_;
  std::vector<void*> addresses_;
  std::vector<ResourceUse> uses_;
};

/// The matrices of an argument as operands, one a step, checked: element types, channels, offsets.
std::vector<RecurrentOperand> sequence_of(const RecurrentLayer& layer, std::string_view argument,
                                          const std::vector<Matrix>& matrices,
                                          const std::vector<std::size_t>& offsets,
                                          std::int64_t channels);
/// The same for images, which have one size.
std::vector<RecurrentOperand> sequence_of(const RecurrentLayer& layer, std::string_view argument,
                                          const std::vector<Image>& images, std::int64_t channels);
/// Throws unless there are steps, and no step has more rows than the one before.
std::vector<std::int64_t> checked_rows(const RecurrentLayer& layer, std::string_view argument,
                                       const std::vector<RecurrentOperand>& sequence,
                                       bool may_grow = false);
/// Throws unless the sequence has these rows.
void expect_rows(const RecurrentLayer& layer, std::string_view argument,
                 const std::vector<RecurrentOperand>& sequence,
                 const std::vector<std::int64_t>& rows);

/// Adds the outputs and memories of a state, checked against the layer. `rows`: at least so many,
/// exactly so many where it is written.
template <class State>
void add_state(const RecurrentLayer& layer, RecurrentEncode& encode, std::string_view argument,
               const State& state, std::int64_t rows, bool writes) {
  const auto expect = [&](std::size_t i, const char* what, const RecurrentOperand& operand) {
    const std::int64_t channels = layer.cells[i].outputs;
    const auto& dims = operand.desc.dims;
    if ((writes ? dims[1] == rows : dims[1] >= rows) && dims[2] == channels) return;
    layer.fail(str(argument, ": layer ", i, ": ", what),
               str(writes ? "" : "at least ", rows, " rows, ", channels, " channels"),
               str(dims[1], " rows, ", dims[2], " channels"));
  };
  if (state.outputs.size() != layer.cells.size())
    layer.fail(argument, str("a state of ", layer.cells.size(), " layers"), state.outputs.size());
  for (std::size_t i = 0; i < state.outputs.size(); ++i) {
    RecurrentOperand output = operand_of(state.outputs[i]);
    expect(i, "recurrent output", output);
    encode.add(argument, std::move(output), writes);
    const bool has_memory = layer.cells[i].has_memory();
    if (has_memory != state.memories[i].has_value()) {
      layer.fail(str(argument, ": layer ", i),
                 has_memory ? "a memory cell" : "no memory cell, as the layer is no LSTM",
                 has_memory ? "none" : "one");
    }
    if (!has_memory) continue;
    RecurrentOperand memory = operand_of(*state.memories[i]);
    expect(i, "memory cell", memory);
    encode.add(argument, std::move(memory), writes);
  }
}

/// Memory for a state of so many rows.
std::shared_ptr<const RecurrentMatrices> make_state(const RecurrentLayer& layer, std::int64_t rows);

}  // namespace mpsnn::runtime
