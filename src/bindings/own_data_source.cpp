// SPDX-License-Identifier: MIT
#include "bindings/own_data_source.h"

#include <pybind11/stl.h>

namespace mpsnn::bindings {
namespace {

std::string title(const DataSource& source) {
  return std::string(source.class_name()) + " \"" + source.label() + "\"";
}

std::vector<std::int64_t> shape_of(const DataSource& source, const std::string& parameter,
                                   const std::string& method) {
  std::string names;
  for (const ParameterInfo& info : source.parameters()) {
    if (info.name == parameter) return info.shape;
    names += (names.empty() ? "\"" : ", \"") + info.name + "\"";
  }
  throw InvalidArgumentError(title(source) + ": " + method + ": expected parameters of " + names +
                             ", got \"" + parameter + "\"");
}

/// Calls use(name, value) for each entry of a dict.
template <class Use>
void for_each_entry(const DataSource& source, py::handle object, const std::string& method,
                    Use&& use) {
  if (!py::isinstance<py::dict>(object)) {
    throw ArgumentTypeError(title(source) + ": " + method + ": expected a dict or None, got " +
                            type_name(object));
  }
  for (const auto& [key, value] : py::reinterpret_borrow<py::dict>(object))
    use(std::string(py::str(key)), value);
}

}  // namespace

std::vector<float> given_values(const DataSource& source, const std::string& parameter,
                                py::handle object, const std::string& method) {
  const std::string what = title(source) + ": " + method + ": " + parameter;
  const std::vector<std::int64_t> shape = shape_of(source, parameter, method);
  const FloatArray array = float_array(object, what);
  if (std::vector<std::int64_t>(array.shape(), array.shape() + array.ndim()) != shape) {
    throw InvalidArgumentError(what + ": expected shape " +
                               std::string(py::str(py::tuple(py::cast(shape)))) + ", got " +
                               shape_text(array));
  }
  return values_of(array);
}

py::dict arrays_of(const DataSource& source, const ParameterValues& values) {
  py::dict dict;
  for (const auto& [name, array] : values)
    dict[py::str(name)] = shaped(array, shape_of(source, name, "parameters"));
  return dict;
}

ParameterValues given_arrays(const DataSource& source, py::handle object,
                             const std::string& method) {
  ParameterValues values;
  for_each_entry(source, object, method, [&](const std::string& name, py::handle value) {
    values.emplace(name, given_values(source, name, value, method));
  });
  return values;
}

ParameterImages given_images(const DataSource& source, py::handle object,
                             const std::string& method) {
  ParameterImages images;
  for_each_entry(source, object, method, [&](const std::string& name, py::handle value) {
    if (!py::isinstance<Image>(value)) {
      throw ArgumentTypeError(title(source) + ": " + method + ": " + name +
                              ": expected an Image, got " + type_name(value));
    }
    images.emplace(name, value.cast<const Image&>());
  });
  return images;
}

}  // namespace mpsnn::bindings
