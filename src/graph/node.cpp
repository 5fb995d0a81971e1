// SPDX-License-Identifier: MIT
#include "mpsnn/node.h"

#include <algorithm>
#include <utility>

#include "graph/node_attributes.h"
#include "graph/node_records.h"
#include "graph/node_table.h"

namespace mpsnn {
namespace graph {
namespace {

/// Takes over what `record` keeps alive, so that its destructor finds nothing to descend into.
void take_references(FilterRecord& record, std::vector<std::shared_ptr<FilterRecord>>& taken) {
  for (ImageNode& source : record.sources) {
    FilterRecord* producer = source.record() ? source.record()->producer : nullptr;
    if (producer != nullptr) taken.push_back(producer->shared_from_this());
  }
  record.sources.clear();
  if (record.inference_node) taken.push_back(std::move(record.inference_node));
  FilterRecord* forward = record.gradient_of ? record.gradient_of->producer : nullptr;
  if (forward != nullptr) taken.push_back(forward->shared_from_this());
  record.gradient_of.reset();
}

/// "NeuronReLU3": the class without "Node", and how deep the node stands. Not unique, but the same
/// in every run, and without a counter that all graphs of a process would share.
std::string default_label(const FilterRecord& node) {
  if (node.weights && !node.weights->label().empty()) return node.weights->label();
  std::string_view name = node.node_class->name;
  if (name.ends_with("Node")) name.remove_suffix(4);
  return str(name, node.depth);
}

std::string source_names(const NodeClass& row) {
  std::string names;
  for (const SourceSpec& spec : row.sources) {
    names += str(names.empty() ? "" : ", ", spec.name, spec.variadic ? "..." : "",
                 spec.optional ? "?" : "");
  }
  return names;
}

/// One more array of the node's input state, which is one more source of the node.
void add_part(FilterRecord& node, std::string_view name, bool optional) {
  auto part = std::make_unique<StateRecord::Part>(std::string(name), optional);
  part->image.state = node.input_state.get();
  node.sources.emplace_back(std::shared_ptr<ImageRecord>(node.input_state, &part->image));
  node.input_state->parts.push_back(std::move(part));
}

/// A loss without labels: they come in a state, weights as well.
void add_labels_state(FilterRecord& node) {
  const NodeClass& row = *node.node_class;
  if (!row.has_labels || node.sources.size() != 1) return;
  node.input_state = std::make_shared<StateRecord>();
  node.input_state->handle = "labels";
  node.input_state->labels = true;
  for (std::size_t i = 1; i < row.sources.size(); ++i)
    add_part(node, row.sources[i].name, row.sources[i].optional);
}

void check_sources(const FilterRecord& node) {
  const NodeClass& row = *node.node_class;
  std::size_t needed = 0;
  for (const SourceSpec& spec : row.sources) needed += spec.optional ? 0 : 1;
  const bool variadic = !row.sources.empty() && row.sources.back().variadic;
  const std::size_t got = node.sources.size();
  if (got < needed || (got > row.sources.size() && !variadic)) {
    fail(node, "sources",
         str(needed == row.sources.size() && !variadic ? "" : "at least ", needed, " (",
             source_names(row), ")"),
         got);
  }
  for (std::size_t i = 0; i < got; ++i) {
    if (node.sources[i].record() == nullptr) fail(node, str("source ", i), "an image node", "none");
  }
}

void check_weights(const FilterRecord& node) {
  const std::string_view wanted = node.node_class->weights;
  const std::string_view got = node.weights ? node.weights->class_name() : "none";
  if (wanted.empty() ? node.weights != nullptr : got != wanted) {
    fail(node, "weights", wanted.empty() ? "none" : wanted, got);
  }
}

constexpr std::int64_t kAlignmentMask = 3, kRemainderMask = 3 << 2, kSizeMask = 3 << 4;

void check_padding(const FilterRecord& node, const PaddingPolicy& policy) {
  if (!node.node_class->has_padding)
    fail(node, "padding_policy", "none for this class", policy.method);
  constexpr std::int64_t kOwn = PaddingMethod::CUSTOM | PaddingMethod::CUSTOM_ALLOW_FOR_NODE_FUSION;
  if (((policy.method & PaddingMethod::CUSTOM) != 0) != (policy.own != nullptr)) {
    fail(node, "padding_policy", "the bit CUSTOM together with a policy of one's own",
         policy.own ? "a policy without the bit" : "the bit alone");
  }
  for (const std::int64_t pad : policy.pads.value_or(std::array<std::int64_t, 4>{})) {
    if (pad < 0) fail(node, "padding_policy", "pads >= 0", pad);
  }
  std::int64_t rest = policy.method & ~(kAlignmentMask | kRemainderMask | kSizeMask | kOwn);
  if (rest == PaddingMethod::EXCLUDE_EDGES) {
    if (!node.node_class->name.starts_with("PoolingAverage"))
      fail(node, "padding_policy", "no EXCLUDE_EDGES (it is for average pooling)", policy.method);
    rest = 0;
  }
  if (rest != 0 || (policy.method & kAlignmentMask) == kAlignmentMask ||
      (policy.method & kSizeMask) == kSizeMask) {
    fail(node, "padding_policy", "bits of PaddingMethod", policy.method);
  }
}

}  // namespace

FilterRecord::~FilterRecord() {
  std::vector<std::shared_ptr<FilterRecord>> doomed;
  take_references(*this, doomed);
  while (!doomed.empty()) {
    const std::shared_ptr<FilterRecord> last = std::move(doomed.back());
    doomed.pop_back();
    // Where somebody else holds it too, the last holder's destructor goes on from there.
    if (last.use_count() == 1) take_references(*last, doomed);
  }
}

std::string title(const FilterRecord& node) {
  return str(node.node_class->name, " \"", node.label, '"');
}

}  // namespace graph

ImageNode::ImageNode(std::string handle) : record_(std::make_shared<graph::ImageRecord>()) {
  record_->handle = std::move(handle);
}

ImageNode ImageNode::exported(std::string handle) {
  ImageNode node(std::move(handle));
  node.set_export_from_graph(true);
  return node;
}

const std::string& ImageNode::handle() const { return record_->handle; }
void ImageNode::set_handle(std::string handle) { record_->handle = std::move(handle); }
bool ImageNode::stop_gradient() const { return record_->stop_gradient; }
void ImageNode::set_stop_gradient(bool stop) { record_->stop_gradient = stop; }
bool ImageNode::export_from_graph() const { return record_->exported; }
void ImageNode::set_export_from_graph(bool on) { record_->exported = on; }
std::optional<DataType> ImageNode::format() const { return record_->format; }

void ImageNode::set_format(std::optional<DataType> format) {
  if (format && *format != DataType::FLOAT32 && *format != DataType::FLOAT16) {
    throw_expected<UnsupportedError>(str("image \"", record_->handle, "\": format"),
                                     "float32 or float16", name_of(*format));
  }
  record_->format = format;
}

std::optional<FilterNode> ImageNode::producer() const {
  if (record_->producer == nullptr) return std::nullopt;
  return FilterNode(record_->producer->shared_from_this());
}

const std::string& StateNode::handle() const { return record_->handle; }
void StateNode::set_handle(std::string handle) { record_->handle = std::move(handle); }
bool StateNode::export_from_graph() const { return record_->exported; }

void StateNode::set_export_from_graph(bool on) {
  if (on && record_->producer == nullptr) {
    throw_expected(str("state \"", record_->handle, "\": export_from_graph"),
                   "a state that a filter makes", "one that is given to the encode");
  }
  record_->exported = on;
}

std::optional<FilterNode> StateNode::producer() const {
  if (record_->producer == nullptr) return std::nullopt;
  return FilterNode(record_->producer->shared_from_this());
}

std::vector<std::string> StateNode::names() const {
  std::vector<std::string> names;
  for (const auto& part : record_->parts) names.push_back(part->name);
  if (record_->producer == nullptr) return names;
  const auto& made = record_->producer->node_class->state;
  names.assign(made.begin(), made.end());
  return names;
}

FilterNode::FilterNode(std::string_view class_name, std::span<const ImageNode> sources,
                       AttributeMap attributes, std::shared_ptr<DataSource> weights)
    : record_(std::make_shared<graph::FilterRecord>()) {
  record_->node_class = graph::find_node_class(class_name);
  if (record_->node_class == nullptr) {
    throw_expected("FilterNode: class_name", "a class of the node table",
                   str('"', class_name, '"'));
  }
  record_->sources.assign(sources.begin(), sources.end());
  record_->weights = std::move(weights);
  if (record_->weights == nullptr && record_->node_class->make_weights != nullptr)
    record_->weights = record_->node_class->make_weights();
  for (const ImageNode& source : record_->sources) {
    if (source.record() == nullptr || source.record()->producer == nullptr) continue;
    record_->depth = std::max(record_->depth, source.record()->producer->depth + 1);
  }
  record_->label = graph::default_label(*record_);
  graph::add_labels_state(*record_);
  graph::check_sources(*record_);
  graph::check_weights(*record_);
  record_->attributes = graph::complete_attributes(*record_, std::move(attributes));
  if (record_->node_class->check != nullptr) record_->node_class->check(*record_);
}

std::string_view FilterNode::class_name() const { return record_->node_class->name; }
const std::string& FilterNode::label() const { return record_->label; }
void FilterNode::set_label(std::string label) { record_->label = std::move(label); }
const std::vector<ImageNode>& FilterNode::sources() const { return record_->sources; }
ImageNode FilterNode::result_image() const { return graph::result_of(record_); }

StateNode FilterNode::result_state() const {
  if (record_->node_class->state.empty())
    graph::fail(*record_, "result_state", "a node that has a state", record_->node_class->name);
  return StateNode(std::shared_ptr<graph::StateRecord>(record_, &record_->result_state));
}

std::vector<StateNode> FilterNode::result_states() const {
  if (record_->node_class->state.empty()) return {};
  return {result_state()};
}

StateNode FilterNode::input_labels() const {
  if (!record_->input_state || !record_->input_state->labels)
    graph::fail(*record_, "input_labels", "a loss without labels image",
                record_->node_class->has_labels ? "one that has one" : record_->node_class->name);
  return StateNode(record_->input_state);
}

StateNode FilterNode::use_source_state(std::string handle) {
  const std::vector<std::string_view>& names = record_->node_class->source_state;
  if (names.empty())
    graph::fail(*record_, "use_source_state", "a gradient node that needs its forward node's state",
                record_->node_class->name);
  if (record_->input_state) graph::fail(*record_, "use_source_state", "one call", "a second one");
  if (handle.empty()) graph::fail(*record_, "use_source_state: handle", "a name", "none");
  record_->input_state = std::make_shared<graph::StateRecord>();
  record_->input_state->handle = std::move(handle);
  for (const std::string_view name : names) graph::add_part(*record_, name, false);
  return StateNode(record_->input_state);
}

const AttributeMap& FilterNode::attributes() const { return record_->attributes; }
std::shared_ptr<DataSource> FilterNode::weights() const { return record_->weights; }
PaddingPolicy FilterNode::padding_policy() const { return record_->padding; }
TrainingStyle FilterNode::training_style() const { return record_->training_style; }

const AttributeValue& FilterNode::attribute(std::string_view name) const {
  const auto found = record_->attributes.find(name);
  if (found == record_->attributes.end()) {
    throw_expected(graph::title(*record_), "the name of an attribute", str('"', name, '"'));
  }
  return found->second;
}

void FilterNode::set_padding_policy(PaddingPolicy policy) {
  graph::check_padding(*record_, policy);
  record_->padding = policy;
}

void FilterNode::set_training_style(TrainingStyle style) {
  if (!record_->node_class->trainable) {
    graph::fail(*record_, "training_style", "a trainable node", record_->node_class->name);
  }
  record_->training_style = style;
}

std::optional<FilterNode> FilterNode::inference_node() const {
  if (record_->inference_node == nullptr) return std::nullopt;
  return FilterNode(record_->inference_node);
}

}  // namespace mpsnn
