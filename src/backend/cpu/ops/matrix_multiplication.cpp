// SPDX-License-Identifier: MIT
// matrix_multiplication: BLAS's product of a matrix and a vector, oneDNN's product, which takes any
// strides, and plain ones of float32 and of integers. Operands are (…, rows, columns); leading
// dimensions of 1 are repeated. Where beta is not 0 the result is read, too (it is input 2 then).
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "backend/cpu/ops/kernel_tools.h"
#include "backend/cpu/ops/lapack.h"
#if defined(MPSNN_WITH_ONEDNN)
#include "backend/cpu/ops/onednn.h"
#endif
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/simd.h"
#include "base/attributes.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

/// Elements from one to the next along each dimension.
std::vector<std::int64_t> element_strides(const TensorDesc& desc) {
  std::vector<std::int64_t> strides = desc.strides;
  if (!strides.empty()) {
    const auto size = static_cast<std::int64_t>(size_of(desc.type));
    for (std::int64_t& stride : strides) stride /= size;
    return strides;
  }
  strides.resize(desc.dims.size());
  std::int64_t next = 1;
  for (std::size_t i = desc.dims.size(); i-- > 0; next *= desc.dims[i]) strides[i] = next;
  return strides;
}

/// Where an operand's matrices lie, for the batch of the result.
struct Operand {
  std::vector<std::int64_t> extents, steps;  // of the batch; a step of 0 repeats
  std::int64_t row, column;

  Operand(const TensorDesc& desc, const TensorDesc& result) {
    const std::vector<std::int64_t> strides = element_strides(desc);
    const std::size_t leading = result.dims.size() - 2;
    for (std::size_t i = 0; i < leading; ++i) {
      extents.push_back(result.dims[i]);
      steps.push_back(desc.dims[i] == 1 ? 0 : strides[i]);
    }
    row = strides[leading];
    column = strides[leading + 1];
  }
  std::int64_t at(std::int64_t matrix) const noexcept {
    std::int64_t offset = 0;
    for (std::size_t i = extents.size(); i-- > 0; matrix /= extents[i])
      offset += matrix % extents[i] * steps[i];
    return offset;
  }
};

/// A product as plain kernels see it.
struct Product {
  Operand left, right, result;
  std::int64_t batch, m, n, k;
  float alpha, beta;

  explicit Product(const KernelQuery& query)
      : left(query.inputs[0], query.outputs[0]),
        right(query.inputs[1], query.outputs[0]),
        result(query.outputs[0], query.outputs[0]),
        m(query.outputs[0].dims[query.outputs[0].dims.size() - 2]),
        n(query.outputs[0].dims.back()),
        k(query.inputs[0].dims.back()),
        alpha(static_cast<float>(get_float(query.attributes, "alpha"))),
        beta(static_cast<float>(get_float(query.attributes, "beta"))) {
    batch = query.outputs[0].count() / (m * n);
  }
};

}  // namespace

#if defined(MPSNN_WITH_ONEDNN)
namespace {

dnnl::memory::desc matrices(const TensorDesc& desc) {
  using Type = dnnl::memory::data_type;
  const Type type = desc.type == DataType::INT8    ? Type::s8
                    : desc.type == DataType::INT32 ? Type::s32
                                                   : Type::f32;
  return {desc.dims, type, element_strides(desc)};
}

Fit fits_strides(const KernelQuery& query) {
  for (const TensorDesc* desc : {&query.inputs[0], &query.inputs[1], &query.outputs[0]}) {
    const std::vector<std::int64_t> strides = element_strides(*desc);
    if (strides.back() != 1 && strides[strides.size() - 2] != 1)
      return Fit::no("neither rows nor columns lie together");
    if (desc->dims.size() > DNNL_MAX_NDIMS) return Fit::no("more dimensions than oneDNN takes");
  }
  return {};
}

/// Whether oneDNN adds products of signed bytes in 32 bits; older instructions clip sums of 16.
bool multiplies_bytes() {
  const dnnl::cpu_isa isa = dnnl::get_effective_cpu_isa();
  using enum dnnl::cpu_isa;
  return isa == avx512_core_vnni || isa == avx512_core_bf16 || isa == avx512_core_fp16 ||
         isa == avx512_core_amx;
}

}  // namespace

Fit fits_matrix_multiplication_onednn(const KernelQuery& query) {
  for (const TensorDesc* desc : {&query.inputs[0], &query.inputs[1], &query.outputs[0]}) {
    if (desc->type != DataType::FLOAT32) return Fit::no(str(name_of(desc->type), " operands"));
  }
  return fits_strides(query);
}

Fit fits_matrix_multiplication_onednn_bytes(const KernelQuery& query) {
  if (query.inputs[0].type != DataType::INT8 || query.inputs[1].type != DataType::INT8 ||
      query.outputs[0].type != DataType::INT32)
    return Fit::no("not (int8, int8, int32)");
  if (get_float(query.attributes, "alpha") != 1 || get_float(query.attributes, "beta") != 0)
    return Fit::no("alpha or beta");
  if (!multiplies_bytes()) return Fit::no("the processor has no products of bytes");
  return fits_strides(query);
}

