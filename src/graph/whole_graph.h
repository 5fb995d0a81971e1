// SPDX-License-Identifier: MIT
// A graph as a backend sees it that takes graphs whole: nodes, the type and size of every image,
// and the operands that its kernel gets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/kernel.h"
#include "graph/network.h"
#include "graph/node_records.h"

namespace mpsnn::graph {

/// An array of a data source: "weights", "weights.version", "weights.momentum" … The kernel finds
/// it as an input, and as an output too where the graph changes it.
struct ParameterOperand {
  std::size_t data_source;  // index into Network::data_sources
  std::string name;
  std::uint32_t input;  // index of the operation's inputs
};

/// The loss that a node leaves in the labels that it was given.
struct LossOutput {
  const FilterRecord* node;
  TensorDesc desc;
};

/// The mask that a dropout leaves in its state.
struct MaskOutput {
  const FilterRecord* node;
  TensorDesc desc;
};

/// Inputs of the kernel: `sources`, then `parameters`. Outputs: `outputs`, `losses`, `masks`, then
/// the parameters that are changed, which the kernel takes from its inputs. Scalars: those of
/// `optimizers`, one after the other.
struct WholeGraph {
  const Network& network;
  const std::unordered_map<const ImageRecord*, TensorDesc>& shapes;  // of every image
  std::vector<const ImageRecord*> sources = {};  // the network's, then what is there of states
  std::vector<const ImageRecord*> outputs = {};  // each once
  std::vector<LossOutput> losses = {};
  std::vector<MaskOutput> masks = {};
  std::vector<ParameterOperand> parameters = {};
  std::vector<std::shared_ptr<Optimizer>> optimizers = {};  // each once
  std::vector<bool> updated = {};                           // a data source: the graph trains it
  std::vector<bool> moves_statistics = {};  // a data source: its running statistics follow a batch

  const TensorDesc& desc(const ImageNode& image) const { return shapes.at(image.record().get()); }
  ImageSize size(const ImageNode& image) const { return desc(image).image(); }
};

}  // namespace mpsnn::graph
