// SPDX-License-Identifier: MIT
#include "graph/serialize.h"

#include <charconv>
#include <cmath>
#include <limits>
#include <unordered_map>
#include <utility>

#include "graph/formats.h"
#include "graph/node_records.h"
#include "graph/node_table.h"
#include "graph/serialize_tools.h"

namespace mpsnn::graph {
namespace {

using base::Json;
using base::JsonField;

/// JSON has no infinities; and a list needs its type where it is empty.
constexpr std::string_view kNumber = "f64", kNumbers = "f64s", kIntegers = "i64s",
                           kUnsigned = "u64";

Json number_to_json(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  return value;
}

double read_number(const JsonField& field) {
  const std::string* text = field.value().get_if<std::string>();
  if (text == nullptr) return field.number();
  if (*text == "inf") return std::numeric_limits<double>::infinity();
  if (*text == "-inf") return -std::numeric_limits<double>::infinity();
  if (*text == "nan") return std::numeric_limits<double>::quiet_NaN();
  field.fail("expected a number, \"inf\", \"-inf\" or \"nan\", got \"" + *text + "\"");
}

struct AttributeWriter {
  Json operator()(bool value) const { return value; }
  Json operator()(std::int64_t value) const { return value; }
  Json operator()(std::uint64_t value) const {
    // JSON's integers end at 2^63 - 1 in most readers, ours included.
    if (value <= std::uint64_t(std::numeric_limits<std::int64_t>::max()))
      return static_cast<std::int64_t>(value);
    return Json::Object{{std::string(kUnsigned), std::to_string(value)}};
  }
  Json operator()(const std::string& value) const { return value; }
  Json operator()(double value) const {
    if (std::isfinite(value)) return value;
    return Json::Object{{std::string(kNumber), number_to_json(value)}};
  }
  Json operator()(const std::vector<std::int64_t>& values) const {
    return Json::Object{{std::string(kIntegers), Json::Array(values.begin(), values.end())}};
  }
  Json operator()(const std::vector<double>& values) const {
    Json::Array items;
    for (const double value : values) items.push_back(number_to_json(value));
    return Json::Object{{std::string(kNumbers), std::move(items)}};
  }
};

std::uint64_t read_unsigned(const JsonField& field) {
  const std::string& text = field.string();
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    field.fail("expected the digits of an integer of 64 bits, got \"" + text + "\"");
  return value;
}

AttributeValue read_tagged(const JsonField& field) {
  if (const auto number = field.find(kNumber)) return read_number(*number);
  if (const auto integers = field.find(kIntegers)) {
    std::vector<std::int64_t> values;
    for (std::size_t i = 0; i < integers->size(); ++i) values.push_back(integers->at(i).integer());
    return values;
  }
  if (const auto text = field.find(kUnsigned)) return read_unsigned(*text);
  const JsonField numbers = field.at(kNumbers);
  std::vector<double> values;
  for (std::size_t i = 0; i < numbers.size(); ++i) values.push_back(read_number(numbers.at(i)));
  return values;
}

AttributeValue read_attribute(const JsonField& field) {
  const Json& value = field.value();
  if (const bool* flag = value.get_if<bool>()) return *flag;
  if (const std::int64_t* integer = value.get_if<std::int64_t>()) return *integer;
  if (const double* number = value.get_if<double>()) return *number;
  if (const std::string* text = value.get_if<std::string>()) return *text;
  return read_tagged(field);
}

/// Only what differs from the default.
Json::Object image_to_json(const ImageNode& image) {
  Json::Object json;
  if (!image.handle().empty()) json["handle"] = image.handle();
  if (image.stop_gradient()) json["stop_gradient"] = true;
  if (image.export_from_graph()) json["export"] = true;
  if (image.format()) json["format"] = name_of(*image.format());
  return json;
}

void read_image(const JsonField& field, ImageNode image) {
  if (const auto handle = field.find("handle")) image.set_handle(handle->string());
  if (const auto stop = field.find("stop_gradient")) image.set_stop_gradient(stop->boolean());
  if (const auto exported = field.find("export")) image.set_export_from_graph(exported->boolean());
  if (const auto format = field.find("format")) {
    image.set_format(built(*format, [&] { return data_type_named(format->string()); }));
  }
}

/// The bits alone where they say all.
Json padding_to_json(const FilterRecord& node) {
  const PaddingPolicy& policy = node.padding;
  if (policy.own) {
    fail(node, "padding_policy", "a policy of the library, since a class of one's own is no data",
         policy.own->label());
  }
  if (!policy.pads && !policy.edge_mode) return policy.method;
  Json::Object json = {{"method", policy.method}};
  if (policy.pads) json["pads"] = Json::Array(policy.pads->begin(), policy.pads->end());
  if (policy.edge_mode) json["edge_mode"] = static_cast<std::int64_t>(*policy.edge_mode);
  return json;
}

PaddingPolicy read_padding(const JsonField& field) {
  if (field.value().get_if<std::int64_t>() != nullptr) return {.method = field.integer()};
  PaddingPolicy policy = {.method = field.at("method").integer()};
  if (const auto pads = field.find("pads")) {
    if (pads->size() != 4) pads->fail("expected 4 numbers, got " + std::to_string(pads->size()));
    constexpr std::int64_t kMost = std::int64_t{1} << 31;
    policy.pads.emplace();
    for (std::size_t i = 0; i < 4; ++i) policy.pads->at(i) = pads->at(i).integer(0, kMost);
  }
  if (const auto edge = field.find("edge_mode"))
    policy.edge_mode = static_cast<ImageEdgeMode>(edge->integer(0, 1));
  return policy;
}

/// The nodes of a network, each after those that it refers to: its sources' and its inference node.
class NodeOrder {
 public:
  explicit NodeOrder(const Network& network) {
    for (const FilterNode& node : network.nodes) members_.emplace(node.record().get(), 0);
    for (const FilterNode& node : network.nodes) visit(node.record().get());
  }
  const std::vector<FilterRecord*>& nodes() const noexcept { return nodes_; }
  std::optional<std::size_t> index_of(const FilterRecord* node) const {
    const auto found = index_.find(node);
    if (found == index_.end()) return std::nullopt;
    return found->second;
  }

