// SPDX-License-Identifier: MIT
#include <memory>
#include <string>
#include <utility>

#include "runtime/kernel_impl.h"
#include "runtime/trace_recorder.h"

namespace mpsnn {

KernelSequence::KernelSequence(const Device& device, std::string label)
    : device_(device), label_(std::move(label)) {}

Device KernelSequence::device() const { return device_; }

void KernelSequence::add(const DeviceKernel& kernel, const std::vector<KernelOperands>& operands,
                         std::string_view method, const AttributeMap& changed) {
  const auto& there = kernel.impl()->device.state();
  if (there != device_.state()) {
    throw_expected(str("KernelSequence \"", label_, "\": kernel"),
                   str("one of device \"", device_.state()->title(), '"'),
                   str(kernel.impl()->title(), " of device \"", there->title(), '"'));
  }
  kernels_.push_back(std::make_shared<const runtime::BoundKernel>(
      runtime::bind_kernel(kernel, method, operands, changed)));
}

void KernelSequence::encode(CommandBuffer& commands) const {
  runtime::CommandBufferState& buffer = *commands.state();
  runtime::HostSpan span(SpanKind::ENCODE, label_, buffer.label());
  runtime::expect_device([&] { return str("KernelSequence \"", label_, '"'); }, device_, buffer);
  std::uint64_t bytes = 0, flops = 0;
  for (const auto& kernel : kernels_) {
    const runtime::CompiledPlan& plan = *kernel->run.plan;
    bytes += plan.bytes_before(plan.plan().operations.size());
    flops += plan.flops_before(plan.plan().operations.size());
    std::shared_ptr<const runtime::PlanRun> run(kernel, &kernel->run);
    if (kernel->heap_bytes() != 0) {
      runtime::BoundKernel own = *kernel;
      own.take_heap(buffer);
      run = std::make_shared<runtime::PlanRun>(std::move(own.run));
    }
    buffer.record(std::move(run), commands.layer()->stack());
  }
  span.set_work(bytes, flops);
}

}  // namespace mpsnn
