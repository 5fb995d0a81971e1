// SPDX-License-Identifier: MIT
// The training layer of matrices, with a single gate.
#pragma once

#import <MetalPerformanceShaders/MPSNeuralNetwork.h>

typedef NS_ENUM(NSUInteger, MPSRNNMatrixId) {
  MPSRNNMatrixIdSingleGateInputWeights = 0,
  MPSRNNMatrixIdSingleGateRecurrentWeights = 1,
  MPSRNNMatrixIdSingleGateBiasTerms = 2,
};

struct DoubleStep;

@interface MPSRNNDescriptor : NSObject {
 @public
  NSUInteger inputs_, outputs_;
  BOOL useFloat32Weights_;
}
@property(readwrite, nonatomic) BOOL useFloat32Weights;
@end

@interface MPSRNNSingleGateDescriptor : MPSRNNDescriptor {
 @public
  id<MPSCNNConvolutionDataSource> inputWeights_;
  id<MPSCNNConvolutionDataSource> recurrentWeights_;
}
@property(readwrite, retain, nonatomic) id<MPSCNNConvolutionDataSource> inputWeights;
@property(readwrite, retain, nonatomic) id<MPSCNNConvolutionDataSource> recurrentWeights;
+ (instancetype)
    createRNNSingleGateDescriptorWithInputFeatureChannels:(NSUInteger)inputFeatureChannels
                                    outputFeatureChannels:(NSUInteger)outputFeatureChannels;
@end

@interface MPSRNNMatrixTrainingState : MPSState {
 @public
  DoubleStep* step_;
}
@end

@interface MPSRNNMatrixTrainingLayer : MPSKernel {
  NSUInteger inputs_, outputs_;
  MPSDataType weightType_;
  BOOL accumulateWeightGradients_;
}
@property(readwrite, nonatomic) BOOL accumulateWeightGradients;
- (instancetype)initWithDevice:(id<MTLDevice>)device
                 rnnDescriptor:(const MPSRNNDescriptor*)rnnDescriptor
              trainableWeights:(NSMutableArray<MPSMatrix*>*)trainableWeights;
- (void)createWeightGradientMatrices:(NSMutableArray<MPSMatrix*>*)matricesOut
                            dataType:(MPSDataType)dataType;
- (void)encodeCopyWeightsToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                                 weights:(NSArray<MPSMatrix*>*)weights
                                matrixId:(MPSRNNMatrixId)matrixId
                                  matrix:(MPSMatrix*)matrix
                 copyFromWeightsToMatrix:(BOOL)copyFromWeightsToMatrix
                            matrixOffset:(MTLOrigin)matrixOffset;
- (void)encodeForwardSequenceToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                              sourceMatrices:(NSArray<MPSMatrix*>*)sourceMatrices
                         destinationMatrices:(NSArray<MPSMatrix*>*)destinationMatrices
                              trainingStates:
                                  (NSMutableArray<MPSRNNMatrixTrainingState*>*)trainingStates
                                     weights:(NSArray<MPSMatrix*>*)weights;
- (void)encodeGradientSequenceToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                               forwardSources:(NSArray<MPSMatrix*>*)forwardSources
                              sourceGradients:(NSArray<MPSMatrix*>*)sourceGradients
                         destinationGradients:(NSArray<MPSMatrix*>*)destinationGradients
                              weightGradients:(NSArray<MPSMatrix*>*)weightGradients
                               trainingStates:(NSArray<MPSRNNMatrixTrainingState*>*)trainingStates
                                      weights:(NSArray<MPSMatrix*>*)weights;
@end
