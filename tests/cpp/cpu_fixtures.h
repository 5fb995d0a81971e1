// SPDX-License-Identifier: MIT
// Runs one kernel row of the CPU backend on guarded memory: outputs and scratch start as NaN, bytes
// around every operand must stay as they were, inputs too, and a second run must give the same
// bits.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "backend/cpu/kernels.h"
#include "base/check.h"
#include "testing.h"

namespace cpu_tests {

using namespace mpsnn;
using backend::Fit;
using backend::KernelRow;
using Dims = std::vector<std::int64_t>;

/// An operand: its description and bytes.
struct Tensor {
  TensorDesc desc;
  std::vector<std::byte> data;

  Tensor() = default;  // absent
  Tensor(Dims dims, const std::vector<float>& values)
      : desc{DataType::FLOAT32, std::move(dims), nullptr} {
    REQUIRE(desc.count() == static_cast<std::int64_t>(values.size()));
    data.resize(values.size() * sizeof(float));
    if (!values.empty()) std::memcpy(data.data(), values.data(), data.size());
  }
  /// A counter, as versions and time steps are.
  static Tensor counter(std::int64_t value) {
    Tensor tensor;
    tensor.desc = {DataType::INT64, {1}, nullptr};
    tensor.data.resize(sizeof value);
    std::memcpy(tensor.data.data(), &value, sizeof value);
    return tensor;
  }
  std::vector<float> floats() const {
    std::vector<float> values(data.size() / sizeof(float));
    if (!values.empty()) std::memcpy(values.data(), data.data(), data.size());
    return values;
  }
  std::int64_t integer() const {
    std::int64_t value = 0;
    std::memcpy(&value, data.data(), sizeof value);
    return value;
  }
};

inline TensorDesc desc_of(Dims dims, DataType type = DataType::FLOAT32) {
  return {type, std::move(dims), nullptr};
}

/// Values for an operand; the same seed gives the same ones on every machine.
class Values {
 public:
  explicit Values(std::uint32_t seed = 1) : engine_(seed) {}
  /// Whole numbers in [-3, 3]: their sums of products are exact in float32.
  Tensor integers(Dims dims) {
    return make(std::move(dims),
                [&] { return static_cast<float>(static_cast<int>(engine_() % 7) - 3); });
  }
  /// Numbers in (-1, 1) of 24 bits.
  Tensor reals(Dims dims) {
    return make(std::move(dims), [&] {
      return static_cast<float>(static_cast<std::int32_t>(engine_() >> 7) - (1 << 24)) /
             static_cast<float>(1 << 24);
    });
  }

 private:
  template <class Next>
  Tensor make(Dims dims, Next next) {
    std::vector<float> values(static_cast<std::size_t>(desc_of(dims).count()));
    for (float& value : values) value = next();
    return {std::move(dims), values};
  }
  std::mt19937 engine_;
};

/// Aligned bytes with a guard on both sides.
class GuardedBytes {
 public:
  GuardedBytes(std::size_t bytes, unsigned char fill)
      : bytes_(bytes), memory_(bytes + 2 * kGuard + 128) {
    void* start = memory_.data();
    std::size_t space = memory_.size();
    first_ = static_cast<std::byte*>(std::align(128, bytes + 2 * kGuard, start, space));
    std::memset(first_, kPattern, bytes + 2 * kGuard);
    std::memset(data(), fill, bytes);
  }
  std::byte* data() { return first_ + kGuard; }
  bool guards_hold() const {
    for (std::size_t i = 0; i < kGuard; ++i) {
      const auto pattern = static_cast<std::byte>(kPattern);
      if (first_[i] != pattern || first_[kGuard + bytes_ + i] != pattern) return false;
    }
    return true;
  }

