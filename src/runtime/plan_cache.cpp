// SPDX-License-Identifier: MIT
#include "runtime/plan_cache.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace mpsnn::runtime {

PlanCache::EntryHandle PlanCache::find(const PlanKey& key) {
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find(
      entries_, key, [](const EntryHandle& entry) -> const PlanKey& { return entry->key; });
  if (found == entries_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found);
  return entries_.front();
}

PlanCache::EntryHandle PlanCache::find_or_make(const PlanKey& key, const Maker& make) {
  if (EntryHandle entry = find(key)) return entry;
  const std::lock_guard planning(planning_mutex_);
  if (EntryHandle entry = find(key)) return entry;  // another thread was faster
  auto entry = std::make_shared<Entry>(Entry{key, std::make_shared<CompiledPlan>(make()), nullptr});
  std::list<EntryHandle> dropped;
  const std::lock_guard lock(mutex_);
  entries_.push_front(entry);
  dropped = evict();
  return entry;
}

std::list<PlanCache::EntryHandle> PlanCache::evict() {
  std::list<EntryHandle> dropped;
  if (entries_.size() > limit_) {
    const auto first = std::next(entries_.begin(), static_cast<std::ptrdiff_t>(limit_));
    dropped.splice(dropped.end(), entries_, first, entries_.end());
  }
  return dropped;
}

std::size_t PlanCache::limit() const {
  const std::lock_guard lock(mutex_);
  return limit_;
}

void PlanCache::set_limit(std::size_t limit) {
  std::list<EntryHandle> dropped;
  const std::lock_guard lock(mutex_);
  limit_ = limit;
  dropped = evict();
}

void PlanCache::clear() {
  std::list<EntryHandle> dropped;
  const std::lock_guard lock(mutex_);
  dropped = std::exchange(entries_, {});
}

std::shared_ptr<const CompiledPlan> PlanCache::plan(const PlanKey& key, const Maker& make) {
  return find_or_make(key, make)->plan;
}

std::pair<std::shared_ptr<const CompiledPlan>, std::shared_ptr<const Binding>>
PlanCache::bound_plan(const PlanKey& key, const Maker& make,
                      const std::shared_ptr<DeviceState>& device) {
  const EntryHandle entry = find_or_make(key, make);
  std::shared_ptr<const Binding> binding;
  {
    const std::lock_guard lock(mutex_);
    binding = entry->binding;
  }
  if (!binding || !binding->is_current()) {
    binding = bind(*entry->plan, device);
    const std::lock_guard lock(mutex_);
    entry->binding = binding;
  }
  return {entry->plan, std::move(binding)};
}

std::size_t PlanCache::size() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

}  // namespace mpsnn::runtime
