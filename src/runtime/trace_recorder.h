// SPDX-License-Identifier: MIT
// Where spans are collected while a capture runs.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "mpsnn/trace.h"
#include "runtime/plan_run.h"

namespace mpsnn::runtime {

using Clock = std::chrono::steady_clock;

inline Span span_of(SpanKind kind, std::string name, std::string commands) {
  Span span;
  span.kind = kind;
  span.name = std::move(name);
  span.commands = std::move(commands);
  return span;
}

/// The lane of a queue.
struct QueueLane {
  std::shared_ptr<const QueueLife> queue;
  std::string device;
};

/// Thread-safe. At most one records at a time in a process.
class TraceRecorder : public std::enable_shared_from_this<TraceRecorder> {
 public:
  /// The one that records now; null: none, at the cost of one look at a flag.
  static std::shared_ptr<TraceRecorder> active() noexcept {
    return is_active_.load(std::memory_order_relaxed) ? find_active() : nullptr;
  }

  TraceRecorder() = default;
  ~TraceRecorder() { stop(); }
  TraceRecorder(const TraceRecorder&) = delete;
  TraceRecorder& operator=(const TraceRecorder&) = delete;

  void start();
  void stop() noexcept;
  bool is_running() const;
  std::vector<Span> spans() const;

  /// A span of this thread. Dropped where the capture has ended, and where there is no memory.
  void add_host(SpanKind kind, std::string name, std::string commands, Clock::time_point start,
                std::uint64_t bytes = 0, std::uint64_t flops = 0) noexcept;
  /// A span of a queue.
  void add(const QueueLane& lane, Span span, Clock::time_point start,
           Clock::time_point end) noexcept;
  /// A kernel: what it was is looked up when the spans are asked for.
  void add_kernel(const QueueLane& lane, const std::string& commands,
                  std::shared_ptr<const CompiledPlan> plan, std::size_t operation,
                  Clock::time_point start, Clock::time_point end, bool skipped) noexcept;

 private:
  struct Record {
    Span span;
    std::shared_ptr<const CompiledPlan> plan;  // null: the span is whole
    std::size_t operation = 0;
  };
  static std::shared_ptr<TraceRecorder> find_active() noexcept;
  void add_record(Record record, Clock::time_point start, Clock::time_point end);
  std::string lane_of(const QueueLane& lane);
  std::string host_lane();

  static std::atomic<bool> is_active_;

  mutable std::mutex mutex_;
  enum class State { NEW, RUNNING, STOPPED } state_ = State::NEW;
  Clock::time_point zero_;
  std::vector<Record> records_;
  std::map<std::shared_ptr<const QueueLife>, std::string> queues_;  // held: addresses stay apart
  std::map<std::thread::id, std::string> threads_;
};

/// Records a span of this thread from its making to its end, where a capture runs.
class HostSpan {
 public:
  HostSpan(SpanKind kind, const std::string& name, const std::string& commands)
      : recorder_(TraceRecorder::active()) {
    if (!recorder_) return;
    kind_ = kind;
    name_ = name;
    commands_ = commands;
    start_ = Clock::now();
  }
  ~HostSpan() {
    if (recorder_)
      recorder_->add_host(kind_, std::move(name_), std::move(commands_), start_, bytes_, flops_);
  }
  HostSpan(const HostSpan&) = delete;
  HostSpan& operator=(const HostSpan&) = delete;
  void set_work(std::uint64_t bytes, std::uint64_t flops) noexcept {
    bytes_ = bytes;
    flops_ = flops;
  }

 private:
  std::shared_ptr<TraceRecorder> recorder_;
  SpanKind kind_ = SpanKind::ENCODE;
  std::string name_, commands_;
  Clock::time_point start_;
  std::uint64_t bytes_ = 0, flops_ = 0;
};

}  // namespace mpsnn::runtime
