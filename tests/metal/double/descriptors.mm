// SPDX-License-Identifier: MIT
// Descriptors, padding and states.
#include "double.h"

@implementation MPSNNNeuronDescriptor
+ (MPSNNNeuronDescriptor*)cnnNeuronDescriptorWithType:(MPSCNNNeuronType)neuronType
                                                    a:(float)a
                                                    b:(float)b
                                                    c:(float)c {
  MPSNNNeuronDescriptor* made = [[[MPSNNNeuronDescriptor alloc] init] autorelease];
  made->type_ = neuronType;
  made->a_ = a;
  made->b_ = b;
  made->c_ = c;
  return made;
}
+ (MPSNNNeuronDescriptor*)cnnNeuronPReLUDescriptorWithData:(NSData*)data noCopy:(bool)noCopy {
  MPSNNNeuronDescriptor* made = [self cnnNeuronDescriptorWithType:MPSCNNNeuronTypePReLU
                                                                a:0
                                                                b:0
                                                                c:0];
  made->data_ = noCopy ? [data retain] : [data copy];
  return made;
}
- (void)dealloc {
  [data_ release];
  [super dealloc];
}
@end

@implementation MPSCNNConvolutionDescriptor
@synthesize strideInPixelsX = strideX_, strideInPixelsY = strideY_, groups = groups_;
@synthesize dilationRateX = dilationX_, dilationRateY = dilationY_;
@synthesize kernelWidth = kernelWidth_, kernelHeight = kernelHeight_;
@synthesize inputFeatureChannels = inputs_, outputFeatureChannels = outputs_;
@synthesize fusedNeuronDescriptor = neuron_;
+ (instancetype)cnnConvolutionDescriptorWithKernelWidth:(NSUInteger)kernelWidth
                                           kernelHeight:(NSUInteger)kernelHeight
                                   inputFeatureChannels:(NSUInteger)inputFeatureChannels
                                  outputFeatureChannels:(NSUInteger)outputFeatureChannels {
  MPSCNNConvolutionDescriptor* made = [[[self alloc] init] autorelease];
  made->kernelWidth_ = kernelWidth;
  made->kernelHeight_ = kernelHeight;
  made->inputs_ = inputFeatureChannels;
  made->outputs_ = outputFeatureChannels;
  // A filter for each channel: as many groups as channels.
  const bool is_depthwise = self == [MPSCNNDepthWiseConvolutionDescriptor class];
  made->strideX_ = made->strideY_ = made->dilationX_ = made->dilationY_ = 1;
  made->groups_ = is_depthwise ? inputFeatureChannels : 1;
  return made;
}
- (void)dealloc {
  [neuron_ release];
  [super dealloc];
}
@end

@implementation MPSCNNDepthWiseConvolutionDescriptor
@end
@implementation MPSCNNSubPixelConvolutionDescriptor
@synthesize subPixelScaleFactor = subPixelScaleFactor_;
@end

@implementation MPSCNNConvolutionGradientState
@synthesize gradientForWeights = weights_, gradientForBiases = biases_;
- (void)dealloc {
  [weights_ release];
  [biases_ release];
  [super dealloc];
}
@end

@implementation MPSCNNConvolutionWeightsAndBiasesState
- (instancetype)initWithWeights:(id<MTLBuffer>)weights
                  weightsOffset:(NSUInteger)weightsOffset
                         biases:(id<MTLBuffer>)biases
                   biasesOffset:(NSUInteger)biasesOffset
       cnnConvolutionDescriptor:(MPSCNNConvolutionDescriptor*)descriptor {
  self = [super init];
  if (self == nil) return nil;
  const NSUInteger count = descriptor->outputs_ * descriptor->kernelHeight_ *
                           descriptor->kernelWidth_ * descriptor->inputs_ / descriptor->groups_;
  if (weightsOffset % sizeof(float) != 0 || biasesOffset % sizeof(float) != 0)
    refuse("MPSCNNConvolutionWeightsAndBiasesState", "an offset that is no multiple of four");
  if (weightsOffset + count * sizeof(float) > [weights length])
    refuse("MPSCNNConvolutionWeightsAndBiasesState", "the buffer is too small for the weights");
  if (biases != nil && biasesOffset + descriptor->outputs_ * sizeof(float) > [biases length])
    refuse("MPSCNNConvolutionWeightsAndBiasesState", "the buffer is too small for the biases");
  weights_ = [weights retain];
  biases_ = [biases retain];
  weightsOffset_ = weightsOffset;
  biasesOffset_ = biasesOffset;
  return self;
}
- (void)dealloc {
  [weights_ release];
  [biases_ release];
  [super dealloc];
}
@end

@implementation MPSCNNLossDescriptor
@synthesize reduceAcrossBatch = reduceAcrossBatch_, weight = weight_;
@synthesize labelSmoothing = labelSmoothing_, numberOfClasses = numberOfClasses_;
@synthesize epsilon = epsilon_, delta = delta_;
+ (MPSCNNLossDescriptor*)cnnLossDescriptorWithType:(MPSCNNLossType)lossType
                                     reductionType:(MPSCNNReductionType)reductionType {
  MPSCNNLossDescriptor* made = [[[MPSCNNLossDescriptor alloc] init] autorelease];
  made->type_ = lossType;
  made->reduction_ = reductionType;
  made->weight_ = made->delta_ = 1;
  made->numberOfClasses_ = 1;
  made->epsilon_ = 1e-7F;
  return made;
}
@end

@implementation MPSNNDefaultPadding
+ (instancetype)paddingWithMethod:(MPSNNPaddingMethod)method {
  MPSNNDefaultPadding* made = [[[MPSNNDefaultPadding alloc] init] autorelease];
  made->method_ = method;
  return made;
}
- (MPSNNPaddingMethod)paddingMethod {
  return method_;
}
+ (BOOL)supportsSecureCoding {
  return YES;
}
- (void)encodeWithCoder:(NSCoder*)coder {
  [coder encodeInt64:static_cast<int64_t>(method_) forKey:@"method"];
}
- (instancetype)initWithCoder:(NSCoder*)coder {
  self = [super init];
  if (self != nil) method_ = static_cast<MPSNNPaddingMethod>([coder decodeInt64ForKey:@"method"]);
  return self;
}
@end
