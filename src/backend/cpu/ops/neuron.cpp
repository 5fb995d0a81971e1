// SPDX-License-Identifier: MIT
// neuron, neuron_gradient: the ReLU family here, the other functions in neuron_functions.cpp.
#include "backend/cpu/ops/neuron.h"

#include <algorithm>
#include <vector>

#include "backend/cpu/ops/kernel_tools.h"
#include "backend/cpu/ops/neuron_functions.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/simd.h"
#include "base/attributes.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

// A slope of zero is a constant here, not a product: 0 * -infinity would be NaN.
MPSNN_SIMD void relu_zero(const float* x, float* y, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) y[i] = x[i] < 0 ? 0 : x[i];
}

MPSNN_SIMD void relu(const float* x, float* y, std::int64_t count, float a) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) y[i] = x[i] < 0 ? a * x[i] : x[i];
}

MPSNN_SIMD void relun_zero(const float* x, float* y, std::int64_t count, float b) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) {
    const float unclamped = x[i] < 0 ? 0 : x[i];
    y[i] = unclamped > b ? b : unclamped;
  }
}

MPSNN_SIMD void relun(const float* x, float* y, std::int64_t count, float a, float b) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) {
    const float unclamped = x[i] < 0 ? a * x[i] : x[i];
    y[i] = unclamped > b ? b : unclamped;
  }
}

MPSNN_SIMD void prelu(const float* x, float* y, std::int64_t pixels, std::int64_t channels,
                      const float* a) {
  for (std::int64_t p = 0; p < pixels; ++p, x += channels, y += channels) {
    MPSNN_IVDEP
    for (std::int64_t c = 0; c < channels; ++c) y[c] = x[c] < 0 ? a[c] * x[c] : x[c];
  }
}

MPSNN_SIMD void add_bias(const float* bias, float* row, std::int64_t pixels,
                         std::int64_t channels) {
  for (std::int64_t p = 0; p < pixels; ++p, row += channels) {
    MPSNN_IVDEP
    for (std::int64_t c = 0; c < channels; ++c) row[c] += bias[c];
  }
}

// x: the neuron's source or its result; both are positive together for a >= 0.
MPSNN_SIMD void relu_zero_gradient(const float* g, const float* x, float* out, std::int64_t count) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) out[i] = x[i] > 0 ? g[i] : 0;
}

MPSNN_SIMD void relu_gradient(const float* g, const float* x, float* out, std::int64_t count,
                              float a) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) out[i] = x[i] > 0 ? g[i] : a * g[i];
}

// slope: a where x is the source, 1 where it is the result, which was scaled already.
MPSNN_SIMD void relun_gradient(const float* g, const float* x, float* out, std::int64_t count,
                               float a, float b, float slope) {
  MPSNN_IVDEP
  for (std::int64_t i = 0; i < count; ++i) {
    const float unclamped = x[i] < 0 ? slope * x[i] : x[i];
    const float inside = x[i] > 0 ? g[i] : a * g[i];
    out[i] = unclamped >= b ? 0 : inside;
  }
}

MPSNN_SIMD void prelu_gradient(const float* g, const float* x, float* out, std::int64_t pixels,
                               std::int64_t channels, const float* a) {
  for (std::int64_t p = 0; p < pixels; ++p, g += channels, x += channels, out += channels) {
    MPSNN_IVDEP
    for (std::int64_t c = 0; c < channels; ++c) out[c] = x[c] > 0 ? g[c] : a[c] * g[c];
  }
}

bool is_relu(NeuronType type) { return type == NeuronType::RELU || type == NeuronType::RELUN; }

bool is_known(NeuronType type) { return type > NeuronType::NONE && type <= NeuronType::GELU; }

void apply_neuron_gradient(const Neuron& neuron, bool from_result, const float* g, const float* x,
                           float* out, std::int64_t count) {
  if (!is_relu(neuron.type)) {
    from_result ? apply_derivative_of_result(neuron, g, x, out, count)
                : apply_derivative(neuron, g, x, out, count);
  } else if (neuron.type == NeuronType::RELUN) {
    relun_gradient(g, x, out, count, neuron.a, neuron.b, from_result ? 1.0F : neuron.a);
  } else if (neuron.a == 0) {
    relu_zero_gradient(g, x, out, count);
  } else {
    relu_gradient(g, x, out, count, neuron.a);
  }
}

Neuron read_neuron(const AttributeMap& attributes) {
  return {.type = static_cast<NeuronType>(get_int(attributes, "neuron_type")),
          .a = static_cast<float>(get_float(attributes, "neuron_a")),
          .b = static_cast<float>(get_float(attributes, "neuron_b")),
          .c = static_cast<float>(get_float(attributes, "neuron_c"))};
}

std::vector<float> read_slopes(const AttributeMap& attributes) {
  const std::vector<double>& values = get_floats(attributes, "neuron_parameters");
  return {values.begin(), values.end()};
}

