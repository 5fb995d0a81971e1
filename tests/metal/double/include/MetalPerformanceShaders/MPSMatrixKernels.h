// SPDX-License-Identifier: MIT
// MPSMatrix, and the kernels of images that are encoded by themselves.
#pragma once

#import <MetalPerformanceShaders/MPSNeuralNetwork.h>

typedef NS_OPTIONS(NSUInteger, MPSMatrixRandomDistribution) {
  MPSMatrixRandomDistributionDefault = 1,
  MPSMatrixRandomDistributionUniform = 2,
  MPSMatrixRandomDistributionNormal = 3,
};
typedef struct {
  uint32_t sourceRowOffset, sourceColumnOffset, destinationRowOffset, destinationColumnOffset;
} MPSMatrixCopyOffsets;

struct DoubleStream;
struct DoubleNeuron;

@interface MPSMatrixRandomDistributionDescriptor : NSObject {
 @public
  MPSMatrixRandomDistribution type_;
  float minimum_, maximum_, mean_, deviation_;
}
+ (MPSMatrixRandomDistributionDescriptor*)uniformDistributionDescriptorWithMinimum:(float)minimum
                                                                           maximum:(float)maximum;
+ (MPSMatrixRandomDistributionDescriptor*)normalDistributionDescriptorWithMean:(float)mean
                                                             standardDeviation:
                                                                 (float)standardDeviation;
+ (MPSMatrixRandomDistributionDescriptor*)normalDistributionDescriptorWithMean:(float)mean
                                                             standardDeviation:
                                                                 (float)standardDeviation
                                                                       minimum:(float)minimum
                                                                       maximum:(float)maximum;
+ (MPSMatrixRandomDistributionDescriptor*)defaultDistributionDescriptor;
@end

@interface MPSMatrixRandom : MPSKernel {
 @public
  DoubleStream* stream_;
}
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
            destinationVector:(MPSVector*)destinationVector;
@end

@interface MPSMatrixRandomPhilox : MPSMatrixRandom
- (instancetype)initWithDevice:(id<MTLDevice>)device
           destinationDataType:(MPSDataType)destinationDataType
                          seed:(NSUInteger)seed
        distributionDescriptor:(MPSMatrixRandomDistributionDescriptor*)distributionDescriptor;
@end

@interface MPSMatrixRandomMTGP32 : MPSMatrixRandom
- (instancetype)initWithDevice:(id<MTLDevice>)device
           destinationDataType:(MPSDataType)destinationDataType
                          seed:(NSUInteger)seed
        distributionDescriptor:(MPSMatrixRandomDistributionDescriptor*)distributionDescriptor;
@end

@interface MPSMatrixCopyDescriptor : NSObject {
 @public
  NSMutableArray* sources_;
  NSMutableArray* destinations_;
  NSMutableData* offsets_;
  NSUInteger set_;
}
+ (instancetype)descriptorWithSourceMatrix:(MPSMatrix*)sourceMatrix
                         destinationMatrix:(MPSMatrix*)destinationMatrix
                                   offsets:(MPSMatrixCopyOffsets)offsets;
- (instancetype)initWithDevice:(id<MTLDevice>)device count:(NSUInteger)count;
- (void)setCopyOperationAtIndex:(NSUInteger)index
                   sourceMatrix:(MPSMatrix*)sourceMatrix
              destinationMatrix:(MPSMatrix*)destinationMatrix
                        offsets:(MPSMatrixCopyOffsets)offsets;
@end

@interface MPSMatrixCopy : MPSKernel {
  NSUInteger rows_, columns_;
  BOOL sourcesTurn_, destinationsTurn_;
}
- (instancetype)initWithDevice:(id<MTLDevice>)device
                      copyRows:(NSUInteger)copyRows
                   copyColumns:(NSUInteger)copyColumns
          sourcesAreTransposed:(BOOL)sourcesAreTransposed
     destinationsAreTransposed:(BOOL)destinationsAreTransposed;
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
               copyDescriptor:(MPSMatrixCopyDescriptor*)copyDescriptor;
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
               copyDescriptor:(MPSMatrixCopyDescriptor*)copyDescriptor
            rowPermuteIndices:(MPSVector*)rowPermuteIndices
             rowPermuteOffset:(NSUInteger)rowPermuteOffset
         columnPermuteIndices:(MPSVector*)columnPermuteIndices
          columnPermuteOffset:(NSUInteger)columnPermuteOffset;
