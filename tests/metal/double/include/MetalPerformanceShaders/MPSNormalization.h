// SPDX-License-Identifier: MIT
// MPSNeuralNetwork: normalisations with data sources.
#pragma once

#import <MetalPerformanceShaders/MPSNeuralNetwork.h>

typedef NS_OPTIONS(NSUInteger, MPSCNNBatchNormalizationFlags) {
  MPSCNNBatchNormalizationFlagsDefault = 0,
  MPSCNNBatchNormalizationFlagsCalculateStatisticsAlways = 1,
  MPSCNNBatchNormalizationFlagsCalculateStatisticsNever = 2,
};

@interface MPSCNNNormalizationGammaAndBetaState : MPSState {
 @public
  id<MTLBuffer> gamma_;
  id<MTLBuffer> beta_;
}
@property(readonly, nonatomic) id<MTLBuffer> gamma;
@property(readonly, nonatomic) id<MTLBuffer> beta;
- (instancetype)initWithGamma:(id<MTLBuffer>)gamma beta:(id<MTLBuffer>)beta;
@end
@interface MPSCNNNormalizationMeanAndVarianceState : MPSState {
 @public
  id<MTLBuffer> mean_;
  id<MTLBuffer> variance_;
}
@property(readonly, nonatomic) id<MTLBuffer> mean;
@property(readonly, nonatomic) id<MTLBuffer> variance;
- (instancetype)initWithMean:(id<MTLBuffer>)mean variance:(id<MTLBuffer>)variance;
@end

@interface MPSCNNBatchNormalizationState : MPSState {
 @public
  id<MTLBuffer> mean_;
  id<MTLBuffer> variance_;
  id<MTLBuffer> gammaGradient_;
  id<MTLBuffer> betaGradient_;
}
- (id<MTLBuffer>)mean;
- (id<MTLBuffer>)variance;
- (id<MTLBuffer>)gradientForGamma;
- (id<MTLBuffer>)gradientForBeta;
@end
@interface MPSCNNInstanceNormalizationGradientState : MPSState {
 @public
  id<MTLBuffer> gammaGradient_;
  id<MTLBuffer> betaGradient_;
}
@property(readonly, nonatomic) id<MTLBuffer> gradientForGamma;
@property(readonly, nonatomic) id<MTLBuffer> gradientForBeta;
@end
@interface MPSCNNGroupNormalizationGradientState : MPSState {
 @public
  id<MTLBuffer> gammaGradient_;
  id<MTLBuffer> betaGradient_;
}
@property(readonly, nonatomic) id<MTLBuffer> gradientForGamma;
@property(readonly, nonatomic) id<MTLBuffer> gradientForBeta;
@end
typedef NSArray<MPSCNNInstanceNormalizationGradientState*>
    MPSCNNInstanceNormalizationGradientStateBatch;
typedef NSArray<MPSCNNGroupNormalizationGradientState*> MPSCNNGroupNormalizationGradientStateBatch;

@protocol MPSCNNBatchNormalizationDataSource <NSObject, NSCopying>
- (NSUInteger)numberOfFeatureChannels;
- (float*)gamma;
- (float*)beta;
- (float*)mean;
- (float*)variance;
- (BOOL)load;
- (void)purge;
- (NSString*)label;
@optional
- (MPSCNNNormalizationGammaAndBetaState*)
    updateGammaAndBetaWithCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                batchNormalizationState:(MPSCNNBatchNormalizationState*)batchNormalizationState;
- (MPSCNNNormalizationMeanAndVarianceState*)
    updateMeanAndVarianceWithCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                   batchNormalizationState:(MPSCNNBatchNormalizationState*)batchNormalizationState;
- (float)epsilon;
@end
@protocol MPSCNNInstanceNormalizationDataSource <NSObject, NSCopying>
- (float*)gamma;
- (float*)beta;
@property(readonly, nonatomic) NSUInteger numberOfFeatureChannels;
- (NSString*)label;
@optional
- (MPSCNNNormalizationGammaAndBetaState*)
    updateGammaAndBetaWithCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
        instanceNormalizationStateBatch:
            (MPSCNNInstanceNormalizationGradientStateBatch*)instanceNormalizationStateBatch;
- (float)epsilon;
- (BOOL)load;
- (void)purge;
@end
@protocol MPSCNNGroupNormalizationDataSource <NSObject, NSCopying>
- (float*)gamma;
- (float*)beta;
@property(readonly, nonatomic) NSUInteger numberOfFeatureChannels;
@property(readwrite, nonatomic) NSUInteger numberOfGroups;
- (NSString*)label;
@optional
- (MPSCNNNormalizationGammaAndBetaState*)
    updateGammaAndBetaWithCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
           groupNormalizationStateBatch:
               (MPSCNNGroupNormalizationGradientStateBatch*)groupNormalizationStateBatch;
- (float)epsilon;
@end

@interface MPSCNNBatchNormalizationNode : MPSNNFilterNode <MPSNNTrainableNode> {
 @public
  id data_;
  MPSCNNBatchNormalizationFlags flags_;
}
@property(readwrite, nonatomic) MPSCNNBatchNormalizationFlags flags;
+ (instancetype)nodeWithSource:(MPSNNImageNode*)source
                    dataSource:(id<MPSCNNBatchNormalizationDataSource>)dataSource;
@end
@interface MPSCNNInstanceNormalizationNode : MPSNNFilterNode <MPSNNTrainableNode>
+ (instancetype)nodeWithSource:(MPSNNImageNode*)source
                    dataSource:(id<MPSCNNInstanceNormalizationDataSource>)dataSource;
@end
@interface MPSCNNGroupNormalizationNode : MPSNNFilterNode <MPSNNTrainableNode>
+ (instancetype)nodeWithSource:(MPSNNImageNode*)source
                    dataSource:(id<MPSCNNGroupNormalizationDataSource>)dataSource;
@end
@interface MPSCNNBatchNormalizationGradientNode : MPSNNGradientFilterNode <MPSNNTrainableNode>
@end
@interface MPSCNNInstanceNormalizationGradientNode : MPSNNGradientFilterNode <MPSNNTrainableNode>
@end
@interface MPSCNNGroupNormalizationGradientNode : MPSNNGradientFilterNode <MPSNNTrainableNode>
@end
