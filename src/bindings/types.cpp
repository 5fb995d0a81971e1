// SPDX-License-Identifier: MIT
// Enumerations and plain descriptors.
#include <string>

#include <pybind11/native_enum.h>
#include <pybind11/pybind11.h>

#include "bindings/bindings.h"
#include "bindings/casters.h"
#include "mpsnn/command_buffer.h"
#include "mpsnn/data_source.h"
#include "mpsnn/loss.h"
#include "mpsnn/types.h"

namespace mpsnn::bindings {
namespace {

void bind_enums(py::module_& m) {
  py::native_enum<DataType>(m, "DataType", "enum.Enum", "Element type of images and buffers.")
      .value("FLOAT32", DataType::FLOAT32)
      .value("FLOAT16", DataType::FLOAT16)
      .value("INT32", DataType::INT32)
      .value("UINT32", DataType::UINT32)
      .value("UINT8", DataType::UINT8)
      .value("INT64", DataType::INT64)
      .value("INT8", DataType::INT8)
      .value("INT16", DataType::INT16)
      .value("UINT16", DataType::UINT16)
      .finalize();
  py::native_enum<NeuronType>(m, "NeuronType", "enum.IntEnum",
                              "Neuron (activation) kinds. Apple: MPSCNNNeuronType.")
      .value("NONE", NeuronType::NONE)
      .value("RELU", NeuronType::RELU)
      .value("LINEAR", NeuronType::LINEAR)
      .value("SIGMOID", NeuronType::SIGMOID)
      .value("HARD_SIGMOID", NeuronType::HARD_SIGMOID)
      .value("TANH", NeuronType::TANH)
      .value("ABSOLUTE", NeuronType::ABSOLUTE)
      .value("SOFT_PLUS", NeuronType::SOFT_PLUS)
      .value("SOFT_SIGN", NeuronType::SOFT_SIGN)
      .value("ELU", NeuronType::ELU)
      .value("PRELU", NeuronType::PRELU)
      .value("RELUN", NeuronType::RELUN)
      .value("POWER", NeuronType::POWER)
      .value("EXPONENTIAL", NeuronType::EXPONENTIAL)
      .value("LOGARITHM", NeuronType::LOGARITHM)
      .value("GELU", NeuronType::GELU)
      .finalize();
  py::native_enum<ImageEdgeMode>(
      m, "ImageEdgeMode", "enum.IntEnum",
      "What a kernel reads outside of its source image. Apple: MPSImageEdgeMode.")
      .value("ZERO", ImageEdgeMode::ZERO)
      .value("CLAMP", ImageEdgeMode::CLAMP)
      .value("MIRROR", ImageEdgeMode::MIRROR)
      .value("MIRROR_WITH_EDGE", ImageEdgeMode::MIRROR_WITH_EDGE)
      .value("CONSTANT", ImageEdgeMode::CONSTANT)
      .finalize();
  py::native_enum<DataLayout>(
      m, "DataLayout", "enum.IntEnum",
      "Order of an image's values outside of images: by pixels or channels. Apple: MPSDataLayout.")
      .value("HWC", DataLayout::HWC)
      .value("CHW", DataLayout::CHW)
      .finalize();
  py::native_enum<AlphaType>(
      m, "AlphaType", "enum.IntEnum",
      "What the last channel of an image says about its colours. Apple: MPSAlphaType.")
      .value("NON_PREMULTIPLIED", AlphaType::NON_PREMULTIPLIED)
      .value("ALPHA_IS_ONE", AlphaType::ALPHA_IS_ONE)
      .value("PREMULTIPLIED", AlphaType::PREMULTIPLIED)
      .finalize();
  py::native_enum<ComparisonType>(m, "ComparisonType", "enum.IntEnum",
                                  "How two values are compared. Apple: MPSNNComparisonType.")
      .value("EQUAL", ComparisonType::EQUAL)
      .value("NOT_EQUAL", ComparisonType::NOT_EQUAL)
      .value("LESS", ComparisonType::LESS)
      .value("LESS_OR_EQUAL", ComparisonType::LESS_OR_EQUAL)
      .value("GREATER", ComparisonType::GREATER)
      .value("GREATER_OR_EQUAL", ComparisonType::GREATER_OR_EQUAL)
      .finalize();
  py::native_enum<BinaryConvolutionType>(
      m, "BinaryConvolutionType", "enum.IntEnum",
      "What a binary convolution makes binary. Apple: MPSCNNBinaryConvolutionType.")
      .value("BINARY_WEIGHTS", BinaryConvolutionType::BINARY_WEIGHTS)
      .value("XNOR", BinaryConvolutionType::XNOR)
      .value("AND", BinaryConvolutionType::AND)
      .finalize();
}

void bind_loss_and_training_enums(py::module_& m) {
  py::native_enum<LossType>(m, "LossType", "enum.IntEnum", "Loss kinds. Apple: MPSCNNLossType.")
      .value("MEAN_ABSOLUTE_ERROR", LossType::MEAN_ABSOLUTE_ERROR)
      .value("MEAN_SQUARED_ERROR", LossType::MEAN_SQUARED_ERROR)
      .value("SOFT_MAX_CROSS_ENTROPY", LossType::SOFT_MAX_CROSS_ENTROPY)
      .value("SIGMOID_CROSS_ENTROPY", LossType::SIGMOID_CROSS_ENTROPY)
      .value("CATEGORICAL_CROSS_ENTROPY", LossType::CATEGORICAL_CROSS_ENTROPY)
      .value("HINGE", LossType::HINGE)
      .value("HUBER", LossType::HUBER)
      .value("COSINE_DISTANCE", LossType::COSINE_DISTANCE)
      .value("LOG", LossType::LOG)
      .value("KULLBACK_LEIBLER_DIVERGENCE", LossType::KULLBACK_LEIBLER_DIVERGENCE)
      .finalize();
  py::native_enum<ReductionType>(
      m, "ReductionType", "enum.IntEnum",
      "How a loss image is reduced; never changes a gradient. Apple: MPSCNNReductionType.")
      .value("NONE", ReductionType::NONE)
      .value("SUM", ReductionType::SUM)
      .value("MEAN", ReductionType::MEAN)
      .value("SUM_BY_NON_ZERO_WEIGHTS", ReductionType::SUM_BY_NON_ZERO_WEIGHTS)
      .finalize();
  py::native_enum<RegularizationType>(
      m, "RegularizationType", "enum.IntEnum",
      "How an optimizer regularises. Apple: MPSNNRegularizationType.")
      .value("NONE", RegularizationType::NONE)
      .value("L1", RegularizationType::L1)
      .value("L2", RegularizationType::L2)
      .finalize();
  py::native_enum<WeightsQuantizationType>(
      m, "WeightsQuantizationType", "enum.IntEnum",
      R"(How 8-bit weights stand for numbers. Apple: MPSCNNWeightsQuantizationType.

NONE: they are float32 or float16. LINEAR: u / 255 * (maximum - minimum) + minimum, by the output
channel's range. LOOKUP_TABLE: the u-th of 256 numbers.)")
      .value("NONE", WeightsQuantizationType::NONE)
      .value("LINEAR", WeightsQuantizationType::LINEAR)
      .value("LOOKUP_TABLE", WeightsQuantizationType::LOOKUP_TABLE)
      .finalize();
  py::native_enum<MatrixDecompositionStatus>(
      m, "MatrixDecompositionStatus", "enum.IntEnum",
      "What a decomposition of a matrix came to. Apple: MPSMatrixDecompositionStatus.")
      .value("SUCCESS", MatrixDecompositionStatus::SUCCESS)
      .value("FAILURE", MatrixDecompositionStatus::FAILURE)
      .value("SINGULAR", MatrixDecompositionStatus::SINGULAR)
      .value("NON_POSITIVE_DEFINITE", MatrixDecompositionStatus::NON_POSITIVE_DEFINITE)
      .finalize();
  py::native_enum<BatchNormalizationFlags>(
      m, "BatchNormalizationFlags", "enum.IntEnum",
      R"(Which statistics a batch normalisation uses. Apple: MPSCNNBatchNormalizationFlags.

DEFAULT: those of the batch where the graph holds its gradient node, the stored ones elsewhere.)")
      .value("DEFAULT", BatchNormalizationFlags::DEFAULT)
      .value("CALCULATE_STATISTICS_ALWAYS", BatchNormalizationFlags::CALCULATE_STATISTICS_ALWAYS)
      .value("CALCULATE_STATISTICS_NEVER", BatchNormalizationFlags::CALCULATE_STATISTICS_NEVER)
      .finalize();
  py::native_enum<TrainingStyle>(
      m, "TrainingStyle", "enum.IntEnum",
      "When weights are updated from their gradients. Apple: MPSNNTrainingStyle.")
      .value("UPDATE_DEVICE_NONE", TrainingStyle::UPDATE_DEVICE_NONE)
      .value("UPDATE_DEVICE_CPU", TrainingStyle::UPDATE_DEVICE_CPU)
      .value("UPDATE_DEVICE_GPU", TrainingStyle::UPDATE_DEVICE_GPU)
      .finalize();
  py::native_enum<CommandBufferStatus>(
      m, "CommandBufferStatus", "enum.IntEnum",
      "Where a command buffer stands. Apple: MTLCommandBufferStatus.")
      .value("NOT_ENQUEUED", CommandBufferStatus::NOT_ENQUEUED)
      .value("ENQUEUED", CommandBufferStatus::ENQUEUED)
      .value("COMMITTED", CommandBufferStatus::COMMITTED)
      .value("SCHEDULED", CommandBufferStatus::SCHEDULED)
      .value("COMPLETED", CommandBufferStatus::COMPLETED)
      .value("ERROR", CommandBufferStatus::ERROR)
      .finalize();
}

/// The bits of a padding method are constants of a struct in C++, an IntFlag in Python.
void bind_padding_method(py::module_& m) {
  py::dict bits;
  bits["ALIGN_CENTERED"] = PaddingMethod::ALIGN_CENTERED;
  bits["ALIGN_TOP_LEFT"] = PaddingMethod::ALIGN_TOP_LEFT;
  bits["ALIGN_BOTTOM_RIGHT"] = PaddingMethod::ALIGN_BOTTOM_RIGHT;
  bits["ADD_REMAINDER_TO_TOP_LEFT"] = PaddingMethod::ADD_REMAINDER_TO_TOP_LEFT;
  bits["ADD_REMAINDER_TO_TOP_RIGHT"] = PaddingMethod::ADD_REMAINDER_TO_TOP_RIGHT;
  bits["ADD_REMAINDER_TO_BOTTOM_LEFT"] = PaddingMethod::ADD_REMAINDER_TO_BOTTOM_LEFT;
  bits["ADD_REMAINDER_TO_BOTTOM_RIGHT"] = PaddingMethod::ADD_REMAINDER_TO_BOTTOM_RIGHT;
  bits["SIZE_VALID_ONLY"] = PaddingMethod::SIZE_VALID_ONLY;
  bits["SIZE_SAME"] = PaddingMethod::SIZE_SAME;
  bits["SIZE_FULL"] = PaddingMethod::SIZE_FULL;
  bits["CUSTOM_ALLOW_FOR_NODE_FUSION"] = PaddingMethod::CUSTOM_ALLOW_FOR_NODE_FUSION;
  bits["CUSTOM"] = PaddingMethod::CUSTOM;
  bits["EXCLUDE_EDGES"] = PaddingMethod::EXCLUDE_EDGES;
  py::object flag = py::module_::import("enum").attr("IntFlag");
  py::object made = flag("PaddingMethod", bits, py::arg("module") = m.attr("__name__"));
  made.attr("__doc__") =
      "Bits of a padding method: alignment | remainder | size. Apple: MPSNNPaddingMethod.";
  m.attr("PaddingMethod") = made;
}

void bind_loss_descriptor(py::module_& m) {
  const LossDescriptor d;
  py::class_<LossDescriptor>(m, "LossDescriptor",
                             R"(What a loss computes. Apple: MPSCNNLossDescriptor.

Args:
    loss_type: The loss of one value.
    reduction_type: How the values of one image are reduced. Never changes a gradient.
    weight: Scales loss and gradient.
    label_smoothing: Smoothing of the labels, for the cross entropies.
    number_of_classes: Classes among which labels are smoothed.
    epsilon: Added inside of logarithms.
    delta: Where the Huber loss turns linear.
    reduce_across_batch: Reduce over the batch as well: the total stands in the first image, the
        others are zero.)")
      .def(py::init([](LossType loss_type, ReductionType reduction_type, double weight,
                       double label_smoothing, std::int64_t number_of_classes, double epsilon,
                       double delta, bool reduce_across_batch) {
             return LossDescriptor{loss_type,         reduction_type, weight, label_smoothing,
                                   number_of_classes, epsilon,        delta,  reduce_across_batch};
           }),
           py::arg("loss_type"), py::arg("reduction_type") = d.reduction_type,
           py::arg("weight") = d.weight, py::arg("label_smoothing") = d.label_smoothing,
           py::arg("number_of_classes") = d.number_of_classes, py::arg("epsilon") = d.epsilon,
           py::arg("delta") = d.delta, py::arg("reduce_across_batch") = d.reduce_across_batch)
      .def_readwrite("loss_type", &LossDescriptor::loss_type)
      .def_readwrite("reduction_type", &LossDescriptor::reduction_type)
      .def_readwrite("weight", &LossDescriptor::weight)
      .def_readwrite("label_smoothing", &LossDescriptor::label_smoothing)
      .def_readwrite("number_of_classes", &LossDescriptor::number_of_classes)
      .def_readwrite("epsilon", &LossDescriptor::epsilon)
      .def_readwrite("delta", &LossDescriptor::delta)
      .def_readwrite("reduce_across_batch", &LossDescriptor::reduce_across_batch)
      .def(
          "__eq__", [](const LossDescriptor& a, const LossDescriptor& b) { return a == b; },
          py::is_operator())
      .def("__repr__", [](const LossDescriptor& descriptor) {
        return py::str("LossDescriptor({!s}, {!s}, weight={})")
            .format(py::cast(descriptor.loss_type), py::cast(descriptor.reduction_type),
                    descriptor.weight);
      });
}

void bind_yolo_loss_descriptor(py::module_& m) {
  using Descriptor = YOLOLossDescriptor;
  const Descriptor d;
  py::class_<Descriptor>(m, "YOLOLossDescriptor",
                         R"(What a YOLO loss computes. Apple: MPSCNNYOLOLossDescriptor.

Apple nests a `LossDescriptor` for each part and uses their types, weights and deltas: here the types
stand side by side, one delta serves the Huber losses, and a part's weight is a factor of its scale.
The confidence's loss is the sigmoid cross entropy.

Args:
    anchor_boxes: Width and height of each anchor, in cells.
    xy_loss_type: Loss of the centres, after a sigmoid.
    wh_loss_type: Loss of the extents' logarithms.
    classes_loss_type: Loss of the classes.
    reduction_type: How the loss of an image becomes one value. Never changes a gradient.
    weight: Scales loss and gradient.
    delta: Where a Huber loss turns linear.
    scale_xy: Factor of the centres' losses.
    scale_wh: Factor of the extents' losses.
    scale_no_object: Factor of the confidence's loss where there is no object.
    scale_object: Factor of the confidence's loss where there is an object.
    scale_class: Factor of the classes' loss.
    minimum_iou_for_object_presence: From this overlap on a box answers for its object.
    maximum_iou_for_object_absence: Below this overlap a box should say that there is no object.
    rescore: The confidence of a box should be its overlap, not 1.)")
      .def(py::init([](std::vector<double> anchor_boxes, LossType xy, LossType wh, LossType classes,
                       ReductionType reduction, double weight, double delta, double scale_xy,
                       double scale_wh, double scale_no_object, double scale_object,
                       double scale_class, double presence, double absence, bool rescore) {
             return Descriptor{std::move(anchor_boxes),
                               xy,
                               wh,
                               classes,
                               reduction,
                               weight,
                               delta,
                               scale_xy,
                               scale_wh,
                               scale_no_object,
                               scale_object,
                               scale_class,
                               presence,
                               absence,
                               rescore};
           }),
           py::arg("anchor_boxes"), py::kw_only(), py::arg("xy_loss_type") = d.xy_loss_type,
           py::arg("wh_loss_type") = d.wh_loss_type,
           py::arg("classes_loss_type") = d.classes_loss_type,
           py::arg("reduction_type") = d.reduction_type, py::arg("weight") = d.weight,
           py::arg("delta") = d.delta, py::arg("scale_xy") = d.scale_xy,
           py::arg("scale_wh") = d.scale_wh, py::arg("scale_no_object") = d.scale_no_object,
           py::arg("scale_object") = d.scale_object, py::arg("scale_class") = d.scale_class,
           py::arg("minimum_iou_for_object_presence") = d.minimum_iou_for_object_presence,
           py::arg("maximum_iou_for_object_absence") = d.maximum_iou_for_object_absence,
           py::arg("rescore") = d.rescore)
      .def_readwrite("anchor_boxes", &Descriptor::anchor_boxes)
      .def_readwrite("xy_loss_type", &Descriptor::xy_loss_type)
      .def_readwrite("wh_loss_type", &Descriptor::wh_loss_type)
      .def_readwrite("classes_loss_type", &Descriptor::classes_loss_type)
      .def_readwrite("reduction_type", &Descriptor::reduction_type)
      .def_readwrite("weight", &Descriptor::weight)
      .def_readwrite("delta", &Descriptor::delta)
      .def_readwrite("scale_xy", &Descriptor::scale_xy)
      .def_readwrite("scale_wh", &Descriptor::scale_wh)
      .def_readwrite("scale_no_object", &Descriptor::scale_no_object)
      .def_readwrite("scale_object", &Descriptor::scale_object)
      .def_readwrite("scale_class", &Descriptor::scale_class)
      .def_readwrite("minimum_iou_for_object_presence",
                     &Descriptor::minimum_iou_for_object_presence)
      .def_readwrite("maximum_iou_for_object_absence", &Descriptor::maximum_iou_for_object_absence)
      .def_readwrite("rescore", &Descriptor::rescore)
      .def(
          "__eq__", [](const Descriptor& a, const Descriptor& b) { return a == b; },
          py::is_operator());
}

}  // namespace

void bind_types(py::module_& m) {
  bind_enums(m);
  bind_loss_and_training_enums(m);
  bind_padding_method(m);
  bind_loss_descriptor(m);
  bind_yolo_loss_descriptor(m);
}

}  // namespace mpsnn::bindings