@end

@interface MPSMatrixMultiplication : MPSKernel {
  BOOL leftTurns_, rightTurns_;
  NSUInteger rows_, columns_, interior_, batchStart_, batchSize_;
  double alpha_, beta_;
}
@property(readwrite, nonatomic) NSUInteger batchStart;
@property(readwrite, nonatomic) NSUInteger batchSize;
- (instancetype)initWithDevice:(id<MTLDevice>)device
                 transposeLeft:(BOOL)transposeLeft
                transposeRight:(BOOL)transposeRight
                    resultRows:(NSUInteger)resultRows
                 resultColumns:(NSUInteger)resultColumns
               interiorColumns:(NSUInteger)interiorColumns
                         alpha:(double)alpha
                          beta:(double)beta;
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                   leftMatrix:(MPSMatrix*)leftMatrix
                  rightMatrix:(MPSMatrix*)rightMatrix
                 resultMatrix:(MPSMatrix*)resultMatrix;
@end

@interface MPSMatrixUnaryKernel : MPSKernel
@end

@interface MPSMatrixBinaryKernel : MPSKernel
@end

@interface MPSMatrixNeuron : MPSMatrixUnaryKernel {
  DoubleNeuron* neuron_;
}
@property(readwrite, nonatomic) double alpha;
- (instancetype)initWithDevice:(id<MTLDevice>)device;
- (void)setNeuronType:(MPSCNNNeuronType)neuronType
           parameterA:(float)parameterA
           parameterB:(float)parameterB
           parameterC:(float)parameterC;
- (void)setNeuronToPReLUWithParametersA:(NSData*)A;
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                  inputMatrix:(MPSMatrix*)inputMatrix
                   biasVector:(MPSVector*)biasVector
                 resultMatrix:(MPSMatrix*)resultMatrix;
@end

@interface MPSMatrixNeuronGradient : MPSMatrixBinaryKernel {
  DoubleNeuron* neuron_;
}
@property(readwrite, nonatomic) double alpha;
- (instancetype)initWithDevice:(id<MTLDevice>)device;
- (void)setNeuronType:(MPSCNNNeuronType)neuronType
           parameterA:(float)parameterA
           parameterB:(float)parameterB
           parameterC:(float)parameterC;
- (void)setNeuronToPReLUWithParametersA:(NSData*)A;
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                 gradientMatrix:(MPSMatrix*)gradientMatrix
                    inputMatrix:(MPSMatrix*)inputMatrix
                     biasVector:(MPSVector*)biasVector
    resultGradientForDataMatrix:(MPSMatrix*)resultGradientForDataMatrix
    resultGradientForBiasVector:(MPSVector*)resultGradientForBiasVector;
@end

@interface MPSMatrixSum : MPSKernel {
  NSUInteger count_, rows_, columns_;
}
- (instancetype)initWithDevice:(id<MTLDevice>)device
                         count:(NSUInteger)count
                          rows:(NSUInteger)rows
                       columns:(NSUInteger)columns
                     transpose:(BOOL)transpose;
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)buffer
               sourceMatrices:(NSArray<MPSMatrix*>*)sourceMatrices
                 resultMatrix:(MPSMatrix*)resultMatrix
                  scaleVector:(MPSVector*)scaleVector
                 offsetVector:(MPSVector*)offsetVector
                   biasVector:(MPSVector*)biasVector
                   startIndex:(NSUInteger)startIndex;
@end

@interface MPSMatrixSoftMax : MPSMatrixUnaryKernel
- (instancetype)initWithDevice:(id<MTLDevice>)device;
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                  inputMatrix:(MPSMatrix*)inputMatrix
                 resultMatrix:(MPSMatrix*)resultMatrix;
@end

@interface MPSMatrixLogSoftMax : MPSMatrixSoftMax
@end

@interface MPSMatrixSoftMaxGradient : MPSMatrixBinaryKernel
- (instancetype)initWithDevice:(id<MTLDevice>)device;
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
               gradientMatrix:(MPSMatrix*)gradientMatrix
          forwardOutputMatrix:(MPSMatrix*)forwardOutputMatrix
                 resultMatrix:(MPSMatrix*)resultMatrix;
@end

