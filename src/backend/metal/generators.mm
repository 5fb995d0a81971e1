// SPDX-License-Identifier: MIT
#include "backend/metal/generators.h"

#include <cmath>

namespace mpsnn::backend::metal {
namespace {

/// Generators that are kept. One more, and all begin anew, which costs time only.
constexpr std::size_t kMost = 256;

MPSMatrixRandomDistributionDescriptor* descriptor_of(const Stream32& stream) {
  using Descriptor = MPSMatrixRandomDistributionDescriptor;
  const auto [minimum, maximum, mean, deviation] = stream.parameters;
  switch (stream.distribution) {
    case MPSMatrixRandomDistributionUniform:
      return [Descriptor uniformDistributionDescriptorWithMinimum:minimum maximum:maximum];
    case MPSMatrixRandomDistributionNormal:
      if (std::isinf(minimum) && std::isinf(maximum))
        return [Descriptor normalDistributionDescriptorWithMean:mean standardDeviation:deviation];
      return [Descriptor normalDistributionDescriptorWithMean:mean
                                            standardDeviation:deviation
                                                      minimum:minimum
                                                      maximum:maximum];
    default:
      return [Descriptor defaultDistributionDescriptor];
  }
}

Owned<MPSMatrixRandom*> make_kernel(id<MTLDevice> device, const Stream32& stream) {
  const auto seed = static_cast<NSUInteger>(stream.seed);
  MPSMatrixRandomDistributionDescriptor* descriptor = descriptor_of(stream);
  Owned<MPSMatrixRandom*> made;
  if (stream.is_philox) {
    made = Owned<MPSMatrixRandom*>([[MPSMatrixRandomPhilox alloc] initWithDevice:device
                                                             destinationDataType:stream.type
                                                                            seed:seed
                                                          distributionDescriptor:descriptor]);
  } else {
    made = Owned<MPSMatrixRandom*>([[MPSMatrixRandomMTGP32 alloc] initWithDevice:device
                                                             destinationDataType:stream.type
                                                                            seed:seed
                                                          distributionDescriptor:descriptor]);
  }
  if (!made) fail_on_device("random numbers", "MPS cannot make the generator");
  return made;
}

}  // namespace

Generators::Entry& Generators::entry(id<MTLDevice> device, const void* state,
                                     const Stream32& stream, std::uint64_t position) {
  const auto found = entries_.find(state);
  if (found != entries_.end() && found->second.stream == stream &&
      found->second.position <= position) {
    return found->second;
  }
  if (found == entries_.end() && entries_.size() >= kMost) entries_.clear();
  return entries_[state] = {stream, make_kernel(device, stream), 0};
}

}  // namespace mpsnn::backend::metal
