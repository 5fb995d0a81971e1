// SPDX-License-Identifier: MIT
// Devices, queues and command buffers. Whatever may wait, and every destructor that may wait, runs
// without the GIL: handlers written in Python need it on the queue's thread.
#include "mpsnn/device.h"

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <pybind11/stl.h>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/casters.h"

namespace mpsnn::bindings {
namespace {

using ReleaseGil = py::call_guard<py::gil_scoped_release>;

/// Devices that Python made, to wait for before the interpreter goes: handlers could not run later.
class LiveDevices {
 public:
  void add(const Device& device) {
    const std::lock_guard lock(mutex_);
    std::erase_if(states_, [](const auto& state) { return state.expired(); });
    states_.push_back(device.state());
  }
  std::vector<Device> all() {
    const std::lock_guard lock(mutex_);
    std::vector<Device> devices;
    for (const auto& weak : states_) {
      if (auto state = weak.lock()) devices.emplace_back(std::move(state));
    }
    return devices;
  }

 private:
  std::mutex mutex_;
  std::vector<std::weak_ptr<runtime::DeviceState>> states_;
};

/// Waits for every device. Failures that no one waited for are reported, not raised: nobody is left
/// to catch them.
void synchronize_at_exit(LiveDevices& live) {
  for (const Device& device : live.all()) {
    std::exception_ptr failure;
    {
      py::gil_scoped_release release;
      try {
        device.synchronize();
      } catch (...) {
        failure = std::current_exception();
      }
    }
    if (!failure) continue;
    const py::object error = exception_object(failure);
    PyErr_SetObject(py::type::handle_of(error).ptr(), error.ptr());
    PyErr_WriteUnraisable(py::str("mpsnn: work that was never waited for").ptr());
  }
}

std::string base_name(const std::string& parameter) {
  return parameter.substr(0, parameter.find('.'));
}

/// The shape of a parameter or of the optimizer's moment beside it.
std::vector<std::int64_t> shape_of(const DataSource& source, const std::string& parameter,
                                   std::size_t count) {
  for (const ParameterInfo& info : source.parameters()) {
    std::size_t expected = 1;
    for (const std::int64_t n : info.shape) expected *= static_cast<std::size_t>(n);
    if (info.name == base_name(parameter) && expected == count) return info.shape;
  }
  return {static_cast<std::int64_t>(count)};
}

FloatArray read_parameter(const Device& device, const DataSource& source,
                          const std::string& parameter) {
  std::vector<float> values;
  {
    py::gil_scoped_release release;
    values = device.read_parameter(source, parameter);
  }
  return shaped(values, shape_of(source, parameter, values.size()));
}

void write_parameter(const Device& device, DataSource& source, const std::string& parameter,
                     const ArrayObject& values) {
  const std::string what = source.label() + ": " + parameter;
  const FloatArray array = float_array(values, what);
  const auto shape = shape_of(source, parameter, static_cast<std::size_t>(array.size()));
  if (std::vector<std::int64_t>(array.shape(), array.shape() + array.ndim()) != shape) {
    throw InvalidArgumentError(what + ": expected shape " +
                               std::string(py::str(py::tuple(py::cast(shape)))) + ", got " +
                               shape_text(array));
  }
  const std::span<const float> span(array.data(), static_cast<std::size_t>(array.size()));
  py::gil_scoped_release release;
  device.write_parameter(source, parameter, span);
}

void bind_memory_statistics(py::module_& m) {
  py::class_<MemoryStatistics>(m, "MemoryStatistics", "Bytes held on a device.")
      .def_readonly("current", &MemoryStatistics::current,
                    "In use: buffers, images, parameters, heaps.")
      .def_readonly("peak", &MemoryStatistics::peak, "Highest `current` so far.")
      .def_readonly("heap", &MemoryStatistics::heap, "Part of `current`: the queues' temporaries.")
      .def_readonly("cached", &MemoryStatistics::cached,
                    "Freed and kept for reuse, beside `current`.")
      .def("__repr__", [](const MemoryStatistics& s) {
        return py::str("MemoryStatistics(current={}, peak={}, heap={}, cached={})")
            .format(s.current, s.peak, s.heap, s.cached);
      });
}

using DeviceClass = py::class_<Device>;

void bind_parameters(DeviceClass& device) {
  device
      .def(
          "read_parameter", &read_parameter, py::arg("source"), py::arg("parameter"),
          R"(The latest values of a data source's parameter on this device. Waits for committed work.

Args:
    source: The data source.
    parameter: "weights", "bias", or an optimizer's moment ("weights.momentum", …).

Returns:
    A new array of the parameter's shape; the initial values if it was never used here.

Raises:
    InvalidArgumentError: There is no such parameter.)")
      .def(
          "write_parameter", &write_parameter, py::arg("source"), py::arg("parameter"),
          py::arg("values"),
          R"(Replaces the values; takes effect for work encoded afterwards. Waits for committed work.

Args:
    source: The data source.
    parameter: As for `read_parameter`.
    values: float32 array of the parameter's shape.

Raises:
    InvalidArgumentError: There is no such parameter, or the shape is another.
    ArgumentTypeError: The array is not of float32.)")
      .def("parameter_names", &Device::parameter_names, py::arg("source"), ReleaseGil(),
           R"(Names of the parameters and optimizer moments that a data source has here.

Args:
    source: The data source.

Returns:
    The names.)")
      .def("time_step", &Device::time_step, py::arg("source"), ReleaseGil(),
           R"(Updates made to a data source here: Adam's t. Waits for committed work.

Args:
    source: The data source.

Returns:
    The count.)")
      .def("set_time_step", &Device::set_time_step, py::arg("source"), py::arg("step"),
           ReleaseGil(),
           R"(Sets the count of updates. Waits for committed work.

Args:
    source: The data source.
    step: The count.)");
}

void bind_devices(py::module_& m, const std::shared_ptr<LiveDevices>& live) {
  DeviceClass device(m, "Device", R"(A device. Thread-safe. Apple: MTLDevice.

Args:
    kind: "cpu", "null", …; "" takes the best here: metal, then cuda, then cpu.

Raises:
    InvalidArgumentError: There is no such kind here; the text lists those there are.)",
                     py::release_gil_before_calling_cpp_dtor());
  device
      .def(py::init([live](const std::string& kind) {
             py::gil_scoped_release release;
             Device made(kind);
             live->add(made);
             return made;
           }),
           py::arg("kind") = "")
      .def_static("available", &Device::available, R"(Kinds that this build and machine have.

Returns:
    The kinds, the best first.)")
      .def_property_readonly("kind", &Device::kind, R"("cpu", "null", ….)")
      .def_property_readonly("name", &Device::name, "The device in words.")
      .def("command_queue", &Device::command_queue, py::arg("label") = "", R"(A new queue.

Args:
    label: Name for errors and timelines.

Returns:
    The queue.)")
      .def("memory_statistics", &Device::memory_statistics, R"(Bytes held on the device now.

Returns:
    Current, peak, heap and cached bytes.)")
      .def("trim", &Device::trim, ReleaseGil(), "Gives cached memory back to the system.")
      .def("synchronize", &Device::synchronize, ReleaseGil(),
           "Waits for all that was committed to any queue of the device.")
      .def(
          "__eq__", [](const Device& a, const Device& b) { return a == b; }, py::is_operator())
      .def("__hash__",
           [](const Device& d) { return reinterpret_cast<std::size_t>(d.state().get()); })
      .def("__repr__", [](const Device& d) { return "mpsnn.Device(\"" + d.kind() + "\")"; });
  bind_parameters(device);
}

using QueueClass = py::class_<CommandQueue>;

QueueClass declare_queue(py::module_& m) {
  return {m, "CommandQueue",
          R"(Runs what is committed, in order, beside the host. Apple: MTLCommandQueue.

The heap of temporaries belongs to the queue: command buffers in flight share it. Destruction waits.

Args:
    device: Where it runs.
    label: Name for errors and timelines.)",
          py::release_gil_before_calling_cpp_dtor()};
}

