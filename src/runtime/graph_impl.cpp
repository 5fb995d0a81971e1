// SPDX-License-Identifier: MIT
// Encoding a graph: sources are checked, the plan is looked up, results are allocated, and one item
// is recorded for the whole run.
#include "runtime/graph_impl.h"

#include <utility>

#include "base/check.h"
#include "graph/node_records.h"
#include "runtime/command_buffer_state.h"
#include "runtime/loss_labels.h"
#include "runtime/own_updates.h"

namespace mpsnn {
namespace {

using graph::ValueId;
using runtime::CompiledPlan;
using runtime::ImageState;
using runtime::PlanRun;

TensorDesc desc_of(const ImageSize& size, DataType type) {
  return {type, {size.n, size.height, size.width, size.channels}, nullptr};
}

/// Of an array with fewer extents: with ones before them.
ImageSize image_size(TensorDesc desc) {
  desc.dims.insert(desc.dims.begin(), 4 - desc.dims.size(), 1);
  return desc.image();
}

DataType type_of(const ImageNode& source) { return source.format().value_or(DataType::FLOAT32); }

template <class Map>
std::string keys_of(const Map& map) {
  std::string keys;
  for (const auto& entry : map) keys += (keys.empty() ? "\"" : ", \"") + entry.first + "\"";
  return keys.empty() ? "none" : keys;
}

std::string default_label(const graph::Network& network) {
  const ImageNode& result = network.results.front();
  return result.handle().empty() ? result.producer()->label() : result.handle();
}

/// The images that a run makes: one for each distinct value that comes out.
class OutputImages {
 public:
  OutputImages(const CompiledPlan& plan, PlanRun& run,
               const std::shared_ptr<runtime::DeviceState>& device)
      : plan_(plan), run_(run), device_(device) {}

  Image image(ValueId id) {
    for (const auto& [known, state] : made_) {
      if (known == id) return Image(state);
    }
    const graph::Value& value = plan_.plan().values[id];
    const std::uint32_t base = plan_.base_of(id);
    check_internal(base >= plan_.first_allocated_base() && base < plan_.first_parameter_base(),
                   "results have memory of their own");
    auto state = std::make_shared<ImageState>(device_, image_size(value.desc), value.desc.type,
                                              run_.allocated[base - plan_.first_allocated_base()],
                                              value.name);
    made_.emplace_back(id, state);
    run_.results.push_back(state);
    return Image(std::move(state));
  }