 private:
  static constexpr std::size_t kGuard = 256;
  static constexpr int kPattern = 0x5a;
  std::size_t bytes_;
  std::vector<std::byte> memory_;
  std::byte* first_;
};

inline constexpr unsigned char kNanByte = 0xff;  // floats, doubles of these bytes are NaN

struct Case {
  OpId op;
  std::vector<Tensor> inputs;
  std::vector<TensorDesc> outputs;
  AttributeMap attributes;
  std::map<std::size_t, std::size_t> in_place;  // output -> input whose memory it takes
  std::vector<double> scalars;
  std::vector<TensorDesc> input_descs() const {
    std::vector<TensorDesc> descs;
    for (const Tensor& input : inputs) descs.push_back(input.desc);
    return descs;
  }
};

inline const KernelRow& row_named(std::string_view name) {
  for (const KernelRow& row : backend::cpu::kernel_rows()) {
    if (row.name == name) return row;
  }
  throw InternalError(str("no row is named ", name));
}

/// The row that takes float16, by way of the others: the last one of every operation.
inline std::string float16_row(OpId op) { return str(name_of(op), "/float16"); }

/// The other rows of an operation, in order.
inline std::vector<std::string> rows_of(OpId op) {
  std::vector<std::string> names;
  for (const KernelRow& row : backend::cpu::kernel_rows()) {
    if (row.op == op && row.name != float16_row(op)) names.emplace_back(row.name);
  }
  return names;
}

inline Fit fit_of(std::string_view row, const Case& c) {
  const std::vector<TensorDesc> inputs = c.input_descs();
  return row_named(row).fits({c.op, "test", inputs, c.outputs, c.attributes});
}

/// The name of the row that a planner would take; "" where none fits.
inline std::string chosen_row(const Case& c) {
  for (const std::string& name : rows_of(c.op)) {
    if (fit_of(name, c).yes) return name;
  }
  return fit_of(float16_row(c.op), c).yes ? float16_row(c.op) : "";
}

inline std::shared_ptr<Kernel> prepare(std::string_view row, const Case& c) {
  const std::vector<TensorDesc> inputs = c.input_descs();
  const KernelQuery query = {c.op, "test", inputs, c.outputs, c.attributes};
  const Fit fit = row_named(row).fits(query);
  if (!fit.yes) throw InternalError(str(row, " does not fit: ", fit.reason));
  auto kernel = row_named(row).prepare(query);
  kernel->row = row_named(row).name;
  return kernel;
}

/// Runs a prepared kernel once on guarded memory; the outputs.
inline std::vector<Tensor> run_once(const Kernel& kernel, const Case& c) {
  std::vector<std::unique_ptr<GuardedBytes>> memory;
  std::vector<void*> table;
  std::vector<std::uint32_t> inputs, outputs;
  const auto add = [&](const TensorDesc& desc, const std::byte* data) {
    const bool absent = desc.dims.empty();
    memory.push_back(std::make_unique<GuardedBytes>(absent ? 0 : desc.bytes(), kNanByte));
    if (data != nullptr && desc.bytes() != 0)
      std::memcpy(memory.back()->data(), data, desc.bytes());
    table.push_back(absent ? nullptr : memory.back()->data());
    return static_cast<std::uint32_t>(table.size() - 1);
  };
  for (const Tensor& input : c.inputs)
    inputs.push_back(add(input.desc, input.desc.dims.empty() ? nullptr : input.data.data()));
  for (std::size_t i = 0; i < c.outputs.size(); ++i) {
    const auto shared = c.in_place.find(i);
    outputs.push_back(shared != c.in_place.end() ? inputs[shared->second]
                                                 : add(c.outputs[i], nullptr));
  }
  GuardedBytes scratch(kernel.scratch_bytes, kNanByte);
  kernel.run({.table = table.data(),
              .inputs = inputs,
              .outputs = outputs,
              .scratch = scratch.data(),
              .scalars = c.scalars});

  CHECK(scratch.guards_hold());
  for (const auto& bytes : memory) CHECK(bytes->guards_hold());
  for (std::size_t i = 0; i < c.inputs.size(); ++i) {
    bool overwritten = false;
    for (const auto& [output, input] : c.in_place) overwritten = overwritten || input == i;
    if (overwritten || table[inputs[i]] == nullptr) continue;
    CHECK(std::memcmp(table[inputs[i]], c.inputs[i].data.data(), c.inputs[i].data.size()) == 0);
  }
  std::vector<Tensor> results;
  for (std::size_t i = 0; i < c.outputs.size(); ++i) {
    Tensor result;
    result.desc = c.outputs[i];
    const auto* first = static_cast<const std::byte*>(table[outputs[i]]);
    if (first != nullptr) result.data.assign(first, first + c.outputs[i].bytes());
    results.push_back(std::move(result));
  }
  return results;
}

/// A copy of a parameter in a layout, made by the row that fits it.
inline Tensor in_layout(const Tensor& parameter, std::shared_ptr<const Layout> layout) {
  Case c;
  c.op = OpId::parameter_layout;
  Tensor unmade;
  c.inputs = {parameter, Tensor::counter(7), Tensor::counter(0)};
  TensorDesc copy = parameter.desc;
  copy.layout = std::move(layout);
  c.outputs = {copy, desc_of({1}, DataType::INT64)};
  const std::vector<Tensor> made = run_once(*prepare(chosen_row(c), c), c);
  CHECK_EQ(made[1].integer(), 7);
  return made[0];
}

/// Runs a row twice; its outputs.
inline std::vector<Tensor> run_case(std::string_view row, Case c) {
  const std::shared_ptr<Kernel> kernel = prepare(row, c);
  for (std::size_t i = 0; i < kernel->input_layouts.size(); ++i) {
    if (kernel->input_layouts[i]) c.inputs[i] = in_layout(c.inputs[i], kernel->input_layouts[i]);
  }
  std::vector<Tensor> first = run_once(*kernel, c);
  const std::vector<Tensor> second = run_once(*kernel, c);
  for (std::size_t i = 0; i < first.size(); ++i) CHECK(first[i].data == second[i].data);
  return first;
}

/// A reference result: values in double, and for each the sum of the absolute values of its terms,
/// which bounds what rounding can do.
struct Reference {
  std::vector<double> values, magnitudes;
  explicit Reference(std::int64_t count)
      : values(static_cast<std::size_t>(count)), magnitudes(values.size()) {}
  void add(std::int64_t at, double term) {
    values[static_cast<std::size_t>(at)] += term;
    magnitudes[static_cast<std::size_t>(at)] += std::abs(term);
  }
};

/// Values equal the reference exactly (`terms` 0), or up to the rounding of sums of `terms` terms.
inline void check_values(const std::string& what, const std::vector<float>& got,
                         const Reference& expected, double terms) {
  CHECK_EQ(got.size(), expected.values.size());
  constexpr double kEpsilon = std::numeric_limits<float>::epsilon();
  std::size_t wrong = 0, first = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double allowed =
        terms == 0 ? 0 : (2 + std::sqrt(terms)) * kEpsilon * expected.magnitudes[i];
    const bool good = static_cast<double>(got[i]) == expected.values[i] ||
                      std::abs(static_cast<double>(got[i]) - expected.values[i]) <= allowed;
    if (!good && wrong++ == 0) first = i;
  }
  if (wrong != 0) {
    testing::report_failure(__FILE__, __LINE__,
                            str(what, ": ", wrong, " of ", got.size(), " values differ, first [",
                                first, "]: ", got[first], ", expected ", expected.values[first]));
  }
}

}  // namespace cpu_tests
