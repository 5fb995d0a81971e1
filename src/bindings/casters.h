// SPDX-License-Identifier: MIT
// How types without a Python class of their own go in and out.
#pragma once

#include <string>
#include <vector>

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/typing.h>

#include "bindings/bindings.h"
#include "mpsnn/node.h"
#include "mpsnn/types.h"

namespace mpsnn::bindings {

/// Any object, with a type to be shown in signatures and stubs.
inline int is_object(PyObject*) { return 1; }
template <class Hint>
class Hinted : public py::object {
  PYBIND11_OBJECT_DEFAULT(Hinted, object, is_object)
};
struct ArrayHint {
  static constexpr auto name = py::detail::const_name("numpy.typing.ArrayLike");
};
using ArrayObject = Hinted<ArrayHint>;
struct ImageArrayHint {
  static constexpr auto name = py::detail::const_name("numpy.typing.NDArray[typing.Any]");
};
using ImageArray = Hinted<ImageArrayHint>;
struct FilterHint {
  static constexpr auto name = py::detail::const_name("FilterNode");
};
using FilterObject = Hinted<FilterHint>;

/// The node as an instance of its own Python class (mpsnn.ConvolutionNode …).
FilterObject wrap(const FilterNode& node);
py::typing::List<FilterNode> wrap(const std::vector<FilterNode>& nodes);

/// An argument for which an image node is wanted: a filter node stands for its result.
struct ImageArgument {
  std::shared_ptr<graph::ImageRecord> record;
  ImageNode node() const { return ImageNode(record); }
};

/// A key: a handle, or a state node that has it.
struct StateKey {
  std::string handle;
};

inline std::vector<ImageNode> nodes_of(const std::vector<ImageArgument>& arguments) {
  std::vector<ImageNode> nodes;
  nodes.reserve(arguments.size());
  for (const ImageArgument& argument : arguments) nodes.push_back(argument.node());
  return nodes;
}

/// A member of DataType. pybind11 reads an enumeration's value by a function in Python; which
/// member it is takes a look.
struct DataTypeArgument {
  DataType type = DataType::FLOAT32;
  operator DataType() const { return type; }
};
/// DataType's member; null: another object.
const DataType* data_type_of(py::handle member);

/// A path: str or os.PathLike.
struct PathArgument {
  std::string path;
};

}  // namespace mpsnn::bindings

namespace pybind11::detail {

template <class Hint>
struct handle_type_name<mpsnn::bindings::Hinted<Hint>> {
  static constexpr auto name = Hint::name;
};

template <>
struct type_caster<mpsnn::bindings::ImageArgument> {
  PYBIND11_TYPE_CASTER(mpsnn::bindings::ImageArgument, const_name("ImageNode | FilterNode"));
  bool load(handle source, bool /*convert*/) {
    if (isinstance<mpsnn::ImageNode>(source)) {
      value.record = source.cast<const mpsnn::ImageNode&>().record();
    } else if (isinstance<mpsnn::FilterNode>(source)) {
      value.record = source.cast<const mpsnn::FilterNode&>().result_image().record();
    } else {
      return false;
    }
    return true;
  }
};

template <>
struct type_caster<mpsnn::bindings::DataTypeArgument> {
  PYBIND11_TYPE_CASTER(mpsnn::bindings::DataTypeArgument, const_name("DataType"));
  bool load(handle source, bool /*convert*/) {
    const mpsnn::DataType* const type = mpsnn::bindings::data_type_of(source);
    if (type != nullptr) value.type = *type;
    return type != nullptr;
  }
};

template <>
struct type_caster<mpsnn::bindings::StateKey> {
  PYBIND11_TYPE_CASTER(mpsnn::bindings::StateKey, const_name("str | StateNode"));
  bool load(handle source, bool /*convert*/) {
    if (isinstance<mpsnn::StateNode>(source)) {
      value.handle = source.cast<const mpsnn::StateNode&>().handle();
    } else if (isinstance<str>(source)) {
      value.handle = source.cast<std::string>();
    } else {
      return false;
    }
    return true;
  }
};

template <>
struct type_caster<mpsnn::bindings::PathArgument> {
  PYBIND11_TYPE_CASTER(mpsnn::bindings::PathArgument, const_name("str | os.PathLike[str]"));
  bool load(handle source, bool /*convert*/) {
    PyObject* text = PyOS_FSPath(source.ptr());
    if (text == nullptr) {
      PyErr_Clear();
      return false;
    }
    const object path = reinterpret_steal<object>(text);
    if (!isinstance<str>(path)) return false;
    const object encoded = reinterpret_steal<object>(PyUnicode_EncodeFSDefault(path.ptr()));
    if (!encoded) throw error_already_set();
    value.path = encoded.cast<bytes>();
    return true;
  }
};

/// (N, H, W, C), as numpy's shapes.
template <>
struct type_caster<mpsnn::ImageSize> {
  PYBIND11_TYPE_CASTER(mpsnn::ImageSize, const_name("tuple[int, int, int, int]"));
  bool load(handle source, bool convert) {
    if (!isinstance<sequence>(source) || len(source) != 4) return false;
    const auto items = reinterpret_borrow<sequence>(source);
    std::int64_t* const sizes[] = {&value.n, &value.height, &value.width, &value.channels};
    for (std::size_t i = 0; i < 4; ++i) {
      make_caster<std::int64_t> number;
      if (!number.load(items[i], convert)) return false;
      *sizes[i] = cast_op<std::int64_t>(number);
    }
    return true;
  }
  static handle cast(const mpsnn::ImageSize& size, return_value_policy, handle) {
    return make_tuple(size.n, size.height, size.width, size.channels).release();
  }
};

}  // namespace pybind11::detail
