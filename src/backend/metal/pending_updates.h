// SPDX-License-Identifier: MIT
// Arrays of weights that work on the program's command buffers changes, until the device has run
// it. No Objective-C in here.
#pragma once

#include <memory>
#include <mutex>
#include <set>

namespace mpsnn::backend::metal {

/// Those of a device, by the address of their values. In a shared pointer. Thread-safe.
class PendingUpdates : public std::enable_shared_from_this<PendingUpdates> {
 public:
  /// The array is one of them until the result is gone.
  std::shared_ptr<const void> add(const void* array) {
    {
      const std::lock_guard lock(mutex_);
      arrays_.insert(array);
    }
    return {array, [self = shared_from_this()](const void* gone) { self->remove(gone); }};
  }
  bool contains(const void* array) const {
    const std::lock_guard lock(mutex_);
    return arrays_.contains(array);
  }

 private:
  void remove(const void* array) {
    const std::lock_guard lock(mutex_);
    arrays_.erase(arrays_.find(array));
  }

  mutable std::mutex mutex_;
  std::multiset<const void*> arrays_;
};

}  // namespace mpsnn::backend::metal
