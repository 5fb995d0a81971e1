// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "graph/kernel_lowering.h"
#include "mpsnn/kernel.h"
#include "runtime/buffer_state.h"
#include "runtime/command_buffer_state.h"
#include "runtime/plan_cache.h"
#include "runtime/plan_run.h"

namespace mpsnn {

namespace runtime {

/// A kernel's attributes as its encodes take them.
struct KernelValues {
  KernelValues(const graph::KernelClass& of, const AttributeMap& attributes);

  std::shared_ptr<const AttributeMap> planned;  // all that plans depend on
  std::vector<double> scalars;                  // the others: KernelClass::scalars
};

}  // namespace runtime

struct DeviceKernel::Impl {
  Impl(const Device& on, const graph::KernelClass& of, AttributeMap given);

  const Device device;
  const graph::KernelClass& kernel_class;
  std::string label;
  AttributeMap attributes;
  runtime::KernelValues values;  // of the attributes
  std::optional<Buffer> state;   // on the device
  runtime::PlanCache plans;

  void set_attributes(AttributeMap given);
  /// `MatrixSoftMax "attention"`: how errors call it.
  std::string title() const { return graph::title(kernel_class, label); }
};

namespace runtime {

/// An encode without its command buffer.
struct BoundKernel {
  PlanRun run;               // where it needs a heap, without that and its table
  std::vector<void*> bases;  // in the order of CompiledPlan::Base; the heap's is null

  std::size_t heap_bytes() const { return run.plan->plan().heap_bytes; }
  /// Completes the run on a command buffer's heap.
  void take_heap(CommandBufferState& buffer);
};

/// Checks and plans an encode; arguments and errors are those of DeviceKernel::encode_method.
BoundKernel bind_kernel(const DeviceKernel& kernel, std::string_view method,
                        const std::vector<KernelOperands>& operands, const AttributeMap& changed);
/// Throws InvalidArgumentError where device and command buffer are apart. `title()` is how errors
/// call what is encoded.
template <class Title>
void expect_device(const Title& title, const Device& device, const CommandBufferState& buffer) {
  if (buffer.device() == device.state()) return;
  throw_expected(str(title(), ": commands"),
                 str("a command buffer of device \"", device.state()->title(), '"'),
                 str("one of device \"", buffer.device()->title(), '"'));
}

}  // namespace runtime

}  // namespace mpsnn
