// SPDX-License-Identifier: MIT
// numpy arrays in and out. Arrays are float32: nothing is converted silently. Sequences of numbers,
// which have no element type of their own, are taken as float32.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include "bindings/bindings.h"
#include "mpsnn/error.h"
#include "mpsnn/types.h"

namespace mpsnn::bindings {

using FloatArray = py::array_t<float, py::array::c_style>;

/// "(4, 128, 128, 12)".
inline std::string shape_text(const py::array& array) { return py::str(array.attr("shape")); }

inline std::string type_name(py::handle object) {
  return py::str(py::type::handle_of(object).attr("__name__"));
}

/// A dense float32 array; `what` starts the error's text. Throws ArgumentTypeError.
inline FloatArray float_array(py::handle object, const std::string& what) {
  const auto asarray = py::module_::import("numpy").attr("asarray");
  const bool plain = py::isinstance<py::list>(object) || py::isinstance<py::tuple>(object);
  py::array array;
  try {
    array = plain ? asarray(object, py::dtype::of<float>()) : asarray(object);
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_ValueError) && !error.matches(PyExc_TypeError)) throw;
    throw ArgumentTypeError(what + ": expected an array of float32, got " + type_name(object));
  }
  if (array.dtype().kind() == 'O' || array.dtype().kind() == 'U') {
    throw ArgumentTypeError(what + ": expected an array of float32, got " + type_name(object));
  }
  if (!array.dtype().equal(py::dtype::of<float>())) {
    throw ArgumentTypeError(what + ": expected float32, got " +
                            std::string(py::str(array.dtype())));
  }
  return FloatArray::ensure(array);
}

/// The size of an array (N, H, W, C), or (H, W, C) for one image. Throws InvalidArgumentError.
inline ImageSize image_size(const py::array& array, const std::string& what) {
  if (array.ndim() != 3 && array.ndim() != 4) {
    throw InvalidArgumentError(what + ": expected an array (N, H, W, C) or (H, W, C), got shape " +
                               shape_text(array));
  }
  const py::ssize_t first = array.ndim() - 3;
  return {first == 1 ? array.shape(0) : 1, array.shape(first), array.shape(first + 1),
          array.shape(first + 2)};
}

inline std::vector<float> values_of(const FloatArray& array) {
  return {array.data(), array.data() + array.size()};
}

/// A new array of the given shape with these values.
inline FloatArray shaped(std::span<const float> values, const std::vector<std::int64_t>& shape) {
  FloatArray array(std::vector<py::ssize_t>(shape.begin(), shape.end()));
  if (!values.empty()) std::memcpy(array.mutable_data(), values.data(), values.size_bytes());
  return array;
}

}  // namespace mpsnn::bindings
