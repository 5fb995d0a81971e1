// SPDX-License-Identifier: MIT
// MPSCore: predicates, command buffers, images, matrices, vectors, and the copies between them.
#include <atomic>
#include <cstring>
#include <limits>

#include "double.h"
#include "heaps.h"

using metal_double::Pixels;

@implementation MPSPredicate
+ (instancetype)predicateWithBuffer:(id<MTLBuffer>)buffer offset:(NSUInteger)offset {
  if (offset % 4 != 0) refuse("MPSPredicate", "the offset must be a multiple of four");
  if (offset + 4 > [buffer length]) refuse("MPSPredicate", "the offset lies outside of the buffer");
  MPSPredicate* made = [[[MPSPredicate alloc] init] autorelease];
  made->buffer_ = [buffer retain];
  made->offset_ = offset;
  return made;
}
- (void)dealloc {
  [buffer_ release];
  [super dealloc];
}
- (id<MTLBuffer>)predicateBuffer {
  return buffer_;
}
- (NSUInteger)predicateOffset {
  return offset_;
}
@end

@implementation MPSCommandBuffer
+ (instancetype)commandBufferWithCommandBuffer:(id<MTLCommandBuffer>)commandBuffer {
  MPSCommandBuffer* made = [[[MPSCommandBuffer alloc] init] autorelease];
  made->wrapped_ = [commandBuffer retain];
  return made;
}
+ (instancetype)commandBufferFromCommandQueue:(id<MTLCommandQueue>)commandQueue {
  MPSCommandBuffer* made = [self commandBufferWithCommandBuffer:[commandQueue commandBuffer]];
  made->queue_ = [commandQueue retain];
  return made;
}
- (void)dealloc {
  [wrapped_ release];
  [queue_ release];
  [predicate_ release];
  [label_ release];
  [super dealloc];
}
- (id<MTLCommandBuffer>)commandBuffer {
  return wrapped_;
}
- (id<MTLCommandBuffer>)rootCommandBuffer {
  id at = wrapped_;
  while ([at isKindOfClass:[MPSCommandBuffer class]])
    at = [static_cast<MPSCommandBuffer*>(at) commandBuffer];
  return at;
}
- (MPSPredicate*)predicate {
  return predicate_;
}
- (void)setPredicate:(MPSPredicate*)predicate {
  [predicate_ autorelease];
  predicate_ = [predicate retain];
}
/// Of all wrappers of one Metal command buffer.
- (id<MPSHeapProvider>)heapProvider {
  return (*root_of(wrapped_)->heaps_)->provider();
}
- (void)setHeapProvider:(id<MPSHeapProvider>)heapProvider {
  (*root_of(wrapped_)->heaps_)->set_provider(heapProvider);
}
DOUBLE_LABEL
- (NSError*)error {
  return [wrapped_ error];
}
- (CFTimeInterval)GPUStartTime {
  return [[self rootCommandBuffer] GPUStartTime];
}
- (CFTimeInterval)GPUEndTime {
  return [[self rootCommandBuffer] GPUEndTime];
}
- (void)commit {
  [[self rootCommandBuffer] commit];
}
- (void)commitAndContinue {
  if (queue_ == nil) return [static_cast<MPSCommandBuffer*>(wrapped_) commitAndContinue];
  DoubleCommandBuffer* next = static_cast<DoubleCommandBuffer*>([queue_ commandBuffer]);
  // MPSCommandBuffer.h: the heap goes on with the new command buffer.
  *next->heaps_ = *root_of(wrapped_)->heaps_;
  [wrapped_ commit];
  [wrapped_ release];
  wrapped_ = [next retain];
}
- (void)waitUntilCompleted {
  [[self rootCommandBuffer] waitUntilCompleted];
}
- (void)encodeWaitForEvent:(id<MTLEvent>)event value:(uint64_t)value {
  [[self rootCommandBuffer] encodeWaitForEvent:event value:value];
}
- (void)encodeSignalEvent:(id<MTLEvent>)event value:(uint64_t)value {
  [[self rootCommandBuffer] encodeSignalEvent:event value:value];
}
- (id<MTLDevice>)device {
  return [[self rootCommandBuffer] device];
}
- (id<MTLCommandQueue>)commandQueue {
  return [[self rootCommandBuffer] commandQueue];
}
- (BOOL)retainedReferences {
  return [[self rootCommandBuffer] retainedReferences];
}
- (MTLCommandBufferStatus)status {
  return [[self rootCommandBuffer] status];
}
- (void)addCompletedHandler:(MTLCommandBufferHandler)block {
  [[self rootCommandBuffer] addCompletedHandler:block];
}
@end

