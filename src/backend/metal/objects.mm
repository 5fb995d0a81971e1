// SPDX-License-Identifier: MIT
#include "backend/metal/objects.h"

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

std::exception_ptr failure_of(NSError* error) {
  if (error == nil) return nullptr;
  // MTLCommandBufferErrorDeviceRemoved, which the headers for iOS do not let one name.
  constexpr NSInteger kDeviceRemoved = 11;
  const std::string text = "command buffer: " + to_string([error localizedDescription]);
  if ([[error domain] isEqualToString:MTLCommandBufferErrorDomain] &&
      [error code] == kDeviceRemoved) {
    return std::make_exception_ptr(DeviceLostError(text));
  }
  return std::make_exception_ptr(DeviceError(text));
}

ReleasePool::ReleasePool() : pool_([[NSAutoreleasePool alloc] init]) {}
ReleasePool::~ReleasePool() { [static_cast<NSAutoreleasePool*>(pool_) release]; }

}  // namespace mpsnn::backend::metal
