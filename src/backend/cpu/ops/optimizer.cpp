// SPDX-License-Identifier: MIT
// optimizer_stochastic_gradient_descent, optimizer_adam, optimizer_rms_prop. The parameter's
// version counts updates; copies of it in other layouts are known to be stale by it.
#include <cmath>

#include "backend/cpu/ops/kernel_tools.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/simd.h"
#include "base/attributes.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

// RegularizationType, as the optimizers' attributes hold it; its header is above this layer.
constexpr std::int64_t kL1 = 1, kL2 = 2;

/// How a gradient is treated before it is used: clipped, rescaled, regularised, in this order.
struct Treatment {
  bool clips;
  float minimum, maximum, rescale;
  float l1 = 0, l2 = 0;

  explicit Treatment(const AttributeMap& attributes)
      : clips(get_bool(attributes, "apply_gradient_clipping")),
        minimum(static_cast<float>(get_float(attributes, "gradient_clip_min"))),
        maximum(static_cast<float>(get_float(attributes, "gradient_clip_max"))),
        rescale(static_cast<float>(get_float(attributes, "gradient_rescale"))) {
    const std::int64_t type = get_int(attributes, "regularization_type");
    const auto scale = static_cast<float>(get_float(attributes, "regularization_scale"));
    if (type == kL1) l1 = scale;
    if (type == kL2) l2 = scale;
  }
};

MPSNN_SIMD void treat(const Treatment& t, const float* gradient, const float* value, float* out,
                      std::int64_t count) {
  if (t.clips) {
    MPSNN_IVDEP
    for (std::int64_t i = 0; i < count; ++i) {
      const float low = gradient[i] < t.minimum ? t.minimum : gradient[i];
      out[i] = (low > t.maximum ? t.maximum : low) * t.rescale;
    }
  } else {
    MPSNN_IVDEP
    for (std::int64_t i = 0; i < count; ++i) out[i] = gradient[i] * t.rescale;
  }
  if (t.l1 != 0) {
    MPSNN_IVDEP
    for (std::int64_t i = 0; i < count; ++i) {
      const float negative = value[i] < 0 ? -t.l1 : 0;
      out[i] += value[i] > 0 ? t.l1 : negative;
    }
  }
  if (t.l2 != 0) {
    MPSNN_IVDEP
    for (std::int64_t i = 0; i < count; ++i) out[i] += t.l2 * value[i];
  }
}

// Gradients are treated in pieces that stay in the first-level cache.
constexpr std::int64_t kPiece = 1024;

/// Calls fn(first element, elements, treated gradient) for all pieces, on all threads.
template <class Fn>
void for_each_piece(const Treatment& treatment, const KernelArgs& args, std::int64_t count,
                    Fn&& fn) {
  parallel_for((count + kPiece - 1) / kPiece, grain_for(kPiece * 20),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t piece = begin; piece < end; ++piece) {
                   float gradient[kPiece];
                   const std::int64_t at = piece * kPiece, elements = std::min(kPiece, count - at);
                   treat(treatment, args.input<float>(1) + at, args.input<float>(0) + at, gradient,
                         elements);
                   fn(at, elements, gradient);
                 }
               });
}

MPSNN_SIMD void descend(const float* g, float rate, const float* value, float* new_value,
                        std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) new_value[i] = value[i] - rate * g[i];
}

struct Momentum {
  float scale;
  bool nesterov;
};

MPSNN_SIMD void descend_with_momentum(const Momentum& m, const float* g, float rate,
                                      const float* value, float* new_value, const float* momentum,
                                      float* new_momentum, std::int64_t count) {
  if (m.nesterov) {
    MPSNN_IVDEP
    for (std::int64_t i = 0; i < count; ++i) {
      const float moved = m.scale * momentum[i] + g[i];
      new_momentum[i] = moved;
      new_value[i] = value[i] - rate * (g[i] + m.scale * moved);
    }
  } else {
    MPSNN_IVDEP
    for (std::int64_t i = 0; i < count; ++i) {
      const float moved = m.scale * momentum[i] + rate * g[i];
      new_momentum[i] = moved;
      new_value[i] = value[i] - moved;
    }
  }
}

