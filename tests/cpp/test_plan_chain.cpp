// SPDX-License-Identifier: MIT
// Nets of ten thousand nodes: nothing recurses, nothing is quadratic that would be felt.
#include <algorithm>
#include <chrono>
#include <ctime>
#include <limits>

#include "graph/heap.h"
#include "graph_fixtures.h"
#include "testing.h"

namespace {

using namespace fixtures;

constexpr std::size_t kNodes = 10000;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Of this process alone, the least of a few: planning a chain of neurons, each in place.
double planning_seconds(std::size_t nodes) {
  ImageNode last("source");
  for (std::size_t i = 0; i < nodes; ++i) last = relu(last).result_image();
  double least = std::numeric_limits<double>::max();
  for (int round = 0; round < 3; ++round) {
    const std::clock_t start = std::clock();
    const graph::Plan planned = plan({last}, true, {image(1, 2, 2, 1)});
    const std::clock_t ticks = std::clock() - start;
    REQUIRE(planned.operations.size() == nodes);
    least = std::min(least, static_cast<double>(ticks) / CLOCKS_PER_SEC);
  }
  return least;
}

/// As above: placing what the training of so many layers needs, results that wait for their
/// gradient and what lives shortly beside them.
double placing_seconds(std::uint32_t layers) {
  std::vector<graph::HeapBlock> blocks;
  for (std::uint32_t i = 0; i < layers; ++i) {
    const std::uint32_t back = 5 * layers - 4 * i;
    blocks.push_back({1024 * (1 + i % 3), i, back});
    for (std::uint32_t k = 0; k < 4; ++k) blocks.push_back({512U << k, back + k, back + k + 1});
  }
  double least = std::numeric_limits<double>::max();
  for (int round = 0; round < 3; ++round) {
    std::vector<graph::HeapBlock> placed = blocks;
    const std::clock_t start = std::clock();
    const std::size_t bytes = graph::place(placed);
    const std::clock_t ticks = std::clock() - start;
    REQUIRE(bytes >= graph::least_heap_bytes(placed));
    least = std::min(least, static_cast<double>(ticks) / CLOCKS_PER_SEC);
  }
  return least;
}

}  // namespace

TEST_CASE("four times the layers take about four times as long to place") {
  const double few = placing_seconds(2500), many = placing_seconds(10000);
  CHECK(many < 9 * few);  // 16 times where every block is compared with all that are placed
}

TEST_CASE("four times the nodes take about four times as long to plan") {
  const double few = planning_seconds(10000), many = planning_seconds(40000);
  CHECK(many < 9 * few);  // 16 times where every value is compared with those before it
}

TEST_CASE("a chain of 10,000 nodes is built, trained, planned and destroyed") {
  const auto start = std::chrono::steady_clock::now();
  graph::Plan planned;
  {
    const ImageNode source("source");
    ImageNode last = convolution(source, weights(4, 4, "first", adam())).result_image();
    for (std::size_t i = 1; i < kNodes; ++i) last = relu(last).result_image();
    const std::vector<FilterNode> ends = train(last);
    REQUIRE(ends.size() == 1);
    planned = plan(results_of(ends), true, {image(1, 8, 8, 4)});
  }
  CHECK_EQ(count(planned, OpId::neuron), kNodes - 3);  // the first is fused, the last not needed
  CHECK_EQ(count(planned, OpId::neuron_gradient), kNodes - 1);
  CHECK(seconds_since(start) < 30.0);  // a second or so; sanitizers and loaded machines are slower
}

TEST_CASE("a chain of 10,000 convolutions plans in linear memory") {
  const ImageNode source("source");
  const auto shared = weights(4, 4, "shared", adam());
  ImageNode last = source;
  for (std::size_t i = 0; i < kNodes / 2; ++i)
    last = relu(convolution(last, shared)).result_image();
  const graph::Plan inference = plan({last}, true, {image(1, 8, 8, 4)});
  CHECK_EQ(inference.operations.size(), kNodes / 2);
  CHECK_EQ(inference.heap_bytes, 2u * 1024u);  // two images take turns

  const graph::Plan training = plan(results_of(train(last)), false, {image(1, 8, 8, 4)});
  CHECK_EQ(count(training, OpId::optimizer_adam), 2);
  CHECK_EQ(count(training, OpId::convolution_weights_gradient), kNodes / 2);
  CHECK_EQ(count(training, OpId::convolution_data_gradient), kNodes / 2 - 1);
}
