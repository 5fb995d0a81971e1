// SPDX-License-Identifier: MIT
// A plan: what the planner makes of a graph and the sizes of its sources. Plain data: an ordered
// list of operations over values, each value's lifetime, and its place in the heap. Planning is a
// pure function: the same graph, sizes and chooser give the same plan.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "base/kernel.h"
#include "mpsnn/data_source.h"

namespace mpsnn::graph {

using ValueId = std::uint32_t;
inline constexpr ValueId kNoValue = std::numeric_limits<ValueId>::max();
inline constexpr std::size_t kHeapAlignment = 128;

enum class ValueKind : std::uint8_t {
  SOURCE,     // given at encode
  TEMPORARY,  // in the heap
  RESULT,     // a result or exported image, allocated at encode
  PARAMETER,  // lives in a data source's state on the device
  OPERAND,    // of a kernel that is encoded by itself: given at encode, and may be written
};

struct Value {
  std::string name;  // handle, "enc0.1", "enc0.1.weights"
  TensorDesc desc;
  ValueKind kind = ValueKind::TEMPORARY;
  ValueId storage =
      kNoValue;  // the value whose memory this one uses (in place, views); itself otherwise
  /// TEMPORARY: bytes from the heap's start. OPERAND that is a view: bytes from its storage's.
  std::size_t offset = 0;
  /// A part of its storage, which may be all of it: other parts may overlap it, and it may be
  /// written several times. Bytes from the storage's beginning.
  bool is_part = false;
  std::size_t within = 0;
  std::uint32_t first = 0, last = 0;  // operations between which it is alive, both included
  std::uint32_t data_source = 0;      // PARAMETER: index into Plan::data_sources
  std::string parameter;  // PARAMETER: "weights", "weights.momentum", "weights.version",
                          // "weights.time_step", "weights@<layout>", "weights@<layout>.version"
};

struct Operation {
  OpId op;
  std::string label;                     // the node's
  std::string node_class;                // "" for operations that no node asked for
  AttributeMap attributes;               // resolved: pads, sizes, fused neuron
  std::vector<ValueId> inputs, outputs;  // kNoValue: absent; a parameter that is updated is in both
  ValueId scratch = kNoValue;
  std::shared_ptr<const Kernel> kernel;
  std::shared_ptr<Optimizer> optimizer;  // gives the scalars at each encode; null: none
  std::uint64_t flops = 0, bytes = 0;    // arithmetic, and memory read and written
};

/// An array that is left in a state, a RESULT of four extents.
struct StateOutput {
  bool in_source = false;   // in a state that was given: the loss
  std::uint32_t state = 0;  // in the order of Graph::source_state_handles() or
                            // Graph::result_state_handles()
  std::string name;
  ValueId value = kNoValue;
};

/// Gradients of a data source that no operation of the plan uses: the data source updates itself,
/// or the host does it by the optimizer.
struct OwnUpdate {
  std::uint32_t data_source = 0;
  TrainingStyle style = TrainingStyle::UPDATE_DEVICE_CPU;
  struct Gradient {
    std::string parameter;
    ValueId value;  // a RESULT
  };
  std::vector<Gradient> gradients = {};
};

struct Plan {
  std::vector<Operation> operations;
  std::vector<Value> values;
  std::vector<ValueId> sources;   // in the order of Graph::source_handles(), then parts of states
  std::vector<ValueId> results;   // in the order of the graph's results; kNoValue: not needed
  std::vector<ValueId> exported;  // in the order of Graph::intermediate_handles()
  std::vector<StateOutput> states;
  std::vector<OwnUpdate> own_updates;
  std::vector<std::shared_ptr<DataSource>> data_sources;
  std::size_t heap_bytes = 0;

  std::uint64_t flops() const noexcept;
};

/// "convolution + relu": the operation with what is fused into it.
std::string describe(const Operation& operation);
/// A paragraph an operation: index, label, operation, kernel row, operands, and for each output its
/// size, memory and lifetime; then the totals.
std::string to_text(const Plan& plan);
/// Graphviz source: operations and values; fused ones in one box.
std::string to_dot(const Plan& plan);

}  // namespace mpsnn::graph
