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
  Handle(std::shared_ptr<runtime::QueueState> of, const std::string& label, bool auto_commit)
      : queue(std::move(of)),
        buffer(std::make_shared<runtime::CommandBufferState>(queue, label, auto_commit)) {}
  ~Handle() { buffer->abandon(); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  std::shared_ptr<runtime::QueueState> queue;
  std::shared_ptr<runtime::CommandBufferState> buffer;
};

std::shared_ptr<runtime::CommandBufferState> make_buffer(const CommandQueue& queue,
                                                         const std::string& label,
                                                         bool auto_commit) {
  const auto handle = std::make_shared<Handle>(queue.state(), label, auto_commit);
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

CommandBuffer::CommandBuffer(const CommandQueue& queue, const std::string& label, bool auto_commit)
    : CommandBuffer(make_buffer(queue, label, auto_commit)) {}

CommandBuffer::CommandBuffer(std::shared_ptr<runtime::CommandBufferState> state)
    : state_(std::move(state)), layer_(state_->layer()) {}

CommandBuffer CommandBuffer::wrap(const CommandBuffer& commands) {
  CommandBuffer wrapper(commands);
  wrapper.layer_ = std::make_shared<runtime::PredicateLayer>();
  wrapper.layer_->below = commands.layer_;
  return wrapper;
}

std::optional<CommandBuffer> CommandBuffer::command_buffer() const {
  if (!layer_->below) return std::nullopt;
  CommandBuffer below(*this);
  below.layer_ = layer_->below;
  return below;
}

CommandBuffer CommandBuffer::root_command_buffer() const { return CommandBuffer(state_); }

std::optional<Predicate> CommandBuffer::predicate() const { return layer_->predicate; }

void CommandBuffer::set_predicate(std::optional<Predicate> predicate) {
  if (predicate && predicate->buffer().device().state() != state_->device()) {
    throw InvalidArgumentError(
        "command buffer \"" + label() + "\": predicate: expected one on device \"" +
        state_->device()->title() + "\" as the command buffer is, got one on \"" +
        predicate->buffer().device().state()->title() + "\"");
  }
  layer_->predicate = std::move(predicate);
}

bool CommandBuffer::auto_commit() const { return state_->auto_commit(); }
CommitThreshold CommandBuffer::commit_threshold() const { return state_->threshold(); }
void CommandBuffer::set_commit_threshold(CommitThreshold threshold) {
  state_->set_threshold(threshold);
}
void CommandBuffer::prefetch_heap(std::size_t bytes) { state_->heap(bytes); }
std::size_t CommandBuffer::piece_count() const { return state_->piece_count(); }
CommandBufferTimes CommandBuffer::times() const { return state_->times(); }

void CommandBuffer::when_completed(std::function<void()> function) const {
  check_callable(*state_, function, "when_completed");
  state_->when_completed(std::move(function));
}

std::future<void> CommandBuffer::completed() const {
  auto promise = std::make_shared<std::promise<void>>();
  std::future<void> future = promise->get_future();
  state_->when_completed([promise, state = state_.get()] {
    const auto failure = state->failure();
    if (!failure) return promise->set_value();
    failure->told = true;
    promise->set_exception(failure->error);
  });
  return future;
}

CommandQueue CommandBuffer::queue() const { return CommandQueue(state_->queue()); }
const std::string& CommandBuffer::label() const { return state_->label(); }
void CommandBuffer::set_label(std::string label) { state_->set_label(std::move(label)); }

void CommandBuffer::commit() { state_->commit(false); }
void CommandBuffer::commit_and_continue() { state_->commit(true); }
bool CommandBuffer::wait_until_completed(std::optional<double> seconds) const {
  return state_->wait(runtime::PieceState::FINISHED,
                      runtime::wait_time("command buffer \"" + label() + "\"", seconds));
}
void CommandBuffer::wait_until_scheduled() const {
  state_->wait(runtime::PieceState::SCHEDULED, std::nullopt);
}
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
  state_->record({.label = std::move(label), .function = std::move(function)}, layer_->stack());
}

void CommandBuffer::encode_signal_event(const SharedEvent& event, std::uint64_t value) {
  state_->record(runtime::EventStep::Kind::SIGNAL, event.state(), value);
}

void CommandBuffer::encode_wait_for_event(const SharedEvent& event, std::uint64_t value) {
  state_->record(runtime::EventStep::Kind::WAIT, event.state(), value);
}

}  // namespace mpsnn
