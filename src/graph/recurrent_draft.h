// SPDX-License-Identifier: MIT
// A plan of a recurrent layer in the making: values are matrices (1, rows, columns), whole or parts
// of others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graph/draft.h"
#include "graph/network.h"
#include "graph/recurrent.h"

namespace mpsnn::graph {

class RecurrentDraft {
 public:
  RecurrentDraft(const RecurrentCall& call, const KernelChooser& chooser);

  /// The next operand of the call, and how many there are left.
  ValueId operand(std::string_view name);
  std::vector<ValueId> operands(std::string_view name, std::size_t count);

  const TensorDesc& desc(ValueId value) const { return draft_.plan.values[value].desc; }
  std::int64_t rows(ValueId value) const { return desc(value).dims[1]; }
  std::int64_t columns(ValueId value) const { return desc(value).dims[2]; }

  /// float32 without gaps.
  ValueId temporary(std::string_view name, std::int64_t rows, std::int64_t columns);
  /// Parts: the same memory.
  ValueId row_part(ValueId value, std::int64_t first, std::int64_t count);
  ValueId column_part(ValueId value, std::int64_t first, std::int64_t count);
  ValueId transposed(ValueId value);
  /// `rows` x `columns` floats of dense memory, from float `first` on.
  ValueId floats(ValueId value, std::int64_t first, std::int64_t rows, std::int64_t columns);
  /// Dense memory with other dims.
  ValueId reshaped(ValueId value, std::vector<std::int64_t> dims);
  /// A data source's array as a matrix, or as it is.
  ValueId parameter(const std::shared_ptr<ConvolutionDataSource>& source, std::string_view name,
                    std::int64_t rows, std::int64_t columns);
  ValueId parameter(const std::shared_ptr<ConvolutionDataSource>& source, std::string_view name);

  /// Whether the device has a kernel for an operation.
  bool has(OpId op, std::span<const TensorDesc> inputs, std::span<const TensorDesc> outputs,
           const AttributeMap& attributes) const {
    return draft_.chooser.has({op, call_.label, inputs, outputs, attributes});
  }
  /// Appends an operation; absent operands are kNoValue.
  void add(OpId op, std::vector<ValueId> inputs, std::vector<ValueId> outputs,
           AttributeMap attributes, std::string_view name);
  /// result = left * right, or added to it.
  void multiply(ValueId left, ValueId right, ValueId result, bool adds, std::string_view name);
  /// result = the convolution of `rows`, which are the pixels of images, or added to it. Results
  /// are as large as the images; an even window reaches further to the top and left.
  void convolve(ValueId rows, ValueId weights, const ConvolutionDescriptor& descriptor,
                ValueId result, bool adds, std::string_view name);
  void copy(ValueId from, ValueId to, std::string_view name);
  /// Zeros; the value has no gaps.
  void clear(ValueId value, std::string_view name);
  /// result += value; both without gaps.
  void increase(ValueId result, ValueId value, std::string_view name);
  /// The value as float32 without gaps: itself where it is that, a copy elsewhere.
  ValueId dense(ValueId value, std::string_view name);

  Plan finish();

 private:
  ValueId part(ValueId value, TensorDesc desc, std::int64_t bytes);

  const RecurrentCall& call_;
  const Network none_;
  Draft draft_;
  std::size_t next_ = 0;
};

/// Rows of each time step, in sequences that lie one step after the other.
struct Steps {
  std::vector<std::int64_t> rows, first;
  std::int64_t total = 0;
  bool are_equal = true;

