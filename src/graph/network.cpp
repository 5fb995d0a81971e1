// SPDX-License-Identifier: MIT
#include "graph/network.h"

#include <map>
#include <unordered_set>
#include <utility>

#include "base/check.h"
#include "graph/walk.h"

namespace mpsnn::graph {
namespace {

class Collector {
 public:
  Network run(std::vector<ImageNode> results, std::vector<bool> needed) {
    network_.results = std::move(results);
    network_.needed = std::move(needed);
    check_results();
    RunningOrder order;
    for (const ImageNode& result : network_.results) order.visit(result.record()->producer);
    for (FilterRecord* filter : order.filters()) add(FilterNode(filter->shared_from_this()));
    for (const FilterNode& node : network_.nodes) add_states(node);
    check_state_handles();
    add_exported();
    check_source_handles();
    check_output_handles();
    return std::move(network_);
  }

 private:
  void check_results() const {
    const std::size_t count = network_.results.size();
    if (count == 0) throw_expected("Graph: result_images", "at least one image", "none");
    if (network_.needed.size() != count) {
      throw_expected("Graph: results_are_needed", str(count, " values, one a result"),
                     network_.needed.size());
    }
    for (std::size_t i = 0; i < count; ++i) {
      const ImageRecord* image = network_.results[i].record().get();
      const std::string subject = str("Graph: result_images[", i, "]");
      if (image == nullptr) throw_expected(subject, "an image node", "none");
      if (image->producer != nullptr) continue;
      throw_expected(subject, "an image that a node makes",
                     str("the source \"", image->handle, '"'));
    }
  }

  void add(const FilterNode& node) {
    network_.nodes.push_back(node);
    for (const ImageNode& source : node.sources()) {
      if (source.record()->producer != nullptr || source.record()->state != nullptr ||
          !seen_.insert(source.record().get()).second)
        continue;
      if (source.handle().empty())
        fail(*node.record(), "source", "an image with a handle", "one without");
      network_.sources.push_back(source);
    }
    const std::shared_ptr<DataSource> weights = node.weights();
    if (weights && seen_.insert(weights.get()).second) network_.data_sources.push_back(weights);
  }

  void add_states(const FilterNode& node) {
    if (node.record()->input_state) network_.source_states.emplace_back(node.record()->input_state);
    for (const StateNode& state : node.result_states()) {
      if (state.export_from_graph()) network_.exported_states.push_back(state);
    }
  }

  void check_state_handles() const {
    for (const auto& [states, what] : {std::pair(&network_.source_states, "source states"),
                                       std::pair(&network_.exported_states, "exported states")}) {
      std::unordered_set<std::string> handles;
      for (const StateNode& state : *states) {
        if (state.handle().empty())
          throw_expected(str("Graph: ", what), "a handle for each state", "one without");
        if (!handles.insert(state.handle()).second)
          throw_expected(str("Graph: ", what),
                         str("one state with the handle \"", state.handle(), '"'), "several");
      }
    }
  }

  bool is_needed_result(const ImageNode& image) const {
    for (std::size_t i = 0; i < network_.results.size(); ++i) {
      if (network_.needed[i] && network_.results[i] == image) return true;
    }
    return false;
  }

  /// Sources first, then results in running order; a needed result comes back anyway.
  void add_exported() {
    std::vector<ImageNode> images = network_.sources;
    for (const FilterNode& node : network_.nodes) images.push_back(node.result_image());
    for (const ImageNode& image : images) {
      if (!image.export_from_graph() || is_needed_result(image)) continue;
      if (image.handle().empty()) {
        const FilterRecord* producer = image.record()->producer;
        throw_expected(str(title(*producer), ": result_image"), "a handle, since it is exported",
                       "none");
      }
      network_.exported.push_back(image);
    }
  }

  void check_source_handles() const {
    std::unordered_set<std::string> handles;
    for (const ImageNode& source : network_.sources) {
      if (handles.insert(source.handle()).second) continue;
      throw_expected("Graph: sources", str("one image with the handle \"", source.handle(), '"'),
                     "several");
    }
  }

  void check_output_handles() const {
    std::map<std::string, ImageNode> outputs;
    const auto check = [&outputs](const ImageNode& image) {
      if (image.handle().empty() ||
          outputs.try_emplace(image.handle(), image).first->second == image)
        return;
      throw_expected("Graph: results and exported images",
                     str("one image with the handle \"", image.handle(), '"'), "several");
    };
    for (std::size_t i = 0; i < network_.results.size(); ++i) {
      if (network_.needed[i]) check(network_.results[i]);
    }
    for (const ImageNode& image : network_.exported) check(image);
  }

  Network network_;
  std::unordered_set<const void*> seen_;
};

}  // namespace

Network collect(std::vector<ImageNode> results, std::vector<bool> needed) {
  return Collector().run(std::move(results), std::move(needed));
}

}  // namespace mpsnn::graph
