// SPDX-License-Identifier: MIT
// convolution: those of recurrent layers of images, by MPSCNNConvolution. Its weights are an
// operand, read again at every encode: on the device, since an optimizer may just have changed them
// there.
#include "backend/metal/convolution_weights.h"
#include "backend/metal/fixed_weights.h"
#include "backend/metal/image_kernels.h"
#include "base/attributes.h"

namespace mpsnn::backend::metal {
namespace {

/// Weights are OHWI.
ConvolutionDescriptor descriptor_of(const KernelQuery& query) {
  const std::vector<std::int64_t>& weights = query.inputs[1].dims;
  ConvolutionDescriptor d;
  d.output_feature_channels = weights[0];
  d.kernel_height = weights[1];
  d.kernel_width = weights[2];
  d.input_feature_channels = weights[3];
  d.dilation_rate_y = get_int(query.attributes, "dilation_y");
  d.dilation_rate_x = get_int(query.attributes, "dilation_x");
  return d;
}

/// MPS counts from the middle of the window, where an even one has two the right one.
NSInteger offset_along(std::int64_t kernel, std::int64_t dilation, std::int64_t pad) {
  return static_cast<NSInteger>(((kernel - 1) * dilation + 1) / 2 - pad);
}

MPSCNNConvolution* make_convolution(id<MTLDevice> device, const ConvolutionDescriptor& d,
                                    MPSOffset offset) {
  // Zeros, which the first encode replaces.
  const std::vector<float> zeros(static_cast<std::size_t>(d.weight_count()));
  MPSCNNConvolution* made =
      [[MPSCNNConvolution alloc] initWithDevice:device
                                        weights:fixed_weights(make_descriptor(d).get(), zeros)];
  [made setOffset:offset];
  [made setEdgeMode:MPSImageEdgeModeZero];
  [made setAccumulatorPrecisionOption:MPSNNConvolutionAccumulatorPrecisionOptionFloat];
  return made;
}

}  // namespace

// source, weights -> result
Fit fits_convolution(const KernelQuery& query) {
  const AttributeMap& a = query.attributes;
  const bool is_plain = !has_input(query, 2) && get_int(a, "groups") == 1 &&
                        get_int(a, "stride_y") == 1 && get_int(a, "stride_x") == 1 &&
                        get_int(a, "neuron_type") == static_cast<std::int64_t>(NeuronType::NONE) &&
                        get_int(a, "edge_mode") == static_cast<std::int64_t>(ImageEdgeMode::ZERO);
  return is_plain ? float32_images(query) : Fit::no("it is those of recurrent layers");
}

std::shared_ptr<Kernel> prepare_convolution(const KernelQuery& query) {
  const TensorDesc source = query.inputs[0], result = query.outputs[0];
  const ConvolutionDescriptor d = descriptor_of(query);
  const AttributeMap& a = query.attributes;
  const MPSOffset offset = {offset_along(d.kernel_width, d.dilation_rate_x, get_int(a, "pad_left")),
                            offset_along(d.kernel_height, d.dilation_rate_y, get_int(a, "pad_top")),
                            0};
  const Lazy<MPSCNNConvolution*> kernel(
      [=](id<MTLDevice> device) { return make_convolution(device, d, offset); });
  const Lazy<MPSCNNConvolutionDescriptor*> descriptor(
      [=](id<MTLDevice>) { return [make_descriptor(d).get() retain]; });
  return make_single(query, [=](const Site& site) {
    MPSCommandBuffer* commands = site.commands();
    MPSCNNConvolutionWeightsAndBiasesState* state =
        make_state(site.range(site.input(1)), {}, descriptor.on(site));
    [kernel.on(site) reloadWeightsAndBiasesWithCommandBuffer:commands state:state];
    MPSImageBatch* made = ImageCopies::make_images(commands, result);
    [kernel.on(site) encodeBatchToCommandBuffer:commands
                                   sourceImages:site.copies().copy_in(
                                                    commands, site.range(site.input(0)), source)
                              destinationImages:made];
    site.copies().copy_out(commands, made, site.range(site.output(0)), result);
  });
}

}  // namespace mpsnn::backend::metal
