// SPDX-License-Identifier: MIT
// MPSNeuralNetwork: descriptors, data sources, optimizers, the graph and its nodes.
#pragma once

#import <MetalPerformanceShaders/MPSCore.h>

typedef NS_ENUM(int32_t, MPSCNNNeuronType) {
  MPSCNNNeuronTypeNone = 0,
  MPSCNNNeuronTypeLinear = 2,
  MPSCNNNeuronTypePReLU = 10,
  MPSCNNNeuronTypeGeLU = 15,
};
typedef NS_OPTIONS(NSUInteger, MPSNNPaddingMethod) {
  MPSNNPaddingMethodAlignCentered = 0,
  MPSNNPaddingMethodAlignTopLeft = 1,
  MPSNNPaddingMethodAlignBottomRight = 2,
  MPSNNPaddingMethodAddRemainderToTopLeft = 0,
  MPSNNPaddingMethodAddRemainderToTopRight = 4,
  MPSNNPaddingMethodAddRemainderToBottomLeft = 8,
  MPSNNPaddingMethodAddRemainderToBottomRight = 12,
  MPSNNPaddingMethodSizeSame = 16,
  MPSNNPaddingMethodSizeFull = 32,
  MPSNNPaddingMethodCustom = 16384,
};
typedef NS_OPTIONS(NSUInteger, MPSNNComparisonType) {
  MPSNNComparisonTypeEqual = 0,
  MPSNNComparisonTypeNotEqual = 1,
  MPSNNComparisonTypeLess = 2,
  MPSNNComparisonTypeLessOrEqual = 3,
  MPSNNComparisonTypeGreater = 4,
  MPSNNComparisonTypeGreaterOrEqual = 5,
};
typedef NS_ENUM(NSUInteger, MPSNNRegularizationType) {
  MPSNNRegularizationTypeNone = 0,
  MPSNNRegularizationTypeL1 = 1,
  MPSNNRegularizationTypeL2 = 2,
};
typedef NS_OPTIONS(NSUInteger, MPSNNTrainingStyle) {
  MPSNNTrainingStyleUpdateDeviceNone = 0,
  MPSNNTrainingStyleUpdateDeviceGPU = 2,
};
typedef NS_OPTIONS(NSUInteger, MPSNNConvolutionAccumulatorPrecisionOption) {
  MPSNNConvolutionAccumulatorPrecisionOptionHalf = 0,
  MPSNNConvolutionAccumulatorPrecisionOptionFloat = 1,
};
typedef NS_ENUM(NSUInteger, MPSCNNBinaryConvolutionFlags) {
  MPSCNNBinaryConvolutionFlagsNone = 0,
  MPSCNNBinaryConvolutionFlagsUseBetaScaling = 1,
};
typedef NS_ENUM(NSUInteger, MPSCNNBinaryConvolutionType) {
  MPSCNNBinaryConvolutionTypeBinaryWeights = 0,
  MPSCNNBinaryConvolutionTypeXNOR = 1,
  MPSCNNBinaryConvolutionTypeAND = 2,
};
typedef NS_ENUM(uint32_t, MPSCNNConvolutionWeightsLayout) {
  MPSCNNConvolutionWeightsLayoutOHWI = 0,
};
typedef NS_ENUM(uint32_t, MPSCNNLossType) {
  MPSCNNLossTypeMeanAbsoluteError = 0,
  MPSCNNLossTypeMeanSquaredError = 1,
  MPSCNNLossTypeSoftMaxCrossEntropy = 2,
  MPSCNNLossTypeSigmoidCrossEntropy = 3,
  MPSCNNLossTypeCategoricalCrossEntropy = 4,
  MPSCNNLossTypeCosineDistance = 7,
  MPSCNNLossTypeLog = 8,
};
typedef NS_ENUM(int32_t, MPSCNNReductionType) {
  MPSCNNReductionTypeNone = 0,
  MPSCNNReductionTypeSum = 1,
  MPSCNNReductionTypeMean = 2,
  MPSCNNReductionTypeSumByNonZeroWeights = 3,
};

