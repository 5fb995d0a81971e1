// SPDX-License-Identifier: MIT
// The nodes behind some results, checked and in running order; and planning them for given sizes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/kernel.h"
#include "graph/plan.h"
#include "mpsnn/node.h"

namespace mpsnn::graph {

/// What a `Graph` holds that does not depend on sizes or devices.
struct Network {
  std::vector<FilterNode> nodes;   // each after those whose results it reads
  std::vector<ImageNode> sources;  // images that no node makes, in the order of first use
  std::vector<ImageNode> results;
  std::vector<bool> needed;                   // a flag a result
  std::vector<ImageNode> exported;            // images to hand out beside the results
  std::vector<StateNode> source_states = {};  // given at encode
  std::vector<StateNode> exported_states = {};
  std::vector<std::shared_ptr<DataSource>> data_sources;  // in the order of first use
  std::optional<DataType> format;  // of images that nodes make and that say nothing themselves
};

/// Walks back from the results. Throws InvalidArgumentError as Graph's constructor says.
Network collect(std::vector<ImageNode> results, std::vector<bool> needed);

/// Choices that trade one thing for another.
struct PlanOptions {
  /// Make cheap values (upsampled images, sums) again in the backward pass where keeping them would
  /// raise the heap's peak. A few per cent of the time for up to a third of the memory.
  bool recompute = true;
};

/// Infers shapes, lowers nodes to operations, prunes what no needed result and no weight update
/// uses, fuses, chooses kernels, orders, places temporaries. `sources` in the order of
/// network.sources, then the parts of the source states; one without extents: it is absent. Throws
/// InvalidArgumentError naming the node whose operands do not fit, UnsupportedError.
Plan make_plan(const Network& network, const std::vector<TensorDesc>& sources,
               const KernelChooser& chooser, const PlanOptions& options = {});

/// The nodes as Graphviz source.
std::string to_dot(const Network& network);

}  // namespace mpsnn::graph
