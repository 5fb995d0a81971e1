// SPDX-License-Identifier: MIT
// float16 images for every kernel: inputs are widened into scratch memory, the float32 kernel runs
// there, and its outputs are rounded once to float16.
#include "backend/cpu/ops/float16.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "backend/cpu/half.h"
#include "backend/cpu/kernels.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

constexpr std::size_t kAlignment = 128;

bool is_half(const TensorDesc& operand) {
  return operand.type == DataType::FLOAT16 && !operand.dims.empty();
}

std::vector<TensorDesc> widened(std::span<const TensorDesc> operands) {
  std::vector<TensorDesc> descs(operands.begin(), operands.end());
  for (TensorDesc& desc : descs) {
    if (is_half(desc)) desc.type = DataType::FLOAT32;
  }
  return descs;
}

/// The same case in float32.
struct Widened {
  explicit Widened(const KernelQuery& query)
      : inputs(widened(query.inputs)),
        outputs(widened(query.outputs)),
        query{query.op, query.label, inputs, outputs, query.attributes} {}
  std::vector<TensorDesc> inputs, outputs;
  KernelQuery query;
};

/// The first row that takes the case in float32; null, with each row's reason, where none does.
const KernelRow* find_row(const KernelQuery& query, std::string& reasons) {
  for (const KernelRow& row : kernel_rows()) {
    if (row.op != query.op || row.fits == fits_float16) continue;
    const Fit fit = row.fits(query);
    if (fit.yes) return &row;
    reasons += str(reasons.empty() ? "" : "; ", row.name, ": ", fit.reason);
  }
  return nullptr;
}

/// A float16 operand, and where its float32 values lie in the scratch memory.
struct Converted {
  std::size_t operand;
  std::size_t offset;
  std::int64_t count;
};

class Float16Kernel final : public Kernel {
 public:
  Float16Kernel(const KernelQuery& query, const KernelRow& inner_row)
      : inputs_(place(query.inputs)), outputs_(place(query.outputs)) {
    const Widened wide(query);
    inner_ = inner_row.prepare(wide.query);
    inner_scratch_ = scratch_bytes;
    scratch_bytes += inner_->scratch_bytes;
    input_layouts = inner_->input_layouts;
    name_ = str(name_of(query.op), "/float16: ", inner_row.name);
    row = name_;
  }

  void run(const KernelArgs& args) const override {
    auto* const scratch = static_cast<std::byte*>(args.scratch);
    const std::size_t count = args.inputs.size() + args.outputs.size();
    std::vector<void*> table(count);
    std::vector<std::uint32_t> indices(count);
    for (std::size_t i = 0; i < count; ++i) {
      const bool is_input = i < args.inputs.size();
      table[i] = args.table[is_input ? args.inputs[i] : args.outputs[i - args.inputs.size()]];
      indices[i] = static_cast<std::uint32_t>(i);
    }
    for (const Converted& input : inputs_) {
      auto* const wide = reinterpret_cast<float*>(scratch + input.offset);
      halves_to_floats(static_cast<const Half*>(table[input.operand]), wide, input.count);
      table[input.operand] = wide;
    }
    for (const Converted& output : outputs_)
      table[args.inputs.size() + output.operand] = scratch + output.offset;

    KernelArgs inner = args;
    inner.table = table.data();
    inner.inputs = std::span(indices).first(args.inputs.size());
    inner.outputs = std::span(indices).subspan(args.inputs.size());
    inner.scratch = inner_->scratch_bytes == 0 ? nullptr : scratch + inner_scratch_;
    inner_->run(inner);

    for (const Converted& output : outputs_) {
      floats_to_halves(reinterpret_cast<const float*>(scratch + output.offset),
                       args.output<Half>(output.operand), output.count);
    }
  }

 private:
  std::vector<Converted> place(std::span<const TensorDesc> operands) {
    std::vector<Converted> converted;
    for (std::size_t i = 0; i < operands.size(); ++i) {
      if (!is_half(operands[i])) continue;
      const std::int64_t count = operands[i].count();
      converted.push_back({i, scratch_bytes, count});
      const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(float);
      scratch_bytes += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    }
    return converted;
  }

  std::vector<Converted> inputs_, outputs_;
  std::shared_ptr<const Kernel> inner_;
  std::size_t inner_scratch_ = 0;
  std::string name_;
};

}  // namespace

Fit fits_float16(const KernelQuery& query) {
  if (std::ranges::none_of(query.inputs, is_half) && std::ranges::none_of(query.outputs, is_half))
    return Fit::no("no operand is float16");
  const Widened wide(query);
  std::string reasons;
  return find_row(wide.query, reasons) != nullptr ? Fit{} : Fit::no(reasons);
}

std::shared_ptr<Kernel> prepare_float16(const KernelQuery& query) {
  const Widened wide(query);
  std::string reasons;
  const KernelRow* const row = find_row(wide.query, reasons);
  check_internal(row != nullptr, str("a row for float32 fits: ", reasons));
  return std::make_shared<Float16Kernel>(query, *row);
}

}  // namespace mpsnn::backend::cpu