@interface MPSNNNeuronDescriptor : NSObject {
 @public
  MPSCNNNeuronType type_;
  float a_, b_, c_;
  NSData* data_;
}
+ (MPSNNNeuronDescriptor*)cnnNeuronDescriptorWithType:(MPSCNNNeuronType)neuronType
                                                    a:(float)a
                                                    b:(float)b
                                                    c:(float)c;
+ (MPSNNNeuronDescriptor*)cnnNeuronPReLUDescriptorWithData:(NSData*)data noCopy:(bool)noCopy;
@end

@interface MPSCNNConvolutionDescriptor : NSObject {
 @public
  NSUInteger kernelWidth_, kernelHeight_, inputs_, outputs_, strideX_, strideY_, groups_;
  NSUInteger dilationX_, dilationY_;
  MPSNNNeuronDescriptor* neuron_;
}
@property(readwrite, nonatomic) NSUInteger kernelWidth;
@property(readwrite, nonatomic) NSUInteger kernelHeight;
@property(readwrite, nonatomic) NSUInteger inputFeatureChannels;
@property(readwrite, nonatomic) NSUInteger outputFeatureChannels;
@property(readwrite, nonatomic) NSUInteger strideInPixelsX;
@property(readwrite, nonatomic) NSUInteger strideInPixelsY;
@property(readwrite, nonatomic) NSUInteger groups;
@property(readwrite, nonatomic) NSUInteger dilationRateX;
@property(readwrite, nonatomic) NSUInteger dilationRateY;
@property(readwrite, retain, nonatomic) MPSNNNeuronDescriptor* fusedNeuronDescriptor;
+ (instancetype)cnnConvolutionDescriptorWithKernelWidth:(NSUInteger)kernelWidth
                                           kernelHeight:(NSUInteger)kernelHeight
                                   inputFeatureChannels:(NSUInteger)inputFeatureChannels
                                  outputFeatureChannels:(NSUInteger)outputFeatureChannels;
@end

@interface MPSCNNDepthWiseConvolutionDescriptor : MPSCNNConvolutionDescriptor
@end
@interface MPSCNNSubPixelConvolutionDescriptor : MPSCNNConvolutionDescriptor {
  NSUInteger subPixelScaleFactor_;
}
@property(readwrite, nonatomic) NSUInteger subPixelScaleFactor;
@end

@interface MPSCNNConvolutionGradientState : MPSState {
 @public
  id<MTLBuffer> weights_;
  id<MTLBuffer> biases_;
}
@property(readonly, nonatomic) id<MTLBuffer> gradientForWeights;
@property(readonly, nonatomic) id<MTLBuffer> gradientForBiases;
@end

@interface MPSCNNConvolutionWeightsAndBiasesState : MPSState {
 @public
  id<MTLBuffer> weights_;
  id<MTLBuffer> biases_;
  NSUInteger weightsOffset_, biasesOffset_;
}
- (instancetype)initWithWeights:(id<MTLBuffer>)weights
                  weightsOffset:(NSUInteger)weightsOffset
                         biases:(id<MTLBuffer>)biases
                   biasesOffset:(NSUInteger)biasesOffset
       cnnConvolutionDescriptor:(MPSCNNConvolutionDescriptor*)descriptor;
@end

@protocol MPSCNNConvolutionDataSource <NSCopying, NSObject>
- (MPSDataType)dataType;
- (MPSCNNConvolutionDescriptor*)descriptor;
- (void*)weights;
- (float*)biasTerms;
- (BOOL)load;
- (void)purge;
- (NSString*)label;
@optional
- (MPSCNNConvolutionWeightsAndBiasesState*)
    updateWithCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
              gradientState:(MPSCNNConvolutionGradientState*)gradientState
                sourceState:(MPSCNNConvolutionWeightsAndBiasesState*)sourceState;
- (MPSCNNConvolutionWeightsLayout)weightsLayout;
- (MPSDataType)kernelWeightsDataType;
@end

