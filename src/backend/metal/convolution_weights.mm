// SPDX-License-Identifier: MIT
#include "backend/metal/convolution_weights.h"

using mpsnn::backend::metal::ConvolutionWeights;

/// The object that MPS asks for weights.
@interface MpsnnConvolutionWeights : NSObject <MPSCNNConvolutionDataSource> {
  std::shared_ptr<ConvolutionWeights>* weights_;  // not every runtime makes C++ members
}
- (instancetype)initWithWeights:(std::shared_ptr<ConvolutionWeights>)weights;
- (std::shared_ptr<ConvolutionWeights>)owner;
@end

@implementation MpsnnConvolutionWeights

- (instancetype)initWithWeights:(std::shared_ptr<ConvolutionWeights>)weights {
  self = [super init];
  if (self != nil) weights_ = new std::shared_ptr<ConvolutionWeights>(std::move(weights));
  return self;
}

- (void)dealloc {
  delete weights_;
  [super dealloc];
}

- (std::shared_ptr<ConvolutionWeights>)owner {
  return *weights_;
}

- (instancetype)copyWithZone:(NSZone*)zone {
  static_cast<void>(zone);
  return [self retain];  // a copy of a graph shares the weights, too
}

- (MPSDataType)dataType {
  return MPSDataTypeFloat32;
}

- (MPSCNNConvolutionDescriptor*)descriptor {
  return (*weights_)->descriptor();
}

- (void*)weights {
  return (*weights_)->values("weights");
}

- (float*)biasTerms {
  return (*weights_)->values("bias");
}

/// Weights are computed with as they are trained: in float32.
- (MPSDataType)kernelWeightsDataType {
  return MPSDataTypeFloat32;
}

- (MPSCNNConvolutionWeightsLayout)weightsLayout {
  return MPSCNNConvolutionWeightsLayoutOHWI;
}

- (BOOL)load {
  return YES;  // they are in memory
}

- (void)purge {
}

- (NSString*)label {
  return (*weights_)->label();
}

- (MPSCNNConvolutionWeightsAndBiasesState*)
    updateWithCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
              gradientState:(MPSCNNConvolutionGradientState*)gradientState
                sourceState:(MPSCNNConvolutionWeightsAndBiasesState*)sourceState {
  return (*weights_)->update(commandBuffer, gradientState, sourceState);
}

@end

/// Weights of one bit, which is set where the weight is above 0. They are packed when MPS asks.
@interface MpsnnBinaryWeights : MpsnnConvolutionWeights {
  NSMutableData* words_;
}
@end

@implementation MpsnnBinaryWeights

- (void)dealloc {
  [words_ release];
  [super dealloc];
}

- (MPSDataType)dataType {
  return MPSDataTypeUInt32;
}

- (void*)weights {
  MPSCNNConvolutionDescriptor* d = [self descriptor];
  const NSUInteger channels = [d inputFeatureChannels], words = (channels + 31) / 32;
  const NSUInteger rows = [d outputFeatureChannels] * [d kernelHeight] * [d kernelWidth];
  const auto* from = static_cast<const float*>([super weights]);
  [self purge];
  words_ = [[NSMutableData alloc] initWithLength:rows * words * sizeof(uint32_t)];
  auto* to = static_cast<uint32_t*>([words_ mutableBytes]);
  for (NSUInteger row = 0; row < rows; ++row) {
    for (NSUInteger c = 0; c < channels; ++c) {
      if (from[row * channels + c] > 0) to[row * words + c / 32] |= uint32_t{1} << (c % 32);
    }
  }
  return to;
}

- (void)purge {
  [words_ release];
  words_ = nil;
}

@end

