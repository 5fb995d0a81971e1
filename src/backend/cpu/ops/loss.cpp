// SPDX-License-Identifier: MIT
// loss, loss_gradient. Gradients ignore the reduction.
#include <algorithm>

#include "backend/cpu/ops/kernel_tools.h"
#include "backend/cpu/ops/loss_terms.h"
#include "backend/cpu/ops/reduction.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/simd.h"
#include "base/attributes.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

// Elements that a thread computes at once; they stay in the first-level cache.
constexpr std::int64_t kPiece = 1024;

LossFormula read_formula(const AttributeMap& attributes) {
  LossFormula formula;
  formula.type = static_cast<LossType>(get_int(attributes, "loss_type"));
  formula.weight = static_cast<float>(get_float(attributes, "weight"));
  formula.epsilon = static_cast<float>(get_float(attributes, "epsilon"));
  formula.delta = static_cast<float>(get_float(attributes, "delta"));
  const double smoothing = get_float(attributes, "label_smoothing");
  const bool is_sigmoid = formula.type == LossType::SIGMOID_CROSS_ENTROPY;
  if (formula.is_softmax() || is_sigmoid) {
    const auto classes =
        is_sigmoid ? 2.0 : static_cast<double>(get_int(attributes, "number_of_classes"));
    formula.keep = static_cast<float>(1 - smoothing);
    formula.share = static_cast<float>(smoothing / classes);
  }
  return formula;
}

struct Loss {
  LossFormula formula;
  ReductionType reduction;
  bool across_batch, weighted;
  std::int64_t images, image_size, channels;

  explicit Loss(const KernelQuery& query, std::size_t predictions)
      : formula(read_formula(query.attributes)),
        reduction(static_cast<ReductionType>(get_int(query.attributes, "reduction_type"))),
        across_batch(get_bool(query.attributes, "reduce_across_batch")),
        weighted(has_input(query, predictions + 2)) {
    const ImageSize size = query.inputs[predictions].image();
    images = size.n;
    image_size = size.height * size.width * size.channels;
    channels = size.channels;
  }
  /// Elements of a piece: whole pixels for a softmax, which may be long.
  std::int64_t piece() const noexcept {
    return formula.is_softmax() ? std::max<std::int64_t>(kPiece / channels, 1) * channels : kPiece;
  }
  std::int64_t pieces() const noexcept { return (image_size + piece() - 1) / piece(); }
  /// Values that a mean is taken of, for one value that is summed: pixels of a softmax.
  std::int64_t values_a_count() const noexcept { return formula.is_softmax() ? channels : 1; }
};

/// Operands of a run: predictions, labels and weights begin at input `first`.
struct Operands {
  const float *predictions, *labels, *weights;

  Operands(const Loss& loss, const KernelArgs& args, std::size_t first)
      : predictions(args.input<float>(first)),
        labels(args.input<float>(first + 1)),
        weights(loss.weighted ? args.input<float>(first + 2) : nullptr) {}
};

/// Calls fn(image, piece, first element, elements) for all pieces of all images, on all threads.
template <class Fn>
void for_each_piece(const Loss& loss, Fn&& fn) {
  const std::int64_t pieces = loss.pieces(), piece = loss.piece();
  parallel_for(
      loss.images * pieces, grain_for(piece * 8), [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t image = i / pieces, within = i % pieces * piece;
          fn(image, i, image * loss.image_size + within, std::min(piece, loss.image_size - within));
        }
      });
}

/// Calls fn(first element, elements, at most kPiece of them) for the parts of a piece, their
/// predictions ready for the formula.
template <class Fn>
void for_each_part(const Loss& loss, const Operands& operands, std::int64_t at, std::int64_t count,
                   Fn&& fn) {
  const auto elements = [&](const float* predictions, std::int64_t from) {
    return LossElements{predictions, operands.labels + from,
                        operands.weights != nullptr ? operands.weights + from : nullptr};
  };
  if (!loss.formula.is_softmax()) return fn(at, count, elements(operands.predictions + at, at));
  float logarithms[kPiece], rest[kPiece];
  const std::int64_t pixels = count / loss.channels;
  log_sums(operands.predictions + at, pixels, loss.channels, rest);
  // Many short pixels at once, or parts of one long pixel.
  const std::int64_t row = pixels == 1 ? std::min(kPiece, loss.channels) : loss.channels;
  const std::int64_t step = pixels == 1 ? row : count;
  for (std::int64_t from = at; from < at + count; from += step) {
    const std::int64_t part = std::min(step, at + count - from);
    subtract_rest(operands.predictions + from, pixels, pixels == 1 ? part : row, rest, logarithms);
    fn(from, part, elements(logarithms, from));
  }
}

void run_unreduced(const Loss& loss, const KernelArgs& args) {
  const Operands operands(loss, args, 0);
  for_each_piece(loss, [&](std::int64_t, std::int64_t, std::int64_t at, std::int64_t count) {
    for_each_part(loss, operands, at, count,
                  [&](std::int64_t from, std::int64_t part, const LossElements& e) {
                    loss_values(loss.formula, e, args.output<float>(0) + from, part);
                  });
  });
}

