// SPDX-License-Identifier: MIT
// The arrays of a data source on one device: parameters, their versions, optimizer moments and time
// steps, copies in kernels' layouts. Made at the first use, shared by all graphs of the device.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mpsnn/data_source.h"
#include "runtime/data_source_values.h"
#include "runtime/device_state.h"
#include "runtime/piece.h"

namespace mpsnn::runtime {

/// Thread-safe. Names of arrays are those of the plan (graph/plan.h, Value::parameter).
class ParameterState {
 public:
  explicit ParameterState(std::shared_ptr<DeviceState> device) : device_(std::move(device)) {}

  /// The state of a data source on a device, made if there is none.
  static std::shared_ptr<ParameterState> of(const DataSource& source,
                                            const std::shared_ptr<DeviceState>& device);

  /// The array's memory. An array that is not there yet is made: parameters from
  /// DataSource::initial, a parameter's version 1, time steps from the optimizer, all else zero.
  MemoryHandle array(const DataSource& source, const std::string& name, std::size_t bytes);
  /// The array's memory, or null.
  MemoryHandle find(std::string_view name) const;
  /// Moments and time steps belong to one optimizer: those of another are dropped.
  void use_optimizer(const DataSource& source);
  /// Changes whenever an array is replaced: addresses that were looked up before are stale then.
  std::uint64_t generation() const noexcept { return generation_.load(); }

  /// Takes memory as the array of a moment.
  void adopt(const DataSource& source, const std::string& name, MemoryHandle memory);
  /// Makes the parameters that are not there yet, from what the data source gives.
  void load(const DataSource& source);
  /// Replaces all parameters by what the data source gives, moments and time steps stay; waits
  /// until no committed work uses them.
  void reload(const DataSource& source);
  /// Replaces a parameter in the turn of an update: work before has ended, and what comes later
  /// waits.
  void update(const DataSource& source, const std::string& name, std::span<const float> values);

  std::vector<float> read(const DataSource& source, const std::string& name) const;
  void write(const DataSource& source, const std::string& name, std::span<const float> values);
  /// Updates made, by the time step in device memory where the optimizer has one, by the
  /// parameter's version elsewhere.
  std::int64_t time_step(const DataSource& source, const std::string& parameter) const;
  void set_time_step(const DataSource& source, const std::string& parameter, std::int64_t step);

  /// Guarded by the device's usage_mutex.
  Usage usage;

 private:
  MemoryHandle make(const DataSource& source, const std::string& name, std::size_t bytes) const;
  /// Waits until no committed work uses the arrays, and holds the lock that keeps it so.
  std::unique_lock<std::mutex> quiesce(bool for_writing) const;
  std::int64_t read_counter(std::string_view name, std::int64_t absent) const;
  void write_counter(const DataSource& source, const std::string& name, std::int64_t value);

  const std::shared_ptr<DeviceState> device_;
  mutable std::mutex mutex_;
  std::map<std::string, MemoryHandle, std::less<>> arrays_;
  std::map<std::string, std::int64_t, std::less<>>
      uncounted_;                               // version minus updates, by parameter
  std::shared_ptr<const Optimizer> optimizer_;  // whose moments these are
  std::atomic<std::uint64_t> generation_ = 0;
};

/// Elements of a parameter or moment ("weights", "weights.momentum"). Throws InvalidArgumentError
/// naming the data source, the name and those there are.
std::size_t parameter_count(const DataSource& source, const std::string& name);
/// Names of the parameters and, where an optimizer is set, of its moments.
std::vector<std::string> parameter_names(const DataSource& source);

}  // namespace mpsnn::runtime
