// SPDX-License-Identifier: MIT
// How a row of the kernel table turns one encode into operations. A class's rule sees only this.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "graph/draft.h"
#include "graph/kernel_table.h"
#include "graph/plan.h"

namespace mpsnn::graph {

/// All that the plan of one encode depends on.
struct KernelCall {
  const KernelClass& kernel_class;
  const EncodeMethod& method;
  std::string_view label;  // the kernel's, for errors, plans and timelines
  const AttributeMap& attributes;
  /// Descs of the operands, in the order of the method's specs; those of a variadic one follow one
  /// another. Empty dims: an optional operand that was left out.
  std::span<const TensorDesc> operands;
  std::size_t state_bytes = 0;
};

/// Plans one encode. The plan's sources are the operands, in the order of the call, and the
/// kernel's state at the end where it has one. Throws InvalidArgumentError naming kernel and
/// operand, UnsupportedError.
Plan make_plan(const KernelCall& call, const KernelChooser& chooser);

/// `MatrixMultiplication "products"`, the start of every error about a kernel.
std::string title(const KernelClass& kernel_class, std::string_view label);

class KernelLowering {
 public:
  KernelLowering(Draft& draft, const KernelCall& call);

  const AttributeMap& attributes() const noexcept { return call_.attributes; }

  /// Operands by the index of their spec; `k` counts within the variadic one.
  bool has(std::size_t i) const;
  /// Operands in each list of the call.
  std::size_t variadic_count() const noexcept { return variadic_count_; }
  const TensorDesc& desc(std::size_t i, std::size_t k = 0) const;
  /// kNoValue where it was left out.
  ValueId operand(std::size_t i, std::size_t k = 0) const;
  /// A part of an operand, or the same memory seen otherwise: `offset` bytes from its first
  /// element. The part must lie inside of the operand.
  ValueId view(std::size_t i, TensorDesc desc, std::int64_t offset, std::size_t k = 0);
  /// An operand, or a part of it, as dense float32: the same memory where it is that, a copy
  /// elsewhere.
  ValueId as_float32(std::size_t i, std::size_t k = 0);
  ValueId as_float32(std::size_t i, const TensorDesc& part, std::int64_t offset, std::size_t k = 0);
  /// The same for what is written: a value for an operation to write, from which `write_back` fills
  /// the operand where it is a temporary.
  ValueId result_as_float32(std::size_t i, const TensorDesc& part, std::int64_t offset);
  void write_back(ValueId value, std::size_t i, const TensorDesc& part, std::int64_t offset);
  /// The same memory of a value with other dims; both dense.
  ValueId reshaped(ValueId value, std::vector<std::int64_t> dims);
  /// A value between two operations.
  ValueId temporary(std::string_view name, TensorDesc desc);
  /// The kernel's state as bytes, and a part of it from `offset` bytes on.
  ValueId state() const noexcept { return state_; }
  ValueId state(TensorDesc desc, std::size_t offset);

  /// Appends an operation. `name` tells it from others of the kernel in plans and timelines; empty:
  /// the kernel itself. An optimizer gives scalars at each encode.
  void add(OpId op, std::vector<ValueId> inputs, std::vector<ValueId> outputs,
           AttributeMap attributes, std::string_view name = {},
           std::shared_ptr<Optimizer> optimizer = nullptr);

  /// Throws `<Class> "<label>": <operand or attribute>: expected <expected>, got <got>`.
  template <class E = InvalidArgumentError, class Expected, class Got>
  [[noreturn]] void fail(std::string_view argument, const Expected& expected,
                         const Got& got) const {
    throw_expected<E>(str(title(call_.kernel_class, call_.label), ": ", argument), expected, got);
  }
  /// The same for an operand.
  template <class E = InvalidArgumentError, class Expected>
  [[noreturn]] void fail_operand(std::size_t i, const Expected& expected, std::size_t k = 0) const {
    fail<E>(call_.method.operands[i].name, expected, to_string(desc(i, k)));
  }
  /// Throws ArgumentTypeError unless the operand has one of the types.
  void expect_type(std::size_t i, std::initializer_list<DataType> types) const;
  /// Throws unless the operand has these dims.
  void expect_dims(std::size_t i, const std::vector<std::int64_t>& dims) const;

 private:
  std::size_t index(std::size_t i, std::size_t k) const;
  ValueId part_of_memory(ValueId whole, TensorDesc desc, std::size_t offset);

  Draft& draft_;
  const KernelCall& call_;
  std::vector<ValueId> operands_;
  std::size_t variadic_count_ = 0;
  ValueId state_ = kNoValue;
};

/// A rectangle of matrices as kernels with origins and batch ranges see it.
struct MatrixPart {
  TensorDesc desc;          // dims (matrices, rows, columns), strides
  std::int64_t offset = 0;  // bytes
};

/// Rows and columns from an origin on, of matrices [batch_start, batch_start + batch_size); sizes
/// below 0: all that there are. none: the part does not lie inside.
std::optional<MatrixPart> part_of(const TensorDesc& matrix, std::int64_t row, std::int64_t column,
                                  std::int64_t rows, std::int64_t columns,
                                  std::int64_t batch_start = 0, std::int64_t batch_size = -1);
/// Rows as columns: the same memory.
TensorDesc transposed(const TensorDesc& matrix);
/// Bytes from one element to the next along each dimension, whether given or dense.
std::vector<std::int64_t> strides_of(const TensorDesc& desc);
/// The desc without strides where they are those of dense memory.
TensorDesc normalized(TensorDesc desc);

}  // namespace mpsnn::graph
