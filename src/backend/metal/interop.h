// SPDX-License-Identifier: MIT
// Work on command buffers and images of the program's. No Objective-C in here.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <string>

#include "backend/metal/device.h"

namespace mpsnn::backend::metal {

/// A device over an id<MTLDevice> of the program's. Throws UnsupportedError where MPS cannot use
/// it.
std::shared_ptr<Device> device_over(void* device);

/// Calls the function once the device is done with a command buffer, with what failed or nothing.
using CompletedHandler = std::function<void(std::exception_ptr failure)>;
void when_completed(void* commands, CompletedHandler handler);

/// A queue that encodes on the calling thread and commits nothing. `commands` is what the stream
/// encodes onto.
std::unique_ptr<Queue> make_queue_onto(std::unique_ptr<Stream> stream, void* commands);

TensorDesc describe_image(void* image);

}  // namespace mpsnn::backend::metal
