// SPDX-License-Identifier: MIT
// From the arguments of a node's or kernel's constructor to its complete attributes.
#pragma once

#include <span>
#include <string>

#include "graph/node_records.h"
#include "graph/node_table.h"

namespace mpsnn::graph {

/// What is known of the attributes of a class.
struct AttributeTable {
  std::string title;  // how errors call the node or kernel
  std::span<const AttributeSpec> specs;
  const AttributeMap& fixed;
};

/// Checks `given` against the class's table and fills in the defaults. Throws, naming the title and
/// the argument: unknown, missing, of the wrong type, out of range, not supported.
AttributeMap complete_attributes(const AttributeTable& of, AttributeMap given);
AttributeMap complete_attributes(const FilterRecord& node, AttributeMap given);
/// One attribute of the class alone, checked in the same way.
AttributeValue checked_attribute(const AttributeTable& of, const std::string& name,
                                 AttributeValue value);

/// "true", "3", "0.5", "\"text\"", "[1, 2]".
std::string to_string(const AttributeValue& value);

}  // namespace mpsnn::graph
