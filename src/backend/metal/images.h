// SPDX-License-Identifier: MIT
// Images between our memory, dense (N, H, W, C), and MPS's textures of four-channel slices. Both
// ways are kernels on the command buffer, so that nothing waits and predicates hold for them. For
// .mm files.
#pragma once

#include <vector>

#include "backend/metal/memory.h"

namespace mpsnn::backend::metal {

/// Sides of a 2D texture, and channels of an image: slices of four.
inline constexpr std::int64_t kMostPixels = 16384, kMostChannels = std::int64_t{4} * 2048;

MPSImageFeatureChannelFormat format_of(const TensorDesc& desc);

/// 0: it is none that is temporary, or its memory was given back.
NSUInteger read_count(MPSImage* image);

/// The batch of an image of one's own, autoreleased: as many as it has.
MPSImageBatch* batch_of(void* image);

/// Calls `encode`, a read of the images by a kernel that is not an MPSCNNKernel. MPSImage.h says of
/// those only that a read takes one from the read count of a temporary image, and at another place
/// of every MPSKernel: what MPS did not count is counted here.
template <class Encode>
void read_once(MPSImageBatch* images, Encode&& encode) {
  std::vector<NSUInteger> counts;
  for (MPSImage* image in images) counts.push_back(read_count(image));
  encode();
  NSUInteger i = 0;
  for (MPSImage* image in images) {
    const NSUInteger before = counts[i++];
    if (before > 0 && read_count(image) == before)
      [static_cast<MPSTemporaryImage*>(image) setReadCount:before - 1];
  }
}

/// Encoded by one thread at a time.
class ImageCopies {
 public:
  explicit ImageCopies(id<MTLDevice> device);
  /// Temporary images, one for each of the batch, that may be read once. Autoreleased.
  MPSImageBatch* copy_in(id<MTLCommandBuffer> commands, const BufferRange& from,
                         const TensorDesc& desc) const;
  /// Images of no content yet, which may be read once, too.
  static MPSImageBatch* make_images(id<MTLCommandBuffer> commands, const TensorDesc& desc);
  /// Images of no content yet that are not temporary. Autoreleased.
  static MPSImageBatch* make_lasting_images(id<MTLDevice> device, const TensorDesc& desc);
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
