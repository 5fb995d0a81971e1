// SPDX-License-Identifier: MIT
// Matrices, vectors and arrays, and how numpy sees them.
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include "bindings/bindings.h"
#include "bindings/casters.h"
#include "bindings/dlpack.h"
#include "mpsnn/array.h"

namespace mpsnn::bindings {

const DataType* data_type_of(py::handle member) {
  static constexpr std::array kTypes = {DataType::FLOAT32, DataType::FLOAT16, DataType::INT32,
                                        DataType::UINT32,  DataType::UINT8,   DataType::INT64,
                                        DataType::INT8,    DataType::INT16,   DataType::UINT16};
  // The members live as long as their class, which the module holds.
  static const std::array<py::handle, kTypes.size()> members = [&] {
    std::array<py::handle, kTypes.size()> found;
    for (std::size_t i = 0; i < kTypes.size(); ++i) found[i] = py::cast(kTypes[i]).release();
    return found;
  }();
  for (std::size_t i = 0; i < kTypes.size(); ++i)
    if (members[i].is(member)) return &kTypes[i];
  return nullptr;
}

namespace {

using Shape = std::vector<py::ssize_t>;

std::string name_of_class(py::handle self) {
  return py::str(py::type::handle_of(self).attr("__name__"));
}

py::dtype dtype_of(const Array& array) {
  return py::dtype(std::string(name_of(array.data_type())));
}

Shape shape_of(const Array& array) {
  const std::vector<std::int64_t> shape = array.shape();
  return {shape.begin(), shape.end()};
}

Shape strides_of(const Array& array) {
  const std::vector<std::int64_t> strides = array.strides();
  return {strides.begin(), strides.end()};
}

void* finished_data(const Array& array) {
  py::gil_scoped_release release;
  return array.data();
}

ImageArray read(const Array& array) {
  py::array to(dtype_of(array), shape_of(array));
  void* const data = to.mutable_data();
  {
    py::gil_scoped_release release;
    array.read(data, array.bytes());
  }
  return ImageArray(std::move(to));
}

ImageArray as_array(const py::object& self) {
  const auto& array = self.cast<const Array&>();
  void* const data = finished_data(array);
  if (data == nullptr) return read(array);
  return ImageArray(py::array(dtype_of(array), shape_of(array), strides_of(array), data, self));
}

ImageArray array_protocol(const py::object& self, const py::object& dtype, const py::object& copy) {
  const py::array array = as_array(self);
  const auto shown = [](py::object result) { return ImageArray(std::move(result)); };
  const bool converts = !dtype.is_none() && !py::dtype::from_args(dtype).equal(array.dtype());
  const bool is_copy = array.owndata();
  if (!copy.is_none() && !copy.cast<bool>() && (converts || is_copy)) {
    PyErr_SetString(PyExc_ValueError, "an array without a copy is not possible here");
    throw py::error_already_set();
  }
  if (converts) return shown(array.attr("astype")(dtype));
  if (!copy.is_none() && copy.cast<bool>() && !is_copy) return shown(array.attr("copy")());
  return shown(array);
}

void write(const py::object& self, const ArrayObject& object) {
  const auto& array = self.cast<const Array&>();
  const std::string what = name_of_class(self) + " \"" + array.label() + "\": array";
  py::array from = py::module_::import("numpy").attr("asarray")(object);
  if (!from.dtype().equal(dtype_of(array))) {
    throw ArgumentTypeError(what + ": expected " + std::string(name_of(array.data_type())) +
                            ", got " + std::string(py::str(from.dtype())));
  }
  const py::object wanted = py::cast(array.shape()).cast<py::tuple>();
  if (!py::object(from.attr("shape")).equal(wanted)) {
    throw InvalidArgumentError(what + ": expected shape " + std::string(py::str(wanted)) +
                               ", got " + std::string(py::str(from.attr("shape"))));
  }
  from = py::module_::import("numpy").attr("ascontiguousarray")(from);
  const void* const data = from.data();
  py::gil_scoped_release release;
  array.write(data, array.bytes());
}

DataType type_of(const py::array& array, const std::string& what) {
  try {
    return data_type_named(std::string(py::str(array.dtype())));
  } catch (const ArgumentTypeError& error) {
    throw ArgumentTypeError(what + ": " + error.what());
  }
}

/// A numpy array, whose memory becomes that of a buffer, or is copied into one.
struct Host {
  Host(const py::object& object, std::string text) : what(std::move(text)) {
    array = py::module_::import("numpy").attr("asarray")(object);
    type = type_of(array, what);
  }
  void check_rank(py::ssize_t least, py::ssize_t most) const {
    if (array.ndim() >= least && array.ndim() <= most) return;
    throw InvalidArgumentError(what + ": expected " + std::to_string(least) + " to " +
                               std::to_string(most) + " dimensions, got shape " +
                               std::string(py::str(array.attr("shape"))));
  }
  std::int64_t extent(py::ssize_t from_last) const {
    return from_last < array.ndim() ? array.shape(array.ndim() - 1 - from_last) : 1;
  }
  std::int64_t stride(py::ssize_t from_last) const {
    return array.strides(array.ndim() - 1 - from_last);
  }
  /// The memory shared; strides must be those that a view can have.
  Buffer share(const Device& device) const {
    const auto size = static_cast<std::int64_t>(array.itemsize());
    std::int64_t end = size;
    for (py::ssize_t i = 0; i < array.ndim(); ++i) {
      if (array.strides(i) < 0 || array.strides(i) % size != 0 || !array.writeable()) {
        throw InvalidArgumentError(
            what + ": expected a writable array with positive strides, which can be shared");
      }
      end += (array.shape(i) - 1) * array.strides(i);
    }
    return Buffer::wrap(device, const_cast<void*>(array.data()), static_cast<std::size_t>(end),
                        std::make_shared<SharedObject>(array));
  }
  /// A copy without gaps.
  Host packed() const {
    Host copy(*this);
    copy.array = py::module_::import("numpy").attr("ascontiguousarray")(array);
    return copy;
  }

