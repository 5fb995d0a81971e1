// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <vector>

#include "mpsnn/types.h"

namespace mpsnn {

/// What a loss computes; formulas in docs/reference/nodes.md. Apple: MPSCNNLossDescriptor.
struct LossDescriptor {
  LossType loss_type = LossType::MEAN_SQUARED_ERROR;
  /// How the values of one image are reduced. Never changes a gradient.
  ReductionType reduction_type = ReductionType::MEAN;
  /// Scales loss and gradient.
  double weight = 1.0;
  double label_smoothing = 0.0;
  std::int64_t number_of_classes = 1;
  double epsilon = 1e-7;
  double delta = 1.0;
  /// Reduce over the batch as well: the total stands in the first image, the others are zero.
  bool reduce_across_batch = false;
  friend bool operator==(const LossDescriptor&, const LossDescriptor&) = default;
};

/// What a YOLO loss computes; formulas in docs/reference/nodes.md. Apple nests a LossDescriptor for
/// each part and uses their types, weights and deltas: here the types stand side by side, one delta
/// serves the Huber losses, and a part's weight is a factor of its scale. The confidence's loss is
/// the sigmoid cross entropy. Apple: MPSCNNYOLOLossDescriptor.
struct YOLOLossDescriptor {
  /// Width and height of each anchor, in cells.
  std::vector<double> anchor_boxes = {};
  LossType xy_loss_type = LossType::MEAN_SQUARED_ERROR;
  LossType wh_loss_type = LossType::HUBER;
  LossType classes_loss_type = LossType::SOFT_MAX_CROSS_ENTROPY;
  /// How the loss of an image becomes one value. Never changes a gradient.
  ReductionType reduction_type = ReductionType::SUM;
  /// Scales loss and gradient.
  double weight = 1.0;
  double delta = 1.0;
  double scale_xy = 10.0, scale_wh = 10.0;
  double scale_no_object = 5.0, scale_object = 100.0, scale_class = 2.0;
  double minimum_iou_for_object_presence = 0.7, maximum_iou_for_object_absence = 0.3;
  /// The confidence of a box should be its overlap, not 1.
  bool rescore = true;
  friend bool operator==(const YOLOLossDescriptor&, const YOLOLossDescriptor&) = default;
};

}  // namespace mpsnn
