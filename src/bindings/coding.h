// SPDX-License-Identifier: MIT
// Python classes that archives hold: those that derive from mpsnn.coding.SecureCoding.
#pragma once

#include <string>

#include <pybind11/pybind11.h>

#include "bindings/bindings.h"
#include "mpsnn/coding.h"

namespace mpsnn::bindings {

/// The name of the object's class where it is secure-coding, "" elsewhere. The caller holds the
/// GIL.
std::string secure_class_of(py::handle object);
/// Calls the object's `encode`. The caller holds the GIL.
void encode_object(py::handle object, Coder& coder);
/// An object that is no data source, as C++ sees it.
std::shared_ptr<SecureCoding> shared_coding(py::object object);
/// The Python object of what a class's `decode` made.
py::object object_of(const std::shared_ptr<SecureCoding>& object);
/// Makes objects of a Python class. Throws ArgumentTypeError where it is not secure-coding.
DecodeObject decoder_of(const py::object& cls);

}  // namespace mpsnn::bindings
