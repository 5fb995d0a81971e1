// SPDX-License-Identifier: MIT
#include "runtime/trace_recorder.h"

#include <new>
#include <utility>

#include "base/check.h"
#include "mpsnn/error.h"

namespace mpsnn::runtime {
namespace {

/// Guards which recorder is the active one.
struct Active {
  std::mutex mutex;
  std::weak_ptr<TraceRecorder> recorder;   // a trace that is dropped records no longer
  const TraceRecorder* started = nullptr;  // the one that was started last; only compared
  static Active& instance() {
    static Active active;
    return active;
  }
};

std::int64_t nanoseconds(Clock::duration time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time).count();
}

std::string dims_text(const TensorDesc& desc) {
  std::string text = "(";
  for (const std::int64_t extent : desc.dims)
    text += (text.size() > 1 ? ", " : "") + std::to_string(extent);
  return text + ")";
}

std::string shapes_of(const graph::Plan& plan, const graph::Operation& operation) {
  std::string text;
  const auto add = [&](const std::vector<graph::ValueId>& values, std::string_view before) {
    bool first = true;
    for (const graph::ValueId id : values) {
      if (id == graph::kNoValue) continue;
      text += std::string(first ? before : ", ") + dims_text(plan.values[id].desc);
      first = false;
    }
  };
  add(operation.inputs, "");
  add(operation.outputs, text.empty() ? "-> " : " -> ");
  return text;
}

}  // namespace

std::atomic<bool> TraceRecorder::is_active_ = false;

std::shared_ptr<TraceRecorder> TraceRecorder::find_active() noexcept {
  Active& active = Active::instance();
  const std::lock_guard lock(active.mutex);
  return active.recorder.lock();
}

void TraceRecorder::start() {
  Active& active = Active::instance();
  const std::lock_guard active_lock(active.mutex);
  const std::lock_guard lock(mutex_);
  if (state_ != State::NEW)
    throw StateError("Trace: start: expected a trace that was not started, got one that was");
  if (!active.recorder.expired())
    throw StateError("Trace: start: expected no capture to be running, got a second one");
  zero_ = Clock::now();
  state_ = State::RUNNING;
  active.recorder = weak_from_this();
  active.started = this;
  is_active_ = true;
}

void TraceRecorder::stop() noexcept {
  Active& active = Active::instance();
  const std::lock_guard active_lock(active.mutex);
  const std::lock_guard lock(mutex_);
  if (state_ != State::RUNNING) return;
  state_ = State::STOPPED;
  // A dropped trace stops as it is destroyed, when another one may have been started already.
  if (active.started != this) return;
  is_active_ = false;
  active.recorder.reset();
}

bool TraceRecorder::is_running() const {
  const std::lock_guard lock(mutex_);
  return state_ == State::RUNNING;
}

std::string TraceRecorder::host_lane() {
  const auto [found, is_new] = threads_.try_emplace(std::this_thread::get_id());
  if (is_new) found->second = str("host ", threads_.size());
  return found->second;
}

std::string TraceRecorder::lane_of(const QueueLane& lane) {
  const auto [found, is_new] = queues_.try_emplace(lane.queue);
  if (is_new) {
    found->second =
        lane.device + ": " +
        (lane.queue->label().empty() ? str("queue ", queues_.size()) : lane.queue->label());
    for (const auto& other : queues_) {
      if (other.first == lane.queue || other.second != found->second) continue;
      found->second += str(" (", queues_.size(), ")");
      break;
    }
  }
  return found->second;
}

void TraceRecorder::add_record(Record record, Clock::time_point start, Clock::time_point end) {
  if (state_ != State::RUNNING || start < zero_) return;
  record.span.start_ns = nanoseconds(start - zero_);
  record.span.end_ns = nanoseconds(end - zero_);
  records_.push_back(std::move(record));
}

void TraceRecorder::add_host(SpanKind kind, std::string name, std::string commands,
                             Clock::time_point start, std::uint64_t bytes,
                             std::uint64_t flops) noexcept try {
  const std::lock_guard lock(mutex_);
  Record record;
  record.span.kind = kind;
  record.span.lane = host_lane();
  record.span.name = std::move(name);
  record.span.commands = std::move(commands);
  record.span.bytes = bytes;
  record.span.flops = flops;
  add_record(std::move(record), start, Clock::now());
} catch (const std::bad_alloc&) {
  return;  // the work itself is not disturbed by its record
}

void TraceRecorder::add(const QueueLane& lane, Span span, Clock::time_point start,
                        Clock::time_point end) noexcept try {
  const std::lock_guard lock(mutex_);
  span.lane = lane_of(lane);
  add_record({std::move(span), nullptr, 0}, start, end);
} catch (const std::bad_alloc&) {
  return;
}

void TraceRecorder::add_kernel(const QueueLane& lane, const std::string& commands,
                               std::shared_ptr<const CompiledPlan> plan, std::size_t operation,
                               Clock::time_point start, Clock::time_point end,
                               bool skipped) noexcept try {
  const std::lock_guard lock(mutex_);
  Record record{{}, std::move(plan), operation};
  record.span.lane = lane_of(lane);
  record.span.commands = commands;
  record.span.skipped = skipped;
  add_record(std::move(record), start, end);
} catch (const std::bad_alloc&) {
  return;
}

std::vector<Span> TraceRecorder::spans() const {
  const std::lock_guard lock(mutex_);
  std::vector<Span> spans;
  spans.reserve(records_.size());
  for (const Record& record : records_) {
    Span& span = spans.emplace_back(record.span);
    if (!record.plan) continue;
    const graph::Plan& plan = record.plan->plan();
    const graph::Operation& operation = plan.operations[record.operation];
    span.kind = SpanKind::KERNEL;
    span.name = operation.label;
    span.kernel = operation.kernel->row;
    span.shapes = shapes_of(plan, operation);
    span.bytes = operation.bytes;
    span.flops = operation.flops;
  }
  return spans;
}

}  // namespace mpsnn::runtime
