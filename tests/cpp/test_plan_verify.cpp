// SPDX-License-Identifier: MIT
// The verifier finds every rule broken; the heap's placement keeps its own.
#include <random>

#include "graph/heap.h"
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

TEST_CASE("heap: nothing to place") {
  std::vector<graph::HeapBlock> none;
  CHECK_EQ(graph::place(none), 0);
}
