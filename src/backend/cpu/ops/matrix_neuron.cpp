// SPDX-License-Identifier: MIT
// matrix_neuron, matrix_neuron_gradient, column_sums: rows of matrices, a bias a column.
#include <algorithm>
#include <cmath>
#include <limits>

#include "backend/cpu/ops/kernel_tools.h"
#include "backend/cpu/ops/matrix_layout.h"
#include "backend/cpu/ops/neuron.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/simd.h"
#include "base/attributes.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

constexpr std::int64_t kPiece = 4096;  // elements of a row that are treated at once

/// neuron(alpha * x + bias).
struct Rule {
  float alpha;
  Neuron neuron;
  std::vector<float> slopes;  // one a column for PRELU

  explicit Rule(const AttributeMap& a)
      : alpha(static_cast<float>(get_float(a, "alpha"))),
        neuron{static_cast<NeuronType>(get_int(a, "neuron_type")),
               static_cast<float>(get_float(a, "neuron_a")),
               static_cast<float>(get_float(a, "neuron_b")),
               static_cast<float>(get_float(a, "neuron_c"))} {
    const std::vector<double>& values = get_floats(a, "neuron_parameters");
    slopes.assign(values.begin(), values.end());
  }
  bool is_prelu() const noexcept { return neuron.type == NeuronType::PRELU; }
  /// Whether columns are treated alike.
  bool is_uniform(bool has_bias) const noexcept { return !has_bias && !is_prelu(); }
};

MPSNN_SIMD void scale_and_shift(const float* x, float alpha, const float* bias, float* z,
                                std::int64_t count) {
  if (bias != nullptr) {
    MPSNN_IVDEP
    for (std::int64_t i = 0; i < count; ++i) z[i] = alpha * x[i] + bias[i];
  } else {
    MPSNN_IVDEP
    for (std::int64_t i = 0; i < count; ++i) z[i] = alpha * x[i];
  }
}

MPSNN_SIMD void apply_prelu(const float* slopes, float* z, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) z[i] = z[i] < 0 ? slopes[i] * z[i] : z[i];
}

MPSNN_SIMD void differentiate_prelu(const float* g, const float* z, const float* slopes, float* out,
                                    std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) out[i] = z[i] > 0 ? g[i] : slopes[i] * g[i];
}

MPSNN_SIMD void scale(float factor, float* x, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) x[i] *= factor;
}

/// `column`: of the first element.
void run_piece(const Rule& rule, const float* x, const float* bias, float* y, std::int64_t column,
               std::int64_t count) {
  const float* own = x;
  if (rule.alpha != 1 || bias != nullptr) {
    scale_and_shift(x, rule.alpha, bias == nullptr ? nullptr : bias + column, y, count);
    own = y;
  }
  if (!rule.is_prelu()) return apply_neuron(rule.neuron, own, y, count);
  if (own != y) std::copy_n(own, count, y);
  apply_prelu(rule.slopes.data() + column, y, count);
}

void differentiate_piece(const Rule& rule, float factor, const float* g, const float* x,
                         const float* bias, float* out, std::int64_t column, std::int64_t count) {
  float z[kPiece];
  scale_and_shift(x, rule.alpha, bias == nullptr ? nullptr : bias + column, z, count);
  if (rule.is_prelu()) {
    differentiate_prelu(g, z, rule.slopes.data() + column, out, count);
  } else {
    apply_neuron_gradient(rule.neuron, g, z, out, count);
  }
  if (factor != 1) scale(factor, out, count);
}

/// Calls fn(offset of each operand, first column, elements) for pieces of rows, on all threads.
/// Dense matrices whose columns are treated alike count as one row.
template <std::size_t n, class Fn>
void for_each_piece(const std::array<MatrixLayout, n>& operands, bool uniform, std::int64_t bytes,
                    Fn&& fn) {
  const bool is_one = uniform && std::ranges::all_of(operands, &MatrixLayout::is_dense);
  const std::int64_t rows = is_one ? 1 : operands[0].all_rows();
  const std::int64_t columns =
      is_one ? operands[0].all_rows() * operands[0].columns : operands[0].columns;
  const std::int64_t pieces = (columns + kPiece - 1) / kPiece;
  parallel_for(rows * pieces, grain_for(std::min(columns, kPiece) * bytes),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t i = begin; i < end; ++i) {
                   const std::int64_t row = i / pieces, column = i % pieces * kPiece;
                   std::array<std::int64_t, n> at{};
                   for (std::size_t k = 0; k < n; ++k)
                     at[k] = (is_one ? 0 : operands[k].at(row)) + column;
                   fn(at, column, std::min(kPiece, columns - column));
                 }
               });
}

/// LINEAR on integers: a * (alpha * x + bias) + b in double, rounded to the nearest, ties to even,
/// and clamped.
template <class T>
void run_integers(const Rule& rule, const T* x, const float* bias, T* y, std::int64_t count) {
  const bool linear = rule.neuron.type == NeuronType::LINEAR;
  const auto a = static_cast<double>(linear ? rule.neuron.a : 1.0F),
             b = static_cast<double>(linear ? rule.neuron.b : 0.0F),
             alpha = static_cast<double>(rule.alpha);
  constexpr auto low = static_cast<double>(std::numeric_limits<T>::min()),
                 high = static_cast<double>(std::numeric_limits<T>::max());
  for (std::int64_t i = 0; i < count; ++i) {
    const double shift = bias == nullptr ? 0.0 : static_cast<double>(bias[i]);
    const double value = std::nearbyint(a * (alpha * static_cast<double>(x[i]) + shift) + b);
    y[i] = std::isnan(value) ? T{0} : static_cast<T>(std::clamp(value, low, high));
  }
}

