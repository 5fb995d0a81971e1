// SPDX-License-Identifier: MIT
// Devices, buffers, queues and command buffers of the double. Work runs when somebody waits for it,
// in the order of the commits: who forgets to wait reads what was there before.
#include <Block.h>

#include <atomic>
#include <cstdlib>
#include <mutex>

#include "double.h"

namespace {

std::atomic<long> objects_alive{0}, images_unread{0};
std::atomic<DoubleFailure> next_failure{DoubleFailure::NONE};
std::mutex device_mutex;  // one device: what runs and what is committed

}  // namespace

void count_object(int change) { objects_alive += change; }

void count_unread() { ++images_unread; }

bool fails_now(DoubleFailure kind) {
  return next_failure.compare_exchange_strong(kind, DoubleFailure::NONE);
}

extern "C" __attribute__((visibility("default"))) long metal_double_objects(void) {
  return objects_alive.load();
}

/// Temporary images given back too early: Metal's validation layer ends the process for one.
extern "C" __attribute__((visibility("default"))) long metal_double_unread(void) {
  return images_unread.load();
}

/// What fails next, once. 1: an allocation; 2: an encode; 3: a command buffer, while it runs.
extern "C" __attribute__((visibility("default"))) void metal_double_fail(int kind) {
  next_failure = static_cast<DoubleFailure>(kind);
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
  count_object(1);
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
  count_object(1);
  return self;
}
- (void)dealloc {
  if (!borrowed_) std::free(contents_);
  count_object(-1);
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
  queue_ = queue;
  commands_ = new std::vector<DoubleCommand>();
  handlers_ = new std::vector<MTLCommandBufferHandler>();
  count_object(1);
  return self;
}
- (void)dealloc {
  for (const DoubleCommand& command : *commands_)
    for (MPSPredicate* predicate : command.predicates) [predicate release];
  delete commands_;
  for (MTLCommandBufferHandler handler : *handlers_) Block_release(handler);
  delete handlers_;
  [label_ release];
  [error_ release];
  count_object(-1);
  [super dealloc];
}
- (NSString*)label {
  return label_;
}
- (void)setLabel:(NSString*)label {
  [label_ autorelease];
  label_ = [label copy];
}
- (NSError*)error {
  return error_;
}
- (void)addCompletedHandler:(MTLCommandBufferHandler)block {
  if (committed_) refuse("MTLCommandBuffer addCompletedHandler", "it was committed");
  handlers_->push_back(Block_copy(block));
}
- (void)commit {
  if (committed_) refuse("MTLCommandBuffer commit", "committed twice");
  committed_ = YES;
  const std::lock_guard lock(device_mutex);
  static_cast<DoubleCommandQueue*>(queue_)->committed_->push_back([self retain]);
}
- (void)failCommands {
  NSDictionary* info = [NSDictionary dictionaryWithObject:@"the GPU hung" forKey:NSLocalizedDescriptionKey];
  error_ = [[NSError alloc] initWithDomain:@"MTLCommandBufferErrorDomain" code:2 userInfo:info];
}
- (void)runCommands {
  if (fails_now(DoubleFailure::RUN)) [self failCommands];
  for (const DoubleCommand& command : *commands_) {
    if (error_ != nil) break;
    bool runs = true;
    for (MPSPredicate* predicate : command.predicates) {
      const auto* start = static_cast<const char*>([[predicate predicateBuffer] contents]);
      runs = runs && __atomic_load_n(reinterpret_cast<const std::uint32_t*>(
                                         start + [predicate predicateOffset]),
                                     __ATOMIC_ACQUIRE) != 0;
    }
    if (runs) command.run();
  }
  // What the commands hold is let go when the device is done with them.
  for (DoubleCommand& command : *commands_)
    for (MPSPredicate* predicate : command.predicates) [predicate release];
  commands_->clear();
  done_ = YES;
  for (MTLCommandBufferHandler handler : *handlers_) {
    handler(self);
    Block_release(handler);
  }
  handlers_->clear();
}
- (void)waitUntilCompleted {
  if (!committed_) refuse("MTLCommandBuffer waitUntilCompleted", "it was not committed: this never ends");
  const std::lock_guard lock(device_mutex);
  auto& committed = *static_cast<DoubleCommandQueue*>(queue_)->committed_;
  while (!done_) {
    DoubleCommandBuffer* first = committed.front();
    committed.erase(committed.begin());
    [first runCommands];
    [first release];
  }
}
@end

@implementation DoubleCommandQueue
- (instancetype)init {
  self = [super init];
  if (self == nil) return nil;
  committed_ = new std::vector<DoubleCommandBuffer*>();
  count_object(1);
  return self;
}
- (void)dealloc {
  for (DoubleCommandBuffer* left : *committed_) [left release];
  delete committed_;
  [label_ release];
  count_object(-1);
  [super dealloc];
}
- (NSString*)label {
  return label_;
}
- (void)setLabel:(NSString*)label {
  [label_ autorelease];
  label_ = [label copy];
}
- (id<MTLCommandBuffer>)commandBuffer {
  return [[[DoubleCommandBuffer alloc] initWithQueue:self] autorelease];
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
  return [[DoubleCommandQueue alloc] init];
}
- (id<MTLBuffer>)newBufferWithLength:(NSUInteger)length options:(MTLResourceOptions)options {
  if (options != MTLResourceStorageModeShared) refuse("newBufferWithLength", "not shared");
  if (fails_now(DoubleFailure::ALLOCATION)) return nil;
  return [[DoubleBuffer alloc] initWithLength:length];
}
- (id<MTLBuffer>)newBufferWithBytesNoCopy:(void*)pointer
                                   length:(NSUInteger)length
                                  options:(MTLResourceOptions)options
                              deallocator:(void (^)(void*, NSUInteger))deallocator {
  if (options != MTLResourceStorageModeShared || deallocator != nil)
    refuse("newBufferWithBytesNoCopy", "the double has shared memory of the caller's only");
  return [[DoubleBuffer alloc] initWithBytesNoCopy:pointer length:length];
}
@end

id<MTLDevice> MTLCreateSystemDefaultDevice(void) {
  return [[DoubleDevice alloc] initWithName:@"Metal double" lowPower:NO];
}

NSArray<id<MTLDevice>>* MTLCopyAllDevices(void) {
  id<MTLDevice> fast = [[[DoubleDevice alloc] initWithName:@"Metal double" lowPower:NO] autorelease];
  id<MTLDevice> small =
      [[[DoubleDevice alloc] initWithName:@"Metal double, low power" lowPower:YES] autorelease];
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
