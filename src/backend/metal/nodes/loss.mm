// SPDX-License-Identifier: MIT
// Losses, and where gradients start.
#include <cstdlib>

#include "backend/metal/lowering.h"
#include "base/attributes.h"

namespace mpsnn::backend::metal {
namespace {

using graph::FilterRecord;

MPSCNNLossDescriptor* descriptor_of(const FilterRecord& node) {
  const AttributeMap& a = node.attributes;
  MPSCNNLossDescriptor* descriptor = [MPSCNNLossDescriptor
      cnnLossDescriptorWithType:static_cast<MPSCNNLossType>(get_int(a, "loss_type"))
                  reductionType:static_cast<MPSCNNReductionType>(get_int(a, "reduction_type"))];
  [descriptor setReduceAcrossBatch:get_bool(a, "reduce_across_batch")];
  [descriptor setWeight:static_cast<float>(get_float(a, "weight"))];
  [descriptor setLabelSmoothing:static_cast<float>(get_float(a, "label_smoothing"))];
  [descriptor setNumberOfClasses:static_cast<NSUInteger>(get_int(a, "number_of_classes"))];
  [descriptor setEpsilon:static_cast<float>(get_float(a, "epsilon"))];
  [descriptor setDelta:static_cast<float>(get_float(a, "delta"))];
  return descriptor;
}

/// A source that a node may have, and has: parts of labels may be absent.
bool has_weights(const Builder& builder, const FilterRecord& node) {
  return node.sources.size() > 2 && builder.has(*node.sources[2].record());
}

MPSNNForwardLossNode* forward_loss(Builder& builder, const FilterRecord& node) {
  MPSNNImageNode *predictions = builder.source(node, 0), *labels = builder.source(node, 1);
  if (has_weights(builder, node)) {
    return [MPSNNForwardLossNode nodeWithSource:predictions
                                         labels:labels
                                        weights:builder.source(node, 2)
                                 lossDescriptor:descriptor_of(node)];
  }
  return [MPSNNForwardLossNode nodeWithSource:predictions
                                       labels:labels
                               lossDescriptor:descriptor_of(node)];
}

/// The gradient filter of the predictions or of the labels.
MPSNNFilterNode* loss_gradient(NSArray* made, const FilterRecord& node, bool of_labels) {
  for (MPSNNLossGradientNode* each in made) {
    if (static_cast<bool>([each isLabelsGradientFilter]) == of_labels) return each;
  }
  fail_on_device(title(node), "MPS made no such gradient filter");
}

}  // namespace

std::string refuse_loss(const NodeCase& node) {
  // `mpsnn selftest` measures them: what comes out is reported, not used.
  const bool is_measured = std::getenv("MPSNN_METAL_MEASURE") != nullptr;
  if (is_measured) return {};
  switch (static_cast<LossType>(get_int(node.node.attributes, "loss_type"))) {
    case LossType::HINGE:
    case LossType::HUBER:
    case LossType::KULLBACK_LEIBLER_DIVERGENCE:
      return "loss_type: Apple's headers contradict themselves on this loss, and what its kernel "
             "computes was not measured";
    default:
      return {};
  }
}

std::string refuse_loss_gradient(const NodeCase& node) {
  if (get_bool(node.node.attributes, "is_weights_gradient"))
    return "is_weights_gradient: MPS has no gradient of a loss's weights";
  return refuse_orphan(node);
}

void lower_loss(Builder& builder, const FilterRecord& node) {
  builder.finish(node, forward_loss(builder, node));
}

void lower_loss_gradient(Builder& builder, const FilterRecord& node) {
  const bool of_labels = get_bool(node.attributes, "is_labels_gradient");
  builder.finish(node, loss_gradient(builder.gradients(node), node, of_labels));
}

/// The gradient of a loss whose own gradient is 1. MPSCNNLossNode is that in one; but its labels
/// come in a state only, never from the graph, and so does its loss.
void lower_loss_start(Builder& builder, const FilterRecord& node) {
  MPSNNForwardLossNode* loss = forward_loss(builder, node);
  MPSNNImageNode* one = [[MPSNNInitialGradientNode nodeWithSource:[loss resultImage]] resultImage];
  builder.finish(node, loss_gradient([loss gradientFiltersWithSource:one], node, false));
  builder.set_loss(node, [loss resultImage]);
}

void lower_initial_gradient(Builder& builder, const FilterRecord& node) {
  builder.finish(node, [MPSNNInitialGradientNode nodeWithSource:builder.source(node, 0)]);
}

}  // namespace mpsnn::backend::metal
