// SPDX-License-Identifier: MIT
// The data source of convolutions. For .mm files.
#pragma once

#include "backend/metal/weights.h"

namespace mpsnn::backend::metal {

/// Each input channel has one filter of its own; MPS has a descriptor for that, with a channel
/// multiplier of 1 only.
bool is_depthwise(const ConvolutionDescriptor& descriptor);

/// The data source of a binary convolution beside that of a convolution, `weights`: their signs,
/// packed in words of 32 channels. Autoreleased.
id<MPSCNNConvolutionDataSource> binary_weights(id<MPSCNNConvolutionDataSource> weights);

/// Apple's kind of the descriptor.
Owned<MPSCNNConvolutionDescriptor*> make_descriptor(const ConvolutionDescriptor& descriptor);

/// Arrays as MPS takes them in place of its own weights, where `biases` may be of no buffer.
/// Autoreleased. MPS reads floats: MPSCNNConvolution.h wants offsets that are multiples of four,
/// which our arrays have.
MPSCNNConvolutionWeightsAndBiasesState* make_state(const BufferRange& weights,
                                                   const BufferRange& biases,
                                                   MPSCNNConvolutionDescriptor* descriptor);

class ConvolutionWeights final : public Weights {
 public:
  ConvolutionWeights(std::shared_ptr<ConvolutionDataSource> source, std::size_t index,
                     const graph::WholeGraph& graph, id<MTLDevice> device);
  id make_object() override;

  // What the object is asked by MPS.
  MPSCNNConvolutionDescriptor* descriptor() const noexcept { return descriptor_.get(); }
  /// Encodes the optimizer for weights and bias, in place. Returns the arrays as a state, from
  /// which MPS refreshes its own copy.
  MPSCNNConvolutionWeightsAndBiasesState* update(id<MTLCommandBuffer> commands,
                                                 MPSCNNConvolutionGradientState* gradients,
                                                 MPSCNNConvolutionWeightsAndBiasesState* source);

 private:
  Owned<MPSCNNConvolutionDescriptor*> descriptor_;
};

}  // namespace mpsnn::backend::metal