std::shared_ptr<Kernel> prepare_matrix_multiplication_onednn(const KernelQuery& query) {
  const auto alpha = static_cast<float>(get_float(query.attributes, "alpha")),
             beta = static_cast<float>(get_float(query.attributes, "beta"));
  dnnl::primitive_attr attributes = onednn::make_attributes();
  dnnl::post_ops after;
  if (alpha != 1) after.append_eltwise(dnnl::algorithm::eltwise_linear, alpha, 0);
  if (beta != 0) after.append_sum(beta);
  attributes.set_post_ops(after);
  const dnnl::matmul::primitive_desc chosen(onednn::engine(), matrices(query.inputs[0]),
                                            matrices(query.inputs[1]), matrices(query.outputs[0]),
                                            attributes);
  using From = onednn::Operand::From;
  onednn::Step step(dnnl::matmul(chosen),
                    {{DNNL_ARG_SRC, chosen.src_desc(), From::INPUT, 0},
                     {DNNL_ARG_WEIGHTS, chosen.weights_desc(), From::INPUT, 1},
                     {DNNL_ARG_DST, chosen.dst_desc(), From::OUTPUT, 0},
                     {DNNL_ARG_SCRATCHPAD, chosen.scratchpad_desc(), From::SCRATCH, 0}});
  std::vector<onednn::Step> steps;
  steps.push_back(std::move(step));
  auto kernel = std::make_shared<onednn::StepsKernel>(std::move(steps));
  kernel->scratch_bytes = chosen.scratchpad_desc().get_size();
  return kernel;
}

std::shared_ptr<Kernel> prepare_matrix_multiplication_onednn_bytes(const KernelQuery& query) {
  return prepare_matrix_multiplication_onednn(query);
}
#endif

namespace {

/// A product of a matrix and a vector: y = a x, or the transpose of x^T a.
struct VectorProduct {
  Operand matrix, vector;
  std::int64_t rows, columns;  // of the matrix
  bool transpose;
  std::int64_t x_step, y_step;

  explicit VectorProduct(const Product& p)
      : matrix(p.n == 1 ? p.left : p.right),
        vector(p.n == 1 ? p.right : p.left),
        rows(p.n == 1 ? p.m : p.k),
        columns(p.n == 1 ? p.k : p.n),
        transpose(p.n != 1),
        x_step(p.n == 1 ? vector.row : vector.column),
        y_step(p.n == 1 ? p.result.row : p.result.column) {
    if (matrix.column == 1) return;
    // Rows lie together in its transpose.
    std::swap(matrix.row, matrix.column);
    std::swap(rows, columns);
    transpose = !transpose;
  }
};

}  // namespace

Fit fits_matrix_multiplication_vector(const KernelQuery& query) {
  if (Fit fit = lapack::available(); !fit.yes) return fit;
  if (Fit fit = fits_matrix_multiplication_plain(query); !fit.yes) return fit;
  const Product p(query);
  if (p.batch != 1 || (p.m != 1 && p.n != 1)) return Fit::no("not one matrix and a vector");
  if (VectorProduct(p).matrix.column != 1) return Fit::no("neither rows nor columns lie together");
  return lapack::fits_integers(query);
}

std::shared_ptr<Kernel> prepare_matrix_multiplication_vector(const KernelQuery& query) {
  const Product p(query);
  return make_kernel([v = VectorProduct(p), matrix = std::size_t{p.n == 1 ? 0U : 1U},
                      alpha = p.alpha, beta = p.beta](const KernelArgs& args) {
    const lapack::Matrix a{const_cast<float*>(args.input<float>(matrix)),
                           std::max(v.matrix.row, v.columns)};
    lapack::multiply_vector(a, v.rows, v.columns, v.transpose, alpha, args.input<float>(1 - matrix),
                            v.x_step, beta, args.output<float>(0), v.y_step);
  });
}

Fit fits_matrix_multiplication_plain(const KernelQuery& query) {
  for (const TensorDesc* desc : {&query.inputs[0], &query.inputs[1], &query.outputs[0]}) {
    if (desc->type != DataType::FLOAT32) return Fit::no(str(name_of(desc->type), " operands"));
  }
  return {};
}

std::shared_ptr<Kernel> prepare_matrix_multiplication_plain(const KernelQuery& query) {
  return make_kernel([p = Product(query)](const KernelArgs& args) {
    parallel_for(
        p.batch * p.m, grain_for(p.k * p.n * 8), [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t row = begin; row < end; ++row) {
            const std::int64_t matrix = row / p.m, i = row % p.m;
            const float* const x = args.input<float>(0) + p.left.at(matrix) + i * p.left.row;
            const float* const y = args.input<float>(1) + p.right.at(matrix);
            float* const z = args.output<float>(0) + p.result.at(matrix) + i * p.result.row;
            for (std::int64_t j = 0; j < p.n; ++j) {
              float sum = 0;
              for (std::int64_t q = 0; q < p.k; ++q)
                sum += x[q * p.left.column] * y[q * p.right.row + j * p.right.column];
              float& to = z[j * p.result.column];
              to = p.beta == 0 ? p.alpha * sum : p.alpha * sum + p.beta * to;
            }
          }
        });
  });
}

