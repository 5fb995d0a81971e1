// SPDX-License-Identifier: MIT
// What a command queue holds: the heap's arenas, the failures no one was told yet, the last piece.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "mpsnn/device.h"
#include "runtime/device_state.h"
#include "runtime/event_state.h"
#include "runtime/piece.h"

namespace mpsnn::runtime {

/// Memory for the temporaries of what one command buffer records.
struct Arena {
  MemoryHandle memory;                 // null until the first use, and after trim()
  std::atomic<std::size_t> bytes = 0;  // of the memory
};

/// The heap of a queue's temporaries. Because a queue runs in order, one arena serves all command
/// buffers that follow one another; a buffer that begins while another holds the arena gets a
/// second.
class Arenas {
 public:
  explicit Arenas(Allocator& allocator) : allocator_(allocator) {}
  /// The idle arena that fits best, or a new one.
  std::shared_ptr<Arena> acquire(std::size_t bytes);
  void release(std::shared_ptr<Arena> arena) noexcept;
  /// Memory of at least that many bytes. Growing leaves the old memory to work in flight.
  MemoryHandle memory_of(Arena& arena, std::size_t bytes);
  /// Frees the memory of idle arenas.
  void trim();
  /// Bytes and number of all arenas.
  QueueMemory statistics() const;

 private:
  mutable std::mutex mutex_;
  Allocator& allocator_;
  std::vector<std::shared_ptr<Arena>> idle_;  // with room for every arena there is
  std::vector<std::weak_ptr<Arena>> all_;
};

/// Failures of a queue's command buffers. Shared with work in flight.
class FailureLog {
 public:
  void add(const std::shared_ptr<Failure>& failure) noexcept;
  void rethrow_first_untold();
  /// Whether everyone was told of everything.
  bool is_empty() const noexcept;

 private:
  mutable std::mutex mutex_;
  std::deque<std::shared_ptr<Failure>> failures_;
};

struct QueueState final : HeapOwner {
  QueueState(std::shared_ptr<DeviceState> of, std::string with_label);
  /// Over a queue of the backend that is there already. Queues of one life run in one order.
  QueueState(std::shared_ptr<DeviceState> of, std::string with_label,
             std::unique_ptr<backend::Queue> over, std::shared_ptr<QueueLife> with_life);

  ~QueueState();
  QueueState(const QueueState&) = delete;
  QueueState& operator=(const QueueState&) = delete;

  /// What was committed last; null: nothing.
  std::shared_ptr<Piece> last_piece();
  /// Waits for all that was committed. Does not throw what failed. Throws StateError where the
  /// program holds it back.
  void wait();
  /// Frees the memory of heaps that no work uses.
  void trim() override;
  QueueMemory statistics() const;

  const std::shared_ptr<DeviceState> device;
  const std::string label;
  Arenas arenas;
  /// Bytes of heaps that the backend's queue holds itself, beside the arenas.
  const std::shared_ptr<std::atomic<std::ptrdiff_t>> own_heaps =
      std::make_shared<std::atomic<std::ptrdiff_t>>(0);
  const std::shared_ptr<FailureLog> failures = std::make_shared<FailureLog>();
  const std::shared_ptr<QueueLife> life;
  /// Held from ordering a piece against other work until it is submitted.
  std::mutex submit_mutex;
  std::shared_ptr<Piece> last;  // the last piece committed; guarded by submit_mutex
  /// Declared last: destroyed first, which waits for what was submitted.
  const std::unique_ptr<backend::Queue> backend;
};

}  // namespace mpsnn::runtime
