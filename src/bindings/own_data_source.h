// SPDX-License-Identifier: MIT
// Data sources written in Python: classes that derive from one of ours. A shared_ptr that C++ holds
// keeps the Python object.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <pybind11/pybind11.h>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/coding.h"
#include "mpsnn/command_buffer.h"
#include "mpsnn/data_source.h"

namespace mpsnn::bindings {

/// Values of a parameter as a Python method gave them: a float32 array of the parameter's shape.
std::vector<float> given_values(const DataSource& source, const std::string& parameter,
                                py::handle object, const std::string& method);
/// Weights as `values` gave them, which may be of float16 or uint8, too; what explains uint8 is
/// None where there is no such method.
std::vector<float> given_weights(const ConvolutionDataSource& source, py::handle weights,
                                 const std::optional<py::object>& ranges,
                                 const std::optional<py::object>& lookup_table);
py::dict arrays_of(const DataSource& source, const ParameterValues& values);
ParameterValues given_arrays(const DataSource& source, py::handle object,
                             const std::string& method);
ParameterImages given_images(const DataSource& source, py::handle object,
                             const std::string& method);

/// Calls a Python method that the object's class has of its own, from any thread. `use` gets what
/// it returned. None where there is no such method.
template <class Base, class Use, class... Arguments>
auto call_override(const Base* self, const char* method, Use&& use, Arguments&&... arguments)
    -> std::optional<decltype(use(py::object()))> {
  if (callbacks_are_refused())
    throw StateError("a Python method was to be called when the interpreter was about to end");
  py::gil_scoped_acquire gil;
  const py::function function = py::get_override(self, method);
  if (!function) return std::nullopt;
  try {
    return use(function(std::forward<Arguments>(arguments)()...));
  } catch (py::error_already_set& error) {
    throw PythonError(error.what(), std::make_shared<SharedObject>(error.value()));
  }
}

template <class Base>
class OwnDataSource : public Base, public SecureCoding, public py::trampoline_self_life_support {
 public:
  using Base::Base;

  std::string secure_class_name() const override {
    const py::gil_scoped_acquire gil;
    return secure_class_of(py::cast(self()));
  }
  void encode(Coder& coder) const override {
    const py::gil_scoped_acquire gil;
    encode_object(py::cast(self()), coder);
  }

  bool load() const override {
    const auto loaded = call_override(
        self(), "load", [](const py::object& result) { return result.template cast<bool>(); });
    return loaded ? *loaded : Base::load();
  }

  void purge() const override {
    call_override(self(), "purge", [](const py::object&) { return true; });
  }

  std::vector<float> values(std::string_view parameter) const override {
    const std::string name(parameter);
    auto given = call_override(
        self(), "values",
        [&](const py::object& result) {
          if constexpr (std::is_base_of_v<ConvolutionDataSource, Base>) {
            if (name == "weights") return own_weights(result);
          }
          return given_values(*this, name, result, "values");
        },
        [&] { return py::str(name); });
    return given ? *std::move(given) : Base::values(parameter);
  }

  bool updates_itself(TrainingStyle style) const override {
    if (style == TrainingStyle::UPDATE_DEVICE_NONE || callbacks_are_refused()) return false;
    const char* const method = style == TrainingStyle::UPDATE_DEVICE_CPU
                                   ? "update_with_gradient_state"
                                   : "update_with_command_buffer";
    py::gil_scoped_acquire gil;
    return static_cast<bool>(py::get_override(self(), method));
  }

  std::optional<ParameterValues> update_with_gradient_state(
      const ParameterValues& gradient_state, const ParameterValues& source_state) override {
    constexpr const char* kMethod = "update_with_gradient_state";
    auto changed = call_override(
        self(), kMethod,
        [&](const py::object& result) -> std::optional<ParameterValues> {
          if (result.is_none()) return std::nullopt;
          return given_arrays(*this, result, kMethod);
        },
        [&] { return arrays_of(*this, gradient_state); },
        [&] { return arrays_of(*this, source_state); });
    return changed ? *std::move(changed) : std::nullopt;
  }

  std::optional<ParameterImages> update_with_command_buffer(
      CommandBuffer& commands, const ParameterImages& gradient_state,
      const ParameterImages& source_state) override {
    constexpr const char* kMethod = "update_with_command_buffer";
    auto changed = call_override(
        self(), kMethod,
        [&](const py::object& result) -> std::optional<ParameterImages> {
          if (result.is_none()) return std::nullopt;
          return given_images(*this, result, kMethod);
        },
        [&] { return py::cast(commands, py::return_value_policy::copy); },
        [&] { return images_of(gradient_state); }, [&] { return images_of(source_state); });
    return changed ? *std::move(changed) : std::nullopt;
  }

 private:
  std::vector<float> own_weights(const py::object& weights) const {
    const auto explained = [this](const char* method) {
      return call_override(self(), method, [](const py::object& result) { return result; });
    };
    return given_weights(*this, weights, explained("ranges_for_uint8_kernel"),
                         explained("lookup_table_for_uint8_kernel"));
  }

  static py::dict images_of(const ParameterImages& images) {
    py::dict dict;
    for (const auto& [name, image] : images) dict[py::str(name)] = py::cast(image);
    return dict;
  }
  const Base* self() const noexcept { return this; }
};

}  // namespace mpsnn::bindings