@interface MPSMatrixLogSoftMaxGradient : MPSMatrixSoftMaxGradient
@end

@interface MPSMatrixFindTopK : MPSMatrixUnaryKernel {
  NSUInteger count_, indexOffset_;
}
@property(readwrite, nonatomic) NSUInteger indexOffset;
- (instancetype)initWithDevice:(id<MTLDevice>)device
            numberOfTopKValues:(NSUInteger)numberOfTopKValues;
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                  inputMatrix:(MPSMatrix*)inputMatrix
            resultIndexMatrix:(MPSMatrix*)resultIndexMatrix
            resultValueMatrix:(MPSMatrix*)resultValueMatrix;
@end

@interface MPSMatrixDecompositionLU : MPSMatrixUnaryKernel {
  NSUInteger rows_, columns_;
}
- (instancetype)initWithDevice:(id<MTLDevice>)device
                          rows:(NSUInteger)rows
                       columns:(NSUInteger)columns;
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                 sourceMatrix:(MPSMatrix*)sourceMatrix
                 resultMatrix:(MPSMatrix*)resultMatrix
                 pivotIndices:(MPSMatrix*)pivotIndices
                       status:(id<MTLBuffer>)status;
@end

@interface MPSMatrixDecompositionCholesky : MPSMatrixUnaryKernel {
  BOOL lower_;
  NSUInteger order_;
}
- (instancetype)initWithDevice:(id<MTLDevice>)device lower:(BOOL)lower order:(NSUInteger)order;
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                 sourceMatrix:(MPSMatrix*)sourceMatrix
                 resultMatrix:(MPSMatrix*)resultMatrix
                       status:(id<MTLBuffer>)status;
@end

@interface MPSMatrixSolveTriangular : MPSMatrixBinaryKernel {
  BOOL right_, upper_, transpose_, unit_;
  NSUInteger order_, sides_;
  double alpha_;
}
- (instancetype)initWithDevice:(id<MTLDevice>)device
                         right:(BOOL)right
                         upper:(BOOL)upper
                     transpose:(BOOL)transpose
                          unit:(BOOL)unit
                         order:(NSUInteger)order
        numberOfRightHandSides:(NSUInteger)numberOfRightHandSides
                         alpha:(double)alpha;
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                 sourceMatrix:(MPSMatrix*)sourceMatrix
          rightHandSideMatrix:(MPSMatrix*)rightHandSideMatrix
               solutionMatrix:(MPSMatrix*)solutionMatrix;
@end

@interface MPSMatrixSolveLU : MPSMatrixBinaryKernel {
  BOOL transpose_;
  NSUInteger order_, sides_;
}
- (instancetype)initWithDevice:(id<MTLDevice>)device
                     transpose:(BOOL)transpose
                         order:(NSUInteger)order
        numberOfRightHandSides:(NSUInteger)numberOfRightHandSides;
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                 sourceMatrix:(MPSMatrix*)sourceMatrix
          rightHandSideMatrix:(MPSMatrix*)rightHandSideMatrix
                 pivotIndices:(MPSMatrix*)pivotIndices
               solutionMatrix:(MPSMatrix*)solutionMatrix;
@end

@interface MPSMatrixBatchNormalization : MPSMatrixUnaryKernel {
  DoubleNeuron* neuron_;
  float epsilon_;
  BOOL computeStatistics_;
}
@property(readwrite, nonatomic) float epsilon;
@property(readwrite, nonatomic) BOOL computeStatistics;
- (instancetype)initWithDevice:(id<MTLDevice>)device;
- (void)setNeuronType:(MPSCNNNeuronType)neuronType
           parameterA:(float)parameterA
           parameterB:(float)parameterB
           parameterC:(float)parameterC;
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                  inputMatrix:(MPSMatrix*)inputMatrix
                   meanVector:(MPSVector*)meanVector
               varianceVector:(MPSVector*)varianceVector
                  gammaVector:(MPSVector*)gammaVector
                   betaVector:(MPSVector*)betaVector
                 resultMatrix:(MPSMatrix*)resultMatrix;
@end

