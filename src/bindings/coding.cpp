// SPDX-License-Identifier: MIT
#include "bindings/coding.h"

#include <array>
#include <utility>

#include <pybind11/stl.h>

#include "bindings/arrays.h"
#include "bindings/attributes.h"
#include "bindings/casters.h"
#include "mpsnn/data_source.h"

namespace mpsnn::bindings {
namespace {

py::object secure_coding() { return py::module_::import("mpsnn.coding").attr("SecureCoding"); }

std::string name_of_class(py::handle cls) { return py::str(cls.attr("__name__")); }

class PythonObject final : public SecureCoding {
 public:
  explicit PythonObject(py::object object) : object_(std::move(object)) {}
  const py::object& get() const noexcept { return object_.get(); }
  std::string secure_class_name() const override {
    const py::gil_scoped_acquire gil;
    return secure_class_of(get());
  }
  void encode(Coder& coder) const override {
    const py::gil_scoped_acquire gil;
    encode_object(get(), coder);
  }

 private:
  SharedObject object_;
};

struct ValueHint {
  static constexpr auto name = py::detail::const_name(
      "bool | int | float | str | list[int] | list[float] | numpy.typing.NDArray[numpy.float32]");
};

py::object value_of(const Coder& coder, const std::string& key) {
  if (!coder.arrays().contains(key)) return py::cast(coder.decode(key));
  const Coder::Array& array = coder.decode_array(key);
  return shaped(array.values, array.shape);
}

void store(Coder& coder, const std::string& key, const py::object& value) {
  if (!py::isinstance<py::array>(value))
    return coder.encode(key, attribute_value("Coder: encode: \"" + key + "\"", value));
  const FloatArray array = float_array(value, "Coder: encode: \"" + key + "\"");
  coder.encode(key, Coder::Array{{array.shape(), array.shape() + array.ndim()}, values_of(array)});
}

}  // namespace

std::string secure_class_of(py::handle object) {
  if (!py::isinstance(object, secure_coding())) return {};
  return name_of_class(py::type::handle_of(object));
}

void encode_object(py::handle object, Coder& coder) {
  try {
    const py::object mine = py::cast(Coder());
    object.attr("encode")(mine);
    coder = mine.cast<const Coder&>();
  } catch (py::error_already_set& error) {
    throw PythonError(error.what(), std::make_shared<SharedObject>(error.value()));
  }
}

std::shared_ptr<SecureCoding> shared_coding(py::object object) {
  return std::make_shared<PythonObject>(std::move(object));
}

py::object object_of(const std::shared_ptr<SecureCoding>& object) {
  if (const auto* own = dynamic_cast<const PythonObject*>(object.get())) return own->get();
  return py::cast(std::dynamic_pointer_cast<DataSource>(object));
}

DecodeObject decoder_of(const py::object& cls) {
  if (!py::isinstance<py::type>(cls) ||
      PyObject_IsSubclass(cls.ptr(), secure_coding().ptr()) != 1) {
    throw ArgumentTypeError(
        "KeyedUnarchiver: classes: expected classes that derive from SecureCoding, got " +
        text_of(cls));
  }
  auto held = std::make_shared<SharedObject>(cls);
  return [held](const Coder& coder) -> std::shared_ptr<SecureCoding> {
    const py::gil_scoped_acquire gil;
    try {
      py::object object = held->get().attr("decode")(coder);
      if (!py::isinstance(object, held->get())) {
        throw ArgumentTypeError(name_of_class(held->get()) +
                                ": decode: expected an object of it, got " + type_name(object));
      }
      if (!py::isinstance<DataSource>(object)) return shared_coding(std::move(object));
      return std::dynamic_pointer_cast<SecureCoding>(object.cast<std::shared_ptr<DataSource>>());
    } catch (py::error_already_set& error) {
      throw PythonError(error.what(), std::make_shared<SharedObject>(error.value()));
    }
  };
}

void bind_coder(py::module_& m) {
  py::class_<Coder>(m, "Coder",
                    R"(What an object stores of itself: values and arrays by key. Apple: NSCoder.

`SecureCoding.encode` gets one to fill, `SecureCoding.decode` one to read.)")
      .def(py::init<>())
      .def(
          "encode",
          [](Coder& coder, const std::string& key, const Hinted<ValueHint>& value) {
            store(coder, key, value);
          },
          py::arg("key"), py::arg("value"), R"(Stores a value or an array.

Args:
    key: Its name.
    value: True or False, an integer of 64 bits, a number, a text, a list of integers or of
        numbers, or a float32 array.

Raises:
    InvalidArgumentError: An empty or repeated key.
    ArgumentTypeError: Something else, or an array of another element type.)")
      .def(
          "decode",
          [](const Coder& coder, const std::string& key) {
            return Hinted<ValueHint>(value_of(coder, key));
          },
          py::arg("key"), R"(What was stored under a key.

Args:
    key: Its name.

Returns:
    The value, or a new array.

Raises:
    ArchiveError: Nothing was.)")
      .def("__contains__", &Coder::contains, py::arg("key"))
      .def(
          "keys",
          [](const Coder& coder) {
            std::vector<std::string> keys;
            for (const auto& entry : coder.values()) keys.push_back(entry.first);
            for (const auto& entry : coder.arrays()) keys.push_back(entry.first);
            return keys;
          },
          R"(All keys, those of values first.

Returns:
    The keys.)");
}

}  // namespace mpsnn::bindings