template <class T>
std::shared_ptr<Kernel> integer_kernel(const KernelQuery& query) {
  const Rule rule(query.attributes);
  const std::array operands = {MatrixLayout(query.inputs[0]), MatrixLayout(query.outputs[0])};
  return make_kernel([=](const KernelArgs& args) {
    const float* const bias = args.input<float>(1);
    for_each_piece(operands, bias == nullptr, 2 * sizeof(T) * 4,
                   [&](const auto& at, std::int64_t column, std::int64_t count) {
                     run_integers(rule, args.input<T>(0) + at[0],
                                  bias == nullptr ? nullptr : bias + column,
                                  args.output<T>(0) + at[1], count);
                   });
  });
}

bool is_integer(DataType type) {
  return type != DataType::FLOAT32 && type != DataType::FLOAT16 && type != DataType::INT64;
}

}  // namespace

// source, bias? -> result
Fit fits_matrix_neuron_integer(const KernelQuery& query) {
  const TensorDesc &from = query.inputs[0], &to = query.outputs[0];
  if (from.type != to.type || !is_integer(from.type))
    return Fit::no(
        str(name_of(from.type), " -> ", name_of(to.type), " is not of one integer type"));
  const NeuronType type = Rule(query.attributes).neuron.type;
  if (type != NeuronType::NONE && type != NeuronType::LINEAR)
    return Fit::no("integers take NONE and LINEAR only");
  if (!has_contiguous_rows(from) || !has_contiguous_rows(to))
    return Fit::no("the elements of a row do not lie together");
  return {};
}

std::shared_ptr<Kernel> prepare_matrix_neuron_integer(const KernelQuery& query) {
  switch (query.inputs[0].type) {
    case DataType::INT32:
      return integer_kernel<std::int32_t>(query);
    case DataType::UINT32:
      return integer_kernel<std::uint32_t>(query);
    case DataType::INT16:
      return integer_kernel<std::int16_t>(query);
    case DataType::UINT16:
      return integer_kernel<std::uint16_t>(query);
    case DataType::INT8:
      return integer_kernel<std::int8_t>(query);
    case DataType::UINT8:
      return integer_kernel<std::uint8_t>(query);
    default:
      throw InternalError("matrix_neuron: no integer type");
  }
}

Fit fits_matrix_neuron_plain(const KernelQuery& query) { return fits_float32_rows(query); }

std::shared_ptr<Kernel> prepare_matrix_neuron_plain(const KernelQuery& query) {
  const Rule rule(query.attributes);
  const std::array operands = {MatrixLayout(query.inputs[0]), MatrixLayout(query.outputs[0])};
  return make_kernel([=](const KernelArgs& args) {
    const float* const bias = args.input<float>(1);
    for_each_piece(operands, rule.is_uniform(bias != nullptr), 8,
                   [&](const auto& at, std::int64_t column, std::int64_t count) {
                     run_piece(rule, args.input<float>(0) + at[0], bias,
                               args.output<float>(0) + at[1], column, count);
                   });
  });
}

// gradient, source, bias? -> source gradient, times `factor`
Fit fits_matrix_neuron_gradient_plain(const KernelQuery& query) { return fits_float32_rows(query); }

std::shared_ptr<Kernel> prepare_matrix_neuron_gradient_plain(const KernelQuery& query) {
  const Rule rule(query.attributes);
  const auto factor = static_cast<float>(get_float(query.attributes, "factor"));
  const std::array operands = {MatrixLayout(query.inputs[0]), MatrixLayout(query.inputs[1]),
                               MatrixLayout(query.outputs[0])};
  return make_kernel([=](const KernelArgs& args) {
    const float* const bias = args.input<float>(2);
    for_each_piece(operands, rule.is_uniform(bias != nullptr), 12,
                   [&](const auto& at, std::int64_t column, std::int64_t count) {
                     differentiate_piece(rule, factor, args.input<float>(0) + at[0],
                                         args.input<float>(1) + at[1], bias,
                                         args.output<float>(0) + at[2], column, count);
                   });
  });
}

namespace {

constexpr std::int64_t kColumns = 256;  // that a thread sums at once

MPSNN_SIMD void add_rows(const float* x, std::int64_t rows, std::int64_t stride, double* sums,
                         std::int64_t columns) {
  for (std::int64_t r = 0; r < rows; ++r, x += stride) {
    MPSNN_IVDEP
    for (std::int64_t i = 0; i < columns; ++i) sums[i] += static_cast<double>(x[i]);
  }
}

}  // namespace

// source -> sums (columns)
Fit fits_column_sums_plain(const KernelQuery& query) { return fits_float32_rows(query); }

std::shared_ptr<Kernel> prepare_column_sums_plain(const KernelQuery& query) {
  const MatrixLayout source(query.inputs[0]);
  const std::int64_t parts = (source.columns + kColumns - 1) / kColumns;
  return make_kernel([=](const KernelArgs& args) {
    parallel_for(parts, grain_for(source.all_rows() * kColumns * 4),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t part = begin; part < end; ++part) {
                     const std::int64_t first = part * kColumns,
                                        columns = std::min(kColumns, source.columns - first);
                     double sums[kColumns] = {};
                     for (std::int64_t k = 0; k < source.matrices; ++k) {
                       add_rows(args.input<float>(0) + k * source.matrix_stride + first,
                                source.rows, source.row_stride, sums, columns);
                     }
                     for (std::int64_t i = 0; i < columns; ++i)
                       args.output<float>(0)[first + i] = static_cast<float>(sums[i]);
                   }
                 });
  });
}

}  // namespace mpsnn::backend::cpu
