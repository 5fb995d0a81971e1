// SPDX-License-Identifier: MIT
// The node table as plain data: what the typed classes, stubs and reference pages are generated
// from.
#include "graph/node_table.h"

#include <array>

#include <pybind11/stl.h>

#include "bindings/bindings.h"
#include "bindings/casters.h"

namespace mpsnn::bindings {
namespace {

struct RowHint {
  static constexpr auto name = py::detail::const_name("dict[str, typing.Any]");
};
using Table = py::typing::List<Hinted<RowHint>>;

py::str name_of(graph::Derivative derivative) {
  constexpr std::array kNames = {"none", "always", "if_trained"};
  return kNames.at(static_cast<std::size_t>(derivative));
}

py::str name_of(graph::AttributeType type) {
  constexpr std::array kNames = {"bool", "int", "float", "string", "ints", "floats", "enum"};
  return kNames.at(static_cast<std::size_t>(type));
}

py::dict row(const graph::SourceSpec& source) {
  py::dict row;
  row["name"] = source.name;
  row["doc"] = source.doc;
  row["derivative"] = name_of(source.derivative);
  row["optional"] = source.optional;
  row["variadic"] = source.variadic;
  return row;
}

py::dict row(const graph::AttributeSpec& attribute) {
  py::dict row;
  row["name"] = attribute.name;
  row["type"] = name_of(attribute.type);
  row["doc"] = attribute.doc;
  row["required"] = attribute.required();
  row["default"] = attribute.default_value;
  row["default_from"] = attribute.default_from;
  row["minimum"] = attribute.minimum;
  row["maximum"] = attribute.maximum;
  row["enum"] = attribute.enum_name;
  row["supported"] = attribute.supported;
  return row;
}

template <class Spec>
py::list rows(const std::vector<Spec>& specs) {
  py::list list;
  for (const Spec& spec : specs) list.append(row(spec));
  return list;
}

py::dict row(const graph::NodeClass& node) {
  py::dict row;
  row["name"] = node.name;
  row["apple"] = node.apple;
  row["family"] = node.family;
  row["brief"] = node.brief;
  row["doc"] = node.doc;
  row["sources"] = rows(node.sources);
  row["attributes"] = rows(node.attributes);
  row["fixed"] = py::cast(node.fixed);
  row["weights"] = node.weights;
  row["makes_weights"] = node.make_weights != nullptr;
  row["trainable"] = node.trainable;
  row["gradient"] = node.gradient;
  row["has_padding"] = node.has_padding;
  row["starts_gradient"] = node.starts_gradient;
  row["has_labels"] = node.has_labels;
  row["state"] = node.state;
  row["has_derivative"] = node.gradient_of != nullptr;
  return row;
}

Table node_table() {
  Table list;
  for (const graph::NodeClass& node : graph::node_classes()) list.append(row(node));
  return list;
}

Table enum_table() {
  Table list;
  for (const graph::EnumClass& enumeration : graph::enum_classes()) {
    py::dict values;
    for (const auto& [name, value] : enumeration.enumerators)
      values[py::str(std::string(name))] = value;
    py::dict row;
    row["name"] = enumeration.name;
    row["apple"] = enumeration.apple;
    row["brief"] = enumeration.brief;
    row["enumerators"] = values;
    list.append(row);
  }
  return list;
}

}  // namespace

void bind_node_table(py::module_& m) {
  m.def("node_table", &node_table, R"(Every node class: names, documentation, sources, parameters.

Returns:
    A row a class, as the library itself uses them.)");
  m.def("enum_table", &enum_table, R"(Every enumeration that node classes use.

Returns:
    A row an enumeration: names, documentation, enumerators.)");
}

}  // namespace mpsnn::bindings
