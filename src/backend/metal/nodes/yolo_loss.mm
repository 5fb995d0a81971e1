// SPDX-License-Identifier: MIT
// YOLO's loss. Its formula is Apple's own: the header has the parameters only.
#include "backend/metal/lowering.h"
#include "base/attributes.h"
#include "graph/node_table.h"

namespace mpsnn::backend::metal {
namespace {

using graph::FilterRecord;

NSData* anchors_of(const FilterRecord& node) {
  const std::vector<double>& boxes = get_floats(node.attributes, "anchor_boxes");
  const std::vector<float> values(boxes.begin(), boxes.end());
  return [NSData dataWithBytes:values.data() length:values.size() * sizeof(float)];
}

MPSCNNYOLOLossDescriptor* descriptor_of(const FilterRecord& node) {
  const AttributeMap& a = node.attributes;
  const auto type = [&](std::string_view name) {
    return static_cast<MPSCNNLossType>(get_int(a, name));
  };
  const auto number = [&](std::string_view name) { return static_cast<float>(get_float(a, name)); };
  MPSCNNYOLOLossDescriptor* made = [MPSCNNYOLOLossDescriptor
      cnnLossDescriptorWithXYLossType:type("xy_loss_type")
                           WHLossType:type("wh_loss_type")
                   confidenceLossType:MPSCNNLossTypeSigmoidCrossEntropy
                      classesLossType:type("classes_loss_type")
                        reductionType:static_cast<MPSCNNReductionType>(get_int(a, "reduction_type"))
                          anchorBoxes:anchors_of(node)
                  numberOfAnchorBoxes:get_floats(a, "anchor_boxes").size() / 2];
  for (MPSCNNLossDescriptor* part : {[made XYLossDescriptor],
                                     [made WHLossDescriptor],
                                     [made confidenceLossDescriptor],
                                     [made classesLossDescriptor]}) {
    [part setWeight:number("weight")];
    [part setDelta:number("delta")];
  }
  [made setScaleXY:number("scale_xy")];
  [made setScaleWH:number("scale_wh")];
  [made setScaleNoObject:number("scale_no_object")];
  [made setScaleObject:number("scale_object")];
  [made setScaleClass:number("scale_class")];
  [made setMinIOUForObjectPresence:number("minimum_iou_for_object_presence")];
  [made setMaxIOUForObjectAbsence:number("maximum_iou_for_object_absence")];
  [made setRescore:get_bool(a, "rescore") ? YES : NO];
  return made;
}

}  // namespace

bool has_label_state(const FilterRecord& node) { return node.node_class->name == "YOLOLossNode"; }

std::string refuse_yolo_loss(const NodeCase& node) {
  if (get_bool(node.node.attributes, "computes_loss"))
    return "computes_loss: MPS's result is the gradient; it leaves the loss in the labels' state";
  if (node.node.sources[1].record()->producer != nullptr)
    return "labels: MPS takes them in a state, so that they must be given to the encode";
  return {};
}

void lower_yolo_loss(Builder& builder, const FilterRecord& node) {
  MPSCNNYOLOLossNode* made = [MPSCNNYOLOLossNode nodeWithSource:builder.source(node, 0)
                                                 lossDescriptor:descriptor_of(node)];
  builder.set_labels(node, [made inputLabels]);
  builder.finish(node, made);
}

}  // namespace mpsnn::backend::metal
