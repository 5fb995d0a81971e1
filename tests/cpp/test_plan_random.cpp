// SPDX-License-Identifier: MIT
// Properties of plans over a few hundred random graphs, forward and training.
#include <algorithm>
#include <random>

#include "graph/in_place.h"
#include "graph_fixtures.h"
#include "testing.h"

namespace {

using namespace fixtures;
using graph::kNoValue;
using graph::Operation;
using graph::Plan;
using graph::Value;
using graph::ValueId;
using graph::ValueKind;

/// Grows a random graph of images that all have one size, so that any two can be added.
class Grower {
 public:
  explicit Grower(unsigned seed) : random_(seed) {
    for (int i = 0; i < 2; ++i) images_.push_back(ImageNode("source" + std::to_string(i)));
    for (int i = 0; i < 3; ++i) {
      data_.push_back(weights(kChannels, kChannels, "data" + std::to_string(i),
                              below(4) == 0 ? nullptr : adam()));
    }
    // Both sources are used, in their order.
    images_.push_back(node("AdditionNode", {images_[0], images_[1]}));
    const std::size_t steps = 3 + below(20);
    for (std::size_t i = 0; i < steps; ++i) images_.push_back(grow());
  }

  static TensorDesc size() { return image(2, 8, 8, kChannels); }
  std::size_t below(std::size_t n) { return random_() % n; }

  /// A few results of the graph, or of its training graph.
  std::vector<ImageNode> results() {
    std::vector<ImageNode> results = {images_.back()};
    if (below(2) == 0) results = results_of(train(images_.back()));
    if (below(2) == 0) results.push_back(images_[2 + below(images_.size() - 2)]);
    if (below(3) == 0) {
      const ImageNode exported = images_[2 + below(images_.size() - 2)];
      ImageNode(exported).set_handle("exported");
      ImageNode(exported).set_export_from_graph(true);
    }
    return results;
  }

 private:
  static constexpr std::int64_t kChannels = 4;

  ImageNode any() {
    return images_[images_.size() - 1 - below(std::min<std::size_t>(images_.size(), 4))];
  }

  ImageNode grow() {
    switch (below(7)) {
      case 0:
        return relu(any(), below(2) == 0 ? 0.0 : -0.5);
      case 1:
        return relu(any());
      case 2:
        return node("AdditionNode", {any(), any()}, {{"primary_scale", below(2) == 0 ? 1.0 : 0.5}});
      case 3:
        return node(
            "PoolingMaxNode",
            {node("UpsamplingNearestNode", {any()}, {{"integer_scale_factor_x", std::int64_t{2}}})},
            {{"kernel_width", std::int64_t{2}}});
      case 4:
        return convolution(node("ConcatenationNode", {any(), any()}),
                           weights(2 * kChannels, kChannels, "joined"));
      default:
        return convolution(any(), data_[below(data_.size())]);
    }
  }

