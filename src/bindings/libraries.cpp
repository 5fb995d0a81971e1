// SPDX-License-Identifier: MIT
// The libraries of this build.
#include "mpsnn/libraries.h"

#include <pybind11/stl.h>

#include "bindings/bindings.h"

namespace mpsnn::bindings {

void bind_libraries(py::module_& m) {
  py::class_<Library>(m, "Library", "A library that the backends of this build use.")
      .def_readonly("name", &Library::name, "\"oneDNN\", \"OpenBLAS\" …")
      .def_readonly("version", &Library::version,
                    "As the library itself tells; empty where it does not.")
      .def_readonly("detail", &Library::detail,
                    "What it was built with or has chosen on this machine; may be empty.");
  m.def("libraries", &libraries, R"(The libraries of this build, for reports of problems.

Returns:
    Name, version and detail of each.)");
}

}  // namespace mpsnn::bindings
