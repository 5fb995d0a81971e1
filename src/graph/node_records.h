// SPDX-License-Identifier: MIT
// The data behind the handles of mpsnn/node.h.
//
// Ownership: a filter owns its result image (by value) and holds its sources; an ImageNode of a
// result is a shared_ptr to the whole FilterRecord that points at the member. So an image keeps
// alive all that makes it, and there is no cycle.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "mpsnn/node.h"

namespace mpsnn::graph {

struct NodeClass;
struct StateRecord;

struct ImageRecord {
  std::string handle;
  bool stop_gradient = false;
  bool exported = false;
  std::optional<DataType> format;
  FilterRecord* producer = nullptr;  // the filter that this record is a member of; null for inputs
  StateRecord* state = nullptr;      // the source state that it is a part of; null elsewhere
};

/// Parts of a source state are images that no one but its reader sees.
struct StateRecord {
  struct Part {
    std::string name;
    bool optional = false;
    ImageRecord image = {};
  };
  StateRecord() = default;
  StateRecord(const StateRecord&) = delete;
  StateRecord& operator=(const StateRecord&) = delete;

  std::string handle;
  bool exported = false;
  FilterRecord* producer = nullptr;          // as an image's
  bool labels = false;                       // a source state: the labels of a loss
  std::vector<std::unique_ptr<Part>> parts;  // of a source state
};

struct FilterRecord : std::enable_shared_from_this<FilterRecord> {
  FilterRecord() { result.producer = result_state.producer = this; }
  FilterRecord(const FilterRecord&) = delete;
  FilterRecord& operator=(const FilterRecord&) = delete;
  ~FilterRecord();  // releases the chain before it without recursion

  const NodeClass* node_class = nullptr;
  std::string label;
  std::vector<ImageNode> sources;
  AttributeMap attributes;  // complete: defaults and the class's fixed attributes included
  std::shared_ptr<DataSource> weights;
  PaddingPolicy padding;
  TrainingStyle training_style = TrainingStyle::UPDATE_DEVICE_GPU;
  std::shared_ptr<FilterRecord> inference_node;  // of gradient nodes made from a forward node
  std::shared_ptr<ImageRecord> gradient_of;      // of gradients: the image, which gives the format
  std::size_t depth = 1;                         // filters on the longest way from an input to here
  ImageRecord result;
  StateRecord result_state;
  std::shared_ptr<StateRecord> input_state;  // given to the encode; its parts are the last sources
};

/// The image node of a filter's result.
inline ImageNode result_of(const std::shared_ptr<FilterRecord>& filter) {
  return ImageNode(std::shared_ptr<ImageRecord>(filter, &filter->result));
}

/// `<ClassName> "<label>"`, the start of every error about a node.
std::string title(const FilterRecord& node);

/// Throws `<ClassName> "<label>": <argument>: expected <expected>, got <got>`.
template <class E = InvalidArgumentError, class Expected, class Got>
[[noreturn]] void fail(const FilterRecord& node, std::string_view argument,
                       const Expected& expected, const Got& got) {
  throw_expected<E>(str(title(node), ": ", argument), expected, got);
}

}  // namespace mpsnn::graph
