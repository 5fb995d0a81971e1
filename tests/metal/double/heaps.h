// SPDX-License-Identifier: MIT
// The heaps in which temporary images lie: those of a command buffer's provider, or MPS's own.
#pragma once

#include <cstddef>
#include <vector>

#include "double.h"

id<MTLHeap> make_heap(MTLHeapDescriptor* descriptor);
/// Bytes of an image as a texture: slices of four channels.
std::size_t texture_bytes(const metal_double::Pixels& pixels);

/// The heaps of a command buffer of Metal's and of those that commitAndContinue put in its place:
/// held until the device has run the last of them.
class DoubleHeaps {
 public:
  DoubleHeaps() = default;
  ~DoubleHeaps();
  DoubleHeaps(const DoubleHeaps&) = delete;
  DoubleHeaps& operator=(const DoubleHeaps&) = delete;

  void set_provider(id<MPSHeapProvider> provider) {
    provider_ = Ref<id<MPSHeapProvider>>(provider);
  }
  id<MPSHeapProvider> provider() const { return provider_.get(); }
  void take(std::size_t bytes);
  void give_back(std::size_t bytes);

 private:
  void retire();

  Ref<id<MPSHeapProvider>> provider_;
  std::vector<Ref<id<MTLHeap>>> heaps_;  // of the provider
  std::vector<Ref<id<MTLHeap>>> done_;   // given back to it, and still used by the device
  std::size_t room_ = 0, used_ = 0;
};

/// A place in the heaps.
class HeapPlace {
 public:
  HeapPlace(std::shared_ptr<DoubleHeaps> heaps, std::size_t bytes)
      : heaps_(std::move(heaps)), bytes_(bytes) {
    heaps_->take(bytes_);
  }
  ~HeapPlace() { heaps_->give_back(bytes_); }
  HeapPlace(const HeapPlace&) = delete;
  HeapPlace& operator=(const HeapPlace&) = delete;

 private:
  std::shared_ptr<DoubleHeaps> heaps_;
  std::size_t bytes_;
};
