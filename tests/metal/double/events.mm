// SPDX-License-Identifier: MIT
#include "events.h"

#include <atomic>

@interface DoubleSharedEvent : NSObject <MTLSharedEvent> {
 @public
  std::atomic<uint64_t>* value_;
  NSString* label_;
  BOOL late_;  // the host saw a value that is gone
}
@end

@implementation DoubleSharedEvent
- (instancetype)init {
  self = [super init];
  if (self == nil) return nil;
  value_ = new std::atomic<uint64_t>(0);
  return self;
}
- (void)dealloc {
  delete value_;
  [label_ release];
  [super dealloc];
}
DOUBLE_LABEL
- (uint64_t)signaledValue {
  const uint64_t value = value_->load();
  if (fails_now(DoubleFailure::LATE)) {
    run_until([&] { return value_->load() != value; });
    late_ = YES;
  }
  return value;
}
- (void)setSignaledValue:(uint64_t)value {
  if (value < value_->load() && !late_)
    refuse("MTLSharedEvent signaledValue",
           "it sinks: whoever waits for the value before never ends");
  late_ = NO;
  value_->store(value);
  wake_device();
}
@end

id<MTLSharedEvent> make_shared_event() { return [[DoubleSharedEvent alloc] init]; }

id<MTLSharedEvent> shared_event(id<MTLEvent> event) {
  if (![static_cast<id>(event) isKindOfClass:[DoubleSharedEvent class]])
    refuse("MTLCommandBuffer", "no event of this device");
  return static_cast<DoubleSharedEvent*>(static_cast<id>(event));
}

uint64_t value_of(id<MTLSharedEvent> event) {
  return static_cast<DoubleSharedEvent*>(static_cast<id>(event))->value_->load();
}

void signal_on_device(id<MTLSharedEvent> event, uint64_t value) {
  std::atomic<uint64_t>& at = *static_cast<DoubleSharedEvent*>(static_cast<id>(event))->value_;
  uint64_t before = at.load();
  while (before < value && !at.compare_exchange_weak(before, value)) continue;
}
