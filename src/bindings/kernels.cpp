// SPDX-License-Identifier: MIT
// Kernels that are encoded one by one. The typed classes (mpsnn.MatrixMultiplication …) are Python,
// generated from the kernel table; they derive from DeviceKernel.
#include "mpsnn/kernel.h"

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include "bindings/attributes.h"
#include "bindings/bindings.h"
#include "bindings/casters.h"
#include "bindings/operands.h"

namespace mpsnn::bindings {

KernelOperand operand_of(py::handle object) {
  py::detail::make_caster<Array> array;
  if (array.load(object, /*convert=*/false)) return py::detail::cast_op<const Array&>(array);
  py::detail::make_caster<Image> image;
  if (image.load(object, /*convert=*/false)) return py::detail::cast_op<const Image&>(image);
  throw ArgumentTypeError("operand: expected a Matrix, Vector, NDArray or Image, got " +
                          text_of(object));
}

KernelOperands operands_of(const std::vector<OperandObject>& objects) {
  KernelOperands operands;
  operands.reserve(objects.size());
  for (const OperandObject& object : objects) operands.push_back(operand_of(object));
  return operands;
}

namespace {

struct MethodOperandsHint {
  static constexpr auto name = py::detail::const_name(
      "collections.abc.Sequence[Array | Image | collections.abc.Sequence[Array | Image] | None]");
};

bool is_list(py::handle object) {
  return PyList_Check(object.ptr()) != 0 || PyTuple_Check(object.ptr()) != 0;
}

/// The operands of an encode: for each argument one, a list of them, or None.
std::vector<KernelOperands> method_operands_of(py::handle arguments) {
  if (!is_list(arguments))
    throw ArgumentTypeError("operands: expected a list, got " + text_of(arguments));
  const auto each = [](py::handle list, const auto& take) {
    PyObject** const items = PySequence_Fast_ITEMS(list.ptr());
    for (py::ssize_t i = 0; i < PySequence_Fast_GET_SIZE(list.ptr()); ++i) take(items[i]);
  };
  std::vector<KernelOperands> given;
  given.reserve(static_cast<std::size_t>(PySequence_Fast_GET_SIZE(arguments.ptr())));
  each(arguments, [&](py::handle argument) {
    KernelOperands& operands = given.emplace_back();
    if (argument.is_none()) return;
    if (!is_list(argument)) return operands.push_back(operand_of(argument));
    each(argument, [&](py::handle operand) { operands.push_back(operand_of(operand)); });
  });
  return given;
}

struct FunctionHint {
  static constexpr auto name = py::detail::const_name("_HostFunction");
};

/// The memory of an operand as the function sees it: an array that is valid during the call.
py::array array_of(const HostKernel::Operand& operand, bool writes) {
  std::vector<py::ssize_t> shape, strides;
  DataType type{};
  if (const auto* image = std::get_if<Image>(&operand.operand)) {
    const ImageSize& size = image->size();
    shape = {size.n, size.height, size.width, size.channels};
    type = image->format();
  } else {
    const auto& array = std::get<Array>(operand.operand);
    const std::vector<std::int64_t> extents = array.shape(), steps = array.strides();
    shape = {extents.begin(), extents.end()};
    strides = {steps.begin(), steps.end()};
    type = array.data_type();
  }
  // A base that owns nothing: the memory is not copied, and the kernel holds it while this runs.
  py::array array(py::dtype(std::string(name_of(type))), shape, strides, operand.data,
                  py::capsule(operand.data, [](void*) {}));
  if (!writes) array.attr("setflags")(py::arg("write") = false);
  return array;
}

py::list arrays_of(const std::vector<HostKernel::Operand>& operands, bool writes) {
  py::list arrays;
  for (const HostKernel::Operand& operand : operands) arrays.append(array_of(operand, writes));
  return arrays;
}

HostKernel make_host_kernel(const Hinted<FunctionHint>& function, const std::string& label) {
  using Operands = std::vector<HostKernel::Operand>;
  if (PyCallable_Check(function.ptr()) == 0)
    throw ArgumentTypeError("HostKernel: function: expected a function, got " + text_of(function));
  auto held = std::make_shared<SharedObject>(function);
  return HostKernel(
      [held](const Operands& reads, const Operands& writes) {
        if (callbacks_are_refused())
          throw StateError(
              "HostKernel: a Python function was to be called when the interpreter was "
              "about to end");
        py::gil_scoped_acquire gil;
        try {
          held->get()(*arrays_of(reads, false), *arrays_of(writes, true));
        } catch (py::error_already_set& error) {
          throw PythonError(error.what(), std::make_shared<SharedObject>(error.value()));
        }
      },
      label);
}

using KernelClass = py::class_<DeviceKernel>;

void bind_state(KernelClass& cls) {
  cls.def_property_readonly("state_bytes", &DeviceKernel::state_bytes,
                            "Bytes of the state kept on the device between encodes; 0: none.")
      .def(
          "read_state",
          [](const DeviceKernel& kernel) {
            std::string bytes(kernel.state_bytes(), '\0');
            {
              py::gil_scoped_release release;
              kernel.read_state(bytes.data(), bytes.size());
            }
            return py::bytes(bytes);
          },
          R"(Copies the state to the host; waits for work that changes it.

Returns:
    The bytes.

Raises:
    InvalidArgumentError: The class has no state.)")
      .def(
          "write_state",
          [](const DeviceKernel& kernel, const py::bytes& state) {
            const std::string bytes = state;
            py::gil_scoped_release release;
            kernel.write_state(bytes.data(), bytes.size());
          },
          py::arg("state"), R"(Replaces the state; waits for work that uses it.

Args:
    state: What `read_state` of a kernel of the same class gave.

Raises:
    InvalidArgumentError: Another number of bytes.)")
      .def("__repr__", &shown<DeviceKernel>);
}

void bind_device_kernel(py::module_& m) {
  KernelClass cls(m, "DeviceKernel",
                  R"(A kernel that is encoded by itself. Apple: MPSKernel.

Use the typed classes (`MatrixMultiplication`, …), which derive from it and add `encode`. A kernel may
be encoded from several threads at once, but not while a parameter is set.

Args:
    device: Where it runs.
    class_name: A class of the kernel table ("MatrixMultiplication").
    attributes: Its parameters by name.
    label: Name for errors and timelines; empty: the class's.
    kernel: Another object for the same kernel.

Raises:
    InvalidArgumentError: Unknown class, unknown or missing parameter, a value of the wrong type or
        range; the text names class and argument.)",
                  py::release_gil_before_calling_cpp_dtor());
  cls.def(py::init([](const Device& device, const std::string& class_name,
                      const Attributes& attributes, const std::string& label) {
            DeviceKernel kernel(device, class_name, attributes_of(attributes, class_name + ": "));
            if (!label.empty()) kernel.set_label(label);
            return kernel;
          }),
          py::arg("device"), py::arg("class_name"), py::arg("attributes") = Attributes(),
          py::kw_only(), py::arg("label") = "")
      .def(py::init<const DeviceKernel&>(), py::arg("kernel"))
      .def_property_readonly("class_name", &DeviceKernel::class_name, "Name of the kernel's class.")
      .def_property_readonly("device", &DeviceKernel::device, "Where it runs.")
      .def_property("label", &DeviceKernel::label, &DeviceKernel::set_label,
                    "Name for errors and timelines.")
      .def_property_readonly("attributes", &DeviceKernel::attributes,
                             "Every parameter with its value, defaults included.")
      .def(
          "set_attribute",
          [](DeviceKernel& kernel, const std::string& name, const py::object& value) {
            const std::string title =
                std::string(kernel.class_name()) + " \"" + kernel.label() + "\": ";
            kernel.set_attribute(name, attribute_value(title + name, value));
          },
          py::arg("name"), py::arg("value"), R"(Sets a parameter for later encodes.

Args:
    name: Of the parameter.
    value: Its new value.

Raises:
    InvalidArgumentError: Unknown name, a value out of range, or one that the kernel's state was made
        from.)")
      .def(
          "encode_method",
          [](const DeviceKernel& kernel, CommandBuffer& commands, std::string_view method,
             const Hinted<MethodOperandsHint>& operands, const Attributes& changed) {
            const std::vector<KernelOperands> given = method_operands_of(operands);
            AttributeMap changes;
            if (!changed.empty())
              changes = attributes_of(changed, std::string(kernel.class_name()) + ": ");
            py::gil_scoped_release release;
            kernel.encode_method(commands, method, given, changes);
          },
          py::arg("commands"), py::arg("method"), py::arg("operands"),
          py::arg("changed") = Attributes(),
          R"(Records the kernel; the typed classes' `encode` calls it.

Args:
    commands: Where it is recorded.
    method: One of the class's methods ("encode").
    operands: For each argument an operand, or a list of them where it takes several; None or an
        empty list where an optional one is left out.
    changed: Parameters that this encode has instead of the kernel's, by name.

Raises:
    InvalidArgumentError: Sizes or ranges that do not fit, operands that overlap.
    ArgumentTypeError: An operand of another kind or element type.
    UnsupportedError: The device has no kernel for the case.)");
  bind_state(cls);
}

void bind_kernel_sequence(py::module_& m) {
  py::class_<KernelSequence>(m, "KernelSequence",
                             R"(Kernels with their operands, encoded together as often as wanted.

They are checked and planned once, when they are added: what a loop records again and again, each time
over the same memory, takes about a quarter of the time on the host. A kernel has the parameters
that it had when it was added. May be encoded from several threads at once, but not while kernels are added.

Args:
    device: Where it runs.
    label: Name for errors and timelines.)",
                             py::release_gil_before_calling_cpp_dtor())
      .def(py::init<const Device&, std::string>(), py::arg("device"),
           py::arg("label") = "KernelSequence")
      .def_property_readonly("device", &KernelSequence::device, "Where it runs.")
      .def_property_readonly("label", &KernelSequence::label, "Name for errors and timelines.")
      .def("__len__", &KernelSequence::size)
      .def(
          "add",
          [](KernelSequence& sequence, const DeviceKernel& kernel,
             const Hinted<MethodOperandsHint>& operands, std::string_view method,
             const Attributes& changed) {
            const std::string title = std::string(kernel.class_name()) + ": ";
            sequence.add(kernel, method_operands_of(operands), method,
                         attributes_of(changed, title));
          },
          py::arg("kernel"), py::arg("operands"), py::kw_only(), py::arg("method") = "encode",
          py::arg("changed") = Attributes(), R"(Appends a kernel.

Args:
    kernel: Of the sequence's device.
    operands: What its `encode` takes behind the command buffer, in that order: operands, lists of them
        where it takes several, None or an empty list where an optional one is left out.
    method: Another of the class's methods.
    changed: Parameters that it has here instead of the kernel's, by name.

Raises:
    InvalidArgumentError: A kernel of another device, sizes or ranges that do not fit, operands that
        overlap. The sequence stays as it was.
    ArgumentTypeError: An operand of another kind or element type.
    UnsupportedError: The device has no kernel for the case.)")
      .def("encode", &KernelSequence::encode, py::arg("commands"),
           py::call_guard<py::gil_scoped_release>(),
           R"(Records the kernels in their order, under the predicate that the command buffer has.

Args:
    commands: Where they are recorded.

Raises:
    InvalidArgumentError: A command buffer of another device.)");
}

