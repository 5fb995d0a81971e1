// SPDX-License-Identifier: MIT
// A program that uses Metal itself, for tests of mpsnn/metal.h. What is thrown is caught in C++
// (interop_failures.cpp), since not every runtime of Objective-C lets it be caught here.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "mpsnn/metal.h"
#include "mpsnn/mpsnn.h"
#include "testing.h"

/// The text of what the function throws; empty: nothing.
std::string failure_of(const std::function<void()>& function);

inline void check_says(const std::string& part, const std::function<void()>& function) {
  const std::string text = failure_of(function);
  if (!CHECK(text.find(part) != std::string::npos)) CHECK_EQ(text, part);
}

using Values = std::vector<float>;

/// What a program has: a device, a queue, and a pool around each case.
struct Program {
  NSAutoreleasePool* pool = [[NSAutoreleasePool alloc] init];
  id<MTLDevice> theirs = [MTLCreateSystemDefaultDevice() autorelease];
  id<MTLCommandQueue> queue = [[theirs newCommandQueue] autorelease];
  ~Program() { [pool release]; }

  MPSImage* image(NSUInteger height, NSUInteger width, NSUInteger channels,
                  const Values& values = {},
                  MPSImageFeatureChannelFormat format = MPSImageFeatureChannelFormatFloat32) const {
    MPSImageDescriptor* descriptor = [MPSImageDescriptor imageDescriptorWithChannelFormat:format
                                                                                    width:width
                                                                                   height:height
                                                                          featureChannels:channels];
    MPSImage* made = [[[MPSImage alloc] initWithDevice:theirs
                                       imageDescriptor:descriptor] autorelease];
    if (!values.empty()) {
      [made writeBytes:values.data()
            dataLayout:MPSDataLayoutHeightxWidthxFeatureChannels
            imageIndex:0];
    }
    return made;
  }
};

inline Values values(MPSImage* image) {
  Values read([image width] * [image height] * [image featureChannels]);
  [image readBytes:read.data() dataLayout:MPSDataLayoutHeightxWidthxFeatureChannels imageIndex:0];
  return read;
}

inline Values values(const mpsnn::Image& image) {
  Values read(static_cast<std::size_t>(image.size().count()));
  image.read(read.data(), image.bytes());
  return read;
}
