// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "graph/network.h"
#include "mpsnn/graph.h"
#include "runtime/plan_cache.h"
#include "runtime/source_states.h"

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
      const std::map<std::string, Image>& sources,
      const std::vector<runtime::GivenState>& states) const;
  /// Throws where an image is of another device or format; `subject` is how the error calls it.
  void check_image(const Image& image, DataType wanted,
                   const std::function<std::string()>& subject) const;
  /// All that is given, as a plan wants it; what is absent has no extents.
  std::vector<TensorDesc> source_descs(const std::map<std::string, Image>& sources,
                                       const std::vector<runtime::GivenState>& states) const;
  /// Throws where the loss has another size than the labels' maker wanted.
  void check_losses(const std::vector<runtime::GivenState>& states,
                    const std::vector<std::optional<Image>>& losses) const;
  GraphOutputs encode(CommandBuffer& commands, const std::map<std::string, Image>& sources,
                      const std::map<std::string, SourceState>& given);
};

}  // namespace mpsnn
