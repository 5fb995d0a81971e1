// SPDX-License-Identifier: MIT
#include "runtime/queue_state.h"

#include <algorithm>
#include <new>

#include "runtime/trace_recorder.h"

namespace mpsnn::runtime {
namespace {

/// Failures that are kept for CommandQueue::wait_until_idle; a buffer keeps its own in any case.
constexpr std::size_t kFailureLimit = 64;

std::size_t size_of(const std::shared_ptr<Arena>& arena) {
  return arena->memory ? arena->memory->bytes() : 0;
}

}  // namespace

std::shared_ptr<Arena> Arenas::acquire(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  if (idle_.empty()) {
    std::erase_if(all_, [](const auto& one) { return one.expired(); });
    idle_.reserve(all_.size() + 1);
    auto arena = std::make_shared<Arena>();
    all_.push_back(arena);
    return arena;
  }
  std::ranges::sort(idle_, {}, size_of);
  auto chosen = std::ranges::lower_bound(idle_, bytes, {}, size_of);
  if (chosen == idle_.end()) --chosen;  // none is large enough: the largest one grows
  std::shared_ptr<Arena> arena = std::move(*chosen);
  idle_.erase(chosen);
  return arena;
}

void Arenas::release(std::shared_ptr<Arena> arena) noexcept {
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(arena));
}

MemoryHandle Arenas::memory_of(Arena& arena, std::size_t bytes) {
  if (!arena.memory || arena.memory->bytes() < bytes) {
    arena.memory.reset();  // before the larger one is made: idle memory is not held twice
    arena.bytes = 0;
    arena.memory = allocator_.allocate(bytes, MemoryUse::HEAP);
    arena.bytes = arena.memory->bytes();
  }
  return arena.memory;
}

void Arenas::trim() {
  const std::lock_guard lock(mutex_);
  for (const auto& arena : idle_) {
    arena->memory.reset();
    arena->bytes = 0;
  }
}

QueueMemory Arenas::statistics() const {
  QueueMemory memory;
  const std::lock_guard lock(mutex_);
  for (const auto& one : all_) {
    if (const auto arena = one.lock()) {
      ++memory.arenas;
      memory.heap += arena->bytes;
    }
  }
  return memory;
}

void FailureLog::add(const std::shared_ptr<Failure>& failure) noexcept {
  const std::lock_guard lock(mutex_);
  try {
    std::erase_if(failures_, [](const auto& one) { return one->told.load(); });
    if (failures_.size() < kFailureLimit) failures_.push_back(failure);
  } catch (const std::bad_alloc&) {
    return;  // the command buffer still keeps it
  }
}

void FailureLog::rethrow_first_untold() {
  std::unique_lock lock(mutex_);
  std::erase_if(failures_, [](const auto& one) { return one->told.load(); });
  if (failures_.empty()) return;
  const std::shared_ptr<Failure> first = failures_.front();
  failures_.pop_front();
  lock.unlock();
  first->rethrow();
}

bool FailureLog::is_empty() const noexcept {
  const std::lock_guard lock(mutex_);
  return std::ranges::all_of(failures_, [](const auto& one) { return one->told.load(); });
}

QueueState::QueueState(std::shared_ptr<DeviceState> of, std::string with_label)
    : QueueState(of, with_label, of->backend->make_queue(with_label),
                 std::make_shared<QueueLife>(with_label)) {}

QueueState::QueueState(std::shared_ptr<DeviceState> of, std::string with_label,
                       std::unique_ptr<backend::Queue> over, std::shared_ptr<QueueLife> with_life)
    : device(std::move(of)),
      label(std::move(with_label)),
      arenas(device->allocator),
      life(std::move(with_life)),
      backend(std::move(over)) {
  backend->watch_heaps(
      [allocator = device->allocator, own = own_heaps](std::ptrdiff_t change) mutable {
        allocator.count_heap(change);
        *own += change;
      });
  device->allocator.add_owner(*this);
  life->open();  // last: what throws before leaves nothing open
}

QueueState::~QueueState() {
  device->allocator.remove_owner(*this);
  life->close_one();
  // Where the last handle is dropped on a queue's thread, the backend's queue ends by itself later.
  if (last) device->add_leftover({std::move(last), failures});
}

std::shared_ptr<Piece> QueueState::last_piece() {
  const std::lock_guard lock(submit_mutex);
  return last;
}

void QueueState::wait() {
  if (const auto waited_for = last_piece()) waited_for->wait(PieceState::FINISHED);
}

void QueueState::trim() {
  arenas.trim();
  backend->trim();
}

QueueMemory QueueState::statistics() const {
  QueueMemory memory = arenas.statistics();
  memory.label = label;
  memory.heap += static_cast<std::size_t>(own_heaps->load());
  return memory;
}

}  // namespace mpsnn::runtime

namespace mpsnn {

CommandQueue::CommandQueue(const Device& device, const std::string& label)
    : state_(std::make_shared<runtime::QueueState>(device.state(), label)) {
  device.state()->add_queue(state_);
}

Device CommandQueue::device() const { return Device(state_->device); }
const std::string& CommandQueue::label() const { return state_->label; }

void CommandQueue::wait_until_idle() const {
  const runtime::HostSpan span(SpanKind::WAIT, "wait_until_idle", state_->label);
  state_->wait();
  state_->failures->rethrow_first_untold();
}

}  // namespace mpsnn
