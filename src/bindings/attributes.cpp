// SPDX-License-Identifier: MIT
#include "bindings/attributes.h"

#include <algorithm>
#include <vector>

#include <pybind11/numpy.h>

namespace mpsnn::bindings {

std::string text_of(py::handle object) { return py::repr(object); }

namespace {

AttributeValue integer_of(const std::string& name, py::handle object) {
  const auto index = py::reinterpret_steal<py::object>(PyNumber_Index(object.ptr()));
  if (!index) throw py::error_already_set();
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  if (overflow > 0) {
    const unsigned long long large = PyLong_AsUnsignedLongLong(index.ptr());
    if (PyErr_Occurred() == nullptr) return std::uint64_t{large};
    PyErr_Clear();
  }
  if (overflow != 0) {
    throw InvalidArgumentError(name + ": expected an integer of 64 bits, got " + text_of(object));
  }
  return std::int64_t{value};
}

double number_of(const std::string& name, py::handle object) {
  const double value = PyFloat_AsDouble(object.ptr());
  if (value == -1.0 && PyErr_Occurred() != nullptr) {
    PyErr_Clear();
    throw ArgumentTypeError(name + ": expected a number, got " + text_of(object));
  }
  return value;
}

/// Texts of Python may hold halves of surrogate pairs, which are no characters.
std::string utf8_of(const std::string& name, py::handle object) {
  Py_ssize_t size = 0;
  const char* const bytes = PyUnicode_AsUTF8AndSize(object.ptr(), &size);
  if (bytes == nullptr) {
    PyErr_Clear();
    throw InvalidArgumentError(name + ": expected text that UTF-8 can say, got " + text_of(object));
  }
  return {bytes, static_cast<std::size_t>(size)};
}

AttributeValue list_of(const std::string& name, const py::list& items) {
  const auto is_integer = [](py::handle item) { return PyLong_Check(item.ptr()) != 0; };
  if (std::all_of(items.begin(), items.end(), is_integer)) {
    std::vector<std::int64_t> integers;
    for (const py::handle item : items) {
      const AttributeValue value = integer_of(name, item);
      const auto* const integer = std::get_if<std::int64_t>(&value);
      if (integer == nullptr) {
        throw InvalidArgumentError(name + ": expected integers below 2^63, got " + text_of(item));
      }
      integers.push_back(*integer);
    }
    return integers;
  }
  std::vector<double> numbers;
  for (const py::handle item : items) numbers.push_back(number_of(name, item));
  return numbers;
}

}  // namespace

AttributeValue attribute_value(const std::string& name, const py::object& object) {
  py::detail::make_caster<bool> flag;  // takes numpy's as well
  if (flag.load(object, /*convert=*/false)) return py::detail::cast_op<bool>(flag);
  if (py::isinstance<py::str>(object)) return utf8_of(name, object);
  if (py::isinstance<py::list>(object) || py::isinstance<py::tuple>(object)) {
    return list_of(name, py::list(object));
  }
  if (py::isinstance<DataType>(object)) return static_cast<std::int64_t>(object.cast<DataType>());
  if (PyIndex_Check(object.ptr()) != 0 && !py::hasattr(object, "__len__")) {
    return integer_of(name, object);
  }
  if (py::isinstance<py::array>(object)) return list_of(name, py::list(object.attr("tolist")()));
  return number_of(name, object);
}

AttributeMap attributes_of(const Attributes& dict, const std::string& title) {
  AttributeMap attributes;
  for (const auto& [key, value] : dict) {
    const std::string name = py::str(key);
    attributes[name] = attribute_value(title + name, py::reinterpret_borrow<py::object>(value));
  }
  return attributes;
}

}  // namespace mpsnn::bindings
