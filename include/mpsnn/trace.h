// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "mpsnn/types.h"

/// Timelines: what host and devices did, and when.
namespace mpsnn {

namespace runtime {
class TraceRecorder;
}  // namespace runtime

/// What a span is.
enum class SpanKind : std::int32_t {
  ENCODE = 0,         // host: Graph::encode
  COMMIT = 1,         // host: one piece handed to its queue
  WAIT = 2,           // host, or a queue that waits for another queue or an event
  HANDLER = 3,        // a queue's thread: a scheduled or completed handler
  PIECE = 4,          // a queue: from the first step of a piece to its last
  KERNEL = 5,         // a queue: one kernel
  HOST_FUNCTION = 6,  // a queue: CommandBuffer::encode_host_function
};

/// Something that took time.
struct Span {
  SpanKind kind = SpanKind::KERNEL;
  std::string lane;      // "host 1": a thread; "cpu: training": a queue
  std::string name;      // the node's, graph's, command buffer's or function's label
  std::string commands;  // label of the command buffer
  std::string kernel;    // KERNEL: the row that made it, "convolution/onednn"
  std::string shapes;    // KERNEL: "(2, 64, 64, 12), (16, 3, 3, 12) -> (2, 64, 64, 16)"
  std::int64_t start_ns = 0, end_ns = 0;  // from the start of the capture
  std::uint64_t bytes = 0, flops = 0;     // KERNEL, and the sum of an ENCODE
  bool skipped = false;                   // KERNEL, HOST_FUNCTION: by a predicate

  std::int64_t duration_ns() const noexcept { return end_ns - start_ns; }
};

/// A pause of a queue between two kernels.
struct Gap {
  std::int64_t start_ns = 0, end_ns = 0;
  std::string after, before;  // names of the spans on both sides
  /// true: nothing had been committed; false: inside of a piece, or it waited for other work.
  bool starved = false;
};

/// How busy one queue was, between its first and its last span.
struct QueueSummary {
  std::string lane;
  double seconds = 0;          // from the first to the last span
  double busy_seconds = 0;     // kernels and host functions
  double starved_seconds = 0;  // nothing was committed
  std::size_t kernels = 0, skipped = 0;
  std::vector<Gap> gaps;  // the five longest
  double busy() const noexcept { return seconds > 0 ? busy_seconds / seconds : 0; }
};

/// What one node cost, all its kernels together.
struct NodeCost {
  std::string name, kernel;
  std::size_t count = 0;
  double seconds = 0;
  double share = 0;  // of the time of all kernels
  std::uint64_t flops = 0, bytes = 0;
};

/// What a capture comes to.
struct TraceSummary {
  double seconds = 0;  // from the first span to the last
  std::vector<QueueSummary> queues;
  std::vector<NodeCost> nodes;  // the ten most costly, the worst first
  std::string text() const;     // for people
};

/// A capture of everything that this process encodes, commits, waits for and runs between `start`
/// and `stop`, on all devices. Work that was committed before, and kernels that have not ended when
/// it stops, are not in it. While none runs, it costs one look at a flag a call and a piece.
/// Handles: a copy means the same object. Thread-safe.
class Trace {
 public:
  Trace();
  /// Throws StateError while another capture runs, or where this one was started before.
  void start() const;
  /// Ends the capture. A second call, or one without `start`, changes nothing.
  void stop() const;
  bool is_running() const;

  /// In the order in which they ended.
  std::vector<Span> spans() const;
  TraceSummary summary() const;
  /// Chrome's trace-event format, which Perfetto and chrome://tracing open.
  std::string json() const;
  /// Writes `json` to a file, atomically. Throws FileError.
  void save(const std::string& path) const;

 private:
  std::shared_ptr<runtime::TraceRecorder> recorder_;
};

/// Captures for as long as it lives: `{ Capture capture(trace); ... }`.
class Capture {
 public:
  explicit Capture(Trace trace) : trace_(std::move(trace)) { trace_.start(); }
  ~Capture() { trace_.stop(); }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

 private:
  Trace trace_;
};

}  // namespace mpsnn