@implementation MPSKernel
- (instancetype)initWithDevice:(id<MTLDevice>)device {
  self = [super init];
  if (self == nil) return nil;
  if (device == nil) refuse("MPSKernel", "no device");
  device_ = [device retain];
  return self;
}
- (void)dealloc {
  [device_ release];
  [super dealloc];
}
- (id<MTLDevice>)device {
  return device_;
}
@end

@implementation MPSImageDescriptor
@synthesize width = width_, height = height_, usage = usage_;
+ (instancetype)imageDescriptorWithChannelFormat:(MPSImageFeatureChannelFormat)channelFormat
                                           width:(NSUInteger)width
                                          height:(NSUInteger)height
                                 featureChannels:(NSUInteger)featureChannels {
  MPSImageDescriptor* made = [[[MPSImageDescriptor alloc] init] autorelease];
  made->channelFormat_ = channelFormat;
  made->width_ = width;
  made->height_ = height;
  made->featureChannels_ = featureChannels;
  made->usage_ = MTLTextureUsageShaderRead | MTLTextureUsageShaderWrite;
  return made;
}
@end

static std::shared_ptr<Pixels> pixels_like(const MPSImageDescriptor* d) {
  const bool is_empty = d->width_ == 0 || d->height_ == 0 || d->featureChannels_ == 0;
  if (is_empty || d->width_ > 16384 || d->height_ > 16384 || d->featureChannels_ > 8192)
    refuse("MPSImage", "no texture has this size");
  return std::make_shared<Pixels>(static_cast<int>(d->height_), static_cast<int>(d->width_),
                                  static_cast<int>(d->featureChannels_),
                                  d->channelFormat_ == MPSImageFeatureChannelFormatFloat16);
}

namespace {

MPSTemporaryImage* usable(MPSImage* image, id<MTLCommandBuffer> commands) {
  if (![image isKindOfClass:[MPSTemporaryImage class]]) return nil;
  auto* temporary = static_cast<MPSTemporaryImage*>(image);
  if (temporary->readCount_ == 0) refuse("MPSTemporaryImage", "used although its readCount is 0");
  if (temporary->owner_ != commands)
    refuse("MPSTemporaryImage", "used on another command buffer than it was made for");
  return temporary;
}

void check_usage(MPSImage* image, MTLTextureUsage wanted) {
  if ((image->image_->usage & wanted) == 0) refuse("MPSImage", "its usage does not allow this");
}

}  // namespace

std::shared_ptr<Pixels> read_from(MPSImage* image, id<MTLCommandBuffer> commands) {
  MPSTemporaryImage* temporary = usable(image, commands);
  if (temporary != nil && --temporary->readCount_ == 0) image->image_->place.reset();
  check_usage(image, MTLTextureUsageShaderRead);
  return image->image_->data;
}

static std::atomic<bool> reads_uncounted{false};

/// MPSImage.h says that reads of MPSCNNKernels are counted, and at another place those of all
/// kernels. 1: only the former's are.
extern "C" __attribute__((visibility("default"))) void metal_double_uncounted(int on) {
  reads_uncounted = on != 0;
}

std::shared_ptr<Pixels> read_by_other_kernel(MPSImage* image, id<MTLCommandBuffer> commands) {
  return reads_uncounted ? written_to(image, commands) : read_from(image, commands);
}

std::shared_ptr<Pixels> written_to(MPSImage* image, id<MTLCommandBuffer> commands) {
  usable(image, commands);
  check_usage(image, MTLTextureUsageShaderWrite);
  return image->image_->data;
}

ImagePairs pairs_of(MPSImageBatch* sources, MPSImageBatch* results, id<MTLCommandBuffer> commands) {
  if ([sources count] != [results count]) refuse("MPSCNNKernel", "batches of one size are wanted");
  ImagePairs pairs;
  for (NSUInteger i = 0; i < [sources count]; ++i) {
    auto from = read_from([sources objectAtIndex:i], commands);
    pairs.emplace_back(std::move(from), written_to([results objectAtIndex:i], commands));
  }
  return pairs;
}

MPSTemporaryImage* temporary_image(std::shared_ptr<Pixels> pixels, id<MTLCommandBuffer> commands) {
  MPSTemporaryImage* made = [[[MPSTemporaryImage alloc] init] autorelease];
  auto place = std::make_shared<HeapPlace>(*root_of(commands)->heaps_, texture_bytes(*pixels));
  made->image_ = new DoubleImage{.data = std::move(pixels), .device = [commands device]};
  made->image_->place = std::move(place);
  made->readCount_ = 1;
  made->owner_ = commands;
  return made;
}

