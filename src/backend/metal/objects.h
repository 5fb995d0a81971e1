// SPDX-License-Identifier: MIT
// Objective-C objects under manual reference counting, and the line between NSException and our
// errors. For .mm files.
#pragma once

#import <Foundation/Foundation.h>
#import <Metal/Metal.h>
#import <MetalPerformanceShaders/MetalPerformanceShaders.h>

#include <exception>
#include <string>
#include <utility>

#include "backend/metal/device.h"
#include "base/check.h"

namespace mpsnn::backend::metal {

/// Owns one reference to an object; T is a pointer type: Owned<id<MTLBuffer>>.
template <class T>
class Owned {
 public:
  Owned() = default;
  /// Takes over a reference: the result of alloc, new or copy.
  explicit Owned(T object) noexcept : object_(object) {}
  /// Adds a reference to an object that belongs to others.
  static Owned retained(T object) noexcept { return Owned([object retain]); }
  Owned(const Owned& other) noexcept : object_([other.object_ retain]) {}
  Owned(Owned&& other) noexcept : object_(std::exchange(other.object_, nil)) {}
  Owned& operator=(Owned other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Owned() { [object_ release]; }

  T get() const noexcept { return object_; }
  explicit operator bool() const noexcept { return object_ != nil; }

 private:
  T object_ = nil;
};

std::string to_string(NSString* text);
NSString* to_ns_string(std::string_view text);  // autoreleased

/// Throws DeviceError with what was done and why it failed.
[[noreturn]] void fail_on_device(std::string_view what, std::string_view why);

/// What a command buffer ended in: DeviceLostError where the device is gone, else DeviceError.
/// Null: nothing failed.
std::exception_ptr failure_of(NSError* error);

/// Runs a function in a pool of its own, which an error drains, too: @autoreleasepool would leave
/// it to the next pool around, and a program's thread may have none. An NSException becomes a
/// DeviceError that says what was done.
template <class Function>
auto guarded(std::string_view what, Function&& function) {
  const ReleasePool pool;
  @try {
    return function();
  } @catch (NSException* exception) {
    fail_on_device(what, to_string([exception reason]));
  }
}

}  // namespace mpsnn::backend::metal
