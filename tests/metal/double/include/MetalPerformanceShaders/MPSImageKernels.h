// SPDX-License-Identifier: MIT
// Kernels of images that filter, resize, pad, sample or compare, encoded by themselves.
#pragma once

#import <MetalPerformanceShaders/MPSMatrixKernels.h>

struct DoubleWeights;

@interface MPSUnaryImageKernel : MPSKernel {
 @public
  MPSOffset offset_;
  MPSImageEdgeMode edgeMode_;
}
@property(readwrite, nonatomic) MPSOffset offset;
@property(readwrite, nonatomic) MPSImageEdgeMode edgeMode;
- (instancetype)initWithDevice:(id<MTLDevice>)device;
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                  sourceImage:(MPSImage*)sourceImage
             destinationImage:(MPSImage*)destinationImage;
@end

@interface MPSImageConvolution : MPSUnaryImageKernel {
  DoubleWeights* weights_;
  float bias_;
}
@property(readwrite, nonatomic) float bias;
- (instancetype)initWithDevice:(id<MTLDevice>)device
                   kernelWidth:(NSUInteger)kernelWidth
                  kernelHeight:(NSUInteger)kernelHeight
                       weights:(const float*)kernelWeights;
@end

@interface MPSImageScale : MPSUnaryImageKernel {
 @public
  MPSScaleTransform transform_;
  BOOL isTransformed_;
}
@property(readwrite, nonatomic) const MPSScaleTransform* scaleTransform;
- (instancetype)initWithDevice:(id<MTLDevice>)device;
@end
@interface MPSImageBilinearScale : MPSImageScale
- (instancetype)initWithDevice:(id<MTLDevice>)device;
@end
@interface MPSImageLanczosScale : MPSImageScale
- (instancetype)initWithDevice:(id<MTLDevice>)device;
@end

@interface MPSNNPad : MPSCNNKernel {
  float fillValue_;
}
@property(readwrite, nonatomic) float fillValue;
- (instancetype)initWithDevice:(id<MTLDevice>)device;
- (void)encodeBatchToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                      sourceImages:(MPSImageBatch*)sourceImages
                 destinationImages:(MPSImageBatch*)destinationImages;
@end

@interface MPSNNCompare : MPSCNNArithmetic {
  MPSNNComparisonType comparisonType_;
  float threshold_;
}
@property(readwrite, nonatomic) MPSNNComparisonType comparisonType;
@property(readwrite, nonatomic) float threshold;
- (instancetype)initWithDevice:(id<MTLDevice>)device;
@end

@interface MPSNNGridSample : MPSCNNBinaryKernel {
  BOOL isAbsolute_;
}
@property(readwrite, nonatomic) BOOL useGridValueAsInputCoordinate;
- (instancetype)initWithDevice:(id<MTLDevice>)device;
@end

@interface MPSNNReduceBinary : MPSCNNBinaryKernel
@end
@interface MPSNNLocalCorrelation : MPSNNReduceBinary {
  int windowX_, windowY_, strideX_, strideY_;
}
- (instancetype)initWithDevice:(id<MTLDevice>)device
                     windowInX:(NSUInteger)windowInX
                     windowInY:(NSUInteger)windowInY
                     strideInX:(NSUInteger)strideInX
                     strideInY:(NSUInteger)strideInY;
@end