@interface DoubleAllocator : NSObject <MPSImageAllocator>
@end
@implementation DoubleAllocator
@end

@implementation MPSTemporaryImage
+ (id<MPSImageAllocator>)defaultAllocator {
  static DoubleAllocator* const one = [[DoubleAllocator alloc] init];
  return one;
}
+ (instancetype)temporaryImageWithCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                                imageDescriptor:(const MPSImageDescriptor*)d {
  if (commandBuffer == nil) refuse("MPSTemporaryImage", "no command buffer");
  const auto pixels = pixels_like(d);
  // What was in its memory before.
  metal_double::each(*pixels, [&](int y, int x, int c) {
    pixels->set(y, x, c, std::numeric_limits<double>::quiet_NaN());
  });
  return temporary_image(pixels, commandBuffer);
}
- (void)dealloc {
  if (readCount_ != 0) count_unread();
  [super dealloc];
}
- (NSUInteger)readCount {
  return readCount_;
}
- (void)setReadCount:(NSUInteger)readCount {
  if (readCount_ == 0) refuse("MPSTemporaryImage", "readCount: its memory was given back");
  if (readCount == 0 && fails_now(DoubleFailure::IMAGE_KEPT)) return;
  readCount_ = readCount;
  if (readCount_ == 0) image_->place.reset();
}
@end

NSUInteger MPSImageBatchIncrementReadCount(MPSImageBatch* batch, NSInteger amount) {
  NSMutableArray<MPSImage*>* once = [NSMutableArray array];
  if (fails_now(DoubleFailure::IMAGE_NOT_RAISED)) return [batch count];
  for (MPSImage* image in batch) {
    if ([once indexOfObjectIdenticalTo:image] != NSNotFound) continue;
    [once addObject:image];
    if (![image isKindOfClass:[MPSTemporaryImage class]]) continue;
    auto* temporary = static_cast<MPSTemporaryImage*>(image);
    if (temporary->readCount_ == 0)
      refuse("MPSImageBatchIncrementReadCount", "its memory was given back");
    temporary->readCount_ += static_cast<NSUInteger>(amount);
  }
  return [once count];
}

NSUInteger bytes_of(MPSDataType type) { return static_cast<NSUInteger>(type & 0xff) / 8; }

@implementation MPSMatrixDescriptor
+ (instancetype)matrixDescriptorWithRows:(NSUInteger)rows
                                 columns:(NSUInteger)columns
                                rowBytes:(NSUInteger)rowBytes
                                dataType:(MPSDataType)dataType {
  return [self matrixDescriptorWithRows:rows
                                columns:columns
                               matrices:1
                               rowBytes:rowBytes
                            matrixBytes:rows * rowBytes
                               dataType:dataType];
}
+ (instancetype)matrixDescriptorWithRows:(NSUInteger)rows
                                 columns:(NSUInteger)columns
                                matrices:(NSUInteger)matrices
                                rowBytes:(NSUInteger)rowBytes
                             matrixBytes:(NSUInteger)matrixBytes
                                dataType:(MPSDataType)dataType {
  const NSUInteger size = bytes_of(dataType);
  if (rowBytes % size != 0 || rowBytes < columns * size)
    refuse("MPSMatrixDescriptor", "rowBytes must hold the columns");
  if (matrixBytes < rows * rowBytes || (rowBytes != 0 && matrixBytes % rowBytes != 0))
    refuse("MPSMatrixDescriptor", "matrixBytes must be whole rows and hold them all");
  MPSMatrixDescriptor* made = [[[MPSMatrixDescriptor alloc] init] autorelease];
  made->rows_ = rows;
  made->columns_ = columns;
  made->matrices_ = matrices;
  made->rowBytes_ = rowBytes;
  made->matrixBytes_ = matrixBytes;
  made->dataType_ = dataType;
  return made;
}
@end

@implementation MPSMatrix
- (instancetype)initWithBuffer:(id<MTLBuffer>)buffer
                        offset:(NSUInteger)offset
                    descriptor:(MPSMatrixDescriptor*)d {
  self = [super init];
  if (self == nil) return nil;
  if (d->rows_ == 0 || d->columns_ == 0 || d->matrices_ == 0)
    refuse("MPSMatrix", "no rows, no columns or no matrices");
  if (offset % bytes_of(d->dataType_) != 0) refuse("MPSMatrix", "an offset between two elements");
  if (offset + (d->matrices_ - 1) * d->matrixBytes_ + (d->rows_ - 1) * d->rowBytes_ +
          d->columns_ * bytes_of(d->dataType_) >
      [buffer length])
    refuse("MPSMatrix", "the buffer is too small for its rows");
  buffer_ = [buffer retain];
  offset_ = offset;
  rows_ = d->rows_;
  columns_ = d->columns_;
  matrices_ = d->matrices_;
  rowBytes_ = d->rowBytes_;
  matrixBytes_ = d->matrixBytes_;
  dataType_ = d->dataType_;
  return self;
}
- (void)dealloc {
  [buffer_ release];
  [super dealloc];
}
@end

