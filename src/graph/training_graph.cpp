// SPDX-License-Identifier: MIT
// Gradient nodes of single filters, and of all filters that lead to one.
#include <unordered_map>
#include <unordered_set>

#include "graph/node_records.h"
#include "graph/node_table.h"
#include "graph/walk.h"
#include "mpsnn/node.h"

namespace mpsnn {
namespace graph {
namespace {

const SourceSpec& spec_of(const NodeClass& row, std::size_t source) {
  return source < row.sources.size() ? row.sources[source] : row.sources.back();  // variadic
}

FilterNode make_gradient(const FilterNode& forward, const ImageNode& source_gradient,
                         std::size_t source) {
  const FilterRecord& from = *forward.record();
  FilterNode made = from.node_class->gradient_of({forward, source_gradient, source});
  FilterRecord& to = *made.record();
  to.label = str(from.label, ".gradient", source == 0 ? "" : std::to_string(source));
  to.inference_node = forward.record();
  to.gradient_of = from.sources[source].record();
  if (to.node_class->has_padding) to.padding = from.padding;
  to.training_style = from.training_style;
  return made;
}

void check_has_derivative(const FilterRecord& node) {
  if (node.node_class->gradient_of == nullptr) {
    fail(node, "gradient", "a node that has a derivative", node.node_class->name);
  }
}

/// One run of FilterNode::training_graph.
class TrainingGraph {
 public:
  TrainingGraph(const FilterNode& last, const NodeHandler& handler)
      : last_(last), handler_(handler) {}
  std::vector<FilterNode> build(const std::optional<ImageNode>& source_gradient);

 private:
  void start(const ImageNode& image, const ImageNode& gradient);
  void note_trained(const FilterRecord& filter);
  bool is_wanted(const FilterRecord& filter, std::size_t source) const;
  void make_gradients(const FilterNode& forward);
  ImageNode joined_gradient(const std::shared_ptr<ImageRecord>& image);
  /// Asks the handler; the node that stands there in the end.
  FilterNode keep(FilterNode made, const std::optional<FilterNode>& forward,
                  const std::optional<ImageNode>& source, const ImageNode& gradient);
  std::vector<FilterNode> ends() const;

