// SPDX-License-Identifier: MIT
#include "backend/null/null_device.h"

#include <cstdlib>
#include <cstring>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

#include "backend/host/host_queue.h"
#include "mpsnn/error.h"

namespace mpsnn::backend::null_device {

/// What kernels record into; reaches them as KernelArgs::queue.
struct State {
  std::mutex mutex;
  std::deque<Command> commands;
  std::size_t command_limit = 0;
  std::size_t allocated = 0;
  struct Fault {
    std::size_t after;
    std::exception_ptr error;
  };
  std::optional<Fault> fault;

  void record(Command command) {
    const std::lock_guard lock(mutex);
    if (fault && fault->after-- == 0)
      std::rethrow_exception(std::exchange(fault, std::nullopt)->error);
    commands.push_back(std::move(command));
    if (commands.size() > command_limit) commands.pop_front();
  }
};

namespace {

constexpr std::size_t kAlignment = 128;

std::vector<const void*> pointers(void* const* table, std::span<const std::uint32_t> operands) {
  std::vector<const void*> found;
  for (const std::uint32_t operand : operands) found.push_back(table[operand]);
  return found;
}

class NullKernel final : public Kernel {
 public:
  explicit NullKernel(const KernelQuery& query) : op_(query.op), label_(query.label) {}

  void run(const KernelArgs& args) const override {
    static_cast<State*>(args.queue)
        ->record({.op = op_,
                  .label = label_,
                  .row = std::string(row),
                  .scalars = {args.scalars.begin(), args.scalars.end()},
                  .scratch = args.scratch,
                  .inputs = pointers(args.table, args.inputs),
                  .outputs = pointers(args.table, args.outputs)});
  }

 private:
  OpId op_;
  std::string label_;
};

std::shared_ptr<Kernel> prepare(const KernelQuery& query) {
  return std::make_shared<NullKernel>(query);
}

Fit fits_always(const KernelQuery&) { return {}; }

/// Which input of an operation holds a convolution's weights.
std::optional<std::size_t> weights_input(OpId op) {
  if (op == OpId::convolution || op == OpId::convolution_data_gradient) return 1;
  return std::nullopt;
}

std::shared_ptr<Kernel> prepare_with_layout(const KernelQuery& query) {
  auto kernel = std::make_shared<NullKernel>(query);
  kernel->scratch_bytes = kScratchBytes;
  if (const std::optional<std::size_t> weights = weights_input(query.op)) {
    auto layout = std::make_shared<Layout>();
    layout->name = "null_blocked";
    layout->bytes = query.inputs[*weights].bytes() / 2 * 3;
    kernel->input_layouts.resize(query.inputs.size());
    kernel->input_layouts[*weights] = std::move(layout);
  }
  return kernel;
}

/// Bytes counted as allocated while it lives.
class Reservation {
 public:
  Reservation(std::shared_ptr<State> state, std::size_t bytes, std::size_t limit)
      : state_(std::move(state)), bytes_(bytes) {
    const std::lock_guard lock(state_->mutex);
    if (bytes > limit - state_->allocated) {
      throw OutOfMemoryError("device \"null\": no memory for " + std::to_string(bytes) +
                             " bytes, " + std::to_string(state_->allocated) + " of " +
                             std::to_string(limit) + " are in use");
    }
    state_->allocated += bytes;
  }
  ~Reservation() {
    const std::lock_guard lock(state_->mutex);
    state_->allocated -= bytes_;
  }
  Reservation(const Reservation&) = delete;
  Reservation& operator=(const Reservation&) = delete;
  std::size_t bytes() const noexcept { return bytes_; }

 private:
  std::shared_ptr<State> state_;
  std::size_t bytes_;
};

/// calloc: pages that no one touches cost nothing.
class NullMemory final : public Memory {
 public:
  NullMemory(std::shared_ptr<State> state, std::size_t bytes, std::size_t limit)
      : reservation_(std::move(state), bytes, limit),
        block_(std::calloc(1, bytes + kAlignment), &std::free) {
    if (!block_)
      throw OutOfMemoryError("device \"null\": no memory for " + std::to_string(bytes) + " bytes");
    std::size_t space = bytes + kAlignment;
    start_ = block_.get();
    std::align(kAlignment, bytes, start_, space);
  }

  void* device_pointer() const noexcept override { return start_; }
  void* host_pointer() const noexcept override { return start_; }
  std::size_t bytes() const noexcept override { return reservation_.bytes(); }

 private:
  Reservation reservation_;
  std::unique_ptr<void, decltype(&std::free)> block_;
  void* start_ = nullptr;
};

#define MPSNN_OP(name, doc) OpId::name,
constexpr OpId kOperations[] = {
#include "base/ops.def"
};
#undef MPSNN_OP
#define MPSNN_OP(name, doc) #name "/null",
constexpr std::string_view kRowNames[] = {
#include "base/ops.def"
};
#undef MPSNN_OP

std::vector<KernelRow> rows_with(std::shared_ptr<Kernel> (*prepare_row)(const KernelQuery&)) {
  std::vector<KernelRow> rows;
  for (std::size_t i = 0; i < kOpCount; ++i) {
    rows.push_back({kOperations[i], kRowNames[i], &fits_always, prepare_row});
  }
  return rows;
}

}  // namespace

std::vector<KernelRow> plain_rows() { return rows_with(&prepare); }
std::vector<KernelRow> layout_rows() { return rows_with(&prepare_with_layout); }

NullDevice::NullDevice(Options options)
    : info_{.kind = "null",
            .name = "null device",
            .memory_bytes = options.memory_bytes,
            .unified_memory = true},
      options_(std::move(options)),
      state_(std::make_shared<State>()) {
  state_->command_limit = options_.command_limit;
}

std::vector<Command> NullDevice::commands() const {
  const std::lock_guard lock(state_->mutex);
  return {state_->commands.begin(), state_->commands.end()};
}

void NullDevice::clear_commands() {
  const std::lock_guard lock(state_->mutex);
  state_->commands.clear();
}

void NullDevice::fail_command(std::size_t n, std::exception_ptr error) {
  const std::lock_guard lock(state_->mutex);
  state_->fault = State::Fault{n, std::move(error)};
}

std::size_t NullDevice::allocated() const {
  const std::lock_guard lock(state_->mutex);
  return state_->allocated;
}

std::unique_ptr<Memory> NullDevice::allocate(std::size_t bytes) {
  return std::make_unique<NullMemory>(state_, bytes, options_.memory_bytes);
}

void NullDevice::write(Memory& to, std::size_t offset, const void* from, std::size_t bytes) {
  std::memcpy(static_cast<std::byte*>(to.host_pointer()) + offset, from, bytes);
}

void NullDevice::read(const Memory& from, std::size_t offset, void* to, std::size_t bytes) {
  std::memcpy(to, static_cast<const std::byte*>(from.host_pointer()) + offset, bytes);
}

std::unique_ptr<Queue> NullDevice::make_queue(const std::string& label) {
  return host::make_queue(label, state_.get());
}

std::shared_ptr<Device> make_device() { return std::make_shared<NullDevice>(); }

}  // namespace mpsnn::backend::null_device