  std::string what;
  py::array array;
  DataType type = DataType::FLOAT32;
};

MatrixDescriptor matrix_descriptor(const Host& host) {
  host.check_rank(2, 3);
  if (host.stride(0) != host.array.itemsize() && host.extent(0) != 1) {
    throw InvalidArgumentError(host.what + ": expected rows whose elements lie together");
  }
  MatrixDescriptor d{host.extent(1), host.extent(0), host.type, host.extent(2)};
  if (host.extent(1) != 1) d.row_bytes = static_cast<std::size_t>(host.stride(1));
  if (host.extent(2) != 1) d.matrix_bytes = static_cast<std::size_t>(host.stride(2));
  return d;
}

VectorDescriptor vector_descriptor(const Host& host) {
  host.check_rank(1, 2);
  if (host.stride(0) != host.array.itemsize() && host.extent(0) != 1) {
    throw InvalidArgumentError(host.what + ": expected vectors whose elements lie together");
  }
  VectorDescriptor d{host.extent(0), host.type, host.extent(1)};
  if (host.extent(1) != 1) d.vector_bytes = static_cast<std::size_t>(host.stride(1));
  return d;
}

NDArrayDescriptor array_descriptor(const Host& host) {
  host.check_rank(1, 16);
  NDArrayDescriptor d{{}, host.type, {}};
  for (py::ssize_t i = 0; i < host.array.ndim(); ++i) {
    d.shape.push_back(host.array.shape(i));
    d.strides.push_back(host.array.strides(i));
  }
  return d;
}

template <class View, class Descriptor>
View copied(const Device& device, const Host& host, Descriptor (*descriptor)(const Host&)) {
  const Host packed = host.packed();
  View view(device, descriptor(packed));
  const void* const data = packed.array.data();
  py::gil_scoped_release release;
  view.write(data, view.bytes());
  return view;
}

void bind_array(py::module_& m) {
  py::class_<Array>(m, "Array", R"(Base of `Matrix`, `Vector` and `NDArray`: a view of a buffer.

`np.asarray(array)` and `memoryview(array)` wait for the work that was committed and writes the buffer
and, on the CPU, share its memory.)",
                    py::buffer_protocol(), py::release_gil_before_calling_cpp_dtor())
      .def_property_readonly("data_type", &Array::data_type, "Element type.")
      .def_property_readonly(
          "shape",
          [](const Array& a) -> py::typing::Tuple<std::int64_t, py::ellipsis> {
            return py::cast(a.shape()).cast<py::tuple>();
          },
          "Extents; a leading 1 of matrices or vectors is left out.")
      .def_property_readonly(
          "strides",
          [](const Array& a) -> py::typing::Tuple<std::int64_t, py::ellipsis> {
            return py::cast(a.strides()).cast<py::tuple>();
          },
          "Bytes from one element to the next along each dimension.")
      .def_property_readonly("offset", &Array::offset,
                             "Of the first element, in bytes from the buffer's start.")
      .def_property_readonly("buffer", &Array::buffer, "Where the elements lie.")
      .def_property_readonly("device", &Array::device, "Where it is.")
      .def_property("label", &Array::label, &Array::set_label, "Name for errors.")
      .def_property_readonly("bytes", &Array::bytes, "Of all elements without gaps.")
      .def("numpy", &as_array, R"(The elements as an array. Waits for the work that writes them.

On the CPU the array is the memory itself; elsewhere a copy.

Returns:
    The array.

Raises:
    DeviceError: The work failed.)")
      .def("read", &read, R"(A copy of the elements. Waits as `numpy` does.

Returns:
    A new array.

Raises:
    DeviceError: The work that writes them failed.)")
      .def("write", &write, py::arg("array"),
           R"(Replaces the elements; waits for work on the buffer.

Args:
    array: Array of the same shape and element type. Copied.

Raises:
    InvalidArgumentError: The shape is another.
    ArgumentTypeError: The element type is another.)")
      .def("__array__", &array_protocol, py::arg("dtype") = py::none(),
           py::arg("copy") = py::none())
      .def("__dlpack__",
           [](const py::object& self, const py::kwargs& options) -> py::object {
             return as_array(self).attr("__dlpack__")(**options);
           })
      .def("__dlpack_device__",
           [](const py::object& self) -> py::object {
             return as_array(self).attr("__dlpack_device__")();
           })
      .def("__repr__",
           [](const py::object& self) {
             const auto& array = self.cast<const Array&>();
             return "<mpsnn." + name_of_class(self) + " " +
                    std::string(py::str(py::cast(array.shape()).cast<py::tuple>())) + " " +
                    std::string(name_of(array.data_type())) + ">";
           })
      .def_buffer([](Array& array) {
        void* const data = finished_data(array);
        if (data == nullptr)
          throw UnsupportedError("Array: its memory is not the host's; use numpy()");
        const py::dtype dtype = dtype_of(array);
        return py::buffer_info(data, dtype.itemsize(), std::string(1, dtype.char_()),
                               static_cast<py::ssize_t>(array.shape().size()), shape_of(array),
                               strides_of(array));
      });
}

/// from_array, wrap and from_dlpack of one of the three classes.
template <class View, class Descriptor>
void bind_host_memory(py::class_<View, Array>& view, const char* name,
                      Descriptor (*descriptor)(const Host&)) {
  const std::string what = std::string(name) + ": array";
  view.def_static(
          "from_array",
          [what, descriptor](const Device& device, const ArrayObject& array) {
            return copied<View>(device, Host(array, what), descriptor);
          },
          py::arg("device"), py::arg("array"), R"(A copy of an array on the device.

Args:
    device: Where it will be.
    array: Array of one of the element types of `DataType`.

Returns:
    The copy.

Raises:
    InvalidArgumentError: The array has another number of dimensions.
    ArgumentTypeError: Its element type is not supported.)")
      .def_static(
          "wrap",
          [what, descriptor](const Device& device, const ArrayObject& array) {
            const Host host(array, what);
            const Descriptor d = descriptor(host);
            return View(host.share(device), d);
          },
          py::arg("device"), py::arg("array"),
          R"(A view of an array's own memory, which is kept alive.

On the CPU any memory can be shared; on Metal memory that begins at a page of the system and is whole
pages, as that of `mmap` is. Apple: newBufferWithBytesNoCopy.

Args:
    device: Where it is.
    array: Writable, aligned array with positive strides; the elements of a row lie together. While
        work on it runs it must not be written to.

Returns:
    The view.

Raises:
    InvalidArgumentError: The array cannot be shared or has another number of dimensions.
    ArgumentTypeError: Its element type is not supported.
    UnsupportedError: The device's memory is not the host's, or the array is not whole pages on
        Metal.)")
      .def_static(
          "from_dlpack",
          [what, descriptor](const Device& device, const py::object& array) {
            const Host host(array_of_dlpack(array), what);
            const Descriptor d = descriptor(host);
            return View(host.share(device), d);
          },
          py::arg("device"), py::arg("array"),
          R"(A view of the memory of another framework's array, without a copy.

Args:
    device: Where it is.
    array: Any object with `__dlpack__` whose memory can be shared as `wrap` says.

Returns:
    The view.

Raises:
    InvalidArgumentError: The array cannot be shared or has another number of dimensions.
    ArgumentTypeError: Its element type is not supported.
    UnsupportedError: The device's memory is not the host's, or the array is not whole pages on
        Metal.)");
}

void bind_matrix(py::module_& m) {
  py::class_<Matrix, Array> matrix(
      m, "Matrix",
      R"(One or more matrices of one size. Apple: MPSMatrix, MPSMatrixDescriptor.

Element (i, j) of matrix k lies at k * matrix_bytes + i * row_bytes + j * the element's size.

Args:
    device: Where it will be, zeros at first.
    buffer: Instead of the device: the memory, of which it is a view.
    rows: Of each matrix.
    columns: Of each matrix.
    data_type: Element type.
    matrices: Their number.
    row_bytes: From one row to the next; 0: no gaps.
    matrix_bytes: From one matrix to the next, a multiple of row_bytes; 0: no gaps.
    offset: Of the first element, in bytes from the buffer's start.

Raises:
    InvalidArgumentError: An extent below 1, a stride that is too short, elements beyond the buffer.)",
      py::release_gil_before_calling_cpp_dtor());
  const auto descriptor = [](std::int64_t rows, std::int64_t columns, DataTypeArgument type,
                             std::int64_t matrices, std::size_t row_bytes,
                             std::size_t matrix_bytes) {
    return MatrixDescriptor{rows, columns, type, matrices, row_bytes, matrix_bytes};
  };
  matrix
      .def(py::init([=](const Device& device, std::int64_t rows, std::int64_t columns,
                        DataTypeArgument type, std::int64_t matrices, std::size_t row_bytes,
                        std::size_t matrix_bytes) {
             return Matrix(device,
                           descriptor(rows, columns, type, matrices, row_bytes, matrix_bytes));
           }),
           py::arg("device"), py::kw_only(), py::arg("rows"), py::arg("columns"),
           py::arg("data_type") = DataType::FLOAT32, py::arg("matrices") = 1,
           py::arg("row_bytes") = 0, py::arg("matrix_bytes") = 0)
      .def(py::init([=](const Buffer& buffer, std::int64_t rows, std::int64_t columns,
                        DataTypeArgument type, std::int64_t matrices, std::size_t row_bytes,
                        std::size_t matrix_bytes, std::size_t offset) {
             return Matrix(buffer,
                           descriptor(rows, columns, type, matrices, row_bytes, matrix_bytes),
                           offset);
           }),
           py::arg("buffer"), py::kw_only(), py::arg("rows"), py::arg("columns"),
           py::arg("data_type") = DataType::FLOAT32, py::arg("matrices") = 1,
           py::arg("row_bytes") = 0, py::arg("matrix_bytes") = 0, py::arg("offset") = 0)
      .def_static("row_bytes_for_columns", &MatrixDescriptor::row_bytes_for_columns,
                  py::arg("columns"), py::arg("data_type"),
                  R"(A stride at which kernels are fastest. Apple: rowBytesForColumns:dataType:.

Args:
    columns: Of the matrix.
    data_type: Element type.

Returns:
    Bytes: floating-point rows rounded up to 16 bytes, others to 4 elements; one column as it is.)")
      .def_property_readonly("rows", &Matrix::rows, "Of each matrix.")
      .def_property_readonly("columns", &Matrix::columns, "Of each matrix.")
      .def_property_readonly("matrices", &Matrix::matrices, "Their number.")
      .def_property_readonly("row_bytes", &Matrix::row_bytes, "From one row to the next.")
      .def_property_readonly("matrix_bytes", &Matrix::matrix_bytes, "From one matrix to the next.");
  bind_host_memory(matrix, "Matrix", &matrix_descriptor);
}

