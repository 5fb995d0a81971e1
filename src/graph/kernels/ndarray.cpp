// SPDX-License-Identifier: MIT
// Kernels of arrays. Operations: matrix_multiplication, gather, gather_gradient, copy, fill.
#include <algorithm>

#include "base/attributes.h"
#include "graph/kernel_lowering.h"
#include "graph/kernels/matrix_tools.h"

namespace mpsnn::graph {
namespace {

MatrixPart whole(const TensorDesc& desc) { return {normalized(desc), 0}; }

// ---- products

/// The array with leading dimensions of 1 added, so that it has the result's rank.
MatrixPart aligned(const KernelLowering& to, std::size_t i, const TensorDesc& result) {
  TensorDesc desc = to.desc(i);
  std::vector<std::int64_t> strides = strides_of(desc);
  if (desc.dims.size() < 2 || desc.dims.size() > result.dims.size())
    to.fail_operand(i, str("2 to ", result.dims.size(), " dimensions, as result has"));
  const std::size_t missing = result.dims.size() - desc.dims.size();
  desc.dims.insert(desc.dims.begin(), missing, 1);
  strides.insert(strides.begin(), missing, strides.front() * desc.dims[missing]);
  desc.strides = std::move(strides);
  return whole(desc);
}

void check_leading(const KernelLowering& to, std::size_t i, const MatrixPart& part,
                   const TensorDesc& result) {
  for (std::size_t d = 0; d + 2 < result.dims.size(); ++d) {
    if (part.desc.dims[d] != result.dims[d] && part.desc.dims[d] != 1)
      to.fail_operand(i, "leading dimensions that are those of result, or 1");
  }
}

void lower_multiplication(KernelLowering& to) {
  enum : std::size_t { kLeft, kRight, kResult, kAddend };
  const AttributeMap& a = to.attributes();
  const TensorDesc& result = to.desc(kResult);
  if (result.dims.size() < 2) to.fail_operand(kResult, "at least 2 dimensions");
  expect_floats(to, {kLeft, kRight, kResult, kAddend});
  const MatrixPart left = aligned(to, kLeft, result), right = aligned(to, kRight, result);
  const std::size_t rank = result.dims.size();
  const std::int64_t m = result.dims[rank - 2], n = result.dims[rank - 1],
                     k = left.desc.dims[rank - 1];
  if (left.desc.dims[rank - 2] != m) to.fail_operand(kLeft, str(m, " rows, as result has"));
  if (right.desc.dims[rank - 2] != k || right.desc.dims[rank - 1] != n)
    to.fail_operand(kRight, str(k, " rows, as left has columns, and ", n, " columns"));
  check_leading(to, kLeft, left, result);
  check_leading(to, kRight, right, result);
  const bool adds = to.has(kAddend) && get_float(a, "beta") != 0;
  if (adds) to.expect_dims(kAddend, result.dims);
  const MatrixPart part = whole(result);
  const ValueId value = strided_result(to, kResult, part, false);
  std::vector<ValueId> inputs = {strided_float32(to, kLeft, left),
                                 strided_float32(to, kRight, right)};
  if (adds) {
    to.add(OpId::copy, {to.operand(kAddend)}, {value}, {}, "addend");
    inputs.push_back(value);
  }
  to.add(OpId::matrix_multiplication, std::move(inputs), {value},
         {{"alpha", get_float(a, "alpha")}, {"beta", adds ? get_float(a, "beta") : 0.0}});
  finish(to, value, kResult, part);
}

// ---- gathering

/// An array as (outer, entries of the axis, inner).
std::vector<std::int64_t> folded(const std::vector<std::int64_t>& dims, std::size_t axis) {
  std::vector<std::int64_t> all = {1, dims[axis], 1};
  for (std::size_t i = 0; i < axis; ++i) all[0] *= dims[i];
  for (std::size_t i = axis + 1; i < dims.size(); ++i) all[2] *= dims[i];
  return all;
}

/// Checks that `gathered` is `source` with as many entries along the axis as there are indices.
std::size_t check_gather(const KernelLowering& to, std::size_t source, std::size_t indices,
                         std::size_t gathered) {
  const std::vector<std::int64_t>& dims = to.desc(source).dims;
  const auto axis = static_cast<std::size_t>(get_int(to.attributes(), "axis"));
  if (axis >= dims.size()) to.fail("axis", str("below ", dims.size()), axis);
  to.expect_type(indices, {DataType::INT32, DataType::UINT32});
  if (to.desc(indices).dims.size() != 1) to.fail_operand(indices, "1 dimension");
  std::vector<std::int64_t> wanted = dims;
  wanted[axis] = to.desc(indices).dims[0];
  to.expect_dims(gathered, wanted);
  expect_floats(to, {source, gathered});
  return axis;
}

ValueId dense_indices(KernelLowering& to, std::size_t i) {
  const ValueId copy = to.temporary("indices", {to.desc(i).type, to.desc(i).dims, nullptr});
  to.add(OpId::copy, {to.operand(i)}, {copy}, {}, "indices");
  return copy;
}

void lower_gather(KernelLowering& to) {
  enum : std::size_t { kSource, kIndices, kResult };
  const std::size_t axis = check_gather(to, kSource, kIndices, kResult);
  const TensorDesc& result = to.desc(kResult);
  const ValueId value = to.result_as_float32(kResult, result, 0);
  to.add(OpId::gather,
         {to.reshaped(to.as_float32(kSource), folded(to.desc(kSource).dims, axis)),
          dense_indices(to, kIndices)},
         {to.reshaped(value, folded(result.dims, axis))}, {});
  to.write_back(value, kResult, result, 0);
}

void lower_gather_gradient(KernelLowering& to) {
  enum : std::size_t { kGradient, kIndices, kResult };
  const std::size_t axis = check_gather(to, kResult, kIndices, kGradient);
  const TensorDesc& result = to.desc(kResult);
  const ValueId value = to.result_as_float32(kResult, result, 0);
  to.add(OpId::gather_gradient,
         {to.reshaped(to.as_float32(kGradient), folded(to.desc(kGradient).dims, axis)),
          dense_indices(to, kIndices)},
         {to.reshaped(value, folded(result.dims, axis))}, {});
  to.write_back(value, kResult, result, 0);
}

// ---- slices

/// The part of a whole array that a strided slice of these extents is.
MatrixPart slice_of(const KernelLowering& to, std::size_t i,
                    const std::vector<std::int64_t>& dims) {
  const AttributeMap& a = to.attributes();
  const TensorDesc& source = to.desc(i);
  const std::size_t rank = source.dims.size();
  if (dims.size() != rank) to.fail_operand(i, str(dims.size(), " dimensions, as its slice"));
  const auto list = [&](std::string_view name, std::int64_t otherwise) {
    auto values = std::get<std::vector<std::int64_t>>(a.find(name)->second);
    if (values.empty()) values.assign(rank, otherwise);
    if (values.size() != rank) to.fail(name, str(rank, " numbers, one a dimension"), values.size());
    return values;
  };
  const std::vector<std::int64_t> starts = list("starts", 0), steps = list("strides", 1);
  MatrixPart part{{source.type, dims, nullptr, strides_of(source)}, 0};
  for (std::size_t d = 0; d < rank; ++d) {
    const std::int64_t last = starts[d] + (dims[d] - 1) * steps[d];
    if (last >= source.dims[d])
      to.fail_operand(i, str("more than ", last, " elements along dimension ", d));
    part.offset += starts[d] * part.desc.strides[d];
    part.desc.strides[d] *= steps[d];
  }
  part.desc = normalized(part.desc);
  return part;
}

void lower_slice(KernelLowering& to) {
  enum : std::size_t { kSource, kResult };
  expect_floats(to, {kSource, kResult});
  const MatrixPart part = slice_of(to, kSource, to.desc(kResult).dims);
  to.add(OpId::copy, {to.view(kSource, part.desc, part.offset)}, {to.operand(kResult)}, {});
}

void lower_slice_gradient(KernelLowering& to) {
  enum : std::size_t { kGradient, kResult };
  expect_floats(to, {kGradient, kResult});
  const MatrixPart part = slice_of(to, kResult, to.desc(kGradient).dims);
  to.add(OpId::fill, {}, {to.operand(kResult)}, {{"value", 0.0}}, "zeros");
  to.add(OpId::copy, {to.operand(kGradient)}, {to.view(kResult, part.desc, part.offset)}, {});
}

std::vector<AttributeSpec> slice_attributes() {
  return {{.name = "starts",
           .type = AttributeType::INTS,
           .doc = "first element along each dimension of the shape; empty: 0",
           .default_value = std::vector<std::int64_t>(),
           .minimum = 0},
          {.name = "strides",
           .type = AttributeType::INTS,
           .doc = "elements from one to the next along each dimension; empty: 1",
           .default_value = std::vector<std::int64_t>(),
           .minimum = 1}};
}

AttributeSpec axis() {
  return {.name = "axis",
          .type = AttributeType::INT,
          .doc = "dimension of the shape, the slowest is 0",
          .default_value = std::int64_t{0},
          .minimum = 0,
          .maximum = 15};
}

constexpr OperandSpec array(std::string_view name, std::string_view doc, bool writes = false,
                            bool optional = false) {
  return {.name = name,
          .kind = OperandKind::NDARRAY,
          .doc = doc,
          .writes = writes,
          .optional = optional};
}

constexpr std::string_view kMultiplicationDoc =
    R"(result = alpha * left * right + beta * addend over the last two dimensions (Apple's dimensions 0 and 1); without
an addend beta has no effect. Leading dimensions of left and right are those of the result, or 1 or missing: these are
repeated. Arrays may have any strides: a transposed view is a transposed factor. float32 and float16 in any mixture;
sums are made in float32.)";
constexpr std::string_view kMultiplicationExample =
    R"(left = mps.NDArray.from_array(device, np.ones((2, 3, 4), np.float32))
right = mps.NDArray.from_array(device, np.full((4, 5), 2, np.float32))
result = mps.NDArray(device, shape=(2, 3, 5))
commands = mps.CommandBuffer(queue)
mps.NDArrayMatrixMultiplication(device).encode(commands, left, right, result)
commands.commit()
assert np.array_equal(np.asarray(result), np.full((2, 3, 5), 8))
)";
constexpr std::string_view kGatherDoc =
    R"(Entry i of the result along the axis is entry indices[i] of the source: numpy.take. indices has one dimension,
