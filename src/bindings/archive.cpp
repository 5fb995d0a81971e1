// SPDX-License-Identifier: MIT
// Archives.
#include "mpsnn/archive.h"

#include <pybind11/stl.h>

#include "bindings/bindings.h"
#include "bindings/casters.h"

namespace mpsnn::bindings {
namespace {

using ReleaseGil = py::call_guard<py::gil_scoped_release>;

void bind_archiver(py::module_& m) {
  py::class_<KeyedArchiver>(m, "KeyedArchiver",
                            "Collects objects and writes them as one file. Apple: NSKeyedArchiver.",
                            py::release_gil_before_calling_cpp_dtor())
      .def(py::init<>())
      .def("encode", &KeyedArchiver::encode, py::arg("key"), py::arg("graph"), ReleaseGil(),
           R"(Adds a graph: nodes, data sources with their latest weights, optimizers and moments.

Data sources shared by graphs are stored once. Waits for committed work.

Args:
    key: Name of the graph in the archive.
    graph: The graph.

Raises:
    InvalidArgumentError: An empty or repeated key.)")
      .def("set_metadata", &KeyedArchiver::set_metadata, py::arg("key"), py::arg("value"),
           R"(Adds free text beside the objects.

Args:
    key: Name of the text.
    value: The text.)")
      .def(
          "write",
          [](const KeyedArchiver& archiver, const PathArgument& path) {
            archiver.write(path.path);
          },
          py::arg("path"), ReleaseGil(),
          R"(Writes the file. Atomic: it holds the old contents or the new ones.

Args:
    path: The file.

Raises:
    FileError: The file cannot be written, also where the disk is full.)");
}

void bind_reading(py::module_& m) {
  py::class_<Archive>(m, "Archive",
                      "A file that was opened and checked. Its graphs share their data sources.",
                      py::release_gil_before_calling_cpp_dtor())
      .def("keys", &Archive::keys, R"(Names of the graphs in the archive.

Returns:
    The keys.)")
      .def_property_readonly("metadata", &Archive::metadata,
                             "The texts beside the objects (a copy).")
      .def("decode_graph", &Archive::decode_graph, py::arg("key"), ReleaseGil(),
           R"(Compiles a stored graph with its weights and optimizer state.

Args:
    key: Name of the graph.

Returns:
    The graph, on the unarchiver's device.

Raises:
    InvalidArgumentError: There is no such key.
    ArchiveError: The archive is inconsistent.)");
  py::class_<KeyedUnarchiver>(m, "KeyedUnarchiver",
                              R"(Opens archives for a device. Apple: MPSKeyedUnarchiver.

Args:
    device: Where graphs are restored, whatever device they were trained on.)",
                              py::release_gil_before_calling_cpp_dtor())
      .def(py::init<const Device&>(), py::arg("device"))
      .def(
          "open",
          [](const KeyedUnarchiver& unarchiver, const PathArgument& path) {
            return unarchiver.open(path.path);
          },
          py::arg("path"), ReleaseGil(), R"(Maps a file and checks it.

Args:
    path: The file.

Returns:
    The archive.

Raises:
    FileError: The file cannot be read.
    ArchiveError: It is truncated, foreign, inconsistent or of a newer format.)");
}

}  // namespace

void bind_archive(py::module_& m) {
  bind_archiver(m);
  bind_reading(m);
}

}  // namespace mpsnn::bindings
