// SPDX-License-Identifier: MIT
// What an encode is given for the states of a graph.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "mpsnn/graph.h"

namespace mpsnn::runtime {

/// For one state: the images of its parts in their order, none where an optional one is absent.
struct GivenState {
  std::optional<LossLabels> labels;  // that they belong to, and where the loss is left
  std::vector<std::optional<Image>> parts;
};

/// One for each of `wanted`, in that order. `title` is how errors call the graph. Throws
/// InvalidArgumentError naming the state: missing or unknown ones, labels where arrays are wanted
/// and the other way round, missing or unknown arrays, weights that the loss does not take.
std::vector<GivenState> states_in_order(const std::string& title,
                                        const std::vector<StateNode>& wanted,
                                        const std::map<std::string, SourceState>& states);

}  // namespace mpsnn::runtime
