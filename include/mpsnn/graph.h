// SPDX-License-Identifier: MIT
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "mpsnn/command_buffer.h"
#include "mpsnn/device.h"
#include "mpsnn/loss_labels.h"
#include "mpsnn/node.h"

namespace mpsnn {

/// The arrays of a state by name, float32, with ones before their extents up to four (a bias of C
/// is (1, 1, 1, C)).
using StateArrays = std::map<std::string, Image>;

/// What `Graph::encode` is given for a state: the arrays that another graph, or an earlier encode,
/// left (`GraphOutputs::states`), or the labels of a loss.
using SourceState = std::variant<StateArrays, LossLabels>;

/// The images that one encode makes: the results in their order (none where not needed), and by
/// handle the results that have one and the exported images.
struct GraphOutputs {
  std::vector<std::optional<Image>> results;
  std::map<std::string, Image> by_handle;
  /// Exported states by handle.
  std::map<std::string, StateArrays> states = {};
  /// Throws InvalidArgumentError naming the handle and those there are.
  const Image& operator[](const std::string& handle) const;
};

/// A compiled graph: everything that is needed for its results, for one device. Sizes come with the
/// sources at each encode; plans for the last sizes are kept (bounded). Thread rule: may be encoded
/// from several threads at once, each on its own command buffer. Apple: MPSNNGraph.
class Graph {
 public:
  /// `results_are_needed[i]` false: the image itself is not wanted, only the weight updates on the
  /// way. Data sources that this device does not know yet are loaded. Throws InvalidArgumentError:
  /// no results, a result that no node makes, two sources with one handle, a source without one,
  /// lengths that differ; StateError: a data source that cannot be loaded.
  /// `format`: element type of the images that nodes make and that say nothing themselves
  /// (ImageNode::set_format), FLOAT32 or FLOAT16; none: that of the node's first source. A gradient
  /// has the type of the image that it is the gradient of. Apple: MPSNNGraph.format, whose default
  /// is float16; here images are float32 unless one is asked to be otherwise.
  Graph(const Device& device, std::vector<ImageNode> result_images,
        std::optional<std::vector<bool>> results_are_needed = std::nullopt,
        std::optional<DataType> format = std::nullopt);

  const Device& device() const;
  const std::string& label() const;
  void set_label(std::string label);
  /// Handles of the sources, in the order that `encode` wants where they are given as a list.
  std::vector<std::string> source_handles() const;
  /// Element type of a source's images; none where there is no such source.
  std::optional<DataType> source_format(const std::string& handle) const;
  /// That of images that say nothing themselves; none: that of the node's first source.
  std::optional<DataType> format() const;
  /// Handles of the states that `encode` wants: labels of losses, and the states that gradient
  /// nodes use (`FilterNode::use_source_state`).
  std::vector<std::string> source_state_handles() const;
  /// Handles of the exported images.
  std::vector<std::string> intermediate_handles() const;
  /// Handles of the exported states.
  std::vector<std::string> result_state_handles() const;
  std::vector<ImageNode> result_images() const;
  std::vector<bool> results_are_needed() const;
  /// Every data source, in the order of first use.
  std::vector<std::shared_ptr<DataSource>> data_sources() const;
  std::vector<FilterNode> nodes() const;  // in the order they run

  /// Records the graph on the command buffer, which commits pieces of it by itself unless it was
  /// made without auto_commit. Sources and states by handle; sizes are checked first. Throws
  /// InvalidArgumentError naming the source, state or node: missing or unknown, wrong channels,
  /// sizes that do not fit; ArgumentTypeError for a wrong element type.
  GraphOutputs encode(CommandBuffer& commands, const std::map<std::string, Image>& sources,
                      const std::map<std::string, SourceState>& states = {}) const;

  /// Reads the values of every data source again: those it was made with or set_initial() gave, or
  /// what one of one's own gives now. Work in flight is waited for; moments and time steps stay.
  /// What training has changed on this device since is lost. Apple: reloadFromDataSources.
  void reload_from_data_sources() const;

  /// Plans are kept for the last sizes of sources, this many; the one used longest ago makes room.
  /// 16 at first. Throws InvalidArgumentError for 0.
  std::size_t plan_limit() const;
  void set_plan_limit(std::size_t limit) const;
  /// Plans kept now.
  std::size_t plan_count() const;
  /// Drops the plans; those in flight are kept until they have run.
  void trim() const;

  /// The plan for these sizes, as text: operations, kernels, lifetimes, heap. A state's labels have
  /// its handle here ("labels"), its weights, where they are there, "labels.weights"; the arrays of
  /// another state are "handle.name".
  std::string plan_text(const std::map<std::string, ImageSize>& sources) const;
  /// The plan as Graphviz source.
  std::string plan_dot(const std::map<std::string, ImageSize>& sources) const;
  /// The nodes as Graphviz source (no sizes needed).
  std::string dot() const;
  /// Bytes of temporaries and FLOPs of one encode at these sizes.
  struct Cost {
    std::size_t heap_bytes = 0;
    std::uint64_t flops = 0;
    std::size_t operations = 0;
  };
  Cost cost(const std::map<std::string, ImageSize>& sources) const;

  struct Impl;
  const std::shared_ptr<Impl>& impl() const noexcept { return impl_; }

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace mpsnn
