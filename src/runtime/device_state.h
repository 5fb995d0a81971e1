// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "mpsnn/device.h"
#include "runtime/allocator.h"
#include "runtime/chooser.h"

namespace mpsnn::runtime {

class FailureLog;
class Piece;
class PredicateSlots;

/// A device in use. Device("cpu") hands out one per kind and process; tests make their own.
struct DeviceState {
  /// `own_name`: in errors, for one that is not the only one of its kind; empty: the kind.
  explicit DeviceState(std::shared_ptr<backend::Device> with, std::string own_name = "");

  const std::string& kind() const noexcept { return backend->info().kind; }
  /// For errors that tell two devices apart.
  const std::string& title() const noexcept { return own_name_.empty() ? kind() : own_name_; }

  const std::shared_ptr<backend::Device> backend;
  Allocator allocator;
  const TableChooser chooser;
  /// Guards every Usage of the device's images and parameters. Taken after a queue's submit_mutex.
  std::mutex usage_mutex;
  const std::shared_ptr<PredicateSlots> predicate_slots;

  void add_queue(const std::shared_ptr<QueueState>& queue);
  std::vector<std::shared_ptr<QueueState>> queues();

  /// The last work of a queue that is gone, which may still be running.
  struct Leftover {
    std::shared_ptr<Piece> last;
    std::shared_ptr<FailureLog> failures;
  };
  void add_leftover(Leftover leftover) noexcept;
  std::vector<Leftover> leftovers();

 private:
  const std::string own_name_;
  std::mutex queues_mutex_;
  std::vector<std::weak_ptr<QueueState>> queues_;
  std::vector<Leftover> leftovers_;
};

}  // namespace mpsnn::runtime
