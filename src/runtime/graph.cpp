// SPDX-License-Identifier: MIT
// The public Graph.
#include "mpsnn/graph.h"

#include <utility>

#include "base/check.h"
#include "runtime/graph_impl.h"
#include "runtime/parameter_state.h"

namespace mpsnn {

const Image& GraphOutputs::operator[](const std::string& handle) const {
  const auto found = by_handle.find(handle);
  if (found != by_handle.end()) return found->second;
  std::string there;
  for (const auto& entry : by_handle) there += (there.empty() ? "\"" : ", \"") + entry.first + "\"";
  throw_expected("GraphOutputs",
                 there.empty() ? "no handle, since none comes out" : "one of " + there,
                 "\"" + handle + "\"");
}

Graph::Graph(const Device& device, std::vector<ImageNode> result_images,
             std::optional<std::vector<bool>> results_are_needed, std::optional<DataType> format) {
  if (format && *format != DataType::FLOAT32 && *format != DataType::FLOAT16)
    throw_expected<UnsupportedError>("Graph: format", "float32 or float16", name_of(*format));
  std::vector<bool> needed =
      results_are_needed.value_or(std::vector<bool>(result_images.size(), true));
  graph::Network network = graph::collect(std::move(result_images), std::move(needed));
  network.format = format;
  impl_ = std::make_shared<Impl>(device, std::move(network));
  for (const auto& source : impl_->network.data_sources)
    runtime::ParameterState::of(*source, device.state())->load(*source);
}

void Graph::reload_from_data_sources() const {
  for (const auto& source : impl_->network.data_sources)
    runtime::ParameterState::of(*source, impl_->device.state())->reload(*source);
}

const Device& Graph::device() const { return impl_->device; }
const std::string& Graph::label() const { return impl_->label; }
void Graph::set_label(std::string label) { impl_->label = std::move(label); }

std::vector<std::string> Graph::source_handles() const {
  std::vector<std::string> handles;
  for (const ImageNode& source : impl_->network.sources) handles.push_back(source.handle());
  return handles;
}

std::optional<DataType> Graph::source_format(const std::string& handle) const {
  for (const ImageNode& source : impl_->network.sources) {
    if (source.handle() == handle) return source.format().value_or(DataType::FLOAT32);
  }
  return std::nullopt;
}

std::optional<DataType> Graph::format() const { return impl_->network.format; }

std::vector<std::string> Graph::intermediate_handles() const {
  std::vector<std::string> handles;
  for (const ImageNode& image : impl_->network.exported) handles.push_back(image.handle());
  return handles;
}

namespace {

std::vector<std::string> handles_of(const std::vector<StateNode>& states) {
  std::vector<std::string> handles;
  for (const StateNode& state : states) handles.push_back(state.handle());
  return handles;
}

}  // namespace

std::vector<std::string> Graph::source_state_handles() const {
  return handles_of(impl_->network.source_states);
}

std::vector<std::string> Graph::result_state_handles() const {
  return handles_of(impl_->network.exported_states);
}

std::vector<ImageNode> Graph::result_images() const { return impl_->network.results; }
std::vector<bool> Graph::results_are_needed() const { return impl_->network.needed; }
std::vector<std::shared_ptr<DataSource>> Graph::data_sources() const {
  return impl_->network.data_sources;
}
std::vector<FilterNode> Graph::nodes() const { return impl_->network.nodes; }

GraphOutputs Graph::encode(CommandBuffer& commands, const std::map<std::string, Image>& sources,
                           const std::map<std::string, SourceState>& states) const {
  return impl_->encode(commands, sources, states);
}

std::string Graph::plan_text(const std::map<std::string, ImageSize>& sources) const {
  return graph::to_text(impl_->plan_for(sources)->plan());
}

std::string Graph::plan_dot(const std::map<std::string, ImageSize>& sources) const {
  return graph::to_dot(impl_->plan_for(sources)->plan());
}

std::string Graph::dot() const { return graph::to_dot(impl_->network); }

Graph::Cost Graph::cost(const std::map<std::string, ImageSize>& sources) const {
  const graph::Plan& plan = impl_->plan_for(sources)->plan();
  return {
      .heap_bytes = plan.heap_bytes, .flops = plan.flops(), .operations = plan.operations.size()};
}

std::size_t Graph::plan_limit() const { return impl_->plans.limit(); }
std::size_t Graph::plan_count() const { return impl_->plans.size(); }
void Graph::trim() const { impl_->plans.clear(); }
void Graph::set_plan_limit(std::size_t limit) const {
  if (limit == 0) throw_expected(impl_->title() + ": plan_limit", "at least 1", "0");
  impl_->plans.set_limit(limit);
}

}  // namespace mpsnn
