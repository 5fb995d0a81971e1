// SPDX-License-Identifier: MIT
// The loss of YOLO's object detection. Operations:
//   yolo_loss  predictions, labels -> gradient of the predictions, or the loss of each image
#include <limits>

#include "base/attributes.h"
#include "graph/lowering.h"
#include "graph/node_table.h"
#include "graph/ops/shapes.h"

namespace mpsnn::graph {
namespace {

constexpr double kFloatMax = std::numeric_limits<float>::max();
constexpr std::int64_t kBoxChannels = 5;  // x, y, width, height, confidence

std::int64_t anchors_of(const FilterRecord& node) {
  return static_cast<std::int64_t>(get_floats(node.attributes, "anchor_boxes").size()) / 2;
}

void check(const FilterRecord& node) {
  const std::vector<double>& boxes = get_floats(node.attributes, "anchor_boxes");
  if (boxes.empty() || boxes.size() % 2 != 0)
    fail(node, "anchor_boxes", "a width and a height for each anchor",
         str(boxes.size(), " values"));
  for (const double extent : boxes) {
    if (!(extent > 0)) fail(node, "anchor_boxes", "extents above 0", extent);
  }
}

ImageSize shape(const ShapeQuery& query) {
  const ImageSize& predictions = query.sources[0];
  const std::int64_t anchors = anchors_of(query.node);
  if (predictions.channels % anchors != 0 || predictions.channels / anchors <= kBoxChannels) {
    fail(query.node, "source",
         str("feature channels for ", anchors, " anchors of 5 and at least 1 class"),
         predictions.channels);
  }
  expect_size(query, 1, "labels", predictions);
  if (get_bool(query.node.attributes, "computes_loss")) return {predictions.n, 1, 1, 1};
  return predictions;
}

void lower(Lowering& to) {
  to.add(OpId::yolo_loss, {to.source(0), to.source(1)}, {to.result()}, to.node().attributes);
  const ValueId loss = to.source_state_result("loss", {to.source_size(0).n, 1, 1, 1});
  if (loss == kNoValue) return;
  AttributeMap attributes = to.node().attributes;
  attributes["computes_loss"] = true;
  to.add(OpId::yolo_loss, {to.source(0), to.source(1)}, {loss}, std::move(attributes));
}

AttributeSpec loss_type(std::string_view name, std::string_view doc, LossType value,
                        std::initializer_list<LossType> supported) {
  AttributeSpec spec = {.name = name,
                        .type = AttributeType::ENUM,
                        .doc = doc,
                        .default_value = static_cast<std::int64_t>(value),
                        .enum_name = "LossType"};
  for (const LossType each : supported) spec.supported.push_back(static_cast<std::int64_t>(each));
  return spec;
}

AttributeSpec number(std::string_view name, std::string_view doc, double value,
                     double minimum = -kFloatMax, double maximum = kFloatMax) {
  return {.name = name,
          .type = AttributeType::FLOAT,
          .doc = doc,
          .default_value = value,
          .minimum = minimum,
          .maximum = maximum};
}

AttributeSpec flag(std::string_view name, std::string_view doc, bool value) {
  return {.name = name, .type = AttributeType::BOOL, .doc = doc, .default_value = value};
}

std::vector<AttributeSpec> attributes() {
  using enum LossType;
  return {
      {.name = "anchor_boxes",
       .type = AttributeType::FLOATS,
       .doc = "width and height of each anchor, in cells",
       .minimum = 0,
       .maximum = kFloatMax},
      loss_type("xy_loss_type", "loss of the centres, after a sigmoid", MEAN_SQUARED_ERROR,
                {MEAN_ABSOLUTE_ERROR, MEAN_SQUARED_ERROR, HUBER}),
      loss_type("wh_loss_type", "loss of the extents' logarithms", HUBER,
                {MEAN_ABSOLUTE_ERROR, MEAN_SQUARED_ERROR, HUBER}),
      loss_type("classes_loss_type", "loss of the classes", SOFT_MAX_CROSS_ENTROPY,
                {SOFT_MAX_CROSS_ENTROPY, SIGMOID_CROSS_ENTROPY}),
      {.name = "reduction_type",
       .type = AttributeType::ENUM,
       .doc = "how the loss of an image becomes one value; never changes the gradient",
       .default_value = static_cast<std::int64_t>(ReductionType::SUM),
       .enum_name = "ReductionType",
       .supported = {static_cast<std::int64_t>(ReductionType::SUM),
                     static_cast<std::int64_t>(ReductionType::MEAN)}},
      number("weight", "factor of loss and gradient", 1.0),
      number("delta", "where a Huber loss turns linear", 1.0, 0.0),
      number("scale_xy", "factor of the centres' losses", 10.0),
      number("scale_wh", "factor of the extents' losses", 10.0),
      number("scale_no_object", "factor of the confidence's loss where there is no object", 5.0),
      number("scale_object", "factor of the confidence's loss where there is an object", 100.0),
      number("scale_class", "factor of the classes' loss", 2.0),
      number("minimum_iou_for_object_presence", "from this overlap on a box answers for its object",
             0.7, 0.0, 1.0),
      number("maximum_iou_for_object_absence",
             "below this overlap a box should say that there is no object", 0.3, 0.0, 1.0),
      flag("rescore", "the confidence of a box should be its overlap, not 1", true),
      flag("computes_loss", "the result is the loss of each image, not the gradient", false)};
}

constexpr std::string_view kDoc =
    R"(The result is the gradient of the loss with respect to the source; with computes_loss the loss itself.
It stands at the end of a net: `YOLOLossNode(source, labels, anchors).training_graph()` makes all
gradient nodes, with the result as the gradient of the source.

**Result size**: the source's; with computes_loss (N, 1, 1, 1).

**Channels** of source and labels: for each anchor box x, y, width, height, confidence and one for each class. The
source's are raw: the centre is (sigmoid(x), sigmoid(y)) within its cell, the extents are
anchor * exp(width), anchor * exp(height), in cells. The labels hold the object's centre within the cell, its
extents in cells, 1 where there is an object and 0 elsewhere, and the classes' probabilities.

**Boxes**: the overlap of a box is the area that predicted box and labelled box share, divided by the area that they
cover together; 0 where the labels have no object. A box answers for the object where its overlap is at least
minimum_iou_for_object_presence or the largest of the cell's boxes. It is empty where it does not answer and
its overlap is below maximum_iou_for_object_absence; others are left out.

**Loss** of a box that answers: scale_xy * xy_loss(centre, label) for x and y, scale_wh * wh_loss(raw, ln(label /
anchor)) for width and height, scale_class * classes_loss, and scale_object * the sigmoid cross entropy of the
confidence, which should be the overlap (with rescore) or 1. Of an empty box: scale_no_object * the sigmoid cross
entropy of the confidence, which should be 0. All of it times weight. Overlaps are constants in the gradient.
MEAN divides the loss by boxes, H * W * anchors.

**Labels** without an image come in a state, as Apple's do: `input_labels`, its handle "labels" at first, stands for the
LossLabels that is given to the encode, in which the loss of each image is left.

**Unlike Apple**: labels may be an image, too. Apple publishes the channels, scales and thresholds but no formula: which
box answers is decided here.)";

}  // namespace

std::vector<NodeClass> yolo_loss_nodes() {
  return {{.name = "YOLOLossNode",
           .apple = "MPSCNNYOLOLossNode",
           .family = "loss",
           .brief = "The gradient of the loss of YOLO's object detection",
           .doc = kDoc,
           .sources = {{.name = "source", .doc = "raw predictions", .derivative = Derivative::NONE},
                       {.name = "labels",
                        .doc = "image of the source's size",
                        .derivative = Derivative::NONE}},
           .attributes = attributes(),
           .starts_gradient = true,
           .has_labels = true,
           .check = check,
           .shape = shape,
           .lower = lower}};
}

}  // namespace mpsnn::graph