  explicit Steps(std::span<const std::int64_t> of);
  std::size_t count() const noexcept { return rows.size(); }
};

Steps steps_of(const RecurrentDraft& draft, const std::vector<ValueId>& sequence);
/// A copy of a sequence without gaps, its steps one after the other.
ValueId joined(RecurrentDraft& draft, const std::vector<ValueId>& sequence, const Steps& steps,
               std::string_view name);
/// The same to be read only: no copy where that is not needed.
ValueId gathered(RecurrentDraft& draft, const std::vector<ValueId>& sequence, const Steps& steps,
                 std::string_view name);
/// Copies the steps to where they belong.
void scatter(RecurrentDraft& draft, ValueId all, const Steps& steps,
             const std::vector<ValueId>& sequence, std::string_view name);

/// The weights of a cell as values, kNoValue where it has none; matrices of dense float32.
struct CellWeights {
  struct Gate {
    ValueId input = kNoValue, recurrent = kNoValue, memory = kNoValue, bias = kNoValue;
  };
  std::vector<Gate> gates;

  ValueId& at(std::size_t gate, WeightRole role);
};
CellWeights parameters_of(RecurrentDraft& draft, const RecurrentCell& cell);

/// What a cell makes of a sequence: all steps one after the other.
struct CellValues {
  ValueId gates = kNoValue;                       // before their neurons: (total, gate channels)
  ValueId outputs = kNoValue, memory = kNoValue;  // (total, outputs)
  ValueId reset = kNoValue, updated = kNoValue;   // a GRU's r h0 and z h0; kNoValue: not kept
  ValueId first_output = kNoValue, first_memory = kNoValue;  // before the first step
};
/// The values of a training in a block of training_floats().
CellValues training_values(RecurrentDraft& draft, const RecurrentCell& cell, const Steps& steps,
                           ValueId block);

/// Gates that follow one another and have their recurrent weights in one matrix.
struct GateBlock {
  ValueId weights;
  std::size_t first, count;
};
/// Recurrent weights of gates [0, count), but not those with windows. From some steps on it pays to
/// put them together.
std::vector<GateBlock> recurrent_blocks(RecurrentDraft& draft, const RecurrentCell& cell,
                                        const CellWeights& weights, std::size_t steps);

/// Runs a cell forward over a sequence, in any order of steps.
class CellForward {
 public:
  CellForward(RecurrentDraft& draft, const RecurrentCell& cell, CellWeights weights, Steps steps,
              CellValues values);
  /// inputs: (total, input channels), without gaps.
  void run(ValueId inputs, const std::vector<std::size_t>& order);

 private:
  void project(ValueId inputs);
  void step(std::size_t t);
  /// result = the gate's weights of a role applied to `rows`, or added to it.
  void apply(std::size_t gate, WeightRole role, ValueId rows, ValueId result, bool adds,
             std::string_view name);
  /// The part of the gates' values that belongs to one of them.
  ValueId gate_part(ValueId gates, std::size_t gate);
  void lstm(std::size_t t, ValueId gates);
  void gru(std::size_t t, ValueId gates, ValueId before);
  ValueId at(ValueId sequence, std::size_t t);
  ValueId previous(ValueId sequence, ValueId first, std::size_t t);

  RecurrentDraft& draft_;
  const RecurrentCell& cell_;
  CellWeights weights_;
  const Steps steps_;
  const CellValues values_;
  std::vector<GateBlock> blocks_;
  std::vector<std::size_t> before_;  // of each step, the one that ran before it; itself: none
};

/// Adds a cell's whole sequence as one operation, where it is of a usual kind, its steps are some
/// and equal, and the device has a kernel; false: nothing was added. Of the memory only the last
/// step is written.
bool run_whole_sequence(RecurrentDraft& draft, const RecurrentCell& cell, const Steps& steps,
                        const CellValues& values, ValueId inputs, bool backward);

/// "neurons" of operations on the gates [first, first + count) of a cell.
std::vector<double> neurons_of(const RecurrentCell& cell, std::size_t first, std::size_t count);
AttributeMap gate_attributes(const RecurrentCell& cell, std::size_t first, std::size_t count);
AttributeMap lstm_output_attributes(const RecurrentCell& cell);
AttributeMap gru_output_attributes(const RecurrentCell& cell);

}  // namespace mpsnn::graph
