// SPDX-License-Identifier: MIT
// Devices, buffers, queues and command buffers of the double. Work runs when somebody waits for it,
// in the order of the commits: who forgets to wait reads what was there before.
#include <Block.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <mutex>

#include "double.h"
#include "events.h"
#include "heaps.h"

namespace {

std::atomic<long> images_unread{0};
std::atomic<DoubleFailure> next_failure{DoubleFailure::NONE};
// One device: what runs and what is committed. Handlers run under it and may ask the device again.
std::recursive_mutex device_mutex;
std::condition_variable_any device_changed;
std::vector<DoubleCommandQueue*> queues;  // all that there are
bool held = false;                        // nothing is run
std::atomic<long> event_waits{0}, commits{0};

/// The host's time, in which Metal gives times: seconds.
CFTimeInterval host_time() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

/// Runs other queues where the first one cannot go on: it waits for an event.
bool run_some(DoubleCommandQueue* first) {
  if ([first runSome]) return true;
  return std::any_of(queues.begin(), queues.end(),
                     [&](DoubleCommandQueue* other) { return other != first && [other runSome]; });
}

}  // namespace

NSErrorDomain const MTLCommandBufferErrorDomain = @"MTLCommandBufferErrorDomain";

void run_until(const std::function<bool()>& is_there) {
  const std::lock_guard lock(device_mutex);
  while (!is_there() && std::ranges::any_of(queues, [](auto* queue) { return [queue runSome]; }))
    continue;
  device_changed.notify_all();
}

void wake_device() {
  const std::lock_guard lock(device_mutex);
  device_changed.notify_all();
}

void count_unread() { ++images_unread; }

bool fails_now(DoubleFailure kind) {
  return next_failure.compare_exchange_strong(kind, DoubleFailure::NONE);
}

/// Temporary images given back too early, since this was last asked: Metal's validation layer ends
/// the process for one.
extern "C" __attribute__((visibility("default"))) long metal_double_unread(void) {
  return images_unread.exchange(0);
}

/// What fails next, once. 1: an allocation; 2: an encode; 3: a command buffer, while it runs; 4: a
/// new event; 5: a command buffer, as the device was removed; 6: a heap; 7: a graph has
/// another idea of its results' size; 8: a command buffer, with an error of another domain.
/// What else goes wrong, as if the caller had: 9: an image's readCount is not set to 0; 10: those
/// of a batch are not raised; 11: a state's is not set; 12: it is lowered twice. 13: the device
/// signals an event between the host's look at its value and the host's own signal.
extern "C" __attribute__((visibility("default"))) void metal_double_fail(int kind) {
  next_failure = static_cast<DoubleFailure>(kind);
}

/// From now on nothing is run, or everything again.
extern "C" __attribute__((visibility("default"))) void metal_double_hold(int on) {
  const std::lock_guard lock(device_mutex);
  held = on != 0;
  device_changed.notify_all();
}

/// Waits for events that were encoded, since the process began.
extern "C" __attribute__((visibility("default"))) long metal_double_event_waits(void) {
  return event_waits.load();
}

/// Command buffers that were committed, since the process began.
extern "C" __attribute__((visibility("default"))) long metal_double_commits(void) {
  return commits.load();
}

void refuse(const char* what, const std::string& why) {
  [NSException raise:NSInvalidArgumentException format:@"%s: %s", what, why.c_str()];
  std::abort();
}

@interface DoubleBuffer : NSObject <MTLBuffer> {
  void* contents_;
  NSUInteger length_;
  BOOL borrowed_;
}
@end

@implementation DoubleBuffer
- (instancetype)initWithLength:(NSUInteger)length {
  self = [super init];
  if (self == nil) return nil;
  const NSUInteger page = 4096;
  contents_ = std::aligned_alloc(page, (length + page - 1) / page * page);
  length_ = length;
  return self;
}
- (instancetype)initWithBytesNoCopy:(void*)bytes length:(NSUInteger)length {
  self = [super init];
  if (self == nil) return nil;
  const NSUInteger page = 4096;
  if (reinterpret_cast<NSUInteger>(bytes) % page != 0 || length % page != 0)
    refuse("newBufferWithBytesNoCopy", "memory that is not whole pages");
  contents_ = bytes;
  length_ = length;
  borrowed_ = YES;
  return self;
}
- (void)dealloc {
  if (!borrowed_) std::free(contents_);
  [super dealloc];
}
- (NSUInteger)length {
  return length_;
}
- (void*)contents {
  return contents_;
}
@end

