// SPDX-License-Identifier: MIT
#include "graph/formats.h"

namespace mpsnn::graph {

DataType format_of(const ImageRecord& image, std::optional<DataType> of_graph,
                   const std::unordered_map<const ImageRecord*, TensorDesc>& known) {
  const ImageRecord* at = &image;
  while (true) {
    const auto found = known.find(at);
    if (found != known.end()) return found->second.type;
    if (at->format) return *at->format;
    const FilterRecord* const producer = at->producer;
    if (producer == nullptr) return DataType::FLOAT32;
    if (producer->gradient_of != nullptr) {
      at = producer->gradient_of.get();
    } else if (of_graph) {
      return *of_graph;
    } else {
      at = producer->sources.at(0).record().get();
    }
  }
}

}  // namespace mpsnn::graph
