// SPDX-License-Identifier: MIT
// How a row of the node table turns its node into operations. A node's rule sees only this class.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "graph/draft.h"
#include "graph/node_records.h"
#include "graph/plan.h"

namespace mpsnn::graph {

class Lowering {
 public:
  Lowering(Draft& draft, const FilterRecord& node) : draft_(draft), node_(node) {}

  const FilterRecord& node() const noexcept { return node_; }

  /// The value of source image i; kNoValue where an optional source was left out.
  ValueId source(std::size_t i) const;
  /// Size of source image i, which must be there.
  ImageSize source_size(std::size_t i) const;

  /// Whether source image `result`, which a node made by choosing from source image `from`, lost
  /// digits: what was chosen is not found again then.
  bool is_rounded(std::size_t result, std::size_t from) const;

  /// Makes the value of the result image, to be written by one operation.
  ValueId result();
  /// Or says that the result is a value that exists; allowed where it has the result's size and
  /// type.
  void result_is(ValueId value);
  bool result_can_be(ValueId value) const;

  /// Makes a value between two operations of the node, float32.
  ValueId temporary(std::string_view name, const ImageSize& size);

  /// The parameter of the node's data source ("weights", "bias"); kNoValue where it has none so
  /// named.
  ValueId parameter(std::string_view name);
  /// A value that will hold a gradient of that parameter; the planner adds up those of all nodes
  /// and lets the data source's optimizer run. kNoValue where the data source has no such
  /// parameter.
  ValueId parameter_gradient(std::string_view name);
  /// A value between two operations of the node.
  ValueId temporary(std::string_view name, TensorDesc desc);
  /// A value that nodes with the same source image i and the same data source share (a
  /// normalisation and its gradient: the statistics); kNoValue until one of them has set it.
  ValueId& shared(std::size_t i, std::string_view name);
  /// true where the network holds a gradient node with the node's data source and its source image
  /// i.
  bool is_differentiated(std::size_t i) const;
  /// Lets an operation change a parameter at the end of the run: parameter, inputs -> parameter.
  void change_state(std::string_view parameter, OpId op, std::vector<ValueId> inputs,
                    AttributeMap attributes);
  /// true where a change of the parameter was asked for already.
  bool changes_state(std::string_view parameter);
  /// true where gradients of the node's weights are wanted: the data source is updated and the
  /// node's training style asks for it.
  bool weights_are_updated() const noexcept;

  /// Appends an operation. Absent operands are kNoValue.
  void add(OpId op, std::vector<ValueId> inputs, std::vector<ValueId> outputs,
           AttributeMap attributes);

 private:
  Draft& draft_;
  const FilterRecord& node_;
};

/// Attributes of a sum or product without scales, bias and bounds.
AttributeMap plain_binary();

}  // namespace mpsnn::graph
