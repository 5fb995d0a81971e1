// SPDX-License-Identifier: MIT
// yolo_loss: box by box, in double. The images are small: a few hundred cells.
#include <algorithm>
#include <cmath>
#include <vector>

#include "backend/cpu/ops/kernel_tools.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/parallel.h"
#include "base/attributes.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

enum Channel { X, Y, WIDTH, HEIGHT, CONFIDENCE, CLASSES };

struct Yolo {
  std::int64_t images, cells, anchors, box_size;  // channels of a box
  std::vector<double> boxes;
  LossType xy, wh, classes;
  double weight, delta, scale_xy, scale_wh, scale_no_object, scale_object, scale_class;
  double presence, absence;
  bool rescore, computes_loss, mean;

  explicit Yolo(const KernelQuery& query) : boxes(get_floats(query.attributes, "anchor_boxes")) {
    const AttributeMap& a = query.attributes;
    const ImageSize size = query.inputs[0].image();
    images = size.n;
    cells = size.height * size.width;
    anchors = static_cast<std::int64_t>(boxes.size()) / 2;
    check_internal(anchors > 0 && size.channels % anchors == 0,
                   "channels are those of the anchors");
    box_size = size.channels / anchors;
    xy = static_cast<LossType>(get_int(a, "xy_loss_type"));
    wh = static_cast<LossType>(get_int(a, "wh_loss_type"));
    classes = static_cast<LossType>(get_int(a, "classes_loss_type"));
    weight = get_float(a, "weight"), delta = get_float(a, "delta");
    scale_xy = get_float(a, "scale_xy"), scale_wh = get_float(a, "scale_wh");
    scale_no_object = get_float(a, "scale_no_object");
    scale_object = get_float(a, "scale_object"), scale_class = get_float(a, "scale_class");
    presence = get_float(a, "minimum_iou_for_object_presence");
    absence = get_float(a, "maximum_iou_for_object_absence");
    rescore = get_bool(a, "rescore"), computes_loss = get_bool(a, "computes_loss");
    mean = static_cast<ReductionType>(get_int(a, "reduction_type")) == ReductionType::MEAN;
  }
  std::int64_t channels() const noexcept { return anchors * box_size; }
};

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

/// A loss with its derivative.
struct Term {
  double value, slope;
};

Term distance(LossType type, double delta, double y, double t) {
  const double d = y - t, size = std::abs(d);
  if (type == LossType::MEAN_SQUARED_ERROR) return {d * d, 2 * d};
  if (type == LossType::HUBER) {
    if (size <= delta) return {d * d / 2, d};
    return {delta * (size - delta / 2), d > 0 ? delta : -delta};
  }
  const double not_above = d < 0 ? -1 : d - d;  // 0 at equality, NaN for NaN
  return {size, d > 0 ? 1 : not_above};
}

Term sigmoid_entropy(double y, double t) {
  return {std::max(y, 0.0) - y * t + std::log1p(std::exp(-std::abs(y))), sigmoid(y) - t};
}

/// How much two intervals, by centre and length, have in common.
double shared_length(double a, double a_length, double b, double b_length) {
  const double first = std::max(a - a_length / 2, b - b_length / 2),
               last = std::min(a + a_length / 2, b + b_length / 2);
  return std::max(last - first, 0.0);
}

/// The overlap of the predicted and the labelled box; 0 without an object.
double overlap(const Yolo& l, std::int64_t anchor, const float* p, const float* t) {
  if (!(t[CONFIDENCE] > 0)) return 0;
  const std::vector<double> label(t, t + CLASSES);
  const double width = l.boxes[2 * anchor] * std::exp(static_cast<double>(p[WIDTH])),
               height = l.boxes[2 * anchor + 1] * std::exp(static_cast<double>(p[HEIGHT]));
  const double inside =
      shared_length(sigmoid(static_cast<double>(p[X])), width, label[X], label[WIDTH]) *
      shared_length(sigmoid(static_cast<double>(p[Y])), height, label[Y], label[HEIGHT]);
  const double together = width * height + label[WIDTH] * label[HEIGHT] - inside;
  return together > 0 ? inside / together : 0;
}

