// SPDX-License-Identifier: MIT
// The loss of YOLO's object detection. Apple publishes its parameters and no formula: it is as the
// library documents it.
#pragma once

#include "ops.h"

namespace metal_double {

struct Yolo {
  std::vector<float> anchors;  // width and height of each
  int xy, wh, classes;         // types of losses, as Apple numbers them
  float weight, delta, scale_xy, scale_wh, scale_no_object, scale_object, scale_class;
  float presence, absence;
  bool rescores, is_mean;
};

/// Writes the gradient of the predictions, and returns the loss.
double yolo_loss(const Pixels& predictions, const Pixels& labels, const Yolo& yolo,
                 Pixels& gradient);

}  // namespace metal_double
