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

}  // namespace

std::string refuse_loss(const NodeCase& node) {
  if (node.node.sources.size() > 2) return "weights: an image of weights is not lowered";
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

void lower_loss(Builder& builder, const FilterRecord& node) {
  builder.finish(node, [MPSNNForwardLossNode nodeWithSource:builder.source(node, 0)
                                                     labels:builder.source(node, 1)
                                             lossDescriptor:descriptor_of(node)]);
}

void lower_loss_gradient(Builder& builder, const FilterRecord& node) {
  const bool of_labels = get_bool(node.attributes, "is_labels_gradient");
  for (MPSNNGradientFilterNode* made in builder.gradients(node)) {
    auto* loss = static_cast<MPSNNLossGradientNode*>(made);
    if (static_cast<bool>([loss isLabelsGradientFilter]) != of_labels) continue;
    builder.finish(node, made);
    return;
  }
  fail_on_device(title(node), "MPS made no such gradient filter");
}

void lower_initial_gradient(Builder& builder, const FilterRecord& node) {
  builder.finish(node, [MPSNNInitialGradientNode nodeWithSource:builder.source(node, 0)]);
}

}  // namespace mpsnn::backend::metal