void bind_vector(py::module_& m) {
  py::class_<Vector, Array> vector(
      m, "Vector",
      R"(One or more vectors of one length. Apple: MPSVector, MPSVectorDescriptor.

Args:
    device: Where it will be, zeros at first.
    buffer: Instead of the device: the memory, of which it is a view.
    length: Of each vector.
    data_type: Element type.
    vectors: Their number.
    vector_bytes: From one vector to the next; 0: no gaps.
    offset: Of the first element, in bytes from the buffer's start.

Raises:
    InvalidArgumentError: An extent below 1, a stride that is too short, elements beyond the buffer.)",
      py::release_gil_before_calling_cpp_dtor());
  vector
      .def(py::init([](const Device& device, std::int64_t length, DataTypeArgument type,
                       std::int64_t vectors, std::size_t vector_bytes) {
             return Vector(device, VectorDescriptor{length, type, vectors, vector_bytes});
           }),
           py::arg("device"), py::kw_only(), py::arg("length"),
           py::arg("data_type") = DataType::FLOAT32, py::arg("vectors") = 1,
           py::arg("vector_bytes") = 0)
      .def(py::init([](const Buffer& buffer, std::int64_t length, DataTypeArgument type,
                       std::int64_t vectors, std::size_t vector_bytes, std::size_t offset) {
             return Vector(buffer, VectorDescriptor{length, type, vectors, vector_bytes}, offset);
           }),
           py::arg("buffer"), py::kw_only(), py::arg("length"),
           py::arg("data_type") = DataType::FLOAT32, py::arg("vectors") = 1,
           py::arg("vector_bytes") = 0, py::arg("offset") = 0)
      .def_property_readonly("length", &Vector::length, "Of each vector.")
      .def_property_readonly("vectors", &Vector::vectors, "Their number.")
      .def_property_readonly("vector_bytes", &Vector::vector_bytes, "From one vector to the next.");
  bind_host_memory(vector, "Vector", &vector_descriptor);
}

