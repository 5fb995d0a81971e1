// SPDX-License-Identifier: MIT
// The one walk over nodes. Iterative: nets may be ten thousands of nodes deep.
#pragma once

#include <cstddef>
#include <functional>
#include <unordered_set>
#include <vector>

#include "graph/node_records.h"

namespace mpsnn::graph {

/// Filters in running order: each after the filters whose results it reads, sources in their order.
class RunningOrder {
 public:
  /// Says whether to go on behind an image; by default always.
  using Enter = std::function<bool(const ImageRecord&)>;
  explicit RunningOrder(Enter enter = nullptr) : enter_(std::move(enter)) {}

  /// Appends all filters that lead to `last` and are not in the list yet.
  void visit(FilterRecord* last);
  const std::vector<FilterRecord*>& filters() const noexcept { return filters_; }

 private:
  struct Frame {
    FilterRecord* filter;
    std::size_t next_source;
  };
  void push(FilterRecord* filter);

  Enter enter_;
  std::vector<FilterRecord*> filters_;
  std::vector<Frame> stack_;
  std::unordered_set<const FilterRecord*> seen_;
};

}  // namespace mpsnn::graph