namespace mpsnn::backend::metal {
namespace {

MPSNNNeuronDescriptor* neuron_of(const NeuronDescriptor& neuron) {
  return
      [MPSNNNeuronDescriptor cnnNeuronDescriptorWithType:static_cast<MPSCNNNeuronType>(neuron.type)
                                                       a:neuron.a
                                                       b:neuron.b
                                                       c:neuron.c];
}

Class class_of(const ConvolutionDescriptor& d) {
  if (d.sub_pixel_scale_factor > 1) return [MPSCNNSubPixelConvolutionDescriptor class];
  if (is_depthwise(d)) return [MPSCNNDepthWiseConvolutionDescriptor class];
  return [MPSCNNConvolutionDescriptor class];
}

}  // namespace

bool is_depthwise(const ConvolutionDescriptor& d) {
  return d.sub_pixel_scale_factor == 1 && d.groups > 1 && d.groups == d.input_feature_channels &&
         d.groups == d.output_feature_channels;
}

Owned<MPSCNNConvolutionDescriptor*> make_descriptor(const ConvolutionDescriptor& d) {
  MPSCNNConvolutionDescriptor* made = [class_of(d)
      cnnConvolutionDescriptorWithKernelWidth:static_cast<NSUInteger>(d.kernel_width)
                                 kernelHeight:static_cast<NSUInteger>(d.kernel_height)
                         inputFeatureChannels:static_cast<NSUInteger>(d.input_feature_channels)
                        outputFeatureChannels:static_cast<NSUInteger>(d.output_feature_channels)];
  [made setStrideInPixelsX:static_cast<NSUInteger>(d.stride_in_pixels_x)];
  [made setStrideInPixelsY:static_cast<NSUInteger>(d.stride_in_pixels_y)];
  if (!is_depthwise(d)) [made setGroups:static_cast<NSUInteger>(d.groups)];
  if (d.sub_pixel_scale_factor > 1) {
    [static_cast<MPSCNNSubPixelConvolutionDescriptor*>(made)
        setSubPixelScaleFactor:static_cast<NSUInteger>(d.sub_pixel_scale_factor)];
  }
  [made setDilationRateX:static_cast<NSUInteger>(d.dilation_rate_x)];
  [made setDilationRateY:static_cast<NSUInteger>(d.dilation_rate_y)];
  if (d.fused_neuron_descriptor.type != NeuronType::NONE)
    [made setFusedNeuronDescriptor:neuron_of(d.fused_neuron_descriptor)];
  return Owned<MPSCNNConvolutionDescriptor*>::retained(made);
}

MPSCNNConvolutionWeightsAndBiasesState* make_state(const BufferRange& weights,
                                                   const BufferRange& biases,
                                                   MPSCNNConvolutionDescriptor* descriptor) {
  check_internal(weights.offset % sizeof(float) == 0 && biases.offset % sizeof(float) == 0,
                 "weights and biases begin at a multiple of four bytes");
  return [[[MPSCNNConvolutionWeightsAndBiasesState alloc] initWithWeights:weights.buffer.get()
                                                            weightsOffset:weights.offset
                                                                   biases:biases.buffer.get()
                                                             biasesOffset:biases.offset
                                                 cnnConvolutionDescriptor:descriptor] autorelease];
}

id<MPSCNNConvolutionDataSource> binary_weights(id<MPSCNNConvolutionDataSource> weights) {
  return [[[MpsnnBinaryWeights alloc]
      initWithWeights:[static_cast<MpsnnConvolutionWeights*>(weights) owner]] autorelease];
}

ConvolutionWeights::ConvolutionWeights(std::shared_ptr<ConvolutionDataSource> source,
                                       std::size_t index, const graph::WholeGraph& graph,
                                       id<MTLDevice> device)
    : Weights(source, index, graph, device), descriptor_(make_descriptor(source->descriptor())) {}

id ConvolutionWeights::make_object() {
  return [[[MpsnnConvolutionWeights alloc]
      initWithWeights:std::static_pointer_cast<ConvolutionWeights>(shared_from_this())]
      autorelease];
}

MPSCNNConvolutionWeightsAndBiasesState* ConvolutionWeights::update(
    id<MTLCommandBuffer> commands, MPSCNNConvolutionGradientState* gradients,
    MPSCNNConvolutionWeightsAndBiasesState* source) {
  const BoundParameter &weights = *find("weights"), *bias = find("bias");
  encode_update(weights, [gradients gradientForWeights], commands);
  if (bias != nullptr) encode_update(*bias, [gradients gradientForBiases], commands);
  drop_read(gradients);
  drop_read(source);
  return make_state(weights.array.range, bias != nullptr ? bias->array.range : BufferRange{},
                    descriptor_.get());
}

}  // namespace mpsnn::backend::metal
