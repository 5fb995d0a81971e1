// SPDX-License-Identifier: MIT
// Best fit in a heap of many blocks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "graph/heap.h"

namespace mpsnn::graph {

/// Bytes of a heap that are taken.
struct HeapRange {
  std::size_t offset = 0, end = 0;
};

/// Finds the smallest gap that is wide enough, else the place behind all.
class BestFit {
 public:
  explicit BestFit(std::size_t bytes) : bytes_(bytes) {}
  /// In the order of their offsets.
  void pass(HeapRange taken) {
    if (taken.offset >= end_ + bytes_ && taken.offset - end_ < best_gap_) {
      best_gap_ = taken.offset - end_;
      best_ = end_;
    }
    if (taken.end > end_) end_ = taken.end;
  }
  std::size_t offset() const noexcept { return best_gap_ == kNone ? end_ : best_; }

 private:
  static constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();
  const std::size_t bytes_;
  std::size_t end_ = 0, best_ = 0, best_gap_ = kNone;
};

/// What the blocks take that are placed, in a tree over time whose leaves are operations: a block
/// is with the few nodes that its lifetime consists of. Blocks that live long lie one upon the
/// other and become one range, however many they are, so that finding a place takes about the
/// logarithm of the number of operations.
class HeapTree {
 public:
  /// Of so many operations.
  explicit HeapTree(std::uint32_t operations);
  /// Sets the block's offset: the best fit between those alive at the same time. `bytes`: its size
  /// in whole steps of the alignment.
  void add(HeapBlock& block, std::size_t bytes);
  /// Ranges that were looked at for the blocks placed so far.
  std::size_t work() const noexcept { return work_; }

 private:
  /// Ranges by offset that do not touch one another.
  using Ranges = std::vector<HeapRange>;
  struct Node {
    Ranges whole;   // of blocks that live through all of the node's time, but not of its parent's
    Ranges inside;  // of blocks that live in a part of it
  };

  static void add_to(Ranges& ranges, HeapRange range);
  template <class Visitor>
  void visit(const HeapBlock& block, const Visitor& visitor);

  std::uint32_t leaves_ = 1;
  std::vector<Node> nodes_;  // 1: the root; the children of i: 2 i and 2 i + 1
  Ranges found_;             // kept for its memory
  std::size_t work_ = 0;
};

}  // namespace mpsnn::graph
