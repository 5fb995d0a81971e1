// SPDX-License-Identifier: MIT
// MPSCore, MPSMatrix and MPSImage: images, matrices, vectors, states, command buffers.
#pragma once

#import <Metal/Metal.h>

typedef NS_ENUM(uint32_t, MPSDataType) {
  MPSDataTypeFloat32 = 268435488,
  MPSDataTypeFloat16 = 268435472,
  MPSDataTypeInt8 = 536870920,
  MPSDataTypeInt16 = 536870928,
  MPSDataTypeInt32 = 536870944,
  MPSDataTypeUInt8 = 8,
  MPSDataTypeUInt16 = 16,
  MPSDataTypeUInt32 = 32,
};
typedef NS_ENUM(NSUInteger, MPSImageFeatureChannelFormat) {
  MPSImageFeatureChannelFormatNone = 0,
  MPSImageFeatureChannelFormatFloat16 = 3,
  MPSImageFeatureChannelFormatFloat32 = 4,
};
typedef NS_ENUM(NSUInteger, MPSDataLayout) {
  MPSDataLayoutHeightxWidthxFeatureChannels = 0,
};
typedef NS_ENUM(NSUInteger, MPSImageEdgeMode) {
  MPSImageEdgeModeZero = 0,
  MPSImageEdgeModeClamp = 1,
  MPSImageEdgeModeMirror = 2,
  MPSImageEdgeModeMirrorWithEdge = 3,
  MPSImageEdgeModeConstant = 4,
};
typedef struct {
  NSInteger x, y, z;
} MPSOffset;
typedef struct MPSImageCoordinate {
  NSUInteger x, y, channel;
} MPSImageCoordinate;

typedef struct MPSScaleTransform {
  double scaleX, scaleY, translateX, translateY;
} MPSScaleTransform;

struct DoubleImage;

@interface MPSPredicate : NSObject {
  id<MTLBuffer> buffer_;
  NSUInteger offset_;
}
@property(readonly, retain, nonatomic) id<MTLBuffer> predicateBuffer;
@property(readonly, nonatomic) NSUInteger predicateOffset;
+ (instancetype)predicateWithBuffer:(id<MTLBuffer>)buffer offset:(NSUInteger)offset;
@end

@protocol MPSHeapProvider <NSObject>
- (id<MTLHeap>)newHeapWithDescriptor:(MTLHeapDescriptor*)descriptor;
@optional
- (void)retireHeap:(id<MTLHeap>)heap cacheDelay:(double)seconds;
@end

@interface MPSCommandBuffer : NSObject <MTLCommandBuffer> {
  id<MTLCommandBuffer> wrapped_;
  id<MTLCommandQueue> queue_;
  MPSPredicate* predicate_;
  NSString* label_;
}
@property(readonly, retain, nonatomic) id<MTLCommandBuffer> commandBuffer;
@property(readonly, retain, nonatomic) id<MTLCommandBuffer> rootCommandBuffer;
@property(readwrite, retain, nonatomic) MPSPredicate* predicate;
@property(readwrite, retain, nonatomic) id<MPSHeapProvider> heapProvider;
+ (instancetype)commandBufferWithCommandBuffer:(id<MTLCommandBuffer>)commandBuffer;
+ (instancetype)commandBufferFromCommandQueue:(id<MTLCommandQueue>)commandQueue;
- (void)commitAndContinue;
@end

@interface MPSKernel : NSObject {
  id<MTLDevice> device_;
}
@property(readonly, retain, nonatomic) id<MTLDevice> device;
- (instancetype)initWithDevice:(id<MTLDevice>)device;
@end

@interface MPSImageDescriptor : NSObject {
 @public
  NSUInteger width_, height_, featureChannels_;
  MPSImageFeatureChannelFormat channelFormat_;
  MTLTextureUsage usage_;
}
@property(readwrite, nonatomic) NSUInteger width;
@property(readwrite, nonatomic) NSUInteger height;
@property(readwrite, nonatomic) MTLTextureUsage usage;
+ (instancetype)imageDescriptorWithChannelFormat:(MPSImageFeatureChannelFormat)channelFormat
                                           width:(NSUInteger)width
                                          height:(NSUInteger)height
                                 featureChannels:(NSUInteger)featureChannels;
@end

@class MPSImage;
typedef NSArray<MPSImage*> MPSImageBatch;

@protocol MPSImageAllocator <NSObject>
@end

