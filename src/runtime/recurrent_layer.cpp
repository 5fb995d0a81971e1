// SPDX-License-Identifier: MIT
#include "runtime/recurrent_layer.h"

#include "graph/kernel_lowering.h"
#include "runtime/array_state.h"
#include "runtime/command_buffer_state.h"
#include "runtime/image_state.h"

namespace mpsnn {
namespace runtime {

RecurrentLayer::RecurrentLayer(const Device& on, std::vector<RNNLayerDescriptor> given,
                               const char* name, bool takes_images)
    : device(on), class_name(name), label(name), descriptors(std::move(given)) {
  if (descriptors.empty()) fail("descriptors", "at least one", "none");
  for (std::size_t i = 0; i < descriptors.size(); ++i) {
    const std::string which = descriptors.size() == 1 ? title() : str(title(), ": layer ", i);
    cells.push_back(graph::make_cell(which, descriptors[i], takes_images));
  }
}

RecurrentOperand operand_of(const Matrix& matrix) {
  const ArrayState& state = *matrix.state();
  return {state.resource(), state.offset, state.desc};
}

RecurrentOperand operand_of(const Image& image) {
  const ImageSize& size = image.size();
  return {image.state(),
          0,
          {image.format(), {1, size.n * size.height * size.width, size.channels}, nullptr}};
}

RecurrentEncode::RecurrentEncode(RecurrentLayer& layer, CommandBuffer& commands)
    : layer_(layer), commands_(commands) {
  if (commands.state()->device() == layer.device.state()) return;
  layer.fail("commands", str("a command buffer of device \"", layer.device.state()->title(), '"'),
             str("one of device \"", commands.state()->device()->title(), '"'));
}

void RecurrentEncode::add(std::string_view argument, RecurrentOperand operand, bool writes) {
  if (operand.resource->device != layer_.device.state()) {
    layer_.fail(argument, str("memory of device \"", layer_.device.state()->title(), '"'),
                str("that of device \"", operand.resource->device->title(), '"'));
  }
  descs_.push_back(std::move(operand.desc));
  addresses_.push_back(static_cast<std::byte*>(operand.resource->memory->device_pointer()) +
                       operand.offset);
  // Parts of one buffer often follow one another.
  if (uses_.empty() || uses_.back().resource != operand.resource)
    uses_.push_back({std::move(operand.resource), false});
  uses_.back().writes = uses_.back().writes || writes;
}

void RecurrentEncode::expect_apart(std::string_view argument, std::size_t first) const {
  const auto begin = [&](std::size_t i) { return static_cast<const std::byte*>(addresses_[i]); };
  const auto end = [&](std::size_t i) { return begin(i) + descs_[i].bytes(); };
  for (std::size_t i = first; i < size(); ++i) {
    for (std::size_t other = 0; other < i; ++other) {
      if (begin(i) >= end(other) || begin(other) >= end(i)) continue;
      layer_.fail(argument, "memory that nothing else of the encode uses",
                  str("that of ", other < first ? "another operand" : "two of its matrices"));
    }
  }
}

void RecurrentEncode::record(std::string_view method, std::size_t steps,
                             std::vector<std::int64_t> options,
                             const std::function<graph::Plan(const graph::RecurrentCall&)>& plan) {
  CommandBufferState& buffer = *commands_.state();
  HostSpan span(SpanKind::ENCODE, layer_.label, buffer.label());
  PlanKey key{std::move(descs_), {}};
  key.options = std::move(options);
  key.options.insert(key.options.end(), {height_, width_});
  key.method = method;
  const auto make = [&] {
    return plan({layer_.label, layer_.class_name, key.sources, steps, height_, width_});
  };
  auto [compiled, binding] = layer_.plans.bound_plan(key, make, layer_.device.state());
  const std::size_t operations = compiled->plan().operations.size();
  span.set_work(compiled->bytes_before(operations), compiled->flops_before(operations));
  auto run = std::make_shared<PlanRun>();
  run->plan = compiled;
  run->heap = buffer.heap(compiled->plan().heap_bytes);
  run->uses = std::move(uses_);
  // In the order of CompiledPlan::Base.
  std::vector<void*> bases = {nullptr, run->heap ? run->heap->device_pointer() : nullptr};
  bases.insert(bases.end(), addresses_.begin(), addresses_.end());
  for (const MemoryHandle& memory : binding->memory) bases.push_back(memory->device_pointer());
  run->binding = std::move(binding);
  run->table = compiled->table(bases);
  run->scalars = compiled->scalars();
  buffer.record(std::move(run), commands_.layer()->stack());
}

namespace {

template <class Subject>
void check_type(const RecurrentLayer& layer, const Subject& subject, DataType type) {
  if (type == DataType::FLOAT32 || type == DataType::FLOAT16) return;
  layer.fail<ArgumentTypeError>(subject(), "float32 or float16", name_of(type));
}

/// The part of a matrix's buffer from an offset on, `channels` of its columns.
template <class Subject>
void move_by(const RecurrentLayer& layer, const Subject& subject, RecurrentOperand& operand,
             std::size_t offset, std::int64_t channels) {
  TensorDesc& desc = operand.desc;
  const std::size_t size = size_of(desc.type);
  if (offset % size != 0)
    layer.fail(str(subject(), ": offset"), str("a multiple of ", size, " bytes"), offset);
  desc.strides = graph::strides_of(desc);
  desc.dims[2] = channels;
  const std::size_t bytes = desc.bytes(),
                    there = std::static_pointer_cast<BufferState>(operand.resource)->bytes;
  if (offset > there || operand.offset + bytes > there - offset) {
    layer.fail(str(subject(), ": offset"), str("elements inside of the buffer's ", there, " bytes"),
               str(bytes, " bytes from ", operand.offset, " + ", offset));
  }
  operand.offset += offset;
  desc = graph::normalized(desc);
}

}  // namespace

std::vector<RecurrentOperand> sequence_of(const RecurrentLayer& layer, std::string_view argument,
                                          const std::vector<Matrix>& matrices,
                                          const std::vector<std::size_t>& offsets,
                                          std::int64_t channels) {
  if (!offsets.empty() && offsets.size() != matrices.size()) {
    layer.fail(str(argument, ": offsets"), str(matrices.size(), ", one a matrix"), offsets.size());
  }
  std::vector<RecurrentOperand> sequence;
  for (std::size_t t = 0; t < matrices.size(); ++t) {
    const auto subject = [&] { return str(argument, '[', t, ']'); };
    sequence.push_back(operand_of(matrices[t]));
    RecurrentOperand& operand = sequence.back();
    check_type(layer, subject, operand.desc.type);
    if (matrices[t].matrices() != 1)
      layer.fail(subject(), "one matrix", str(matrices[t].matrices(), " matrices"));
    const std::int64_t columns = matrices[t].columns();
    if (offsets.empty() ? columns != channels : columns < channels) {
      layer.fail(subject(), str(offsets.empty() ? "" : "at least ", channels, " columns"), columns);
    }
    if (!offsets.empty()) move_by(layer, subject, operand, offsets[t], channels);
  }
  return sequence;
}

std::vector<RecurrentOperand> sequence_of(const RecurrentLayer& layer, std::string_view argument,
                                          const std::vector<Image>& images, std::int64_t channels) {
  std::vector<RecurrentOperand> sequence;
  for (std::size_t t = 0; t < images.size(); ++t) {
    const auto subject = [&] { return str(argument, '[', t, ']'); };
    check_type(layer, subject, images[t].format());
    ImageSize wanted = images[0].size();
    wanted.channels = channels;
    if (images[t].size() != wanted)
      layer.fail(subject(), to_string(wanted), to_string(images[t].size()));
    sequence.push_back(operand_of(images[t]));
  }
  return sequence;
}

std::vector<std::int64_t> checked_rows(const RecurrentLayer& layer, std::string_view argument,
                                       const std::vector<RecurrentOperand>& sequence,
                                       bool may_grow) {
  if (sequence.empty()) layer.fail(argument, "at least one time step", "none");
  std::vector<std::int64_t> rows;
  for (const RecurrentOperand& operand : sequence) {
    const std::int64_t count = operand.desc.dims[1];
    if (!may_grow && !rows.empty() && count > rows.back()) {
      layer.fail(str(argument, '[', rows.size(), ']'),
                 str("at most ", rows.back(), " rows, as the time step before"), count);
    }
    rows.push_back(count);
  }
  return rows;
}

void expect_rows(const RecurrentLayer& layer, std::string_view argument,
                 const std::vector<RecurrentOperand>& sequence,
                 const std::vector<std::int64_t>& rows) {
  if (sequence.size() != rows.size())
    layer.fail(argument, str(rows.size(), " time steps"), sequence.size());
  for (std::size_t t = 0; t < rows.size(); ++t) {
    const std::int64_t count = sequence[t].desc.dims[1];
    if (count != rows[t]) layer.fail(str(argument, '[', t, ']'), str(rows[t], " rows"), count);
  }
}

std::shared_ptr<const RecurrentMatrices> make_state(const RecurrentLayer& layer,
                                                    std::int64_t rows) {
  auto state = std::make_shared<RecurrentMatrices>();
  for (const graph::RecurrentCell& cell : layer.cells) {
    const MatrixDescriptor descriptor{rows, cell.outputs};
    state->outputs.emplace_back(layer.device, descriptor);
    state->memories.emplace_back();
    if (cell.has_memory()) state->memories.back().emplace(layer.device, descriptor);
  }
  return state;
}

}  // namespace runtime

RNNLayer::RNNLayer(const Device& device, std::vector<RNNLayerDescriptor> descriptors,
                   const char* name, bool takes_images)
    : state_(std::make_shared<runtime::RecurrentLayer>(device, descriptors, name, takes_images)) {}

Device RNNLayer::device() const { return state_->device; }
const std::string& RNNLayer::label() const { return state_->label; }
void RNNLayer::set_label(std::string label) {
  state_->label = std::move(label);
  state_->plans.clear();  // they bear the label
}
std::int64_t RNNLayer::input_feature_channels() const { return state_->cells.front().inputs; }
std::int64_t RNNLayer::output_feature_channels() const { return state_->cells.back().outputs; }
bool RNNLayer::store_all_intermediate_states() const { return state_->store_all; }
void RNNLayer::set_store_all_intermediate_states(bool all) { state_->store_all = all; }

namespace {

void check_index(std::string_view title, std::int64_t index, std::size_t layers) {
  if (index >= 0 && static_cast<std::size_t>(index) < layers) return;
  throw_expected(str(title, ": layer_index"), str("below ", layers), index);
}

/// What the constructors of both states check.
template <class T, class Size>
void check_state(const char* title, const std::vector<T>& outputs,
                 const std::vector<std::optional<T>>& memories, const Size& size_of_one) {
  if (outputs.empty()) throw_expected(str(title, ": recurrent_outputs"), "at least one", "none");
  if (memories.size() != outputs.size())
    throw_expected(str(title, ": memory_cells"), str(outputs.size(), ", one a layer"),
                   memories.size());
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const std::string layer = str(title, ": layer ", i);
    if (outputs[i].device().state() != outputs[0].device().state())
      throw_expected(layer, "memory of one device", "that of another");
    if (memories[i] && size_of_one(*memories[i]) != size_of_one(outputs[i]))
      throw_expected(layer, "a memory cell of the output's size", "another");
  }
}

}  // namespace

