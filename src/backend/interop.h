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
  /// thread, and never commits, which `queue_of` took. A submission is completed when that command
  /// buffer is.
  virtual std::unique_ptr<Queue> make_queue_onto(void* commands) = 0;
  /// The program's queue, in whose order the command buffer runs: id<MTLCommandQueue>. Throws
  /// InvalidArgumentError naming the argument for a command buffer of another device, StateError
  /// for one that was committed, UnsupportedError for one that does not hold what it uses.
  virtual void* queue_of(std::string_view argument, void* commands) const = 0;
  enum class Access { READ, WRITE };
  /// Size and type of an image. Throws UnsupportedError for a format that we have no type for,
  /// InvalidArgumentError for an image of another device or one that must not be used so,
  /// StateError for a temporary image that was read as often as it says.
  virtual TensorDesc describe(std::string_view argument, void* image, Access access) const = 0;
  /// Encode a copy between an image, as `describe` tells of it, and memory of this device, which
  /// the caller holds until it is done.
  virtual void copy_from(void* commands, void* image, const TensorDesc& desc,
                         const Memory& to) const = 0;
  virtual void copy_to(void* commands, void* image, const TensorDesc& desc,
                       const Memory& from) const = 0;
  /// Runs a kernel of the vendor's in a way that ours do not, for measurements; see its backend.
  /// Throws InvalidArgumentError for a probe that there is not.
  virtual std::vector<double> probe(std::string_view name,
                                    std::span<const std::uint64_t> arguments) const = 0;
};

}  // namespace mpsnn::backend
