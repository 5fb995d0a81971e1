// SPDX-License-Identifier: MIT
#include "runtime/own_updates.h"

#include <algorithm>
#include <span>
#include <utility>

#include "base/check.h"
#include "graph/draft.h"
#include "runtime/command_buffer_state.h"
#include "runtime/host_optimizer.h"

namespace mpsnn::runtime {
namespace {

/// A parameter of the data source on the device.
struct Target {
  ParameterInfo info;
  MemoryHandle value;
};

/// What a step keeps alive. The arrays are those that the run was bound to.
struct Update {
  std::shared_ptr<DataSource> source;
  std::shared_ptr<ParameterState> state;
  std::shared_ptr<DeviceState> device;
  std::vector<Target> targets;

  const Target& target(const std::string& name, std::string_view method) const {
    const auto found =
        std::ranges::find_if(targets, [&](const Target& each) { return each.info.name == name; });
    if (found != targets.end()) return *found;
    std::string names;
    for (const Target& each : targets)
      names += (names.empty() ? "\"" : ", \"") + each.info.name + "\"";
    throw_expected(str(title(*source), ": ", method), "parameters of " + names, "\"" + name + "\"");
  }

  std::vector<float> read(const backend::Memory& memory, std::size_t count) const {
    std::vector<float> values(count);
    device->backend->read(memory, 0, values.data(), count * sizeof(float));
    return values;
  }

