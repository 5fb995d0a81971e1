// SPDX-License-Identifier: MIT
// loss, loss_gradient: mean absolute and mean squared error. Gradients ignore the reduction.
#include <algorithm>

#include "backend/cpu/ops/kernel_tools.h"
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

struct Loss {
  bool squared;
  ReductionType reduction;
  float weight;
  bool across_batch, weighted;
  std::int64_t images, image_size;

  explicit Loss(const KernelQuery& query, std::size_t predictions)
      : squared(static_cast<LossType>(get_int(query.attributes, "loss_type")) ==
                LossType::MEAN_SQUARED_ERROR),
        reduction(static_cast<ReductionType>(get_int(query.attributes, "reduction_type"))),
        weight(static_cast<float>(get_float(query.attributes, "weight"))),
        across_batch(get_bool(query.attributes, "reduce_across_batch")),
        weighted(has_input(query, predictions + 2)) {
    const ImageSize size = query.inputs[predictions].image();
    images = size.n;
    image_size = size.height * size.width * size.channels;
  }
  std::int64_t pieces() const noexcept { return (image_size + kPiece - 1) / kPiece; }
};

/// The same elements of predictions, labels and, where there are some, weights.
struct Elements {
  const float* predictions;
  const float* labels;
  const float* weights;  // may be null

  Elements(const Loss& loss, const KernelArgs& args, std::size_t first, std::int64_t at)
      : predictions(args.input<float>(first) + at),
        labels(args.input<float>(first + 1) + at),
        weights(loss.weighted ? args.input<float>(first + 2) + at : nullptr) {}
};

MPSNN_SIMD void multiply(const float* a, const float* b, float* out, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) out[i] = a[i] * b[i];
}

MPSNN_SIMD void losses(bool squared, const Elements& e, float weight, float* out,
                       std::int64_t count) {
  if (squared) {
    MPSNN_IVDEP
    for (std::int64_t i = 0; i < count; ++i) {
      const float d = e.predictions[i] - e.labels[i];
      out[i] = d * d * weight;
    }
  } else {
    MPSNN_IVDEP
    for (std::int64_t i = 0; i < count; ++i) {
      const float d = e.predictions[i] - e.labels[i];
      out[i] = (d < 0 ? -d : d) * weight;
    }
  }
  if (e.weights != nullptr) multiply(out, e.weights, out, count);
}

/// Derivatives with respect to the predictions, times `factor`.
MPSNN_SIMD void derivatives(bool squared, const Elements& e, float factor, float* out,
                            std::int64_t count) {
  if (squared) {
    MPSNN_IVDEP
    for (std::int64_t i = 0; i < count; ++i) out[i] = 2 * (e.predictions[i] - e.labels[i]) * factor;
  } else {
    MPSNN_IVDEP
    for (std::int64_t i = 0; i < count; ++i) {
      const float d = e.predictions[i] - e.labels[i];
      const float not_above = d < 0 ? -factor : d - d;  // 0 at equality, NaN for NaN
      out[i] = d > 0 ? factor : not_above;
    }
  }
  if (e.weights != nullptr) multiply(out, e.weights, out, count);
}

/// Calls fn(image, piece, first element, elements) for all pieces of all images, on all threads.
template <class Fn>
void for_each_piece(const Loss& loss, Fn&& fn) {
  const std::int64_t pieces = loss.pieces();
  parallel_for(loss.images * pieces, grain_for(kPiece * 8),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t i = begin; i < end; ++i) {
                   const std::int64_t image = i / pieces, within = i % pieces * kPiece;
                   fn(image, i, image * loss.image_size + within,
                      std::min(kPiece, loss.image_size - within));
                 }
               });
}

void run_unreduced(const Loss& loss, const KernelArgs& args) {
  for_each_piece(loss, [&](std::int64_t, std::int64_t, std::int64_t at, std::int64_t count) {
    losses(loss.squared, Elements(loss, args, 0, at), loss.weight, args.output<float>(0) + at,
           count);
  });
}

