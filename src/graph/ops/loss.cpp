// SPDX-License-Identifier: MIT
// Losses. Operations:
//   loss           predictions, labels, weights? -> loss
//   loss_gradient  gradient, predictions, labels, weights? -> gradient of predictions or labels
#include <limits>
#include <utility>

#include "base/attributes.h"
#include "graph/lowering.h"
#include "graph/node_table.h"
#include "graph/ops/shapes.h"

namespace mpsnn::graph {
namespace {

constexpr double kFloatMax = std::numeric_limits<float>::max();

/// Checks predictions, labels and weights, which start at source `first`; the loss image's size.
ImageSize loss_size(const ShapeQuery& query, std::size_t first) {
  const ImageSize& predictions = query.sources[first];
  expect_size(query, first + 1, "labels", predictions);
  if (query.sources.size() > first + 2) expect_size(query, first + 2, "weights", predictions);
  const auto none = static_cast<std::int64_t>(ReductionType::NONE);
  if (get_int(query.node.attributes, "reduction_type") == none) return predictions;
  return {predictions.n, 1, 1, 1};
}

ImageSize forward_shape(const ShapeQuery& query) { return loss_size(query, 0); }

ImageSize gradient_shape(const ShapeQuery& query) {
  const ImageSize loss = loss_size(query, 1);
  // The gradient is broadcast: one value an image serves a loss that was not reduced as well.
  const ImageSize one_an_image = {loss.n, 1, 1, 1};
  if (query.sources[0] != one_an_image) expect_size(query, 0, "source_gradient", loss);
  return query.sources[1];
}

template <OpId op>
void lower(Lowering& to) {
  std::vector<ValueId> sources;
  for (std::size_t i = 0; i < to.node().sources.size(); ++i) sources.push_back(to.source(i));
  to.add(op, std::move(sources), {to.result()}, to.node().attributes);
}

constexpr std::size_t kLabels = 1;  // source of the forward node

FilterNode make_gradient(const GradientQuery& query) {
  AttributeMap attributes = query.forward.attributes();
  attributes["is_labels_gradient"] = query.source == kLabels;
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
  const auto value_of = [](auto enumerator) { return static_cast<std::int64_t>(enumerator); };
  return {
      {.name = "loss_type",
       .type = AttributeType::ENUM,
       .doc = "the formula",
       .enum_name = "LossType",
       .supported = {value_of(LossType::MEAN_ABSOLUTE_ERROR),
                     value_of(LossType::MEAN_SQUARED_ERROR)}},
      {.name = "reduction_type",
       .type = AttributeType::ENUM,
       .doc = "how the loss of an image becomes one value; never changes a gradient",
       .default_value = value_of(ReductionType::MEAN),
       .enum_name = "ReductionType",
       .supported = {value_of(ReductionType::NONE), value_of(ReductionType::SUM),
                     value_of(ReductionType::MEAN)}},
      number("weight", "factor of the loss and its gradient", 1.0, -kFloatMax),
      number("label_smoothing", "for cross entropies", 0.0, 0.0),
      number("epsilon", "for LOG", 1e-7, 0.0),
      number("delta", "for HUBER", 1.0, 0.0),
      {.name = "number_of_classes",
       .type = AttributeType::INT,
       .doc = "for label smoothing",
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
  return attributes;
}

constexpr std::string_view kForwardDoc =
    R"(With y the predictions, t the labels and w the weights image (1 where there is none), each element's loss is
weight * w * f(y, t):

- MEAN_ABSOLUTE_ERROR f = |y - t|, derivative sign(y - t), 0 where they are equal;
- MEAN_SQUARED_ERROR f = (y - t)^2, derivative 2 * (y - t).

Other loss types are refused with UnsupportedError.

**Result size**: with reduction NONE that of the predictions; with SUM and MEAN (the default) one value an
image, (N, 1, 1, 1). MEAN divides by H * W * C.

**The gradient ignores the reduction**, as Apple's does: MEAN does not divide it. For the gradient of the mean
over a batch set weight = 1 / (N * H * W * C).

The training graph computes the gradient of the predictions; that of the labels only where the labels lead
back to weights that are updated; the weights image has none.)";

constexpr std::string_view kGradientDoc =
    R"(result = source_gradient * weight * w * f'(y, t), for labels with the opposite sign; of the predictions' size.
source_gradient has the loss's size, or one value an image that is broadcast.)";

}  // namespace

std::vector<NodeClass> loss_nodes() {
  const SourceSpec weights = {.name = "weights",
                              .doc = "factor of each element's loss, of the predictions' size",
                              .derivative = Derivative::NONE,
                              .optional = true};
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
                   weights},
       .attributes = loss_attributes(),
       .shape = forward_shape,
       .lower = lower<OpId::loss>,
       .gradient_of = make_gradient},
      {.name = "LossGradientNode",
       .apple = "MPSNNLossGradientNode",
       .family = "loss",
       .brief = "Gradient of a loss's predictions or labels",
       .doc = kGradientDoc,
       .sources = {{.name = "source_gradient", .doc = "gradient of the loss"},
                   {.name = "predictions", .doc = "the loss's predictions"},
                   {.name = "labels", .doc = "the loss's labels"},
                   weights},
       .attributes = gradient_attributes(),
       .gradient = true,
       .shape = gradient_shape,
       .lower = lower<OpId::loss_gradient>},
  };
}

}  // namespace mpsnn::graph
