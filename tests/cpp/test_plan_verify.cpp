// SPDX-License-Identifier: MIT
// The verifier finds every rule broken; the heap's placement keeps its own.
#include <limits>
#include <random>

#include "graph/heap.h"
#include "graph/heap_tree.h"
#include "graph/verify.h"
#include "graph_fixtures.h"
#include "testing.h"

namespace {

using namespace fixtures;
using graph::Plan;
using graph::ValueKind;

Plan good_plan() {
  const ImageNode source("source"), labels("labels");
  const FilterNode first_conv = convolution(source, weights(2, 2, "conv0", adam()));
  const FilterNode end =
      loss(convolution(relu(first_conv), weights(2, 2, "conv1", adam())), labels);
  return plan(results_of(train(end)), true, {image(1, 8, 8, 2), image(1, 8, 8, 2)});
}

/// Runs the verifier over the good plan with one thing broken.
template <class Break>
void check_broken(std::string_view rule, Break break_it) {
  Plan broken = good_plan();
  break_it(broken);
  CHECK_THROWS_CONTAINS(graph::verify(broken), InternalError, rule);
}

graph::ValueId a_temporary(const Plan& plan) {
  for (graph::ValueId id = 0; id < plan.values.size(); ++id) {
    if (plan.values[id].kind == ValueKind::TEMPORARY && plan.values[id].storage == id) return id;
  }
  throw StateError("no temporary");
}

bool overlap(const graph::HeapBlock& a, const graph::HeapBlock& b) {
  const bool in_time = a.first <= b.last && b.first <= a.last;
  return in_time && a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;
}

/// Where a block fits best, found step by step of the alignment.
std::size_t best_fit_among(const std::vector<graph::HeapBlock>& placed,
                           const graph::HeapBlock& block) {
  std::vector<bool> taken;
  for (const graph::HeapBlock& other : placed) {
    if (other.first > block.last || other.last < block.first) continue;
    const std::size_t end = (other.offset + other.bytes) / graph::kHeapAlignment;
    if (taken.size() < end) taken.resize(end);
    for (std::size_t i = other.offset / graph::kHeapAlignment; i < end; ++i) taken[i] = true;
  }
  std::size_t best = taken.size(), best_steps = std::numeric_limits<std::size_t>::max();
  const std::size_t wanted = block.bytes / graph::kHeapAlignment;
  for (std::size_t i = 0, start = 0; i < taken.size(); ++i) {
    if (!taken[i]) continue;
    if (i - start >= wanted && i - start < best_steps) best = start, best_steps = i - start;
    start = i + 1;
  }
  return best * graph::kHeapAlignment;
}

}  // namespace

TEST_CASE("verifier: accepts what the planner makes") { graph::verify(good_plan()); }

TEST_CASE("verifier: operands, order and kinds") {
  check_broken("every operand is a value", [](Plan& plan) { plan.operations[0].inputs[0] = 9999; });
  check_broken("written before it is read",
               [](Plan& plan) { std::swap(plan.operations[0], plan.operations[1]); });
  check_broken("a value is written once", [](Plan& plan) {
    plan.operations.push_back(plan.operations[0]);
    for (graph::Value& value : plan.values) value.last = 100;
  });
  check_broken("a source is never written",
               [](Plan& plan) { plan.operations[0].outputs[0] = plan.sources[0]; });
  check_broken("every value has its storage",
               [](Plan& plan) { plan.values[a_temporary(plan)].storage = 9999; });
  check_broken("every parameter has its data source",
               [](Plan& plan) { plan.data_sources.clear(); });
  check_broken("an output is a result", [](Plan& plan) { plan.results[0] = a_temporary(plan); });
  check_broken("alive where it is used",
               [](Plan& plan) { plan.values[a_temporary(plan)].last = 0; });
}

TEST_CASE("verifier: updates come last") {
  check_broken("updated after its readers", [](Plan& plan) {
    const std::size_t update = index_of(plan, OpId::optimizer_adam, "conv1.weights");
    std::swap(plan.operations[update - 1], plan.operations[update]);
    REQUIRE(plan.operations[update].op == OpId::convolution_data_gradient);
    for (graph::Value& value : plan.values) value.first = 0, value.last = 100;
  });
}

