// SPDX-License-Identifier: MIT
// Buffers, predicates, events.
#include "mpsnn/buffer.h"

#include <optional>
#include <string>
#include <utility>

#include <pybind11/stl.h>

#include "bindings/bindings.h"
#include "bindings/casters.h"

namespace mpsnn::bindings {
namespace {

using ReleaseGil = py::call_guard<py::gil_scoped_release>;

struct BytesHint {
  static constexpr auto name =
      py::detail::const_name("bytes | bytearray | memoryview | numpy.typing.NDArray[typing.Any]");
};
using BytesObject = Hinted<BytesHint>;

/// The contiguous bytes of an object that has some.
py::buffer_info bytes_of(const py::object& data) {
  if (PyObject_CheckBuffer(data.ptr()) == 0) {
    throw ArgumentTypeError("Buffer: data: expected an object with the buffer protocol, got " +
                            std::string(py::str(py::type::handle_of(data).attr("__name__"))));
  }
  py::buffer_info info = py::reinterpret_borrow<py::buffer>(data).request();
  if (PyBuffer_IsContiguous(info.view(), 'C') == 0)
    throw InvalidArgumentError("Buffer: data: expected contiguous memory, got strides");
  return info;
}

std::size_t size_of(const py::buffer_info& info) {
  return static_cast<std::size_t>(info.size * info.itemsize);
}

void bind_buffers(py::module_& m) {
  py::class_<Buffer>(m, "Buffer",
                     R"(Bytes on a device, as they are at every moment. Apple: MTLBuffer.

Neither reading nor writing waits for work in flight, so that the host can change a value that a
kernel reads when its turn comes; wait for the command buffers first where that matters. On the CPU
the memory itself is a Python buffer: `np.frombuffer(buffer, np.int32)` is a view, not a copy.

Args:
    device: Where it lies.
    size: Bytes, at least 1; they are 0 at first.
    data: Instead of a size: the bytes to copy.)",
                     py::buffer_protocol(), py::release_gil_before_calling_cpp_dtor())
      .def(py::init<const Device&, std::size_t>(), py::arg("device"), py::arg("size"))
      .def(py::init([](const Device& device, const BytesObject& data) {
             const py::buffer_info info = bytes_of(data);
             return Buffer(device, info.ptr, size_of(info));
           }),
           py::arg("device"), py::arg("data"))
      .def_buffer([](const Buffer& buffer) {
        if (buffer.data() == nullptr) {
          throw py::buffer_error("Buffer: the memory of device \"" + buffer.device().kind() +
                                 "\" is not the host's: use read and write");
        }
        return py::buffer_info(static_cast<std::uint8_t*>(buffer.data()),
                               static_cast<py::ssize_t>(buffer.bytes()));
      })
      .def("__len__", &Buffer::bytes)
      .def_property_readonly("size", &Buffer::bytes, "In bytes.")
      .def_property_readonly("device", &Buffer::device, "Where it lies.")
      .def_property("label", &Buffer::label, &Buffer::set_label, "Name for errors.")
      .def(
          "read",
          [](const Buffer& buffer, std::size_t offset, std::optional<std::size_t> size) {
            const std::size_t rest = offset <= buffer.bytes() ? buffer.bytes() - offset : 0;
            std::string bytes(std::min(size.value_or(rest), buffer.bytes()), '\0');
            buffer.read(offset, bytes.data(), size.value_or(rest));
            return py::bytes(bytes);
          },
          py::arg("offset") = 0, py::arg("size") = py::none(), R"(Copies a range to the host.

Args:
    offset: Of its first byte.
    size: Bytes; all that follow where None.

Returns:
    The bytes.

Raises:
    InvalidArgumentError: The range does not lie inside of the buffer.)")
      .def(
          "write",
          [](const Buffer& buffer, const BytesObject& data, std::size_t offset) {
            const py::buffer_info info = bytes_of(data);
            buffer.write(offset, info.ptr, size_of(info));
          },
          py::arg("data"), py::arg("offset") = 0, R"(Copies bytes of the host into the buffer.

Args:
    data: An object with the buffer protocol, contiguous.
    offset: Where its first byte goes.

Raises:
    InvalidArgumentError: The range does not lie inside of the buffer.)")
      .def(
          "__eq__", [](const Buffer& a, const Buffer& b) { return a == b; }, py::is_operator())
      .def("__hash__",
           [](const Buffer& b) { return reinterpret_cast<std::size_t>(b.state().get()); })
      .def("__repr__", [](const Buffer& b) {
        return py::str("mpsnn.Buffer({} bytes on \"{}\")").format(b.bytes(), b.device().kind());
      });
}

void bind_predicates(py::module_& m) {
  py::class_<Predicate>(m, "Predicate",
                        R"(A 32-bit integer in device memory that switches kernels off.

Where it is 0 when a kernel's turn comes, the kernel is skipped and its results keep what they held.
Set it as `CommandBuffer.predicate`. Apple: MPSPredicate.

Args:
    buffer: Where the integer lies.
    offset: In bytes, a multiple of 4; the four bytes lie inside of the buffer.
    device: Instead of buffer and offset: a slot of a buffer that predicates share; starts with 1.

Raises:
    InvalidArgumentError: The offset is no multiple of 4, or outside.)",
                        py::release_gil_before_calling_cpp_dtor())
      .def(py::init<const Buffer&, std::size_t>(), py::arg("buffer"), py::arg("offset"))
      .def(py::init<const Device&>(), py::arg("device"))
      .def_property_readonly("buffer", &Predicate::buffer, "Where the integer lies.")
      .def_property_readonly("offset", &Predicate::offset, "In bytes.")
      .def_property("value", &Predicate::value, &Predicate::set_value,
                    R"(The integer as it is now; waits for nothing.

What is written is seen by every kernel whose turn comes afterwards.)")
      .def(
          "__eq__", [](const Predicate& a, const Predicate& b) { return a == b; },
          py::is_operator())
      .def("__hash__",
           [](const Predicate& p) { return reinterpret_cast<std::size_t>(p.state().get()); })
      .def("__repr__", [](const Predicate& p) {
        return py::str("mpsnn.Predicate(offset={}, value={})").format(p.offset(), p.value());
      });
}

