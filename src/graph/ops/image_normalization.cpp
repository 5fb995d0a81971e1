// SPDX-License-Identifier: MIT
// Normalisation by the statistics of each image: of its channels, or of groups of them. Operations:
// those of normalization.cpp.
#include "graph/ops/normalization.h"
#include "graph/ops/shapes.h"

namespace mpsnn::graph {
namespace {

void lower_forward(Lowering& to) {
  const Statistics statistics = statistics_of(to, 0);
  add_normalization(to, statistics);
  to.leave_in_state("mean", statistics.mean);
  to.leave_in_state("variance", statistics.variance);
}

void lower_gradient(Lowering& to) {
  const std::vector<std::int64_t> dims = statistics_dims(to.node(), to.source_size(1));
  const Statistics statistics = statistics_of(to, 1);
  const ValueId gradient = to.source(0), source = to.source(1), gamma = to.parameter("gamma");
  const TensorDesc desc = {DataType::FLOAT32, dims, nullptr};
  const ValueId projection = to.temporary("projection", desc), total = to.temporary("total", desc);
  ValueId gamma_gradient = kNoValue, beta_gradient = kNoValue;
  if (to.weights_are_updated()) {
    gamma_gradient = to.parameter_gradient("gamma");
    beta_gradient = to.parameter_gradient("beta");
  }
  to.add(OpId::normalization_sums, {gradient, source, statistics.mean, statistics.variance, gamma},
         {projection, total, gamma_gradient, beta_gradient}, epsilon_of(to));
  to.add(OpId::normalization_gradient,
         {gradient, source, statistics.mean, statistics.variance, gamma, projection, total},
         {to.result()}, epsilon_of(to));
}

FilterNode make_instance_gradient(const GradientQuery& query) {
  return FilterNode("InstanceNormalizationGradientNode", gradient_then_sources(query), {},
                    query.forward.weights());
}

FilterNode make_group_gradient(const GradientQuery& query) {
  return FilterNode("GroupNormalizationGradientNode", gradient_then_sources(query), {},
                    query.forward.weights());
}

NodeClass forward_class(NodeClass row) {
  row.family = "normalization";
  row.sources = normalization_sources();
  row.trainable = true;
  row.state = {"mean", "variance"};
  row.shape = normalization_shape;
  row.lower = lower_forward;
  return row;
}

NodeClass gradient_class(NodeClass row) {
  row.family = "normalization";
  row.sources = normalization_gradient_sources();
  row.trainable = true;
  row.gradient = true;
  row.state = {"gamma", "beta"};
  row.source_state = {"mean", "variance"};
  row.shape = normalization_gradient_shape;
  row.lower = lower_gradient;
  return row;
}

constexpr std::string_view kInstanceDoc =
    R"(result = gamma[c] * (source - mean[n, c]) / sqrt(variance[n, c] + epsilon) + beta[c]; mean and
variance are those of the channel's H * W values (divided by the count), in inference and training alike.
epsilon is the data source's; Apple's default is FLT_MIN. A following neuron is fused (any but PReLU).

**Result size**: the source's.

**State**: "mean" and "variance" of each image, (1, 1, N, C).)";

constexpr std::string_view kGroupDoc =
    R"(result = gamma[c] * (source - mean[n, k]) / sqrt(variance[n, k] + epsilon) + beta[c], where
channel c belongs to group k = c / (channels / number_of_groups); mean and variance are those of the group's
H * W * channels / number_of_groups values (divided by the count). One group is layer normalisation over the
whole image. epsilon is the data source's; Apple's default is FLT_MIN. A following neuron is fused (any but PReLU).

**Result size**: the source's.

**State**: "mean" and "variance" of each image's groups, (1, 1, N, groups).)";

constexpr std::string_view kGradientDoc =
    R"(With g the source_gradient, x^ the normalised source and means over the values that share a mean:
result = (gamma * g - mean(gamma * g) - x^ * mean(gamma * g * x^)) / sqrt(variance + epsilon). gamma's gradient
is the sum of g * x^ over all images and pixels, beta's that of g; their optimizer runs right after.

**Result size**: source_image's.

**State**: the gradients of "gamma" and "beta", (1, 1, 1, C).

**Source state**: with `use_source_state` the "mean" and "variance" are those that a forward node left in another
graph's encode, (1, 1, N, C or groups).)";

}  // namespace

std::vector<NodeClass> image_normalization_nodes() {
  return {
      forward_class({.name = "InstanceNormalizationNode",
                     .apple = "MPSCNNInstanceNormalizationNode",
                     .family = {},
                     .brief = "Normalises each feature channel of each image, with a trainable "
                              "scale and shift",
                     .doc = kInstanceDoc,
                     .sources = {},
                     .attributes = {},
                     .weights = "InstanceNormalizationDataSource",
                     .gradient_of = make_instance_gradient}),
      gradient_class({.name = "InstanceNormalizationGradientNode",
                      .apple = "MPSCNNInstanceNormalizationGradientNode",
                      .family = {},
                      .brief = "Gradients of an instance normalisation's source, scale and shift",
                      .doc = kGradientDoc,
                      .sources = {},
                      .attributes = {},
                      .weights = "InstanceNormalizationDataSource"}),
      forward_class({.name = "GroupNormalizationNode",
                     .apple = "MPSCNNGroupNormalizationNode",
                     .family = {},
                     .brief = "Normalises groups of feature channels of each image, with a "
                              "trainable scale and shift",
                     .doc = kGroupDoc,
                     .sources = {},
                     .attributes = {},
                     .weights = "GroupNormalizationDataSource",
                     .gradient_of = make_group_gradient}),
      gradient_class({.name = "GroupNormalizationGradientNode",
                      .apple = "MPSCNNGroupNormalizationGradientNode",
                      .family = {},
                      .brief = "Gradients of a group normalisation's source, scale and shift",
                      .doc = kGradientDoc,
                      .sources = {},
                      .attributes = {},
                      .weights = "GroupNormalizationDataSource"}),
  };
}

}  // namespace mpsnn::graph
