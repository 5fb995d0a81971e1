// SPDX-License-Identifier: MIT
// Offsets for blocks of known size and lifetime in one heap.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace mpsnn::graph {

struct HeapBlock {
  std::size_t bytes = 0;
  std::uint32_t first = 0, last = 0;  // operations between which it is alive, both included
  std::size_t offset = 0;             // found by place(); a multiple of kHeapAlignment
};

/// Sets the offsets so that no two blocks overlap that are alive at once; the bytes of the heap.
/// Tries several orders and keeps the best; the same blocks give the same offsets.
std::size_t place(std::vector<HeapBlock>& blocks);

/// The most bytes alive at once: no placement needs less.
std::size_t least_heap_bytes(const std::vector<HeapBlock>& blocks);

}  // namespace mpsnn::graph
