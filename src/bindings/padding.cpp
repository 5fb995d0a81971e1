// SPDX-License-Identifier: MIT
// Padding policies, those written in Python among them.
#include "mpsnn/padding.h"

#include <optional>
#include <string>
#include <utility>

#include <pybind11/stl.h>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/casters.h"
#include "bindings/own_data_source.h"

namespace mpsnn::bindings {
namespace {

struct MethodHint {
  static constexpr auto name = py::detail::const_name("PaddingMethod");
};

/// A class that derives from Padding in Python.
class OwnPadding : public Padding, public py::trampoline_self_life_support {
 public:
  std::string label() const override {
    const auto given =
        call_override(static_cast<const Padding*>(this), "label",
                      [](const py::object& text) -> std::string { return py::str(text); });
    return given ? *given : class_name();
  }

  std::int64_t padding_method() const override {
    const auto given =
        call_override(static_cast<const Padding*>(this), "padding_method",
                      [](const py::object& bits) { return bits.cast<std::int64_t>(); });
    return given ? *given : Padding::padding_method();
  }

  PaddingPlacement destination(const PaddingQuery& query) const override {
    const auto given = call_override(
        static_cast<const Padding*>(this), "destination",
        [&](const py::object& placed) {
          if (!py::isinstance<PaddingPlacement>(placed)) {
            throw ArgumentTypeError("padding_policy (" + label() +
                                    "): expected a PaddingPlacement, got " + type_name(placed));
          }
          return placed.cast<PaddingPlacement>();
        },
        [&] { return py::cast(query); });
    if (given) return *given;
    throw UnsupportedError("padding_policy (" + label() +
                           "): expected a class that overrides destination, got one without");
  }