 private:
  static FilterRecord* reference(const FilterRecord& node, std::size_t i) {
    return i < node.sources.size() ? node.sources[i].record()->producer : node.inference_node.get();
  }

  void visit(FilterRecord* last) {
    std::vector<FilterRecord*> stack = {last};
    while (!stack.empty()) {
      FilterRecord* top = stack.back();
      std::size_t& next = members_.at(top);
      if (next > top->sources.size()) {
        stack.pop_back();
        if (index_.try_emplace(top, nodes_.size()).second) nodes_.push_back(top);
        continue;
      }
      FilterRecord* wanted = reference(*top, next++);
      if (wanted != nullptr && members_.contains(wanted) && !index_.contains(wanted))
        stack.push_back(wanted);
    }
  }

  std::unordered_map<const FilterRecord*, std::size_t> members_;  // and the next reference to visit
  std::unordered_map<const FilterRecord*, std::size_t> index_;
  std::vector<FilterRecord*> nodes_;
};

class NetworkWriter {
 public:
  NetworkWriter(const Network& network, const IndexOfDataSource& index_of)
      : network_(network), index_of_(index_of), order_(network) {}

  Json write() const {
    Json::Array sources, nodes, results;
    for (const ImageNode& source : network_.sources) sources.emplace_back(image_to_json(source));
    for (FilterRecord* node : order_.nodes()) nodes.push_back(node_to_json(*node));
    for (std::size_t i = 0; i < network_.results.size(); ++i) {
      Json::Object result = reference(network_.results[i]);
      result["needed"] = static_cast<bool>(network_.needed[i]);
      results.emplace_back(std::move(result));
    }
    Json::Object json = {{"sources", std::move(sources)},
                         {"nodes", std::move(nodes)},
                         {"results", std::move(results)}};
    if (network_.format) json["format"] = name_of(*network_.format);
    return json;
  }

 private:
  Json::Object reference(const ImageNode& image) const {
    const FilterRecord* producer = image.record()->producer;
    if (producer != nullptr)
      return {{"node", static_cast<std::int64_t>(*order_.index_of(producer))}};
    for (std::size_t i = 0; i < network_.sources.size(); ++i) {
      if (network_.sources[i] == image) return {{"source", static_cast<std::int64_t>(i)}};
    }
    throw InternalError("a network knows every source of its nodes");
  }

  Json node_to_json(FilterRecord& node) const {
    Json::Array sources;
    for (const ImageNode& source : node.sources) {
      if (source.record()->state == nullptr) sources.emplace_back(reference(source));
    }
    Json::Object json = {{"class", node.node_class->name},
                         {"label", node.label},
                         {"sources", std::move(sources)},
                         {"attributes", to_json(node.attributes)}};
    if (node.weights) json["weights"] = static_cast<std::int64_t>(index_of_(*node.weights));
    if (node.node_class->has_padding) json["padding"] = padding_to_json(node);
    if (node.node_class->trainable)
      json["training_style"] = static_cast<std::int64_t>(node.training_style);
    const auto inference = order_.index_of(node.inference_node.get());
    if (inference) json["inference_node"] = static_cast<std::int64_t>(*inference);
    Json::Object result = image_to_json(result_of(node.shared_from_this()));
    if (const auto format = format_to_keep(node)) result["format"] = name_of(*format);
    if (!result.empty()) json["result"] = std::move(result);
    if (node.input_state)
      json[node.input_state->labels ? "labels" : "source_state"] = node.input_state->handle;
    if (node.result_state.exported) json["exported_state"] = node.result_state.handle;
    return json;
  }

