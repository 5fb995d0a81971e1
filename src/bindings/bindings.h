// SPDX-License-Identifier: MIT
// The parts of the native module `mpsnn._core`, one function a concern, and what they share.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <pybind11/pybind11.h>

#include "mpsnn/error.h"
#include "mpsnn/node.h"

namespace mpsnn::bindings {

namespace py = pybind11;

/// What `repr` shows of an object whose class may be derived from. Tracebacks and debuggers show
/// objects whose constructor has failed, too: pybind11 would hand out memory that nobody wrote.
template <class T>
std::string shown(py::handle self) {
  auto* const object = reinterpret_cast<py::detail::instance*>(self.ptr());
  if (!object->get_value_and_holder().holder_constructed())
    return "<mpsnn." + std::string(py::str(py::type::handle_of(self).attr("__name__"))) +
           ", not constructed>";
  const T& value = self.cast<const T&>();
  return "<mpsnn." + std::string(value.class_name()) + " \"" + value.label() + "\">";
}

void bind_errors(py::module_& m);
void bind_types(py::module_& m);
void bind_random(py::module_& m);
void bind_paddings(py::module_& m);
void bind_optimizers(py::module_& m);
void bind_data_sources(py::module_& m);
void bind_normalization_data_sources(py::module_& m);
void bind_nodes(py::module_& m);
void bind_node_table(py::module_& m);
void bind_device(py::module_& m);
void bind_buffers_and_events(py::module_& m);
void bind_images(py::module_& m);
void bind_matrices(py::module_& m);
void bind_matrix_copy(py::module_& m);
void bind_command_buffers(py::module_& m);
void bind_loss_labels(py::module_& m);
void bind_kernels(py::module_& m);
void bind_recurrent_descriptors(py::module_& m);
void bind_recurrent_layers(py::module_& m);
void bind_graph(py::module_& m);
void bind_coder(py::module_& m);
void bind_archive(py::module_& m);
void bind_traces(py::module_& m);
void bind_libraries(py::module_& m);

/// A Python object that any thread may hold and drop.
class SharedObject {
 public:
  explicit SharedObject(py::object object) : object_(std::move(object)) {}
  SharedObject(const SharedObject&) = delete;
  SharedObject& operator=(const SharedObject&) = delete;
  ~SharedObject();
  /// The caller holds the GIL.
  const py::object& get() const noexcept { return object_; }

 private:
  py::object object_;
};

/// A Python exception on its way through C++: from a handler on a queue's thread to whoever waits.
/// Unlike py::error_already_set it may be raised more than once.
class PythonError : public Error {
 public:
  PythonError(const std::string& text, std::shared_ptr<SharedObject> exception)
      : Error(text), exception_(std::move(exception)) {}
  const py::object& exception() const noexcept { return exception_->get(); }

 private:
  std::shared_ptr<SharedObject> exception_;
};

/// Whether refuse_callbacks was called.
bool callbacks_are_refused() noexcept;

/// Calls a Python function from any thread; its exception becomes a PythonError.
template <class... Arguments>
std::function<void(Arguments...)> callback(py::object function) {
  if (PyCallable_Check(function.ptr()) == 0) {
    throw ArgumentTypeError("handler: expected a function, got " + std::string(py::repr(function)));
  }
  auto held = std::make_shared<SharedObject>(std::move(function));
  return [held](Arguments... arguments) {
    if (callbacks_are_refused())
      throw StateError("a Python function was to be called when the interpreter was about to end");
    py::gil_scoped_acquire gil;
    try {
      held->get()(std::forward<Arguments>(arguments)...);
    } catch (py::error_already_set& error) {
      throw PythonError(error.what(), std::make_shared<SharedObject>(error.value()));
    }
  };
}

/// Waits without the GIL, in slices between which Ctrl-C is looked for. `wait` gets the seconds of
/// a slice and says whether the wait has ended. Returns false when the time was over before.
bool wait_in_slices(std::optional<double> seconds, const std::function<bool(double)>& wait);

/// From then on no Python function is called from other threads: the interpreter is about to end.
void refuse_callbacks() noexcept;

/// The Python exception object for a C++ one; None for null.
py::object exception_object(const std::exception_ptr& error);

}  // namespace mpsnn::bindings