@interface MPSNNOptimizerDescriptor : NSObject {
 @public
  float learningRate_, rescale_, clipMax_, clipMin_, regularizationScale_;
  BOOL clips_;
  MPSNNRegularizationType regularization_;
}
+ (instancetype)optimizerDescriptorWithLearningRate:(float)learningRate
                                    gradientRescale:(float)gradientRescale
                              applyGradientClipping:(BOOL)applyGradientClipping
                                    gradientClipMax:(float)gradientClipMax
                                    gradientClipMin:(float)gradientClipMin
                                 regularizationType:(MPSNNRegularizationType)regularizationType
                                regularizationScale:(float)regularizationScale;
@end

@interface MPSNNOptimizer : MPSKernel {
 @public
  MPSNNOptimizerDescriptor* descriptor_;
}
- (void)setLearningRate:(float)newLearningRate;
@end

@interface MPSNNOptimizerAdam : MPSNNOptimizer {
  double beta1_, beta2_;
  float epsilon_;
  NSUInteger timeStep_;
}
@property(readwrite, nonatomic) NSUInteger timeStep;
- (instancetype)initWithDevice:(id<MTLDevice>)device
                         beta1:(double)beta1
                         beta2:(double)beta2
                       epsilon:(float)epsilon
                      timeStep:(NSUInteger)timeStep
           optimizerDescriptor:(MPSNNOptimizerDescriptor*)optimizerDescriptor;
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
          inputGradientVector:(MPSVector*)inputGradientVector
            inputValuesVector:(MPSVector*)inputValuesVector
          inputMomentumVector:(MPSVector*)inputMomentumVector
          inputVelocityVector:(MPSVector*)inputVelocityVector
        maximumVelocityVector:(MPSVector*)maximumVelocityVector
           resultValuesVector:(MPSVector*)resultValuesVector;
@end

@interface MPSNNOptimizerRMSProp : MPSNNOptimizer {
  double decay_;
  float epsilon_;
}
- (instancetype)initWithDevice:(id<MTLDevice>)device
                         decay:(double)decay
                       epsilon:(float)epsilon
           optimizerDescriptor:(MPSNNOptimizerDescriptor*)optimizerDescriptor;
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
          inputGradientVector:(MPSVector*)inputGradientVector
            inputValuesVector:(MPSVector*)inputValuesVector
      inputSumOfSquaresVector:(MPSVector*)inputSumOfSquaresVector
           resultValuesVector:(MPSVector*)resultValuesVector;
@end

@interface MPSNNOptimizerStochasticGradientDescent : MPSNNOptimizer {
  float momentumScale_;
  BOOL nesterov_;
}
- (instancetype)initWithDevice:(id<MTLDevice>)device
                 momentumScale:(float)momentumScale
           useNesterovMomentum:(BOOL)useNesterovMomentum
           optimizerDescriptor:(MPSNNOptimizerDescriptor*)optimizerDescriptor;
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
          inputGradientVector:(MPSVector*)inputGradientVector
            inputValuesVector:(MPSVector*)inputValuesVector
          inputMomentumVector:(MPSVector*)inputMomentumVector
           resultValuesVector:(MPSVector*)resultValuesVector;
@end

@interface MPSCNNLossDescriptor : NSObject {
 @public
  MPSCNNLossType type_;
  MPSCNNReductionType reduction_;
  BOOL reduceAcrossBatch_;
  float weight_, labelSmoothing_, epsilon_, delta_;
  NSUInteger numberOfClasses_;
}
@property(readwrite, nonatomic) BOOL reduceAcrossBatch;
@property(readwrite, nonatomic) float weight;
@property(readwrite, nonatomic) float labelSmoothing;
@property(readwrite, nonatomic) NSUInteger numberOfClasses;
@property(readwrite, nonatomic) float epsilon;
@property(readwrite, nonatomic) float delta;
+ (MPSCNNLossDescriptor*)cnnLossDescriptorWithType:(MPSCNNLossType)lossType
                                     reductionType:(MPSCNNReductionType)reductionType;
@end

@protocol MPSNNPadding <NSObject, NSSecureCoding>
- (MPSNNPaddingMethod)paddingMethod;
@optional
- (MPSImageDescriptor*)destinationImageDescriptorForSourceImages:(NSArray<MPSImage*>*)sourceImages
                                                    sourceStates:(NSArray<MPSState*>*)sourceStates
                                                       forKernel:(MPSKernel*)kernel
                                             suggestedDescriptor:(MPSImageDescriptor*)inDescriptor;
