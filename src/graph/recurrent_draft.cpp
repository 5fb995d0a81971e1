// SPDX-License-Identifier: MIT
#include "graph/recurrent_draft.h"

#include <utility>

#include "base/check.h"
#include "graph/cost.h"
#include "graph/geometry.h"
#include "graph/kernel_lowering.h"
#include "graph/lowering.h"
#include "graph/ops/neuron.h"
#include "graph/passes/passes.h"
#include "graph/verify.h"

namespace mpsnn::graph {
namespace {

constexpr auto kFloatBytes = static_cast<std::int64_t>(sizeof(float));

TensorDesc matrix_desc(std::int64_t rows, std::int64_t columns) {
  return {DataType::FLOAT32, {1, rows, columns}, nullptr};
}

}  // namespace

RecurrentDraft::RecurrentDraft(const RecurrentCall& call, const KernelChooser& chooser)
    : call_(call), draft_(none_, chooser) {}

ValueId RecurrentDraft::operand(std::string_view name) {
  check_internal(next_ < call_.operands.size(), "a recurrent encode has all of its operands");
  const ValueId id =
      draft_.add_value(std::string(name), normalized(call_.operands[next_++]), ValueKind::OPERAND);
  draft_.plan.sources.push_back(id);
  return id;
}

std::vector<ValueId> RecurrentDraft::operands(std::string_view name, std::size_t count) {
  std::vector<ValueId> ids;
  for (std::size_t i = 0; i < count; ++i) ids.push_back(operand(str(name, '.', i)));
  return ids;
}

ValueId RecurrentDraft::temporary(std::string_view name, std::int64_t rows, std::int64_t columns) {
  const ValueId id = draft_.add_value(str(call_.label, '.', name), matrix_desc(rows, columns),
                                      ValueKind::TEMPORARY);
  draft_.plan.values[id].is_part = true;  // of itself: products are added to it
  return id;
}

ValueId RecurrentDraft::part(ValueId value, TensorDesc desc, std::int64_t bytes) {
  const Value whole = draft_.plan.values[value];
  desc = normalized(std::move(desc));
  if (bytes == 0 && desc == whole.desc) return value;
  const ValueId id = draft_.add_value(whole.name, std::move(desc), whole.kind);
  Value& made = draft_.plan.values[id];
  made.storage = whole.storage;
  made.within = whole.within + static_cast<std::size_t>(bytes);
  made.is_part = true;
  made.data_source = whole.data_source;
  made.parameter = whole.parameter;
  return id;
}

ValueId RecurrentDraft::row_part(ValueId value, std::int64_t first, std::int64_t count) {
  TensorDesc of = desc(value);
  of.strides = strides_of(of);
  of.dims[1] = count;
  const std::int64_t bytes = first * of.strides[1];
  return part(value, std::move(of), bytes);
}

ValueId RecurrentDraft::column_part(ValueId value, std::int64_t first, std::int64_t count) {
  TensorDesc of = desc(value);
  of.strides = strides_of(of);
  of.dims[2] = count;
  const std::int64_t bytes = first * of.strides[2];
  return part(value, std::move(of), bytes);
}

ValueId RecurrentDraft::transposed(ValueId value) {
  return part(value, graph::transposed(desc(value)), 0);
}

ValueId RecurrentDraft::floats(ValueId value, std::int64_t first, std::int64_t rows,
                               std::int64_t columns) {
  check_internal(desc(value).strides.empty(), "parts of floats are of memory without gaps");
  return part(value, matrix_desc(rows, columns), first * kFloatBytes);
}

ValueId RecurrentDraft::reshaped(ValueId value, std::vector<std::int64_t> dims) {
  check_internal(desc(value).strides.empty(), "only memory without gaps is seen with other dims");
  return part(value, {desc(value).type, std::move(dims), nullptr}, 0);
}

ValueId RecurrentDraft::parameter(const std::shared_ptr<ConvolutionDataSource>& source,
                                  std::string_view name, std::int64_t rows, std::int64_t columns) {
  return part(parameter(source, name), matrix_desc(rows, columns), 0);
}

ValueId RecurrentDraft::parameter(const std::shared_ptr<ConvolutionDataSource>& source,
                                  std::string_view name) {
  auto& all = draft_.plan.data_sources;
  const auto [found, is_new] =
      draft_.data_sources.try_emplace(source.get(), static_cast<std::uint32_t>(all.size()));
  if (is_new) all.push_back(source);
  for (const ParameterInfo& info : source->parameters()) {
    if (info.name == name)
      return draft_.parameter(found->second, info.name, {DataType::FLOAT32, info.shape, nullptr});
  }
  throw InternalError(str("a data source without ", name));
}

void RecurrentDraft::add(OpId op, std::vector<ValueId> inputs, std::vector<ValueId> outputs,
                         AttributeMap attributes, std::string_view name) {
  while (!inputs.empty() && inputs.back() == kNoValue) inputs.pop_back();
  while (!outputs.empty() && outputs.back() == kNoValue) outputs.pop_back();
  draft_.plan.operations.push_back({.op = op,
                                    .label = str(call_.label, '.', name),
                                    .node_class = std::string(call_.class_name),
                                    .attributes = std::move(attributes),
                                    .inputs = std::move(inputs),
                                    .outputs = std::move(outputs),
                                    .kernel = nullptr,
                                    .optimizer = nullptr});
}

void RecurrentDraft::multiply(ValueId left, ValueId right, ValueId result, bool adds,
                              std::string_view name) {
  add(OpId::matrix_multiplication, {left, right, adds ? result : kNoValue}, {result},
      {{"alpha", 1.0}, {"beta", adds ? 1.0 : 0.0}}, name);
}

void RecurrentDraft::convolve(ValueId rows, ValueId weights,
                              const ConvolutionDescriptor& descriptor, ValueId result, bool adds,
                              std::string_view name) {
  const std::int64_t pixels = this->rows(rows), h = call_.height, w = call_.width,
                     images = pixels / (h * w), channels = descriptor.output_feature_channels;
  const Window y{descriptor.kernel_height, 1, descriptor.dilation_rate_y},
      x{descriptor.kernel_width, 1, descriptor.dilation_rate_x};
  const PaddingPolicy same{.method = PaddingMethod::SIZE_SAME};
  const Geometry geometry{y, x, place(same, Axis::Y, y, h), place(same, Axis::X, x, w)};
  AttributeMap attributes = {{"dilation_y", y.dilation},
                             {"dilation_x", x.dilation},
                             {"groups", std::int64_t{1}},
                             {"edge_mode", static_cast<std::int64_t>(ImageEdgeMode::ZERO)}};
  geometry.describe(attributes);
  set_neuron(attributes, {});
  const ValueId made = temporary("convolved", pixels, channels);
  add(OpId::convolution, {reshaped(dense(rows, name), {images, h, w, columns(rows)}), weights},
      {reshaped(made, {images, h, w, channels})}, std::move(attributes), name);
  if (!adds) return copy(made, result, name);
  add(OpId::matrix_sum, {kNoValue, kNoValue, result, made}, {result},
      {{"start_index", std::int64_t{0}}}, name);
}

void RecurrentDraft::copy(ValueId from, ValueId to, std::string_view name) {
  add(OpId::copy, {from}, {to}, {}, name);
}

void RecurrentDraft::clear(ValueId value, std::string_view name) {
  add(OpId::fill, {}, {value}, {{"value", 0.0}}, name);
}

void RecurrentDraft::increase(ValueId result, ValueId value, std::string_view name) {
  add(OpId::addition, {result, value}, {result}, plain_binary(), name);
}

ValueId RecurrentDraft::dense(ValueId value, std::string_view name) {
  const TensorDesc& of = desc(value);
  if (of.type == DataType::FLOAT32 && of.strides.empty()) return value;
  const ValueId made = temporary(name, rows(value), columns(value));
  copy(value, made, name);
  return made;
}

Plan RecurrentDraft::finish() {
  check_internal(next_ == call_.operands.size(), "a recurrent plan uses all of its operands");
  choose_kernels(draft_);
  place_values(draft_);
  estimate_costs(draft_.plan);
  verify(draft_.plan);
  return std::move(draft_.plan);
}

Steps::Steps(std::span<const std::int64_t> of) : rows(of.begin(), of.end()) {
  for (const std::int64_t count : rows) {
    first.push_back(total);
    total += count;
    are_equal = are_equal && count == rows.front();
  }
}

Steps steps_of(const RecurrentDraft& draft, const std::vector<ValueId>& sequence) {
  std::vector<std::int64_t> rows;
  for (const ValueId value : sequence) rows.push_back(draft.rows(value));
  return Steps(rows);
}

ValueId joined(RecurrentDraft& draft, const std::vector<ValueId>& sequence, const Steps& steps,
               std::string_view name) {
  const ValueId all = draft.temporary(name, steps.total, draft.columns(sequence[0]));
  for (std::size_t t = 0; t < sequence.size(); ++t)
    draft.copy(sequence[t], draft.row_part(all, steps.first[t], steps.rows[t]), name);
  return all;
}

ValueId gathered(RecurrentDraft& draft, const std::vector<ValueId>& sequence, const Steps& steps,
                 std::string_view name) {
  if (sequence.size() == 1) return draft.dense(sequence[0], name);
  return joined(draft, sequence, steps, name);
}

void scatter(RecurrentDraft& draft, ValueId all, const Steps& steps,
             const std::vector<ValueId>& sequence, std::string_view name) {
  for (std::size_t t = 0; t < sequence.size(); ++t)
    draft.copy(draft.row_part(all, steps.first[t], steps.rows[t]), sequence[t], name);
}

}  // namespace mpsnn::graph