@implementation MPSVectorDescriptor
+ (instancetype)vectorDescriptorWithLength:(NSUInteger)length dataType:(MPSDataType)dataType {
  MPSVectorDescriptor* made = [[[MPSVectorDescriptor alloc] init] autorelease];
  made->length_ = length;
  made->dataType_ = dataType;
  return made;
}
@end

@implementation MPSVector
- (instancetype)initWithBuffer:(id<MTLBuffer>)buffer
                        offset:(NSUInteger)offset
                    descriptor:(MPSVectorDescriptor*)d {
  self = [super init];
  if (self == nil) return nil;
  if (offset % bytes_of(d->dataType_) != 0) refuse("MPSVector", "an offset between two elements");
  if (offset + d->length_ * bytes_of(d->dataType_) > [buffer length])
    refuse("MPSVector", "the buffer is too small for its length");
  buffer_ = [buffer retain];
  offset_ = offset;
  length_ = d->length_;
  dataType_ = d->dataType_;
  return self;
}
- (void)dealloc {
  [buffer_ release];
  [super dealloc];
}
@end

@implementation MPSState
- (NSUInteger)readCount {
  return readCount_;
}
- (void)setReadCount:(NSUInteger)readCount {
  if (!isTemporary_) refuse("MPSState", "readCount of a state that is not temporary");
  if (readCount_ == 0) refuse("MPSState", "readCount below zero");
  if (fails_now(DoubleFailure::STATE_KEPT)) return;
  readCount_ = readCount;
  if (fails_now(DoubleFailure::STATE_TWICE)) [self setReadCount:readCount - 1];
}
- (BOOL)isTemporary {
  return isTemporary_;
}
@end

namespace {

char* row_of(MPSMatrix* matrix, NSUInteger row) {
  return static_cast<char*>([matrix->buffer_ contents]) + matrix->offset_ + row * matrix->rowBytes_;
}

void check_copy(const char* what, MPSImageBatch* images, MPSMatrix* matrix) {
  if ([images count] > matrix->rows_) refuse(what, "one row an image is wanted");
  for (MPSImage* image in images) {
    const Pixels& pixels = *image->image_->data;
    if (static_cast<NSUInteger>(pixels.height * pixels.width * pixels.channels) > matrix->columns_)
      refuse(what, "a row is too short for an image");
    if (pixels.half != (matrix->dataType_ == MPSDataTypeFloat16))
      refuse(what, "image and matrix have different data types");
  }
}

/// Calls f(y, x, c, index of the element in a row).
template <class F>
void each_element(const Pixels& pixels, F f) {
  std::size_t at = 0;
  for (int y = 0; y < pixels.height; ++y)
    for (int x = 0; x < pixels.width; ++x)
      for (int c = 0; c < pixels.channels; ++c) f(y, x, c, at++);
}

float load(const char* row, std::size_t i, bool half) {
  if (half) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, row + i * sizeof bits, sizeof bits);
    return metal_double::from_half(bits);
  }
  float value = 0;
  std::memcpy(&value, row + i * sizeof value, sizeof value);
  return value;
}

void store(char* row, std::size_t i, float value, bool half) {
  if (half) {
    const std::uint16_t bits = metal_double::to_half(value);
    std::memcpy(row + i * sizeof bits, &bits, sizeof bits);
  } else {
    std::memcpy(row + i * sizeof value, &value, sizeof value);
  }
}

}  // namespace

@implementation MPSMatrixCopyToImage
- (instancetype)initWithDevice:(id<MTLDevice>)device dataLayout:(MPSDataLayout)dataLayout {
  if (dataLayout != MPSDataLayoutHeightxWidthxFeatureChannels)
    refuse("MPSMatrixCopyToImage", "the double has one layout");
  return [super initWithDevice:device];
}
- (void)encodeBatchToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                      sourceMatrix:(MPSMatrix*)sourceMatrix
                 destinationImages:(MPSImageBatch*)destinationImages {
  check_copy("MPSMatrixCopyToImage", destinationImages, sourceMatrix);
  Ref<MPSMatrix*> matrix(sourceMatrix);
  std::vector<std::shared_ptr<Pixels>> images;
  for (MPSImage* image in destinationImages) images.push_back(written_to(image, commandBuffer));
  record(commandBuffer, [matrix, images] {
    for (std::size_t n = 0; n < images.size(); ++n) {
      Pixels& to = *images[n];
      const char* row = row_of(matrix, n);
      each_element(to, [&](int y, int x, int c, std::size_t i) {
        to.set(y, x, c, static_cast<double>(load(row, i, to.half)));
      });
    }
  });
}
@end