@end

@interface MPSCNNKernel : MPSKernel {
  MPSOffset offset_;
  MPSImageEdgeMode edgeMode_;
}
@property(readwrite, nonatomic) MPSOffset offset;
@property(readwrite, nonatomic) MPSImageEdgeMode edgeMode;
@end
@interface MPSCNNConvolution : MPSCNNKernel {
  void* weights_;  // a shared_ptr<Convolution>
}
@property(readwrite, nonatomic)
    MPSNNConvolutionAccumulatorPrecisionOption accumulatorPrecisionOption;
- (instancetype)initWithDevice:(id<MTLDevice>)device
                       weights:(id<MPSCNNConvolutionDataSource>)weights;
- (void)reloadWeightsAndBiasesWithCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                                          state:(MPSCNNConvolutionWeightsAndBiasesState*)state;
- (void)encodeBatchToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                      sourceImages:(MPSImageBatch*)sourceImages
                 destinationImages:(MPSImageBatch*)destinationImages;
@end
@interface MPSCNNConvolutionTranspose : MPSCNNKernel {
  NSInteger kernelOffsetX_, kernelOffsetY_;
}
@property(readwrite, nonatomic) NSInteger kernelOffsetX;
@property(readwrite, nonatomic) NSInteger kernelOffsetY;
@end
@interface MPSCNNPooling : MPSCNNKernel
@end
@interface MPSCNNPoolingAverage : MPSCNNPooling {
  NSUInteger zeroPadSizeX_, zeroPadSizeY_;
}
@property(readwrite, nonatomic) NSUInteger zeroPadSizeX;
@property(readwrite, nonatomic) NSUInteger zeroPadSizeY;
@end

@interface MPSNNDefaultPadding : NSObject <MPSNNPadding> {
  MPSNNPaddingMethod method_;
}
+ (instancetype)paddingWithMethod:(MPSNNPaddingMethod)method;
@end

struct DoubleGraph;

@interface MPSNNImageNode : NSObject {
 @public
  void* node_;  // a shared_ptr<DoubleNode>
}
@property(readwrite, retain, nonatomic) id<MPSHandle> handle;
@property(readwrite, nonatomic) MPSImageFeatureChannelFormat format;
@property(readwrite, nonatomic) BOOL exportFromGraph;
+ (instancetype)nodeWithHandle:(NSObject<MPSHandle>*)handle;
@end

@class MPSNNGradientFilterNode;

@interface MPSNNFilterNode : NSObject {
 @public
  void* node_;  // a shared_ptr<DoubleNode>
  MPSNNImageNode* result_;
  NSString* label_;
}
@property(readonly, nonatomic) MPSNNImageNode* resultImage;
@property(readwrite, retain, nonatomic) id<MPSNNPadding> paddingPolicy;
@property(copy) NSString* label;
- (NSArray<MPSNNGradientFilterNode*>*)gradientFiltersWithSource:(MPSNNImageNode*)gradientImage;
@end

@interface MPSNNGradientFilterNode : MPSNNFilterNode
@end

@protocol MPSNNTrainableNode <NSObject>
@property(readwrite, nonatomic) MPSNNTrainingStyle trainingStyle;
@end

@interface MPSCNNConvolutionNode : MPSNNFilterNode <MPSNNTrainableNode>
@property(readwrite, nonatomic) MPSNNConvolutionAccumulatorPrecisionOption accumulatorPrecision;
+ (instancetype)nodeWithSource:(MPSNNImageNode*)sourceNode
                       weights:(id<MPSCNNConvolutionDataSource>)weights;
@end

@interface MPSCNNFullyConnectedNode : MPSCNNConvolutionNode
@end

@interface MPSCNNBinaryConvolutionNode : MPSCNNConvolutionNode
+ (instancetype)nodeWithSource:(MPSNNImageNode*)sourceNode
                       weights:(id<MPSCNNConvolutionDataSource>)weights
                    scaleValue:(float)scaleValue
                          type:(MPSCNNBinaryConvolutionType)type
                         flags:(MPSCNNBinaryConvolutionFlags)flags;
