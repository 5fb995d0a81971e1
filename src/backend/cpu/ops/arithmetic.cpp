// SPDX-License-Identifier: MIT
// multiplication, division, comparison (either operand broadcast, in place on either) and the
// gradients of the first two, summed over what was broadcast.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "backend/cpu/ops/broadcast.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/simd.h"
#include "backend/cpu/vector_math.h"
#include "base/attributes.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

float number(const AttributeMap& attributes, std::string_view name) {
  return static_cast<float>(get_float(attributes, name));
}

struct Multiply {
  float scale, bias;
  MPSNN_INLINE float of(float p, float s) const { return p * s * scale + bias; }
};

struct Divide {
  float primary_scale, secondary_scale, bias;
  MPSNN_INLINE float of(float p, float s) const {
    return p * primary_scale / (s * secondary_scale) + bias;
  }
};

/// gradient * primary -> that over the square of the secondary source.
struct DivideTwice {
  float scale;
  MPSNN_INLINE float of(float p, float s) const { return p / s / s * scale; }
};

// Comparisons with NaN are false, but NotEqual is true.
struct Equal {
  float threshold;
  MPSNN_INLINE bool holds(float p, float s) const {
    return (p == s) | (absolute_of(p - s) <= threshold);  // infinities are equal
  }
  MPSNN_INLINE float of(float p, float s) const { return holds(p, s) ? 1.0F : 0.0F; }
};
struct NotEqual {
  Equal equal;
  MPSNN_INLINE float of(float p, float s) const { return equal.holds(p, s) ? 0.0F : 1.0F; }
};
struct Less {
  MPSNN_INLINE float of(float p, float s) const { return p < s ? 1.0F : 0.0F; }
};
struct LessOrEqual {
  MPSNN_INLINE float of(float p, float s) const { return p <= s ? 1.0F : 0.0F; }
};
struct Greater {
  MPSNN_INLINE float of(float p, float s) const { return p > s ? 1.0F : 0.0F; }
};
struct GreaterOrEqual {
  MPSNN_INLINE float of(float p, float s) const { return p >= s ? 1.0F : 0.0F; }
};

// Three loops, since a step that the compiler does not know keeps it from vectorising.
#define MPSNN_BINARY_LOOPS(Function)                                                             \
  MPSNN_SIMD void map_both(const Function& function, const float* p, const float* s, float* out, \
                           std::int64_t count) {                                                 \
    const Function f = function;                                                                 \
    MPSNN_IVDEP                                                                                  \
    for (std::int64_t i = 0; i < count; ++i) out[i] = f.of(p[i], s[i]);                          \
  }                                                                                              \
  MPSNN_SIMD void map_primary(const Function& function, const float* p, float s, float* out,     \
                              std::int64_t count) {                                              \
    const Function f = function;                                                                 \
    MPSNN_IVDEP                                                                                  \
    for (std::int64_t i = 0; i < count; ++i) out[i] = f.of(p[i], s);                             \
  }                                                                                              \
  MPSNN_SIMD void map_secondary(const Function& function, float p, const float* s, float* out,   \
                                std::int64_t count) {                                            \
    const Function f = function;                                                                 \
    MPSNN_IVDEP                                                                                  \
    for (std::int64_t i = 0; i < count; ++i) out[i] = f.of(p, s[i]);                             \
  }

MPSNN_BINARY_LOOPS(Multiply)
MPSNN_BINARY_LOOPS(Divide)
MPSNN_BINARY_LOOPS(DivideTwice)
MPSNN_BINARY_LOOPS(Equal)
MPSNN_BINARY_LOOPS(NotEqual)
MPSNN_BINARY_LOOPS(Less)
MPSNN_BINARY_LOOPS(LessOrEqual)
MPSNN_BINARY_LOOPS(Greater)
MPSNN_BINARY_LOOPS(GreaterOrEqual)
#undef MPSNN_BINARY_LOOPS

template <class Function>
void map_run(const Function& f, const float* p, const float* s, Steps steps, float* out,
             std::int64_t count) {
  if (steps.primary == 1 && steps.secondary == 1) {
    map_both(f, p, s, out, count);
  } else if (steps.primary == 1) {
    map_primary(f, p, *s, out, count);
  } else if (steps.secondary == 1) {
    map_secondary(f, *p, s, out, count);
  } else {
    std::fill_n(out, count, f.of(*p, *s));
  }
}

