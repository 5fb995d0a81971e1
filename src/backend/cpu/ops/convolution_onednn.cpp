// SPDX-License-Identifier: MIT
// convolution, convolution_data_gradient, convolution_weights_gradient and parameter_layout by
// oneDNN. Images are channels-last; the weights' order is oneDNN's choice.
#if defined(MPSNN_WITH_ONEDNN)

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <utility>

#include "backend/cpu/ops/convolution.h"
#include "backend/cpu/ops/onednn.h"
#include "backend/cpu/ops/rows.h"
#include "base/check.h"

namespace mpsnn::backend::cpu {
namespace {

using dnnl::memory;
using onednn::Operand;
using onednn::Step;
using onednn::StepsKernel;
using From = Operand::From;
using Forward = dnnl::convolution_forward;
using BackwardData = dnnl::convolution_backward_data;
using BackwardWeights = dnnl::convolution_backward_weights;
using Deconvolution = dnnl::deconvolution_forward;

constexpr auto kFloat = memory::data_type::f32;

/// A convolution in oneDNN's terms.
struct Description {
  memory::desc source, weights, bias, result;
  memory::dims strides, dilations, pad_before, pad_after;
};

memory::desc image_desc(std::int64_t n, std::int64_t c, std::int64_t h, std::int64_t w) {
  return {{n, c, h, w}, kFloat, memory::format_tag::nhwc};
}

memory::dims weights_dims(const ConvolutionCase& c) {
  if (c.groups == 1) return {c.outputs, c.inputs, c.y.kernel, c.x.kernel};
  return {c.groups, c.outputs_a_group(), c.inputs_a_group(), c.y.kernel, c.x.kernel};
}

/// The data source's own order, OHWI.
memory::desc plain_weights(const ConvolutionCase& c) {
  const std::int64_t in = c.inputs_a_group(), row = c.x.kernel * in, filter = c.y.kernel * row;
  if (c.groups == 1) return {weights_dims(c), kFloat, memory::dims{filter, 1, row, in}};
  return {weights_dims(c), kFloat, memory::dims{c.outputs_a_group() * filter, filter, 1, row, in}};
}

/// oneDNN takes a padding at the end down to -stride, exclusive; source positions that no window
/// reads may count as read up to a stride.
std::int64_t pad_after(const ConvolutionAxis& axis) {
  const std::int64_t exact = axis.pad_after();
  return exact < 0 ? std::min<std::int64_t>(exact + axis.stride - 1, 0) : exact;
}

Description describe(const ConvolutionCase& c) {
  Description d;
  d.source = image_desc(c.images, c.inputs, c.y.source, c.x.source);
  d.result = image_desc(c.images, c.outputs, c.y.result, c.x.result);
  d.weights = {weights_dims(c), kFloat, memory::format_tag::any};
  if (c.bias) d.bias = {{c.outputs}, kFloat, memory::format_tag::x};
  d.strides = {c.y.stride, c.x.stride};
  d.dilations = {c.y.dilation - 1, c.x.dilation - 1};  // oneDNN counts the gaps
  d.pad_before = {c.y.pad, c.x.pad};
  d.pad_after = {pad_after(c.y), pad_after(c.x)};
  return d;
}

/// true where oneDNN's result is that of our neuron, bit for bit. Others are applied afterwards.
bool is_native(const Neuron& neuron) {
  return neuron.type == NeuronType::NONE || neuron.type == NeuronType::RELU ||
         (neuron.type == NeuronType::RELUN && neuron.a == 0 && neuron.b >= 0);
}

/// The fused neuron as oneDNN's post-operation, if it is one.
dnnl::primitive_attr attributes_with(const Neuron& neuron) {
  dnnl::primitive_attr attributes = onednn::make_attributes();
  dnnl::post_ops operations;
  if (neuron.type == NeuronType::RELU) {
    operations.append_eltwise(dnnl::algorithm::eltwise_relu, neuron.a, 0);
  } else if (neuron.type == NeuronType::RELUN && is_native(neuron)) {
    operations.append_eltwise(dnnl::algorithm::eltwise_clip, 0, neuron.b);
  }
  attributes.set_post_ops(operations);
  return attributes;
}

// The descriptions of primitives are empty where oneDNN has nothing for the case.
constexpr bool kAllowEmpty = true;
constexpr auto kDirect = dnnl::algorithm::convolution_direct;

Forward::primitive_desc forward(const ConvolutionCase& c, const dnnl::primitive_attr& attributes) {
  const Description d = describe(c);
  return {onednn::engine(), dnnl::prop_kind::forward_training,
          kDirect,          d.source,
          d.weights,        d.bias,
          d.result,         d.strides,
          d.dilations,      d.pad_before,
          d.pad_after,      attributes,
          kAllowEmpty};
}

BackwardData::primitive_desc backward_data(const ConvolutionCase& c) {
  const Description d = describe(c);
  const Forward::primitive_desc hint = forward(c, onednn::make_attributes());
  if (!hint) return {};
  return {onednn::engine(),
          kDirect,
          d.source,
          d.weights,
          d.result,
          d.strides,
          d.dilations,
          d.pad_before,
          d.pad_after,
          hint,
          onednn::make_attributes(),
          kAllowEmpty};
}

/// A data gradient with a bias, as oneDNN has it: a deconvolution, which reads the convolution's
/// result and whose weights have the channels' roles exchanged.
Deconvolution::primitive_desc deconvolution(const ConvolutionCase& c) {
  const Description d = describe(c);
  memory::dims dims = weights_dims(c);
  std::swap(dims[dims.size() - 4], dims[dims.size() - 3]);
  const memory::desc weights = {dims, kFloat, memory::format_tag::any},
                     bias = {{c.inputs}, kFloat, memory::format_tag::x};
  return {onednn::engine(),
          dnnl::prop_kind::forward_inference,
          dnnl::algorithm::deconvolution_direct,
          d.result,
          weights,
          bias,
          d.source,
          d.strides,
          d.dilations,
          d.pad_before,
          d.pad_after,
          onednn::make_attributes(),
          kAllowEmpty};
}

/// The order of a deconvolution's weights, told of the convolution's: the same bytes.
memory::desc undone_weights(const Deconvolution::primitive_desc& description) {
  const memory::desc weights = description.weights_desc();
  if (weights.get_format_kind() != memory::format_kind::blocked) return weights;
  std::vector<int> order(weights.get_dims().size());
  std::iota(order.begin(), order.end(), 0);
  std::swap(order[order.size() - 4], order[order.size() - 3]);
  return weights.permute_axes(order);
}

BackwardWeights::primitive_desc backward_weights(const ConvolutionCase& c) {
  const Description d = describe(c);
  const Forward::primitive_desc hint = forward(c, onednn::make_attributes());
  if (!hint) return {};
  return {onednn::engine(), kDirect,     d.source,  d.weights,
          d.bias,           d.result,    d.strides, d.dilations,
          d.pad_before,     d.pad_after, hint,      onednn::make_attributes(),
          kAllowEmpty};
}

/// What oneDNN cannot do is refused; what it only does with its reference loops, the plain row does
/// hundreds of times faster.
template <class Primitive>
Fit fit_of(const Primitive& description, const memory::desc& weights) {
  if (!description) return Fit::no("oneDNN has no kernel for this case");
  if (std::string_view(description.impl_info_str()).find("ref:") != std::string_view::npos) {
    return Fit::no("oneDNN has only its reference kernel for this case");
  }
  if (weights.get_format_kind() != memory::format_kind::blocked) {
    return Fit::no("oneDNN wants the weights in an order that it does not tell");
  }
  return {};
}

Fit fits_geometry(const KernelQuery& query) {
  const Fit fit = fits_convolution_case(query, /*zero_only=*/true);
  if (!fit.yes) return fit;
  const ConvolutionCase c = read_convolution(query);
  if (c.y.pad < 0 || c.x.pad < 0)
    return Fit::no("oneDNN takes no negative padding at the top or left");
  // Beyond them it divides by zero.
  const std::int64_t most =
      std::max({c.y.source * c.x.source, c.y.result * c.x.result, c.inputs, c.outputs});
  if (c.images * most > std::numeric_limits<std::int32_t>::max())
    return Fit::no("oneDNN counts the pixels and channels of a batch in 32 bits");
  return {};
}

Operand scratchpad(const memory::desc& desc) {
  return {DNNL_ARG_SCRATCHPAD, desc, From::SCRATCH, 0};
}

std::shared_ptr<Kernel> finish(std::vector<Step> steps, std::size_t scratch_bytes) {
  auto kernel = std::make_shared<StepsKernel>(std::move(steps));
  kernel->scratch_bytes = scratch_bytes;
  return kernel;
}

/// null where oneDNN is content with the plain order: no copy is then made.
std::shared_ptr<const Layout> layout_for(const memory::desc& wanted, const ConvolutionCase& c) {
  if (wanted == plain_weights(c)) return nullptr;
  return std::make_shared<onednn::WeightsLayout>(wanted);
}

}  // namespace

Fit fits_convolution_onednn(const KernelQuery& query) {
  const Fit fit = fits_geometry(query);
  if (!fit.yes) return fit;
  const ConvolutionCase c = read_convolution(query);
  const auto description = forward(c, attributes_with(c.neuron));
  return fit_of(description, description ? description.weights_desc() : memory::desc());
}

std::shared_ptr<Kernel> prepare_convolution_onednn(const KernelQuery& query) {
  const ConvolutionCase c = read_convolution(query);
  const auto description = forward(c, attributes_with(c.neuron));
  std::vector<Operand> operands = {{DNNL_ARG_SRC, description.src_desc(), From::INPUT, 0},
                                   {DNNL_ARG_WEIGHTS, description.weights_desc(), From::INPUT, 1},
                                   {DNNL_ARG_DST, description.dst_desc(), From::OUTPUT, 0},
                                   scratchpad(description.scratchpad_desc())};
  if (c.bias) operands.push_back({DNNL_ARG_BIAS, description.bias_desc(), From::INPUT, 2});
  auto kernel = finish({Step(Forward(description), std::move(operands))},
                       description.scratchpad_desc().get_size());
  kernel->input_layouts = {nullptr, layout_for(description.weights_desc(), c)};
  if (is_native(c.neuron)) return kernel;
  return with_neuron_after(kernel, c.neuron, query.outputs[0].count(), "convolution/onednn");
}

Fit fits_convolution_data_gradient_onednn(const KernelQuery& query) {
  const Fit fit = fits_geometry(query);
  if (!fit.yes) return fit;
  const ConvolutionCase c = read_convolution(query);
  if (c.bias) {
    const auto with_bias = deconvolution(c);
    return fit_of(with_bias, with_bias ? undone_weights(with_bias) : memory::desc());
  }
  const auto description = backward_data(c);
  return fit_of(description, description ? description.weights_desc() : memory::desc());
}

namespace {

std::shared_ptr<Kernel> prepare_deconvolution(const ConvolutionCase& c) {
  const auto description = deconvolution(c);
  std::vector<Operand> operands = {{DNNL_ARG_SRC, description.src_desc(), From::INPUT, 0},
                                   {DNNL_ARG_WEIGHTS, description.weights_desc(), From::INPUT, 1},
                                   {DNNL_ARG_BIAS, description.bias_desc(), From::INPUT, 2},
                                   {DNNL_ARG_DST, description.dst_desc(), From::OUTPUT, 0},
                                   scratchpad(description.scratchpad_desc())};
  auto kernel = finish({Step(Deconvolution(description), std::move(operands))},
                       description.scratchpad_desc().get_size());
  kernel->input_layouts = {nullptr, layout_for(undone_weights(description), c)};
  return kernel;
}

}  // namespace

std::shared_ptr<Kernel> prepare_convolution_data_gradient_onednn(const KernelQuery& query) {
  const ConvolutionCase c = read_convolution(query);
  if (c.bias) return prepare_deconvolution(c);
  const auto description = backward_data(c);
  std::vector<Operand> operands = {
      {DNNL_ARG_DIFF_DST, description.diff_dst_desc(), From::INPUT, 0},
      {DNNL_ARG_WEIGHTS, description.weights_desc(), From::INPUT, 1},
      {DNNL_ARG_DIFF_SRC, description.diff_src_desc(), From::OUTPUT, 0},
      scratchpad(description.scratchpad_desc())};
  auto kernel = finish({Step(BackwardData(description), std::move(operands))},
                       description.scratchpad_desc().get_size());
  kernel->input_layouts = {nullptr, layout_for(description.weights_desc(), c)};
  return kernel;
}

Fit fits_convolution_weights_gradient_onednn(const KernelQuery& query) {
  const Fit fit = fits_geometry(query);
  if (!fit.yes) return fit;
  const auto description = backward_weights(read_convolution(query));
  return fit_of(description, description ? description.diff_weights_desc() : memory::desc());
}

// The gradient is made in oneDNN's order and put into the plain one, which optimizers share: for
// the plain order itself oneDNN has only its reference kernel.
std::shared_ptr<Kernel> prepare_convolution_weights_gradient_onednn(const KernelQuery& query) {
  const ConvolutionCase c = read_convolution(query);
  const auto description = backward_weights(c);
  const memory::desc plain = plain_weights(c), chosen = description.diff_weights_desc();
  const bool reorders = chosen != plain;
  const std::size_t chosen_at = onednn::aligned(description.scratchpad_desc().get_size());
  const Operand gradient = reorders
                               ? Operand{DNNL_ARG_DIFF_WEIGHTS, chosen, From::SCRATCH, chosen_at}
                               : Operand{DNNL_ARG_DIFF_WEIGHTS, chosen, From::OUTPUT, 0};
  std::vector<Operand> operands = {{DNNL_ARG_DIFF_DST, description.diff_dst_desc(), From::INPUT, 0},
                                   {DNNL_ARG_SRC, description.src_desc(), From::INPUT, 1},
                                   gradient,
                                   scratchpad(description.scratchpad_desc())};
  if (c.bias)
    operands.push_back({DNNL_ARG_DIFF_BIAS, description.diff_bias_desc(), From::OUTPUT, 1});
  std::vector<Step> steps = {Step(BackwardWeights(description), std::move(operands))};
  if (!reorders) return finish(std::move(steps), chosen_at);

  const dnnl::reorder::primitive_desc reorder(onednn::engine(), chosen, onednn::engine(), plain,
                                              onednn::make_attributes());
  const std::size_t reorder_at = chosen_at + onednn::aligned(chosen.get_size());
  steps.emplace_back(dnnl::reorder(reorder),
                     std::vector<Operand>{{DNNL_ARG_FROM, chosen, From::SCRATCH, chosen_at},
                                          {DNNL_ARG_TO, plain, From::OUTPUT, 0},
                                          {DNNL_ARG_SCRATCHPAD, reorder.scratchpad_desc(),
                                           From::SCRATCH, reorder_at}});
  return finish(std::move(steps), reorder_at + reorder.scratchpad_desc().get_size());
}

}  // namespace mpsnn::backend::cpu

#endif  // MPSNN_WITH_ONEDNN
