// SPDX-License-Identifier: MIT
// Losses. Operations:
//   loss           predictions, labels, weights? -> loss
//   loss_gradient  gradient, predictions, labels, weights? -> gradient of one of the others
#include <limits>
#include <utility>

#include "base/attributes.h"
#include "graph/lowering.h"
#include "graph/node_table.h"
#include "graph/ops/shapes.h"

namespace mpsnn::graph {
namespace {

constexpr double kFloatMax = std::numeric_limits<float>::max();
constexpr std::size_t kLabels = 1, kWeights = 2;  // sources of the forward node

bool is_cosine(const FilterRecord& node) {
  return static_cast<LossType>(get_int(node.attributes, "loss_type")) == LossType::COSINE_DISTANCE;
}

/// A cosine distance is of a whole image, and so is its weight.
void check_has_no_weights(const FilterRecord& node) {
  if (is_cosine(node)) fail(node, "weights", "none for a cosine distance", "an image");
}

ImageSize size_of_loss(const FilterRecord& node, const ImageSize& predictions) {
  const auto none = static_cast<std::int64_t>(ReductionType::NONE);
  if (get_int(node.attributes, "reduction_type") == none) return predictions;
  return {predictions.n, 1, 1, 1};
}

/// Checks predictions, labels and weights, which start at source `first`; the loss image's size.
ImageSize loss_size(const ShapeQuery& query, std::size_t first) {
  const ImageSize& predictions = query.sources[first];
  expect_size(query, first + 1, "labels", predictions);
  if (query.sources.size() > first + 2) {
    expect_size(query, first + 2, "weights", predictions);
    check_has_no_weights(query.node);
  }
  return size_of_loss(query.node, predictions);
}

ImageSize forward_shape(const ShapeQuery& query) { return loss_size(query, 0); }

ImageSize gradient_shape(const ShapeQuery& query) {
  const ImageSize loss = loss_size(query, 1);
  // The gradient is broadcast: one value an image serves a loss that was not reduced as well.
  const ImageSize one_an_image = {loss.n, 1, 1, 1};
  if (query.sources[0] != one_an_image) expect_size(query, 0, "source_gradient", loss);
  return query.sources[1];
}

void check(const FilterRecord& node) {
  if (!is_cosine(node)) return;
  const std::int64_t reduction = get_int(node.attributes, "reduction_type");
  if (reduction != static_cast<std::int64_t>(ReductionType::SUM)) {
    fail(node, "reduction_type", "SUM for a cosine distance",
         enumerator_name("ReductionType", reduction));
  }
  const std::size_t most = node.node_class->gradient ? 3 : 2;
  if (node.sources.size() > most && !node.input_state) check_has_no_weights(node);
}

void check_gradient(const FilterRecord& node) {
  check(node);
  if (!get_bool(node.attributes, "is_weights_gradient")) return;
  if (get_bool(node.attributes, "is_labels_gradient"))
    fail(node, "is_weights_gradient", "false where is_labels_gradient is true", "true");
  if (node.sources.size() <= kWeights + 1)
    fail(node, "weights", "an image where is_weights_gradient is true", "none");
}

template <OpId op>
void lower(Lowering& to) {
  std::vector<ValueId> sources;
  for (std::size_t i = 0; i < to.node().sources.size(); ++i) sources.push_back(to.source(i));
  to.add(op, std::move(sources), {to.result()}, to.node().attributes);
}

ImageSize start_shape(const ShapeQuery& query) {
  loss_size(query, 0);
  return query.sources[0];
}

/// The gradient of the loss with respect to itself is one.
void lower_start(Lowering& to) {
  const ValueId one =
      to.temporary("one", {DataType::FLOAT32, {to.source_size(0).n, 1, 1, 1}, nullptr});
  to.add(OpId::fill, {}, {one}, {{"value", 1.0}});
  AttributeMap attributes = to.node().attributes;
  attributes["is_labels_gradient"] = attributes["is_weights_gradient"] = false;
  to.add(OpId::loss_gradient, {one, to.source(0), to.source(1), to.source(2)}, {to.result()},
         std::move(attributes));
  const ValueId loss = to.source_state_result("loss", size_of_loss(to.node(), to.source_size(0)));
  if (loss == kNoValue) return;
  to.add(OpId::loss, {to.source(0), to.source(1), to.source(2)}, {loss}, to.node().attributes);
}

FilterNode make_gradient(const GradientQuery& query) {
  AttributeMap attributes = query.forward.attributes();
  attributes["is_labels_gradient"] = query.source == kLabels;
  attributes["is_weights_gradient"] = query.source == kWeights;
  return FilterNode("LossGradientNode", gradient_then_sources(query), std::move(attributes));
}

AttributeSpec number(std::string_view name, std::string_view doc, double value, double minimum) {
  return {.name = name,
          .type = AttributeType::FLOAT,
          .doc = doc,
          .default_value = value,
          .minimum = minimum,
          .maximum = kFloatMax};
}

std::vector<AttributeSpec> loss_attributes() {
  return {
      {.name = "loss_type",
       .type = AttributeType::ENUM,
       .doc = "the formula",
       .enum_name = "LossType"},
      {.name = "reduction_type",
       .type = AttributeType::ENUM,
       .doc = "how the loss of an image becomes one value; never changes a gradient",
       .default_value = static_cast<std::int64_t>(ReductionType::MEAN),
       .enum_name = "ReductionType"},
      number("weight", "factor of the loss and its gradient", 1.0, -kFloatMax),
      {.name = "label_smoothing",
       .type = AttributeType::FLOAT,
       .doc = "share of the labels that is spread evenly, for softmax and sigmoid cross entropies",
       .default_value = 0.0,
       .minimum = 0,
       .maximum = 1},
      number("epsilon", "for LOG", 1e-7, 0.0),
      number("delta", "for HUBER", 1.0, 0.0),
      {.name = "number_of_classes",
       .type = AttributeType::INT,
       .doc = "classes that label smoothing spreads over, for the softmax cross entropy",
       .default_value = std::int64_t{1},
       .minimum = 1},
      {.name = "reduce_across_batch",
       .type = AttributeType::BOOL,
       .doc = "SUM and MEAN over the whole batch: the result in image 0, zeros in the others",
       .default_value = false},
  };
}

std::vector<AttributeSpec> gradient_attributes() {
  std::vector<AttributeSpec> attributes = loss_attributes();
  attributes.push_back({.name = "is_labels_gradient",
                        .type = AttributeType::BOOL,
                        .doc = "the gradient is that of the labels",
                        .default_value = false});
  attributes.push_back({.name = "is_weights_gradient",
                        .type = AttributeType::BOOL,
                        .doc = "the gradient is that of the weights image",
                        .default_value = false});
  return attributes;
}

constexpr std::string_view kForwardDoc =
    R"(With y the predictions, t the labels and w the weights image (1 where there is none), each element's loss is
weight * w * f(y, t):

- MEAN_ABSOLUTE_ERROR f = |y - t|, derivative sign(y - t), 0 where they are equal;
- MEAN_SQUARED_ERROR f = (y - t)^2, derivative 2 * (y - t);
- SOFT_MAX_CROSS_ENTROPY f = -s * ln softmax(y) over the feature channels, derivative softmax(y) - s, with
  s = t * (1 - label_smoothing) + label_smoothing / number_of_classes;
- SIGMOID_CROSS_ENTROPY f = max(y, 0) - y * s + ln(1 + exp(-|y|)), derivative sigmoid(y) - s, with
  s = t * (1 - label_smoothing) + label_smoothing / 2;
- CATEGORICAL_CROSS_ENTROPY f = -t * ln y, derivative -t / y;
- HINGE f = max(1 - (2 t - 1) * y, 0) for labels 0 and 1, derivative 1 - 2 t where f is above 0, else 0;
- HUBER f = d^2 / 2 for |d| <= delta, else delta * (|d| - delta / 2), with d = y - t; derivative d, limited to
  -delta and delta;
- COSINE_DISTANCE weight * (1 - sum of y * t over the image), derivative -t; with reduction SUM and without a
  weights image only;
- LOG f = -t * ln(y + epsilon) - (1 - t) * ln(1 - y + epsilon);
- KULLBACK_LEIBLER_DIVERGENCE f = t * (ln t - y), y being logarithms of probabilities; derivative -t.

What has the factor t (or s, or 1 - t) is 0 where that is 0, whatever y is. Else infinities and NaN go through as the
formulas say; where the hinge's margin is NaN so is its derivative.

**Result size**: with reduction NONE that of the predictions; else one value an image, (N, 1, 1, 1). MEAN (the
default) divides by H * W * C, for the softmax cross entropy by H * W. SUM_BY_NON_ZERO_WEIGHTS divides by how
many weights are not zero (for the softmax cross entropy: that over C), and is 0 where all are; without a
weights image it is MEAN. reduce_across_batch sums over the images too, and the divisors count all of them: the
result stands in image 0, zeros in the others.

**Where Apple's headers contradict themselves**: the hinge's printed value has t where its printed derivative has
2 t - 1: the latter is taken. Huber's inner branch is printed with y for y - t and its outer derivative without
the sign; the Kullback-Leibler derivative is printed as -t / y. Here every derivative is that of the value. The
softmax cross entropy's derivative is Apple's, which is the true one where the labels of a pixel add up to 1
and have one weight.

**The gradient ignores the reduction**, as Apple's does: MEAN does not divide it. For the gradient of the mean
over a batch set weight = 1 / (N * H * W * C).

The training graph computes the gradient of the predictions; those of the labels and of the weights image only
where that image leads back to weights that are updated.)";

constexpr std::string_view kStartDoc =
    R"(The result is not the loss but its gradient with respect to the predictions, result = weight * w * f'(y, t)
of ForwardLossNode's formulas: the gradient that it has where that of the loss is 1. It stands at the end of a net:
`LossNode(predictions, labels, descriptor).training_graph()` makes all gradient nodes, with the result as the
gradient of the predictions.

**Result size**: the predictions'.

**Labels** without an image come in a state, as Apple's do: `input_labels`, its handle "labels" at first, stands for the
LossLabels that is given to the encode (labels, and weights where wanted), in which the loss is left: what a
ForwardLossNode with the same descriptor computes.

**Unlike Apple**: labels and weights may be images, too; the loss is then that of a ForwardLossNode. They get no
gradient: where they are trained, use a ForwardLossNode.)";