@interface MPSImage : NSObject {
 @public
  DoubleImage* image_;
}
@property(readonly, retain, nonatomic) id<MTLDevice> device;
+ (id<MPSImageAllocator>)defaultAllocator;
@property(readonly, nonatomic) NSUInteger width;
@property(readonly, nonatomic) NSUInteger height;
@property(readonly, nonatomic) NSUInteger featureChannels;
@property(readonly, nonatomic) NSUInteger numberOfImages;
@property(readonly, nonatomic) MTLTextureUsage usage;
@property(readonly, nonatomic) MPSImageFeatureChannelFormat featureChannelFormat;
- (instancetype)initWithDevice:(id<MTLDevice>)device
               imageDescriptor:(const MPSImageDescriptor*)imageDescriptor;
- (instancetype)initWithTexture:(id<MTLTexture>)texture featureChannels:(NSUInteger)featureChannels;
- (MPSImageBatch*)batchRepresentation;
- (void)readBytes:(void*)dataBytes
       dataLayout:(MPSDataLayout)dataLayout
       imageIndex:(NSUInteger)imageIndex;
- (void)writeBytes:(const void*)dataBytes
        dataLayout:(MPSDataLayout)dataLayout
        imageIndex:(NSUInteger)imageIndex;
@end

@interface MPSTemporaryImage : MPSImage {
 @public
  NSUInteger readCount_;
  const void* owner_;  // the command buffer that it was made for; only compared
}
@property(readwrite, nonatomic) NSUInteger readCount;
+ (id<MPSImageAllocator>)defaultAllocator;
+ (instancetype)temporaryImageWithCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                                imageDescriptor:(const MPSImageDescriptor*)imageDescriptor;
@end

@interface MPSMatrixDescriptor : NSObject {
 @public
  NSUInteger rows_, columns_, matrices_, rowBytes_, matrixBytes_;
  MPSDataType dataType_;
}
+ (instancetype)matrixDescriptorWithRows:(NSUInteger)rows
                                 columns:(NSUInteger)columns
                                rowBytes:(NSUInteger)rowBytes
                                dataType:(MPSDataType)dataType;
+ (instancetype)matrixDescriptorWithRows:(NSUInteger)rows
                                 columns:(NSUInteger)columns
                                matrices:(NSUInteger)matrices
                                rowBytes:(NSUInteger)rowBytes
                             matrixBytes:(NSUInteger)matrixBytes
                                dataType:(MPSDataType)dataType;
@end

@interface MPSMatrix : NSObject {
 @public
  id<MTLBuffer> buffer_;
  NSUInteger offset_, rows_, columns_, matrices_, rowBytes_, matrixBytes_;
  MPSDataType dataType_;
}
- (instancetype)initWithBuffer:(id<MTLBuffer>)buffer
                        offset:(NSUInteger)offset
                    descriptor:(MPSMatrixDescriptor*)descriptor;
@end

@interface MPSVectorDescriptor : NSObject {
 @public
  NSUInteger length_;
  MPSDataType dataType_;
}
+ (instancetype)vectorDescriptorWithLength:(NSUInteger)length dataType:(MPSDataType)dataType;
@end

@interface MPSVector : NSObject {
 @public
  id<MTLBuffer> buffer_;
  NSUInteger offset_, length_;
  MPSDataType dataType_;
}
- (instancetype)initWithBuffer:(id<MTLBuffer>)buffer
                        offset:(NSUInteger)offset
                    descriptor:(MPSVectorDescriptor*)descriptor;
@end

@interface MPSMatrixCopyToImage : MPSKernel
- (instancetype)initWithDevice:(id<MTLDevice>)device dataLayout:(MPSDataLayout)dataLayout;
- (void)encodeBatchToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                      sourceMatrix:(MPSMatrix*)sourceMatrix
                 destinationImages:(MPSImageBatch*)destinationImages;
@end

@interface MPSImageCopyToMatrix : MPSKernel
- (instancetype)initWithDevice:(id<MTLDevice>)device dataLayout:(MPSDataLayout)dataLayout;
- (void)encodeBatchToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                      sourceImages:(MPSImageBatch*)sourceImages
                 destinationMatrix:(MPSMatrix*)destinationMatrix;
@end

@interface MPSState : NSObject {
 @public
  NSUInteger readCount_;
  BOOL isTemporary_;
}
@property(readwrite, nonatomic) NSUInteger readCount;
@property(readonly, nonatomic) BOOL isTemporary;
@end
typedef NSArray<MPSState*> MPSStateBatch;

@protocol MPSHandle <NSSecureCoding, NSObject>
- (NSString*)label;
@end

#ifdef __cplusplus
extern "C" {
#endif
BOOL MPSSupportsMTLDevice(id<MTLDevice> device);
NSUInteger MPSImageBatchIncrementReadCount(MPSImageBatch* batch, NSInteger amount);
#ifdef __cplusplus
}
#endif
