// SPDX-License-Identifier: MIT
#include "runtime/parameter_state.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/check.h"
#include "graph/device_states.h"
#include "runtime/mapped_memory.h"

namespace mpsnn::runtime {
namespace {

constexpr std::string_view kVersion = ".version", kTimeStep = ".time_step";

const ParameterInfo* find_parameter(const std::vector<ParameterInfo>& parameters,
                                    std::string_view name) {
  const auto found = std::ranges::find(parameters, name, &ParameterInfo::name);
  return found == parameters.end() ? nullptr : &*found;
}

/// "weights.momentum" -> "weights".
std::string_view parameter_of(std::string_view name) { return name.substr(0, name.find('.')); }

/// The time step that the optimizer starts from; none where it has no time step on the device.
std::optional<std::int64_t> first_time_step(const DataSource& source) {
  if (!source.optimizer()) return std::nullopt;
  const AttributeMap attributes = source.optimizer()->attributes();
  const auto found = attributes.find("time_step");
  if (found == attributes.end()) return std::nullopt;
  return std::get<std::int64_t>(found->second);
}

}  // namespace

std::vector<std::string> parameter_names(const DataSource& source) {
  std::vector<std::string> names;
  for (const ParameterInfo& parameter : source.parameters()) {
    names.push_back(parameter.name);
    if (!source.optimizer() || !parameter.trained) continue;
    for (const std::string& moment : source.optimizer()->moments())
      names.push_back(parameter.name + "." + moment);
  }
  return names;
}

std::size_t parameter_count(const DataSource& source, const std::string& name) {
  const std::vector<std::string> names = parameter_names(source);
  if (std::ranges::find(names, name) == names.end()) {
    std::string there;
    for (const std::string& one : names) there += (there.empty() ? "\"" : ", \"") + one + "\"";
    throw_expected(title(source) + ": parameter", "one of " + there, "\"" + name + "\"");
  }
  const std::vector<ParameterInfo> parameters = source.parameters();
  return count_of(*find_parameter(parameters, parameter_of(name)));
}

std::shared_ptr<ParameterState> ParameterState::of(const DataSource& source,
                                                   const std::shared_ptr<DeviceState>& device) {
  DataSource::DeviceStates& states = source.device_states();
  const std::lock_guard lock(states.mutex);
  // The state holds the device, so the key cannot become another device's address.
  std::shared_ptr<void>& state = states.by_device[device.get()];
  if (!state) state = std::make_shared<ParameterState>(device);
  return std::static_pointer_cast<ParameterState>(state);
}

MemoryHandle ParameterState::array(const DataSource& source, const std::string& name,
                                   std::size_t bytes) {
  const std::vector<ParameterInfo> parameters = source.parameters();
  if (find_parameter(parameters, name)) load(source);
  const std::lock_guard lock(mutex_);
  MemoryHandle& memory = arrays_[name];
  if (!memory) memory = make(source, name, bytes);
  if (memory->bytes() < bytes)
    check_internal(false, str("array ", name, " of ", title(source), " keeps its size"));
  return memory;
}

MemoryHandle ParameterState::find(std::string_view name) const {
  const std::lock_guard lock(mutex_);
  const auto found = arrays_.find(name);
  return found == arrays_.end() ? nullptr : found->second;
}

void ParameterState::load(const DataSource& source) {
  const std::vector<ParameterInfo> parameters = source.parameters();
  const auto is_there = [&](const ParameterInfo& each) { return find(each.name) != nullptr; };
  if (std::ranges::all_of(parameters, is_there)) return;
  // Without the lock: a data source of one's own may take long, and may call back.
  std::map<std::string, MemoryHandle> made;
  ParameterValues values;
  if (MemoryHandle weights = map_weights(*device_, source)) {
    made.emplace("weights", std::move(weights));
    if (parameters.size() > 1) values.emplace("bias", source.initial("bias"));
  } else {
    values = load_values(source);
  }
  for (const auto& [name, array] : values) {
    const std::size_t bytes = array.size() * sizeof(float);
    const MemoryHandle memory = device_->allocator.allocate(bytes);
    device_->backend->write(*memory, 0, array.data(), bytes);
    made.emplace(name, memory);
  }
  const std::lock_guard lock(mutex_);
  for (auto& [name, memory] : made) {
    MemoryHandle& kept = arrays_[name];
    if (!kept) kept = std::move(memory);  // else another thread was faster
  }
}

void ParameterState::adopt(const DataSource& source, const std::string& name, MemoryHandle memory) {
  use_optimizer(source);
  const std::unique_lock idle = quiesce(true);
  const std::lock_guard lock(mutex_);
  arrays_[name] = std::move(memory);
  ++generation_;
}

void ParameterState::reload(const DataSource& source) {
  const std::vector<ParameterInfo> parameters = source.parameters();
  const ParameterValues values = load_values(source);
  for (const ParameterInfo& each : parameters) {
    if (find(each.name)) write(source, each.name, values.at(each.name));
  }
}

MemoryHandle ParameterState::make(const DataSource& source, const std::string& name,
                                  std::size_t bytes) const {
  MemoryHandle memory = device_->allocator.allocate(bytes);
  fill_zeros(*device_->backend, *memory, bytes);
  const bool is_copy = name.find('@') != std::string::npos;
  std::int64_t counter = 0;  // copies: older than every version, so that the first use fills them
  if (name.ends_with(kVersion) && !is_copy) counter = 1;
  if (name.ends_with(kTimeStep)) counter = first_time_step(source).value_or(0);
  if (counter != 0) device_->backend->write(*memory, 0, &counter, sizeof counter);
  return memory;
}

void ParameterState::use_optimizer(const DataSource& source) {
  const std::lock_guard lock(mutex_);
  const auto previous = std::exchange(optimizer_, source.optimizer());
  if (!previous || previous == optimizer_) return;
  const std::vector<ParameterInfo> parameters = source.parameters();
  std::erase_if(arrays_, [&](const auto& entry) {
    const std::string& name = entry.first;
    const bool is_version = name.ends_with(kVersion) || name.find('@') != std::string::npos;
    return !is_version && !find_parameter(parameters, name);
  });
  ++generation_;
}

std::unique_lock<std::mutex> ParameterState::quiesce(bool for_writing) const {
  while (true) {
    std::vector<std::shared_ptr<Piece>> users;
    std::unique_lock lock(device_->usage_mutex);
    usage.collect(for_writing, users);
    if (users.empty()) return lock;
    lock.unlock();
    for (const auto& user : users) user->wait(PieceState::EXECUTED);
  }
}

std::vector<float> ParameterState::read(const DataSource& source, const std::string& name) const {
  std::vector<float> values(parameter_count(source, name));
  const std::vector<ParameterInfo> parameters = source.parameters();
  if (find_parameter(parameters, name) && !find(name)) return load_values(source).at(name);
  const std::unique_lock idle = quiesce(false);
  if (const MemoryHandle memory = find(name)) {
    device_->backend->read(*memory, 0, values.data(), values.size() * sizeof(float));
    return values;
  }
  return values;
}

void ParameterState::write(const DataSource& source, const std::string& name,
                           std::span<const float> values) {
  const std::size_t count = parameter_count(source, name);
  if (values.size() != count)
    throw_expected(title(source) + ": " + name, str(count, " values"), values.size());
  const std::vector<ParameterInfo> parameters = source.parameters();
  const bool is_parameter = find_parameter(parameters, name) != nullptr;
  if (!is_parameter) use_optimizer(source);
  const MemoryHandle memory = array(source, name, values.size_bytes());
  const std::unique_lock idle = quiesce(true);
  if (!is_parameter) return device_->backend->write(*memory, 0, values.data(), values.size_bytes());
  update(source, name, values);
  // It is no update by an optimizer.
  const std::lock_guard lock(mutex_);
  ++uncounted_.try_emplace(name, 1).first->second;
}

void ParameterState::update(const DataSource& source, const std::string& name,
                            std::span<const float> values) {
  device_->backend->write(*array(source, name, values.size_bytes()), 0, values.data(),
                          values.size_bytes());
  // The new version makes copies in kernels' layouts follow.
  const std::string version = name + std::string(kVersion);
  write_counter(source, version, read_counter(version, 1) + 1);
}

std::int64_t ParameterState::read_counter(std::string_view name, std::int64_t absent) const {
  const MemoryHandle memory = find(name);
  if (!memory) return absent;
  std::int64_t value = 0;
  device_->backend->read(*memory, 0, &value, sizeof value);
  return value;
}

void ParameterState::write_counter(const DataSource& source, const std::string& name,
                                   std::int64_t value) {
  const MemoryHandle memory = array(source, name, sizeof value);
  device_->backend->write(*memory, 0, &value, sizeof value);
}

std::int64_t ParameterState::time_step(const DataSource& source,
                                       const std::string& parameter) const {
  const std::unique_lock idle = quiesce(false);
  const auto first = first_time_step(source);
  if (first) return read_counter(parameter + std::string(kTimeStep), *first);
  const std::int64_t version = read_counter(parameter + std::string(kVersion), 1);
  const std::lock_guard lock(mutex_);
  const auto found = uncounted_.find(parameter);
  return version - (found == uncounted_.end() ? 1 : found->second);
}

void ParameterState::set_time_step(const DataSource& source, const std::string& parameter,
                                   std::int64_t step) {
  use_optimizer(source);
  const std::unique_lock idle = quiesce(true);
  if (first_time_step(source))
    return write_counter(source, parameter + std::string(kTimeStep), step);
  const std::int64_t version = read_counter(parameter + std::string(kVersion), 1);
  const std::lock_guard lock(mutex_);
  uncounted_[parameter] = version - step;
}

}  // namespace mpsnn::runtime
