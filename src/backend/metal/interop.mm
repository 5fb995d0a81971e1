// SPDX-License-Identifier: MIT
#include "backend/metal/interop.h"

#include <utility>

#include "backend/metal/objects.h"
#include "mpsnn/error.h"

namespace mpsnn::backend::metal {

void when_completed(void* commands, CompletedHandler handler) {
  guarded("completed handler", [&] {
    // The block's own: of what the lambda refers to it would keep the address.
    const CompletedHandler kept = std::move(handler);
    [static_cast<id<MTLCommandBuffer>>(commands) addCompletedHandler:^(id<MTLCommandBuffer> done) {
      kept(failure_of([done error]));
    }];
  });
}

TensorDesc describe_image(void* image) {
  MPSImage* from = static_cast<MPSImage*>(image);
  const MPSImageFeatureChannelFormat format = [from featureChannelFormat];
  if (format != MPSImageFeatureChannelFormatFloat16 &&
      format != MPSImageFeatureChannelFormatFloat32) {
    throw UnsupportedError(str("MPSImage: featureChannelFormat: expected "
                               "MPSImageFeatureChannelFormatFloat16 or Float32, got ",
                               static_cast<unsigned long>(format)));
  }
  TensorDesc desc;
  desc.type = format == MPSImageFeatureChannelFormatFloat16 ? DataType::FLOAT16 : DataType::FLOAT32;
  for (const NSUInteger extent :
       {[from numberOfImages], [from height], [from width], [from featureChannels]})
    desc.dims.push_back(static_cast<std::int64_t>(extent));
  return desc;
}

}  // namespace mpsnn::backend::metal
