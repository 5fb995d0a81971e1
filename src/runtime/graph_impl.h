// SPDX-License-Identifier: MIT
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "graph/network.h"
#include "mpsnn/graph.h"
#include "runtime/plan_cache.h"

namespace mpsnn {

/// A graph compiled for a device.
struct Graph::Impl {
  Impl(const Device& for_device, graph::Network compiled);

  const Device device;
  std::string label;
  const graph::Network network;
  runtime::PlanCache plans;

  /// `Graph "denoiser"`: how errors call it.
  std::string title() const { return "Graph \"" + label + "\""; }
  /// A value for each source, in their order. Throws InvalidArgumentError for missing and unknown
  /// handles.
  template <class T>
  std::vector<const T*> in_order(const std::map<std::string, T>& by_handle) const;

  runtime::PlanKey key(std::vector<TensorDesc> sources) const;
  graph::Plan make_plan(const runtime::PlanKey& key) const;
  std::shared_ptr<const runtime::CompiledPlan> plan_for(
      const std::map<std::string, ImageSize>& sources);

  /// Checks images against the sources and gives their states, in order.
  std::vector<std::shared_ptr<runtime::ImageState>> check_images(
      const std::map<std::string, Image>& sources) const;
  GraphOutputs encode(CommandBuffer& commands, const std::map<std::string, Image>& sources);
};

}  // namespace mpsnn