TEST_CASE("verifier: memory") {
  check_broken("a value lies in the heap",
               [](Plan& plan) { plan.values[a_temporary(plan)].offset = 1; });
  check_broken("a value lies in the heap", [](Plan& plan) { plan.heap_bytes = 128; });
  check_broken("do not overlap", [](Plan& plan) {
    for (graph::Value& value : plan.values) value.offset = 0;
  });
  check_broken("only in place", [](Plan& plan) {
    graph::Value& result = plan.values[first(plan, OpId::convolution).outputs[0]];
    plan.values[first(plan, OpId::loss_gradient).outputs[0]].storage = result.storage;
  });
}

TEST_CASE("heap: random blocks never overlap and stay near the least") {
  std::mt19937 random(7);
  const auto below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
  for (int round = 0; round < 200; ++round) {
    std::vector<graph::HeapBlock> blocks(1 + below(60));
    std::size_t sum = 0;
    for (graph::HeapBlock& block : blocks) {
      block.first = below(40);
      block.last = block.first + below(10);
      block.bytes = 1 + below(5000);
      sum +=
          (block.bytes + graph::kHeapAlignment - 1) / graph::kHeapAlignment * graph::kHeapAlignment;
    }
    const std::size_t bytes = graph::place(blocks);
    CHECK(bytes <= sum);
    CHECK(bytes >= graph::least_heap_bytes(blocks));
    CHECK(static_cast<double>(bytes) <= 1.5 * static_cast<double>(graph::least_heap_bytes(blocks)));
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      CHECK(blocks[i].offset % graph::kHeapAlignment == 0 &&
            blocks[i].offset + blocks[i].bytes <= bytes);
      for (std::size_t j = i + 1; j < blocks.size(); ++j) CHECK(!overlap(blocks[i], blocks[j]));
    }
  }
}

TEST_CASE("heap: the tree finds the places that comparing with every block finds") {
  std::mt19937 random(11);
  const auto below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
  for (int round = 0; round < 100; ++round) {
    const std::uint32_t operations = 1 + below(90), longest = 1 + below(operations);
    graph::HeapTree tree(operations);
    std::vector<graph::HeapBlock> placed;
    for (std::uint32_t i = 1 + below(120); i > 0; --i) {
      graph::HeapBlock block;
      block.bytes = graph::kHeapAlignment * (1 + below(9));
      block.first = below(operations);
      block.last = std::min(operations - 1, block.first + below(longest));
      const std::size_t expected = best_fit_among(placed, block);
      tree.add(block, block.bytes);
      CHECK_EQ(block.offset, expected);
      placed.push_back(block);
    }
  }
}

TEST_CASE("heap: thousands of blocks, as a training has them, take hardly more than the least") {
  constexpr std::uint32_t kLayers = 3000;
  std::mt19937 random(5);
  std::vector<graph::HeapBlock> blocks;
  for (std::uint32_t i = 0; i < kLayers; ++i) {  // what the gradient reads, and the gradient
    const std::uint32_t back = 2 * kLayers - i;
    blocks.push_back({1024 * (1 + random() % 4), i, back});
    blocks.push_back({1024 * (1 + random() % 4), back, back + 1});
  }
  const std::size_t bytes = graph::place(blocks), least = graph::least_heap_bytes(blocks);
  CHECK(bytes <= least + least / 1024);
  std::size_t overlaps = 0, outside = 0;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    outside += blocks[i].offset + blocks[i].bytes > bytes;
    for (std::size_t j = i + 1; j < blocks.size(); ++j) overlaps += overlap(blocks[i], blocks[j]);
  }
  CHECK_EQ(overlaps, 0U);
  CHECK_EQ(outside, 0U);
}

TEST_CASE("heap: thousands of blocks in no order") {
  std::mt19937 random(3);
  std::vector<graph::HeapBlock> blocks(5000);
  for (graph::HeapBlock& block : blocks) {
    block.first = random() % 5000;
    block.last = block.first + random() % 2500;
    block.bytes = 1 + random() % 5000;
  }
  const std::size_t bytes = graph::place(blocks), least = graph::least_heap_bytes(blocks);
  CHECK(static_cast<double>(bytes) <= 1.1 * static_cast<double>(least));
  std::size_t overlaps = 0;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    for (std::size_t j = i + 1; j < blocks.size(); ++j) overlaps += overlap(blocks[i], blocks[j]);
  }
  CHECK_EQ(overlaps, 0U);
}

TEST_CASE("heap: nothing to place") {
  std::vector<graph::HeapBlock> none;
  CHECK_EQ(graph::place(none), 0);
}
