// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <unordered_map>

#include "base/kernel.h"
#include "graph/node_records.h"

namespace mpsnn::graph {

/// The element type of an image: its own; for a gradient that of the image that it is the gradient
/// of; else the graph's, where it has one; else that of the first source. Sources that say nothing
/// are float32. Images in `known` have the type that stands there.
DataType format_of(const ImageRecord& image, std::optional<DataType> of_graph,
                   const std::unordered_map<const ImageRecord*, TensorDesc>& known = {});

}  // namespace mpsnn::graph
