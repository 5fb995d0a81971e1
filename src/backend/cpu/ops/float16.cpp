// SPDX-License-Identifier: MIT
// float16 images for every kernel: inputs are widened into scratch memory, the float32 kernel runs
// there, and its outputs are rounded once to float16.
#include "backend/cpu/ops/float16.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "backend/cpu/half.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/parallel.h"
#include "base/attributes.h"
#include "base/check.h"
#include "base/half.h"

namespace mpsnn::backend::cpu {
namespace {

constexpr std::size_t kAlignment = 128;

bool is_half(const TensorDesc& operand) {
  return operand.type == DataType::FLOAT16 && !operand.dims.empty();
}

std::vector<TensorDesc> widened(std::span<const TensorDesc> operands) {
  std::vector<TensorDesc> descs(operands.begin(), operands.end());
  for (TensorDesc& desc : descs) {
    if (!is_half(desc)) continue;
    desc.type = DataType::FLOAT32;
    desc.strides.clear();  // dense in scratch memory
  }
  return descs;
}

/// The same case in float32.
struct Widened {
  explicit Widened(const KernelQuery& of)
      : inputs(widened(of.inputs)),
        outputs(widened(of.outputs)),
        query{of.op, of.label, inputs, outputs, of.attributes} {}
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

/// A float16 operand, and where its float32 values lie in the scratch memory: dense, whatever the
/// operand's strides.
class Converted {
 public:
  Converted(std::size_t operand, std::size_t offset, const TensorDesc& desc)
      : operand_(operand), offset_(offset), count_(desc.count()) {
    if (desc.strides.empty() || count_ == 0) return;
    strides_ = desc.strides;
    dims_ = desc.dims;
  }
  std::size_t operand() const noexcept { return operand_; }
  std::size_t bytes() const noexcept { return static_cast<std::size_t>(count_) * sizeof(float); }
  void* place(std::byte* scratch) const { return scratch + offset_; }

  void widen(const void* halves, std::byte* scratch) const {
    auto* const floats = reinterpret_cast<float*>(scratch + offset_);
    if (dims_.empty()) return halves_to_floats(static_cast<const Half*>(halves), floats, count_);
    each_row([&](std::int64_t row, std::int64_t at) {
      const auto* const from = static_cast<const std::byte*>(halves) + at;
      float* const to = floats + row * dims_.back();
      if (is_dense())
        return halves_to_floats(reinterpret_cast<const Half*>(from), to, dims_.back());
      for (std::int64_t i = 0; i < dims_.back(); ++i)
        to[i] = float_of_half(*reinterpret_cast<const Half*>(from + i * strides_.back()));
    });
  }

  void narrow(const std::byte* scratch, void* halves) const {
    const auto* const floats = reinterpret_cast<const float*>(scratch + offset_);
    if (dims_.empty()) return floats_to_halves(floats, static_cast<Half*>(halves), count_);
    each_row([&](std::int64_t row, std::int64_t at) {
      const float* const from = floats + row * dims_.back();
      auto* const to = static_cast<std::byte*>(halves) + at;
      if (is_dense()) return floats_to_halves(from, reinterpret_cast<Half*>(to), dims_.back());
      for (std::int64_t i = 0; i < dims_.back(); ++i)
        *reinterpret_cast<Half*>(to + i * strides_.back()) = half_of_float(from[i]);
    });
  }

 private:
  bool is_dense() const { return strides_.back() == sizeof(Half); }

  /// Calls fn(row, bytes to it) for each run along the last dimension.
  template <class Fn>
  void each_row(Fn fn) const {
    parallel_for(count_ / dims_.back(), grain_for(dims_.back() * 6),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t row = begin; row < end; ++row) {
                     std::int64_t at = 0, rest = row;
                     for (std::size_t i = dims_.size() - 1; i-- > 0; rest /= dims_[i])
                       at += rest % dims_[i] * strides_[i];
                     fn(row, at);
                   }
                 });
  }

  std::size_t operand_, offset_;
  std::int64_t count_;
  std::vector<std::int64_t> dims_, strides_;  // empty where the operand is dense
};

/// Whether the operation reads what its result held.
bool reads_result(const KernelQuery& query) {
  return query.attributes.contains("beta") && get_float(query.attributes, "beta") != 0;
}

class Float16Kernel final : public Kernel {
 public:
  Float16Kernel(const KernelQuery& query, const KernelRow& inner_row)
      : inputs_(place(query.inputs)),
        outputs_(place(query.outputs)),
        reads_result_(reads_result(query)) {
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
      input.widen(table[input.operand()], scratch);
      table[input.operand()] = input.place(scratch);
    }
    for (const Converted& output : outputs_) {
      void*& place = table[args.inputs.size() + output.operand()];
      if (reads_result_) output.widen(place, scratch);
      place = output.place(scratch);
    }

    KernelArgs inner = args;
    inner.table = table.data();
    inner.inputs = std::span(indices).first(args.inputs.size());
    inner.outputs = std::span(indices).subspan(args.inputs.size());
    inner.scratch = inner_->scratch_bytes == 0 ? nullptr : scratch + inner_scratch_;
    inner_->run(inner);

    for (const Converted& output : outputs_)
      output.narrow(scratch, args.output<Half>(output.operand()));
  }

 private:
  std::vector<Converted> place(std::span<const TensorDesc> operands) {
    std::vector<Converted> converted;
    for (std::size_t i = 0; i < operands.size(); ++i) {
      if (!is_half(operands[i])) continue;
      converted.emplace_back(i, scratch_bytes, operands[i]);
      scratch_bytes += (converted.back().bytes() + kAlignment - 1) / kAlignment * kAlignment;
    }
    return converted;
  }

  std::vector<Converted> inputs_, outputs_;
  std::shared_ptr<const Kernel> inner_;
  std::size_t inner_scratch_ = 0;
  bool reads_result_;
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