@interface MPSMatrixBatchNormalizationGradient : MPSMatrixBinaryKernel {
  float epsilon_;
}
@property(readwrite, nonatomic) float epsilon;
- (instancetype)initWithDevice:(id<MTLDevice>)device;
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                  gradientMatrix:(MPSMatrix*)gradientMatrix
                     inputMatrix:(MPSMatrix*)inputMatrix
                      meanVector:(MPSVector*)meanVector
                  varianceVector:(MPSVector*)varianceVector
                     gammaVector:(MPSVector*)gammaVector
                      betaVector:(MPSVector*)betaVector
     resultGradientForDataMatrix:(MPSMatrix*)resultGradientForDataMatrix
    resultGradientForGammaVector:(MPSVector*)resultGradientForGammaVector
     resultGradientForBetaVector:(MPSVector*)resultGradientForBetaVector;
@end

@interface MPSCNNBinaryKernel : MPSKernel {
 @public
  NSUInteger primaryX_, primaryY_, secondaryX_, secondaryY_;
  MPSImageEdgeMode primaryEdgeMode_, secondaryEdgeMode_;
}
@property(readwrite, nonatomic) MPSImageEdgeMode primaryEdgeMode;
@property(readwrite, nonatomic) MPSImageEdgeMode secondaryEdgeMode;
@property(readwrite, nonatomic) NSUInteger primaryStrideInPixelsX;
@property(readwrite, nonatomic) NSUInteger primaryStrideInPixelsY;
@property(readwrite, nonatomic) NSUInteger secondaryStrideInPixelsX;
@property(readwrite, nonatomic) NSUInteger secondaryStrideInPixelsY;
- (instancetype)initWithDevice:(id<MTLDevice>)device;
- (void)encodeBatchToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                     primaryImages:(MPSImageBatch*)primaryImages
                   secondaryImages:(MPSImageBatch*)secondaryImages
                 destinationImages:(MPSImageBatch*)destinationImages;
@end

@interface MPSCNNArithmetic : MPSCNNBinaryKernel {
  float primaryScale_, secondaryScale_, bias_, minimumValue_, maximumValue_;
  NSUInteger primaryChannels_, secondaryChannels_;
}
@property(readwrite, nonatomic) float primaryScale;
@property(readwrite, nonatomic) float secondaryScale;
@property(readwrite, nonatomic) float bias;
@property(readwrite, nonatomic) float minimumValue;
@property(readwrite, nonatomic) float maximumValue;
@property(readwrite, nonatomic) NSUInteger primaryStrideInFeatureChannels;
@property(readwrite, nonatomic) NSUInteger secondaryStrideInFeatureChannels;
@end

@interface MPSCNNAdd : MPSCNNArithmetic
@end

@interface MPSCNNMultiply : MPSCNNArithmetic
@end

@interface MPSCNNDivide : MPSCNNArithmetic
@end

@interface MPSNNReduceUnary : MPSCNNKernel
- (instancetype)initWithDevice:(id<MTLDevice>)device;
- (void)encodeBatchToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                      sourceImages:(MPSImageBatch*)sourceImages
                 destinationImages:(MPSImageBatch*)destinationImages;
@end

@interface MPSNNReduceColumnMin : MPSNNReduceUnary
@end
@interface MPSNNReduceColumnMax : MPSNNReduceUnary
@end
@interface MPSNNReduceColumnSum : MPSNNReduceUnary
@end
@interface MPSNNReduceColumnMean : MPSNNReduceUnary
@end
@interface MPSNNReduceRowMin : MPSNNReduceUnary
@end
@interface MPSNNReduceRowMax : MPSNNReduceUnary
@end
@interface MPSNNReduceRowSum : MPSNNReduceUnary
@end
@interface MPSNNReduceRowMean : MPSNNReduceUnary
@end
@interface MPSNNReduceFeatureChannelsMin : MPSNNReduceUnary
@end
@interface MPSNNReduceFeatureChannelsMax : MPSNNReduceUnary
@end
@interface MPSNNReduceFeatureChannelsSum : MPSNNReduceUnary
@end
@interface MPSNNReduceFeatureChannelsMean : MPSNNReduceUnary
@end

@interface MPSCNNNeuron : MPSCNNKernel {
  DoubleNeuron* neuron_;
}
- (instancetype)initWithDevice:(id<MTLDevice>)device
              neuronDescriptor:(MPSNNNeuronDescriptor*)neuronDescriptor;
- (void)encodeBatchToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                      sourceImages:(MPSImageBatch*)sourceImages
                 destinationImages:(MPSImageBatch*)destinationImages;
@end