@implementation DoubleCommandBuffer
- (instancetype)initWithQueue:(DoubleCommandQueue*)queue {
  self = [super init];
  if (self == nil) return nil;
  queue_ = [queue retain];
  commands_ = new std::vector<DoubleCommand>();
  handlers_ = new std::vector<MTLCommandBufferHandler>();
  heaps_ = new std::shared_ptr<DoubleHeaps>(std::make_shared<DoubleHeaps>());
  in_use_ = new std::shared_ptr<int>(std::make_shared<int>(0));
  return self;
}
- (void)dealloc {
  for (const DoubleCommand& command : *commands_)
    for (MPSPredicate* predicate : command.predicates) [predicate release];
  delete commands_;
  for (MTLCommandBufferHandler handler : *handlers_) Block_release(handler);
  delete handlers_;
  delete heaps_;
  delete in_use_;
  [label_ release];
  [error_ release];
  [queue_ release];
  [super dealloc];
}
DOUBLE_LABEL
- (NSError*)error {
  return error_;
}
- (void)enter:(MTLCommandBufferStatus)status {
  __atomic_store_n(&status_, status, __ATOMIC_RELEASE);
}
- (id<MTLDevice>)device {
  return [queue_ device];
}
- (id<MTLCommandQueue>)commandQueue {
  return queue_;
}
- (BOOL)retainedReferences {
  return !unretained_;
}
- (MTLCommandBufferStatus)status {
  return __atomic_load_n(&status_, __ATOMIC_ACQUIRE);
}
- (CFTimeInterval)GPUStartTime {
  return start_;
}
- (CFTimeInterval)GPUEndTime {
  return end_;
}
- (void)addCompletedHandler:(MTLCommandBufferHandler)block {
  if (committed_) refuse("MTLCommandBuffer addCompletedHandler", "it was committed");
  handlers_->push_back(Block_copy(block));
}
- (void)commit {
  if (committed_) refuse("MTLCommandBuffer commit", "committed twice");
  ++commits;
  const std::lock_guard lock(device_mutex);
  committed_ = YES;
  [self enter:MTLCommandBufferStatusCommitted];
  static_cast<DoubleCommandQueue*>(queue_)->committed_->push_back([self retain]);
  device_changed.notify_all();
}
- (void)encodeWaitForEvent:(id<MTLEvent>)event value:(uint64_t)value {
  if (committed_) refuse("MTLCommandBuffer encodeWaitForEvent", "it was committed");
  const Ref<id<MTLSharedEvent>> awaited = shared_event(event);
  commands_->push_back({[] {}, {}, [awaited, value] { return value_of(awaited.get()) >= value; }});
  ++event_waits;
}
- (void)encodeSignalEvent:(id<MTLEvent>)event value:(uint64_t)value {
  if (committed_) refuse("MTLCommandBuffer encodeSignalEvent", "it was committed");
  const Ref<id<MTLSharedEvent>> signalled = shared_event(event);
  commands_->push_back({[signalled, value] { signal_on_device(signalled.get(), value); }, {}});
}
- (void)failCommands:(NSString*)text code:(NSInteger)code domain:(NSErrorDomain)domain {
  NSDictionary* info = [NSDictionary dictionaryWithObject:text forKey:NSLocalizedDescriptionKey];
  error_ = [[NSError alloc] initWithDomain:domain code:code userInfo:info];
}
/// Whether it was asked to.
- (BOOL)fails {
  if (fails_now(DoubleFailure::RUN)) {
    [self failCommands:@"the GPU hung" code:2 domain:MTLCommandBufferErrorDomain];
  } else if (fails_now(DoubleFailure::REMOVAL)) {
    [self failCommands:@"the device was removed" code:11 domain:MTLCommandBufferErrorDomain];
  } else if (fails_now(DoubleFailure::FOREIGN)) {
    [self failCommands:@"no more processes" code:11 domain:NSPOSIXErrorDomain];  // EAGAIN
  }
  return error_ != nil;
}
- (BOOL)runCommands {
  for (; next_ < commands_->size() && error_ == nil; ++next_) {
    const DoubleCommand& command = (*commands_)[next_];
    if (command.may_run && !command.may_run()) return NO;
    if (!begun_ && [self fails]) break;
    if (!begun_) start_ = host_time();
    begun_ = YES;
    bool runs = true;
    for (MPSPredicate* predicate : command.predicates) {
      const auto* start = static_cast<const char*>([[predicate predicateBuffer] contents]);
      runs =
          runs && __atomic_load_n(
                      reinterpret_cast<const std::uint32_t*>(start + [predicate predicateOffset]),
                      __ATOMIC_ACQUIRE) != 0;
    }
    if (runs) command.run();
  }
  // What the commands hold is let go when the device is done with them.
  for (DoubleCommand& command : *commands_)
    for (MPSPredicate* predicate : command.predicates) [predicate release];
  commands_->clear();
  // Metal has times of empty ones, too.
  end_ = host_time();
  if (!begun_) start_ = end_;
  heaps_->reset();
  in_use_->reset();
  done_ = YES;
  [self enter:error_ == nil ? MTLCommandBufferStatusCompleted : MTLCommandBufferStatusError];
  for (MTLCommandBufferHandler handler : *handlers_) {
    handler(self);
    Block_release(handler);
  }
  handlers_->clear();
  return YES;
}
- (void)waitUntilCompleted {
  if (!committed_)
    refuse("MTLCommandBuffer waitUntilCompleted", "it was not committed: this never ends");
  std::unique_lock lock(device_mutex);
  while (!done_) {
    if (!held && run_some(static_cast<DoubleCommandQueue*>(queue_))) {
      device_changed.notify_all();
    } else {
      device_changed.wait(lock);
    }
  }
}
@end

