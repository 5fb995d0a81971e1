// SPDX-License-Identifier: MIT
// A graph's plans for the sizes it was encoded with last.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
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
      {};  // a data source: running statistics move on without an optimizer
  /// Of a kernel: they may be changed between encodes. Null: not a kernel's plan.
  std::shared_ptr<const AttributeMap> attributes = nullptr;
  std::vector<std::int64_t> options = {};  // of a recurrent layer's encode
  std::string_view method = {};            // of either
  friend bool operator==(const PlanKey& a, const PlanKey& b) {
    return a.method == b.method && a.options == b.options && a.sources == b.sources &&
           a.optimizers == b.optimizers && a.trainable == b.trainable &&
           are_equal(a.attributes, b.attributes);
  }
  /// One look where they are the same object, as those of a kernel that was not changed are.
  static bool are_equal(const std::shared_ptr<const AttributeMap>& a,
                        const std::shared_ptr<const AttributeMap>& b) {
    return a == b || (a && b && *a == *b);
  }
};

/// Thread-safe. A key is a PlanKey, or an object that is equal to one and is converted to it where
/// a plan is made: what is encoded often need not copy what it looks for.
class PlanCache {
 public:
  using Maker = std::function<graph::Plan()>;

  /// The plan for a key; `make` is called where there is none, by one thread at a time.
  template <class Key, class Make>
  std::shared_ptr<const CompiledPlan> plan(const Key& key, const Make& make) {
    return find_or_make(key, make)->plan;
  }
  /// The same, with its parameters found or made on the device.
  template <class Key, class Make>
  std::pair<std::shared_ptr<const CompiledPlan>, std::shared_ptr<const Binding>> bound_plan(
      const Key& key, const Make& make, const std::shared_ptr<DeviceState>& device) {
    const EntryHandle entry = find_or_make(key, make);
    return {entry->plan, binding(*entry, device)};
  }
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
  template <class Key>
  EntryHandle find(const Key& key) {
    const std::lock_guard lock(mutex_);
    const auto found =
        std::ranges::find_if(entries_, [&](const EntryHandle& entry) { return key == entry->key; });
    if (found == entries_.end()) return nullptr;
    if (found != entries_.begin()) entries_.splice(entries_.begin(), entries_, found);
    return entries_.front();
  }
  template <class Key, class Make>
  EntryHandle find_or_make(const Key& key, const Make& make) {
    if (EntryHandle entry = find(key)) return entry;
    return make_entry(PlanKey(key), make);
  }
  EntryHandle make_entry(PlanKey key, const Maker& make);
  std::shared_ptr<const Binding> binding(Entry& entry, const std::shared_ptr<DeviceState>& device);
  /// Takes those beyond the limit out, to be freed outside of the lock.
  std::list<EntryHandle> evict();

  std::mutex
      planning_mutex_;  // taken before mutex_; planning may take long, encoding goes on meanwhile
  mutable std::mutex mutex_;        // guards the list and the bindings
  std::list<EntryHandle> entries_;  // the one used last first
  std::size_t limit_ = kPlanCacheSize;
};

}  // namespace mpsnn::runtime
