// SPDX-License-Identifier: MIT
// What a device offers to programs that use its vendor's API themselves. Vendors' objects are void*
// here: those of Objective-C are seen by .mm files only.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "backend/backend.h"

namespace mpsnn::backend {

/// A device that is one of these takes the program's own objects.
class Interop {
 public:
  virtual ~Interop() = default;
  /// id<MTLDevice>.
  virtual void* object() const noexcept = 0;
  /// A queue that encodes what is submitted onto a command buffer of the program's, on the calling
  /// thread, and never commits. A submission is completed when that command buffer is.
  virtual std::unique_ptr<Queue> make_queue_onto(void* commands) = 0;
  /// Size and type of an image. Throws UnsupportedError for a format that we have no type for.
  virtual TensorDesc describe(void* image) const = 0;
  /// Encode a copy between an image and memory of this device, which is held until it is done.
  virtual void copy_from(void* commands, void* image, std::shared_ptr<Memory> to) const = 0;
  virtual void copy_to(void* commands, void* image, std::shared_ptr<Memory> from) const = 0;
  /// Runs a kernel of the vendor's in a way that ours do not, for measurements; see its backend.
  /// Throws InvalidArgumentError for a probe that there is not.
  virtual std::vector<double> probe(std::string_view name,
                                    std::span<const std::uint64_t> arguments) const = 0;
};

}  // namespace mpsnn::backend
