// SPDX-License-Identifier: MIT
// A plan in the making: what the passes of make_plan hand on to one another.
#pragma once

#include <map>
#include <set>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "base/kernel.h"
#include "graph/network.h"
#include "graph/plan.h"

namespace mpsnn::graph {

/// A gradient of a parameter made by one node.
struct ParameterGradient {
  std::uint32_t data_source;
  std::string parameter;
  ValueId gradient;
  TrainingStyle style;
  std::string node;  // how errors call it
};

/// An operation that changes a parameter of a node's data source, after everything that reads it.
struct StateChange {
  std::string label, node_class;
  OpId op;
  std::vector<ValueId> inputs;  // the parameter first
  AttributeMap attributes;
};

struct Draft {
  Draft(const Network& of, const KernelChooser& with) : network(of), chooser(with) {}

  const Network& network;
  const KernelChooser& chooser;
  Plan plan;
  std::unordered_map<const ImageRecord*, TensorDesc> shapes;  // of every image, by infer_shapes
  std::unordered_map<const ImageRecord*, ValueId> images;     // by lower
  std::unordered_map<const DataSource*, std::uint32_t> data_sources;
  std::vector<ParameterGradient> gradients;  // in the order of the nodes
  std::vector<StateChange> changes;
  /// Images with data sources for which the network holds a gradient node.
  std::set<std::pair<const ImageRecord*, const DataSource*>> differentiated;
  /// Values that a node and its gradient node share, by image, data source and name.
  std::map<std::tuple<const ImageRecord*, const DataSource*, std::string>, ValueId> shared;

  ValueId add_value(std::string name, TensorDesc desc, ValueKind kind);
  /// The value of a parameter, its version, moments or layout copies; made at the first call.
  ValueId parameter(std::uint32_t data_source, const std::string& name, TensorDesc desc);

 private:
  std::unordered_map<std::string, ValueId> parameters_;  // key: "<data source> <name>"
};

/// A counter in device memory: versions of parameters, time steps.
TensorDesc counter_desc();

}  // namespace mpsnn::graph
