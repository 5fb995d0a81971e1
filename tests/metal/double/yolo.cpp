// SPDX-License-Identifier: MIT
#include "yolo.h"

#include <algorithm>
#include <cmath>

namespace metal_double {
namespace {

constexpr int kConfidence = 4, kClasses = 5;
constexpr int kSquared = 1, kSoftMax = 2, kHuber = 6;  // Apple's numbers

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

struct Slope {
  double loss, slope;
};

Slope error(int type, double delta, double y, double t) {
  const double d = y - t, sign = d > 0 ? 1 : d < 0 ? -1 : 0;
  if (type == kSquared) return {d * d, 2 * d};
  if (type == kHuber && std::fabs(d) <= delta) return {0.5 * d * d, d};
  if (type == kHuber) return {delta * (std::fabs(d) - 0.5 * delta), delta * sign};
  return {std::fabs(d), sign};
}

Slope cross_entropy(double y, double t) {
  return {std::fmax(y, 0) - y * t + std::log(1 + std::exp(-std::fabs(y))), sigmoid(y) - t};
}

/// One cell of an image: predictions and labels of its boxes.
class Cell {
 public:
  Cell(const Pixels& predictions, const Pixels& labels, const Yolo& yolo, int y, int x)
      : predictions_(predictions),
        labels_(labels),
        yolo_(yolo),
        y_(y),
        x_(x),
        boxes_(static_cast<int>(yolo.anchors.size()) / 2),
        channels_(predictions.channels / boxes_) {}

  double write(Pixels& gradient) {
    each_box([&](int box) { overlaps_.push_back(overlap(box)); });
    int best = -1;
    each_box([&](int box) {
      if (has_object(box) && (best < 0 || overlaps_[at(box)] > overlaps_[at(best)])) best = box;
    });
    for (int c = 0; c < predictions_.channels; ++c) gradient.set(y_, x_, c, 0);
    double sum = 0;
    each_box([&](int box) {
      const double iou = overlaps_[at(box)];
      if (has_object(box) && (box == best || iou >= static_cast<double>(yolo_.presence))) {
        sum += answers(box, iou, gradient);
      } else if (iou < static_cast<double>(yolo_.absence)) {
        sum += add(gradient, box, kConfidence, yolo_.scale_no_object,
                   cross_entropy(predicted(box, kConfidence), 0));
      }
    });
    return sum;
  }

 private:
  template <class F>
  void each_box(F f) {
    for (int box = 0; box < boxes_; ++box) f(box);
  }
  static std::size_t at(int i) { return static_cast<std::size_t>(i); }
  double predicted(int box, int c) const {
    return static_cast<double>(predictions_.at(y_, x_, box * channels_ + c));
  }
  double label(int box, int c) const {
    return static_cast<double>(labels_.at(y_, x_, box * channels_ + c));
  }
  double anchor(int box, int side) const {
    return static_cast<double>(yolo_.anchors[at(2 * box + side)]);
  }
  bool has_object(int box) const { return label(box, kConfidence) > 0; }

  /// Shared area by area of both, in cells.
  double overlap(int box) const {
    if (!has_object(box)) return 0;
    double shared = 1, own = 1, wanted = 1;
    for (int side = 0; side < 2; ++side) {
      const double centre = sigmoid(predicted(box, side)), other = label(box, side);
      const double length = anchor(box, side) * std::exp(predicted(box, 2 + side));
      const double other_length = label(box, 2 + side);
      const double low = std::fmax(centre - length / 2, other - other_length / 2);
      const double high = std::fmin(centre + length / 2, other + other_length / 2);
      shared *= std::fmax(high - low, 0);
      own *= length;
      wanted *= other_length;
    }
    const double both = own + wanted - shared;
    return both > 0 ? shared / both : 0;
  }

  double add(Pixels& gradient, int box, int c, float scale, const Slope& of, double inner = 1) {
    const double factor = static_cast<double>(yolo_.weight) * static_cast<double>(scale);
    gradient.set(y_, x_, box * channels_ + c, factor * of.slope * inner);
    return factor * of.loss;
  }

  double answers(int box, double iou, Pixels& gradient) {
    const auto delta = static_cast<double>(yolo_.delta);
    double sum = 0;
    for (int side = 0; side < 2; ++side) {
      const double centre = sigmoid(predicted(box, side));
      sum += add(gradient, box, side, yolo_.scale_xy,
                 error(yolo_.xy, delta, centre, label(box, side)), centre * (1 - centre));
      const double wanted = std::log(label(box, 2 + side) / anchor(box, side));
      sum += add(gradient, box, 2 + side, yolo_.scale_wh,
                 error(yolo_.wh, delta, predicted(box, 2 + side), wanted));
    }
    sum += add(gradient, box, kConfidence, yolo_.scale_object,
               cross_entropy(predicted(box, kConfidence), yolo_.rescores ? iou : 1));
    double all = 0;
    for (int c = kClasses; c < channels_; ++c) all += std::exp(predicted(box, c));
    for (int c = kClasses; c < channels_; ++c) {
      const double y = predicted(box, c), t = label(box, c);
      const Slope soft = {-t * (y - std::log(all)), std::exp(y) / all - t};
      sum += add(gradient, box, c, yolo_.scale_class,
                 yolo_.classes == kSoftMax ? soft : cross_entropy(y, t));
    }
    return sum;
  }

  const Pixels &predictions_, &labels_;
  const Yolo& yolo_;
  const int y_, x_, boxes_, channels_;
  std::vector<double> overlaps_;
};

}  // namespace

double yolo_loss(const Pixels& predictions, const Pixels& labels, const Yolo& yolo,
                 Pixels& gradient) {
  double sum = 0;
  for (int y = 0; y < predictions.height; ++y)
    for (int x = 0; x < predictions.width; ++x)
      sum += Cell(predictions, labels, yolo, y, x).write(gradient);
  const auto boxes = static_cast<double>(yolo.anchors.size()) / 2;
  return yolo.is_mean ? sum / (boxes * predictions.height * predictions.width) : sum;
}

}  // namespace metal_double
