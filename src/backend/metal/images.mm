// SPDX-License-Identifier: MIT
#include "backend/metal/images.h"

namespace mpsnn::backend::metal {
namespace {

/// One row an image, in the order rows, columns, channels.
MPSMatrix* matrix_over(const BufferRange& range, const TensorDesc& desc) {
  const ImageSize size = desc.image();
  const auto columns = static_cast<NSUInteger>(size.height * size.width * size.channels);
  const bool is_half = desc.type == DataType::FLOAT16;
  MPSMatrixDescriptor* descriptor = [MPSMatrixDescriptor
      matrixDescriptorWithRows:static_cast<NSUInteger>(size.n)
                       columns:columns
                      rowBytes:columns * size_of(desc.type)
                      dataType:is_half ? MPSDataTypeFloat16 : MPSDataTypeFloat32];
  return [[[MPSMatrix alloc] initWithBuffer:range.buffer.get()
                                     offset:range.offset
                                 descriptor:descriptor] autorelease];
}

MPSImageDescriptor* descriptor_of(const TensorDesc& desc) {
  const ImageSize size = desc.image();
  return
      [MPSImageDescriptor imageDescriptorWithChannelFormat:format_of(desc)
                                                     width:static_cast<NSUInteger>(size.width)
                                                    height:static_cast<NSUInteger>(size.height)
                                           featureChannels:static_cast<NSUInteger>(size.channels)];
}

}  // namespace

MPSImageFeatureChannelFormat format_of(const TensorDesc& desc) {
  return desc.type == DataType::FLOAT16 ? MPSImageFeatureChannelFormatFloat16
                                        : MPSImageFeatureChannelFormatFloat32;
}

NSUInteger read_count(MPSImage* image) {
  const bool is_temporary = [image isKindOfClass:[MPSTemporaryImage class]];
  return is_temporary ? [static_cast<MPSTemporaryImage*>(image) readCount] : 0;
}

MPSImageBatch* batch_of(void* image) { return [static_cast<MPSImage*>(image) batchRepresentation]; }

ImageCopies::ImageCopies(id<MTLDevice> device)
    : in_([[MPSMatrixCopyToImage alloc] initWithDevice:device
                                            dataLayout:MPSDataLayoutHeightxWidthxFeatureChannels]),
      out_([[MPSImageCopyToMatrix alloc]
          initWithDevice:device
              dataLayout:MPSDataLayoutHeightxWidthxFeatureChannels]) {}

MPSImageBatch* ImageCopies::make_images(id<MTLCommandBuffer> commands, const TensorDesc& desc) {
  MPSImageDescriptor* descriptor = descriptor_of(desc);
  NSMutableArray<MPSImage*>* images = [NSMutableArray array];
  for (std::int64_t i = 0; i < desc.image().n; ++i) {
    [images addObject:[MPSTemporaryImage temporaryImageWithCommandBuffer:commands
                                                         imageDescriptor:descriptor]];
  }
  return images;
}

MPSImageBatch* ImageCopies::make_lasting_images(id<MTLDevice> device, const TensorDesc& desc) {
  MPSImageDescriptor* descriptor = descriptor_of(desc);
  NSMutableArray<MPSImage*>* images = [NSMutableArray array];
  for (std::int64_t i = 0; i < desc.image().n; ++i) {
    [images addObject:[[[MPSImage alloc] initWithDevice:device
                                        imageDescriptor:descriptor] autorelease]];
  }
  return images;
}

MPSImageBatch* ImageCopies::copy_in(id<MTLCommandBuffer> commands, const BufferRange& from,
                                    const TensorDesc& desc) const {
  MPSImageBatch* images = make_images(commands, desc);
  copy_in(commands, from, images, desc);
  return images;
}

void ImageCopies::copy_in(id<MTLCommandBuffer> commands, const BufferRange& from, MPSImageBatch* to,
                          const TensorDesc& desc) const {
  [in_.get() encodeBatchToCommandBuffer:commands
                           sourceMatrix:matrix_over(from, desc)
                      destinationImages:to];
}

void ImageCopies::copy_out(id<MTLCommandBuffer> commands, MPSImageBatch* from,
                           const BufferRange& to, const TensorDesc& desc) const {
  read_once(from, [&] {
    [out_.get() encodeBatchToCommandBuffer:commands
                              sourceImages:from
                         destinationMatrix:matrix_over(to, desc)];
  });
}

}  // namespace mpsnn::backend::metal