 private:
  const CompiledPlan& plan_;
  PlanRun& run_;
  const std::shared_ptr<runtime::DeviceState>& device_;
  std::vector<std::pair<ValueId, std::shared_ptr<ImageState>>> made_;
};

/// Memory and addresses for one run. Kernels are not launched by this.
std::shared_ptr<PlanRun> prepare_run(std::shared_ptr<const CompiledPlan> plan,
                                     std::shared_ptr<const runtime::Binding> binding,
                                     std::vector<std::shared_ptr<ImageState>> sources,
                                     runtime::CommandBufferState& commands) {
  auto run = std::make_shared<PlanRun>();
  run->plan = std::move(plan);
  run->binding = std::move(binding);
  for (auto& source : sources) run->uses.push_back({std::move(source), false});
  run->heap = commands.heap(run->plan->plan().heap_bytes);
  for (const ValueId id : run->plan->allocated()) {
    run->allocated.push_back(
        commands.device()->allocator.allocate(run->plan->plan().values[id].desc.bytes()));
  }
  // In the order of CompiledPlan::Base.
  std::vector<void*> bases = {nullptr, run->heap ? run->heap->device_pointer() : nullptr};
  for (const auto& use : run->uses) bases.push_back(use.resource->memory->device_pointer());
  for (const auto& memory : run->allocated) bases.push_back(memory->device_pointer());
  for (const auto& memory : run->binding->memory) bases.push_back(memory->device_pointer());
  run->table = run->plan->table(bases);
  run->scalars = run->plan->scalars();
  return run;
}

}  // namespace

Graph::Impl::Impl(const Device& for_device, graph::Network compiled)
    : device(for_device), label(default_label(compiled)), network(std::move(compiled)) {}

template <class T>
std::vector<const T*> Graph::Impl::in_order(const std::map<std::string, T>& by_handle) const {
  std::vector<const T*> found;
  for (const ImageNode& source : network.sources) {
    const auto at = by_handle.find(source.handle());
    if (at == by_handle.end()) {
      throw_expected(title() + ": sources", "an image for the source \"" + source.handle() + "\"",
                     keys_of(by_handle));
    }
    found.push_back(&at->second);
  }
  if (found.size() == by_handle.size()) return found;
  std::map<std::string, bool> known;
  for (const ImageNode& source : network.sources) known.emplace(source.handle(), true);
  for (const auto& entry : by_handle) {
    if (known.contains(entry.first)) continue;
    throw_expected(title() + ": sources", "only " + keys_of(known),
                   "an unknown source \"" + entry.first + "\"");
  }
  return found;
}

runtime::PlanKey Graph::Impl::key(std::vector<TensorDesc> sources) const {
  runtime::PlanKey key{std::move(sources), {}, {}};
  for (const auto& source : network.data_sources) {
    key.optimizers.push_back(source->is_updated() ? source->optimizer() : nullptr);
    key.trainable.push_back(source->trainable());
  }
  return key;
}

graph::Plan Graph::Impl::make_plan(const runtime::PlanKey& key) const {
  try {
    if (const GraphCompiler* compiler = device.state()->backend->graph_compiler())
      return graph::make_plan(network, key.sources, *compiler);
    return graph::make_plan(network, key.sources, device.state()->chooser);
  } catch (const InvalidArgumentError& error) {
    std::string sources;
    for (std::size_t i = 0; i < network.sources.size(); ++i) {
      sources += str(i == 0 ? "" : ", ", '"', network.sources[i].handle(), "\" ",
                     to_string(key.sources[i].image()));
    }
    throw InvalidArgumentError(str(error.what(), " (sources: ", sources, ")"));
  }
}

std::shared_ptr<const CompiledPlan> Graph::Impl::plan_for(
    const std::map<std::string, ImageSize>& sources) {
  std::vector<TensorDesc> descs, parts;
  std::map<std::string, ImageSize> images = sources;
  for (const StateNode& state : network.source_states) {
    for (const auto& part : state.record()->parts) {
      const bool alone = state.record()->labels && !part->optional;
      const std::string key = alone ? state.handle() : str(state.handle(), '.', part->name);
      auto given = images.extract(key);
      if (given.empty() && !part->optional) {
        throw_expected(title() + ": sources", "a size for the state \"" + key + "\"",
                       keys_of(sources));
      }
      parts.push_back(given.empty() ? TensorDesc{DataType::FLOAT32, {}, nullptr}
                                    : desc_of(given.mapped(), DataType::FLOAT32));
    }
  }
  const std::vector<const ImageSize*> sizes = in_order(images);
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    runtime::checked_bytes(*sizes[i], type_of(network.sources[i]));
    descs.push_back(desc_of(*sizes[i], type_of(network.sources[i])));
  }
  descs.insert(descs.end(), parts.begin(), parts.end());
  const runtime::PlanKey wanted = key(std::move(descs));
  return plans.plan(wanted, [&] { return make_plan(wanted); });
}

void Graph::Impl::check_image(const Image& image, DataType wanted,
                              const std::function<std::string()>& subject) const {
  if (image.state()->device != device.state()) {
    throw_expected(subject(),
                   "an image on device \"" + device.state()->title() + "\" as the graph is",
                   "one on device \"" + image.state()->device->title() + "\"");
  }
  if (image.format() != wanted)
    throw_expected<ArgumentTypeError>(subject(), name_of(wanted), name_of(image.format()));
}

std::vector<std::shared_ptr<ImageState>> Graph::Impl::check_images(
    const std::map<std::string, Image>& sources,
    const std::vector<runtime::GivenState>& states) const {
  std::vector<std::shared_ptr<ImageState>> images;
  const std::vector<const Image*> given = in_order(sources);
  for (std::size_t i = 0; i < given.size(); ++i) {
    check_image(*given[i], type_of(network.sources[i]),
                [&] { return title() + ": source \"" + network.sources[i].handle() + "\""; });
    images.push_back(given[i]->state());
  }
  for (std::size_t i = 0; i < states.size(); ++i) {
    for (const std::optional<Image>& part : states[i].parts) {
      if (!part) continue;
      check_image(*part, DataType::FLOAT32, [&] {
        return title() + ": state \"" + network.source_states[i].handle() + "\"";
      });
      images.push_back(part->state());
    }
  }
  const std::lock_guard lock(device.state()->usage_mutex);
  for (const auto& image : images) {
    const auto& maker = image->usage.writer;
    if (!maker || maker->state() != runtime::PieceState::DROPPED) continue;
    throw StateError(title() + ": " + image->title() +
                     ": expected an image that was made, got one whose command buffer \"" +
                     maker->label() + "\" was never committed");
  }
  return images;
}

