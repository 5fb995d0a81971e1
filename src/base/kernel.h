// SPDX-License-Identifier: MIT
// What planner, runtime and backends say to one another about one operation: which it is, what it
// reads and writes, and the prepared kernel that runs it. Plain data; knows no node and no device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mpsnn/types.h"

namespace mpsnn {

enum class OpId : std::uint16_t {
#define MPSNN_OP(name, doc) name,
#include "base/ops.def"
#undef MPSNN_OP
};
inline constexpr std::size_t kOpCount = 0
#define MPSNN_OP(name, doc) +1
#include "base/ops.def"
#undef MPSNN_OP
    ;
std::string_view name_of(OpId op) noexcept;

/// A backend's own arrangement of a parameter in memory (blocked weights). Two layouts with the
/// same name are the same: copies of a parameter are kept by that name.
struct Layout {
  std::string name;
  std::size_t bytes = 0;
  virtual ~Layout() = default;
};

/// One operand: images are (N, H, W, C), weights OHWI, vectors (length); dense and in row order
/// unless a layout or strides say otherwise.
struct TensorDesc {
  DataType type = DataType::FLOAT32;
  std::vector<std::int64_t> dims;
  std::shared_ptr<const Layout> layout;  // null: plain
  /// Bytes from one element to the next along each dimension; empty: dense. Operands of kernels
  /// that are encoded one by one only.
  std::vector<std::int64_t> strides = {};

  std::int64_t count() const noexcept;
  std::size_t bytes() const noexcept;  // of the layout where there is one; to the last element
  ImageSize image() const;             // throws InternalError unless rank 4
  friend bool operator==(const TensorDesc& a, const TensorDesc& b) {
    return a.type == b.type && a.dims == b.dims && a.strides == b.strides &&
           (a.layout ? a.layout->name : std::string()) ==
               (b.layout ? b.layout->name : std::string());
  }
};
std::string to_string(const TensorDesc& desc);  // "float32 (4, 128, 128, 12)"

/// A case for which a kernel is looked for. Absent optional operands are left out of
/// `inputs`/`outputs` at the end, or have empty dims in the middle.
struct KernelQuery {
  OpId op;
  std::string_view label;  // the node's, for errors
  std::span<const TensorDesc> inputs, outputs;
  const AttributeMap& attributes;
  int threads = 0;  // of the host that the device is limited to; 0: it is not
};

/// The operands of one run. Operand i of the operation is table[inputs[i]]; null where absent.
struct KernelArgs {
  void* const* table = nullptr;
  std::span<const std::uint32_t> inputs, outputs;
  void* scratch = nullptr;          // scratch_bytes() bytes, 128-byte aligned, contents undefined
  std::span<const double> scalars;  // values taken at encode (learning rate …)
  void* queue = nullptr;  // the backend queue's own context (a CUDA stream); null on the host

  template <class T>
  const T* input(std::size_t i) const {
    return i < inputs.size() ? static_cast<const T*>(table[inputs[i]]) : nullptr;
  }
  template <class T>
  T* output(std::size_t i) const {
    return i < outputs.size() ? static_cast<T*>(table[outputs[i]]) : nullptr;
  }
};

/// A kernel prepared for one case: everything that can be decided ahead is decided. Immutable; may
/// be run by several queues at once.
class Kernel {
 public:
  virtual ~Kernel() = default;
  /// Runs (host backends) or launches (stream backends). Never allocates device memory, never waits
  /// for the host. Throws Error on failure.
  virtual void run(const KernelArgs& args) const = 0;

  /// Name of the kernel row that made it, "convolution/onednn"; the runtime sets it where `prepare`
  /// left it empty.
  std::string_view row;
  std::size_t scratch_bytes = 0;
  /// Layouts in which parameter inputs are wanted, by input index; null or missing: plain.
  std::vector<std::shared_ptr<const Layout>> input_layouts;
};

/// Finds the kernel for a case. The planner asks; the runtime answers from a backend's table.
class KernelChooser {
 public:
  virtual ~KernelChooser() = default;
  /// Throws UnsupportedError naming node, operation and each row's reason.
  virtual std::shared_ptr<const Kernel> choose(const KernelQuery& query) const = 0;
  /// Whether there is a kernel: for planners that have other operations for the same case. Default:
  /// no.
  virtual bool has(const KernelQuery& /*query*/) const { return false; }
};

namespace graph {
struct WholeGraph;  // graph/whole_graph.h
}

/// Makes one kernel of a whole graph: a backend that takes graphs, as Metal does, has one. Such a
/// plan is a single operation, OpId::graph, whose operands WholeGraph names.
class GraphCompiler {
 public:
  virtual ~GraphCompiler() = default;
  /// Throws UnsupportedError naming the node that the backend cannot hold, and why. The graph is
  /// alive during the call only; what it refers to may be copied.
  virtual std::shared_ptr<const Kernel> compile(const graph::WholeGraph& graph) const = 0;
};

}  // namespace mpsnn
