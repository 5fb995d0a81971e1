// SPDX-License-Identifier: MIT
// The public Buffer and Predicate.
#include <bit>
#include <cstdint>
#include <cstring>
#include <utility>

#include "base/atomic.h"
#include "base/check.h"
#include "runtime/buffer_state.h"
#include "runtime/device_state.h"

namespace mpsnn {

using runtime::BufferState;
using runtime::PredicateState;

namespace runtime {
namespace {

constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kPredicateBytes = sizeof(std::int32_t);

}  // namespace

const std::int32_t* PredicateState::address() const {
  const auto* start =
      static_cast<const std::byte*>(buffer.state()->memory->device_pointer()) + offset;
  return reinterpret_cast<const std::int32_t*>(start);
}

void PredicateSlots::add_page(const Device& device) {
  const MemoryHandle page = device.state()->allocator.allocate(kPageBytes);
  free_.reserve(free_.size() + kPageBytes / kPredicateBytes);
  for (std::size_t at = kPageBytes; at > 0; at -= kPredicateBytes)
    free_.push_back({page, at - kPredicateBytes});
}

std::shared_ptr<PredicateState> PredicateSlots::take(const Device& device) {
  const std::lock_guard lock(mutex_);
  if (free_.empty()) add_page(device);
  const Slot slot = free_.back();
  // The slot's place in `free_` is kept, so that giving it back needs no memory.
  auto give_back = [self = shared_from_this(), slot] {
    const std::lock_guard giving(self->mutex_);
    self->free_.push_back(slot);
  };
  auto page = std::make_shared<BufferState>(device.state(), slot.page, kPageBytes, "predicates");
  auto state =
      std::make_shared<PredicateState>(PredicateState{Buffer(std::move(page)), slot.offset, {}});
  state->slot = std::shared_ptr<void>(nullptr, [give_back](void*) { give_back(); });
  free_.pop_back();
  return state;
}

bool PredicateLayer::is_stack(const PredicateStack& stack) const {
  std::size_t i = 0;
  for (const PredicateLayer* layer = this; layer != nullptr; layer = layer->below.get()) {
    if (!layer->predicate) continue;
    if (i == stack.held.size() || stack.held[i] != layer->predicate->state()) return false;
    ++i;
  }
  return i == stack.held.size();
}

std::shared_ptr<const PredicateStack> PredicateLayer::stack() const {
  if (last_ && is_stack(*last_)) return last_;
  std::shared_ptr<PredicateStack> stack;
  for (const PredicateLayer* layer = this; layer != nullptr; layer = layer->below.get()) {
    if (!layer->predicate) continue;
    if (!stack) stack = std::make_shared<PredicateStack>();
    stack->addresses.push_back(layer->predicate->state()->address());
    stack->held.push_back(layer->predicate->state());
  }
  last_ = stack;
  return stack;
}

}  // namespace runtime

namespace {

std::shared_ptr<BufferState> make_buffer(const Device& device, std::size_t bytes) {
  if (bytes == 0) throw_expected("Buffer: bytes", "at least 1", "0");
  const auto& state = device.state();
  return std::make_shared<BufferState>(state, state->allocator.allocate(bytes), bytes);
}

void check_range(const BufferState& buffer, const char* what, std::size_t offset,
                 std::size_t bytes) {
  if (offset <= buffer.bytes && bytes <= buffer.bytes - offset) return;
  throw_expected(buffer.title() + ": " + what, str("a range of its ", buffer.bytes, " bytes"),
                 str(bytes, " bytes from ", offset));
}

std::shared_ptr<PredicateState> at(const Buffer& buffer, std::size_t offset) {
  if (offset % sizeof(std::int32_t) != 0)
    throw_expected("Predicate: offset", "a multiple of 4", str(offset));
  if (offset + sizeof(std::int32_t) > buffer.bytes() || offset > buffer.bytes()) {
    throw_expected("Predicate: offset", str("4 bytes inside of the buffer's ", buffer.bytes()),
                   str(offset));
  }
  if (std::bit_cast<std::uintptr_t>(buffer.data()) % sizeof(std::int32_t) != 0) {
    throw_expected("Predicate: buffer", "memory at a multiple of 4 bytes",
                   "wrapped memory at another address");
  }
  return std::make_shared<PredicateState>(PredicateState{buffer, offset, nullptr});
}

}  // namespace

Buffer::Buffer(const Device& device, std::size_t bytes) : state_(make_buffer(device, bytes)) {
  runtime::fill_zeros(*state_->device->backend, *state_->memory, bytes);
}

Buffer::Buffer(const Device& device, const void* data, std::size_t bytes)
    : state_(make_buffer(device, bytes)) {
  write(0, data, bytes);
}

Buffer Buffer::wrap(const Device& device, void* data, std::size_t bytes,
                    std::shared_ptr<void> owner) {
  if (bytes == 0) throw_expected("Buffer: bytes", "at least 1", "0");
  const auto& state = device.state();
  return Buffer(std::make_shared<BufferState>(
      state, runtime::wrap_memory(*state, "Buffer", data, bytes, std::move(owner)), bytes));
}

std::size_t Buffer::bytes() const { return state_->bytes; }
Device Buffer::device() const { return Device(state_->device); }
const std::string& Buffer::label() const { return state_->label; }
void Buffer::set_label(std::string label) { state_->label = std::move(label); }

void Buffer::read(std::size_t offset, void* to, std::size_t bytes) const {
  check_range(*state_, "read", offset, bytes);
  if (bytes != 0) state_->device->backend->read(*state_->memory, offset, to, bytes);
}

void Buffer::write(std::size_t offset, const void* from, std::size_t bytes) const {
  check_range(*state_, "write", offset, bytes);
  if (bytes != 0) state_->device->backend->write(*state_->memory, offset, from, bytes);
}

void* Buffer::data() const { return state_->memory->host_pointer(); }

Predicate::Predicate(const Buffer& buffer, std::size_t offset) : state_(at(buffer, offset)) {}

Predicate::Predicate(const Device& device) : state_(device.state()->predicate_slots->take(device)) {
  set_value(1);
}

const Buffer& Predicate::buffer() const { return state_->buffer; }
std::size_t Predicate::offset() const { return state_->offset; }

std::int32_t Predicate::value() const {
  if (auto* host = static_cast<std::byte*>(state_->buffer.data())) {
    auto& value = *reinterpret_cast<std::int32_t*>(host + state_->offset);
    return load_acquire(value);
  }
  std::int32_t value = 0;
  state_->buffer.read(state_->offset, &value, sizeof value);
  return value;
}

void Predicate::set_value(std::int32_t value) const {
  if (auto* host = static_cast<std::byte*>(state_->buffer.data())) {
    auto& place = *reinterpret_cast<std::int32_t*>(host + state_->offset);
    store_release(place, value);
    return;
  }
  state_->buffer.write(state_->offset, &value, sizeof value);
}

}  // namespace mpsnn