/// The loss of the classes, and its slopes where `out` is given.
double class_loss(const Yolo& l, const float* p, const float* t, double scale, float* out) {
  const std::int64_t count = l.box_size - CLASSES;
  double total = 0, most = static_cast<double>(p[0]), sum = 0;
  const bool softmax = l.classes == LossType::SOFT_MAX_CROSS_ENTROPY;
  for (std::int64_t k = 0; k < count; ++k) most = std::max(most, static_cast<double>(p[k]));
  for (std::int64_t k = 0; k < count; ++k) sum += std::exp(static_cast<double>(p[k]) - most);
  for (std::int64_t k = 0; k < count; ++k) {
    const auto y = static_cast<double>(p[k]), label = static_cast<double>(t[k]);
    const double logarithm = y - most - std::log(sum);
    const Term term = softmax
                          ? Term{label == 0 ? 0 : -label * logarithm, std::exp(logarithm) - label}
                          : sigmoid_entropy(y, label);
    total += scale * term.value;
    if (out != nullptr) out[k] = static_cast<float>(scale * term.slope);
  }
  return total;
}

/// The loss of a box that answers for its object.
double object_loss(const Yolo& l, std::int64_t anchor, const float* p, const float* t, double iou,
                   float* out) {
  double total = 0;
  const auto add = [&](Channel channel, double scale, const Term& term, double inner) {
    total += l.weight * scale * term.value;
    if (out != nullptr) out[channel] = static_cast<float>(l.weight * scale * term.slope * inner);
  };
  for (const Channel channel : {X, Y}) {
    const double centre = sigmoid(static_cast<double>(p[channel]));
    add(channel, l.scale_xy, distance(l.xy, l.delta, centre, static_cast<double>(t[channel])),
        centre * (1 - centre));
  }
  for (const Channel channel : {WIDTH, HEIGHT}) {
    const double wanted =
        std::log(static_cast<double>(t[channel]) / l.boxes[2 * anchor + channel - WIDTH]);
    add(channel, l.scale_wh, distance(l.wh, l.delta, static_cast<double>(p[channel]), wanted), 1);
  }
  add(CONFIDENCE, l.scale_object,
      sigmoid_entropy(static_cast<double>(p[CONFIDENCE]), l.rescore ? iou : 1), 1);
  return total + class_loss(l, p + CLASSES, t + CLASSES, l.weight * l.scale_class,
                            out != nullptr ? out + CLASSES : nullptr);
}

/// The loss of one cell; its slopes go to `out` where that is given.
double cell_loss(const Yolo& l, const float* predictions, const float* labels, float* out) {
  double total = 0, best = 0;
  std::int64_t best_anchor = -1;
  std::vector<double> overlaps;
  for (std::int64_t a = 0; a < l.anchors; ++a) {
    const float* const t = labels + a * l.box_size;
    overlaps.push_back(overlap(l, a, predictions + a * l.box_size, t));
    if (t[CONFIDENCE] > 0 && (best_anchor < 0 || overlaps.back() > best)) {
      best = overlaps.back();
      best_anchor = a;
    }
  }
  for (std::int64_t a = 0; a < l.anchors; ++a) {
    const float *const p = predictions + a * l.box_size, *const t = labels + a * l.box_size;
    float* const own = out != nullptr ? out + a * l.box_size : nullptr;
    if (own != nullptr) std::fill_n(own, l.box_size, 0.0F);
    if (t[CONFIDENCE] > 0 && (a == best_anchor || overlaps[a] >= l.presence)) {
      total += object_loss(l, a, p, t, overlaps[a], own);
    } else if (overlaps[a] < l.absence) {
      const Term term = sigmoid_entropy(static_cast<double>(p[CONFIDENCE]), 0);
      const double scale = l.weight * l.scale_no_object;
      total += scale * term.value;
      if (own != nullptr) own[CONFIDENCE] = static_cast<float>(scale * term.slope);
    }
  }
  return total;
}

void run(const Yolo& l, const KernelArgs& args) {
  auto* const losses = static_cast<double*>(args.scratch);
  parallel_for(l.images * l.cells, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t at = i * l.channels();
      losses[i] = cell_loss(l, args.input<float>(0) + at, args.input<float>(1) + at,
                            l.computes_loss ? nullptr : args.output<float>(0) + at);
    }
  });
  if (!l.computes_loss) return;
  for (std::int64_t image = 0; image < l.images; ++image) {
    double total = 0;
    for (std::int64_t i = image * l.cells; i < (image + 1) * l.cells; ++i) total += losses[i];
    const double count = l.mean ? static_cast<double>(l.cells * l.anchors) : 1;
    args.output<float>(0)[image] = static_cast<float>(total / count);
  }
}

}  // namespace

Fit fits_yolo_loss_plain(const KernelQuery& query) { return all_plain_float32(query); }

std::shared_ptr<Kernel> prepare_yolo_loss_plain(const KernelQuery& query) {
  const Yolo yolo(query);
  return make_kernel([yolo](const KernelArgs& args) { run(yolo, args); },
                     static_cast<std::size_t>(yolo.images * yolo.cells) * sizeof(double));
}

}  // namespace mpsnn::backend::cpu
