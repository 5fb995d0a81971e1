// SPDX-License-Identifier: MIT
// The node and kernel tables as plain data: what the typed classes, stubs and reference pages are
// generated from.
#include "graph/kernel_table.h"

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
  constexpr std::array kNames = {"bool",   "int",  "uint",   "float",
                                 "string", "ints", "floats", "enum"};
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

py::dict row(const graph::OperandSpec& operand);
py::dict row(const graph::EncodeMethod& method);

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

py::dict row(const graph::OperandSpec& operand) {
  py::dict row;
  row["name"] = operand.name;
  row["kinds"] = py::cast(graph::names_of(operand.kind));
  row["doc"] = operand.doc;
  row["writes"] = operand.writes;
  row["optional"] = operand.optional;
  row["variadic"] = operand.variadic;
  row["in_place"] = operand.in_place;
  return row;
}

py::dict row(const graph::EncodeMethod& method) {
  py::dict row;
  row["name"] = method.name;
  row["doc"] = method.doc;
  row["operands"] = rows(method.operands);
  return row;
}

py::dict row(const graph::KernelClass& kernel) {
  py::dict row;
  row["name"] = kernel.name;
  row["apple"] = kernel.apple;
  row["family"] = kernel.family;
  row["brief"] = kernel.brief;
  row["doc"] = kernel.doc;
  row["example"] = kernel.example;
  row["attributes"] = rows(kernel.attributes);
  row["fixed"] = py::cast(kernel.fixed);
  row["methods"] = rows(kernel.methods);
  row["has_state"] = kernel.make_state != nullptr;
  return row;
}

Table kernel_table() {
  Table list;
  for (const graph::KernelClass& kernel : graph::kernel_classes()) list.append(row(kernel));
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
  m.def("kernel_table", &kernel_table,
        R"(Every kernel class: names, documentation, parameters, operands.

Returns:
    A row a class, as the library itself uses them.)");
  m.def("enum_table", &enum_table, R"(Every enumeration that node classes use.

Returns:
    A row an enumeration: names, documentation, enumerators.)");
}

}  // namespace mpsnn::bindings
