// SPDX-License-Identifier: MIT
#include "backend/metal/objects.h"

#include "backend/metal/device.h"
#include "mpsnn/error.h"

namespace mpsnn::backend::metal {

std::string to_string(NSString* text) {
  const char* characters = [text UTF8String];
  return characters == nullptr ? std::string() : std::string(characters);
}

NSString* to_ns_string(std::string_view text) {
  return [[[NSString alloc] initWithBytes:text.data()
                                   length:text.size()
                                 encoding:NSUTF8StringEncoding] autorelease];
}

void fail_on_device(std::string_view what, std::string_view why) {
  throw DeviceError(str(what, ": ", why.empty() ? std::string_view("failed") : why));
}

ReleasePool::ReleasePool() : pool_([[NSAutoreleasePool alloc] init]) {}
ReleasePool::~ReleasePool() { [static_cast<NSAutoreleasePool*>(pool_) release]; }

}  // namespace mpsnn::backend::metal