  void write(const Target& target, std::string_view method, std::span<const float> values) const {
    if (values.size() != count_of(target.info)) {
      throw_expected(str(title(*source), ": ", method, ": ", target.info.name),
                     str(count_of(target.info), " values"), values.size());
    }
    state->update(*source, target.info.name, values);
  }
};

ImageSize image_size(const ParameterInfo& info) {
  std::vector<std::int64_t> dims = info.shape;
  dims.insert(dims.begin(), 4 - dims.size(), 1);
  return {dims[0], dims[1], dims[2], dims[3]};
}

std::shared_ptr<Update> make_update(const PlanRun& run, const OwnGradients& gradients,
                                    const std::shared_ptr<DeviceState>& device) {
  const std::size_t owner = gradients.update.data_source;
  auto update = std::make_shared<Update>(run.plan->plan().data_sources[owner],
                                         run.binding->uses[owner].state, device);
  for (const ParameterInfo& info : update->source->parameters()) {
    const std::size_t bytes = count_of(info) * sizeof(float);
    update->targets.push_back({info, update->state->array(*update->source, info.name, bytes)});
  }
  return update;
}

using GradientMemory = std::map<std::string, MemoryHandle>;

/// By update_with_gradient_state().
void update_by_method(const Update& update, const GradientMemory& gradients) {
  constexpr std::string_view kMethod = "update_with_gradient_state";
  ParameterValues gradient_state, source_state;
  for (const Target& target : update.targets) {
    const std::size_t count = count_of(target.info);
    source_state.emplace(target.info.name, update.read(*target.value, count));
    const auto found = gradients.find(target.info.name);
    if (found != gradients.end())
      gradient_state.emplace(target.info.name, update.read(*found->second, count));
  }
  const auto changed = update.source->update_with_gradient_state(gradient_state, source_state);
  if (!changed) return;
  for (const auto& [name, values] : *changed)
    update.write(update.target(name, kMethod), kMethod, values);
}

/// The arrays that an optimizer keeps beside a parameter.
struct OptimizerArrays {
  std::vector<MemoryHandle> moments;
  MemoryHandle time_step;  // null: the optimizer has none
};

OptimizerArrays optimizer_arrays(const Update& update, const ParameterInfo& info,
                                 const Optimizer& optimizer) {
  OptimizerArrays arrays;
  for (const std::string& moment : optimizer.moments()) {
    arrays.moments.push_back(update.state->array(*update.source, str(info.name, '.', moment),
                                                 count_of(info) * sizeof(float)));
  }
  if (optimizer.attributes().contains("time_step")) {
    arrays.time_step = update.state->array(*update.source, info.name + ".time_step",
                                           graph::counter_desc().bytes());
  }
  return arrays;
}

void step(const Update& update, const Target& target, const backend::Memory& gradient,
          const OptimizerArrays& arrays, const HostOptimizer& optimizer) {
  const std::size_t count = count_of(target.info);
  std::vector<float> value = update.read(*target.value, count);
  const std::vector<float> slope = update.read(gradient, count);
  std::vector<std::vector<float>> moments;
  for (const MemoryHandle& moment : arrays.moments) moments.push_back(update.read(*moment, count));
  std::int64_t time_step = 0;
  if (arrays.time_step) {
    update.device->backend->read(*arrays.time_step, 0, &time_step, sizeof time_step);
    ++time_step;
  }
  optimizer.step(value, slope, moments, time_step);
  for (std::size_t i = 0; i < moments.size(); ++i)
    update.device->backend->write(*arrays.moments[i], 0, moments[i].data(), count * sizeof(float));
  if (arrays.time_step)
    update.device->backend->write(*arrays.time_step, 0, &time_step, sizeof time_step);
  update.write(target, "update", value);
}

std::function<void()> host_function(const std::shared_ptr<Update>& update,
                                    const OwnGradients& gradients) {
  GradientMemory memory;
  for (const auto& [name, image] : gradients.images) memory.emplace(name, image.state()->memory);
  if (update->source->updates_itself(TrainingStyle::UPDATE_DEVICE_CPU))
    return [update, memory] { update_by_method(*update, memory); };
  // As on the device, numbers that may change are those of the encode.
  const HostOptimizer optimizer(*update->source->optimizer());
  std::map<std::string, OptimizerArrays> arrays;
  for (const auto& [name, gradient] : memory) {
    const Target& target = update->target(name, "update");
    arrays.emplace(name, optimizer_arrays(*update, target.info, *update->source->optimizer()));
  }
  return [update, memory, optimizer, arrays] {
    for (const auto& [name, gradient] : memory)
      step(*update, update->target(name, "update"), *gradient, arrays.at(name), optimizer);
  };
}

/// By update_with_command_buffer(): what it records is copied over the weights when it is made.
std::function<void()> device_function(CommandBuffer& commands,
                                      const std::shared_ptr<Update>& update,
                                      const OwnGradients& gradients) {
  static constexpr std::string_view kMethod = "update_with_command_buffer";
  ParameterImages source_state;
  for (const Target& target : update->targets) {
    source_state.emplace(target.info.name, Image(std::make_shared<ImageState>(
                                               update->device, image_size(target.info),
                                               DataType::FLOAT32, target.value, target.info.name)));
  }
  const auto changed =
      update->source->update_with_command_buffer(commands, gradients.images, source_state);
  if (!changed) return nullptr;
  for (const auto& [name, image] : *changed) {
    const ImageSize wanted = image_size(update->target(name, kMethod).info);
    if (image.size() != wanted || image.format() != DataType::FLOAT32) {
      throw_expected(str(title(*update->source), ": ", kMethod, ": ", name),
                     str("float32 of size ", to_string(wanted)),
                     str(name_of(image.format()), " of size ", to_string(image.size())));
    }
  }
  return [update, images = *changed] {
    for (const auto& [name, image] : images) {
      const Target& target = update->target(name, kMethod);
      update->write(target, kMethod, update->read(*image.state()->memory, count_of(target.info)));
    }
  };
}

}  // namespace

void record_update(CommandBuffer& commands, const PlanRun& run, const OwnGradients& gradients) {
  CommandBufferState& buffer = *commands.state();
  const auto update = make_update(run, gradients, buffer.device());
  const bool on_host = gradients.update.style == TrainingStyle::UPDATE_DEVICE_CPU;
  std::function<void()> function =
      on_host ? host_function(update, gradients) : device_function(commands, update, gradients);
  if (!function) return;
  buffer.record(
      HostStep{"update of " + update->source->label(), std::move(function), {}, run.binding},
      commands.layer()->stack());
}

}  // namespace mpsnn::runtime
