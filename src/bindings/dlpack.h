// SPDX-License-Identifier: MIT
#pragma once

#include <pybind11/numpy.h>

#include "bindings/bindings.h"

namespace mpsnn::bindings {

/// The memory of an object with `__dlpack__` as an array. numpy takes what comes by the protocol's
/// first version, which cannot tell, for read-only; where the object's own buffer may be written
/// (MLX), so may the array.
inline py::object array_of_dlpack(const py::object& object) {
  py::object array = py::module_::import("numpy").attr("from_dlpack")(object);
  if (py::cast<py::array>(array).writeable() || PyObject_CheckBuffer(object.ptr()) == 0)
    return array;
  const auto buffer = py::reinterpret_steal<py::object>(PyMemoryView_FromObject(object.ptr()));
  if (!buffer) throw py::error_already_set();
  if (buffer.attr("readonly").cast<bool>()) return array;
  return py::module_::import("numpy").attr("asarray")(buffer);
}

}  // namespace mpsnn::bindings