void bind_nd_array(py::module_& m) {
  py::class_<NDArray, Array> array(
      m, "NDArray",
      R"(An array of 1 to 16 dimensions. Apple: MPSNDArray, MPSNDArrayDescriptor.

Args:
    device: Where it will be, zeros at first.
    buffer: Instead of the device: the memory, of which it is a view.
    shape: Extents, the slowest dimension first.
    data_type: Element type.
    strides: Bytes from one element to the next along each dimension; empty: no gaps.
    offset: Of the first element, in bytes from the buffer's start.

Raises:
    InvalidArgumentError: An extent below 1, a bad stride, elements beyond the buffer.)",
      py::release_gil_before_calling_cpp_dtor());
  using Extents = std::vector<std::int64_t>;
  array
      .def(
          py::init([](const Device& device, Extents shape, DataTypeArgument type, Extents strides) {
            return NDArray(device, NDArrayDescriptor{std::move(shape), type, std::move(strides)});
          }),
          py::arg("device"), py::kw_only(), py::arg("shape"),
          py::arg("data_type") = DataType::FLOAT32, py::arg("strides") = Extents())
      .def(py::init([](const Buffer& buffer, Extents shape, DataTypeArgument type, Extents strides,
                       std::size_t offset) {
             return NDArray(buffer, NDArrayDescriptor{std::move(shape), type, std::move(strides)},
                            offset);
           }),
           py::arg("buffer"), py::kw_only(), py::arg("shape"),
           py::arg("data_type") = DataType::FLOAT32, py::arg("strides") = Extents(),
           py::arg("offset") = 0)
      .def(
          "transposed", &NDArray::transposed, py::arg("first"), py::arg("second"),
          R"(The same memory with two dimensions exchanged. Apple: transposeDimension:withDimension:.

Args:
    first: Index of a dimension.
    second: Index of the other.

Returns:
    The view.

Raises:
    InvalidArgumentError: There is no such dimension.)")
      .def("sliced", &NDArray::sliced, py::arg("dimension"), py::arg("start"), py::arg("count"),
           R"(A part of the same memory. Apple: sliceDimension:withSubrange:.

Args:
    dimension: Index of the dimension that is cut.
    start: First element of it.
    count: Elements, at least 1.

Returns:
    The view.

Raises:
    InvalidArgumentError: The range does not lie inside.)");
  bind_host_memory(array, "NDArray", &array_descriptor);
}

}  // namespace

void bind_matrices(py::module_& m) {
  bind_array(m);
  bind_matrix(m);
  bind_vector(m);
  bind_nd_array(m);
}

}  // namespace mpsnn::bindings
