// SPDX-License-Identifier: MIT
// Archives.
#include "mpsnn/archive.h"

#include <optional>

#include <pybind11/stl.h>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/casters.h"
#include "bindings/coding.h"

namespace mpsnn::bindings {
namespace {

using ReleaseGil = py::call_guard<py::gil_scoped_release>;

struct SecureHint {
  static constexpr auto name = py::detail::const_name("SecureCoding");
};
using SecureObject = Hinted<SecureHint>;
struct ClassesHint {
  static constexpr auto name =
      py::detail::const_name("collections.abc.Iterable[type[SecureCoding]]");
};

void encode_own(KeyedArchiver& archiver, const std::string& key, const SecureObject& object) {
  if (py::isinstance<DataSource>(object)) {
    throw ArgumentTypeError(
        "KeyedArchiver: encode: device: expected the one whose weights of the data source are "
        "wanted, got none");
  }
  if (py::isinstance<Optimizer>(object)) {
    throw ArgumentTypeError(
        "KeyedArchiver: encode: object: expected a DataSource with the optimizer, whose moments "
        "are "
        "stored with it, or a kernel such as OptimizerAdamUpdate, got " +
        type_name(object));
  }
  if (secure_class_of(object).empty()) {
    throw ArgumentTypeError(
        "KeyedArchiver: encode: object: expected a Graph, a DeviceKernel, an RNNLayer, a "
        "DataSource "
        "with a Device or a SecureCoding, got " +
        type_name(object));
  }
  archiver.encode(key, *shared_coding(object));
}

void bind_encoding_of_own(py::class_<KeyedArchiver>& archiver) {
  archiver
      .def("encode",
           py::overload_cast<const std::string&, const std::shared_ptr<DataSource>&, const Device&>(
               &KeyedArchiver::encode),
           py::arg("key"), py::arg("source"), py::arg("device"), ReleaseGil(),
           R"(Adds a data source by itself: its latest weights, its optimizer and moments.

Graphs of the same archive share it. Waits for committed work.

Args:
    key: Name of the data source in the archive.
    source: The data source.
    device: The device whose weights are stored.

Raises:
    InvalidArgumentError: An empty or repeated key.)")
      .def("encode", &encode_own, py::arg("key"), py::arg("object"),
           R"(Adds an object of a class of one's own, by its `encode`.

Args:
    key: Name of the object in the archive.
    object: The object.

Raises:
    InvalidArgumentError: An empty or repeated key.
    ArgumentTypeError: Its class is not SecureCoding.)");
}

void bind_archiver(py::module_& m) {
  py::class_<KeyedArchiver> cls(
      m, "KeyedArchiver", "Collects objects and writes them as one file. Apple: NSKeyedArchiver.",
      py::release_gil_before_calling_cpp_dtor());
  cls.def(py::init<>())
      .def("encode", py::overload_cast<const std::string&, const Graph&>(&KeyedArchiver::encode),
           py::arg("key"), py::arg("graph"), ReleaseGil(),
           R"(Adds a graph: nodes, data sources with their latest weights, optimizers and moments.

Data sources shared by graphs are stored once. Waits for committed work.

Args:
    key: Name of the graph in the archive.
    graph: The graph.

Raises:
    InvalidArgumentError: An empty or repeated key.)")
      .def("encode",
           py::overload_cast<const std::string&, const DeviceKernel&>(&KeyedArchiver::encode),
           py::arg("key"), py::arg("kernel"), ReleaseGil(),
           R"(Adds a kernel: class, label, parameters, and its state on the device as it is now.

A random number generator goes on where it stopped. Waits for committed work.

Args:
    key: Name of the kernel in the archive.
    kernel: The kernel.

Raises:
    InvalidArgumentError: An empty or repeated key.)")
      .def("encode", py::overload_cast<const std::string&, const RNNLayer&>(&KeyedArchiver::encode),
           py::arg("key"), py::arg("layer"), ReleaseGil(),
           R"(Adds a recurrent layer: class, label, properties and descriptors, and its weights.

Weights are data sources, which are stored as they are on the layer's device, with optimizers and
moments, and shared with graphs and other layers of the archive. The matrices that a training layer
is encoded with are the caller's. Waits for committed work.

Args:
    key: Name of the layer in the archive.
    layer: The layer.

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
  bind_encoding_of_own(cls);
}

struct KernelHint {
  static constexpr auto name = py::detail::const_name("DeviceKernel");
};

/// The kernel as an object of its typed class, which Python defines.
Hinted<KernelHint> typed(const DeviceKernel& kernel) {
  const py::object base = py::type::of<DeviceKernel>();
  const std::string name(kernel.class_name());
  const py::object cls = py::module_::import("mpsnn.kernels").attr(name.c_str());
  const py::object object = cls.attr("__new__")(cls);
  base.attr("__init__")(object, kernel);
  return Hinted<KernelHint>(object);
}

void bind_reading_of_own(py::class_<Archive>& archive) {
  archive
      .def("decode_data_source", &Archive::decode_data_source, py::arg("key"), ReleaseGil(),
           R"(Makes a stored data source with its weights and optimizer state.

Args:
    key: Name of the data source.

Returns:
    The data source; graphs of this archive that hold it share it.

Raises:
    InvalidArgumentError: There is no such key.
    ArchiveError: The archive is inconsistent, or the unarchiver was not given its class.)")
      .def(
          "decode_object",
          [](const Archive& from, const std::string& key) {
            std::shared_ptr<SecureCoding> object;
            {
              py::gil_scoped_release release;
              object = from.decode_object(key);
            }
            return SecureObject(object_of(object));
          },
          py::arg("key"), R"(Makes a stored object by its class's `decode`.

Args:
    key: Name of the object.

Returns:
    The object.

Raises:
    InvalidArgumentError: There is no such key.
    ArchiveError: The archive is inconsistent, or the unarchiver was not given its class.)");
}

void bind_reading_of_kernels(py::class_<Archive>& archive) {
  archive.def(
      "decode_kernel",
      [](const Archive& from, const std::string& key) {
        std::optional<DeviceKernel> kernel;
        {
          py::gil_scoped_release release;
          kernel = from.decode_kernel(key);
        }
        return typed(*kernel);
      },
      py::arg("key"), R"(Makes a stored kernel with its state.

Args:
    key: Name of the kernel.

Returns:
    The kernel, of its own class, on the unarchiver's device.

Raises:
    InvalidArgumentError: There is no such key.
    ArchiveError: The archive is inconsistent.)");
  archive.def("decode_recurrent_layer", &Archive::decode_recurrent_layer, py::arg("key"),
              ReleaseGil(),
              R"(Makes a stored recurrent layer with its weights.

Args:
    key: Name of the layer.

Returns:
    The layer, of its own class, on the unarchiver's device; graphs and other layers of this archive
    share its data sources.

Raises:
    InvalidArgumentError: There is no such key.
    ArchiveError: The archive is inconsistent, or the unarchiver was not given a data source's class.)");
}

void bind_reading(py::module_& m) {
  py::class_<Archive> cls(
      m, "Archive", "A file that was opened and checked. Its graphs share their data sources.",
      py::release_gil_before_calling_cpp_dtor());
  cls.def("keys", &Archive::keys, R"(Names of the graphs in the archive.

Returns:
    The keys.)")
      .def("kernel_keys", &Archive::kernel_keys, R"(Names of the kernels in the archive.

Returns:
    The keys.)")
      .def("recurrent_layer_keys", &Archive::recurrent_layer_keys,
           R"(Names of the recurrent layers in the archive.

Returns:
    The keys.)")
      .def("data_source_keys", &Archive::data_source_keys,
           R"(Names of the data sources that were added by themselves.

Returns:
    The keys.)")
      .def("object_keys", &Archive::object_keys, R"(Names of the objects of one's own classes.

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
  bind_reading_of_kernels(cls);
  bind_reading_of_own(cls);
  py::class_<KeyedUnarchiver>(m, "KeyedUnarchiver",
                              R"(Opens archives for a device. Apple: MPSKeyedUnarchiver.

Args:
    device: Where graphs are restored, whatever device they were trained on.
    classes: Classes of one's own, derived from `SecureCoding`, that may be restored; what an
        archive holds of others is refused.

Raises:
    InvalidArgumentError: Two classes of one name.
    ArgumentTypeError: A class that does not derive from `SecureCoding`.)",
                              py::release_gil_before_calling_cpp_dtor())
      .def(py::init([](const Device& device, const Hinted<ClassesHint>& classes) {
             KeyedUnarchiver unarchiver(device);
             for (const py::handle own : classes) {
               const auto object = py::reinterpret_borrow<py::object>(own);
               DecodeObject decode = decoder_of(object);
               unarchiver.allow(py::str(object.attr("__name__")), std::move(decode));
             }
             return unarchiver;
           }),
           py::arg("device"), py::arg("classes") = py::tuple())
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
