// SPDX-License-Identifier: MIT
// Devices and queues. Whatever may wait, and every destructor that may wait, runs
// without the GIL: handlers written in Python need it on the queue's thread.
#include "mpsnn/device.h"
#include "mpsnn/null_device.h"

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <pybind11/stl.h>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/casters.h"
#include "runtime/metal_probe.h"

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

/// Waits for a device; the first failure that no one was told, or null.
std::exception_ptr shut_down(const Device& device) {
  py::gil_scoped_release release;
  try {
    device.shut_down();
  } catch (...) {
    return std::current_exception();
  }
  return nullptr;
}

/// Waits for every device, then once more with Python functions refused: work that was committed
/// meanwhile (by other threads, or by exit functions that run after this one) must not wait for an
/// interpreter that is gone. Failures that no one waited for are reported, not raised: nobody is
/// left to catch them.
void synchronize_at_exit(LiveDevices& live) {
  for (const bool is_last : {false, true}) {
    if (is_last) refuse_callbacks();
    for (const Device& device : live.all()) {
      while (const std::exception_ptr failure = shut_down(device)) {
        const py::object error = exception_object(failure);
        PyErr_SetObject(py::type::handle_of(error).ptr(), error.ptr());
        PyErr_WriteUnraisable(py::str("mpsnn: work that was never waited for").ptr());
      }
    }
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

void bind_memory_stats(py::module_& m) {
  py::class_<QueueMemory>(m, "QueueMemory", "Bytes of a queue's temporaries.")
      .def_readonly("label", &QueueMemory::label, "The queue's label.")
      .def_readonly("heap", &QueueMemory::heap,
                    "Held by its arenas, and by the backend for temporaries of whole graphs.")
      .def_readonly("arenas", &QueueMemory::arenas,
                    "1, and one more for each command buffer that recorded meanwhile.")
      .def("__repr__", [](const QueueMemory& q) {
        return py::str("QueueMemory(label={!r}, heap={}, arenas={})")
            .format(q.label, q.heap, q.arenas);
      });
  py::class_<MemoryStats>(m, "MemoryStats", "Bytes held on a device.")
      .def_readonly("current", &MemoryStats::current, "In use: buffers, images, parameters, heaps.")
      .def_readonly("peak", &MemoryStats::peak, "Highest `current` so far.")
      .def_readonly("heap", &MemoryStats::heap, "Part of `current`: the queues' temporaries.")
      .def_readonly("cached", &MemoryStats::cached, "Freed and kept for reuse, beside `current`.")
      .def_readonly("queues", &MemoryStats::queues, "The queues that are alive.")
      .def("__repr__", [](const MemoryStats& s) {
        return py::str("MemoryStats(current={}, peak={}, heap={}, cached={})")
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
    kind: "cpu", "null", …; "" takes the one that the environment's variable MPSNN_DEVICE names,
        else the best here: metal, then cpu.
    name: Which device of that kind, as `name` tells it; "" takes the system's default.
    low_power: Take one of low power, an integrated GPU, where a machine has several.
    threads: "cpu": how many of OpenMP's threads its kernels run on; 0: all, one a processor unless
        OMP_NUM_THREADS says otherwise. A device with fewer is one of its own, with its own memory
        and weights: it leaves processors to the program, which may record while it works.

Raises:
    InvalidArgumentError: There is no such device here; the text lists those there are.)",
                     py::release_gil_before_calling_cpp_dtor());
  device
      .def(py::init([live](const std::string& kind, const std::string& name, bool low_power,
                           int threads) {
             py::gil_scoped_release release;
             Device made(kind, DeviceChoice{name, low_power, threads});
             live->add(made);
             return made;
           }),
           py::arg("kind") = "", py::kw_only(), py::arg("name") = "", py::arg("low_power") = false,
           py::arg("threads") = 0)
      .def_static("available", &Device::available, R"(Kinds that this build and machine have.

Returns:
    The kinds, the best first.)")
      .def_property_readonly("kind", &Device::kind, R"("cpu", "null", ….)")
      .def_property_readonly("name", &Device::name, "The device in words.")
      .def_property_readonly(
          "threads", &Device::threads,
          "Of the host, that kernels run on; 0: a device that needs none, a GPU.")
      .def("command_queue", &Device::command_queue, py::arg("label") = "", R"(A new queue.

Args:
    label: Name for errors and timelines.

Returns:
    The queue.)")
      .def("memory_stats", &Device::memory_stats, ReleaseGil(), R"(Bytes held on the device now.

Returns:
    Current, peak, heap and cached bytes; the heap of each queue.)")
      .def("trim", &Device::trim, ReleaseGil(),
           "Gives cached memory, and the heaps of queues that are idle, back to the system.")
      .def("shut_down", &Device::shut_down, ReleaseGil(),
           R"(`synchronize` for the end of a program, where it is called unasked.

Queues that wait for an event which no work in flight would signal fail instead of waiting on.)")
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
      .def(
          "__eq__", [](const CommandQueue& a, const CommandQueue& b) { return a == b; },
          py::is_operator())
      .def("__hash__",
           [](const CommandQueue& q) { return reinterpret_cast<std::size_t>(q.state().get()); })
      .def("__repr__",
           [](const CommandQueue& q) {
             return py::str("<mpsnn.CommandQueue {!r}>").format(q.label());
           })
      .def("wait_until_idle", &CommandQueue::wait_until_idle, ReleaseGil(),
           R"(Waits for all that was committed.

Raises:
    Error: The first failure that no one was told yet.)");
}

void bind_null_device(py::module_& m, const std::shared_ptr<LiveDevices>& live) {
  py::class_<NullCommand>(m, "NullCommand", "A kernel that a null device ran.")
      .def_readonly("operation", &NullCommand::operation, R"("convolution", ….)")
      .def_readonly("label", &NullCommand::label, "The node's.")
      .def("__repr__", [](const NullCommand& c) {
        return py::str("<NullCommand {} {!r}>").format(c.operation, c.label);
      });
  py::class_<NullDevice>(m, "NullDevice",
                         R"(A device that computes nothing and records what it would have run.

For tests of programs: plans, order, predicates, errors. Its memory is real and starts as zeros.
`Device("null")` is one that the whole process shares.

Args:
    memory_bytes: Allocations beyond this raise OutOfMemoryError.)",
                         py::release_gil_before_calling_cpp_dtor())
      .def(py::init([live](std::size_t memory_bytes) {
             NullDevice made(memory_bytes);
             live->add(made.device());
             return made;
           }),
           py::arg("memory_bytes") = std::size_t{1} << 38)
      .def_property_readonly("device", &NullDevice::device, "The device itself.")
      .def_property_readonly("commands", &NullDevice::commands,
                             "The last 4096 kernels that ran, in order. Skipped ones did not run.")
      .def_property_readonly("allocated", &NullDevice::allocated, "Bytes allocated now.")
      .def("clear_commands", &NullDevice::clear_commands, "Forgets the commands.")
      .def("fail_command", &NullDevice::fail_command, py::arg("n"),
           py::arg("message") = "failed on request",
           R"(Lets a kernel fail instead of running, once, with a DeviceError.

Args:
    n: Which, from now; 0 is the next.
    message: The error's text.)");
}

}  // namespace

void bind_device(py::module_& m) {
  const auto live = std::make_shared<LiveDevices>();
  bind_memory_stats(m);
  // Declared first: a device's signatures name it.
  QueueClass queue = declare_queue(m);
  bind_devices(m, live);
  bind_queue(queue);
  bind_null_device(m, live);
  m.def("_metal_probe", &metal::detail::probe, py::arg("device"), py::arg("name"),
        py::arg("arguments"), ReleaseGil());
  py::module_::import("atexit").attr("register")(
      py::cpp_function([live] { synchronize_at_exit(*live); }, py::name("synchronize_at_exit")));
}

}  // namespace mpsnn::bindings