void bind_events(py::module_& m) {
  py::class_<SharedEvent>(m, "SharedEvent",
                          R"(A counter by which queues and the host wait for one another.

It only grows. Command buffers signal and wait by `CommandBuffer.encode_signal_event` and
`encode_wait_for_event`. A signal that can no longer come, because its command buffer failed or was
dropped, is an error for those who wait for it, as is a wait of a queue that is being destroyed while
no work in flight would end it. Apple: MTLSharedEvent.

Args:
    device: Its device; others may wait for it, too.
    label: Name for errors and timelines.

Raises:
    DeviceError: A Metal device makes no more events ("event: the device makes no more").)",
                          py::release_gil_before_calling_cpp_dtor())
      .def(py::init<const Device&, std::string>(), py::arg("device"), py::arg("label") = "")
      .def_property_readonly("device", &SharedEvent::device, "Its device.")
      .def_property_readonly("label", &SharedEvent::label, "Name for errors and timelines.")
      .def_property_readonly("signaled_value", &SharedEvent::signaled_value, "0 at first.")
      .def("signal", &SharedEvent::signal, py::arg("value"), ReleaseGil(),
           R"(Signals from the host. A value not greater than the present one changes nothing.

Args:
    value: The new value.)")
      .def(
          "wait",
          [](const SharedEvent& event, std::uint64_t value, std::optional<double> seconds) {
            return wait_in_slices(seconds, [&](double slice) { return event.wait(value, slice); });
          },
          py::arg("value"), py::arg("seconds") = py::none(),
          R"(Waits on the host until the event is that far. Ctrl-C ends the wait.

Args:
    value: At least this.
    seconds: At most so long; None waits on.

Returns:
    False when the time was over before.

Raises:
    Error: The failure of the command buffer that should have signalled it.)");
}

}  // namespace

void bind_buffers_and_events(py::module_& m) {
  bind_buffers(m);
  bind_predicates(m);
  bind_events(m);
}

}  // namespace mpsnn::bindings
