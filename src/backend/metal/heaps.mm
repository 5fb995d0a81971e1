// SPDX-License-Identifier: MIT
#include "backend/metal/heaps.h"

#include <algorithm>
#include <new>
#include <utility>

namespace mpsnn::backend::metal {
namespace {

std::ptrdiff_t bytes_of(id<MTLHeap> heap) { return static_cast<std::ptrdiff_t>([heap size]); }

}  // namespace

QueueHeaps::QueueHeaps(id<MTLDevice> device) : device_(Owned<id<MTLDevice>>::retained(device)) {}

QueueHeaps::~QueueHeaps() {
  for (const Heap& heap : heaps_) count(-bytes_of(heap.object.get()));
}

void QueueHeaps::watch(std::function<void(std::ptrdiff_t)> changed) {
  const std::lock_guard lock(mutex_);
  changed_ = std::move(changed);
}

void QueueHeaps::count(std::ptrdiff_t bytes) {
  if (changed_) changed_(bytes);
}

void QueueHeaps::trim() {
  @autoreleasepool {
    const std::lock_guard lock(mutex_);
    drop_idle();
  }
}

void QueueHeaps::drop_idle() {
  std::erase_if(heaps_, [this](const Heap& heap) {
    if (!serves_again(heap)) return false;
    count(-bytes_of(heap.object.get()));
    return true;
  });
}

id<MTLHeap> QueueHeaps::take(MTLHeapDescriptor* wanted) {
  const std::lock_guard lock(mutex_);
  Heap* chosen = nullptr;
  for (Heap& heap : heaps_) {
    if (!serves_again(heap) || [heap.object.get() size] < [wanted size] ||
        [heap.descriptor.get() resourceOptions] != [wanted resourceOptions] ||
        [heap.descriptor.get() type] != [wanted type]) {
      continue;
    }
    if (chosen == nullptr || [heap.object.get() size] < [chosen->object.get() size]) chosen = &heap;
  }
  if (chosen == nullptr) return make(wanted);
  chosen->is_retired = false;
  return [chosen->object.get() retain];
}

id<MTLHeap> QueueHeaps::make(MTLHeapDescriptor* wanted) {
  drop_idle();  // too small, or of another kind: not held beside the new one
  try {
    heaps_.reserve(heaps_.size() + 1);
  } catch (const std::bad_alloc&) {
    return nil;
  }
  Owned<id<MTLHeap>> made([device_.get() newHeapWithDescriptor:wanted]);
  if (!made) return nil;
  [made.get() setLabel:@"mpsnn temporaries"];
  heaps_.push_back({made, Owned<MTLHeapDescriptor*>([wanted copy])});
  count(bytes_of(made.get()));
  return [made.get() retain];
}

void QueueHeaps::retire(id<MTLHeap> heap) {
  const std::lock_guard lock(mutex_);
  const auto found =
      std::ranges::find(heaps_, heap, [](const Heap& one) { return one.object.get(); });
  if (found == heaps_.end()) return;  // MPS's own
  found->is_retired = true;
  found->last_piece = begun_;
}

std::uint64_t QueueHeaps::begin_piece() noexcept {
  const std::lock_guard lock(mutex_);
  return ++begun_;
}

void QueueHeaps::end_piece(std::uint64_t piece) noexcept {
  const std::lock_guard lock(mutex_);
  done_ = std::max(done_, piece);
}

}  // namespace mpsnn::backend::metal

@interface MpsnnHeapProvider : NSObject <MPSHeapProvider> {
 @public
  std::shared_ptr<mpsnn::backend::metal::QueueHeaps>* heaps_;
}
@end

@implementation MpsnnHeapProvider
- (void)dealloc {
  delete heaps_;
  [super dealloc];
}
- (id<MTLHeap>)newHeapWithDescriptor:(MTLHeapDescriptor*)descriptor {
  return (*heaps_)->take(descriptor);
}
- (void)retireHeap:(id<MTLHeap>)heap cacheDelay:(double)seconds {
  static_cast<void>(seconds);  // the queue keeps it until it is trimmed or ends
  (*heaps_)->retire(heap);
}
@end

namespace mpsnn::backend::metal {

Owned<id<MPSHeapProvider>> make_heap_provider(const std::shared_ptr<QueueHeaps>& heaps) {
  MpsnnHeapProvider* provider = [[MpsnnHeapProvider alloc] init];
  Owned<id<MPSHeapProvider>> owned(provider);
  provider->heaps_ = new std::shared_ptr<QueueHeaps>(heaps);
  return owned;
}

}  // namespace mpsnn::backend::metal