@implementation MPSImageCopyToMatrix
- (instancetype)initWithDevice:(id<MTLDevice>)device dataLayout:(MPSDataLayout)dataLayout {
  if (dataLayout != MPSDataLayoutHeightxWidthxFeatureChannels)
    refuse("MPSImageCopyToMatrix", "the double has one layout");
  return [super initWithDevice:device];
}
- (void)encodeBatchToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                      sourceImages:(MPSImageBatch*)sourceImages
                 destinationMatrix:(MPSMatrix*)destinationMatrix {
  check_copy("MPSImageCopyToMatrix", sourceImages, destinationMatrix);
  Ref<MPSMatrix*> matrix(destinationMatrix);
  std::vector<std::shared_ptr<Pixels>> images;
  for (MPSImage* image in sourceImages)
    images.push_back(read_by_other_kernel(image, commandBuffer));
  record(commandBuffer, [matrix, images] {
    for (std::size_t n = 0; n < images.size(); ++n) {
      const Pixels& from = *images[n];
      char* row = row_of(matrix, n);
      each_element(from, [&](int y, int x, int c, std::size_t i) {
        store(row, i, from.at(y, x, c), from.half);
      });
    }
  });
}
@end

@implementation MPSImage
/// One a class.
+ (id<MPSImageAllocator>)defaultAllocator {
  static DoubleAllocator* const one = [[DoubleAllocator alloc] init];
  return one;
}
- (instancetype)initWithDevice:(id<MTLDevice>)device
               imageDescriptor:(const MPSImageDescriptor*)imageDescriptor {
  self = [super init];
  if (self == nil) return nil;
  if (device == nil) refuse("MPSImage", "no device");
  image_ = new DoubleImage{
      .data = pixels_like(imageDescriptor), .device = device, .usage = imageDescriptor->usage_};
  return self;
}
- (void)dealloc {
  delete image_;
  [super dealloc];
}
- (id<MTLDevice>)device {
  return image_->device;
}
- (MTLTextureUsage)usage {
  return image_->usage;
}
- (NSUInteger)width {
  return static_cast<NSUInteger>(image_->data->width);
}
- (NSUInteger)height {
  return static_cast<NSUInteger>(image_->data->height);
}
- (NSUInteger)featureChannels {
  return static_cast<NSUInteger>(image_->data->channels);
}
- (instancetype)initWithTexture:(id<MTLTexture>)texture
                featureChannels:(NSUInteger)featureChannels {
  static_cast<void>(texture);
  static_cast<void>(featureChannels);
  refuse("MPSImage initWithTexture", "the double has no textures");
}
- (NSUInteger)numberOfImages {
  return 1;
}
- (MPSImageFeatureChannelFormat)featureChannelFormat {
  return image_->data->half ? MPSImageFeatureChannelFormatFloat16
                            : MPSImageFeatureChannelFormatFloat32;
}
- (MPSImageBatch*)batchRepresentation {
  return [NSArray arrayWithObject:self];
}
- (void)readBytes:(void*)dataBytes
       dataLayout:(MPSDataLayout)dataLayout
       imageIndex:(NSUInteger)imageIndex {
  if (dataLayout != MPSDataLayoutHeightxWidthxFeatureChannels || imageIndex != 0)
    refuse("MPSImage readBytes", "the double has one layout and one image");
  const Pixels& from = *image_->data;
  each_element(from, [&](int y, int x, int c, std::size_t i) {
    store(static_cast<char*>(dataBytes), i, from.at(y, x, c), from.half);
  });
}
- (void)writeBytes:(const void*)dataBytes
        dataLayout:(MPSDataLayout)dataLayout
        imageIndex:(NSUInteger)imageIndex {
  if (dataLayout != MPSDataLayoutHeightxWidthxFeatureChannels || imageIndex != 0)
    refuse("MPSImage writeBytes", "the double has one layout and one image");
  Pixels& to = *image_->data;
  each_element(to, [&](int y, int x, int c, std::size_t i) {
    to.set(y, x, c, static_cast<double>(load(static_cast<const char*>(dataBytes), i, to.half)));
  });
}
@end
