// SPDX-License-Identifier: MIT
// A device that computes nothing: every operation has a kernel that only records that it ran.
// Shapes, plans, lifetimes, ordering and errors can be tested with it on any machine. Its memory is
// real and starts as zeros, so that results can be read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"

namespace mpsnn::backend::null_device {

/// A kernel that ran.
struct Command {
  OpId op;
  std::string label;
  std::string row;
  std::vector<double> scalars;
  const void* scratch = nullptr;
  std::vector<const void*> inputs, outputs;  // as the kernel saw them
};

/// One row for every operation, plain operands, no scratch.
std::vector<KernelRow> plain_rows();
/// As a backend with layouts of its own has them: convolutions want their weights in the layout
/// "null_blocked", one and a half times as large, and scratch memory of kScratchBytes.
std::vector<KernelRow> layout_rows();
inline constexpr std::size_t kScratchBytes = 1000;

struct Options {
  std::vector<KernelRow> rows = plain_rows();
  /// Allocations beyond this throw OutOfMemoryError. Pages that are not touched cost nothing.
  std::size_t memory_bytes = std::size_t{1} << 38;
  /// The last commands that are kept.
  std::size_t command_limit = 4096;
};

struct State;

class NullDevice final : public Device {
 public:
  explicit NullDevice(Options options = {});

  /// The last kernels that ran, in order.
  std::vector<Command> commands() const;
  void clear_commands();
  /// The n-th kernel from now (0 is the next) throws `error` instead of running, once.
  void fail_command(std::size_t n, std::exception_ptr error);
  /// Bytes allocated now.
  std::size_t allocated() const;

  const DeviceInfo& info() const noexcept override { return info_; }
  std::unique_ptr<Memory> allocate(std::size_t bytes) override;
  void write(Memory& to, std::size_t offset, const void* from, std::size_t bytes) override;
  void read(const Memory& from, std::size_t offset, void* to, std::size_t bytes) override;
  std::unique_ptr<Queue> make_queue(const std::string& label) override;
  std::span<const KernelRow> kernels() const noexcept override { return options_.rows; }

 private:
  DeviceInfo info_;
  Options options_;
  std::shared_ptr<State> state_;  // shared with the memory that was handed out
};

std::shared_ptr<Device> make_device();

}  // namespace mpsnn::backend::null_device