  /// Which image a gradient belongs to is not stored: its format is, where it says something.
  std::optional<DataType> format_to_keep(const FilterRecord& node) const {
    if (node.gradient_of == nullptr || node.result.format) return std::nullopt;
    const DataType own = format_of(node.result, network_.format);
    const DataType otherwise =
        network_.format.value_or(format_of(*node.sources.at(0).record(), network_.format));
    return own == otherwise ? std::nullopt : std::optional(own);
  }

  const Network& network_;
  const IndexOfDataSource& index_of_;
  NodeOrder order_;
};

/// Rebuilds nodes in their order. A reference can only go back, so there are no cycles.
class NetworkReader {
 public:
  explicit NetworkReader(const DataSourceAt& data_source_at) : data_source_at_(data_source_at) {}

  NetworkRoots read(const JsonField& field) {
    const JsonField sources = field.at("sources"), nodes = field.at("nodes"),
                    results = field.at("results");
    for (std::size_t i = 0; i < sources.size(); ++i) {
      read_image(sources.at(i), sources_.emplace_back());
    }
    for (std::size_t i = 0; i < nodes.size(); ++i) nodes_.push_back(read_node(nodes.at(i)));
    NetworkRoots roots;
    if (const auto format = field.find("format"))
      roots.format = built(*format, [&] { return data_type_named(format->string()); });
    for (std::size_t i = 0; i < results.size(); ++i) {
      roots.results.push_back(image_at(results.at(i)));
      roots.needed.push_back(results.at(i).at("needed").boolean());
    }
    return roots;
  }

 private:
  ImageNode image_at(const JsonField& field) const {
    if (const auto source = field.find("source")) return sources_[source->index(sources_.size())];
    return nodes_[field.at("node").index(nodes_.size())].result_image();
  }

  FilterNode read_node(const JsonField& field) {
    std::vector<ImageNode> sources;
    const JsonField references = field.at("sources");
    for (std::size_t i = 0; i < references.size(); ++i)
      sources.push_back(image_at(references.at(i)));
    std::shared_ptr<DataSource> weights;
    if (const auto index = field.find("weights")) weights = data_source_at_(*index);
    AttributeMap attributes = read_attributes(field.at("attributes"));
    FilterNode node = built(field, [&] {
      return FilterNode(field.at("class").string(), sources, std::move(attributes),
                        std::move(weights));
    });
    node.set_label(field.at("label").string());
    read_options(field, node);
    return node;
  }

  void read_options(const JsonField& field, FilterNode& node) {
    if (const auto padding = field.find("padding")) {
      PaddingPolicy policy = read_padding(*padding);
      built(*padding, [&] { node.set_padding_policy(std::move(policy)); });
    }
    if (const auto style = field.find("training_style")) {
      const auto value = static_cast<TrainingStyle>(style->integer(0, 2));
      built(*style, [&] { node.set_training_style(value); });
    }
    if (const auto inference = field.find("inference_node")) {
      node.record()->inference_node = nodes_[inference->index(nodes_.size())].record();
    }
    if (const auto result = field.find("result")) read_image(*result, node.result_image());
    if (const auto labels = field.find("labels")) {
      built(*labels, [&] { node.input_labels().set_handle(labels->string()); });
    }
    if (const auto state = field.find("source_state"))
      built(*state, [&] { node.use_source_state(state->string()); });
    if (const auto state = field.find("exported_state")) {
      built(*state, [&] {
        node.result_state().set_handle(state->string());
        node.result_state().set_export_from_graph(true);
      });
    }
  }

  const DataSourceAt& data_source_at_;
  std::vector<ImageNode> sources_;
  std::vector<FilterNode> nodes_;
};

}  // namespace

Json to_json(const AttributeMap& attributes) {
  Json::Object json;
  for (const auto& [name, value] : attributes)
    json.emplace(name, std::visit(AttributeWriter(), value));
  return json;
}

AttributeMap read_attributes(const JsonField& field) {
  AttributeMap attributes;
  for (const auto& entry : field.object())
    attributes.emplace(entry.first, read_attribute(field.at(entry.first)));
  return attributes;
}

std::shared_ptr<Optimizer> read_optimizer(const JsonField& field) {
  AttributeMap known = OptimizerStochasticGradientDescent(0).attributes(), given;
  known.merge(OptimizerAdam(0).attributes());
  known.merge(OptimizerRMSProp(0).attributes());
  for (const auto& entry : field.object()) {
    if (known.contains(entry.first))
      given.emplace(entry.first, read_attribute(field.at(entry.first)));
  }
  return built(field, [&] { return make_optimizer(given); });
}

Json to_json(const Network& network, const IndexOfDataSource& index_of) {
  return NetworkWriter(network, index_of).write();
}

NetworkRoots read_network(const JsonField& field, const DataSourceAt& data_source_at) {
  return NetworkReader(data_source_at).read(field);
}

}  // namespace mpsnn::graph
