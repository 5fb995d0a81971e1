// SPDX-License-Identifier: MIT
#pragma once

#include <pybind11/numpy.h>

#include "bindings/arrays.h"
#include "bindings/bindings.h"

namespace mpsnn::bindings {

/// The memory of an object with `__dlpack__` as an array. numpy takes what comes by the protocol's
/// first version, which cannot tell, for read-only; where the object's own buffer may be written
/// (MLX), so may the array.
inline py::object array_of_dlpack(const py::object& object) {
  if (!py::hasattr(object, "__dlpack__")) {
    throw ArgumentTypeError("from_dlpack: array: expected an object with __dlpack__, got " +
                            type_name(object));
  }
  py::object array;
  try {
    array = py::module_::import("numpy").attr("from_dlpack")(object);
  } catch (const py::error_already_set& error) {
    // How numpy and the frameworks refuse: another device, a type of their own, a gradient.
    if (!error.matches(PyExc_RuntimeError) && !error.matches(PyExc_BufferError) &&
        !error.matches(PyExc_TypeError) && !error.matches(PyExc_ValueError))
      throw;
    throw InvalidArgumentError(
        "from_dlpack: array: expected one whose memory numpy can share, got " +
        py::str(error.value()).cast<std::string>());
  }
  if (py::cast<py::array>(array).writeable() || PyObject_CheckBuffer(object.ptr()) == 0)
    return array;
  const auto buffer = py::reinterpret_steal<py::object>(PyMemoryView_FromObject(object.ptr()));
  if (!buffer) throw py::error_already_set();
  if (buffer.attr("readonly").cast<bool>()) return array;
  return py::module_::import("numpy").attr("asarray")(buffer);
}

}  // namespace mpsnn::bindings