std::vector<TensorDesc> Graph::Impl::source_descs(
    const std::map<std::string, Image>& sources,
    const std::vector<runtime::GivenState>& states) const {
  std::vector<TensorDesc> descs;
  for (const Image* image : in_order(sources))
    descs.push_back(desc_of(image->size(), image->format()));
  for (const runtime::GivenState& state : states) {
    for (const std::optional<Image>& part : state.parts)
      descs.push_back(part ? desc_of(part->size(), DataType::FLOAT32)
                           : TensorDesc{DataType::FLOAT32, {}, nullptr});
  }
  return descs;
}

void Graph::Impl::check_losses(const std::vector<runtime::GivenState>& states,
                               const std::vector<std::optional<Image>>& losses) const {
  for (std::size_t i = 0; i < states.size(); ++i) {
    if (!states[i].labels) continue;
    const std::optional<ImageSize>& wanted = states[i].labels->loss_image_size();
    if (!wanted || *wanted == losses[i]->size()) continue;
    throw_expected(
        title() + ": state \"" + network.source_states[i].handle() + "\": loss_image_size",
        str(to_string(losses[i]->size()), " by the loss's reduction"), to_string(*wanted));
  }
}

GraphOutputs Graph::Impl::encode(CommandBuffer& commands,
                                 const std::map<std::string, Image>& sources,
                                 const std::map<std::string, SourceState>& given) {
  runtime::CommandBufferState& buffer = *commands.state();
  runtime::HostSpan span(SpanKind::ENCODE, label, buffer.label());
  if (buffer.device() != device.state()) {
    throw_expected(title() + ": commands",
                   "a command buffer of device \"" + device.state()->title() + "\" as the graph is",
                   "one of device \"" + buffer.device()->title() + "\"");
  }
  const std::vector<runtime::GivenState> states =
      runtime::states_in_order(title(), network.source_states, given);
  std::vector<std::shared_ptr<ImageState>> images = check_images(sources, states);
  const runtime::PlanKey wanted = key(source_descs(sources, states));
  auto [plan, binding] =
      plans.bound_plan(wanted, [&] { return make_plan(wanted); }, device.state());

  span.set_work(plan->bytes_before(plan->plan().operations.size()),
                plan->flops_before(plan->plan().operations.size()));
  const auto run = prepare_run(plan, std::move(binding), std::move(images), buffer);
  OutputImages made(*plan, *run, device.state());
  GraphOutputs outputs;
  for (std::size_t i = 0; i < network.results.size(); ++i) {
    const ValueId id = plan->plan().results[i];
    if (id == graph::kNoValue) {
      outputs.results.emplace_back(std::nullopt);
      continue;
    }
    outputs.results.emplace_back(made.image(id));
    const std::string& handle = network.results[i].handle();
    if (!handle.empty()) outputs.by_handle.emplace(handle, *outputs.results.back());
  }
  for (std::size_t i = 0; i < network.exported.size(); ++i) {
    outputs.by_handle.emplace(network.exported[i].handle(), made.image(plan->plan().exported[i]));
  }
  std::vector<std::optional<Image>> losses(states.size());
  for (const graph::StateOutput& output : plan->plan().states) {
    const Image image = made.image(output.value);
    if (output.in_source) {
      losses[output.state] = image;
      continue;
    }
    outputs.states[network.exported_states[output.state].handle()].emplace(output.name, image);
  }
  check_losses(states, losses);
  std::vector<runtime::OwnGradients> gradients;
  for (const graph::OwnUpdate& update : plan->plan().own_updates) {
    ParameterImages& images_of = gradients.emplace_back(update).images;
    for (const auto& each : update.gradients)
      images_of.emplace(each.parameter, made.image(each.value));
  }
  buffer.record(run, commands.layer()->stack());
  for (const runtime::OwnGradients& each : gradients) runtime::record_update(commands, *run, each);
  for (std::size_t i = 0; i < states.size(); ++i) {
    if (!states[i].labels) continue;
    LossLabels::State& labels = *states[i].labels->state();
    const std::lock_guard lock(labels.mutex);
    labels.loss = losses[i];
  }
  return outputs;
}

}  // namespace mpsnn