@implementation DoubleCommandQueue
- (instancetype)initWithDevice:(id<MTLDevice>)device {
  self = [super init];
  if (self == nil) return nil;
  device_ = [device retain];
  committed_ = new std::vector<DoubleCommandBuffer*>();
  const std::lock_guard lock(device_mutex);
  queues.push_back(self);
  return self;
}
- (void)dealloc {
  {
    const std::lock_guard lock(device_mutex);
    std::erase(queues, self);
  }
  for (DoubleCommandBuffer* left : *committed_) [left release];
  delete committed_;
  [device_ release];
  [label_ release];
  [super dealloc];
}
DOUBLE_LABEL
- (id<MTLDevice>)device {
  return device_;
}
- (id<MTLCommandBuffer>)commandBuffer {
  return [[[DoubleCommandBuffer alloc] initWithQueue:self] autorelease];
}
- (id<MTLCommandBuffer>)commandBufferWithUnretainedReferences {
  DoubleCommandBuffer* made = static_cast<DoubleCommandBuffer*>([self commandBuffer]);
  made->unretained_ = YES;
  return made;
}
- (BOOL)runSome {
  if (committed_->empty()) return NO;
  DoubleCommandBuffer* first = committed_->front();
  const std::size_t before = first->next_;
  if (![first runCommands]) return first->next_ != before;
  committed_->erase(committed_->begin());
  [first release];
  return YES;
}
@end

@interface DoubleDevice : NSObject <MTLDevice> {
  NSString* name_;
  BOOL lowPower_;
}
@end

