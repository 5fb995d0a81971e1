// SPDX-License-Identifier: MIT
// The Metal backend as C++ sees it: no Objective-C in here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/backend.h"

namespace mpsnn::backend::metal {

/// The machine's device of that name (MTLDevice.name; empty: any), or one of low power, an
/// integrated GPU. Throws InvalidArgumentError listing the devices where there is none. Null where
/// the machine has no Metal device at all.
std::shared_ptr<Device> make_device(const std::string& name, bool low_power);
/// The system's default. Null as above.
std::shared_ptr<Device> make_device();

/// Memory that a queue holds for MPS's temporaries. Thread-safe.
class Heaps {
 public:
  virtual ~Heaps() = default;
  /// From now on called with each change of the bytes held, under a lock.
  virtual void watch(std::function<void(std::ptrdiff_t)> changed) = 0;
  /// Gives back what no work uses.
  virtual void trim() = 0;
};

/// What a queue's thread does on the device, in the order of the calls. One thread uses it.
class Stream {
 public:
  /// When the device began and ended, by its own clock, in the host's steady one.
  struct Times {
    Clock::time_point start, end;
  };
  /// What was committed as one command buffer; see `wait`.
  class Ticket {
   public:
    virtual ~Ticket() = default;
  };

  virtual ~Stream() = default;
  virtual std::shared_ptr<Heaps> heaps() const noexcept = 0;
  /// Set by the queue: waits until the device has done all that the queue was given, and says
  /// whether the predicates let the current kernel run. For kernels that change what the host
  /// reads.
  std::function<bool()> settle;
  /// What kernels have encoded since the queue set it to 0: bytes of their operands, and for a
  /// graph of MPS's, which is many kernels, more than any command buffer is to have.
  std::size_t encoded_bytes = 0;
  static constexpr std::size_t kGraphBytes = std::size_t{1} << 62;
  /// On a command buffer of the program's: what its queue keeps until the device has run what
  /// kernels have encoded.
  std::vector<std::shared_ptr<const void>> kept;
  /// Later kernels run only where none of these is 0 when the device comes to them; kept until the
  /// next call. Addresses lie in memory of the device.
  virtual void set_predicates(std::span<const std::int32_t* const> predicates) = 0;
  /// Hands over what was encoded, and goes on in the same MPSCommandBuffer. Null: nothing was.
  virtual std::unique_ptr<Ticket> commit_and_continue() = 0;
  /// Hands over what was encoded and not yet handed over. Null: nothing was.
  virtual std::unique_ptr<Ticket> commit(std::string_view label) = 0;
  /// Waits until the device has run it. Throws DeviceError with what Metal says, DeviceLostError
  /// where the device was removed. None: the device ran nothing.
  virtual std::optional<Times> wait(Ticket& ticket) = 0;

  /// Encode a signal of an event of this device once all before has run, and a wait before what
  /// follows. Predicates do not skip them.
  virtual void signal_event(Event& event, std::uint64_t value) = 0;
  virtual void wait_for_event(Event& event, std::uint64_t value) = 0;
};

/// Objective-C objects that a thread's calls leave behind die with it. Made and destroyed on one
/// thread, in the reverse order.
class ReleasePool {
 public:
  ReleasePool();
  ~ReleasePool();
  ReleasePool(const ReleasePool&) = delete;
  ReleasePool& operator=(const ReleasePool&) = delete;

 private:
  void* pool_;
};

/// A queue on a thread of its own, which encodes what is submitted and waits for the device while
/// the next submission is being encoded.
std::unique_ptr<Queue> make_queue(std::string label, std::unique_ptr<Stream> stream);

}  // namespace mpsnn::backend::metal