void bind_queue(QueueClass& queue) {
  queue.def(py::init<const Device&, std::string>(), py::arg("device"), py::arg("label") = "")
      .def_property_readonly("device", &CommandQueue::device, "Where it runs.")
      .def_property_readonly("label", &CommandQueue::label, "Name for errors and timelines.")
      .def("wait_until_idle", &CommandQueue::wait_until_idle, ReleaseGil(),
           R"(Waits for all that was committed.

Raises:
    Error: The first failure that no one was told yet.)");
}

using BufferClass = py::class_<CommandBuffer>;
using Handler = std::function<void(CommandBuffer&)>;

struct HandlerHint {
  static constexpr auto name =
      py::detail::const_name("collections.abc.Callable[[CommandBuffer], object]");
};
struct ErrorHint {
  static constexpr auto name = py::detail::const_name("BaseException");
};
struct FunctionHint {
  static constexpr auto name = py::detail::const_name("collections.abc.Callable[[], object]");
};

/// A handler gets the command buffer as a new handle, which it may keep.
Handler handler(const Hinted<HandlerHint>& function) {
  auto call = callback<CommandBuffer>(function);
  return [call](CommandBuffer& commands) { call(commands); };
}

void bind_recording(BufferClass& commands) {
  commands
      .def("commit", &CommandBuffer::commit, ReleaseGil(),
           R"(Hands everything recorded to the queue and ends recording.

Raises:
    StateError: It was committed before.)")
      .def("commit_and_continue", &CommandBuffer::commit_and_continue, ReleaseGil(),
           R"(Hands over what is recorded so far; recording goes on in the same object.

Raises:
    StateError: It was committed before.)")
      .def(
          "add_scheduled_handler",
          [](CommandBuffer& buffer, const Hinted<HandlerHint>& function) {
            buffer.add_scheduled_handler(handler(function));
          },
          py::arg("handler"), R"(Calls a function when the piece now being recorded was scheduled.

Args:
    handler: Called once with the command buffer, from the queue's thread; an exception becomes the
        buffer's error.)")
      .def(
          "add_completed_handler",
          [](CommandBuffer& buffer, const Hinted<HandlerHint>& function) {
            buffer.add_completed_handler(handler(function));
          },
          py::arg("handler"), R"(Calls a function when the piece now being recorded was completed.

Args:
    handler: Called once with the command buffer, from the queue's thread; an exception becomes the
        buffer's error.)")
      .def(
          "encode_host_function",
          [](CommandBuffer& buffer, const std::string& label,
             const Hinted<FunctionHint>& function) {
            buffer.encode_host_function(label, callback<>(function));
          },
          py::arg("label"), py::arg("function"),
          R"(Records a function of the host that runs in its turn.

Args:
    label: Name for errors and timelines.
    function: Called without arguments, from the queue's thread; an exception becomes the buffer's
        error.)");
}

void bind_waiting(BufferClass& commands) {
  commands
      .def("wait_until_completed", &CommandBuffer::wait_until_completed, ReleaseGil(),
           R"(Waits for all that this buffer committed, earlier pieces included.

Raises:
    StateError: Nothing was committed.
    Error: The first failure; a kernel's is a `DeviceError` with its label.)")
      .def("wait_until_scheduled", &CommandBuffer::wait_until_scheduled, ReleaseGil(),
           R"(Waits until all that this buffer committed was scheduled.

Raises:
    StateError: Nothing was committed.)")
      .def_property_readonly("status", &CommandBuffer::status, "Where the command buffer stands.")
      .def_property_readonly(
          "error",
          [](const CommandBuffer& buffer) -> std::optional<Hinted<ErrorHint>> {
            if (const std::exception_ptr error = buffer.error()) {
              return Hinted<ErrorHint>(exception_object(error));
            }
            return std::nullopt;
          },
          "The first failure as an exception; None where there is none, or not yet.");
}

}  // namespace

void bind_device(py::module_& m) {
  const auto live = std::make_shared<LiveDevices>();
  bind_memory_statistics(m);
  // Declared first: a device's signatures name it.
  QueueClass queue = declare_queue(m);
  bind_devices(m, live);
  bind_queue(queue);
  py::module_::import("atexit").attr("register")(
      py::cpp_function([live] { synchronize_at_exit(*live); }, py::name("synchronize_at_exit")));
}

void bind_command_buffers(py::module_& m) {
  BufferClass commands(m, "CommandBuffer",
                       R"(Records work; nothing runs before `commit`. Apple: MPSCommandBuffer.

One thread records on it at a time.

Args:
    queue: Where it is committed.
    label: Name for errors and timelines.)",
                       py::release_gil_before_calling_cpp_dtor());
  commands
      .def(py::init<const CommandQueue&, std::string>(), py::arg("queue"), py::arg("label") = "")
      .def_property_readonly("queue", &CommandBuffer::queue, "Where it is committed.")
      .def_property("label", &CommandBuffer::label, &CommandBuffer::set_label,
                    "Name for errors and timelines.");
  bind_recording(commands);
  bind_waiting(commands);
}

}  // namespace mpsnn::bindings
