// SPDX-License-Identifier: MIT
// Images between our memory, dense (N, H, W, C), and MPS's textures of four-channel slices. Both
// ways are kernels on the command buffer, so that nothing waits and predicates hold for them. For
// .mm files.
#pragma once

#include "backend/metal/memory.h"

namespace mpsnn::backend::metal {

/// Sides of a 2D texture, and channels of an image: slices of four.
inline constexpr std::int64_t kMostPixels = 16384, kMostChannels = std::int64_t{4} * 2048;

MPSImageFeatureChannelFormat format_of(const TensorDesc& desc);

/// The batch of an image of one's own, autoreleased: as many as it has.
MPSImageBatch* batch_of(void* image);

/// Encoded by one thread at a time.
class ImageCopies {
 public:
  explicit ImageCopies(id<MTLDevice> device);
  /// Temporary images, one for each of the batch, that may be read once. Autoreleased.
  MPSImageBatch* copy_in(id<MTLCommandBuffer> commands, const BufferRange& from,
                         const TensorDesc& desc) const;
  /// Images of no content yet, which may be read once, too.
  static MPSImageBatch* make_images(id<MTLCommandBuffer> commands, const TensorDesc& desc);
  /// The same into images that are there.
  void copy_in(id<MTLCommandBuffer> commands, const BufferRange& from, MPSImageBatch* to,
               const TensorDesc& desc) const;
  void copy_out(id<MTLCommandBuffer> commands, MPSImageBatch* from, const BufferRange& to,
                const TensorDesc& desc) const;

 private:
  Owned<MPSMatrixCopyToImage*> in_;
  Owned<MPSImageCopyToMatrix*> out_;
};

}  // namespace mpsnn::backend::metal
