// SPDX-License-Identifier: MIT
#include "graph/walk.h"

namespace mpsnn::graph {

void RunningOrder::push(FilterRecord* filter) {
  if (seen_.insert(filter).second) stack_.push_back({filter, 0});
}

void RunningOrder::visit(FilterRecord* last) {
  push(last);
  while (!stack_.empty()) {
    Frame& top = stack_.back();
    if (top.next_source == top.filter->sources.size()) {
      filters_.push_back(top.filter);
      stack_.pop_back();
      continue;
    }
    const ImageRecord& source = *top.filter->sources[top.next_source++].record();
    if (source.producer != nullptr && (!enter_ || enter_(source))) push(source.producer);
  }
}

}  // namespace mpsnn::graph