int32 or uint32; an index that the source does not have fails the command with DeviceError. The axis counts as the
shape does, from the slowest; Apple counts from the fastest. float32 and float16.)";
constexpr std::string_view kGatherExample =
    R"(table = mps.NDArray.from_array(device, np.arange(6, dtype=np.float32).reshape(3, 2))
words = mps.NDArray.from_array(device, np.array([2, 0, 2], np.int32))
result = mps.NDArray(device, shape=(3, 2))
commands = mps.CommandBuffer(queue)
mps.NDArrayGather(device).encode(commands, table, words, result)
commands.commit()
assert np.array_equal(np.asarray(result), [[4, 5], [0, 1], [4, 5]])
)";
constexpr std::string_view kGatherGradientDoc =
    R"(Entry j of the result along the axis is the sum of the gradient's entries i with indices[i] = j, in the order of i;
0 where there is none. indices and axis as NDArrayGather's.)";
constexpr std::string_view kGatherGradientExample =
    R"(gradient = mps.NDArray.from_array(device, np.array([[1], [2], [4]], np.float32))
words = mps.NDArray.from_array(device, np.array([2, 0, 2], np.int32))
result = mps.NDArray(device, shape=(3, 1))
commands = mps.CommandBuffer(queue)
mps.NDArrayGatherGradient(device).encode(commands, gradient, words, result)
commands.commit()
assert np.array_equal(np.asarray(result), [[2], [0], [5]])
)";
constexpr std::string_view kSliceDoc =
    R"(result[i, j, ...] = source[starts[0] + i * strides[0], starts[1] + j * strides[1], ...]; the result's shape says
