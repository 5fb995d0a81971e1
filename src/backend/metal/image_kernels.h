// SPDX-License-Identifier: MIT
// What the rows of image kernels share. For .mm files.
#pragma once

#include "backend/metal/images.h"
#include "backend/metal/kernels.h"

namespace mpsnn::backend::metal {

/// Images in memory.
struct ImagePlace {
  BufferRange range;
  TensorDesc desc;
};

/// No where an operand is not dense float32, or is larger than a texture.
Fit float32_images(const KernelQuery& query);
/// Arrays of other ranks are images of one row.
TensorDesc as_image(const TensorDesc& desc);

/// A kernel of two images; one image serves all of a batch.
void encode_binary(const Site& site, MPSCNNBinaryKernel* kernel, const ImagePlace& primary,
                   const ImagePlace& secondary, const ImagePlace& result);
std::shared_ptr<Kernel> make_binary(const KernelQuery& query,
                                    const Lazy<MPSCNNBinaryKernel*>& kernel);

}  // namespace mpsnn::backend::metal
