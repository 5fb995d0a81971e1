// SPDX-License-Identifier: MIT
// Plain memory and the predicates that lie in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mpsnn/buffer.h"
#include "runtime/resource.h"

namespace mpsnn::runtime {

struct BufferState : Resource {
  BufferState(std::shared_ptr<DeviceState> on, MemoryHandle in, std::size_t of_bytes,
              std::string with_label = {})
      : Resource{std::move(on), std::move(in), "Buffer", std::move(with_label)}, bytes(of_bytes) {}

  const std::size_t bytes;
};

/// Four bytes of a buffer.
struct PredicateState {
  Buffer buffer;
  std::size_t offset = 0;
  std::shared_ptr<void> slot;  // gives a shared buffer's slot back; null where the user chose it

  /// What kernels are given.
  const std::int32_t* address() const;
};

/// The slots of Predicate(device): pages of a shared buffer, made as they are needed. Thread-safe.
class PredicateSlots : public std::enable_shared_from_this<PredicateSlots> {
 public:
  std::shared_ptr<PredicateState> take(const Device& device);

 private:
  struct Slot {
    MemoryHandle page;  // not a BufferState: that would hold the device, which holds this
    std::size_t offset;
  };
  void add_page(const Device& device);

  std::mutex mutex_;
  std::vector<Slot> free_;
};

/// The predicates under which something is recorded: it runs only where none of them is 0.
struct PredicateStack {
  std::vector<const std::int32_t*> addresses;
  std::vector<std::shared_ptr<PredicateState>> held;
};

/// One command buffer of a stack of wrappers, the root at the bottom.
struct PredicateLayer {
  std::shared_ptr<PredicateLayer> below;  // null: the root
  std::optional<Predicate> predicate;

  /// Null where no layer has a predicate. The last one is kept: what is recorded in a row shares
  /// it. By one thread at a time, as all recording.
  std::shared_ptr<const PredicateStack> stack() const;

 private:
  bool is_stack(const PredicateStack& stack) const;

  mutable std::shared_ptr<const PredicateStack> last_;
};

}  // namespace mpsnn::runtime
