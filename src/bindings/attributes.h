// SPDX-License-Identifier: MIT
// Parameters of nodes and kernels, in and out.
#pragma once

#include <string>

#include <pybind11/pybind11.h>
#include <pybind11/typing.h>

#include "bindings/bindings.h"
#include "mpsnn/types.h"

namespace mpsnn::bindings {

using Attributes = py::typing::Dict<py::str, py::object>;

/// `repr(object)`.
std::string text_of(py::handle object);
/// A parameter's value; `name` starts errors. Numbers may be numpy's, integers any enumeration.
AttributeValue attribute_value(const std::string& name, const py::object& object);
/// `title` starts errors: "MatrixRandomPhilox: ", or empty.
AttributeMap attributes_of(const Attributes& dict, const std::string& title = {});

}  // namespace mpsnn::bindings
