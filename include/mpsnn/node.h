// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mpsnn/data_source.h"
#include "mpsnn/padding.h"
#include "mpsnn/types.h"

/// Nodes: the graph as the user writes it. Nodes know no device and hold no data; a `Graph`
/// (graph.h) is compiled from them. All classes here are cheap handles: a copy means the same node.
/// Thread rule: building nodes is for one thread at a time per graph; reading them is for any.
namespace mpsnn {

class FilterNode;
namespace graph {
struct ImageRecord;  // src/graph/node_records.h
struct FilterRecord;
struct StateRecord;
}  // namespace graph

/// Placeholder of an image. You make the graph's inputs; filters make the rest (`result_image()`).
/// Apple: MPSNNImageNode.
class ImageNode {
 public:
  /// A graph input. `handle` is the key of `Graph::encode`'s sources; it may be set later.
  explicit ImageNode(std::string handle = "");
  /// A node whose image comes back from `Graph::encode` although it is not a result.
  static ImageNode exported(std::string handle);

  const std::string& handle() const;
  void set_handle(std::string handle);
  /// true: a training graph ends here, no gradient is made for what lies before. Default false.
  bool stop_gradient() const;
  void set_stop_gradient(bool stop);
  /// true: the image comes back from `Graph::encode` under its handle. Default false.
  bool export_from_graph() const;
  void set_export_from_graph(bool on);
  /// Element type in memory, FLOAT32 or FLOAT16; unset (the default): of a gradient that of the
  /// image it belongs to, else the graph's (Graph::format), else that of the first source; float32
  /// for inputs.
  std::optional<DataType> format() const;
  void set_format(std::optional<DataType> format);
  /// The filter that makes this image, if any (inputs have none).
  std::optional<FilterNode> producer() const;

  /// Same node, not same values.
  friend bool operator==(const ImageNode& a, const ImageNode& b) { return a.record_ == b.record_; }
  const std::shared_ptr<graph::ImageRecord>& record() const noexcept { return record_; }
  explicit ImageNode(std::shared_ptr<graph::ImageRecord> record) : record_(std::move(record)) {}

 private:
  std::shared_ptr<graph::ImageRecord> record_;
};

/// Placeholder of a state: named arrays beside the images. A filter makes one (`result_state()`),
/// or it is given to the encode under its handle (`FilterNode::input_labels()`,
/// `FilterNode::use_source_state()`). Apple: MPSNNStateNode.
class StateNode {
 public:
  /// Key of the state in `Graph::encode`'s states or outputs.
  const std::string& handle() const;
  void set_handle(std::string handle);
  /// true: the state comes back from `Graph::encode` under its handle. Default false.
  bool export_from_graph() const;
  /// Throws InvalidArgumentError for a state that no filter makes.
  void set_export_from_graph(bool on);
  /// The filter that makes this state; none: it is given to the encode.
  std::optional<FilterNode> producer() const;
  /// Names of the arrays: ("mean", "variance").
  std::vector<std::string> names() const;

  /// Same node, not same values.
  friend bool operator==(const StateNode& a, const StateNode& b) { return a.record_ == b.record_; }
  const std::shared_ptr<graph::StateRecord>& record() const noexcept { return record_; }
  explicit StateNode(std::shared_ptr<graph::StateRecord> record) : record_(std::move(record)) {}

 private:
  std::shared_ptr<graph::StateRecord> record_;
};

/// Called for each node of a training graph as it is made: the gradient node, the inference node it
/// belongs to (none for an addition that joins the gradients of an image with several readers), the
/// inference node's source image, and the gradient image that enters the gradient node. It may set
/// the node's training style, label and handles, export its image or state, freeze the inference
/// node's data source, set `stop_gradient` of the inference source, and put another node in the
/// place of the gradient node by assigning it: what comes before then gets that one's result as its
/// gradient (a clipping of the gradient node's result, say). The place of a node whose result has
/// another size is an error of the encode.
using NodeHandler = std::function<void(
    FilterNode& gradient_node, const std::optional<FilterNode>& inference_node,
    const std::optional<ImageNode>& inference_source, const ImageNode& gradient_source)>;

/// One filter: its class (a row of the node table), sources, parameters and result.
/// Apple: MPSNNFilterNode. The typed classes of nodes.h derive from it and add only constructors.
class FilterNode {
 public:
  /// Makes a node of the class named in the node table ("ConvolutionNode"). `weights` are the data
  /// sources the class takes. Throws InvalidArgumentError naming class and argument: unknown class,
  /// wrong number of sources, unknown or missing parameter, a value of the wrong type or range.
  FilterNode(std::string_view class_name, std::span<const ImageNode> sources,
             AttributeMap attributes = {}, std::shared_ptr<DataSource> weights = nullptr);

