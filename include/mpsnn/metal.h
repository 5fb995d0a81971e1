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
/// recorded, on the calling thread, and commits nothing; the program commits its own afterwards,
/// once. Recorded work may come from several graphs. As everything that encodes onto one command
/// buffer of Metal's, `commit()` is called by one thread at a time.
///
/// Results can be read once the program committed its command buffer: a read waits until that is
/// completed. Before, whatever would wait for it throws StateError: reads, waits, and the
/// `commit()` of work on other queues that uses what it uses. Command buffers of one
/// MTLCommandQueue may use each other's results before they are committed; the program commits them
/// in the order in which they were encoded. Where the program lets go of its command buffer and
/// never commits it, what was encoded on it fails with StateError.
///
/// Where an MPSCommandBuffer is given, MPS may commitAndContinue it inside of a graph, as it does
/// for every MPSNNGraph; it leaves a plain MTLCommandBuffer alone.
///
/// Throws InvalidArgumentError for nil and a command buffer of another device, StateError for one
/// that was committed (`commit()` does, too), UnsupportedError for one that does not hold what it
/// uses (commandBufferWithUnretainedReferences) and for a device of another kind. What cannot be
/// encoded ahead becomes the buffer's error (`error()`, and thrown by reads): predicates, and
/// behind other work host functions, waits for events and kernels that read on the host, as a graph
/// does that is to read weights which that work trains: they need the device's results in between.
/// Signals of events are encoded; the host and other queues hear of them when the command buffer is
/// completed.
inline CommandBuffer command_buffer(const Device& device, id<MTLCommandBuffer> commands,
                                    const std::string& label = "") {
  return detail::command_buffer_onto(device, (__bridge void*)commands, label);
}

/// Encodes a copy of an image onto the program's command buffer, at the call, and returns where it
/// goes: a source for graphs that are committed after. (numberOfImages, height, width,
/// featureChannels), float32 or float16 as the image is. A texture: MPSImage's
/// initWithTexture:featureChannels:. It is read, and used by other work, as a result of
/// `command_buffer` is. Of a temporary image, which must be one of this command buffer, it takes
/// one from the read count.
///
/// Throws as `command_buffer` does for the command buffer; InvalidArgumentError for nil, an image
/// of another device, or one whose usage has no MTLTextureUsageShaderRead; StateError for a
/// temporary image of read count 0; UnsupportedError for other formats (convert those with
/// MPSImageConversion).
inline Image encode_copy(const Device& device, id<MTLCommandBuffer> commands, MPSImage* image) {
  return detail::encode_copy_from(device, (__bridge void*)commands, (__bridge void*)image);
}

/// Encodes a copy of a result into an image of the program's, of the same size and format, at the
/// call. Work of the library's own queues that makes the result is waited for. Throws StateError
/// where what makes the result was not committed (`commit()` comes first), and its failure where it
/// failed; InvalidArgumentError for another size or format; for the command buffer and the image as
/// above, with MTLTextureUsageShaderWrite.
inline void encode_copy(const Image& image, id<MTLCommandBuffer> commands, MPSImage* to) {
  detail::encode_copy_to(image, (__bridge void*)commands, (__bridge void*)to);
}

}  // namespace mpsnn::metal
#endif
