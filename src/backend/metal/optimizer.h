// SPDX-License-Identifier: MIT
// Optimizers as MPS's. For .mm files.
#pragma once

#include "backend/metal/weights.h"

namespace mpsnn::backend::metal {

/// What an update reads and writes; moments in the optimizer's order.
struct OptimizerArrays {
  MPSVector *gradient, *values, *result;
  NSArray<MPSVector*>* moments;
  std::int64_t time_step;  // updates so far; Adam's only
};
void encode_optimizer(const OptimizerArrays& arrays, MPSNNOptimizer* optimizer,
                      id<MTLCommandBuffer> commands);

Owned<MPSNNOptimizer*> make_optimizer(const Optimizer& optimizer, id<MTLDevice> device);
/// Encodes one update of a parameter, in place.
void encode_update(const BoundParameter& parameter, MPSVector* gradient,
                   id<MTLCommandBuffer> commands);

}  // namespace mpsnn::backend::metal
