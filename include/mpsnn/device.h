// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "mpsnn/data_source.h"
#include "mpsnn/types.h"

/// Devices, images and queues. Handles: a copy means the same object.
namespace mpsnn {

class CommandQueue;
namespace runtime {
struct DeviceState;
struct QueueState;
struct ImageState;
}  // namespace runtime

/// Bytes of a queue's temporaries.
struct QueueMemory {
  std::string label;
  std::size_t heap = 0;    // held by its arenas, and by the backend for temporaries of whole graphs
  std::size_t arenas = 0;  // 1, and one more for each command buffer that records meanwhile
};

/// Bytes held on a device.
struct MemoryStats {
  std::size_t current = 0;          // in use: buffers, images, parameters, heaps
  std::size_t peak = 0;             // highest `current` so far
  std::size_t heap = 0;             // part of current: heaps of the queues' temporaries
  std::size_t cached = 0;           // freed and kept for reuse, beside `current`
  std::vector<QueueMemory> queues;  // those that are alive
};

/// Which device, where a machine has several of a kind: by its name, or one of low power. Of the
/// "cpu", which uses all processors, one that leaves some to the program: a device of its own, with
/// its own memory and weights.
struct DeviceChoice {
  std::string name = {};   // as `Device::name` tells it; empty: any
  bool low_power = false;  // an integrated GPU, not a fast one
  int threads = 0;         // "cpu": that its kernels run on, up to OpenMP's; 0: all of them
};

/// A device. Thread-safe. Apple: MTLDevice.
class Device {
 public:
  /// The kind named; "": the one in the variable MPSNN_DEVICE, else the best: metal, then cpu.
  /// Throws InvalidArgumentError for an unknown kind, listing those there are.
  explicit Device(const std::string& kind = "");
  /// The device of that kind that is wanted. Throws InvalidArgumentError where there is none,
  /// listing those there are. Apple: MTLCopyAllDevices, lowPower.
  Device(const std::string& kind, const DeviceChoice& choice);
  /// Kinds that this build and machine have.
  static std::vector<std::string> available();

  std::string kind() const;
  std::string name() const;
  /// Of the host, that kernels run on; 0: a device that needs none, a GPU.
  int threads() const;
  CommandQueue command_queue(const std::string& label = "") const;
  MemoryStats memory_stats() const;
  /// Gives cached memory, and the heaps of queues that are idle, back to the system.
  void trim() const;
  /// For the end of a program: `synchronize`, but queues that wait for an event which no work in
  /// flight would signal fail instead of waiting on.
  void shut_down() const;
  /// Waits for all that was committed to any queue of the device; throws the first failure that no
  /// one was told yet.
  void synchronize() const;

  /// The latest values of a data source's parameter on this device ("weights", "bias",
  /// "weights.momentum" …), float32; the initial ones if it was never used here. Waits for
  /// committed work. Throws InvalidArgumentError for an unknown name.
  std::vector<float> read_parameter(const DataSource& source, const std::string& parameter) const;
  /// Replaces them; takes effect for work encoded afterwards. Waits for committed work.
  void write_parameter(DataSource& source, const std::string& parameter,
                       std::span<const float> values) const;
  /// Names of the parameters and optimizer moments that the data source has here.
  std::vector<std::string> parameter_names(const DataSource& source) const;
  /// Updates made to the data source here. Adam's t.
  std::int64_t time_step(const DataSource& source) const;
  void set_time_step(DataSource& source, std::int64_t step) const;

  friend bool operator==(const Device& a, const Device& b) { return a.state_ == b.state_; }
  const std::shared_ptr<runtime::DeviceState>& state() const noexcept { return state_; }
  explicit Device(std::shared_ptr<runtime::DeviceState> state) : state_(std::move(state)) {}

 private:
  std::shared_ptr<runtime::DeviceState> state_;
};

/// A batch of images on a device, (N, H, W, C). Apple: MPSImage, MPSImageBatch.
class Image {
 public:
  /// Zero-filled. Throws InvalidArgumentError for sizes < 1, OutOfMemoryError.
  Image(const Device& device, ImageSize size, DataType format = DataType::FLOAT32);
  /// Copies `bytes` of the caller's data, which may change afterwards.
  Image(const Device& device, ImageSize size, DataType format, const void* data);
  /// Shares the caller's memory, on the CPU any (64-byte aligned is fastest) and on Metal whole
  /// pages of the system (else, and on other devices, UnsupportedError); `owner` is held for as
  /// long as the image or work on it lives. Apple: newBufferWithBytesNoCopy.
  static Image wrap(const Device& device, ImageSize size, DataType format, void* data,
                    std::shared_ptr<void> owner);

  const ImageSize& size() const;
  DataType format() const;
  Device device() const;
  const std::string& label() const;
  void set_label(std::string label);
  std::size_t bytes() const;
  /// Copies to the host. Waits for the command buffer that makes the image. Throws StateError when
  /// that was not committed, DeviceError when it failed.
  void read(void* to, std::size_t bytes) const;
  void write(const void* from, std::size_t bytes) const;
  /// The memory itself where the host can see it (CPU, Metal); waits like read. Null elsewhere.
  void* data() const;

  const std::shared_ptr<runtime::ImageState>& state() const noexcept { return state_; }
  explicit Image(std::shared_ptr<runtime::ImageState> state) : state_(std::move(state)) {}

 private:
  std::shared_ptr<runtime::ImageState> state_;
};

/// Runs what is committed, in order, on its own thread or stream. The heap of temporaries belongs
/// to the queue: buffers in flight share it. Destruction waits. Apple: MTLCommandQueue.
class CommandQueue {
 public:
  explicit CommandQueue(const Device& device, const std::string& label = "");
  Device device() const;
  const std::string& label() const;
  /// Waits for all that was committed; throws the first error that no one was told yet.
  void wait_until_idle() const;
  friend bool operator==(const CommandQueue& a, const CommandQueue& b) {
    return a.state_ == b.state_;
  }
  const std::shared_ptr<runtime::QueueState>& state() const noexcept { return state_; }
  explicit CommandQueue(std::shared_ptr<runtime::QueueState> state) : state_(std::move(state)) {}

 private:
  std::shared_ptr<runtime::QueueState> state_;
};

}  // namespace mpsnn
