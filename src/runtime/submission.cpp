// SPDX-License-Identifier: MIT
#include "runtime/submission.h"

#include <algorithm>
#include <utility>

#include "base/failure.h"
#include "mpsnn/error.h"

namespace mpsnn::runtime {
namespace {

const PlanRun* run_of(const Item& item) {
  const auto* slice = std::get_if<PlanSlice>(&item.work);
  return slice ? slice->run.get() : nullptr;
}

/// A source image must be made by work that was committed before, or by this very piece.
void check_maker(const ImageState& image, const Piece& reader) {
  const auto& maker = image.usage.writer;
  if (!maker || maker.get() == &reader || maker->state() >= PieceState::COMMITTED) return;
  throw StateError("command buffer \"" + reader.label() + "\": commit: expected " + image.title() +
                   " to be made by work committed before, got one of command buffer \"" +
                   maker->label() + "\", which was not committed");
}

void collect(const PlanRun& run, const std::shared_ptr<Piece>& piece, Dependencies& found) {
  for (const auto& image : run.sources) {
    check_maker(*image, *piece);
    image->usage.collect(false, found.waits);
    const auto& maker = image->usage.writer;
    if (maker && maker != piece && (!maker->is_executed() || maker->failure()))
      found.makers.push_back(maker);
  }
  for (const Binding::Use& use : run.binding->uses)
    use.state->usage.collect(use.writes, found.waits);
}

void enter(const PlanRun& run, const std::shared_ptr<Piece>& piece) {
  for (const auto& image : run.sources) image->usage.add_reader(piece);
  for (const Binding::Use& use : run.binding->uses) {
    if (use.writes) {
      use.state->usage.set_writer(piece);
    } else {
      use.state->usage.add_reader(piece);
    }
  }
}

}  // namespace

Dependencies order_piece(const Recording& recording, DeviceState& device) {
  Dependencies found;
  const std::lock_guard lock(device.usage_mutex);
  for (const Item& item : recording.items) {
    if (const PlanRun* run = run_of(item)) collect(*run, recording.piece, found);
  }
  // A queue runs in order: its own earlier work needs no waiting for.
  std::erase_if(found.waits,
                [&](const auto& piece) { return piece->queue() == recording.piece->queue(); });
  recording.piece->advance(PieceState::COMMITTED);
  for (const Item& item : recording.items) {
    if (const PlanRun* run = run_of(item)) enter(*run, recording.piece);
  }
  return found;
}

std::size_t Item::step_count() const noexcept {
  const auto* slice = std::get_if<PlanSlice>(&work);
  return slice ? slice->count : 1;
}

backend::Launch Item::step(std::size_t i) const {
  backend::Launch launch;
  if (const auto* slice = std::get_if<PlanSlice>(&work)) {
    launch = slice->run->launch(slice->first + i);
  } else {
    const auto& host = std::get<HostStep>(work);
    launch.label = host.label;
    launch.host = std::cref(host.function);
  }
  launch.predicate = predicate;
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
  backend::Launch launch = recording_.items[item_].step(i - item_start_);
  if (launch.host) {
    launch.host = [function = std::move(launch.host), queue = recording_.piece->queue()] {
      const OnQueueThread here(queue);
      function();
    };
  }
  return launch;
}

void PieceSubmission::scheduled() noexcept {
  recording_.piece->advance(PieceState::SCHEDULED);
  buffer_->call(std::exchange(recording_.scheduled_handlers, {}), *recording_.piece, "scheduled");
}

std::exception_ptr PieceSubmission::refused() const noexcept {
  if (const auto failure = buffer_->failure()) return failure->error;
  for (const auto& maker : dependencies_.makers) {
    if (const auto failure = maker->failure()) return failure->error;
  }
  return nullptr;
}

/// Before anyone who waits goes on: what they then read as memory in use is without this piece.
void PieceSubmission::release_memory() noexcept {
  recording_.items.clear();
  recording_.items.shrink_to_fit();
  dependencies_ = {};
}

void PieceSubmission::completed(std::exception_ptr failure) noexcept {
  release_memory();
  std::shared_ptr<Failure> kept = failure ? buffer_->fail(std::move(failure)) : nullptr;
  recording_.piece->advance(PieceState::EXECUTED, std::move(kept));
  buffer_->call(std::exchange(recording_.completed_handlers, {}), *recording_.piece, "completed");
  recording_.piece->advance(PieceState::FINISHED);
}

}  // namespace mpsnn::runtime