namespace {

constexpr std::int64_t kColumns = 512;  // whose sums stay in the first-level cache

/// sums += x * y; a wrap is allowed, an overflow is not.
template <class T>
MPSNN_SIMD void add_product(std::int32_t x, const T* y, std::int64_t step, std::uint32_t* sums,
                            std::int64_t count) {
  if (step == 1) {
    MPSNN_IVDEP
    for (std::int64_t j = 0; j < count; ++j) sums[j] += static_cast<std::uint32_t>(x * y[j]);
  } else {
    for (std::int64_t j = 0; j < count; ++j) sums[j] += static_cast<std::uint32_t>(x * y[j * step]);
  }
}

constexpr std::int64_t kRows = 4;  // of y that are added in one go: sums are loaded and stored less

/// The same with kRows rows of y, each of whose elements lie together.
template <class T>
MPSNN_SIMD void add_products(const std::int32_t (&x)[kRows], const T* y, std::int64_t row,
                             std::uint32_t* sums, std::int64_t count) {
  const T *const y1 = y + row, *const y2 = y1 + row, *const y3 = y2 + row;
  MPSNN_IVDEP
  for (std::int64_t j = 0; j < count; ++j) {
    sums[j] += static_cast<std::uint32_t>(x[0] * y[j]) + static_cast<std::uint32_t>(x[1] * y1[j]) +
               static_cast<std::uint32_t>(x[2] * y2[j]) + static_cast<std::uint32_t>(x[3] * y3[j]);
  }
}

std::int32_t rounded(double value) {
  constexpr auto low = static_cast<double>(std::numeric_limits<std::int32_t>::min()),
                 high = static_cast<double>(std::numeric_limits<std::int32_t>::max());
  return static_cast<std::int32_t>(std::clamp(std::nearbyint(value), low, high));
}

template <class R>
void write_sums(const Product& p, const std::uint32_t* sums, R* to, std::int64_t count) {
  for (std::int64_t j = 0; j < count; ++j) {
    R& own = to[j * p.result.column];
    const auto sum = static_cast<std::int32_t>(sums[j]);
    if constexpr (std::is_same_v<R, float>) {
      const float product = p.alpha * static_cast<float>(sum);
      own = p.beta == 0 ? product : product + p.beta * own;
    } else if (p.alpha == 1 && p.beta == 0) {
      own = sum;
    } else {
      const double product = static_cast<double>(p.alpha) * sum;
      own = rounded(p.beta == 0 ? product : product + static_cast<double>(p.beta) * own);
    }
  }
}

template <class T, class R>
std::shared_ptr<Kernel> integer_kernel(const KernelQuery& query) {
  const Product p(query);
  const std::int64_t parts = (p.n + kColumns - 1) / kColumns;
  return make_kernel([=](const KernelArgs& args) {
    parallel_for(
        p.batch * p.m * parts, grain_for(p.k * std::min(p.n, kColumns) * 2),
        [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t item = begin; item < end; ++item) {
            const std::int64_t matrix = item / parts / p.m, i = item / parts % p.m,
                               first = item % parts * kColumns,
                               count = std::min(kColumns, p.n - first);
            const T* const x = args.input<T>(0) + p.left.at(matrix) + i * p.left.row;
            const T* const y = args.input<T>(1) + p.right.at(matrix) + first * p.right.column;
            std::uint32_t sums[kColumns] = {};
            std::int64_t q = 0;
            for (; p.right.column == 1 && q + kRows <= p.k; q += kRows) {
              const T* const own = x + q * p.left.column;
              add_products(
                  {own[0], own[p.left.column], own[2 * p.left.column], own[3 * p.left.column]},
                  y + q * p.right.row, p.right.row, sums, count);
            }
            for (; q < p.k; ++q)
              add_product(x[q * p.left.column], y + q * p.right.row, p.right.column, sums, count);
            write_sums(p, sums,
                       args.output<R>(0) + p.result.at(matrix) + i * p.result.row +
                           first * p.result.column,
                       count);
          }
        });
  });
}

}  // namespace

Fit fits_matrix_multiplication_integer(const KernelQuery& query) {
  const DataType left = query.inputs[0].type, right = query.inputs[1].type,
                 result = query.outputs[0].type;
  const bool small = left == DataType::INT8 || left == DataType::INT16;
  if (small && left == right && (result == DataType::INT32 || result == DataType::FLOAT32))
    return {};
  return Fit::no(str("(", name_of(left), ", ", name_of(right), ", ", name_of(result), ")"));
}

std::shared_ptr<Kernel> prepare_matrix_multiplication_integer(const KernelQuery& query) {
  const bool to_int = query.outputs[0].type == DataType::INT32;
  if (query.inputs[0].type == DataType::INT8) {
    return to_int ? integer_kernel<std::int8_t, std::int32_t>(query)
                  : integer_kernel<std::int8_t, float>(query);
  }
  return to_int ? integer_kernel<std::int16_t, std::int32_t>(query)
                : integer_kernel<std::int16_t, float>(query);
}

}  // namespace mpsnn::backend::cpu
