// SPDX-License-Identifier: MIT
#include "runtime/submission.h"

#include <algorithm>
#include <utility>

#include "base/failure.h"
#include "mpsnn/error.h"
#include "runtime/trace_recorder.h"

namespace mpsnn::runtime {
namespace {

/// Nothing of another queue is waited for that may never run.
void check_on_its_way(const Piece& other, const Piece& piece) {
  if (!other.is_held_back()) return;
  throw StateError("command buffer \"" + piece.label() +
                   "\": commit: expected work that it must wait for to be on its way, got that of "
                   "command buffer \"" +
                   other.label() + "\", which the program has yet to commit");
}

/// What is read must be made by work that was committed before, or by this very piece.
void check_maker(const Resource& resource, const Piece& reader) {
  if (is_made(resource, reader)) return;
  const auto& maker = resource.usage.writer;
  throw StateError("command buffer \"" + reader.label() + "\": commit: expected " +
                   resource.title() + " to be made by work committed before, got one of command " +
                   "buffer \"" + maker->label() + "\", which was not committed");
}

void collect(const ResourceUse& use, const std::shared_ptr<Piece>& piece, Dependencies& found) {
  const Usage& usage = use.resource->usage;
  usage.collect(use.writes, found.waits);
  if (use.writes) return;
  check_maker(*use.resource, *piece);
  const auto& maker = usage.writer;
  if (maker && maker != piece && (!maker->is_executed() || maker->failure()))
    found.makers.push_back(maker);
}

void collect(const Item& item, const std::shared_ptr<Piece>& piece, Dependencies& found) {
  for (const ResourceUse& use : item.uses()) collect(use, piece, found);
  const Binding* parameters = item.parameters();
  if (!parameters) return;
  for (const Binding::Use& use : parameters->uses)
    use.state->usage.collect(use.writes, found.waits);
}

void enter(Usage& usage, bool writes, const std::shared_ptr<Piece>& piece) {
  if (writes) {
    usage.set_writer(piece);
  } else {
    usage.add_reader(piece);
  }
}

void enter(const Item& item, const std::shared_ptr<Piece>& piece) {
  for (const ResourceUse& use : item.uses()) enter(use.resource->usage, use.writes, piece);
  const Binding* parameters = item.parameters();
  if (!parameters) return;
  for (const Binding::Use& use : parameters->uses) enter(use.state->usage, use.writes, piece);
}

}  // namespace

bool is_made(const Resource& resource, const Piece& reader) {
  const auto& maker = resource.usage.writer;
  if (!maker || maker.get() == &reader) return true;
  if (maker->state() < PieceState::COMMITTED) return false;
  return maker->queue() == reader.queue() || !maker->is_held_back();
}

Dependencies order_piece(const Recording& recording, DeviceState& device) {
  Dependencies found;
  const std::lock_guard lock(device.usage_mutex);
  for (const Item& item : recording.items) collect(item, recording.piece, found);
  // A queue runs in order: its own earlier work needs no waiting for.
  std::erase_if(found.waits,
                [&](const auto& piece) { return piece->queue() == recording.piece->queue(); });
  for (const auto& piece : found.waits) check_on_its_way(*piece, *recording.piece);
  recording.piece->advance(PieceState::COMMITTED);
  for (const Item& item : recording.items) {
    enter(item, recording.piece);
    const auto* step = std::get_if<EventStep>(&item.work);
    if (step && step->kind == EventStep::Kind::SIGNAL)
      step->event->expect(step->value, recording.piece->queue().get());
  }
  return found;
}

namespace {

void run(const EventStep& step, QueueLife& queue) {
  if (step.kind == EventStep::Kind::WAIT) {
    step.event->wait_on_queue(step.value, queue, {});
  } else {
    step.event->signal(step.value);
  }
}

}  // namespace

std::span<const ResourceUse> Item::uses() const noexcept {
  if (const PlanRun* run = plan_run()) return run->uses;
  if (const auto* host = std::get_if<HostStep>(&work)) return host->uses;
  return {};
}

std::size_t Item::step_count() const noexcept {
  const auto* slice = std::get_if<PlanSlice>(&work);
  return slice ? slice->count : 1;
}

backend::Launch Item::step(std::size_t i, const Piece& piece, const DeviceState& device) const {
  backend::Launch launch;
  if (const auto* slice = std::get_if<PlanSlice>(&work)) {
    launch = slice->run->launch(slice->first + i);
  } else if (const auto* host = std::get_if<HostStep>(&work)) {
    launch.label = host->label;
    launch.host_work = host->work;
    launch.host = [host, queue = piece.queue().get()] {
      const OnQueueThread here(queue);
      host->function();
    };
  } else {
    const auto* event = &std::get<EventStep>(work);
    launch.label = event->event->label();
    launch.host = [event, queue = piece.queue().get()] { run(*event, *queue); };
    launch.event = event->event->turn(event->kind == EventStep::Kind::WAIT, event->value,
                                      piece.queue(), device);
  }
  if (predicates) launch.predicates = predicates->addresses;
  return launch;
}

PieceSubmission::PieceSubmission(std::shared_ptr<CommandBufferState> buffer, Recording recording)
    : device_(buffer->device()), buffer_(std::move(buffer)), recording_(std::move(recording)) {
  for (const Item& item : recording_.items) item_steps_ += item.step_count();
}

backend::Launch PieceSubmission::wait_step(std::size_t i) const {
  backend::Launch launch;
  launch.label = recording_.piece->label();
  // A maker that fails only now was not seen by refused().
  const auto& piece = dependencies_.waits[i];
  const bool is_maker =
      std::ranges::find(dependencies_.makers, piece) != dependencies_.makers.end();
  launch.host_work = backend::HostWork::WAIT;
  launch.host = [piece, is_maker] {
    piece->wait(PieceState::EXECUTED);
    const auto failure = is_maker ? piece->failure() : nullptr;
    if (failure) std::rethrow_exception(failure->error);
  };
  return launch;
}

backend::Launch PieceSubmission::step(std::size_t i) {
  const std::size_t waits = dependencies_.waits.size();
  if (i < waits) return wait_step(i);
  i -= waits;
  while (i - item_start_ >= recording_.items[item_].step_count()) {
    item_start_ += recording_.items[item_].step_count();
    ++item_;
  }
  return recording_.items[item_].step(i - item_start_, *recording_.piece, *device_);
}

std::size_t PieceSubmission::steps_alike(std::size_t i) const noexcept {
  const std::size_t waits = dependencies_.waits.size();
  const auto& items = recording_.items;
  if (i < waits || !items[item_].predicates) return 1;
  std::size_t end = item_start_ + items[item_].step_count();
  for (std::size_t next = item_ + 1;
       next < items.size() && items[next].predicates == items[item_].predicates; ++next)
    end += items[next].step_count();
  return waits + end - i;
}

void PieceSubmission::ran(std::size_t i, Clock::time_point start, Clock::time_point end,
                          bool skipped) noexcept {
  const QueueLane lane = buffer_->lane(*recording_.piece);
  const std::string& commands = recording_.piece->label();
  const std::size_t waits = dependencies_.waits.size();
  Span span = span_of(SpanKind::WAIT, "other queues", commands);
  if (i < waits) return recorder_->add(lane, std::move(span), start, end);
  const Item& item = recording_.items[item_];
  if (const auto* slice = std::get_if<PlanSlice>(&item.work)) {
    const std::size_t operation = slice->first + i - waits - item_start_;
    return recorder_->add_kernel(lane, commands, slice->run->plan, operation, start, end, skipped);
  }
  if (const auto* host = std::get_if<HostStep>(&item.work)) {
    span.kind = SpanKind::HOST_FUNCTION;
    span.name = host->label;
    span.skipped = skipped;
  } else {
    const auto& event = std::get<EventStep>(item.work);
    if (event.kind == EventStep::Kind::SIGNAL) return;
    span.name = event.event->label();
  }
  recorder_->add(lane, std::move(span), start, end);
}

void PieceSubmission::trace_piece() noexcept {
  if (!recorder_) return;
  const std::string& label = recording_.piece->label();
  const auto point = [](std::int64_t ns) {
    return Clock::time_point(std::chrono::nanoseconds(ns));
  };
  recorder_->add(buffer_->lane(*recording_.piece), span_of(SpanKind::PIECE, label, label),
                 point(recording_.piece->times.started), point(recording_.piece->times.ended));
}

void PieceSubmission::scheduled() noexcept {
  recording_.piece->times.scheduled = PieceTimes::now();
  recording_.piece->advance(PieceState::SCHEDULED);
  buffer_->call(std::exchange(recording_.scheduled_handlers, {}), *recording_.piece, "scheduled");
  recorder_ = TraceRecorder::active();
  recording_.piece->times.started = PieceTimes::now();
}

std::exception_ptr PieceSubmission::refused() const noexcept {
  if (const auto failure = buffer_->failure()) return failure->error;
  for (const auto& maker : dependencies_.makers) {
    if (const auto failure = maker->failure()) return failure->error;
  }
  return nullptr;
}

void PieceSubmission::failed(const std::exception_ptr& failure) noexcept {
  recording_.piece->fail(buffer_->fail(failure));
}

void PieceSubmission::wait_for_earlier() const {
  if (earlier_) earlier_->wait(PieceState::EXECUTED);
}

/// Before anyone who waits goes on: what they then read as memory in use is without this piece.
void PieceSubmission::release_memory() noexcept {
  recording_.items.clear();
  recording_.items.shrink_to_fit();
  dependencies_ = {};
  earlier_ = nullptr;
}

void PieceSubmission::timed(Clock::time_point start, Clock::time_point end) noexcept {
  recording_.piece->times.started = start.time_since_epoch() / std::chrono::nanoseconds(1);
  recording_.piece->times.ended = end.time_since_epoch() / std::chrono::nanoseconds(1);
}

void PieceSubmission::completed(std::exception_ptr failure) noexcept {
  if (recording_.piece->times.ended == 0) recording_.piece->times.ended = PieceTimes::now();
  trace_piece();
  std::shared_ptr<Failure> kept = failure ? buffer_->fail(std::move(failure)) : nullptr;
  recording_.settle_events(kept);
  release_memory();
  recording_.piece->advance(PieceState::EXECUTED, std::move(kept));
  buffer_->call(std::exchange(recording_.completed_handlers, {}), *recording_.piece, "completed");
  recording_.piece->advance(PieceState::FINISHED);
}

}  // namespace mpsnn::runtime