void run_reduced(const Loss& loss, const KernelArgs& args) {
  double* const sums = static_cast<double*>(args.scratch);
  for_each_piece(loss, [&](std::int64_t, std::int64_t piece, std::int64_t at, std::int64_t count) {
    float values[kPiece];
    losses(loss.squared, Elements(loss, args, 0, at), loss.weight, values, count);
    sums[piece] = sum_of(values, count);
  });
  const bool mean = loss.reduction == ReductionType::MEAN;
  const std::int64_t summed = loss.image_size * (loss.across_batch ? loss.images : 1);
  const double scale = mean ? 1.0 / static_cast<double>(summed) : 1.0;
  double total = 0;
  for (std::int64_t image = 0; image < loss.images; ++image) {
    if (!loss.across_batch) total = 0;
    for (std::int64_t i = 0; i < loss.pieces(); ++i) total += sums[image * loss.pieces() + i];
    args.output<float>(0)[image] = loss.across_batch ? 0.0F : static_cast<float>(total * scale);
  }
  if (loss.across_batch) args.output<float>(0)[0] = static_cast<float>(total * scale);
}

/// gradient, predictions, labels, weights?: the incoming gradient is of each element or one an
/// image.
void run_gradient(const Loss& loss, float sign, bool gradient_a_element, const KernelArgs& args) {
  const float* const gradient = args.input<float>(0);
  for_each_piece(loss, [&](std::int64_t image, std::int64_t, std::int64_t at, std::int64_t count) {
    float values[kPiece];
    const float factor = sign * loss.weight * (gradient_a_element ? 1.0F : gradient[image]);
    derivatives(loss.squared, Elements(loss, args, 1, at), factor, values, count);
    float* const out = args.output<float>(0) + at;
    if (gradient_a_element) {
      multiply(values, gradient + at, out, count);
    } else {
      std::copy_n(values, count, out);
    }
  });
}

Fit fits_loss_case(const KernelQuery& query, std::size_t predictions) {
  const Fit plain = all_plain_float32(query);
  if (!plain.yes) return plain;
  const auto type = static_cast<LossType>(get_int(query.attributes, "loss_type"));
  if (type != LossType::MEAN_ABSOLUTE_ERROR && type != LossType::MEAN_SQUARED_ERROR) {
    return Fit::no(str("loss_type: expected MEAN_ABSOLUTE_ERROR or MEAN_SQUARED_ERROR, got type ",
                       static_cast<int>(type)));
  }
  for (std::size_t i = predictions + 1; i < query.inputs.size(); ++i) {
    if (!query.inputs[i].dims.empty() && query.inputs[i].dims != query.inputs[predictions].dims) {
      return Fit::no(
          str("input ", i, ": expected the predictions' size, got ", to_string(query.inputs[i])));
    }
  }
  return {};
}

}  // namespace

Fit fits_loss_plain(const KernelQuery& query) {
  const Fit fit = fits_loss_case(query, 0);
  if (!fit.yes) return fit;
  const auto reduction = static_cast<ReductionType>(get_int(query.attributes, "reduction_type"));
  if (reduction == ReductionType::NONE || reduction == ReductionType::SUM ||
      reduction == ReductionType::MEAN)
    return {};
  return Fit::no(
      str("reduction_type: expected NONE, SUM or MEAN, got type ", static_cast<int>(reduction)));
}

std::shared_ptr<Kernel> prepare_loss_plain(const KernelQuery& query) {
  const Loss loss(query, 0);
  if (loss.reduction == ReductionType::NONE) {
    check_internal(query.outputs[0].dims == query.inputs[0].dims,
                   "a loss that is not reduced has the predictions' size");
    return make_kernel([loss](const KernelArgs& args) { run_unreduced(loss, args); });
  }
  check_internal(query.outputs[0].count() == loss.images, "a reduced loss has one value an image");
  return make_kernel([loss](const KernelArgs& args) { run_reduced(loss, args); },
                     static_cast<std::size_t>(loss.images * loss.pieces()) * sizeof(double));
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
  const float sign = get_bool(query.attributes, "is_labels_gradient") ? -1.0F : 1.0F;
  return make_kernel([loss, an_element, sign](const KernelArgs& args) {
    run_gradient(loss, sign, an_element, args);
  });
}

}  // namespace mpsnn::backend::cpu
