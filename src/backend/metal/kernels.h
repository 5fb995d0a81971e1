// SPDX-License-Identifier: MIT
// Kernels that are encoded one by one: MPS's own, one row an operation. For .mm files.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "backend/metal/stream.h"

namespace mpsnn::backend::metal {

/// The table. Rows of one operation stand in order of preference.
std::span<const KernelRow> kernel_rows() noexcept;

MPSDataType mps_type(DataType type);

/// The matrices of an operand, as they lie in memory: rows one after the other, or turned.
struct MatrixView {
  NSUInteger rows = 0, columns = 0;  // as they are stored
  NSUInteger row_bytes = 0;
  MPSDataType type = MPSDataTypeFloat32;
  bool is_transposed = false;            // the operand's rows are the columns that are stored
  std::vector<NSUInteger> offsets = {};  // of each matrix, in bytes

  std::size_t matrices() const noexcept { return offsets.size(); }
};

/// Operands of dims (…, rows, columns); a vector is one row. `batch`: the leading dims of the
/// result, to which those of 1 are repeated; empty: the operand's own. Null: neither rows nor
/// columns lie together.
std::optional<MatrixView> view_of(const TensorDesc& desc, std::span<const std::int64_t> batch = {});
/// All rows of a dense operand as one matrix; its last dimension is a row.
MatrixView rows_of(const TensorDesc& desc);

/// Where a kernel is encoded.
class Site {
 public:
  /// `lock`: the kernel's, held.
  Site(const KernelArgs& args, CommandStream& stream, std::unique_lock<std::mutex>& lock)
      : args_(args), stream_(stream), lock_(lock) {}

  /// The command buffer, under the predicates of the kernel.
  MPSCommandBuffer* commands() const { return stream_.commands(); }
  id<MTLDevice> device() const noexcept { return stream_.device(); }
  CommandStream& stream() const noexcept { return stream_; }
  const ImageCopies& copies() const { return stream_.copies(); }
  const std::byte* input(std::size_t i) const noexcept { return args_.input<std::byte>(i); }
  std::byte* output(std::size_t i) const noexcept { return args_.output<std::byte>(i); }
  std::byte* scratch() const noexcept { return static_cast<std::byte*>(args_.scratch); }

  /// Values that were given at the encode.
  std::span<const double> scalars() const noexcept { return args_.scalars; }

  BufferRange range(const void* address) const { return stream_.buffers().find(address); }
  /// One matrix of an operand that begins at the address. Autoreleased, as vectors are.
  MPSMatrix* matrix(const void* address, const MatrixView& view, std::size_t index = 0) const {
    return matrix_at(range(address), view, index);
  }
  static MPSMatrix* matrix_at(const BufferRange& range, const MatrixView& view,
                              std::size_t index = 0);
  MPSVector* vector(const void* address, std::int64_t length,
                    MPSDataType type = MPSDataTypeFloat32) const;
  /// Nil where the address is null.
  MPSVector* vector_if(const void* address, std::int64_t length) const {
    return address == nullptr ? nil : vector(address, length);
  }
  /// For what the host must read: waits for all earlier work of the queue. False: a predicate skips
  /// the kernel.
  bool settle() const {
    // Handlers of earlier work run meanwhile, which may wait for this kernel on another queue.
    lock_.unlock();
    const bool runs = stream_.settle();
    lock_.lock();
    return runs;
  }

 private:
  const KernelArgs& args_;
  CommandStream& stream_;
  std::unique_lock<std::mutex>& lock_;
};

/// A kernel that calls `encode`, which keeps its MPS objects; by one thread at a time.
class SingleKernel final : public Kernel {
 public:
  using Encode = std::function<void(const Site&)>;

  SingleKernel(const KernelQuery& query, Encode encode);
  void run(const KernelArgs& args) const override;

 private:
  const std::string label_;
  const std::size_t bytes_;  // of its operands
  const Encode encode_;
  mutable std::mutex mutex_;
};

inline std::shared_ptr<Kernel> make_single(const KernelQuery& query, SingleKernel::Encode encode,
                                           std::size_t scratch_bytes = 0) {
  auto kernel = std::make_shared<SingleKernel>(query, std::move(encode));
  kernel->scratch_bytes = scratch_bytes;
  return kernel;
}

/// An MPS kernel that is made at the first use, on the device of that. Copies share it.
template <class T>
class Lazy {
 public:
  using Make = std::function<T(id<MTLDevice>)>;  // returns a reference of its own

  explicit Lazy(Make make) : state_(std::make_shared<State>(std::move(make))) {}
  T on(const Site& site) const {
    if (!state_->object) state_->object = Owned<T>(state_->make(site.device()));
    if (!state_->object) fail_on_device("MPS kernel", "MPS cannot make it");
    return state_->object.get();
  }

 private:
  struct State {
    explicit State(Make with) : make(std::move(with)) {}
    Make make;
    Owned<T> object;
  };
  std::shared_ptr<State> state_;
};

/// A copy between operands of one element type and any strides, by MPSMatrixCopy: as many of its
/// copies as there are matrices.
class StridedCopy {
 public:
  /// Null with the reason where MPS cannot.
  static std::optional<StridedCopy> between(const TensorDesc& from, const TensorDesc& to,
                                            std::string* reason = nullptr);
  void encode(const Site& site, const BufferRange& from, const BufferRange& to) const;