+ (instancetype)nodeWithSource:(MPSNNImageNode*)sourceNode
                       weights:(id<MPSCNNConvolutionDataSource>)weights
               outputBiasTerms:(const float*)outputBiasTerms
              outputScaleTerms:(const float*)outputScaleTerms
                inputBiasTerms:(const float*)inputBiasTerms
               inputScaleTerms:(const float*)inputScaleTerms
                          type:(MPSCNNBinaryConvolutionType)type
                         flags:(MPSCNNBinaryConvolutionFlags)flags;
@end
@interface MPSCNNBinaryFullyConnectedNode : MPSCNNBinaryConvolutionNode
@end

@class MPSCNNConvolutionGradientStateNode;
@interface MPSCNNConvolutionTransposeNode : MPSCNNConvolutionNode
+ (instancetype)nodeWithSource:(MPSNNImageNode*)sourceNode
      convolutionGradientState:(MPSCNNConvolutionGradientStateNode*)convolutionGradientState
                       weights:(id<MPSCNNConvolutionDataSource>)weights;
@end

@interface MPSCNNConvolutionGradientNode : MPSNNGradientFilterNode <MPSNNTrainableNode>
@end
@interface MPSCNNConvolutionTransposeGradientNode : MPSCNNConvolutionGradientNode
@end

@interface MPSCNNNeuronNode : MPSNNFilterNode
+ (instancetype)nodeWithSource:(MPSNNImageNode*)sourceNode
                    descriptor:(MPSNNNeuronDescriptor*)descriptor;
@end

@interface MPSCNNNeuronLinearNode : MPSCNNNeuronNode
+ (instancetype)nodeWithSource:(MPSNNImageNode*)sourceNode a:(float)a b:(float)b;
@end

@interface MPSCNNPoolingNode : MPSNNFilterNode
- (instancetype)initWithSource:(MPSNNImageNode*)sourceNode
                   kernelWidth:(NSUInteger)kernelWidth
                  kernelHeight:(NSUInteger)kernelHeight
               strideInPixelsX:(NSUInteger)strideInPixelsX
               strideInPixelsY:(NSUInteger)strideInPixelsY;
@end
@interface MPSCNNPoolingMaxNode : MPSCNNPoolingNode
@end
@interface MPSCNNPoolingAverageNode : MPSCNNPoolingNode
@end
@interface MPSCNNPoolingL2NormNode : MPSCNNPoolingNode
@end
@interface MPSCNNDilatedPoolingMaxNode : MPSNNFilterNode
- (instancetype)initWithSource:(MPSNNImageNode*)sourceNode
                   kernelWidth:(NSUInteger)kernelWidth
                  kernelHeight:(NSUInteger)kernelHeight
               strideInPixelsX:(NSUInteger)strideInPixelsX
               strideInPixelsY:(NSUInteger)strideInPixelsY
                 dilationRateX:(NSUInteger)dilationRateX
                 dilationRateY:(NSUInteger)dilationRateY;
@end

@interface MPSCNNUpsamplingNearestNode : MPSNNFilterNode
+ (instancetype)nodeWithSource:(MPSNNImageNode*)sourceNode
           integerScaleFactorX:(NSUInteger)integerScaleFactorX
           integerScaleFactorY:(NSUInteger)integerScaleFactorY;
@end
@interface MPSCNNUpsamplingBilinearNode : MPSNNFilterNode
+ (instancetype)nodeWithSource:(MPSNNImageNode*)sourceNode
           integerScaleFactorX:(NSUInteger)integerScaleFactorX
           integerScaleFactorY:(NSUInteger)integerScaleFactorY
                  alignCorners:(BOOL)alignCorners;
@end