void bind_host_kernel(py::module_& m) {
  py::class_<HostKernel>(m, "HostKernel", R"(A function of one's own, encoded like any kernel.

It runs in its turn on the queue's thread, obeys predicates, and is ordered against other queues by
what it reads and writes; its exception becomes the command's error.

Args:
    function: Called with an array for each operand: those that are read (not writable), then those
        that are written. The arrays are the operands' own memory and valid during the call only.
    label: Name for errors and timelines.)",
                         py::release_gil_before_calling_cpp_dtor())
      .def(py::init(&make_host_kernel), py::arg("function"), py::arg("label") = "HostKernel")
      .def_property("label", &HostKernel::label, &HostKernel::set_label,
                    "Name for errors and timelines.")
      .def(
          "encode",
          [](const HostKernel& kernel, CommandBuffer& commands,
             const std::vector<OperandObject>& reads, const std::vector<OperandObject>& writes) {
            const KernelOperands read = operands_of(reads), written = operands_of(writes);
            py::gil_scoped_release release;
            kernel.encode(commands, read, written);
          },
          py::arg("commands"), py::arg("reads") = std::vector<OperandObject>(),
          py::arg("writes") = std::vector<OperandObject>(), R"(Records the function.

Args:
    commands: Where it is recorded.
    reads: Matrices, vectors, arrays and images that it reads.
    writes: Those that it writes.

Raises:
    InvalidArgumentError: An operand of another device.
    ArgumentTypeError: An operand that is none.
    UnsupportedError: The device's memory is not the host's.)");
}

}  // namespace

void bind_kernels(py::module_& m) {
  bind_device_kernel(m);
  bind_kernel_sequence(m);
  bind_host_kernel(m);
}

}  // namespace mpsnn::bindings
