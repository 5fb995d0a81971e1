// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "mpsnn/device.h"

/// Plain device memory, the predicates that lie in it, and events.
namespace mpsnn {

namespace runtime {
struct BufferState;
struct PredicateState;
class EventState;
}  // namespace runtime

/// Bytes on a device, as they are at every moment: neither reading nor writing waits for work in
/// flight, so that the host can change a value that a kernel reads when its turn comes. Wait for
/// the command buffers first where that matters. Apple: MTLBuffer.
class Buffer {
 public:
  /// Zero-filled. Throws InvalidArgumentError for 0 bytes, OutOfMemoryError.
  Buffer(const Device& device, std::size_t bytes);
  /// Copies the caller's bytes, which may change afterwards.
  Buffer(const Device& device, const void* data, std::size_t bytes);
  /// Shares the caller's memory, on the CPU any and on Metal whole pages of the system (else, and
  /// on other devices, UnsupportedError); `owner` is held for as long as the buffer or work on it
  /// lives. Bytes may lie anywhere: it is views and predicates in the buffer that throw
  /// InvalidArgumentError where `data` is no multiple of their element's size. Apple:
  /// newBufferWithBytesNoCopy.
  static Buffer wrap(const Device& device, void* data, std::size_t bytes,
                     std::shared_ptr<void> owner);

  std::size_t bytes() const;
  Device device() const;
  const std::string& label() const;
  void set_label(std::string label);
  /// Copies a range to or from the host. Throws InvalidArgumentError where it does not lie inside.
  void read(std::size_t offset, void* to, std::size_t bytes) const;
  void write(std::size_t offset, const void* from, std::size_t bytes) const;
  /// The memory itself where the host can see it (CPU, Metal); null elsewhere. Apple: contents.
  void* data() const;

  friend bool operator==(const Buffer& a, const Buffer& b) { return a.state_ == b.state_; }
  const std::shared_ptr<runtime::BufferState>& state() const noexcept { return state_; }
  explicit Buffer(std::shared_ptr<runtime::BufferState> state) : state_(std::move(state)) {}

 private:
  std::shared_ptr<runtime::BufferState> state_;
};

/// A 32-bit integer in device memory that switches kernels off: where it is 0 when a kernel's turn
/// comes, the kernel is skipped and its results keep what they held. Set it on a command buffer.
/// Apple: MPSPredicate.
class Predicate {
 public:
  /// Throws InvalidArgumentError where the offset (in bytes) is no multiple of 4, the four bytes do
  /// not lie inside of the buffer, or the buffer's memory, which was wrapped, is not at a multiple
  /// of 4.
  Predicate(const Buffer& buffer, std::size_t offset);
  /// A slot of a buffer that predicates share, given back when the last handle and the last kernel
  /// that reads it are gone. Starts with 1. Apple: initWithDevice.
  explicit Predicate(const Device& device);

  const Buffer& buffer() const;
  /// In bytes.
  std::size_t offset() const;
  /// The integer as it is now; waits for nothing.
  std::int32_t value() const;
  /// Seen by every kernel whose turn comes afterwards.
  void set_value(std::int32_t value) const;

  friend bool operator==(const Predicate& a, const Predicate& b) { return a.state_ == b.state_; }
  const std::shared_ptr<runtime::PredicateState>& state() const noexcept { return state_; }

 private:
  std::shared_ptr<runtime::PredicateState> state_;
};

/// A counter by which queues and the host wait for one another. It only grows. Command buffers
/// signal and wait by CommandBuffer::encode_signal_event and encode_wait_for_event. A signal that
/// can no longer come (its command buffer failed or was dropped) is an error for those who wait for
/// it, as is a wait of a queue that is being destroyed while no work in flight could end it:
/// nothing hangs. Apple: MTLSharedEvent.
class SharedEvent {
 public:
  /// Throws DeviceError where a Metal device makes no more events ("event: the device makes no
  /// more").
  explicit SharedEvent(const Device& device, const std::string& label = "");

  Device device() const;
  const std::string& label() const;
  /// 0 at first.
  std::uint64_t signaled_value() const;
  /// Signals from the host. A value that is not greater than the present one changes nothing.
  void signal(std::uint64_t value) const;
  /// Waits on the host until the event is that far; false when `seconds` have passed before (none:
  /// waits on). Throws the failure of the command buffer that should have signalled it.
  bool wait(std::uint64_t value, std::optional<double> seconds = std::nullopt) const;

  const std::shared_ptr<runtime::EventState>& state() const noexcept { return state_; }

 private:
  std::shared_ptr<runtime::EventState> state_;
};

}  // namespace mpsnn
