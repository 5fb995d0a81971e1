// SPDX-License-Identifier: MIT
// All that a backend implements, and all that the runtime sees of it: a device, its memory, its
// queues and a table of kernels. A new backend is one folder, one line in src/runtime/devices.cpp
// and one CMake option.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/kernel.h"
#include "mpsnn/error.h"

namespace mpsnn::backend {

struct DeviceInfo {
  std::string kind;  // "cpu", "null", "cuda", "metal"
  std::string name;  // "AMD EPYC, 2 threads, avx512"
  std::size_t memory_bytes = 0;
  bool unified_memory = true;     // host_pointer() works on every allocation
  bool wraps_host_memory = true;  // kernels take any host pointer, the caller's own memory too
  int threads = 0;                // of the host that its kernels run on; 0: none
  bool limits_threads = false;    // to fewer than there are
};

/// Yes, or no with the reason that the user is told.
struct Fit {
  bool yes = true;
  std::string reason;
  static Fit no(std::string why) { return {false, std::move(why)}; }
};

/// One kernel: which operation, whether it fits a case, and how to prepare it. Rows of one
/// operation stand in order of preference, the plain one last. `prepare` settles layouts and
/// scratch bytes (fields of Kernel); it may throw Error where `fits` said yes only for want of
/// memory.
struct KernelRow {
  OpId op;
  std::string_view name;  // "convolution/onednn": shown in plans, errors, traces and bench
  Fit (*fits)(const KernelQuery&);
  std::shared_ptr<Kernel> (*prepare)(const KernelQuery&);
};

/// Device memory; freed by the destructor. Freed only after all work that uses it has completed
/// (the runtime sees to that).
class Memory {
 public:
  virtual ~Memory() = default;
  /// What kernels get in their operand table.
  virtual void* device_pointer() const noexcept = 0;
  /// The same bytes for the host; null where the device's memory is its own.
  virtual void* host_pointer() const noexcept = 0;
  virtual std::size_t bytes() const noexcept = 0;
};

/// An event of the device's own, which its queues signal and wait for without the host.
/// Thread-safe.
class Event {
 public:
  virtual ~Event() = default;
  /// From the host. A value that is not greater changes nothing.
  virtual void signal(std::uint64_t value) noexcept = 0;
};

/// A signal or a wait that a queue may leave to its device, in place of Launch::host. Held until
/// the submission is completed. The turns of a queue end in their order.
class EventTurn {
 public:
  enum class Way {
    DEVICE,  // encode it
    HOST,    // call `await`, and ask again: a wait for what no device has a signal of
    DONE,    // a wait for what is there, or comes earlier on the queue
  };
  virtual ~EventTurn() = default;
  virtual bool is_wait() const noexcept = 0;
  virtual Event& event() const noexcept = 0;
  virtual std::uint64_t value() const noexcept = 0;
  virtual Way way() = 0;
  /// Waits on the host, until it may ask again or the time is over. Without a bound the queue has
  /// waited before for all that it was given. Throws as a wait does.
  virtual void await(std::optional<std::chrono::nanoseconds> at_most) = 0;
  /// A signal is with the device, which gives it unless work fails: others may leave their waits to
  /// the device.
  virtual void committed() noexcept = 0;
  /// The device came past it, and nothing before it failed. A wait waits for the same of who
  /// signalled, and throws that one's failure.
  virtual void ended() = 0;
  /// A signal that the device may give or not is none: work before it failed.
  virtual void failed(std::exception_ptr failure) noexcept = 0;
};

/// What a function of a step does.
enum class HostWork {
  FUNCTION,  // runs once all before it has run
  WAIT,      // waits for work of other queues, whatever of this one has run
  ENCODE,    // puts work onto the command buffer that its queue encodes onto
};

/// A step of a submission: one prepared kernel with its operands, or a host function.
struct Launch {
  const Kernel* kernel = nullptr;  // null: call `host` instead
  std::function<void()> host;
  HostWork host_work = HostWork::FUNCTION;
  /// Null: no event, or one that the host keeps.
  std::shared_ptr<EventTurn> event = nullptr;
  std::string_view label;  // for errors and traces
  KernelArgs args;
  /// 32-bit integers in device memory, read when the step's turn comes: one that is 0 skips the
  /// step. They stay valid until the submission is completed.
  std::span<const std::int32_t* const> predicates;
};

using Clock = std::chrono::steady_clock;

/// A piece of work handed over as a whole, run in order. The queue calls `scheduled` before the
/// first step, `ran` after each step where tracing is on, and `completed` once at the end, with the
/// first failure, if any (later steps were then not run). It holds the object until then.
class Submission {
 public:
  virtual ~Submission() = default;
  virtual std::size_t size() const noexcept = 0;
  /// Step i; called in order, from the queue's own thread or at submit (stream backends).
  virtual Launch step(std::size_t i) = 0;
  /// How many steps from i on, the last one asked for, have its very predicates: where it is
  /// skipped, all of them are, with nothing run between them.
  virtual std::size_t steps_alike(std::size_t /*i*/) const noexcept { return 1; }
  virtual void scheduled() noexcept = 0;
  virtual void completed(std::exception_ptr failure) noexcept = 0;
  /// When its first kernel began and its last one ended, where the device says so itself; before
  /// `completed`.
  virtual void timed(Clock::time_point /*start*/, Clock::time_point /*end*/) noexcept {}
  /// Asked before the first step: an error means that an earlier piece of the same buffer failed,
  /// and nothing of this one is run.
  virtual std::exception_ptr refused() const noexcept = 0;
  /// From a queue that cannot complete it yet: it will fail. `completed` follows.
  virtual void failed(const std::exception_ptr& /*failure*/) noexcept {}
  /// Whether nothing that its queue was given before is left to run.
  virtual bool is_first() const noexcept { return true; }
  /// Waits until it is. Throws StateError where the program has yet to commit what is before it.
  virtual void wait_for_earlier() const {}
  /// Asked once, before the first step.
  virtual bool is_traced() const noexcept { return false; }
  /// When step i ran on the device; `skipped`: its predicate was 0.
  virtual void ran(std::size_t /*i*/, Clock::time_point /*start*/, Clock::time_point /*end*/,
                   bool /*skipped*/) noexcept {}
};

/// Runs submissions in order.
class Queue {
 public:
  virtual ~Queue() = default;  // waits for what was submitted
  /// Returns at once. Throws DeviceLostError.
  virtual void submit(std::shared_ptr<Submission> work) = 0;
  /// After each submit, with no lock held: for what has to run on the thread that submits.
  virtual void run_submitted() {}
  /// Of a queue that encodes onto a command buffer of the program's: whether the program committed
  /// that. Else none.
  virtual std::function<bool()> is_committed() const { return {}; }
  /// Before the first submit: `changed` is called, on any thread, with each change of the bytes
  /// that the queue holds for temporaries beside what Device::allocate gave. It asks nothing of the
  /// queue.
  virtual void watch_heaps(std::function<void(std::ptrdiff_t)> /*changed*/) {}
  /// Gives back what it holds so and no work uses.
  virtual void trim() {}
};

/// A device. Thread-safe.
class Device {
 public:
  virtual ~Device() = default;
  virtual const DeviceInfo& info() const noexcept = 0;
  /// 128-byte aligned at least. Throws OutOfMemoryError with the bytes asked for.
  virtual std::unique_ptr<Memory> allocate(std::size_t bytes) = 0;
  /// The caller's memory as memory of the device, where not every pointer will do
  /// (`wraps_host_memory` is false). Throws UnsupportedError naming what it must be.
  virtual std::unique_ptr<Memory> wrap(void* /*data*/, std::size_t /*bytes*/) {
    throw UnsupportedError("cannot use the caller's memory");
  }
  /// Host to device and back, outside of any queue; the caller has waited for work that uses the
  /// range.
  virtual void write(Memory& to, std::size_t offset, const void* from, std::size_t bytes) = 0;
  virtual void read(const Memory& from, std::size_t offset, void* to, std::size_t bytes) = 0;
  virtual std::unique_ptr<Queue> make_queue(const std::string& label) = 0;
  /// Null: the host keeps events, and queues call Launch::host.
  virtual std::shared_ptr<Event> make_event(const std::string& /*label*/) { return nullptr; }
  virtual std::span<const KernelRow> kernels() const noexcept = 0;
  /// A backend that takes whole graphs (Metal) makes one kernel of each; its table of kernels then
  /// serves only what is encoded one by one. Null: graphs are planned operation by operation.
  virtual const GraphCompiler* graph_compiler() const noexcept { return nullptr; }
};

}  // namespace mpsnn::backend
