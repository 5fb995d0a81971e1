// SPDX-License-Identifier: MIT
// Normalisations by statistics of the batch, of each image, of groups of channels. The data source
// gives scale, shift and running statistics (normalization_weights.mm).
#include "backend/metal/lowering.h"
#include "base/attributes.h"
#include "mpsnn/normalization_data_source.h"

namespace mpsnn::backend::metal {
namespace {

using graph::FilterRecord;

constexpr auto kNever =
    static_cast<std::int64_t>(BatchNormalizationFlags::CALCULATE_STATISTICS_NEVER);

}  // namespace

void lower_batch_normalization(Builder& builder, const FilterRecord& node) {
  MPSCNNBatchNormalizationNode* made =
      [MPSCNNBatchNormalizationNode nodeWithSource:builder.source(node, 0)
                                        dataSource:builder.weights(node)];
  // The flags have Apple's values.
  [made setFlags:static_cast<MPSCNNBatchNormalizationFlags>(get_int(node.attributes, "flags"))];
  builder.finish(node, made);
}

/// MPS's kernel was measured to take the gradient of the mean and variance into account whatever
/// they are; those that are stored are constants.
std::string refuse_batch_normalization_gradient(const NodeCase& node) {
  if (get_int(node.node.attributes, "flags") == kNever)
    return "flags: MPS's gradient takes stored statistics for those of the batch";
  return refuse_orphan(node);
}

/// Running statistics move on without an optimizer, too.
void lower_batch_normalization_gradient(Builder& builder, const FilterRecord& node) {
  finish_trained(builder, node, node.weights->trainable());
}

void lower_instance_normalization(Builder& builder, const FilterRecord& node) {
  builder.finish(node, [MPSCNNInstanceNormalizationNode nodeWithSource:builder.source(node, 0)
                                                            dataSource:builder.weights(node)]);
}

void lower_group_normalization(Builder& builder, const FilterRecord& node) {
  builder.finish(node, [MPSCNNGroupNormalizationNode nodeWithSource:builder.source(node, 0)
                                                         dataSource:builder.weights(node)]);
}

void lower_image_normalization_gradient(Builder& builder, const FilterRecord& node) {
  finish_trained(builder, node, node.weights->is_updated());
}

}  // namespace mpsnn::backend::metal
