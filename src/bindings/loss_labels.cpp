// SPDX-License-Identifier: MIT
// Labels of a loss as a state.
#include "mpsnn/loss_labels.h"

#include <optional>
#include <string>
#include <utility>

#include <pybind11/stl.h>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/casters.h"

namespace mpsnn::bindings {
namespace {

struct LabelsHint {  // tools/gen_stubs.py says what it stands for
  static constexpr auto name = py::detail::const_name("_ImageLike");
};
using ImageLike = Hinted<LabelsHint>;

/// The image itself, or a new one with a copy of the array.
Image image_of(const Device& device, py::handle value, const std::string& what) {
  if (py::isinstance<Image>(value)) return value.cast<const Image&>();
  const FloatArray array = float_array(value, what);
  return {device, image_size(array, what), DataType::FLOAT32, array.data()};
}

LossLabels make(const Device& device, const ImageLike& labels,
                const std::optional<ImageLike>& weights, std::optional<ImageSize> loss_image_size,
                std::string label) {
  const std::string title = "LossLabels \"" + label + "\": ";
  std::optional<Image> factors;
  if (weights) factors = image_of(device, *weights, title + "weights");
  return {device, image_of(device, labels, title + "labels"), factors, loss_image_size,
          std::move(label)};
}

}  // namespace

void bind_loss_labels(py::module_& m) {
  py::class_<LossLabels>(m, "LossLabels", R"(Labels of a loss as a state. Apple: MPSCNNLossLabels.

Given to `Graph.encode` for a `LossNode` or `YOLOLossNode` without labels image, which leaves its loss
here.

Args:
    device: Where the images are.
    labels: `Image`, or float32 array, of the predictions' size. An array is copied.
    weights: Factor of each element's loss, of the labels' size. None: 1.
    loss_image_size: The labels' size (for reduction NONE) or (N, 1, 1, 1). None: as the loss's
        reduction says; another than that is an error at the encode.
    label: Name for errors.

Raises:
    InvalidArgumentError: A size does not fit, or an image is on another device.
    ArgumentTypeError: An array is not of float32.)",
                         py::release_gil_before_calling_cpp_dtor())
      .def(py::init(&make), py::arg("device"), py::arg("labels"), py::arg("weights") = py::none(),
           py::arg("loss_image_size") = py::none(), py::arg("label") = "")
      .def_property_readonly("device", &LossLabels::device, "Where the images are.")
      .def_property_readonly("label", &LossLabels::label, "Name for errors.")
      .def_property_readonly("labels_image", &LossLabels::labels_image, "The labels.",
                             py::return_value_policy::copy)
      .def_property_readonly("weights_image", &LossLabels::weights_image,
                             "The weights; None where there are none.",
                             py::return_value_policy::copy)
      .def_property_readonly("loss_image_size", &LossLabels::loss_image_size,
                             "The size that was given; None: the loss's reduction decides.",
                             py::return_value_policy::copy)
      .def_property_readonly("loss_image", &LossLabels::loss_image,
                             R"(The loss that the last encode with these labels leaves.

float32, a new image at each encode; reading it waits for the command buffer. Raises StateError where
there was no encode.)")
      .def("__repr__", [](const LossLabels& labels) {
        return "<mpsnn.LossLabels \"" + labels.label() + "\">";
      });
}

}  // namespace mpsnn::bindings
