// SPDX-License-Identifier: MIT
// From the arguments of a node's constructor to its complete attributes.
#pragma once

#include <string>

#include "graph/node_records.h"
#include "graph/node_table.h"

namespace mpsnn::graph {

/// Checks `given` against the class's table and fills in the defaults. Throws through fail(),
/// naming `node` and the argument: unknown, missing, of the wrong type, out of range, not
/// supported.
AttributeMap complete_attributes(const FilterRecord& node, AttributeMap given);

/// "true", "3", "0.5", "\"text\"", "[1, 2]".
std::string to_string(const AttributeValue& value);

}  // namespace mpsnn::graph