  std::string_view class_name() const;
  /// Name for errors, plans and timelines; default: the data source's label or "<class><n>", n
  /// being the filters on the longest way from an input to here ("NeuronReLU3"). Gradient nodes
  /// made from a node: "<its label>.gradient", with the source's number for the sources after the
  /// first.
  const std::string& label() const;
  void set_label(std::string label);
  const std::vector<ImageNode>& sources() const;
  ImageNode result_image() const;
  operator ImageNode() const { return result_image(); }  // NOLINT: a filter stands for its result
  /// What the node leaves beside its image: the statistics that a normalisation used, the gradients
  /// of a gradient node's weights, a dropout's mask. It is made where it is exported. Throws
  /// InvalidArgumentError for a class that has none.
  StateNode result_state() const;
  /// All of them: one or none.
  std::vector<StateNode> result_states() const;
  /// Of a loss without labels image: stands for the LossLabels given to `Graph::encode`, by the
  /// handle "labels" unless it is set. Throws InvalidArgumentError for other nodes.
  StateNode input_labels() const;
  /// Of a gradient node: from now on it takes what its forward node would leave in its state (a
  /// dropout's mask, the statistics of a normalisation) from a state that is given to the encode,
  /// so that forward and gradient node may stand in different graphs. Returns the state, with this
  /// handle and the names of the arrays that it wants. Throws InvalidArgumentError for a node that
  /// takes none, an empty handle, and a second call. Apple: the gradient state among a node's
  /// sources.
  StateNode use_source_state(std::string handle);
  /// Every parameter with its value, defaults included.
  const AttributeMap& attributes() const;
  const AttributeValue& attribute(std::string_view name) const;
  std::shared_ptr<DataSource> weights() const;
  PaddingPolicy padding_policy() const;
  /// Throws InvalidArgumentError: a class without padding, bits that there are not, pads below 0,
  /// the bit CUSTOM without a policy of one's own.
  void set_padding_policy(PaddingPolicy policy);
  /// For trainable nodes. Default UPDATE_DEVICE_GPU.
  TrainingStyle training_style() const;
  void set_training_style(TrainingStyle style);
  /// The inference node that a gradient node belongs to.
  std::optional<FilterNode> inference_node() const;

  /// The gradient node of source image 0, `source_gradient` being the gradient of the result.
  FilterNode gradient_filter(const ImageNode& source_gradient) const;
  /// One gradient node a source image that has a derivative, in the order of the sources.
  std::vector<FilterNode> gradient_filters(const ImageNode& source_gradient) const;

  /// Builds the training graph: walks back from this node, asks each forward node for its gradient
  /// nodes, adds gradients where an image has several readers, stops at `stop_gradient`, and
  /// returns the end nodes (whose results no other gradient node reads) in the order they were
  /// made. No `source_gradient`: this node's own result is the gradient (an InitialGradientNode's
  /// or a LossNode's result is the gradient of its source). Throws InvalidArgumentError naming a
  /// node that has no derivative.
  std::vector<FilterNode> training_graph(
      const std::optional<ImageNode>& source_gradient = std::nullopt,
      const NodeHandler& handler = nullptr) const;

  friend bool operator==(const FilterNode& a, const FilterNode& b) {
    return a.record_ == b.record_;
  }
  const std::shared_ptr<graph::FilterRecord>& record() const noexcept { return record_; }
  explicit FilterNode(std::shared_ptr<graph::FilterRecord> record) : record_(std::move(record)) {}

 private:
  std::shared_ptr<graph::FilterRecord> record_;
};

}  // namespace mpsnn