RNNRecurrentMatrixState::RNNRecurrentMatrixState(std::vector<Matrix> recurrent_outputs,
                                                 std::vector<std::optional<Matrix>> memory_cells) {
  check_state("RNNRecurrentMatrixState", recurrent_outputs, memory_cells,
              [](const Matrix& matrix) { return matrix.shape(); });
  for (const Matrix& matrix : recurrent_outputs) {
    const bool is_float =
        matrix.data_type() == DataType::FLOAT32 || matrix.data_type() == DataType::FLOAT16;
    if (is_float && matrix.matrices() == 1) continue;
    throw_expected("RNNRecurrentMatrixState: recurrent_outputs", "matrices of float32 or float16",
                   str(matrix.matrices(), " of ", name_of(matrix.data_type())));
  }
  state_ = std::make_shared<runtime::RecurrentMatrices>(
      runtime::RecurrentMatrices{std::move(recurrent_outputs), std::move(memory_cells)});
}

std::int64_t RNNRecurrentMatrixState::number_of_layers() const {
  return static_cast<std::int64_t>(state_->outputs.size());
}
Matrix RNNRecurrentMatrixState::recurrent_output_matrix(std::int64_t layer_index) const {
  check_index("RNNRecurrentMatrixState", layer_index, state_->outputs.size());
  return state_->outputs[static_cast<std::size_t>(layer_index)];
}
std::optional<Matrix> RNNRecurrentMatrixState::memory_cell_matrix(std::int64_t layer_index) const {
  check_index("RNNRecurrentMatrixState", layer_index, state_->outputs.size());
  return state_->memories[static_cast<std::size_t>(layer_index)];
}

RNNRecurrentImageState::RNNRecurrentImageState(std::vector<Image> recurrent_outputs,
                                               std::vector<std::optional<Image>> memory_cells) {
  check_state("RNNRecurrentImageState", recurrent_outputs, memory_cells,
              [](const Image& image) { return image.size(); });
  state_ = std::make_shared<runtime::RecurrentImages>(
      runtime::RecurrentImages{std::move(recurrent_outputs), std::move(memory_cells)});
}

std::int64_t RNNRecurrentImageState::number_of_layers() const {
  return static_cast<std::int64_t>(state_->outputs.size());
}
Image RNNRecurrentImageState::recurrent_output_image(std::int64_t layer_index) const {
  check_index("RNNRecurrentImageState", layer_index, state_->outputs.size());
  return state_->outputs[static_cast<std::size_t>(layer_index)];
}
std::optional<Image> RNNRecurrentImageState::memory_cell_image(std::int64_t layer_index) const {
  check_index("RNNRecurrentImageState", layer_index, state_->outputs.size());
  return state_->memories[static_cast<std::size_t>(layer_index)];
}

}  // namespace mpsnn
