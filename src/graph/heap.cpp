// SPDX-License-Identifier: MIT
#include "graph/heap.h"

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>
#include <optional>

#include "graph/heap_tree.h"
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

/// Above so many blocks comparing each with all others is felt.
constexpr std::size_t kMany = 4096;
/// Of many blocks: where a heap is above the least by no more than this share, further orders are
/// only tried by the tree.
constexpr std::size_t kSlackShare = 1024;
/// Ranges for each block that the tree may look at: with more of them it has no advantage.
constexpr std::size_t kTreeWork = 64;

/// Blocks that are placed, by offset: each further one is compared with all of them.
class Placed {
 public:
  /// The best fit between blocks alive at the same time.
  void add(HeapBlock& block, std::size_t bytes) {
    BestFit fit(bytes);
    for (const Taken& other : by_offset_) {
      if (other.last >= block.first && other.first <= block.last) fit.pass(other.range);
    }
    block.offset = fit.offset();
    const auto after = std::ranges::upper_bound(
        by_offset_, block.offset, {}, [](const Taken& other) { return other.range.offset; });
    by_offset_.insert(after, {{block.offset, block.offset + bytes}, block.first, block.last});
  }

 private:
  struct Taken {
    HeapRange range;
    std::uint32_t first, last;  // as a block's
  };

  std::vector<Taken> by_offset_;  // walked for each block: side by side in memory
};

/// False: the tree would take longer than comparing all. Else the offsets are the same.
bool place_by_tree(std::vector<HeapBlock>& blocks, const std::vector<std::size_t>& order) {
  HeapTree tree(std::ranges::max(blocks, {}, &HeapBlock::last).last + 1);
  for (const std::size_t i : order) {
    tree.add(blocks[i], aligned(blocks[i].bytes));
    if (tree.work() > kTreeWork * blocks.size()) return false;
  }
  return true;
}

/// The bytes of the heap. None: many blocks that only comparing all would place, and it must not.
std::optional<std::size_t> place_in_order(std::vector<HeapBlock>& blocks, Before before,
                                          bool may_compare) {
  std::vector<std::size_t> order(blocks.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return before(blocks[a], blocks[b]); });
  if (blocks.size() <= kMany || !place_by_tree(blocks, order)) {
    if (!may_compare) return std::nullopt;
    Placed placed;
    for (const std::size_t i : order) placed.add(blocks[i], aligned(blocks[i].bytes));
  }
  std::size_t top = 0;
  for (const HeapBlock& block : blocks) top = std::max(top, block.offset + aligned(block.bytes));
  return top;
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
  const std::size_t enough = blocks.size() > kMany ? least + least / kSlackShare : least;
  std::vector<HeapBlock> best;
  std::size_t best_bytes = std::numeric_limits<std::size_t>::max();
  for (const Before before : kOrders) {
    std::vector<HeapBlock> attempt = blocks;
    const auto bytes = place_in_order(attempt, before, best_bytes > enough);
    if (bytes && *bytes < best_bytes) {
      best_bytes = *bytes;
      best = std::move(attempt);
    }
    if (best_bytes == least) break;
  }
  blocks = std::move(best);
  return best_bytes;
}

}  // namespace mpsnn::graph
