// SPDX-License-Identifier: MIT
// A graph's plans for the sizes it was encoded with last.
#pragma once

#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/plan_run.h"

namespace mpsnn::runtime {

/// Plans that a graph keeps at first; the one used longest ago makes room.
inline constexpr std::size_t kPlanCacheSize = 16;

/// All that a plan depends on beside the nodes, or the class of a kernel.
struct PlanKey {
  std::vector<TensorDesc> sources;
  std::vector<std::shared_ptr<Optimizer>>
      optimizers;  // a data source; null where it is not updated
  std::vector<bool> trainable =
      {};                        // a data source: running statistics move on without an optimizer
  AttributeMap attributes = {};  // of a kernel: they may be changed between encodes
  std::string_view method = {};  // of a kernel, a name of the kernel table
  friend bool operator==(const PlanKey&, const PlanKey&) = default;
};

/// Thread-safe.
class PlanCache {
 public:
  using Maker = std::function<graph::Plan()>;

  /// The plan for a key; `make` is called where there is none, by one thread at a time.
  std::shared_ptr<const CompiledPlan> plan(const PlanKey& key, const Maker& make);
  /// The same, with its parameters found or made on the device.
  std::pair<std::shared_ptr<const CompiledPlan>, std::shared_ptr<const Binding>> bound_plan(
      const PlanKey& key, const Maker& make, const std::shared_ptr<DeviceState>& device);
  std::size_t size() const;
  std::size_t limit() const;
  void set_limit(std::size_t limit);
  void clear();

 private:
  struct Entry {
    PlanKey key;
    std::shared_ptr<const CompiledPlan> plan;
    std::shared_ptr<const Binding> binding;
  };
  using EntryHandle = std::shared_ptr<Entry>;
  EntryHandle find(const PlanKey& key);
  /// Takes those beyond the limit out, to be freed outside of the lock.
  std::list<EntryHandle> evict();
  EntryHandle find_or_make(const PlanKey& key, const Maker& make);

  std::mutex
      planning_mutex_;  // taken before mutex_; planning may take long, encoding goes on meanwhile
  mutable std::mutex mutex_;        // guards the list and the bindings
  std::list<EntryHandle> entries_;  // the one used last first
  std::size_t limit_ = kPlanCacheSize;
};

}  // namespace mpsnn::runtime