/// What the sum of an image's losses is divided by, the number of values with a weight in `counts`.
double divisor(const Loss& loss, double counts) {
  const auto values_a_count = static_cast<double>(loss.values_a_count());
  switch (loss.reduction) {
    case ReductionType::MEAN:
      return static_cast<double>(loss.image_size * (loss.across_batch ? loss.images : 1)) /
             values_a_count;
    case ReductionType::SUM_BY_NON_ZERO_WEIGHTS:
      return counts == 0 ? 1.0 : counts / values_a_count;  // nothing counts: the sum is 0
    default:
      return 1.0;
  }
}

void run_reduced(const Loss& loss, const KernelArgs& args) {
  const Operands operands(loss, args, 0);
  double* const sums = static_cast<double*>(args.scratch);
  double* const counts = sums + loss.images * loss.pieces();
  for_each_piece(loss, [&](std::int64_t, std::int64_t piece, std::int64_t at, std::int64_t count) {
    sums[piece] = counts[piece] = 0;
    for_each_part(
        loss, operands, at, count, [&](std::int64_t, std::int64_t part, const LossElements& e) {
          float values[kPiece];
          loss_values(loss.formula, e, values, part);
          sums[piece] += sum_of(values, part);
          counts[piece] +=
              static_cast<double>(e.weights != nullptr ? count_non_zero(e.weights, part) : part);
        });
  });
  const bool is_cosine = loss.formula.type == LossType::COSINE_DISTANCE;
  double total = 0, counted = 0;
  for (std::int64_t image = 0; image < loss.images; ++image) {
    if (!loss.across_batch) total = counted = 0;
    if (is_cosine) total += static_cast<double>(loss.formula.weight);
    for (std::int64_t i = image * loss.pieces(); i < (image + 1) * loss.pieces(); ++i) {
      total += sums[i];
      counted += counts[i];
    }
    args.output<float>(0)[image] =
        loss.across_batch ? 0.0F : static_cast<float>(total / divisor(loss, counted));
  }
  if (loss.across_batch)
    args.output<float>(0)[0] = static_cast<float>(total / divisor(loss, counted));
}

MPSNN_SIMD void multiply(const float* a, const float* b, float* out, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) out[i] = a[i] * b[i];
}

/// The derivatives that the attributes ask for.
auto read_slopes(const AttributeMap& attributes) {
  if (get_bool(attributes, "is_weights_gradient")) return loss_weight_slopes;
  return get_bool(attributes, "is_labels_gradient") ? loss_label_slopes : loss_slopes;
}

/// gradient, predictions, labels, weights?: the incoming gradient is of each element or one an
/// image.
template <class Slopes>
void run_gradient(const Loss& loss, Slopes slopes, bool gradient_an_element,
                  const KernelArgs& args) {
  const float* const gradient = args.input<float>(0);
  const Operands operands(loss, args, 1);
  for_each_piece(loss, [&](std::int64_t image, std::int64_t, std::int64_t at, std::int64_t count) {
    for_each_part(loss, operands, at, count,
                  [&](std::int64_t from, std::int64_t part, const LossElements& e) {
                    float values[kPiece];
                    slopes(loss.formula, e, gradient_an_element ? 1.0F : gradient[image], values,
                           part);
                    float* const out = args.output<float>(0) + from;
                    if (gradient_an_element) {
                      multiply(values, gradient + from, out, part);
                    } else {
                      std::copy_n(values, part, out);
                    }
                  });
  });
}

Fit fits_loss_case(const KernelQuery& query, std::size_t predictions) {
  const Fit plain = all_plain_float32(query);
  if (!plain.yes) return plain;
  for (std::size_t i = predictions + 1; i < query.inputs.size(); ++i) {
    if (!query.inputs[i].dims.empty() && query.inputs[i].dims != query.inputs[predictions].dims) {
      return Fit::no(
          str("input ", i, ": expected the predictions' size, got ", to_string(query.inputs[i])));
    }
  }
  return {};
}

}  // namespace

Fit fits_loss_plain(const KernelQuery& query) { return fits_loss_case(query, 0); }

std::shared_ptr<Kernel> prepare_loss_plain(const KernelQuery& query) {
  const Loss loss(query, 0);
  if (loss.reduction == ReductionType::NONE) {
    check_internal(query.outputs[0].dims == query.inputs[0].dims,
                   "a loss that is not reduced has the predictions' size");
    return make_kernel([loss](const KernelArgs& args) { run_unreduced(loss, args); });
  }
  check_internal(query.outputs[0].count() == loss.images, "a reduced loss has one value an image");
  return make_kernel([loss](const KernelArgs& args) { run_reduced(loss, args); },
                     2 * static_cast<std::size_t>(loss.images * loss.pieces()) * sizeof(double));
}

Fit fits_loss_gradient_plain(const KernelQuery& query) {
  const Fit fit = fits_loss_case(query, 1);
  if (!fit.yes || query.inputs[0].dims == query.inputs[1].dims) return fit;
  const std::vector<std::int64_t> one_an_image = {query.inputs[1].dims[0], 1, 1, 1};
  if (query.inputs[0].dims == one_an_image) return {};
  return Fit::no(str("gradient: expected the predictions' size or one value an image, got ",
                     to_string(query.inputs[0])));
}

std::shared_ptr<Kernel> prepare_loss_gradient_plain(const KernelQuery& query) {
  const Loss loss(query, 1);
  const bool an_element = query.inputs[0].dims == query.inputs[1].dims;
  const auto slopes = read_slopes(query.attributes);
  return make_kernel([loss, an_element, slopes](const KernelArgs& args) {
    run_gradient(loss, slopes, an_element, args);
  });
}

}  // namespace mpsnn::backend::cpu
