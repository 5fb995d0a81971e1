// SPDX-License-Identifier: MIT
// What MatrixCopy copies.
#include "mpsnn/matrix_copy.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bindings/bindings.h"

namespace mpsnn::bindings {
namespace {

using Descriptor = MatrixCopyDescriptor;
using Offsets = MatrixCopyOffsets;

void bind_offsets(py::module_& m) {
  py::class_<Offsets>(m, "MatrixCopyOffsets",
                      R"(Where a copy begins in its two matrices. Apple: MPSMatrixCopyOffsets.

Args:
    source_row_offset: First row that is read.
    source_column_offset: First column that is read.
    destination_row_offset: First row that is written.
    destination_column_offset: First column that is written.)")
      .def(py::init(
               [](std::int64_t source_row, std::int64_t source_column, std::int64_t row,
                  std::int64_t column) { return Offsets{source_row, source_column, row, column}; }),
           py::arg("source_row_offset") = 0, py::arg("source_column_offset") = 0,
           py::arg("destination_row_offset") = 0, py::arg("destination_column_offset") = 0)
      .def_readwrite("source_row_offset", &Offsets::source_row_offset)
      .def_readwrite("source_column_offset", &Offsets::source_column_offset)
      .def_readwrite("destination_row_offset", &Offsets::destination_row_offset)
      .def_readwrite("destination_column_offset", &Offsets::destination_column_offset)
      .def("__repr__", [](const Offsets& o) {
        return py::str("MatrixCopyOffsets({}, {}, {}, {})")
            .format(o.source_row_offset, o.source_column_offset, o.destination_row_offset,
                    o.destination_column_offset);
      });
}

void bind_descriptor(py::module_& m) {
  py::class_<Descriptor>(
      m, "MatrixCopyDescriptor",
      R"(What `MatrixCopy` copies: operations, each a source, a destination and offsets in both.

It holds the matrices; sizes are checked where it is encoded. Apple: MPSMatrixCopyDescriptor.

Args:
    count: Operations, all of which have to be set before it is encoded.
    source_matrix: Of the one operation.
    destination_matrix: Of the one operation.
    offsets: Where the one operation begins.
    source_matrices: One an operation.
    destination_matrices: One an operation.
    offset_vector: Read on the device when the copies run: uint32, four numbers an operation in the
        order of `MatrixCopyOffsets`. None: all begin at 0.
    byte_offset: Of the first number in the vector, a multiple of 4.

Raises:
    InvalidArgumentError: No operation, lists of two lengths, a negative offset, a vector that is too
        short.
    ArgumentTypeError: A vector of another element type.)",
      py::release_gil_before_calling_cpp_dtor())
      .def(py::init<std::size_t>(), py::arg("count"))
      .def(py::init<const Matrix&, const Matrix&, const Offsets&>(), py::arg("source_matrix"),
           py::arg("destination_matrix"), py::arg("offsets") = Offsets())
      .def(py::init<const std::vector<Matrix>&, const std::vector<Matrix>&,
                    const std::optional<Vector>&, std::size_t>(),
           py::arg("source_matrices"), py::arg("destination_matrices"),
           py::arg("offset_vector") = py::none(), py::arg("byte_offset") = 0)
      .def("set_copy_operation", &Descriptor::set_copy_operation, py::arg("index"),
           py::arg("source_matrix"), py::arg("destination_matrix"), py::arg("offsets") = Offsets(),
           R"(Replaces an operation; encodes that were recorded keep the old one.

Args:
    index: Of the operation.
    source_matrix: What is read.
    destination_matrix: What is written.
    offsets: Where it begins.

Raises:
    InvalidArgumentError: An index beyond the count, a negative offset, or a descriptor whose offsets
        come from a vector.)")
      .def_property_readonly("count", &Descriptor::count, "Operations.")
      .def_property_readonly("source_matrices", &Descriptor::source_matrices,
                             "One an operation; an `InvalidArgumentError` where one is not set.")
      .def_property_readonly("destination_matrices", &Descriptor::destination_matrices,
                             "One an operation; an `InvalidArgumentError` where one is not set.")
      .def_property_readonly("offsets", &Descriptor::offsets,
                             "Four numbers an operation; none where they come from a vector.")
      .def_property_readonly("offset_vector", &Descriptor::offset_vector,
                             "The part of the vector that is read.", py::return_value_policy::copy)
      .def("__repr__", [](const Descriptor& descriptor) {
        return py::str("<mpsnn.MatrixCopyDescriptor of {} copies>").format(descriptor.count());
      });
}

}  // namespace

void bind_matrix_copy(py::module_& m) {
  bind_offsets(m);
  bind_descriptor(m);
}

}  // namespace mpsnn::bindings
