// SPDX-License-Identifier: MIT
// The MTLHeaps of a queue, in which MPS places its temporary images. For .mm files; queue.cpp sees
// metal::Heaps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "backend/metal/device.h"
#include "backend/metal/objects.h"

namespace mpsnn::backend::metal {

/// A queue runs in order, so that its command buffers share heaps: one that MPS is done with serves
/// again once the device has run what was encoded until then. Thread-safe: MPS may give heaps back
/// on any thread.
class QueueHeaps final : public Heaps {
 public:
  explicit QueueHeaps(id<MTLDevice> device);
  ~QueueHeaps() override;
  QueueHeaps(const QueueHeaps&) = delete;
  QueueHeaps& operator=(const QueueHeaps&) = delete;

  void watch(std::function<void(std::ptrdiff_t)> changed) override;
  void trim() override;

  /// A heap for the descriptor, with a reference for the caller: the smallest one that serves
  /// again, else a new one. Nil: there is no memory for it.
  id<MTLHeap> take(MTLHeapDescriptor* wanted);
  void retire(id<MTLHeap> heap);

  /// The stream encodes onto a new command buffer: the number of that piece of work, from 1 on.
  std::uint64_t begin_piece() noexcept;
  /// The device has run that piece and all before it.
  void end_piece(std::uint64_t piece) noexcept;

 private:
  struct Heap {
    Owned<id<MTLHeap>> object;
    Owned<MTLHeapDescriptor*> descriptor;
    bool is_retired = false;
    std::uint64_t last_piece = 0;  // of a retired one: that may use it
  };
  bool serves_again(const Heap& heap) const { return heap.is_retired && heap.last_piece <= done_; }
  id<MTLHeap> make(MTLHeapDescriptor* wanted);
  void drop_idle();
  void count(std::ptrdiff_t bytes);

  const Owned<id<MTLDevice>> device_;
  std::mutex mutex_;
  std::vector<Heap> heaps_;
  std::function<void(std::ptrdiff_t)> changed_;
  std::uint64_t begun_ = 0, done_ = 0;  // the last piece that was
};

/// Hands the heaps to MPS, which holds it for as long as it may use one.
Owned<id<MPSHeapProvider>> make_heap_provider(const std::shared_ptr<QueueHeaps>& heaps);

}  // namespace mpsnn::backend::metal
