// SPDX-License-Identifier: MIT
// Optimizers as MPS's. For .mm files.
#pragma once

#include "backend/metal/weights.h"

namespace mpsnn::backend::metal {

Owned<MPSNNOptimizer*> make_optimizer(const Optimizer& optimizer, id<MTLDevice> device);
/// Encodes one update of a parameter, in place.
void encode_update(const BoundParameter& parameter, MPSVector* gradient,
                   id<MTLCommandBuffer> commands);

}  // namespace mpsnn::backend::metal