/// p and s: the operands' rows.
template <class Function>
void map_row(const Function& f, const Broadcast& b, const float* p, const float* s, float* out) {
  b.each_run(p, s, out,
             [&f](const float* a, const float* c, Steps steps, float* to, std::int64_t count) {
               map_run(f, a, c, steps, to, count);
             });
}

/// finish(out, count) is called for pieces of the result while they are in the cache.
template <class Function, class Finish>
void map_all(const Function& f, const Broadcast& b, const float* p, const float* s, float* out,
             Finish&& finish) {
  constexpr std::int64_t kPiece = 4096;
  const bool is_one_run =
      b.primary[3] == 1 && b.secondary[3] == 1 && b.rows_are_runs() && b.primary == b.secondary;
  if (is_one_run) {  // both of the result's size
    parallel_for(b.rows() * b.row_size(), grain_for(12), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t at = begin; at < end; at += kPiece) {
        const std::int64_t count = std::min(kPiece, end - at);
        map_both(f, p + at, s + at, out + at, count);
        finish(out + at, count);
      }
    });
    return;
  }
  parallel_for(b.rows(), grain_for(b.row_size() * 12), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      map_row(f, b, b.primary_row(p, row), b.secondary_row(s, row), out + row * b.row_size());
      finish(out + row * b.row_size(), b.row_size());
    }
  });
}

Fit fits_binary(const KernelQuery& query, std::size_t first, const TensorDesc& full) {
  const Fit plain = all_plain_float32(query);
  if (!plain.yes) return plain;
  for (std::size_t i = first; i < query.inputs.size(); ++i) {
    const Fit fit = fits_broadcast(query.inputs[i], full);
    if (!fit.yes) return fit;
  }
  return {};
}

template <class Function>
std::shared_ptr<Kernel> make_map(const KernelQuery& query, const Function& f) {
  const Broadcast broadcast(query.inputs[0], query.inputs[1], query.outputs[0]);
  return make_kernel([f, broadcast](const KernelArgs& args) {
    map_all(f, broadcast, args.input<float>(0), args.input<float>(1), args.output<float>(0),
            [](float*, std::int64_t) {});
  });
}

template <class Function>
std::shared_ptr<Kernel> make_clamped_map(const KernelQuery& query, const Function& f) {
  const Broadcast broadcast(query.inputs[0], query.inputs[1], query.outputs[0]);
  return make_kernel([f, broadcast, clamp = Clamp(query.attributes)](const KernelArgs& args) {
    map_all(f, broadcast, args.input<float>(0), args.input<float>(1), args.output<float>(0),
            [&clamp](float* out, std::int64_t count) { clamp.apply(out, count); });
  });
}

/// The gradient times (or over) one operand, for a result that may be smaller than both.
template <class Function>
std::shared_ptr<Kernel> make_gradient(const KernelQuery& query, const Function& f,
                                      std::size_t operand) {
  const TensorDesc &gradient = query.inputs[0], &result = query.outputs[0];
  const Broadcast b(gradient, query.inputs[operand], gradient);
  if (gradient.dims == result.dims) {
    return make_kernel([f, b, operand](const KernelArgs& args) {
      map_all(f, b, args.input<float>(0), args.input<float>(operand), args.output<float>(0),
              [](float*, std::int64_t) {});
    });
  }
  const ReducedSum sum(gradient, result, 1.0, /*computes_rows=*/true);
  return make_kernel(
      [f, b, operand, sum](const KernelArgs& args) {
        const auto row_of = [&](std::int64_t row, float* work) {
          map_row(f, b, b.primary_row(args.input<float>(0), row),
                  b.secondary_row(args.input<float>(operand), row), work);
          return work;
        };
        sum.run(row_of, args.output<float>(0), args.scratch);
      },
      sum.scratch_bytes());
}

