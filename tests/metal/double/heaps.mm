// SPDX-License-Identifier: MIT
#include "heaps.h"

#include <algorithm>
#include <atomic>

namespace {

constexpr std::size_t kPage = 16384;
std::atomic<bool> retires_early{false};

}  // namespace

/// Heaps go back to their provider as soon as no temporary image lies in them, while the device may
/// still use them; else (0) when the device is done.
extern "C" __attribute__((visibility("default"))) void metal_double_retire_early(int on) {
  retires_early = on != 0;
}

@implementation MTLHeapDescriptor
@synthesize size = size_, resourceOptions = resourceOptions_, type = type_;
- (instancetype)init {
  self = [super init];
  if (self != nil) resourceOptions_ = MTLResourceStorageModePrivate;
  return self;
}
- (id)copyWithZone:(NSZone*)zone {
  MTLHeapDescriptor* copy = [[MTLHeapDescriptor allocWithZone:zone] init];
  copy->size_ = size_;
  copy->resourceOptions_ = resourceOptions_;
  copy->type_ = type_;
  return copy;
}
@end

@interface DoubleHeap : NSObject <MTLHeap> {
 @public
  NSUInteger size_;
  MTLResourceOptions resourceOptions_;
  MTLHeapType type_;
  NSString* label_;
  std::atomic<bool>* busy_;  // the device may use it
}
@end

@implementation DoubleHeap
- (instancetype)initWithDescriptor:(MTLHeapDescriptor*)descriptor {
  self = [super init];
  if (self == nil) return nil;
  if ([descriptor size] == 0) refuse("newHeapWithDescriptor", "a heap of no bytes");
  size_ = ([descriptor size] + kPage - 1) / kPage * kPage;
  resourceOptions_ = [descriptor resourceOptions];
  type_ = [descriptor type];
  busy_ = new std::atomic<bool>(false);
  return self;
}
- (void)dealloc {
  delete busy_;
  [label_ release];
  [super dealloc];
}
DOUBLE_LABEL
- (NSUInteger)size {
  return size_;
}
@end

namespace {

DoubleHeap* own(id<MTLHeap> heap) { return static_cast<DoubleHeap*>(static_cast<id>(heap)); }

}  // namespace

id<MTLHeap> make_heap(MTLHeapDescriptor* descriptor) {
  return fails_now(DoubleFailure::HEAP) ? nil : [[DoubleHeap alloc] initWithDescriptor:descriptor];
}

std::size_t texture_bytes(const metal_double::Pixels& pixels) {
  const int texels = pixels.height * pixels.width * ((pixels.channels + 3) / 4);
  return static_cast<std::size_t>(texels) * 4 * (pixels.half ? 2 : 4);
}

void DoubleHeaps::take(std::size_t bytes) {
  used_ += bytes;
  if (used_ <= room_ || provider_.get() == nil) return;
  MTLHeapDescriptor* descriptor = [[[MTLHeapDescriptor alloc] init] autorelease];
  [descriptor setSize:used_ - room_];
  id<MTLHeap> heap = [provider_.get() newHeapWithDescriptor:descriptor];
  if (heap == nil) return;  // one of MPS's own
  heaps_.emplace_back(heap);
  [heap release];
  if ([heap size] < [descriptor size]) refuse("MPSHeapProvider", "the heap is too small");
  if (own(heap)->resourceOptions_ != [descriptor resourceOptions] ||
      own(heap)->type_ != [descriptor type])
    refuse("MPSHeapProvider", "a heap of another kind");
  if (own(heap)->busy_->exchange(true))
    refuse("MPSHeapProvider", "a heap that the device may still use");
  room_ += [heap size];
}

void DoubleHeaps::give_back(std::size_t bytes) {
  used_ -= bytes;
  if (used_ == 0 && retires_early) retire();
}

void DoubleHeaps::retire() {
  for (const auto& heap : heaps_) [provider_.get() retireHeap:heap.get() cacheDelay:0];
  done_.insert(done_.end(), heaps_.begin(), heaps_.end());
  heaps_.clear();
  room_ = 0;
}

DoubleHeaps::~DoubleHeaps() {
  const auto unused = [](const auto& heap) { *own(heap.get())->busy_ = false; };
  std::ranges::for_each(done_, unused);
  std::ranges::for_each(heaps_, unused);
  retire();
}
