// SPDX-License-Identifier: MIT
// Images, and how numpy sees them.
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <pybind11/stl.h>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/casters.h"
#include "bindings/dlpack.h"
#include "mpsnn/device.h"

namespace mpsnn::bindings {
namespace {

using ReleaseGil = py::call_guard<py::gil_scoped_release>;

std::vector<py::ssize_t> shape_of(const Image& image) {
  const ImageSize& size = image.size();
  return {size.n, size.height, size.width, size.channels};
}

std::vector<py::ssize_t> strides_of(const std::vector<py::ssize_t>& shape, py::ssize_t item) {
  std::vector<py::ssize_t> strides(shape.size(), item);
  for (std::size_t i = shape.size() - 1; i-- > 0;) strides[i] = strides[i + 1] * shape[i + 1];
  return strides;
}

/// The memory of an image whose work is done; waits without the GIL. Null where the host cannot see
/// it.
void* finished_data(const Image& image) {
  py::gil_scoped_release release;
  return image.data();
}

ImageArray read(const Image& image) {
  py::array array(dtype_of(image.format()), shape_of(image));
  void* const to = array.mutable_data();
  {
    py::gil_scoped_release release;
    image.read(to, image.bytes());
  }
  return ImageArray(std::move(array));
}

/// The image's own memory where the host can see it, which the array keeps alive; a copy elsewhere.
ImageArray as_array(const py::object& self) {
  const auto& image = self.cast<const Image&>();
  void* const data = finished_data(image);
  if (data == nullptr) return read(image);
  return ImageArray(py::array(dtype_of(image.format()), shape_of(image), {}, data, self));
}

ImageArray array_protocol(const py::object& self, const py::object& dtype, const py::object& copy) {
  const py::array array = as_array(self);
  const auto shown = [](py::object result) { return ImageArray(std::move(result)); };
  const bool converts = !dtype.is_none() && !py::dtype::from_args(dtype).equal(array.dtype());
  const bool is_copy = array.owndata();
  if (!copy.is_none() && !copy.cast<bool>() && (converts || is_copy)) {
    PyErr_SetString(PyExc_ValueError, "Image: an array without a copy is not possible here");
    throw py::error_already_set();
  }
  if (converts) return shown(array.attr("astype")(dtype));
  if (!copy.is_none() && copy.cast<bool>() && !is_copy) return shown(array.attr("copy")());
  return shown(array);
}

py::buffer_info buffer(Image& image) {
  void* const data = finished_data(image);
  if (data == nullptr) {
    throw UnsupportedError("Image \"" + image.label() +
                           "\": its memory is not the host's; use numpy()");
  }
  const py::dtype dtype = dtype_of(image.format());
  const std::vector<py::ssize_t> shape = shape_of(image);
  return {data,
          dtype.itemsize(),
          std::string(1, dtype.char_()),
          4,
          shape,
          strides_of(shape, dtype.itemsize())};
}

Image from_array(const Device& device, const ArrayObject& object) {
  const auto [array, type] = image_array(object, "Image: array");
  const ImageSize size = image_size(array, "Image: array");
  const void* const data = array.data();
  const DataType format = type;
  py::gil_scoped_release release;
  return {device, size, format, data};
}

Image wrap_array(const Device& device, const py::array& array) {
  const std::string what = "Image: array";
  const auto [checked, format] = image_array(array, what);
  if (checked.data() != array.data() || !array.writeable()) {
    throw InvalidArgumentError(what +
                               ": expected a writable array in C order, which can be shared");
  }
  auto owner = std::make_shared<SharedObject>(array);
  return Image::wrap(device, image_size(array, what), format, const_cast<void*>(array.data()),
                     std::move(owner));
}

void write(const Image& image, const ArrayObject& object) {
  const std::string what = "Image \"" + image.label() + "\": array";
  const DataType types[] = {image.format()};
  const py::array array = typed_array(object, types, what).array;
  const ImageSize size = image_size(array, what);
  if (size != image.size()) {
    const std::string format(name_of(image.format()));
    throw InvalidArgumentError(what + ": expected " + format + " " + to_string(image.size()) +
                               ", got " + format + " " + to_string(size));
  }
  const void* const data = array.data();
  py::gil_scoped_release release;
  image.write(data, image.bytes());
}

using ImageClass = py::class_<Image>;

void bind_construction(ImageClass& image) {
  image.def(py::init(&from_array), py::arg("device"), py::arg("array"))
      .def(py::init([](const Device& device, const ImageSize& size, DataType format) {
             py::gil_scoped_release release;
             return Image(device, size, format);
           }),
           py::arg("device"), py::kw_only(), py::arg("size"), py::arg("format") = DataType::FLOAT32)
      .def_static("wrap", &wrap_array, py::arg("device"), py::arg("array"),
                  R"(An image over an array's own memory, which is kept alive.

On the CPU any memory can be shared; on Metal memory that begins at a page of the system and is whole
pages, as that of `mmap` is. Apple: newBufferWithBytesNoCopy.

Args:
    device: Where the image is.
    array: float32 or float16 array (N, H, W, C) or (H, W, C), writable, aligned and in C order.

Returns:
    The image. While work on it runs the array must not be written to.

Raises:
    InvalidArgumentError: The array cannot be shared or has another rank.
    ArgumentTypeError: The array is neither of float32 nor of float16.
    UnsupportedError: The device's memory is not the host's, or the array is not whole pages on
        Metal.)")
      .def_static(
          "from_dlpack",
          [](const Device& device, const py::object& array) {
            return wrap_array(device, array_of_dlpack(array));
          },
          py::arg("device"), py::arg("array"),
          R"(An image over the memory of another framework's array, without a copy.

Which memory can be shared is as `wrap` says.

Args:
    device: Where the image is.
    array: Any object with `__dlpack__`, float32 or float16, (N, H, W, C) or (H, W, C) in C order.

Returns:
    The image.

Raises:
    InvalidArgumentError: The array cannot be shared (another device's memory, read-only such as
        JAX's, whose arrays are constants: `Image(device, array)` copies them) or has another rank.
    ArgumentTypeError: The array is neither of float32 nor of float16, or no array.
    UnsupportedError: The device's memory is not the host's, or the array is not whole pages on
        Metal.)");
}

void bind_properties(ImageClass& image) {
  image.def_property_readonly("size", &Image::size, "(N, H, W, C).")
      .def_property_readonly("format", &Image::format, "Element type.")
      .def_property_readonly("device", &Image::device, "Where it is.")
      .def_property("label", &Image::label, &Image::set_label, "Name for errors.")
      .def_property_readonly("bytes", &Image::bytes, "Bytes of all images together.")
      .def("__repr__", [](const Image& i) {
        return "<mpsnn.Image " + to_string(i.size()) + " " + std::string(name_of(i.format())) + ">";
      });
}

void bind_arrays(ImageClass& image) {
  image
      .def("numpy", &as_array,
           R"(The image as an array (N, H, W, C). Waits for the work that makes it.

On the CPU the array is the image's own memory; elsewhere a copy.

Returns:
    The array.

Raises:
    StateError: The command buffer that makes the image was not committed.
    DeviceError: It failed.)")
      .def("read", &read, R"(A copy of the image as an array (N, H, W, C). Waits as `numpy` does.

Returns:
    A new array.

Raises:
    StateError: The command buffer that makes the image was not committed.
    DeviceError: It failed.)")
      .def("write", &write, py::arg("array"), R"(Replaces the image's values.

Args:
    array: Array of the image's format and size. Copied.

Raises:
    InvalidArgumentError: The size is another.
    ArgumentTypeError: The array is not of the image's format.)")
      .def("__array__", &array_protocol, py::arg("dtype") = py::none(),
           py::arg("copy") = py::none())
      .def("__dlpack__",
           [](const py::object& self, const py::kwargs& options) -> py::object {
             return as_array(self).attr("__dlpack__")(**options);
           })
      .def("__dlpack_device__", [](const py::object& self) -> py::object {
        return as_array(self).attr("__dlpack_device__")();
      });
}

}  // namespace

void bind_images(py::module_& m) {
  ImageClass image(m, "Image", R"(A batch of images on a device. Apple: MPSImage, MPSImageBatch.

`np.asarray(image)` and `memoryview(image)` wait for the work that makes it and, on the CPU, share its
memory.

Args:
    device: Where it is.
    array: float32 or float16 array (N, H, W, C), or (H, W, C) for one image. Copied.
    size: (N, H, W, C) of an image of zeros, in the place of `array`.
    format: Element type of an image of zeros.

Raises:
    InvalidArgumentError: An array of another rank, or a size below 1.
    ArgumentTypeError: An array that is neither of float32 nor of float16.
    OutOfMemoryError: There is not enough memory.)",
                   py::buffer_protocol(), py::release_gil_before_calling_cpp_dtor());
  bind_construction(image);
  bind_properties(image);
  bind_arrays(image);
  image.def_buffer(&buffer);
}

}  // namespace mpsnn::bindings