 private:
  std::string class_name() const {
    py::gil_scoped_acquire gil;
    return type_name(py::cast(static_cast<const Padding*>(this)));
  }
};

void bind_placement(py::module_& m) {
  using Placement = PaddingPlacement;
  py::class_<Placement>(m, "PaddingPlacement",
                        R"(Size of a filter's result, and where its windows lie.

Args:
    height: Rows of the result.
    width: Columns of the result.
    offset_y: Row of the source on which the first window is centred: it begins k // 2 before it, k being
        (kernel - 1) * dilation + 1.
    offset_x: The same for columns.
    edge_mode: What is read outside of the source. None: the node's own.)")
      .def(py::init([](std::int64_t height, std::int64_t width, std::int64_t offset_y,
                       std::int64_t offset_x, std::optional<ImageEdgeMode> edge_mode) {
             return Placement{height, width, offset_y, offset_x, edge_mode};
           }),
           py::arg("height"), py::arg("width"), py::arg("offset_y"), py::arg("offset_x"),
           py::arg("edge_mode") = py::none())
      .def_readwrite("height", &Placement::height, "Rows of the result.")
      .def_readwrite("width", &Placement::width, "Columns of the result.")
      .def_readwrite("offset_y", &Placement::offset_y, "Row that the first window is centred on.")
      .def_readwrite("offset_x", &Placement::offset_x,
                     "Column that the first window is centred on.")
      .def_readwrite("edge_mode", &Placement::edge_mode, "What is read outside of the source.")
      .def(
          "__eq__", [](const Placement& a, const Placement& b) { return a == b; },
          py::is_operator())
      .def("__repr__", [](const Placement& p) {
        return py::str("mpsnn.PaddingPlacement({}, {}, {}, {})")
            .format(p.height, p.width, p.offset_y, p.offset_x);
      });
}

void bind_query(py::module_& m) {
  using Query = PaddingQuery;
  py::class_<Query>(m, "PaddingQuery", R"(What a padding policy of one's own is asked.

A transposed convolution asks about its source with the zeros put in and windows of stride 1.)")
      .def_readonly("label", &Query::label, "The node's.")
      .def_readonly("source_height", &Query::source_height, "Rows of the source.")
      .def_readonly("source_width", &Query::source_width, "Columns of the source.")
      .def_readonly("kernel_height", &Query::kernel_height, "Rows of a window.")
      .def_readonly("kernel_width", &Query::kernel_width, "Columns of a window.")
      .def_readonly("stride_in_pixels_y", &Query::stride_in_pixels_y, "Rows from window to window.")
      .def_readonly("stride_in_pixels_x", &Query::stride_in_pixels_x,
                    "Columns from window to window.")
      .def_readonly("dilation_rate_y", &Query::dilation_rate_y, "Rows within a window.")
      .def_readonly("dilation_rate_x", &Query::dilation_rate_x, "Columns within a window.")
      .def_readonly("suggested", &Query::suggested, "What the bits of padding_method say.");
}

void bind_padding(py::module_& m) {
  py::class_<Padding, OwnPadding, py::smart_holder>(
      m, "Padding",
      R"(Base of padding policies of one's own. Apple: MPSNNPadding, with the bit Custom.

A class overrides `destination`, and `label` and `padding_method` where it wants to. Called when a plan
is made, from any thread; the same query must have the same answer. Gradient nodes ask the policy of
their forward nodes.)")
      .def(py::init<>())
      .def(
          "label", [](const Padding& self) { return self.Padding::label(); }, "How errors call it.")
      .def(
          "padding_method", [](const Padding& self) { return self.Padding::padding_method(); },
          "Bits of `PaddingMethod` from which the suggestion is made.")
      .def(
          "destination",
          [](const Padding& /*self*/, const PaddingQuery& query) { return query.suggested; },
          py::arg("query"), R"(The placement. To be overridden.

Args:
    query: Source, windows, and what the bits suggest.

Returns:
    Size and offsets. Every window must touch the source.)");
}

using PolicyClass = py::class_<PaddingPolicy>;

void bind_ready_ones(PolicyClass& policy) {
  policy
      .def_static("with_pads", &PaddingPolicy::with_pads, py::arg("left"), py::arg("top"),
                  py::arg("right"), py::arg("bottom"),
                  R"(As PyTorch pads convolutions: zeros around the source.

The result has (n + before + after - k) // stride + 1 rows or columns, with k = (kernel - 1) * dilation +
1; that of a transposed convolution (n - 1) * stride + k - before - after.

Args:
    left: Columns before the source.
    top: Rows before the source.
    right: Columns behind the source.
    bottom: Rows behind the source.

Returns:
    The policy.)")
      .def_static("tensorflow_average_pooling", &PaddingPolicy::tensorflow_average_pooling,
                  R"(Same size, remainder to the bottom right, edge mode CLAMP.

Apple: paddingForTensorflowAveragePooling.

Returns:
    The policy.)")
      .def_static(
          "tensorflow_average_pooling_valid_only",
          &PaddingPolicy::tensorflow_average_pooling_valid_only,
          R"(Valid only, edge mode CLAMP. Apple: paddingForTensorflowAveragePoolingValidOnly.

Returns:
    The policy.)");
}

std::string text_of(const PaddingPolicy& policy) {
  if (policy.own) return "PaddingPolicy(" + policy.own->label() + ")";
  if (!policy.pads) return "PaddingPolicy(" + std::to_string(policy.method) + ")";
  std::string text;
  for (const std::int64_t pad : *policy.pads)
    text += (text.empty() ? "" : ", ") + std::to_string(pad);
  return "PaddingPolicy.with_pads(" + text + ")";
}

}  // namespace

void bind_paddings(py::module_& m) {
  bind_placement(m);
  bind_query(m);
  bind_padding(m);
  PolicyClass policy(
      m, "PaddingPolicy",
      R"(How a filter sizes and places its result. Apple: MPSNNPadding, MPSNNDefaultPadding.

Args:
    method: Bits of `PaddingMethod`. Default: centred, remainder to the top left, same size.
    padding: A policy of one's own, in the place of the bits.)");
  policy
      .def(py::init([](std::int64_t method) { return PaddingPolicy{.method = method}; }),
           py::arg_v("method", PaddingPolicy{}.method, "16"))
      .def(py::init(&PaddingPolicy::of), py::arg("padding"))
      .def_property_readonly(
          "method",
          [m](const PaddingPolicy& self) {
            return Hinted<MethodHint>(m.attr("PaddingMethod")(self.method));
          },
          "Bits of `PaddingMethod`.")
      .def_readonly("pads", &PaddingPolicy::pads,
                    "Left, top, right, bottom; None: as the method says.")
      .def_readonly("edge_mode", &PaddingPolicy::edge_mode,
                    "What is read outside of the source; None: the node's own.")
      .def_property_readonly(
          "padding",
          [](const PaddingPolicy& self) -> py::typing::Optional<Padding> {
            return py::cast(self.own);
          },
          "The policy of one's own; None where there is none.")
      .def(
          "__eq__", [](const PaddingPolicy& a, const PaddingPolicy& b) { return a == b; },
          py::is_operator())
      .def("__hash__",
           [](const PaddingPolicy& self) { return std::hash<std::int64_t>()(self.method); })
      .def("__repr__", &text_of);
  bind_ready_ones(policy);
}

}  // namespace mpsnn::bindings