@implementation DoubleDevice
- (instancetype)initWithName:(NSString*)name lowPower:(BOOL)lowPower {
  self = [super init];
  if (self == nil) return nil;
  name_ = [name copy];
  lowPower_ = lowPower;
  return self;
}
- (void)dealloc {
  [name_ release];
  [super dealloc];
}
- (NSString*)name {
  return name_;
}
- (BOOL)isLowPower {
  return lowPower_;
}
- (NSUInteger)maxBufferLength {
  return NSUInteger{1} << 32;
}
- (id<MTLCommandQueue>)newCommandQueue {
  return [[DoubleCommandQueue alloc] initWithDevice:self];
}
- (id<MTLSharedEvent>)newSharedEvent {
  return fails_now(DoubleFailure::EVENT) ? nil : make_shared_event();
}
- (id<MTLHeap>)newHeapWithDescriptor:(MTLHeapDescriptor*)descriptor {
  return make_heap(descriptor);
}
- (id<MTLBuffer>)newBufferWithLength:(NSUInteger)length options:(MTLResourceOptions)options {
  if (options != MTLResourceStorageModeShared) refuse("newBufferWithLength", "not shared");
  if (length == 0 || length > [self maxBufferLength])
    refuse("newBufferWithLength", "no bytes, or more than maxBufferLength");
  if (fails_now(DoubleFailure::ALLOCATION)) return nil;
  return [[DoubleBuffer alloc] initWithLength:length];
}
- (id<MTLBuffer>)newBufferWithBytesNoCopy:(void*)pointer
                                   length:(NSUInteger)length
                                  options:(MTLResourceOptions)options
                              deallocator:(void (^)(void*, NSUInteger))deallocator {
  if (options != MTLResourceStorageModeShared || deallocator != nil)
    refuse("newBufferWithBytesNoCopy", "the double has shared memory of the caller's only");
  if (length == 0 || length > [self maxBufferLength])
    refuse("newBufferWithBytesNoCopy", "no bytes, or more than maxBufferLength");
  return [[DoubleBuffer alloc] initWithBytesNoCopy:pointer length:length];
}
@end

static std::atomic<int> devices_hidden{0};

/// 1: the system has no default device; 2: it lists none; 3: both. 0: neither.
extern "C" __attribute__((visibility("default"))) void metal_double_hide_devices(int which) {
  devices_hidden = which;
}

id<MTLDevice> MTLCreateSystemDefaultDevice(void) {
  if ((devices_hidden & 1) != 0) return nil;
  return [[DoubleDevice alloc] initWithName:@"Metal double" lowPower:NO];
}

NSArray<id<MTLDevice>>* MTLCopyAllDevices(void) {
  if ((devices_hidden & 2) != 0) return [[NSArray alloc] init];
  id<MTLDevice> fast = [[[DoubleDevice alloc] initWithName:@"Metal double"
                                                  lowPower:NO] autorelease];
  id<MTLDevice> small = [[[DoubleDevice alloc] initWithName:@"Metal double, low power"
                                                   lowPower:YES] autorelease];
  return [[NSArray alloc] initWithObjects:fast, small, nil];
}

BOOL MPSSupportsMTLDevice(id<MTLDevice> device) {
  return [static_cast<id>(device) isKindOfClass:[DoubleDevice class]];
}

DoubleCommandBuffer* root_of(id<MTLCommandBuffer> commands) {
  id at = commands;
  while ([at isKindOfClass:[MPSCommandBuffer class]])
    at = [static_cast<MPSCommandBuffer*>(at) commandBuffer];
  return at;
}

void record(id<MTLCommandBuffer> commands, std::function<void()> run) {
  DoubleCommand command{std::move(run), {}};
  id at = commands;
  while ([at isKindOfClass:[MPSCommandBuffer class]]) {
    MPSPredicate* predicate = [static_cast<MPSCommandBuffer*>(at) predicate];
    if (predicate != nil) command.predicates.push_back([predicate retain]);
    at = [static_cast<MPSCommandBuffer*>(at) commandBuffer];
  }
  auto* root = static_cast<DoubleCommandBuffer*>(at);
  if (fails_now(DoubleFailure::ENCODE)) refuse("encode", "it was asked to fail");
  if (root->committed_) refuse("encode", "the command buffer was committed");
  root->commands_->push_back(std::move(command));
}
