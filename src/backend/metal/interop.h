// SPDX-License-Identifier: MIT
// Work on command buffers and images of the program's. No Objective-C in here.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <string_view>

#include "backend/interop.h"
#include "backend/metal/device.h"

namespace mpsnn::backend::metal {

/// A device over an id<MTLDevice> of the program's. Throws UnsupportedError where MPS cannot use
/// it.
std::shared_ptr<Device> device_over(void* device);

/// What failed, or null.
using CompletedHandler = std::function<void(const std::exception_ptr& failure)>;

/// A command buffer of the program's. Does not hold it. Thread-safe.
class ProgramCommands {
 public:
  virtual ~ProgramCommands() = default;
  /// Work will be encoded. Throws StateError where it was committed. Called by who holds it.
  virtual void begin() = 0;
  /// Calls the handler once the device is done with what was encoded; lets go of it uncalled where
  /// the command buffer goes before. Called by who holds it.
  virtual void when_completed(CompletedHandler handler) = 0;
  /// Whether the program committed what was encoded since `begin`, or let go of it.
  virtual bool is_committed() const = 0;
};
std::shared_ptr<ProgramCommands> program_commands(void* commands);

/// A queue that encodes on the calling thread and commits nothing. `commands` is what the stream
/// encodes onto, and holds.
std::unique_ptr<Queue> make_queue_onto(std::unique_ptr<Stream> stream,
                                       std::shared_ptr<ProgramCommands> commands);

/// As backend::Interop has them, for an id<MTLDevice>.
void* queue_of(std::string_view argument, void* commands, void* device);
TensorDesc describe_image(std::string_view argument, void* image, void* device,
                          Interop::Access access);

}  // namespace mpsnn::backend::metal
