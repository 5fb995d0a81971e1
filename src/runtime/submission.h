// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <vector>

#include "runtime/command_buffer_state.h"

namespace mpsnn::runtime {

/// What a piece has to wait for, found when it is committed.
struct Dependencies {
  std::vector<std::shared_ptr<Piece>> waits;   // of other queues, in flight and not held back
  std::vector<std::shared_ptr<Piece>> makers;  // of source images: where one failed, nothing is run
};

/// Orders a piece against the work that was committed before it on any queue: finds what it must
/// wait for and enters it as user of its images and parameters. The caller holds the queue's
/// submit_mutex. Throws StateError, changing nothing, where a source image's maker was not
/// committed, or the program holds back what it must wait for.
Dependencies order_piece(const Recording& recording, DeviceState& device);
/// Whether a resource is made by work that was committed and that nothing holds back before
/// `reader`, or by `reader` itself. The caller holds usage_mutex.
bool is_made(const Resource& resource, const Piece& reader);

/// A piece in flight.
class PieceSubmission final : public backend::Submission {
 public:
  PieceSubmission(std::shared_ptr<CommandBufferState> buffer, Recording recording);
  void set_dependencies(Dependencies dependencies) { dependencies_ = std::move(dependencies); }
  /// What was committed to its queue before and is not executed; null: nothing.
  void set_earlier(std::shared_ptr<Piece> earlier) { earlier_ = std::move(earlier); }
  const Recording& recording() const noexcept { return recording_; }
  /// Takes the recording back from a submission that was never submitted.
  Recording take_recording() noexcept { return std::move(recording_); }

  std::size_t size() const noexcept override { return dependencies_.waits.size() + item_steps_; }
  backend::Launch step(std::size_t i) override;
  std::size_t steps_alike(std::size_t i) const noexcept override;
  void scheduled() noexcept override;
  void completed(std::exception_ptr failure) noexcept override;
  void timed(Clock::time_point start, Clock::time_point end) noexcept override;
  std::exception_ptr refused() const noexcept override;
  void failed(const std::exception_ptr& failure) noexcept override;
  bool is_first() const noexcept override { return !earlier_ || earlier_->is_executed(); }
  void wait_for_earlier() const override;
  bool is_traced() const noexcept override { return recorder_ != nullptr; }
  void ran(std::size_t i, Clock::time_point start, Clock::time_point end,
           bool skipped) noexcept override;

 private:
  backend::Launch wait_step(std::size_t i) const;
  void trace_piece() noexcept;
  void release_memory() noexcept;

  std::shared_ptr<DeviceState> device_;  // first: outlives all else here
  std::shared_ptr<CommandBufferState> buffer_;
  Recording recording_;
  Dependencies dependencies_;
  std::shared_ptr<Piece> earlier_;
  std::size_t item_steps_ = 0;
  std::size_t item_ = 0, item_start_ = 0;  // the item of the last step, and its first step
  std::shared_ptr<TraceRecorder> recorder_;
};

}  // namespace mpsnn::runtime
