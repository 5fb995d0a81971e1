// SPDX-License-Identifier: MIT
#pragma once

// For programs of Apple's systems that use Metal themselves, in Objective-C++ (.mm files, with or
// without ARC): graphs run on a device, a command buffer and images that the program has. Empty
// elsewhere, and not part of mpsnn.h.
#ifdef __OBJC__
#import <Metal/Metal.h>
#import <MetalPerformanceShaders/MetalPerformanceShaders.h>

#include <string>

#include "mpsnn/command_buffer.h"
#include "mpsnn/device.h"

namespace mpsnn::metal {

namespace detail {
// Objects of Objective-C as C++ sees them; nothing is retained by the call.
Device device_over(void* device);
void* object_of(const Device& device);
CommandBuffer command_buffer_onto(const Device& device, void* commands, const std::string& label);
Image encode_copy_from(const Device& device, void* commands, void* image);
void encode_copy_to(const Image& image, void* commands, void* to);
}  // namespace detail

/// The device over an MTLDevice of the program's: the same for the same object, and Device("metal")
/// where that has it. Throws UnsupportedError where MPS cannot use it, InvalidArgumentError for
/// nil.
inline Device device(id<MTLDevice> metal_device) {
  return detail::device_over((__bridge void*)metal_device);
}

/// The MTLDevice of a Metal device. Throws UnsupportedError for one of another kind.
inline id<MTLDevice> metal_device(const Device& device) {
  return (__bridge id<MTLDevice>)detail::object_of(device);
}

/// A command buffer that encodes onto one of the program's: `commit()` encodes all that was
/// recorded and commits nothing; the program commits its own afterwards, once. Recorded work may
/// come from several graphs. Results can be read when the program's command buffer is completed;
/// before it is committed, a read would wait for ever. One such buffer for each of the program's.
/// What reads a result that another of the program's command buffers makes waits for that at
/// `commit()`: commit the other one before, or the wait never ends.
/// Where an MPSCommandBuffer is given, MPS may commitAndContinue it inside of a graph, as it does
/// for every MPSNNGraph; it leaves a plain MTLCommandBuffer alone.
///
/// Throws InvalidArgumentError for nil, UnsupportedError for a device of another kind. What cannot
/// be encoded ahead becomes the buffer's error (`error()`, and thrown by reads): predicates, host
/// functions, waits for events and updates by the host, which need the device's results in between.
/// Signals of events are encoded; the host and other queues hear of them when the command buffer is
/// completed.
inline CommandBuffer command_buffer(const Device& device, id<MTLCommandBuffer> commands,
                                    const std::string& label = "") {
  return detail::command_buffer_onto(device, (__bridge void*)commands, label);
}

/// Encodes a copy of an image onto the program's command buffer, at the call, and returns where it
/// goes: a source for graphs that are committed after. (numberOfImages, height, width,
/// featureChannels), float32 or float16 as the image is; UnsupportedError for other formats
/// (convert those with MPSImageConversion). A texture: MPSImage's initWithTexture:featureChannels:.
/// Nothing else waits for the copy: before the image is read, or used on the library's own queues,
/// the program's command buffer must have completed.
inline Image encode_copy(const Device& device, id<MTLCommandBuffer> commands, MPSImage* image) {
  return detail::encode_copy_from(device, (__bridge void*)commands, (__bridge void*)image);
}

/// Encodes a copy of a result into an image of the program's, of the same size and format, at the
/// call: after the `commit()` of what makes the result. Throws InvalidArgumentError for another
/// size or format.
inline void encode_copy(const Image& image, id<MTLCommandBuffer> commands, MPSImage* to) {
  detail::encode_copy_to(image, (__bridge void*)commands, (__bridge void*)to);
}

}  // namespace mpsnn::metal
#endif