how many. float32 and float16, either into the other.)";
constexpr std::string_view kSliceExample =
    R"(source = mps.NDArray.from_array(device, np.arange(10, dtype=np.float32))
result = mps.NDArray(device, shape=(3,))
commands = mps.CommandBuffer(queue)
mps.NDArrayStridedSlice(device, starts=[1], strides=[4]).encode(commands, source, result)
commands.commit()
assert np.array_equal(np.asarray(result), [1, 5, 9])
)";
constexpr std::string_view kSliceGradientDoc =
    R"(The gradient at the elements that the slice took, 0 at the others. starts and strides as
NDArrayStridedSlice's; the result has the source's shape.)";
constexpr std::string_view kSliceGradientExample =
    R"(gradient = mps.NDArray.from_array(device, np.array([1, 2], np.float32))
result = mps.NDArray(device, shape=(4,))
commands = mps.CommandBuffer(queue)
mps.NDArrayStridedSliceGradient(device, strides=[3]).encode(commands, gradient, result)
commands.commit()
assert np.array_equal(np.asarray(result), [1, 0, 0, 2])
)";

}  // namespace

std::vector<KernelClass> ndarray_kernels() {
  return {
      {.name = "NDArrayMatrixMultiplication",
       .apple = "MPSNDArrayMatrixMultiplication",
       .family = "ndarray",
       .brief = "The products of the matrices in arrays",
       .doc = kMultiplicationDoc,
       .example = kMultiplicationExample,
       .attributes = {factor("alpha", "factor of the product", 1.0),
                      factor("beta", "factor of the addend", 1.0)},
       .methods = {{.doc = "Records the products.",
                    .operands = {array("left", "(..., M, K)"), array("right", "(..., K, N)"),
                                 array("result", "(..., M, N)", true),
                                 array("addend", "of the result's shape", false, true)},
                    .lower = lower_multiplication}}},
      {.name = "NDArrayGather",
       .apple = "MPSNDArrayGather",
       .family = "ndarray",
       .brief = "Entries of an array by index",
       .doc = kGatherDoc,
       .example = kGatherExample,
       .attributes = {axis()},
       .methods = {{.doc = "Records the gathering.",
                    .operands = {array("source", "any array"), array("indices", "one dimension"),
                                 array("result", "as the source, with an entry an index", true)},
                    .lower = lower_gather}}},
      {.name = "NDArrayGatherGradient",
       .apple = "MPSNDArrayGatherGradient",
       .family = "ndarray",
       .brief = "The gradient of gathered entries",
       .doc = kGatherGradientDoc,
       .example = kGatherGradientExample,
       .attributes = {axis()},
       .methods = {{.doc = "Records the gradient.",
                    .operands = {array("gradient", "of what was gathered"),
                                 array("indices", "one dimension"),
                                 array("result", "of the source's shape", true)},
                    .lower = lower_gather_gradient}}},
      {.name = "NDArrayStridedSlice",
       .apple = "MPSNDArrayStridedSlice",
       .family = "ndarray",
       .brief = "Every n-th element of an array",
       .doc = kSliceDoc,
       .example = kSliceExample,
       .attributes = slice_attributes(),
       .methods = {{.doc = "Records the slice.",
                    .operands = {array("source", "any array"),
                                 array("result", "of as many dimensions", true)},
                    .lower = lower_slice}}},
      {.name = "NDArrayStridedSliceGradient",
       .apple = "MPSNDArrayStridedSliceGradient",
       .family = "ndarray",
       .brief = "The gradient of every n-th element",
       .doc = kSliceGradientDoc,
       .example = kSliceGradientExample,
       .attributes = slice_attributes(),
       .methods = {{.doc = "Records the gradient.",
                    .operands = {array("gradient", "of the slice"),
                                 array("result", "of the source's shape", true)},
                    .lower = lower_slice_gradient}}},
  };
}

}  // namespace mpsnn::graph
