// SPDX-License-Identifier: MIT
// The double's count of living objects: every class is counted, so that a leak shows, and whoever
// releases an object once too often is told.
#include <objc/runtime.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <vector>

#include "refused.h"
#include "testing.h"

#import <MetalPerformanceShaders/MetalPerformanceShaders.h>

extern "C" {
long metal_double_objects(void);
long metal_double_objects_of(const char* name);
long metal_double_over_releases(void);
}

namespace {

/// Of the double and of the backend.
std::vector<Class> counted_classes() {
  std::vector<Class> all(static_cast<std::size_t>(objc_getClassList(nullptr, 0)));
  objc_getClassList(all.data(), static_cast<int>(all.size()));
  std::erase_if(all, [](Class kind) {
    const std::string_view name = class_getName(kind);
    return !name.starts_with("MPS") && !name.starts_with("MTL") && !name.starts_with("Double") &&
           !name.starts_with("Mpsnn");
  });
  return all;
}

/// Leaks what the block returns with a reference that nobody gives back; the object.
id leaked(id (^make)(void)) {
  @autoreleasepool {
    return [make() retain];
  }
}

void check_leak_shows(const char* name, id (^make)(void)) {
  const long before = metal_double_objects(), own = metal_double_objects_of(name);
  id object = leaked(make);
  CHECK_EQ(metal_double_objects_of(name), own + 1);
  CHECK_EQ(metal_double_objects(), before + 1);
  [object release];
  CHECK_EQ(metal_double_objects_of(name), own);
  CHECK_EQ(metal_double_objects(), before);
}

}  // namespace

TEST_CASE("live: an object of every class is counted until it is gone") {
  const std::vector<Class> all = counted_classes();
  CHECK(all.size() > 150);
  using Dealloc = void (*)(id, SEL);
  const auto end = reinterpret_cast<Dealloc>(
      reinterpret_cast<void*>([NSObject instanceMethodForSelector:@selector(dealloc)]));
  for (Class kind : all) {
    const char* name = class_getName(kind);
    const long before = metal_double_objects(), own = metal_double_objects_of(name);
    id object = [kind alloc];
    CHECK_EQ(metal_double_objects_of(name), own + 1);
    CHECK_EQ(metal_double_objects(), before + 1);
    // As nothing was put into it, the class has nothing to let go.
    end(object, @selector(dealloc));
    CHECK_EQ(metal_double_objects_of(name), own);
    CHECK_EQ(metal_double_objects(), before);
  }
}

TEST_CASE("live: a descriptor, a device, a container that leaks shows") {
  check_leak_shows("MPSImageDescriptor", ^id {
    return [MPSImageDescriptor imageDescriptorWithChannelFormat:MPSImageFeatureChannelFormatFloat16
                                                          width:1
                                                         height:1
                                                featureChannels:1];
  });
  check_leak_shows("MPSMatrixDescriptor", ^id {
    return [MPSMatrixDescriptor matrixDescriptorWithRows:1
                                                 columns:1
                                                rowBytes:4
                                                dataType:MPSDataTypeFloat32];
  });
  check_leak_shows("MPSNNNeuronDescriptor", ^id {
    return [MPSNNNeuronDescriptor cnnNeuronDescriptorWithType:MPSCNNNeuronTypeNone a:0 b:0 c:0];
  });
  check_leak_shows("MTLHeapDescriptor", ^id {
    return [[[MTLHeapDescriptor alloc] init] autorelease];
  });
  check_leak_shows("DoubleDevice", ^id {
    return [MTLCreateSystemDefaultDevice() autorelease];
  });
}

TEST_CASE("live: a release too many is told, and so is all else that is sent to what is gone") {
  CHECK_EQ(metal_double_over_releases(), 0);
  id object = [[MTLHeapDescriptor alloc] init];
  [object release];
  CHECK_EQ(metal_double_over_releases(), 0);
  [object release];
  CHECK_EQ(metal_double_over_releases(), 1);
  CHECK_EQ(metal_double_over_releases(), 0);
  CHECK(is_refused(^{
    [static_cast<MTLHeapDescriptor*>(object) setSize:1];
  }));
  CHECK_EQ(metal_double_over_releases(), 1);
  @autoreleasepool {
    id device = [MTLCreateSystemDefaultDevice() autorelease];
    [device release];  // the pool's
  }
  CHECK_EQ(metal_double_over_releases(), 1);
  // An object whose memory was used again is another one.
  for (int i = 0; i < 5000; ++i) [[[MTLHeapDescriptor alloc] init] release];
  CHECK_EQ(metal_double_over_releases(), 0);
}

TEST_CASE("live: a process that released too much and asked nobody fails") {
  for (const int releases : {1, 2}) {
    const pid_t child = fork();
    if (child == 0) {
      id object = [[MTLHeapDescriptor alloc] init];
      for (int i = 0; i < releases; ++i) [object release];
      std::exit(0);
    }
    int status = -1;
    waitpid(child, &status, 0);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), releases == 1 ? 0 : 70);
  }
}
