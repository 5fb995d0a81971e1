// SPDX-License-Identifier: MIT
// The public CommandBuffer.
#include <utility>

#include "mpsnn/error.h"
#include "runtime/command_buffer_state.h"

namespace mpsnn {
namespace {

/// What users' handles share: the buffer with its queue. Destruction drops what was not committed,
/// then lets go of the queue, which may be its last owner and wait.
struct Handle {
  Handle(std::shared_ptr<runtime::QueueState> of, const std::string& label)
      : queue(std::move(of)), buffer(std::make_shared<runtime::CommandBufferState>(queue, label)) {}
  ~Handle() { buffer->abandon(); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  std::shared_ptr<runtime::QueueState> queue;
  std::shared_ptr<runtime::CommandBufferState> buffer;
};

std::shared_ptr<runtime::CommandBufferState> make_buffer(const CommandQueue& queue,
                                                         const std::string& label) {
  const auto handle = std::make_shared<Handle>(queue.state(), label);
  return {handle, handle->buffer.get()};
}

template <class Function>
void check_callable(const runtime::CommandBufferState& buffer, const Function& function,
                    const char* argument) {
  if (function) return;
  throw InvalidArgumentError("command buffer \"" + buffer.label() + "\": " + argument +
                             ": expected a function, got none");
}

}  // namespace

CommandBuffer::CommandBuffer(const CommandQueue& queue, const std::string& label)
    : state_(make_buffer(queue, label)) {}

CommandQueue CommandBuffer::queue() const { return CommandQueue(state_->queue()); }
const std::string& CommandBuffer::label() const { return state_->label(); }
void CommandBuffer::set_label(std::string label) { state_->set_label(std::move(label)); }

void CommandBuffer::commit() { state_->commit(false); }
void CommandBuffer::commit_and_continue() { state_->commit(true); }
void CommandBuffer::wait_until_completed() const { state_->wait(runtime::PieceState::FINISHED); }
void CommandBuffer::wait_until_scheduled() const { state_->wait(runtime::PieceState::SCHEDULED); }
CommandBufferStatus CommandBuffer::status() const { return state_->status(); }

std::exception_ptr CommandBuffer::error() const {
  const auto failure = state_->failure();
  if (!failure) return nullptr;
  failure->told = true;
  return failure->error;
}

void CommandBuffer::add_scheduled_handler(std::function<void(CommandBuffer&)> handler) {
  check_callable(*state_, handler, "add_scheduled_handler");
  state_->add_scheduled_handler(std::move(handler));
}

void CommandBuffer::add_completed_handler(std::function<void(CommandBuffer&)> handler) {
  check_callable(*state_, handler, "add_completed_handler");
  state_->add_completed_handler(std::move(handler));
}

void CommandBuffer::encode_host_function(std::string label, std::function<void()> function) {
  check_callable(*state_, function, "encode_host_function");
  state_->record({.label = std::move(label), .function = std::move(function)});
}

}  // namespace mpsnn