Fit fits_neuron_case(const KernelQuery& query) {
  const Fit plain = all_plain_float32(query);
  if (!plain.yes) return plain;
  const Neuron neuron = read_neuron(query.attributes);
  if (!is_known(neuron.type)) {
    return Fit::no(
        str("neuron_type: expected RELU to GELU, got type ", static_cast<int>(neuron.type)));
  }
  if (neuron.type != NeuronType::PRELU) return {};
  const auto slopes = get_floats(query.attributes, "neuron_parameters").size();
  const auto channels = static_cast<std::size_t>(query.outputs[0].dims.back());
  if (slopes == channels) return {};
  return Fit::no(
      str("neuron_parameters: expected ", channels, " slopes, one a channel, got ", slopes));
}

// Elements of a range of pixels; the unit of work of both kernels.
struct Extent {
  std::int64_t pixels, channels;
  explicit Extent(const TensorDesc& desc)
      : pixels(desc.count() / std::max<std::int64_t>(desc.dims.back(), 1)),
        channels(desc.dims.back()) {}
};

}  // namespace

void apply_neuron(const Neuron& neuron, const float* x, float* y, std::int64_t count) {
  if (neuron.type == NeuronType::NONE) {
    if (x != y) std::copy_n(x, count, y);
    return;
  }
  if (!is_relu(neuron.type)) return apply_function(neuron, x, y, count);
  const bool limited = neuron.type == NeuronType::RELUN;
  if (neuron.a == 0) {
    limited ? relun_zero(x, y, count, neuron.b) : relu_zero(x, y, count);
  } else {
    limited ? relun(x, y, count, neuron.a, neuron.b) : relu(x, y, count, neuron.a);
  }
}

void apply_neuron_gradient(const Neuron& neuron, const float* g, const float* x, float* out,
                           std::int64_t count) {
  if (neuron.type != NeuronType::NONE)
    return apply_neuron_gradient(neuron, false, g, x, out, count);
  if (g != out) std::copy_n(g, count, out);
}

void add_bias_and_neuron(const Neuron& neuron, const float* bias, float* row, std::int64_t pixels,
                         std::int64_t channels) {
  if (bias != nullptr) add_bias(bias, row, pixels, channels);
  apply_neuron(neuron, row, row, pixels * channels);
}

Fit fits_neuron_plain(const KernelQuery& query) { return fits_neuron_case(query); }

std::shared_ptr<Kernel> prepare_neuron_plain(const KernelQuery& query) {
  const Neuron neuron = read_neuron(query.attributes);
  const Extent extent(query.outputs[0]);
  if (neuron.type == NeuronType::PRELU) {
    return make_kernel([extent, slopes = read_slopes(query.attributes)](const KernelArgs& args) {
      parallel_for(extent.pixels, grain_for(extent.channels * 8),
                   [&](std::int64_t begin, std::int64_t end) {
                     const std::int64_t at = begin * extent.channels;
                     prelu(args.input<float>(0) + at, args.output<float>(0) + at, end - begin,
                           extent.channels, slopes.data());
                   });
    });
  }
  return make_kernel([neuron, count = extent.pixels * extent.channels](const KernelArgs& args) {
    parallel_for(count, grain_for(8), [&](std::int64_t begin, std::int64_t end) {
      apply_neuron(neuron, args.input<float>(0) + begin, args.output<float>(0) + begin,
                   end - begin);
    });
  });
}

Fit fits_neuron_gradient_plain(const KernelQuery& query) {
  const Fit fit = fits_neuron_case(query);
  if (!fit.yes || !get_bool(query.attributes, "from_result")) return fit;
  const std::vector<float> slopes = read_slopes(query.attributes);
  const Neuron neuron = read_neuron(query.attributes);
  const bool tells = neuron.type == NeuronType::PRELU
                         ? std::all_of(slopes.begin(), slopes.end(), [](float a) { return a >= 0; })
                         : tells_derivative(neuron);
  if (tells) return {};
  return Fit::no("from_result: this neuron cannot be undone, its gradient needs the source");
}

std::shared_ptr<Kernel> prepare_neuron_gradient_plain(const KernelQuery& query) {
  const Neuron neuron = read_neuron(query.attributes);
  const Extent extent(query.outputs[0]);
  if (neuron.type == NeuronType::PRELU) {
    return make_kernel([extent, slopes = read_slopes(query.attributes)](const KernelArgs& args) {
      parallel_for(extent.pixels, grain_for(extent.channels * 12),
                   [&](std::int64_t begin, std::int64_t end) {
                     const std::int64_t at = begin * extent.channels;
                     prelu_gradient(args.input<float>(0) + at, args.input<float>(1) + at,
                                    args.output<float>(0) + at, end - begin, extent.channels,
                                    slopes.data());
                   });
    });
  }
  const bool from_result = get_bool(query.attributes, "from_result");
  return make_kernel(
      [neuron, from_result, count = extent.pixels * extent.channels](const KernelArgs& args) {
        parallel_for(count, grain_for(12), [&](std::int64_t begin, std::int64_t end) {
          apply_neuron_gradient(neuron, from_result, args.input<float>(0) + begin,
                                args.input<float>(1) + begin, args.output<float>(0) + begin,
                                end - begin);
        });
      });
}

}  // namespace mpsnn::backend::cpu