 private:
  StridedCopy() = default;
  MatrixView from_, to_;
  std::optional<Lazy<MPSMatrixCopy*>> kernel_;
};
/// A desc's bytes from one element to the next along each dimension.
std::vector<std::int64_t> strides_of(const TensorDesc& desc);
bool is_dense(const TensorDesc& desc);
/// The same dims without gaps.
inline TensorDesc dense(const TensorDesc& desc) { return {desc.type, desc.dims, nullptr}; }
/// Where the next part of the scratch may begin.
inline std::size_t aligned(std::size_t bytes) { return (bytes + 127) / 128 * 128; }
/// A buffer that holds one value throughout: float32 or float16. A reference of its own.
id<MTLBuffer> make_constant(id<MTLDevice> device, DataType type, double value, std::size_t count);

inline bool has_input(const KernelQuery& query, std::size_t i) {
  return i < query.inputs.size() && !query.inputs[i].dims.empty();
}
inline bool has_output(const KernelQuery& query, std::size_t i) {
  return i < query.outputs.size() && !query.outputs[i].dims.empty();
}
/// No where an operand is not float32, or where neither its rows nor its columns lie together.
Fit float32_matrices(const KernelQuery& query);
/// The same, and rows lie together.
Fit float32_rows(const KernelQuery& query);
/// No where an operand is not dense float32.
Fit dense_float32(const KernelQuery& query);

// The rows' functions, in kernels/<family>.mm.
#define MPSNN_METAL_KERNEL(name)       \
  Fit fits_##name(const KernelQuery&); \
  std::shared_ptr<Kernel> prepare_##name(const KernelQuery&);
MPSNN_METAL_KERNEL(random_philox)
MPSNN_METAL_KERNEL(random_mtgp32)
MPSNN_METAL_KERNEL(copy)
MPSNN_METAL_KERNEL(conversion)
MPSNN_METAL_KERNEL(matrix_copy)
MPSNN_METAL_KERNEL(transpose)
MPSNN_METAL_KERNEL(concatenation)
MPSNN_METAL_KERNEL(slice)
MPSNN_METAL_KERNEL(fill)
MPSNN_METAL_KERNEL(matrix_multiplication)
MPSNN_METAL_KERNEL(matrix_neuron)
MPSNN_METAL_KERNEL(matrix_neuron_gradient)
MPSNN_METAL_KERNEL(column_sums)
MPSNN_METAL_KERNEL(matrix_sum)
MPSNN_METAL_KERNEL(neuron)
MPSNN_METAL_KERNEL(convolution)
MPSNN_METAL_KERNEL(addition)
MPSNN_METAL_KERNEL(multiplication)
MPSNN_METAL_KERNEL(division)
MPSNN_METAL_KERNEL(comparison)
MPSNN_METAL_KERNEL(broadcast)
MPSNN_METAL_KERNEL(channel_affine)
MPSNN_METAL_KERNEL(padding)
MPSNN_METAL_KERNEL(image_filter)
MPSNN_METAL_KERNEL(resampling)
MPSNN_METAL_KERNEL(grid_sample)
MPSNN_METAL_KERNEL(local_correlation)
MPSNN_METAL_KERNEL(extremum)
MPSNN_METAL_KERNEL(addition_gradient)
MPSNN_METAL_KERNEL(normalization_statistics)
MPSNN_METAL_KERNEL(normalization)
MPSNN_METAL_KERNEL(normalization_sums)
MPSNN_METAL_KERNEL(normalization_gradient)
MPSNN_METAL_KERNEL(softmax)
MPSNN_METAL_KERNEL(softmax_gradient)
MPSNN_METAL_KERNEL(top_k)
MPSNN_METAL_KERNEL(lu_decomposition)
MPSNN_METAL_KERNEL(cholesky_decomposition)
MPSNN_METAL_KERNEL(triangular_solve)
MPSNN_METAL_KERNEL(apply_pivots)
MPSNN_METAL_KERNEL(single_gate)
MPSNN_METAL_KERNEL(single_gate_gradient)
MPSNN_METAL_KERNEL(lstm_memory)
MPSNN_METAL_KERNEL(lstm_memory_gradient)
MPSNN_METAL_KERNEL(lstm_output)
MPSNN_METAL_KERNEL(lstm_output_gradient)
MPSNN_METAL_KERNEL(gru_gates)
MPSNN_METAL_KERNEL(gru_gates_gradient)
MPSNN_METAL_KERNEL(gru_output)
MPSNN_METAL_KERNEL(gru_output_gradient)
MPSNN_METAL_KERNEL(gate_sums)
MPSNN_METAL_KERNEL(gather)
MPSNN_METAL_KERNEL(gather_gradient)
MPSNN_METAL_KERNEL(optimizer_stochastic_gradient_descent)
MPSNN_METAL_KERNEL(optimizer_adam)
MPSNN_METAL_KERNEL(optimizer_rms_prop)
#undef MPSNN_METAL_KERNEL

}  // namespace mpsnn::backend::metal
