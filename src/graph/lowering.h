// SPDX-License-Identifier: MIT
// How a row of the node table turns its node into operations. A node's rule sees only this class.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graph/draft.h"
#include "graph/node_records.h"
#include "graph/plan.h"

namespace mpsnn::graph {

class Lowering {
 public:
  Lowering(Draft& draft, const FilterRecord& node) : draft_(draft), node_(node) {}

  const FilterRecord& node() const noexcept { return node_; }

  /// The value of source image i; kNoValue where an optional source was left out or absent.
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

  /// An array of the state that the node was given, to be written by one operation; kNoValue where
  /// it was given none.
  ValueId source_state_result(std::string_view name, const ImageSize& size);
  /// An array of the state that the node was given, as an array of these extents; kNoValue where it
  /// was given none. The class's shape rule has compared sizes.
  ValueId given(std::string_view name, const std::vector<std::int64_t>& dims);
  /// true where the node's result state is exported.
  bool state_is_wanted() const;
  /// Copies a value into an array of the result state, where that is wanted: an image of its
  /// extents with ones before them.
  void leave_in_state(std::string_view name, ValueId value);

  /// Makes a value between two operations of the node, float32.
  ValueId temporary(std::string_view name, const ImageSize& size);

  /// The parameter of the node's data source ("weights", "bias"); kNoValue where it has none so
  /// named.
  ValueId parameter(std::string_view name);
  /// A value that will hold a gradient of that parameter; the planner adds up those of all nodes
  /// and lets the data source be updated, where the node's training style says so. kNoValue where
  /// the data source has no such parameter.
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
  /// node's training style asks for it, or the gradients are exported.
  bool weights_are_updated() const;
  /// Copies the gradients that were asked for into the result state; at the end.
  void leave_gradients_in_state();

  /// Appends an operation. Absent operands are kNoValue.
  void add(OpId op, std::vector<ValueId> inputs, std::vector<ValueId> outputs,
           AttributeMap attributes);

 private:
  bool updates_weights() const;

  Draft& draft_;
  const FilterRecord& node_;
  std::vector<std::pair<std::string, ValueId>> gradients_;
};

/// Attributes of a sum or product without scales, bias and bounds.
AttributeMap plain_binary();

}  // namespace mpsnn::graph
