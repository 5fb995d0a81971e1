// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <deque>
#include <exception>
#include <string>
#include <utility>

#include "mpsnn/command_buffer.h"
#include "mpsnn/error.h"

namespace mpsnn {

/// Keeps a few command buffers in flight: while the device runs one batch, the host prepares and
/// encodes the next. Two are enough, and as the heap belongs to the queue, there is one set of
/// temporaries whatever the number.
///
///     Pipeline pipeline(queue);
///     pipeline.run(batches, [&](CommandBuffer& commands, const Batch& batch) {
///       step.encode(commands, batch.images());
///     });
///
/// For one thread at a time.
class Pipeline {
 public:
  /// Throws InvalidArgumentError where `buffers` is 0.
  explicit Pipeline(CommandQueue queue, std::size_t buffers = 2, bool auto_commit = true)
      : queue_(std::move(queue)), buffers_(buffers), auto_commit_(auto_commit) {
    if (buffers == 0) throw InvalidArgumentError("Pipeline: buffers: expected at least 1, got 0");
  }
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  /// Waits until fewer than `buffers` are in flight, and gives the command buffer for the next
  /// batch, "batch 0" first. Throws BatchError for the first batch that failed.
  CommandBuffer next() {
    while (in_flight_.size() >= buffers_) retire();
    return CommandBuffer(queue_, "batch " + std::to_string(count_), auto_commit_);
  }
  /// Commits the buffer of `next`, which then is in flight.
  void commit(CommandBuffer& commands) {
    commands.commit();
    in_flight_.push_back({commands, count_++});
  }
  /// Waits for all that is in flight. Throws BatchError for the first batch that failed; those
  /// after it were waited for all the same.
  void finish() {
    while (!in_flight_.empty()) retire();
  }

  /// Encodes and commits each batch of `data`, and waits for the last. Throws BatchError for the
  /// first batch that failed, while it was encoded or on the device, with the failure nested; what
  /// `data` itself throws comes out as it is. Nothing is in flight then.
  template <class Range, class Encode>
  void run(Range&& data, Encode&& encode) {
    try {
      for (auto&& batch : data) {
        CommandBuffer commands = next();
        try {
          encode(commands, batch);
          commit(commands);
        } catch (const std::exception& error) {
          const std::exception_ptr own = std::current_exception();
          finish();  // a batch before it may have failed
          fail(count_, error.what(), own);
        }
      }
    } catch (...) {
      drain();
      throw;
    }
    finish();
  }

 private:
  struct InFlight {
    CommandBuffer commands;
    std::size_t batch;
  };

  void retire() {
    const InFlight oldest = std::move(in_flight_.front());
    in_flight_.pop_front();
    try {
      oldest.commands.wait_until_completed();
    } catch (const std::exception& error) {
      const std::exception_ptr own = std::current_exception();
      drain();
      fail(oldest.batch, error.what(), own);
    }
  }
  [[noreturn]] static void fail(std::size_t batch, const std::string& text,
                                const std::exception_ptr& cause) {
    try {
      std::rethrow_exception(cause);
    } catch (...) {
      std::throw_with_nested(BatchError("batch " + std::to_string(batch) + ": " + text, batch));
    }
  }
  /// Waits for the rest, whose failures follow from the first.
  void drain() noexcept {
    for (; !in_flight_.empty(); in_flight_.pop_front()) {
      try {
        in_flight_.front().commands.wait_until_completed();
      } catch (const std::exception&) {
        continue;
      }
    }
  }

  CommandQueue queue_;
  std::size_t buffers_;
  bool auto_commit_;
  std::deque<InFlight> in_flight_;
  std::size_t count_ = 0;
};

}  // namespace mpsnn
