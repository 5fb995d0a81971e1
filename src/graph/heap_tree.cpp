// SPDX-License-Identifier: MIT
#include "graph/heap_tree.h"

#include <algorithm>

namespace mpsnn::graph {
namespace {

/// The nodes that a lifetime consists of, and those above them.
struct Walk {
  const HeapBlock& block;

  /// `at`: the node of the operations `first` to `last`.
  template <class Visitor>
  void visit(std::size_t at, std::uint32_t first, std::uint32_t last,
             const Visitor& visitor) const {
    if (block.first > last || block.last < first) return;
    const bool is_whole = block.first <= first && last <= block.last;
    visitor(at, is_whole);
    if (is_whole) return;
    const std::uint32_t middle = first + (last - first) / 2;
    visit(2 * at, first, middle, visitor);
    visit(2 * at + 1, middle + 1, last, visitor);
  }
};

}  // namespace

HeapTree::HeapTree(std::uint32_t operations) {
  while (leaves_ < operations) leaves_ *= 2;
  nodes_.resize(std::size_t{2} * leaves_);
}

template <class Visitor>
void HeapTree::visit(const HeapBlock& block, const Visitor& visitor) {
  Walk{block}.visit(1, 0, leaves_ - 1,
                    [&](std::size_t at, bool is_whole) { visitor(nodes_[at], is_whole); });
}

void HeapTree::add(HeapBlock& block, std::size_t bytes) {
  found_.clear();
  visit(block, [&](const Node& node, bool is_whole) {
    found_.insert(found_.end(), node.whole.begin(), node.whole.end());
    if (is_whole) found_.insert(found_.end(), node.inside.begin(), node.inside.end());
  });
  std::ranges::sort(found_, {}, &HeapRange::offset);
  BestFit fit(bytes);
  for (const HeapRange& taken : found_) fit.pass(taken);
  work_ += found_.size();
  block.offset = fit.offset();
  const HeapRange range{block.offset, block.offset + bytes};
  visit(block,
        [&](Node& node, bool is_whole) { add_to(is_whole ? node.whole : node.inside, range); });
}

void HeapTree::add_to(Ranges& ranges, HeapRange range) {
  const auto first = std::ranges::lower_bound(ranges, range.offset, {}, &HeapRange::end);
  auto last = first;
  for (; last != ranges.end() && last->offset <= range.end; ++last) {
    range.offset = std::min(range.offset, last->offset);
    range.end = std::max(range.end, last->end);
  }
  if (first == last) {
    ranges.insert(first, range);
    return;
  }
  *first = range;
  ranges.erase(first + 1, last);
}

}  // namespace mpsnn::graph