struct Adam {
  double beta1, beta2;
  float epsilon;
  /// Learning rate with both moments' bias taken out, for the update that makes the step `t`.
  float rate(double learning_rate, std::int64_t t) const {
    const auto steps = static_cast<double>(t);
    return static_cast<float>(learning_rate * std::sqrt(1 - std::pow(beta2, steps)) /
                              (1 - std::pow(beta1, steps)));
  }
};

/// The arrays of one update, from the piece's first element on.
struct AdamArrays {
  const float *value, *momentum, *velocity;
  float *new_value, *new_momentum, *new_velocity;
};

MPSNN_SIMD void adam(const Adam& a, const float* g, float rate, const AdamArrays& arrays,
                     std::int64_t count) {
  const auto beta1 = static_cast<float>(a.beta1), beta2 = static_cast<float>(a.beta2);
  const auto rest1 = static_cast<float>(1 - a.beta1), rest2 = static_cast<float>(1 - a.beta2);
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) {
    const float momentum = beta1 * arrays.momentum[i] + rest1 * g[i];
    const float velocity = beta2 * arrays.velocity[i] + rest2 * (g[i] * g[i]);
    arrays.new_momentum[i] = momentum;
    arrays.new_velocity[i] = velocity;
    arrays.new_value[i] = arrays.value[i] - rate * momentum / (std::sqrt(velocity) + a.epsilon);
  }
}

/// The same, dividing by the root of the largest velocity so far.
MPSNN_SIMD void amsgrad(const Adam& a, const float* g, float rate, const AdamArrays& arrays,
                        const float* most, float* new_most, std::int64_t count) {
  const auto beta1 = static_cast<float>(a.beta1), beta2 = static_cast<float>(a.beta2);
  const auto rest1 = static_cast<float>(1 - a.beta1), rest2 = static_cast<float>(1 - a.beta2);
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) {
    const float momentum = beta1 * arrays.momentum[i] + rest1 * g[i];
    const float velocity = beta2 * arrays.velocity[i] + rest2 * (g[i] * g[i]);
    const float largest = most[i] > velocity ? most[i] : velocity;
    arrays.new_momentum[i] = momentum;
    arrays.new_velocity[i] = velocity;
    new_most[i] = largest;
    arrays.new_value[i] = arrays.value[i] - rate * momentum / (std::sqrt(largest) + a.epsilon);
  }
}

struct RmsProp {
  float decay, rest, epsilon, rate;
};

MPSNN_SIMD void rms_prop(const RmsProp& r, const float* g, const float* value, float* new_value,
                         const float* squares, float* new_squares, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) {
    const float average = r.decay * squares[i] + r.rest * (g[i] * g[i]);
    new_squares[i] = average;
    new_value[i] = value[i] - r.rate * g[i] / (std::sqrt(average) + r.epsilon);
  }
}

Fit fits_update(const KernelQuery& query, std::span<const std::size_t> arrays) {
  for (const std::size_t i : arrays) {
    if (!has_input(query, i)) continue;
    const TensorDesc& operand = query.inputs[i];
    if (operand.type != DataType::FLOAT32 || operand.layout) {
      return Fit::no(str("input ", i, ": expected plain float32, got ", to_string(operand)));
    }
    check_internal(operand.count() == query.inputs[0].count(),
                   "an optimizer's arrays have the parameter's size");
  }
  return {};
}

}  // namespace

// value, gradient, version, momentum? -> value, version, momentum?
Fit fits_optimizer_stochastic_gradient_descent_plain(const KernelQuery& query) {
  constexpr std::size_t kArrays[] = {0, 1, 3};
  return fits_update(query, kArrays);
}

