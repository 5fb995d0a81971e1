// SPDX-License-Identifier: MIT
// How nodes become nodes of MPSNNGraph: one row a node class. For .mm files.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "backend/metal/objects.h"
#include "graph/whole_graph.h"

namespace mpsnn::backend::metal {

/// A node and its sizes, to say whether MPS can hold it.
struct NodeCase {
  const graph::FilterRecord& node;
  const graph::WholeGraph& graph;

  ImageSize source(std::size_t i) const { return graph.size(node.sources[i]); }
};

/// The MPS nodes of a graph in the making. They belong to the pool around it.
class Builder {
 public:
  /// The object that stands for one of the network's data sources.
  using Objects = std::map<const DataSource*, id>;

  using Shapes = std::unordered_map<const graph::ImageRecord*, TensorDesc>;

  /// `shapes`: of every image of the graph; it outlives this.
  Builder(Objects weights, const Shapes& shapes) : weights_(std::move(weights)), shapes_(shapes) {}

  /// A source of the graph.
  void add_source(const graph::ImageRecord& image, MPSNNImageNode* node) { images_[&image] = node; }
  /// Whether the image is there already: parts of labels that were not given never are.
  bool has(const graph::ImageRecord& image) const { return images_.contains(&image); }
  /// The MPS node of an image that is there already.
  MPSNNImageNode* image(const graph::ImageRecord& image) const { return images_.at(&image); }
  MPSNNImageNode* source(const graph::FilterRecord& node, std::size_t i) const {
    return image(*node.sources[i].record());
  }
  ImageSize size(const graph::FilterRecord& node, std::size_t i) const {
    return shapes_.at(node.sources[i].record().get()).image();
  }
  ImageSize result_size(const graph::FilterRecord& node) const {
    return shapes_.at(&node.result).image();
  }
  id weights(const graph::FilterRecord& node) const { return weights_.at(node.weights.get()); }

  /// Makes the MPS nodes of a node, whose sources are there; once.
  void lower(const graph::FilterRecord& node);
  /// Says that `made` computes the node's result: label, image and, for the gradient node to come,
  /// the filter.
  void finish(const graph::FilterRecord& node, MPSNNFilterNode* made);
  /// The same where a forward node became several: `forward` is what its gradient is asked of.
  void finish(const graph::FilterRecord& node, MPSNNFilterNode* forward, MPSNNFilterNode* made);

  /// Says that a node became one for each of its sources, which the gradients are asked of.
  void set_parts(const graph::FilterRecord& node, std::vector<MPSNNFilterNode*> parts) {
    parts_[&node] = std::move(parts);
  }
  /// Nil: the node has no parts.
  MPSNNFilterNode* part(const graph::FilterRecord& node, std::size_t i) const {
    const auto found = parts_.find(&node);
    return found == parts_.end() ? nil : found->second[i];
  }
  /// Says where the loss is that a node leaves in its labels.
  void set_loss(const graph::FilterRecord& node, MPSNNImageNode* loss) { losses_[&node] = loss; }
  MPSNNImageNode* loss(const graph::FilterRecord& node) const { return losses_.at(&node); }

  /// Says where a node's labels are given, where MPS takes them in a state.
  void set_labels(const graph::FilterRecord& node, MPSNNLabelsNode* labels) {
    labels_[&node] = labels;
  }
  MPSNNLabelsNode* labels(const graph::FilterRecord& node) const { return labels_.at(&node); }

  /// Says what a dropout multiplies by, where its state is exported.
  void set_mask(const graph::FilterRecord& node, MPSNNImageNode* mask) { masks_[&node] = mask; }
  /// The same; makes the dropout's nodes where they are not there yet.
  MPSNNImageNode* mask(const graph::FilterRecord& node);

  /// The gradient filters that MPS makes of a gradient node's forward filter, one a source of it;
  /// they link the forward filter's states by themselves. Asked for once for each gradient image.
  NSArray<MPSNNGradientFilterNode*>* gradients(const graph::FilterRecord& gradient_node);

 private:
  using GradientKey = std::pair<const graph::FilterRecord*, const graph::ImageRecord*>;

