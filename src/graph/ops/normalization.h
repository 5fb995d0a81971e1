// SPDX-License-Identifier: MIT
// What the nodes share that normalise by statistics of the image itself.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "graph/lowering.h"
#include "graph/node_table.h"
#include "mpsnn/normalization_data_source.h"

namespace mpsnn::graph {

const NormalizationDataSource& normalization_values(const FilterRecord& node);

/// The source's size; throws where its channels are not those of the data source.
ImageSize normalization_shape(const ShapeQuery& query);
ImageSize normalization_gradient_shape(const ShapeQuery& query);

struct Statistics {
  ValueId mean, variance;
};
/// Extents of mean and variance: (C) over the batch, (N, C) or (N, groups) of each image.
std::vector<std::int64_t> statistics_dims(const FilterRecord& node, const ImageSize& source);

/// Statistics of source i: those of the state that the node was given, or computed once for all
/// nodes that share them.
Statistics statistics_of(Lowering& to, std::size_t i);

AttributeMap epsilon_of(const Lowering& to);
/// Appends the normalisation of source 0.
void add_normalization(Lowering& to, const Statistics& statistics);

/// Sources of the forward nodes and of the gradient nodes.
std::vector<SourceSpec> normalization_sources();
std::vector<SourceSpec> normalization_gradient_sources();

}  // namespace mpsnn::graph
