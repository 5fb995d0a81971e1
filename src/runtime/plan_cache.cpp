// SPDX-License-Identifier: MIT
#include "runtime/plan_cache.h"

#include <iterator>
#include <utility>

namespace mpsnn::runtime {

PlanCache::EntryHandle PlanCache::make_entry(PlanKey key, const Maker& make) {
  const std::lock_guard planning(planning_mutex_);
  if (EntryHandle entry = find(key)) return entry;  // another thread was faster
  auto entry = std::make_shared<Entry>(
      Entry{std::move(key), std::make_shared<CompiledPlan>(make()), nullptr});
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

std::shared_ptr<const Binding> PlanCache::binding(Entry& entry,
                                                  const std::shared_ptr<DeviceState>& device) {
  std::shared_ptr<const Binding> binding;
  {
    const std::lock_guard lock(mutex_);
    binding = entry.binding;
  }
  if (!binding || !binding->is_current()) {
    binding = bind(*entry.plan, device);
    const std::lock_guard lock(mutex_);
    entry.binding = binding;
  }
  return binding;
}

std::size_t PlanCache::size() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

}  // namespace mpsnn::runtime
