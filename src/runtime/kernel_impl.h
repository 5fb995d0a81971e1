// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "graph/kernel_lowering.h"
#include "mpsnn/kernel.h"
#include "runtime/buffer_state.h"
#include "runtime/plan_cache.h"

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

}  // namespace mpsnn