@interface MPSNNBinaryArithmeticNode : MPSNNFilterNode
@property(readwrite, nonatomic) NSUInteger secondaryStrideInPixelsX;
@property(readwrite, nonatomic) NSUInteger secondaryStrideInPixelsY;
@property(readwrite, nonatomic) NSUInteger secondaryStrideInFeatureChannels;
+ (instancetype)nodeWithLeftSource:(MPSNNImageNode*)left rightSource:(MPSNNImageNode*)right;
@end
@interface MPSNNAdditionNode : MPSNNBinaryArithmeticNode
@end
@interface MPSNNMultiplicationNode : MPSNNBinaryArithmeticNode
@end
@interface MPSNNDivisionNode : MPSNNBinaryArithmeticNode
@end
@interface MPSNNComparisonNode : MPSNNBinaryArithmeticNode
@property(readwrite, nonatomic) MPSNNComparisonType comparisonType;
@end
@interface MPSNNArithmeticGradientNode : MPSNNGradientFilterNode
@property(readonly, nonatomic) BOOL isSecondarySourceFilter;
@end

@interface MPSNNUnaryReductionNode : MPSNNFilterNode
@property(readwrite, nonatomic) MTLRegion clipRectSource;
+ (instancetype)nodeWithSource:(MPSNNImageNode*)sourceNode;
@end
@interface MPSNNReductionRowMinNode : MPSNNUnaryReductionNode
@end
@interface MPSNNReductionRowMaxNode : MPSNNUnaryReductionNode
@end
@interface MPSNNReductionRowMeanNode : MPSNNUnaryReductionNode
@end
@interface MPSNNReductionColumnMinNode : MPSNNUnaryReductionNode
@end
@interface MPSNNReductionColumnMaxNode : MPSNNUnaryReductionNode
@end
@interface MPSNNReductionColumnMeanNode : MPSNNUnaryReductionNode
@end
@interface MPSNNReductionFeatureChannelsMinNode : MPSNNUnaryReductionNode
@end
@interface MPSNNReductionFeatureChannelsMaxNode : MPSNNUnaryReductionNode
@end
@interface MPSNNReductionFeatureChannelsMeanNode : MPSNNUnaryReductionNode
@end
@interface MPSNNReductionRowSumNode : MPSNNUnaryReductionNode
@end
@interface MPSNNReductionColumnSumNode : MPSNNUnaryReductionNode
@end
@interface MPSNNReductionFeatureChannelsSumNode : MPSNNUnaryReductionNode
@property(readwrite, nonatomic) float weight;
@end
@interface MPSNNReductionFeatureChannelsArgumentMinNode : MPSNNUnaryReductionNode
@end
@interface MPSNNReductionFeatureChannelsArgumentMaxNode : MPSNNUnaryReductionNode
@end
@interface MPSNNReductionSpatialMeanNode : MPSNNUnaryReductionNode
@end

@interface MPSNNReshapeNode : MPSNNFilterNode
+ (instancetype)nodeWithSource:(MPSNNImageNode*)source
                   resultWidth:(NSUInteger)resultWidth
                  resultHeight:(NSUInteger)resultHeight
         resultFeatureChannels:(NSUInteger)resultFeatureChannels;
@end
@interface MPSNNPadNode : MPSNNFilterNode
@property(readwrite, nonatomic) float fillValue;
+ (instancetype)nodeWithSource:(MPSNNImageNode*)source
             paddingSizeBefore:(MPSImageCoordinate)paddingSizeBefore
              paddingSizeAfter:(MPSImageCoordinate)paddingSizeAfter
                      edgeMode:(MPSImageEdgeMode)edgeMode;
@end
@interface MPSCNNDropoutNode : MPSNNFilterNode
+ (instancetype)nodeWithSource:(MPSNNImageNode*)source
               keepProbability:(float)keepProbability
                          seed:(NSUInteger)seed
            maskStrideInPixels:(MTLSize)maskStrideInPixels;
@end
@interface MPSCNNDropoutGradientNode : MPSNNGradientFilterNode
@end

@protocol MPSImageTransformProvider <NSSecureCoding, NSObject>
- (MPSScaleTransform)transformForSourceImage:(MPSImage*)image handle:(id<MPSHandle>)handle;
@end

@interface MPSNNScaleNode : MPSNNFilterNode
+ (instancetype)nodeWithSource:(MPSNNImageNode*)sourceNode
             transformProvider:(id<MPSImageTransformProvider>)transformProvider
                    outputSize:(MTLSize)size;
