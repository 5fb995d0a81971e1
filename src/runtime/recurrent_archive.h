// SPDX-License-Identifier: MIT
// Recurrent layers in archives; docs/archive-format.md describes what is written.
#pragma once

#include "graph/serialize.h"
#include "runtime/recurrent_layer.h"

namespace mpsnn::runtime {

base::Json to_json(const RecurrentLayer& layer, const graph::IndexOfDataSource& index_of);

/// Throws ArchiveError for what is no layer.
RNNAnyLayer read_layer(const Device& device, const base::JsonField& field,
                       const graph::DataSourceAt& data_source_at);

}  // namespace mpsnn::runtime
