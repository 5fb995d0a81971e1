// SPDX-License-Identifier: MIT
// Graphs, data sources and recurrent layers as JSON; docs/archive-format.md describes the text.
// What is read is checked: whatever does not fit throws ArchiveError with the path of the value in
// the document.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "graph/network.h"
#include "mpsnn/data_source.h"
#include "mpsnn/rnn_descriptor.h"

namespace mpsnn::graph {

base::Json to_json(const AttributeMap& attributes);
AttributeMap read_attributes(const base::JsonField& field);

/// Data sources stand in a list of their own; a network names them by their position there.
using IndexOfDataSource = std::function<std::size_t(const DataSource&)>;
using DataSourceAt = std::function<std::shared_ptr<DataSource>(const base::JsonField& index)>;

base::Json to_json(const Network& network, const IndexOfDataSource& index_of);

/// What `collect` makes a network from.
struct NetworkRoots {
  std::vector<ImageNode> results;
  std::vector<bool> needed;
  std::optional<DataType> format;
};
NetworkRoots read_network(const base::JsonField& field, const DataSourceAt& data_source_at);

/// Keys that no optimizer has are ignored, whatever their values are.
std::shared_ptr<Optimizer> read_optimizer(const base::JsonField& field);

/// Class, label, flags and attributes; the values of the parameters and the optimizer are stored
/// apart.
base::Json::Object to_json(const DataSource& source);
/// The values of a parameter, none where there are no such; throws where they have another shape.
using ReadParameter =
    std::function<std::optional<std::vector<float>>(const ParameterInfo& parameter)>;
/// The same for weights of a convolution, in the element type in which they are stored.
using ReadWeights =
    std::function<std::optional<ConvolutionWeights>(const ParameterInfo& parameter)>;
std::shared_ptr<DataSource> read_data_source(const base::JsonField& field,
                                             const ReadParameter& read_parameter,
                                             const ReadWeights& read_weights,
                                             std::shared_ptr<Optimizer> optimizer);

/// Calls `take` for each of the data sources that a recurrent layer has its weights from.
void for_each_weights(const RNNLayerDescriptor& descriptor,
                      const std::function<void(const RNNWeights&)>& take);
base::Json to_json(const RNNLayerDescriptor& descriptor, const IndexOfDataSource& index_of);
RNNLayerDescriptor read_layer_descriptor(const base::JsonField& field,
                                         const DataSourceAt& data_source_at);

}  // namespace mpsnn::graph