  std::mt19937 random_;
  std::vector<ImageNode> images_;
  std::vector<std::shared_ptr<DataSource>> data_;
};

FakeChooser busy_chooser() {
  FakeChooser chooser;
  chooser.scratch_bytes = {{OpId::convolution, 777}, {OpId::convolution_weights_gradient, 5000}};
  chooser.weights_layout = {{OpId::convolution, "blocked"},
                            {OpId::convolution_data_gradient, "turned"}};
  return chooser;
}

void check_reads_follow_writes(const Plan& plan) {
  std::vector<bool> written(plan.values.size(), false);
  for (const Operation& operation : plan.operations) {
    for (const ValueId id : operation.inputs) {
      const ValueKind kind = plan.values[id].kind;
      CHECK(written[id] || kind == ValueKind::SOURCE || kind == ValueKind::PARAMETER);
    }
    for (const ValueId id : operation.outputs) {
      if (id != kNoValue) written[id] = true;
    }
  }
  for (const ValueId id : plan.results) CHECK(id == kNoValue || written[id]);
}

/// Plays the plan over a heap in which every byte knows its owner: what an operation reads must
/// still be there. Independent of lifetimes and of the verifier.
void check_memory_by_playing(const Plan& plan) {
  constexpr std::size_t kGrain = graph::kHeapAlignment;
  std::vector<ValueId> owner(plan.heap_bytes / kGrain, kNoValue);
  std::vector<ValueId> result_owner(plan.values.size(), kNoValue);  // by root, outside of the heap
  const auto for_each_grain = [&](ValueId id, auto f) {
    const Value& value = plan.values[id];
    if (value.kind == ValueKind::SOURCE || value.kind == ValueKind::PARAMETER) return;
    if (plan.values[value.storage].kind == ValueKind::RESULT) return f(result_owner[value.storage]);
    for (std::size_t at = value.offset / kGrain; at * kGrain < value.offset + value.desc.bytes();
         ++at)
      f(owner.at(at));
  };
  for (const Operation& operation : plan.operations) {
    if (operation.scratch != kNoValue)
      for_each_grain(operation.scratch, [&](ValueId& o) { o = operation.scratch; });
    for (const ValueId id : operation.inputs)
      for_each_grain(id, [&](ValueId& o) { CHECK_EQ(o, id); });
    for (const ValueId id : operation.outputs) {
      if (id == kNoValue) continue;
      for_each_grain(id, [&](ValueId& o) {
        const std::vector<std::size_t> allowed = graph::in_place_operands(operation.op);
        // Over an operand of its own only where the operation allows it.
        const auto input = std::find(operation.inputs.begin(), operation.inputs.end(), o);
        if (o != kNoValue && input != operation.inputs.end()) {
          const auto index = static_cast<std::size_t>(input - operation.inputs.begin());
          CHECK(std::find(allowed.begin(), allowed.end(), index) != allowed.end());
        }
        CHECK(o == kNoValue || o != operation.scratch);
        o = id;
      });
    }
  }
  for (const ValueId id : plan.results) {
    if (id != kNoValue) for_each_grain(id, [&](ValueId& o) { CHECK_EQ(o, id); });
  }
  for (const ValueId id : plan.exported) for_each_grain(id, [&](ValueId& o) { CHECK_EQ(o, id); });
}

void check_peak(const Plan& plan) {
  std::size_t sum = 0;
  for (const Value& value : plan.values) {
    const std::size_t rounded =
        (value.desc.bytes() + graph::kHeapAlignment - 1) / graph::kHeapAlignment;
    if (value.kind == ValueKind::TEMPORARY) sum += rounded * graph::kHeapAlignment;
  }
  CHECK(plan.heap_bytes <= sum);
}

/// Each updated parameter is updated once, after all that read it or a copy of it.
void check_updates(const Plan& plan) {
  std::vector<std::string> updated;
  for (const Operation& operation : plan.operations) {
    for (const ValueId id : operation.inputs) {
      const Value& value = plan.values[id];
      if (value.kind != ValueKind::PARAMETER) continue;
      const std::string name = value.name.substr(0, value.name.find('@'));
      CHECK(std::find(updated.begin(), updated.end(), name) == updated.end());
    }
    if (operation.optimizer) updated.push_back(plan.values[operation.inputs[0]].name);
  }
}

}  // namespace

TEST_CASE("random graphs: memory, order, updates and repeatability") {
  const FakeChooser chooser = busy_chooser();
  std::size_t trained = 0, shared = 0;
  for (unsigned seed = 0; seed < 300; ++seed) {
    Grower grower(seed);
    const std::vector<ImageNode> results = grower.results();
    std::vector<bool> needed;
    for (std::size_t i = 0; i < results.size(); ++i) needed.push_back(grower.below(3) != 0);
    const graph::Network network = graph::collect(results, needed);
    const std::vector<TensorDesc> sources(network.sources.size(), Grower::size());
    const Plan planned = graph::make_plan(network, sources, chooser);
    check_reads_follow_writes(planned);
    check_memory_by_playing(planned);
    check_peak(planned);
    check_updates(planned);
    trained += count(planned, OpId::optimizer_adam) > 0;
    for (ValueId id = 0; id < planned.values.size(); ++id)
      shared += planned.values[id].storage != id;
    CHECK_EQ(graph::to_text(planned), graph::to_text(graph::make_plan(network, sources, chooser)));
  }
  // The graphs are worth the name: many train, and many share memory.
  CHECK(trained > 50);
  CHECK(shared > 300);
}