@end
@interface MPSNNBilinearScaleNode : MPSNNScaleNode
@end
@interface MPSNNLanczosScaleNode : MPSNNScaleNode
@end
@interface MPSNNGramMatrixCalculationNode : MPSNNFilterNode
+ (instancetype)nodeWithSource:(MPSNNImageNode*)sourceNode alpha:(float)alpha;
@end

@interface MPSCNNNormalizationNode : MPSNNFilterNode
@property(readwrite, nonatomic) float alpha;
@property(readwrite, nonatomic) float beta;
@property(readwrite, nonatomic) float delta;
+ (instancetype)nodeWithSource:(MPSNNImageNode*)sourceNode;
@end
@interface MPSCNNSpatialNormalizationNode : MPSCNNNormalizationNode
@property(readwrite, nonatomic) NSUInteger kernelWidth;
@property(readwrite, nonatomic) NSUInteger kernelHeight;
@end
@interface MPSCNNLocalContrastNormalizationNode : MPSCNNNormalizationNode
@property(readwrite, nonatomic) float pm;
@property(readwrite, nonatomic) float ps;
@property(readwrite, nonatomic) float p0;
@property(readwrite, nonatomic) NSUInteger kernelWidth;
@property(readwrite, nonatomic) NSUInteger kernelHeight;
@end
@interface MPSCNNCrossChannelNormalizationNode : MPSCNNNormalizationNode
@property(readwrite, nonatomic) NSUInteger kernelSizeInFeatureChannels;
@end

@interface MPSNNConcatenationNode : MPSNNFilterNode
+ (instancetype)nodeWithSources:(NSArray<MPSNNImageNode*>*)sourceNodes;
@end

@interface MPSCNNSoftMaxNode : MPSNNFilterNode
+ (instancetype)nodeWithSource:(MPSNNImageNode*)sourceNode;
@end
@interface MPSCNNLogSoftMaxNode : MPSNNFilterNode
+ (instancetype)nodeWithSource:(MPSNNImageNode*)sourceNode;
@end

@interface MPSNNForwardLossNode : MPSNNFilterNode
+ (instancetype)nodeWithSource:(MPSNNImageNode*)source
                        labels:(MPSNNImageNode*)labels
                       weights:(MPSNNImageNode*)weights
                lossDescriptor:(MPSCNNLossDescriptor*)descriptor;
+ (instancetype)nodeWithSource:(MPSNNImageNode*)source
                        labels:(MPSNNImageNode*)labels
                lossDescriptor:(MPSCNNLossDescriptor*)descriptor;
@end
@interface MPSNNLossGradientNode : MPSNNGradientFilterNode
@property(readonly, nonatomic) BOOL isLabelsGradientFilter;
@end

@interface MPSNNInitialGradientNode : MPSNNFilterNode
+ (instancetype)nodeWithSource:(MPSNNImageNode*)source;
@end

@interface MPSNNGraph : MPSKernel {
  DoubleGraph* graph_;
}
@property(readonly, copy, nonatomic) NSArray<id<MPSHandle>>* sourceImageHandles;
@property(readonly, copy, nonatomic) NSArray<id<MPSHandle>>* sourceStateHandles;
@property(readonly, copy, nonatomic) NSArray<id<MPSHandle>>* intermediateImageHandles;
@property(readwrite, nonatomic) MPSImageFeatureChannelFormat format;
@property(readwrite, nonatomic, retain) id<MPSImageAllocator> destinationImageAllocator;
- (instancetype)initWithDevice:(id<MTLDevice>)device
                  resultImages:(NSArray<MPSNNImageNode*>*)resultImages
              resultsAreNeeded:(BOOL*)areResultsNeeded;
- (void)reloadFromDataSources;
- (MPSImageBatch*)encodeBatchToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                                sourceImages:(NSArray<MPSImageBatch*>*)sourceImages
                                sourceStates:(NSArray<MPSStateBatch*>*)sourceStates
                          intermediateImages:(NSMutableArray<MPSImageBatch*>*)intermediateImages
                           destinationStates:(NSMutableArray<MPSStateBatch*>*)destinationStates;
- (NSUInteger)readCountForSourceImageAtIndex:(NSUInteger)index;
@end