/// -gradient * primary / secondary^2: the product in a row of work, then the quotients over it.
std::shared_ptr<Kernel> make_denominator_gradient(const KernelQuery& query, float scale) {
  const TensorDesc &gradient = query.inputs[0], &result = query.outputs[0];
  const Broadcast product(gradient, query.inputs[1], gradient),
      quotient(gradient, query.inputs[2], gradient);
  const auto fill_row = [product, quotient, scale](const KernelArgs& args, std::int64_t row,
                                                   float* out) {
    map_row(Multiply{1.0F, 0.0F}, product, product.primary_row(args.input<float>(0), row),
            product.secondary_row(args.input<float>(1), row), out);
    map_row(DivideTwice{-scale}, quotient, out, quotient.secondary_row(args.input<float>(2), row),
            out);
  };
  if (gradient.dims == result.dims) {
    return make_kernel([fill_row, product](const KernelArgs& args) {
      parallel_for(product.rows(), grain_for(product.row_size() * 16),
                   [&](std::int64_t begin, std::int64_t end) {
                     for (std::int64_t row = begin; row < end; ++row)
                       fill_row(args, row, args.output<float>(0) + row * product.row_size());
                   });
    });
  }
  const ReducedSum sum(gradient, result, 1.0, /*computes_rows=*/true);
  return make_kernel(
      [fill_row, sum](const KernelArgs& args) {
        const auto row_of = [&](std::int64_t row, float* work) {
          fill_row(args, row, work);
          return work;
        };
        sum.run(row_of, args.output<float>(0), args.scratch);
      },
      sum.scratch_bytes());
}

}  // namespace

Fit fits_multiplication_plain(const KernelQuery& query) {
  return fits_binary(query, 0, query.outputs[0]);
}

std::shared_ptr<Kernel> prepare_multiplication_plain(const KernelQuery& query) {
  const AttributeMap& a = query.attributes;
  return make_clamped_map(query, Multiply{number(a, "primary_scale") * number(a, "secondary_scale"),
                                          number(a, "bias")});
}

Fit fits_multiplication_gradient_plain(const KernelQuery& query) {
  const Fit fit = fits_binary(query, 1, query.inputs[0]);
  return fit.yes ? fits_broadcast(query.outputs[0], query.inputs[0]) : fit;
}

std::shared_ptr<Kernel> prepare_multiplication_gradient_plain(const KernelQuery& query) {
  return make_gradient(query, Multiply{number(query.attributes, "scale"), 0.0F}, 1);
}

Fit fits_division_plain(const KernelQuery& query) {
  return fits_binary(query, 0, query.outputs[0]);
}

std::shared_ptr<Kernel> prepare_division_plain(const KernelQuery& query) {
  const AttributeMap& a = query.attributes;
  return make_clamped_map(
      query, Divide{number(a, "primary_scale"), number(a, "secondary_scale"), number(a, "bias")});
}

Fit fits_division_gradient_plain(const KernelQuery& query) {
  const Fit fit = fits_binary(query, 1, query.inputs[0]);
  return fit.yes ? fits_broadcast(query.outputs[0], query.inputs[0]) : fit;
}

std::shared_ptr<Kernel> prepare_division_gradient_plain(const KernelQuery& query) {
  const float scale = number(query.attributes, "scale");
  if (get_bool(query.attributes, "is_secondary")) return make_denominator_gradient(query, scale);
  return make_gradient(query, Divide{scale, 1.0F, 0.0F}, 2);
}

Fit fits_comparison_plain(const KernelQuery& query) {
  const Fit plain = all_plain_float32(query);
  if (!plain.yes) return plain;
  const auto type = get_int(query.attributes, "comparison_type");
  if (type < 0 || type > static_cast<std::int64_t>(ComparisonType::GREATER_OR_EQUAL))
    return Fit::no(str("comparison_type: expected 0 to 5, got ", type));
  return fits_binary(query, 0, query.outputs[0]);
}

std::shared_ptr<Kernel> prepare_comparison_plain(const KernelQuery& query) {
  const Equal equal{number(query.attributes, "threshold")};
  switch (static_cast<ComparisonType>(get_int(query.attributes, "comparison_type"))) {
    case ComparisonType::EQUAL:
      return make_map(query, equal);
    case ComparisonType::NOT_EQUAL:
      return make_map(query, NotEqual{equal});
    case ComparisonType::LESS:
      return make_map(query, Less{});
    case ComparisonType::LESS_OR_EQUAL:
      return make_map(query, LessOrEqual{});
    case ComparisonType::GREATER:
      return make_map(query, Greater{});
    case ComparisonType::GREATER_OR_EQUAL:
      return make_map(query, GreaterOrEqual{});
  }
  throw InternalError("comparison type out of range");
}

}  // namespace mpsnn::backend::cpu
