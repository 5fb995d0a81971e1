// SPDX-License-Identifier: MIT
// Batch normalisation. Operations:
//   normalization_statistics  source -> mean, variance
//   normalization             source, mean, variance, gamma, beta -> result
//   normalization_sums        gradient, source, mean, variance, gamma? -> sum of gradient * x^, sum
//                             of gradient, gamma gradient?, beta gradient?
//   normalization_gradient    gradient, source, mean, variance, gamma, sums?, sums? -> source
//                             gradient
//   moving_average            average, value -> average
// where x^ = (x - mean) / sqrt(variance + epsilon).
#include "graph/ops/normalization.h"
#include "base/attributes.h"
#include "base/check.h"
#include "graph/ops/shapes.h"

namespace mpsnn::graph {
namespace {

bool computes_statistics(const Lowering& to, std::size_t i) {
  switch (static_cast<BatchNormalizationFlags>(get_int(to.node().attributes, "flags"))) {
    case BatchNormalizationFlags::CALCULATE_STATISTICS_ALWAYS:
      return true;
    case BatchNormalizationFlags::CALCULATE_STATISTICS_NEVER:
      return false;
    case BatchNormalizationFlags::DEFAULT:
      return to.is_differentiated(i);
  }
  throw InternalError("flags of a batch normalisation out of range");
}

Statistics batch_statistics(Lowering& to, std::size_t i) {
  if (!to.node().input_state && !computes_statistics(to, i))
    return {to.parameter("mean"), to.parameter("variance")};
  return statistics_of(to, i);
}

void lower_batch(Lowering& to) {
  const Statistics statistics = batch_statistics(to, 0);
  add_normalization(to, statistics);
  to.leave_in_state("mean", statistics.mean);
  to.leave_in_state("variance", statistics.variance);
}

/// Running statistics follow those of the batch; once, however many gradient nodes share them.
void move_averages(Lowering& to, const Statistics& batch) {
  const auto& values = dynamic_cast<const BatchNormalizationDataSource&>(*to.node().weights);
  ValueId& moved = to.shared(1, "moved");
  if (!values.trainable() || to.node().training_style == TrainingStyle::UPDATE_DEVICE_NONE ||
      moved != kNoValue)
    return;
  moved = batch.mean;
  const AttributeMap momentum = {{"momentum", values.momentum()}};
  to.change_state("mean", OpId::moving_average, {batch.mean}, momentum);
  to.change_state("variance", OpId::moving_average, {batch.variance}, momentum);
}

void lower_batch_gradient(Lowering& to) {
  const bool fresh = computes_statistics(to, 1);
  const Statistics statistics = batch_statistics(to, 1);
  const ValueId gradient = to.source(0), source = to.source(1);
  ValueId projection = kNoValue, total = kNoValue;  // sums of gradient * x^ and of gradient
  if (to.weights_are_updated()) {
    projection = to.parameter_gradient("gamma");
    total = to.parameter_gradient("beta");
  } else if (fresh) {
    const TensorDesc desc = {DataType::FLOAT32, {to.source_size(1).channels}, nullptr};
    projection = to.temporary("projection", desc);
    total = to.temporary("total", desc);
  }
  if (projection != kNoValue) {
    to.add(OpId::normalization_sums, {gradient, source, statistics.mean, statistics.variance},
           {projection, total}, epsilon_of(to));
  }
  // Stored statistics are constants: they have no gradient.
  to.add(OpId::normalization_gradient,
         {gradient, source, statistics.mean, statistics.variance, to.parameter("gamma"),
          fresh ? projection : kNoValue, fresh ? total : kNoValue},
         {to.result()}, epsilon_of(to));
  if (fresh) move_averages(to, statistics);
}

FilterNode make_batch_gradient(const GradientQuery& query) {
  return FilterNode("BatchNormalizationGradientNode", gradient_then_sources(query),
                    query.forward.attributes(), query.forward.weights());
}

AttributeSpec flags() {
  return {.name = "flags",
          .type = AttributeType::ENUM,
          .doc = "which statistics are used",
          .default_value = static_cast<std::int64_t>(BatchNormalizationFlags::DEFAULT),
          .enum_name = "BatchNormalizationFlags"};
}

constexpr std::string_view kBatchDoc =
    R"(result = gamma[c] * (source - mean[c]) / sqrt(variance[c] + epsilon) + beta[c] for each feature channel c.
The variance is that of the population: divided by N * H * W.

**Result size**: the source's.

**Which statistics**: by default those of the batch where the graph holds the node's gradient node (Apple: where
its state is consumed), the data source's stored ones elsewhere. CALCULATE_STATISTICS_ALWAYS and
CALCULATE_STATISTICS_NEVER say otherwise; a gradient through stored statistics takes them as constants.

**Training**: the gradient node computes the gradients of source, gamma and beta; their optimizer runs right after.
Where the statistics of the batch are used, the data source is trainable and the training style is not
UPDATE_DEVICE_NONE, the running statistics move on at the end of the run, on the device, with or without an
optimizer: mean = momentum * mean + (1 - momentum) * mean of the batch, the variance alike.

epsilon is the data source's; Apple's default is FLT_MIN. A following neuron is fused (any but PReLU).

**State**: "mean" and "variance" that the node used, (1, 1, 1, C).)";

constexpr std::string_view kBatchGradientDoc =
    R"(With g the source_gradient, x^ the normalised source and means over the batch's N * H * W values of a channel:
result = gamma / sqrt(variance + epsilon) * (g - mean(g) - x^ * mean(g * x^)); through stored statistics
gamma / sqrt(variance + epsilon) * g. gamma's gradient is the sum of g * x^, beta's that of g.

**Result size**: source_image's.

A gradient node belongs to the forward nodes that have its data source and its source_image, and shares their
statistics.

**State**: the gradients of "gamma" and "beta", (1, 1, 1, C).

**Source state**: with `use_source_state` the "mean" and "variance" are those that a forward node left in another
graph's encode, (1, 1, 1, C).)";

}  // namespace

std::vector<NodeClass> normalization_nodes() {
  return {
      {.name = "BatchNormalizationNode",
       .apple = "MPSCNNBatchNormalizationNode",
       .family = "normalization",
       .brief = "Normalises each feature channel over the batch, with a trainable scale and shift",
       .doc = kBatchDoc,
       .sources = normalization_sources(),
       .attributes = {flags()},
       .weights = "BatchNormalizationDataSource",
       .trainable = true,
       .state = {"mean", "variance"},
       .shape = normalization_shape,
       .lower = lower_batch,
       .gradient_of = make_batch_gradient},
      {.name = "BatchNormalizationGradientNode",
       .apple = "MPSCNNBatchNormalizationGradientNode",
       .family = "normalization",
       .brief = "Gradients of a batch normalisation's source, scale and shift",
       .doc = kBatchGradientDoc,
       .sources = normalization_gradient_sources(),
       .attributes = {flags()},
       .weights = "BatchNormalizationDataSource",
       .trainable = true,
       .gradient = true,
       .state = {"gamma", "beta"},
       .source_state = {"mean", "variance"},
       .shape = normalization_gradient_shape,
       .lower = lower_batch_gradient},
  };
}

}  // namespace mpsnn::graph