std::shared_ptr<Kernel> prepare_optimizer_stochastic_gradient_descent_plain(
    const KernelQuery& query) {
  const Treatment treatment(query.attributes);
  const Momentum momentum = {static_cast<float>(get_float(query.attributes, "momentum_scale")),
                             get_bool(query.attributes, "use_nesterov_momentum")};
  const bool keeps_momentum = has_input(query, 3);
  return make_kernel([=, count = query.inputs[0].count()](const KernelArgs& args) {
    const auto rate = static_cast<float>(args.scalars[0]);
    for_each_piece(
        treatment, args, count, [&](std::int64_t at, std::int64_t elements, const float* gradient) {
          const float* value = args.input<float>(0) + at;
          float* new_value = args.output<float>(0) + at;
          if (keeps_momentum) {
            descend_with_momentum(momentum, gradient, rate, value, new_value,
                                  args.input<float>(3) + at, args.output<float>(2) + at, elements);
          } else {
            descend(gradient, rate, value, new_value, elements);
          }
        });
    *args.output<std::int64_t>(1) = *args.input<std::int64_t>(2) + 1;
  });
}

// value, gradient, version, time step, momentum, velocity, maximum velocity? -> value, version,
// time step, momentum, velocity, maximum velocity?
Fit fits_optimizer_adam_plain(const KernelQuery& query) {
  constexpr std::size_t kArrays[] = {0, 1, 4, 5, 6};
  return fits_update(query, kArrays);
}

std::shared_ptr<Kernel> prepare_optimizer_adam_plain(const KernelQuery& query) {
  const Treatment treatment(query.attributes);
  const Adam rule = {get_float(query.attributes, "beta1"), get_float(query.attributes, "beta2"),
                     static_cast<float>(get_float(query.attributes, "epsilon"))};
  const bool keeps_most = has_input(query, 6);
  return make_kernel([=, count = query.inputs[0].count()](const KernelArgs& args) {
    const std::int64_t step = *args.input<std::int64_t>(3) + 1;
    const float rate = rule.rate(args.scalars[0], step);
    for_each_piece(
        treatment, args, count, [&](std::int64_t at, std::int64_t elements, const float* gradient) {
          const AdamArrays arrays = {args.input<float>(0) + at,  args.input<float>(4) + at,
                                     args.input<float>(5) + at,  args.output<float>(0) + at,
                                     args.output<float>(3) + at, args.output<float>(4) + at};
          if (keeps_most) {
            amsgrad(rule, gradient, rate, arrays, args.input<float>(6) + at,
                    args.output<float>(5) + at, elements);
          } else {
            adam(rule, gradient, rate, arrays, elements);
          }
        });
    *args.output<std::int64_t>(1) = *args.input<std::int64_t>(2) + 1;
    *args.output<std::int64_t>(2) = step;
  });
}

// value, gradient, version, sum of squares -> value, version, sum of squares
Fit fits_optimizer_rms_prop_plain(const KernelQuery& query) {
  constexpr std::size_t kArrays[] = {0, 1, 3};
  return fits_update(query, kArrays);
}

std::shared_ptr<Kernel> prepare_optimizer_rms_prop_plain(const KernelQuery& query) {
  const Treatment treatment(query.attributes);
  const double decay = get_float(query.attributes, "decay");
  const auto epsilon = static_cast<float>(get_float(query.attributes, "epsilon"));
  return make_kernel([=, count = query.inputs[0].count()](const KernelArgs& args) {
    const RmsProp rule = {static_cast<float>(decay), static_cast<float>(1 - decay), epsilon,
                          static_cast<float>(args.scalars[0])};
    for_each_piece(treatment, args, count,
                   [&](std::int64_t at, std::int64_t elements, const float* gradient) {
                     rms_prop(rule, gradient, args.input<float>(0) + at, args.output<float>(0) + at,
                              args.input<float>(3) + at, args.output<float>(2) + at, elements);
                   });
    *args.output<std::int64_t>(1) = *args.input<std::int64_t>(2) + 1;
  });
}

}  // namespace mpsnn::backend::cpu