constexpr std::string_view kGradientDoc =
    R"(result = source_gradient * weight * w * f'(y, t) with ForwardLossNode's formulas; for labels f is differentiated with
respect to t. For the weights image it is source_gradient * weight * f(y, t): Apple has no such gradient.
source_gradient has the loss's size, or one value an image that is broadcast. Error where the gradient is that of
the weights image and there is none, or is that of the labels, too.

**Result size**: the predictions'.)";

}  // namespace

std::vector<NodeClass> loss_nodes() {
  const SourceSpec weights = {.name = "weights",
                              .doc = "factor of each element's loss, of the predictions' size",
                              .derivative = Derivative::NONE,
                              .optional = true};
  SourceSpec trained_weights = weights;
  trained_weights.derivative = Derivative::IF_TRAINED;
  return {
      {.name = "ForwardLossNode",
       .apple = "MPSNNForwardLossNode",
       .family = "loss",
       .brief = "Compares predictions with labels",
       .doc = kForwardDoc,
       .sources = {{.name = "predictions", .doc = "any image"},
                   {.name = "labels",
                    .doc = "image of the predictions' size",
                    .derivative = Derivative::IF_TRAINED},
                   trained_weights},
       .attributes = loss_attributes(),
       .check = check,
       .shape = forward_shape,
       .lower = lower<OpId::loss>,
       .gradient_of = make_gradient},
      {.name = "LossNode",
       .apple = "MPSCNNLossNode",
       .family = "loss",
       .brief = "The gradient of a loss, where a training graph starts",
       .doc = kStartDoc,
       .sources = {{.name = "predictions", .doc = "any image", .derivative = Derivative::NONE},
                   {.name = "labels",
                    .doc = "image of the predictions' size",
                    .derivative = Derivative::NONE},
                   weights},
       .attributes = loss_attributes(),
       .starts_gradient = true,
       .has_labels = true,
       .check = check,
       .shape = start_shape,
       .lower = lower_start},
      {.name = "LossGradientNode",
       .apple = "MPSNNLossGradientNode",
       .family = "loss",
       .brief = "Gradient of a loss's predictions, labels or weights image",
       .doc = kGradientDoc,
       .sources = {{.name = "source_gradient", .doc = "gradient of the loss"},
                   {.name = "predictions", .doc = "the loss's predictions"},
                   {.name = "labels", .doc = "the loss's labels"},
                   weights},
       .attributes = gradient_attributes(),
       .gradient = true,
       .check = check_gradient,
       .shape = gradient_shape,
       .lower = lower<OpId::loss_gradient>},
  };
}

}  // namespace mpsnn::graph