  const FilterNode& last_;
  const NodeHandler& handler_;
  RunningOrder order_{[](const ImageRecord& image) { return !image.stop_gradient; }};
  std::unordered_map<const ImageRecord*, std::vector<ImageNode>> gradients_;  // one a reader
  std::vector<std::shared_ptr<ImageRecord>>
      reached_;  // images in gradients_, in the order of the first
  std::unordered_set<const FilterRecord*> trained_;  // filters behind which weights are updated
  std::vector<FilterNode> made_;
};

void TrainingGraph::note_trained(const FilterRecord& filter) {
  bool trained = filter.weights != nullptr && filter.weights->is_updated();
  for (const ImageNode& source : filter.sources) {
    const ImageRecord& image = *source.record();
    trained = trained || (!image.stop_gradient && trained_.contains(image.producer));
  }
  if (trained) trained_.insert(&filter);
}

bool TrainingGraph::is_wanted(const FilterRecord& filter, std::size_t source) const {
  switch (spec_of(*filter.node_class, source).derivative) {
    case Derivative::NONE:
      return false;
    case Derivative::ALWAYS:
      return true;
    case Derivative::IF_TRAINED: {
      const ImageRecord& image = *filter.sources[source].record();
      return !image.stop_gradient && trained_.contains(image.producer);
    }
  }
  throw InternalError("derivative out of range");
}

void TrainingGraph::start(const ImageNode& image, const ImageNode& gradient) {
  gradients_[image.record().get()].push_back(gradient);
  if (image.stop_gradient() || image.record()->producer == nullptr) return;
  order_.visit(image.record()->producer);
}

FilterNode TrainingGraph::keep(FilterNode made, const std::optional<FilterNode>& forward,
                               const std::optional<ImageNode>& source, const ImageNode& gradient) {
  FilterNode standing = made;
  if (handler_) handler_(standing, forward, source, gradient);
  if (standing.record() == nullptr)
    fail(*made.record(), "node_handler", "a node in its place", "none");
  made_.push_back(standing);
  return standing;
}

/// The sum of the gradients that an image's readers gave, made by additions where there are
/// several.
ImageNode TrainingGraph::joined_gradient(const std::shared_ptr<ImageRecord>& image) {
  std::vector<ImageNode>& parts = gradients_.find(image.get())->second;
  const std::string name = image->producer != nullptr ? image->producer->label : image->handle;
  while (parts.size() > 1) {
    const ImageNode first = parts[0];
    FilterNode sum("AdditionNode", std::vector<ImageNode>{first, parts[1]});
    sum.set_label(name + ".gradient_sum");
    sum.record()->gradient_of = image;
    parts.erase(parts.begin());
    parts[0] = keep(sum, std::nullopt, std::nullopt, first).result_image();
  }
  return parts[0];
}

void TrainingGraph::make_gradients(const FilterNode& forward) {
  const FilterRecord& filter = *forward.record();
  if (filter.result.stop_gradient) return;  // by the handler: the walk had not ended here
  const ImageNode gradient = joined_gradient(forward.result_image().record());
  check_has_derivative(filter);
  for (std::size_t i = 0; i < filter.sources.size(); ++i) {
    if (!is_wanted(filter, i)) continue;
    const FilterNode made = make_gradient(forward, gradient, i);
    const std::shared_ptr<ImageRecord>& source = filter.sources[i].record();
    if (gradients_[source.get()].empty()) reached_.push_back(source);
    const FilterNode standing = keep(made, forward, filter.sources[i], gradient);
    gradients_[source.get()].push_back(standing.result_image());
  }
}

std::vector<FilterNode> TrainingGraph::ends() const {
  std::unordered_set<const ImageRecord*> read;
  for (const FilterNode& node : made_) {
    for (const ImageNode& source : node.sources()) read.insert(source.record().get());
  }
  std::vector<FilterNode> ends;
  for (const FilterNode& node : made_) {
    if (!read.contains(&node.record()->result)) ends.push_back(node);
  }
  return ends;
}

std::vector<FilterNode> TrainingGraph::build(const std::optional<ImageNode>& source_gradient) {
  const bool starts = last_.record()->node_class->starts_gradient;
  start(starts ? last_.sources()[0] : last_.result_image(),
        source_gradient.value_or(last_.result_image()));

  const std::vector<FilterRecord*>& filters = order_.filters();
  for (const FilterRecord* filter : filters) note_trained(*filter);
  for (auto filter = filters.rbegin(); filter != filters.rend(); ++filter) {
    if (gradients_.contains(&(*filter)->result))
      make_gradients(FilterNode((*filter)->shared_from_this()));
  }
  // Images where the walk ended (inputs, stop_gradient): nobody asked for the sum of theirs yet.
  for (const std::shared_ptr<ImageRecord>& image : reached_) joined_gradient(image);
  return ends();
}

}  // namespace
}  // namespace graph

FilterNode FilterNode::gradient_filter(const ImageNode& source_gradient) const {
  std::vector<FilterNode> all = gradient_filters(source_gradient);
  return all.front();
}

std::vector<FilterNode> FilterNode::gradient_filters(const ImageNode& source_gradient) const {
  graph::check_has_derivative(*record_);
  std::vector<FilterNode> made;
  for (std::size_t i = 0; i < record_->sources.size(); ++i) {
    if (graph::spec_of(*record_->node_class, i).derivative == graph::Derivative::NONE) continue;
    made.push_back(graph::make_gradient(*this, source_gradient, i));
  }
  return made;
}

std::vector<FilterNode> FilterNode::training_graph(const std::optional<ImageNode>& source_gradient,
                                                   const NodeHandler& handler) const {
  return graph::TrainingGraph(*this, handler).build(source_gradient);
}

}  // namespace mpsnn
