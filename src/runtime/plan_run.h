// SPDX-License-Identifier: MIT
// A plan ready to be recorded at little cost, its parameters on a device, and one run of it.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "graph/plan.h"
#include "runtime/image_state.h"
#include "runtime/parameter_state.h"

namespace mpsnn::runtime {

/// A plan with what every run of it needs, computed once. Immutable; shared by runs in flight.
class CompiledPlan {
 public:
  explicit CompiledPlan(graph::Plan plan);

  /// Where a value's memory begins: an address of the run (see `Base`) and bytes from it.
  struct Place {
    std::uint32_t base = 0;
    std::size_t offset = 0;
  };
  /// Addresses of a run, in this order: null, the heap, each source, each allocated result, each
  /// parameter.
  enum Base : std::uint32_t { kNullBase = 0, kHeapBase = 1, kFirstSourceBase = 2 };

  const graph::Plan& plan() const noexcept { return plan_; }
  std::uint32_t first_allocated_base() const noexcept { return kFirstSourceBase + source_count(); }
  std::uint32_t first_parameter_base() const noexcept {
    return first_allocated_base() + allocated_count();
  }
  std::uint32_t source_count() const noexcept {
    return static_cast<std::uint32_t>(plan_.sources.size());
  }
  std::uint32_t allocated_count() const noexcept {
    return static_cast<std::uint32_t>(allocated_.size());
  }

  /// RESULT values with memory of their own: allocated at each encode.
  const std::vector<graph::ValueId>& allocated() const noexcept { return allocated_; }
  /// PARAMETER values.
  const std::vector<graph::ValueId>& parameters() const noexcept { return parameters_; }
  /// The base of the memory that a result or exported value lies in: of a source or of
  /// `allocated()`.
  std::uint32_t base_of(graph::ValueId value) const noexcept { return places_[value].base; }
  /// true where an operation of the plan changes a parameter of the data source.
  bool writes(std::size_t data_source) const noexcept { return written_[data_source]; }
  /// true where an optimizer of the plan updates it.
  bool updates(std::size_t data_source) const noexcept { return updated_[data_source]; }

  /// Arithmetic, and bytes read and written, of the operations before one.
  std::uint64_t flops_before(std::size_t operation) const noexcept { return flops_[operation]; }
  std::uint64_t bytes_before(std::size_t operation) const noexcept { return bytes_[operation]; }

  /// Address of every value, by id; the last entry is null, for absent operands.
  std::vector<void*> table(const std::vector<void*>& bases) const;
  /// The optimizers' numbers as they are now.
  std::vector<double> scalars() const;
  /// Operation i on a table and scalars made by the above.
  backend::Launch launch(std::size_t i, const std::vector<void*>& table,
                         const std::vector<double>& scalars) const;

 private:
  struct Step {
    std::uint32_t inputs, outputs, end;  // ranges of operands_
    std::uint32_t scratch;               // a value
    std::uint32_t scalars = 0, scalar_count = 0;
    /// Adds a range of scalars behind those it has.
    void take(const std::pair<std::uint32_t, std::uint32_t>& range) {
      if (scalar_count == 0) scalars = range.first;
      scalar_count += range.second;
    }
  };
  /// Where an optimizer's scalars begin, and their number; a new one's come last.
  std::pair<std::uint32_t, std::uint32_t> add_scalars(const std::shared_ptr<Optimizer>& optimizer);
  void place_values();
  void add_step(const graph::Operation& operation);
  graph::ValueId root_of(graph::ValueId value) const;

  graph::Plan plan_;
  std::vector<Place> places_;
  std::vector<graph::ValueId> allocated_, parameters_;
  std::vector<Step> steps_;
  std::vector<std::uint32_t> operands_;
  std::vector<std::shared_ptr<Optimizer>> optimizers_;  // each once
  std::vector<std::uint32_t> first_scalar_;             // of each optimizer
  std::uint32_t scalar_count_ = 0;
  std::vector<bool> written_, updated_;
  std::vector<std::uint64_t> flops_ = {0}, bytes_ = {0};  // sums before each operation
};

/// The device memory of a plan's parameters, and whose state it is.
struct Binding {
  struct Use {
    std::shared_ptr<ParameterState> state;
    std::uint64_t generation;  // of the state when this was made
    bool writes;
  };
  std::vector<Use> uses;             // a data source
  std::vector<MemoryHandle> memory;  // of CompiledPlan::parameters()

  bool is_current() const noexcept;
};

/// Finds or makes the states and arrays of a plan's parameters.
std::shared_ptr<const Binding> bind(const CompiledPlan& plan,
                                    const std::shared_ptr<DeviceState>& device);

/// One encode of a plan. Holds all the memory that its kernels touch.
struct PlanRun {
  std::shared_ptr<const CompiledPlan> plan;
  std::shared_ptr<const Binding> binding;
  MemoryHandle heap;
  std::vector<ResourceUse> uses;  // the sources of a graph, the operands of a kernel
  std::vector<std::shared_ptr<ImageState>> results;
  std::vector<MemoryHandle> allocated;  // of CompiledPlan::allocated()
  std::vector<void*> table;
  std::vector<double> scalars;

  backend::Launch launch(std::size_t i) const { return plan->launch(i, table, scalars); }
};

}  // namespace mpsnn::runtime
