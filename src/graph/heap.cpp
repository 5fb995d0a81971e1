// SPDX-License-Identifier: MIT
#include "graph/heap.h"

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>

#include "graph/plan.h"

namespace mpsnn::graph {
namespace {

std::size_t aligned(std::size_t bytes) {
  return (bytes + kHeapAlignment - 1) / kHeapAlignment * kHeapAlignment;
}

std::size_t duration(const HeapBlock& block) { return block.last - block.first + 1; }

using Before = bool (*)(const HeapBlock&, const HeapBlock&);

bool larger(const HeapBlock& a, const HeapBlock& b) { return a.bytes > b.bytes; }
bool longer(const HeapBlock& a, const HeapBlock& b) { return duration(a) > duration(b); }
bool larger_area(const HeapBlock& a, const HeapBlock& b) {
  return duration(a) * a.bytes > duration(b) * b.bytes;
}
bool earlier(const HeapBlock& a, const HeapBlock& b) { return a.first < b.first; }

/// One block may not be like the other three ways; ties keep the order of the values.
constexpr std::array<Before, 4> kOrders = {larger, larger_area, longer, earlier};

/// Blocks that are placed, by offset; finds gaps for further ones.
class Placed {
 public:
  explicit Placed(std::vector<HeapBlock>& blocks) : blocks_(blocks) {}

  /// Best fit: the smallest gap between blocks alive at the same time, else behind the last of
  /// them.
  void add(std::size_t index) {
    HeapBlock& block = blocks_[index];
    const std::size_t bytes = aligned(block.bytes);
    std::size_t end = 0, best = std::numeric_limits<std::size_t>::max(), best_gap = best;
    for (const Taken& other : by_offset_) {
      if (other.last < block.first || other.first > block.last) continue;
      if (other.offset >= end + bytes && other.offset - end < best_gap) {
        best_gap = other.offset - end;
        best = end;
      }
      end = std::max(end, other.end);
    }
    block.offset = best_gap == std::numeric_limits<std::size_t>::max() ? end : best;
    top_ = std::max(top_, block.offset + bytes);
    const auto after = std::upper_bound(
        by_offset_.begin(), by_offset_.end(), block.offset,
        [](std::size_t offset, const Taken& other) { return offset < other.offset; });
    by_offset_.insert(after, {block.offset, block.offset + bytes, block.first, block.last});
  }

  std::size_t top() const noexcept { return top_; }

 private:
  struct Taken {
    std::size_t offset, end;    // whole steps of the alignment
    std::uint32_t first, last;  // as a block's
  };

  std::vector<HeapBlock>& blocks_;
  std::vector<Taken> by_offset_;  // walked for each block: side by side in memory
  std::size_t top_ = 0;
};

std::size_t place_in_order(std::vector<HeapBlock>& blocks, Before before) {
  std::vector<std::size_t> order(blocks.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return before(blocks[a], blocks[b]); });
  Placed placed(blocks);
  for (const std::size_t i : order) placed.add(i);
  return placed.top();
}

}  // namespace

std::size_t least_heap_bytes(const std::vector<HeapBlock>& blocks) {
  std::uint32_t end = 0;
  for (const HeapBlock& block : blocks) end = std::max(end, block.last + 1);
  std::vector<std::ptrdiff_t> change(end + 1, 0);
  for (const HeapBlock& block : blocks) {
    change[block.first] += static_cast<std::ptrdiff_t>(aligned(block.bytes));
    change[block.last + 1] -= static_cast<std::ptrdiff_t>(aligned(block.bytes));
  }
  std::ptrdiff_t alive = 0, most = 0;
  for (const std::ptrdiff_t delta : change) most = std::max(most, alive += delta);
  return static_cast<std::size_t>(most);
}

std::size_t place(std::vector<HeapBlock>& blocks) {
  const std::size_t least = least_heap_bytes(blocks);
  std::vector<HeapBlock> best;
  std::size_t best_bytes = std::numeric_limits<std::size_t>::max();
  for (const Before before : kOrders) {
    std::vector<HeapBlock> attempt = blocks;
    const std::size_t bytes = place_in_order(attempt, before);
    if (bytes < best_bytes) {
      best_bytes = bytes;
      best = std::move(attempt);
    }
    if (best_bytes == least) break;
  }
  blocks = std::move(best);
  return best_bytes;
}

}  // namespace mpsnn::graph
