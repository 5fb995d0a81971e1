// SPDX-License-Identifier: MIT
// Each C++ error class is one Python exception; they are translated here and nowhere else.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <new>
#include <type_traits>

#include <pybind11/gil_safe_call_once.h>

#include "bindings/bindings.h"

namespace mpsnn::bindings {
namespace {

constexpr std::size_t kNoBase = static_cast<std::size_t>(-1);

/// One exception: rows stand after the row of their base, so that a search from the end finds the
/// most derived class first.
struct ErrorRow {
  const char* name;
  std::size_t base;          // row of the base class
  PyObject* const* builtin;  // the built-in exception that it is as well
  const char* doc;
  bool (*matches)(const Error&);
  const char* number = nullptr;  // an integer attribute that its errors have beside the text
};

template <class T>
bool is([[maybe_unused]] const Error& error) {
  if constexpr (std::is_same_v<T, Error>) {
    return true;
  } else {
    return dynamic_cast<const T*>(&error) != nullptr;
  }
}

const std::array kErrors = {
    ErrorRow{
        "Error", kNoBase, &PyExc_Exception,
        "Base of all errors. The text names the node or argument, what was expected and what came.",
        is<Error>},
    ErrorRow{"InvalidArgumentError", 0, &PyExc_ValueError,
             "An argument has the right type but a wrong value, size or shape.",
             is<InvalidArgumentError>},
    ErrorRow{"ArgumentTypeError", 0, &PyExc_TypeError,
             "An argument has the wrong type or element type.", is<ArgumentTypeError>},
    ErrorRow{"UnsupportedError", 0, &PyExc_NotImplementedError,
             "The backend cannot do this case; the text says why.", is<UnsupportedError>},
    ErrorRow{"OutOfMemoryError", 0, &PyExc_MemoryError, "Memory of the host or device ran out.",
             is<OutOfMemoryError>},
    ErrorRow{"StateError", 0, &PyExc_RuntimeError,
             "An object is not in the state that the call needs.", is<StateError>},
    ErrorRow{"DeviceError", 0, &PyExc_RuntimeError,
             "A kernel failed on the device; the text holds its label.", is<DeviceError>},
    ErrorRow{"DeviceLostError", 6, nullptr,
             "The device itself is gone; its objects cannot be used any more.",
             is<DeviceLostError>},
    ErrorRow{"ArchiveError", 0, &PyExc_ValueError,
             "An archive is truncated, foreign or inconsistent.", is<ArchiveError>},
    ErrorRow{"FileError", 0, &PyExc_OSError, "A file could not be opened, read or written.",
             is<FileError>},
    ErrorRow{
        "BatchError", 0, &PyExc_RuntimeError,
        "A batch of a `Pipeline` failed: `batch` says which (from 0), `__cause__` is the failure.",
        is<BatchError>, "batch"},
    ErrorRow{
        "InternalError", 0, &PyExc_RuntimeError,
        "A rule that mpsnn itself must keep was broken: a defect in the library, please report it.",
        is<InternalError>},
};

using Classes = std::array<py::object, kErrors.size()>;

/// The exception classes, made once and never destroyed: a translator may run until the very end.
Classes& classes() {
  PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<Classes> storage;
  return storage.call_once_and_store_result([] { return Classes{}; }).get_stored();
}

py::object make_class(const ErrorRow& row) {
  py::list bases;
  if (row.base != kNoBase) bases.append(classes()[row.base]);
  if (row.builtin != nullptr) bases.append(py::handle(*row.builtin));
  const std::string name = std::string("mpsnn.") + row.name;
  PyObject* made =
      PyErr_NewExceptionWithDoc(name.c_str(), row.doc, py::tuple(bases).ptr(), nullptr);
  if (made == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(made);
}

/// Raises the Python exception; what is nested in the C++ one becomes its `__cause__`.
void raise(const Error& error) {
  for (std::size_t i = kErrors.size(); i-- > 0;) {
    if (!kErrors[i].matches(error)) continue;
    const py::object made = classes()[i](py::str(error.what()));
    const auto* nested = dynamic_cast<const std::nested_exception*>(&error);
    if (nested != nullptr && nested->nested_ptr())
      PyException_SetCause(made.ptr(), exception_object(nested->nested_ptr()).release().ptr());
    if (const auto* batch = dynamic_cast<const BatchError*>(&error))
      py::setattr(made, kErrors[i].number, py::int_(batch->batch()));
    PyErr_SetObject(classes()[i].ptr(), made.ptr());
    return;
  }
}

void translate(std::exception_ptr pointer) {
  try {
    std::rethrow_exception(std::move(pointer));
  } catch (const PythonError& error) {
    PyErr_SetObject(py::type::handle_of(error.exception()).ptr(), error.exception().ptr());
  } catch (const Error& error) {
    raise(error);
  }
}

}  // namespace

void bind_errors(py::module_& m) {
  for (std::size_t i = 0; i < kErrors.size(); ++i) {
    classes()[i] = make_class(kErrors[i]);
    // On the class so that stubs know it; each error has its own.
    if (kErrors[i].number != nullptr) classes()[i].attr(kErrors[i].number) = 0;
    m.attr(kErrors[i].name) = classes()[i];
  }
  py::register_local_exception_translator([](std::exception_ptr pointer) {
    if (pointer) translate(std::move(pointer));
  });
}

py::object exception_object(const std::exception_ptr& error) {
  if (!error) return py::none();
  try {
    translate(error);
  } catch (const std::bad_alloc& bad) {
    PyErr_SetString(PyExc_MemoryError, bad.what());
  } catch (const std::exception& other) {
    PyErr_SetString(PyExc_RuntimeError, other.what());
  }
  return py::error_already_set().value();
}

namespace {

std::atomic<bool>& refusing() {
  static std::atomic<bool> flag = false;
  return flag;
}

}  // namespace

void refuse_callbacks() noexcept { refusing() = true; }
bool callbacks_are_refused() noexcept { return refusing(); }

bool wait_in_slices(std::optional<double> seconds, const std::function<bool(double)>& wait) {
  constexpr double kSlice = 0.1;
  const auto started = std::chrono::steady_clock::now();
  double left = seconds.value_or(kSlice);
  while (true) {
    const bool is_last = seconds && !(left > kSlice);  // also what is no time, for `wait` to refuse
    {
      py::gil_scoped_release release;
      if (wait(is_last ? left : kSlice)) return true;
    }
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    if (is_last) return false;
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - started;
    if (seconds) left = std::max(*seconds - passed.count(), 0.0);
  }
}

SharedObject::~SharedObject() {
  if (Py_IsInitialized() == 0 || callbacks_are_refused()) {
    // The interpreter is gone, or going, and the object with it: there is nothing to give back.
    object_.release();
    return;
  }
  py::gil_scoped_acquire gil;
  object_ = py::object();
}

}  // namespace mpsnn::bindings
