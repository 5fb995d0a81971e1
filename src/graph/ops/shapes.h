// SPDX-License-Identifier: MIT
// Shape and gradient rules that several families share.
#pragma once

#include <initializer_list>
#include <string_view>
#include <vector>

#include "graph/node_table.h"

namespace mpsnn::graph {

/// The size of source 0.
inline ImageSize size_of_source(const ShapeQuery& query) { return query.sources[0]; }

/// Throws unless source i has the size `expected`.
inline void expect_size(const ShapeQuery& query, std::size_t i, std::string_view argument,
                        const ImageSize& expected) {
  if (query.sources[i] != expected) {
    fail(query.node, argument, to_string(expected), to_string(query.sources[i]));
  }
}

/// The attributes of a forward node that its gradient node shares.
inline AttributeMap shared_attributes(const FilterNode& forward,
                                      std::initializer_list<std::string_view> names) {
  AttributeMap shared;
  for (const std::string_view name : names) shared.emplace(name, forward.attribute(name));
  return shared;
}

/// Sources of a gradient node: the gradient, then the forward node's own.
inline std::vector<ImageNode> gradient_then_sources(const GradientQuery& query) {
  std::vector<ImageNode> sources = {query.source_gradient};
  const std::vector<ImageNode>& forward = query.forward.sources();
  sources.insert(sources.end(), forward.begin(), forward.end());
  return sources;
}

}  // namespace mpsnn::graph
