// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "mpsnn/array.h"
#include "mpsnn/command_buffer.h"
#include "mpsnn/device.h"

/// Kernels that are encoded one by one: matrices, random numbers, images. The typed classes are in
/// kernels.h.
namespace mpsnn {

namespace runtime {
struct BoundKernel;
}

/// What a kernel reads or writes: Matrix, Vector, NDArray or Image.
using KernelOperand = std::variant<Array, Image>;
/// The operands of one argument: none where an optional one is left out, several where it is a
/// list.
using KernelOperands = std::vector<KernelOperand>;

/// A kernel of one class on a device: a row of the kernel table with its parameters. Thread rule:
/// may be encoded from several threads at once, but not while a parameter is set. Apple: MPSKernel.
class DeviceKernel {
 public:
  /// Throws InvalidArgumentError naming class and argument: unknown class, unknown or missing
  /// parameter, a value of the wrong type or range.
  DeviceKernel(const Device& device, std::string_view class_name, AttributeMap attributes = {});

  std::string_view class_name() const;
  Device device() const;
  /// Name for errors and timelines; default: the class's name.
  const std::string& label() const;
  void set_label(std::string label);
  /// Every parameter with its value, defaults included.
  const AttributeMap& attributes() const;
  const AttributeValue& attribute(std::string_view name) const;
  /// Takes effect for later encodes. Throws as the constructor does, and InvalidArgumentError for a
  /// parameter that the kernel's state was made from.
  void set_attribute(std::string_view name, AttributeValue value);

  /// Records the kernel on the command buffer. `method` is one of the class's ("encode"), operands
  /// in its order. Throws InvalidArgumentError naming kernel and operand: sizes or ranges that do
  /// not fit, operands that overlap; ArgumentTypeError for element types; UnsupportedError for what
  /// the device has no kernel for. This encode has the parameters in `changed` instead of the
  /// kernel's; they are checked as set_attribute does.
  void encode_method(CommandBuffer& commands, std::string_view method,
                     const std::vector<KernelOperands>& operands,
                     const AttributeMap& changed = {}) const;

  /// Bytes of the state that is kept on the device between encodes (of a random number generator);
  /// 0: none.
  std::size_t state_bytes() const;
  /// Copies it; waits for work that uses it. Throws InvalidArgumentError for another count.
  void read_state(void* to, std::size_t bytes) const;
  void write_state(const void* from, std::size_t bytes) const;

  struct Impl;
  const std::shared_ptr<Impl>& impl() const noexcept { return impl_; }

 private:
  std::shared_ptr<Impl> impl_;
};

/// Kernels with their operands, checked and planned once and encoded together as often as wanted:
/// what a loop records again and again, each time over the same memory. A kernel has the parameters
/// and the label that it had when it was added. Thread rule: may be encoded from several threads at
/// once, but not while kernels are added.
class KernelSequence {
 public:
  explicit KernelSequence(const Device& device, std::string label = "KernelSequence");
  Device device() const;
  /// Name for errors.
  const std::string& label() const noexcept { return label_; }
  /// The kernels in it.
  std::size_t size() const noexcept { return kernels_.size(); }
  /// Appends a kernel; arguments and errors are those of DeviceKernel::encode_method. Throws
  /// InvalidArgumentError for a kernel of another device. What failed is not in the sequence.
  void add(const DeviceKernel& kernel, const std::vector<KernelOperands>& operands,
           std::string_view method = "encode", const AttributeMap& changed = {});
  /// Records the kernels in their order, as if each was encoded now: under the predicate that the
  /// command buffer has. Throws InvalidArgumentError for a command buffer of another device.
  void encode(CommandBuffer& commands) const;

 private:
  Device device_;
  std::string label_;
  std::vector<std::shared_ptr<const runtime::BoundKernel>> kernels_;
};

/// A host function that is encoded like any kernel: it runs in its turn, obeys predicates, is
/// ordered against other queues by what it reads and writes, and its exception becomes the
/// command's error. It gets the operands' memory as the host sees it. Devices whose memory is not
/// the host's refuse it with UnsupportedError.
class HostKernel {
 public:
  /// What the function gets: the operands of the encode, each with its memory.
  struct Operand {
    KernelOperand operand;
    void* data = nullptr;  // its first element
  };
  using Function =
      std::function<void(const std::vector<Operand>& reads, const std::vector<Operand>& writes)>;

  explicit HostKernel(Function function, std::string label = "HostKernel");
  const std::string& label() const noexcept { return label_; }
  void set_label(std::string label) { label_ = std::move(label); }
  /// Throws InvalidArgumentError for operands of another device than the command buffer's, for
  /// images that no committed or earlier work makes at commit.
  void encode(CommandBuffer& commands, const KernelOperands& reads,
              const KernelOperands& writes) const;

 private:
  Function function_;
  std::string label_;
};

}  // namespace mpsnn
