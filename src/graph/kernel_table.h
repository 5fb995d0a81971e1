// SPDX-License-Identifier: MIT
// The kernel table: one row a class of kernels that are encoded one by one (matrix kernels, random
// numbers, image kernels), and all that the library knows about the class stands in it. It is to
// DeviceKernel what the node table is to FilterNode: construction, checks of operands and lowering
// work from the rows; the typed classes in Python and C++ and the reference pages are generated
// from them.
//
// A new kernel is one row in the file of its family, src/graph/kernels/<family>.cpp, and where no
// operation of ops.def computes it, one operation with a function a backend.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/kernel.h"
#include "graph/node_table.h"

namespace mpsnn::graph {

class KernelLowering;  // graph/kernel_lowering.h

/// What an operand is. Matrices reach a lowering with dims (matrices, rows, columns), vectors
/// (vectors, length), arrays their shape, images (N, H, W, C).
enum class OperandKind : std::uint8_t { MATRIX, VECTOR, NDARRAY, IMAGE };

/// One or several kinds: an operand may be `OperandKind::MATRIX | OperandKind::VECTOR`.
class OperandKinds {
 public:
  constexpr OperandKinds(OperandKind kind) noexcept : bits_(1U << static_cast<unsigned>(kind)) {}
  constexpr bool holds(OperandKind kind) const noexcept {
    return (bits_ & OperandKinds(kind).bits_) != 0;
  }
  friend constexpr OperandKinds operator|(OperandKinds a, OperandKinds b) noexcept {
    a.bits_ |= b.bits_;
    return a;
  }

 private:
  unsigned bits_;
};
constexpr OperandKinds operator|(OperandKind a, OperandKind b) noexcept {
  return OperandKinds(a) | OperandKinds(b);
}
inline constexpr OperandKinds kAnyOperand =
    OperandKind::MATRIX | OperandKind::VECTOR | OperandKind::NDARRAY | OperandKind::IMAGE;
/// "Matrix", "Matrix or Vector".
std::string name_of(OperandKinds kinds);
std::vector<std::string_view> names_of(OperandKinds kinds);

/// One operand of an encode method.
struct OperandSpec {
  std::string_view name;  // the argument: "left_matrix"
  OperandKinds kind = OperandKind::MATRIX;
  std::string_view doc;
  bool writes = false;    // the kernel writes it; it may read it too
  bool optional = false;  // may be left out; only the last ones
  bool variadic = false;  // one or more, a list; the lists of a method are of one length
  /// A written operand may be the very memory of an operand that is read, with the same layout.
  bool in_place = false;
};

/// One way to encode a kernel: most classes have one, "encode".
struct EncodeMethod {
  std::string_view name = "encode";
  std::string_view doc;  // the formula, shapes of the operands
  std::vector<OperandSpec> operands;
  /// Checks the operands and appends operations. Throws through KernelLowering::fail.
  void (*lower)(KernelLowering& to) = nullptr;
};

/// A row: one class of kernels.
struct KernelClass {
  std::string_view name;    // "MatrixMultiplication"
  std::string_view apple;   // "MPSMatrixMultiplication"; "" where Apple has no such class
  std::string_view family;  // "matrix_multiplication": groups the reference pages
  std::string_view brief;   // one line, no full stop at the end
  /// The rest of the documentation, Markdown: formula, defaults, errors, deviations from Apple.
  std::string_view doc;
  /// Python that runs with `device` and `queue` there, numpy as np and mpsnn as mps; its asserts
  /// hold.
  std::string_view example;
  std::vector<AttributeSpec> attributes = {};  // settable properties
  AttributeMap fixed = {};                     // the same for all kernels of the class
  std::vector<EncodeMethod> methods;
  /// Checks of complete attributes beyond types and ranges, `title` being how errors call the
  /// kernel; null: none.
  void (*check)(std::string_view title, const AttributeMap& attributes) = nullptr;
  /// The state that a kernel keeps on the device between encodes, as it is at first; null: none.
  /// Attributes that it is made from can be set at construction only.
  std::vector<std::byte> (*make_state)(const AttributeMap& attributes) = nullptr;
  /// Setting such an attribute later makes the state anew instead of being refused.
  bool remakes_state = false;
  /// Numbers that no plan depends on, so that each encode may have others at no cost: operations
  /// get them as KernelArgs::scalars, in this order. Their ranges are all that is checked of them.
  std::vector<std::string_view> scalars = {};
};

/// All classes, family by family.
std::span<const KernelClass> kernel_classes();
/// Null where there is no such class.
const KernelClass* find_kernel_class(std::string_view name);

/// The families, each in src/graph/kernels/<family>.cpp.
std::vector<KernelClass> matrix_multiplication_kernels();
std::vector<KernelClass> matrix_softmax_kernels();
std::vector<KernelClass> matrix_random_kernels();
std::vector<KernelClass> image_copy_kernels();
std::vector<KernelClass> image_conversion_kernels();
std::vector<KernelClass> image_scale_kernels();
std::vector<KernelClass> image_filter_kernels();
std::vector<KernelClass> image_statistics_kernels();
std::vector<KernelClass> image_reduction_kernels();
std::vector<KernelClass> image_arithmetic_kernels();
std::vector<KernelClass> image_sampling_kernels();
std::vector<KernelClass> matrix_sum_kernels();
std::vector<KernelClass> matrix_copy_kernels();
std::vector<KernelClass> matrix_neuron_kernels();
std::vector<KernelClass> matrix_fully_connected_kernels();
std::vector<KernelClass> matrix_batch_normalization_kernels();
std::vector<KernelClass> matrix_find_top_k_kernels();
std::vector<KernelClass> matrix_decomposition_kernels();
std::vector<KernelClass> ndarray_kernels();
std::vector<KernelClass> optimizer_update_kernels();

}  // namespace mpsnn::graph
