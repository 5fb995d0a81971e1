// SPDX-License-Identifier: MIT
#include "backend/metal/fixed_weights.h"

@interface MpsnnFixedWeights : NSObject <MPSCNNConvolutionDataSource> {
  MPSCNNConvolutionDescriptor* descriptor_;
  NSMutableData* weights_;
  NSMutableData* biases_;
}
- (instancetype)initWithDescriptor:(MPSCNNConvolutionDescriptor*)descriptor
                           weights:(const std::vector<float>&)weights
                            biases:(const std::vector<float>&)biases;
@end

@implementation MpsnnFixedWeights

- (instancetype)initWithDescriptor:(MPSCNNConvolutionDescriptor*)descriptor
                           weights:(const std::vector<float>&)weights
                            biases:(const std::vector<float>&)biases {
  self = [super init];
  if (self == nil) return nil;
  descriptor_ = [descriptor retain];
  weights_ = [[NSMutableData alloc] initWithBytes:weights.data()
                                           length:weights.size() * sizeof(float)];
  biases_ = [[NSMutableData alloc] initWithBytes:biases.data()
                                          length:biases.size() * sizeof(float)];
  return self;
}

- (void)dealloc {
  [descriptor_ release];
  [weights_ release];
  [biases_ release];
  [super dealloc];
}

- (instancetype)copyWithZone:(NSZone*)zone {
  static_cast<void>(zone);
  return [self retain];  // nothing of it changes
}

- (MPSDataType)dataType {
  return MPSDataTypeFloat32;
}

- (MPSDataType)kernelWeightsDataType {
  return MPSDataTypeFloat32;
}

- (MPSCNNConvolutionWeightsLayout)weightsLayout {
  return MPSCNNConvolutionWeightsLayoutOHWI;
}

- (MPSCNNConvolutionDescriptor*)descriptor {
  return descriptor_;
}

- (void*)weights {
  return [weights_ mutableBytes];
}

- (float*)biasTerms {
  return [biases_ length] == 0 ? nullptr : static_cast<float*>([biases_ mutableBytes]);
}

- (BOOL)load {
  return YES;
}

- (void)purge {
}

- (NSString*)label {
  return @"weights";
}

@end

namespace mpsnn::backend::metal {

id<MPSCNNConvolutionDataSource> fixed_weights(MPSCNNConvolutionDescriptor* descriptor,
                                              const std::vector<float>& weights,
                                              const std::vector<float>& biases) {
  return [[[MpsnnFixedWeights alloc] initWithDescriptor:descriptor weights:weights
                                                 biases:biases] autorelease];
}

}  // namespace mpsnn::backend::metal
