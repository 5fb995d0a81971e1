// SPDX-License-Identifier: MIT
#include "graph/kernel_lowering.h"

#include <algorithm>
#include <utility>

#include "graph/cost.h"
#include "graph/network.h"
#include "graph/passes/passes.h"
#include "graph/verify.h"

namespace mpsnn::graph {

std::string title(const KernelClass& kernel_class, std::string_view label) {
  return str(kernel_class.name, " \"", label, '"');
}

Plan make_plan(const KernelCall& call, const KernelChooser& chooser) {
  const Network none;
  Draft draft(none, chooser);
  KernelLowering to(draft, call);
  call.method.lower(to);
  choose_kernels(draft);
  place_values(draft);
  estimate_costs(draft.plan);
  verify(draft.plan);
  return std::move(draft.plan);
}

KernelLowering::KernelLowering(Draft& draft, const KernelCall& call) : draft_(draft), call_(call) {
  const std::vector<OperandSpec>& specs = call.method.operands;
  const auto lists =
      static_cast<std::size_t>(std::ranges::count(specs, true, &OperandSpec::variadic));
  if (lists > 0) variadic_count_ = (call.operands.size() - (specs.size() - lists)) / lists;
  for (const OperandSpec& spec : specs) {
    for (std::size_t k = 0; k < (spec.variadic ? variadic_count_ : 1); ++k) {
      const TensorDesc& desc = call.operands[operands_.size()];
      const ValueId id = draft.add_value(std::string(spec.name), desc, ValueKind::OPERAND);
      draft.plan.sources.push_back(id);
      operands_.push_back(desc.dims.empty() ? kNoValue : id);
    }
  }
  if (call.state_bytes == 0) return;
  const auto bytes = static_cast<std::int64_t>(call.state_bytes);
  state_ = draft.add_value("state", {DataType::UINT8, {bytes}, nullptr}, ValueKind::OPERAND);
  draft.plan.sources.push_back(state_);
}

std::size_t KernelLowering::index(std::size_t i, std::size_t k) const {
  const std::vector<OperandSpec>& specs = call_.method.operands;
  check_internal(i < specs.size() && k < (specs[i].variadic ? variadic_count_ : 1),
                 "a lowering asks for operands that its method has");
  std::size_t at = k;
  for (std::size_t before = 0; before < i; ++before)
    at += specs[before].variadic ? variadic_count_ : 1;
  return at;
}

bool KernelLowering::has(std::size_t i) const { return operands_[index(i, 0)] != kNoValue; }

const TensorDesc& KernelLowering::desc(std::size_t i, std::size_t k) const {
  return call_.operands[index(i, k)];
}

ValueId KernelLowering::operand(std::size_t i, std::size_t k) const {
  return operands_[index(i, k)];
}

ValueId KernelLowering::view(std::size_t i, TensorDesc desc, std::int64_t offset, std::size_t k) {
  const ValueId whole = operand(i, k);
  desc = normalized(std::move(desc));
  check_internal(
      offset >= 0 && static_cast<std::size_t>(offset) + desc.bytes() <= this->desc(i, k).bytes(),
      "a view lies inside of its operand");
  if (offset == 0 && desc == draft_.plan.values[whole].desc) return whole;
  return part_of_memory(whole, std::move(desc), static_cast<std::size_t>(offset));
}

ValueId KernelLowering::state(TensorDesc desc, std::size_t offset) {
  check_internal(state_ != kNoValue, "a lowering asks for state that its class has");
  return part_of_memory(state_, std::move(desc), offset);
}

ValueId KernelLowering::part_of_memory(ValueId whole, TensorDesc desc, std::size_t offset) {
  const ValueId id =
      draft_.add_value(draft_.plan.values[whole].name, std::move(desc), ValueKind::OPERAND);
  draft_.plan.values[id].storage = whole;
  draft_.plan.values[id].offset = offset;
  return id;
}

namespace {

bool is_dense_float32(const TensorDesc& desc) {
  return desc.type == DataType::FLOAT32 && normalized(desc).strides.empty();
}

}  // namespace

ValueId KernelLowering::as_float32(std::size_t i, std::size_t k) {
  return has(i) ? as_float32(i, desc(i, k), 0, k) : kNoValue;
}

ValueId KernelLowering::as_float32(std::size_t i, const TensorDesc& part, std::int64_t offset,
                                   std::size_t k) {
  const ValueId source = view(i, part, offset, k);
  if (is_dense_float32(part)) return source;
  const std::string_view name = call_.method.operands[i].name;
  const ValueId copy = temporary(name, {DataType::FLOAT32, part.dims, nullptr});
  add(OpId::copy, {source}, {copy}, {}, name);
  return copy;
}

ValueId KernelLowering::result_as_float32(std::size_t i, const TensorDesc& part,
                                          std::int64_t offset) {
  if (is_dense_float32(part)) return view(i, part, offset);
  return temporary(call_.method.operands[i].name, {DataType::FLOAT32, part.dims, nullptr});
}

void KernelLowering::write_back(ValueId value, std::size_t i, const TensorDesc& part,
                                std::int64_t offset) {
  if (is_dense_float32(part)) return;
  add(OpId::copy, {value}, {view(i, part, offset)}, {}, call_.method.operands[i].name);
}

ValueId KernelLowering::reshaped(ValueId value, std::vector<std::int64_t> dims) {
  const Value original = draft_.plan.values[value];
  TensorDesc desc{original.desc.type, std::move(dims), nullptr};
  check_internal(original.desc.strides.empty() && desc.count() == original.desc.count(),
                 "only dense values are seen with other dims");
  const ValueId id = draft_.add_value(original.name, std::move(desc), original.kind);
  Value& made = draft_.plan.values[id];
  made.storage = original.storage;
  made.offset = original.offset;
  made.within = original.within;
  made.is_part = true;  // all of it
  return id;
}

ValueId KernelLowering::temporary(std::string_view name, TensorDesc desc) {
  return draft_.add_value(str(call_.label, '.', name), std::move(desc), ValueKind::TEMPORARY);
}

void KernelLowering::add(OpId op, std::vector<ValueId> inputs, std::vector<ValueId> outputs,
                         AttributeMap attributes, std::string_view name,
                         std::shared_ptr<Optimizer> optimizer) {
  const std::string label(call_.label);
  draft_.plan.operations.push_back({.op = op,
                                    .label = name.empty() ? label : str(label, '.', name),
                                    .node_class = std::string(call_.kernel_class.name),
                                    .attributes = std::move(attributes),
                                    .inputs = std::move(inputs),
                                    .outputs = std::move(outputs),
                                    .kernel = nullptr,
                                    .optimizer = std::move(optimizer)});
}

void KernelLowering::expect_type(std::size_t i, std::initializer_list<DataType> types) const {
  std::string names;
  for (const DataType type : types) {
    if (desc(i).type == type) return;
    names += str(names.empty() ? "" : " or ", mpsnn::name_of(type));
  }
  fail<ArgumentTypeError>(call_.method.operands[i].name, names, mpsnn::name_of(desc(i).type));
}

void KernelLowering::expect_dims(std::size_t i, const std::vector<std::int64_t>& dims) const {
  if (desc(i).dims == dims) return;
  fail_operand(i, to_string(TensorDesc{desc(i).type, dims, nullptr}));
}

std::vector<std::int64_t> strides_of(const TensorDesc& desc) {
  if (!desc.strides.empty()) return desc.strides;
  std::vector<std::int64_t> strides(desc.dims.size());
  auto next = static_cast<std::int64_t>(size_of(desc.type));
  for (std::size_t i = desc.dims.size(); i-- > 0;) {
    strides[i] = next;
    next *= desc.dims[i];
  }
  return strides;
}

TensorDesc normalized(TensorDesc desc) {
  if (desc.strides.empty()) return desc;
  const std::vector<std::int64_t> dense = strides_of({desc.type, desc.dims, nullptr});
  for (std::size_t i = 0; i < dense.size(); ++i) {
    if (desc.dims[i] != 1 && desc.strides[i] != dense[i]) return desc;
  }
  desc.strides.clear();
  return desc;
}

std::optional<MatrixPart> part_of(const TensorDesc& matrix, std::int64_t row, std::int64_t column,
                                  std::int64_t rows, std::int64_t columns, std::int64_t batch_start,
                                  std::int64_t batch_size) {
  check_internal(matrix.dims.size() == 3, "a part is of matrices");
  const auto fits = [](std::int64_t start, std::int64_t& size, std::int64_t extent) {
    if (start < 0 || start > extent) return false;
    if (size < 0) size = extent - start;
    return size >= 1 && size <= extent - start;
  };
  if (!fits(batch_start, batch_size, matrix.dims[0]) || !fits(row, rows, matrix.dims[1]) ||
      !fits(column, columns, matrix.dims[2])) {
    return std::nullopt;
  }
  const std::vector<std::int64_t> strides = strides_of(matrix);
  return MatrixPart{normalized({matrix.type, {batch_size, rows, columns}, nullptr, strides}),
                    batch_start * strides[0] + row * strides[1] + column * strides[2]};
}

TensorDesc transposed(const TensorDesc& matrix) {
  std::vector<std::int64_t> strides = strides_of(matrix), dims = matrix.dims;
  std::swap(strides[strides.size() - 1], strides[strides.size() - 2]);
  std::swap(dims[dims.size() - 1], dims[dims.size() - 2]);
  return normalized({matrix.type, std::move(dims), nullptr, std::move(strides)});
}

}  // namespace mpsnn::graph