  Objects weights_;
  const Shapes& shapes_;
  std::unordered_map<const graph::ImageRecord*, MPSNNImageNode*> images_;
  std::unordered_map<const graph::FilterRecord*, MPSNNFilterNode*> filters_;
  std::unordered_map<const graph::FilterRecord*, MPSNNImageNode*> losses_;
  std::unordered_map<const graph::FilterRecord*, MPSNNImageNode*> masks_;
  std::unordered_map<const graph::FilterRecord*, MPSNNLabelsNode*> labels_;
  std::unordered_map<const graph::FilterRecord*, std::vector<MPSNNFilterNode*>> parts_;
  std::map<GradientKey, NSArray<MPSNNGradientFilterNode*>*> gradients_;
};

/// A node class.
struct NodeRow {
  std::string_view node_class;
  /// Why MPS cannot hold the node; empty: it can. Null: it always can.
  std::string (*refuse)(const NodeCase& node);
  /// Makes the MPS node and calls Builder::finish. Null: `refuse` never lets one through.
  void (*lower)(Builder& builder, const graph::FilterRecord& node);
};

/// Throws UnsupportedError naming the node and the reason where the backend cannot hold it.
void check_node(const NodeCase& node, std::string_view device);

// What several rows share.

/// Refuses a gradient node that was not made from its forward node, since MPS links states only
/// then, and one whose forward node is refused.
std::string refuse_orphan(const NodeCase& node);
/// a * image + b: how constants are applied that a node of MPS ignores or lacks.
MPSNNFilterNode* linear(MPSNNImageNode* image, double a, double b);
/// The gradient filter of a node with weights, which are updated where `is_trained` and the node's
/// training style say so.
void finish_trained(Builder& builder, const graph::FilterRecord& node, bool is_trained);

// The rows' functions, in nodes/<family>.mm.

std::string refuse_convolution(const NodeCase& node);
void lower_convolution(Builder& builder, const graph::FilterRecord& node);
std::string refuse_convolution_gradient(const NodeCase& node);
void lower_convolution_gradient(Builder& builder, const graph::FilterRecord& node);
std::string refuse_convolution_transpose(const NodeCase& node);
void lower_convolution_transpose(Builder& builder, const graph::FilterRecord& node);
void lower_fully_connected(Builder& builder, const graph::FilterRecord& node);
std::string refuse_binary_convolution(const NodeCase& node);
void lower_binary_convolution(Builder& builder, const graph::FilterRecord& node);
void lower_neuron(Builder& builder, const graph::FilterRecord& node);
void lower_pooling_max(Builder& builder, const graph::FilterRecord& node);
void lower_pooling_average(Builder& builder, const graph::FilterRecord& node);
void lower_pooling_l2_norm(Builder& builder, const graph::FilterRecord& node);
void lower_dilated_pooling_max(Builder& builder, const graph::FilterRecord& node);
void lower_upsampling_nearest(Builder& builder, const graph::FilterRecord& node);
void lower_upsampling_bilinear(Builder& builder, const graph::FilterRecord& node);
std::string refuse_broadcast(const NodeCase& node);
void lower_arithmetic(Builder& builder, const graph::FilterRecord& node);
void lower_arithmetic_gradient(Builder& builder, const graph::FilterRecord& node);
std::string refuse_comparison(const NodeCase& node);
void lower_comparison(Builder& builder, const graph::FilterRecord& node);
std::string refuse_division_gradient(const NodeCase& node);
void lower_division_gradient(Builder& builder, const graph::FilterRecord& node);
void lower_sum_gradient(Builder& builder, const graph::FilterRecord& node);
void lower_reduction(Builder& builder, const graph::FilterRecord& node);
void lower_concatenation(Builder& builder, const graph::FilterRecord& node);
void lower_concatenation_gradient(Builder& builder, const graph::FilterRecord& node);
void lower_reshape(Builder& builder, const graph::FilterRecord& node);
std::string refuse_pad(const NodeCase& node);
void lower_pad(Builder& builder, const graph::FilterRecord& node);
std::string refuse_crop(const NodeCase& node);
void lower_crop(Builder& builder, const graph::FilterRecord& node);
void lower_crop_gradient(Builder& builder, const graph::FilterRecord& node);
std::string refuse_scale(const NodeCase& node);
void lower_scale(Builder& builder, const graph::FilterRecord& node);
void lower_gram_matrix(Builder& builder, const graph::FilterRecord& node);
std::string refuse_window_normalization(const NodeCase& node);
void lower_spatial_normalization(Builder& builder, const graph::FilterRecord& node);
void lower_local_contrast_normalization(Builder& builder, const graph::FilterRecord& node);
void lower_cross_channel_normalization(Builder& builder, const graph::FilterRecord& node);
void lower_batch_normalization(Builder& builder, const graph::FilterRecord& node);
std::string refuse_batch_normalization_gradient(const NodeCase& node);
void lower_batch_normalization_gradient(Builder& builder, const graph::FilterRecord& node);
void lower_instance_normalization(Builder& builder, const graph::FilterRecord& node);
void lower_group_normalization(Builder& builder, const graph::FilterRecord& node);
void lower_image_normalization_gradient(Builder& builder, const graph::FilterRecord& node);
std::string refuse_loss(const NodeCase& node);
std::string refuse_loss_gradient(const NodeCase& node);
void lower_loss(Builder& builder, const graph::FilterRecord& node);
void lower_loss_start(Builder& builder, const graph::FilterRecord& node);
void lower_loss_gradient(Builder& builder, const graph::FilterRecord& node);
/// Whether MPS takes the node's labels, its second source, in a state, and leaves its loss there.
bool has_label_state(const graph::FilterRecord& node);
std::string refuse_yolo_loss(const NodeCase& node);
void lower_yolo_loss(Builder& builder, const graph::FilterRecord& node);
void lower_initial_gradient(Builder& builder, const graph::FilterRecord& node);
void lower_dropout(Builder& builder, const graph::FilterRecord& node);
std::string refuse_dropout_gradient(const NodeCase& node);
void lower_dropout_gradient(Builder& builder, const graph::FilterRecord& node);
void lower_softmax(Builder& builder, const graph::FilterRecord& node);
/// The gradient filter of the only source that has one.
void lower_single_gradient(Builder& builder, const graph::FilterRecord& node);

}  // namespace mpsnn::backend::metal
