// SPDX-License-Identifier: MIT
// numpy arrays in and out. Nothing is converted silently: an array has the element type that is
// wanted. Sequences of numbers, which have none of their own, are taken as having it.
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

inline py::dtype dtype_of(DataType type) { return py::dtype(std::string(name_of(type))); }

/// A dense array and its element type.
struct TypedArray {
  py::array array;
  DataType type;
};

/// "float32, float16 or uint8".
inline std::string names_of(std::span<const DataType> types) {
  std::string names(name_of(types.front()));
  for (std::size_t i = 1; i < types.size(); ++i)
    names += (i + 1 < types.size() ? ", " : " or ") + std::string(name_of(types[i]));
  return names;
}

/// A dense array of one of the types, the first one for sequences of numbers; `what` starts the
/// error's text. Throws ArgumentTypeError.
inline TypedArray typed_array(py::handle object, std::span<const DataType> types,
                              const std::string& what) {
  const auto asarray = py::module_::import("numpy").attr("asarray");
  const bool plain = py::isinstance<py::list>(object) || py::isinstance<py::tuple>(object);
  const auto fail = [&]() {
    throw ArgumentTypeError(what + ": expected an array of " + names_of(types) + ", got " +
                            type_name(object));
  };
  py::array array;
  try {
    array = plain ? asarray(object, dtype_of(types.front())) : asarray(object);
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_ValueError) && !error.matches(PyExc_TypeError)) throw;
    fail();
  }
  if (array.dtype().kind() == 'O' || array.dtype().kind() == 'U') fail();
  for (const DataType type : types) {
    if (array.dtype().equal(dtype_of(type)))
      return {py::array::ensure(array, py::array::c_style), type};
  }
  throw ArgumentTypeError(what + ": expected " + names_of(types) + ", got " +
                          std::string(py::str(array.dtype())));
}

/// A dense float32 array; `what` starts the error's text. Throws ArgumentTypeError.
inline FloatArray float_array(py::handle object, const std::string& what) {
  constexpr DataType kTypes[] = {DataType::FLOAT32};
  return FloatArray::ensure(typed_array(object, kTypes, what).array);
}

/// What images are made of: float32, or float16.
inline TypedArray image_array(py::handle object, const std::string& what) {
  constexpr DataType kTypes[] = {DataType::FLOAT32, DataType::FLOAT16};
  return typed_array(object, kTypes, what);
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
