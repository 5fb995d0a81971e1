// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "mpsnn/device.h"

namespace mpsnn {

namespace backend::null_device {
class NullDevice;
}  // namespace backend::null_device

/// A kernel that a null device ran.
struct NullCommand {
  std::string operation;  // "convolution"
  std::string label;      // the node's
};

/// A device that computes nothing and records what it would have run, for tests of programs: plans,
/// order, predicates, errors. Its memory is real and starts as zeros. `Device("null")` is one that
/// the whole process shares.
class NullDevice {
 public:
  /// Allocations beyond `memory_bytes` throw OutOfMemoryError.
  explicit NullDevice(std::size_t memory_bytes = std::size_t{1} << 38);

  const Device& device() const noexcept { return device_; }
  /// The last 4096 kernels that ran, in order. Skipped ones did not run.
  std::vector<NullCommand> commands() const;
  void clear_commands() const;
  /// The n-th kernel from now (0: the next) fails instead of running, once, with a DeviceError of
  /// that text.
  void fail_command(std::size_t n, const std::string& message = "failed on request") const;
  /// Bytes allocated now.
  std::size_t allocated() const;

 private:
  std::shared_ptr<backend::null_device::NullDevice> backend_;
  Device device_;
};

}  // namespace mpsnn
