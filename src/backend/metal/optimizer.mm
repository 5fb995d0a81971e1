// SPDX-License-Identifier: MIT
#include "backend/metal/optimizer.h"

namespace mpsnn::backend::metal {
namespace {

MPSNNOptimizerDescriptor* descriptor_of(const OptimizerDescriptor& d) {
  return [MPSNNOptimizerDescriptor
      optimizerDescriptorWithLearningRate:static_cast<float>(d.learning_rate)
                          gradientRescale:static_cast<float>(d.gradient_rescale)
                    applyGradientClipping:d.apply_gradient_clipping
                          gradientClipMax:static_cast<float>(d.gradient_clip_max)
                          gradientClipMin:static_cast<float>(d.gradient_clip_min)
                       regularizationType:static_cast<MPSNNRegularizationType>(
                                              d.regularization_type)
                      regularizationScale:static_cast<float>(d.regularization_scale)];
}

}  // namespace

Owned<MPSNNOptimizer*> make_optimizer(const Optimizer& optimizer, id<MTLDevice> device) {
  MPSNNOptimizerDescriptor* descriptor = descriptor_of(optimizer.descriptor());
  MPSNNOptimizer* made = nil;
  if (const auto* adam = dynamic_cast<const OptimizerAdam*>(&optimizer)) {
    made = [[MPSNNOptimizerAdam alloc] initWithDevice:device
                                                beta1:adam->beta1()
                                                beta2:adam->beta2()
                                              epsilon:static_cast<float>(adam->epsilon())
                                             timeStep:0
                                  optimizerDescriptor:descriptor];
  } else if (const auto* rms = dynamic_cast<const OptimizerRMSProp*>(&optimizer)) {
    made = [[MPSNNOptimizerRMSProp alloc] initWithDevice:device
                                                   decay:rms->decay()
                                                 epsilon:static_cast<float>(rms->epsilon())
                                     optimizerDescriptor:descriptor];
  } else {
    const auto& sgd = dynamic_cast<const OptimizerStochasticGradientDescent&>(optimizer);
    made = [[MPSNNOptimizerStochasticGradientDescent alloc]
             initWithDevice:device
              momentumScale:static_cast<float>(sgd.momentum_scale())
        useNesterovMomentum:sgd.use_nesterov_momentum()
        optimizerDescriptor:descriptor];
  }
  return Owned<MPSNNOptimizer*>(made);
}

void encode_optimizer(const OptimizerArrays& arrays, MPSNNOptimizer* optimizer,
                      id<MTLCommandBuffer> commands) {
  NSArray<MPSVector*>* moments = arrays.moments;
  MPSVector* first = [moments count] > 0 ? [moments objectAtIndex:0] : nil;
  if ([optimizer isKindOfClass:[MPSNNOptimizerAdam class]]) {
    auto* adam = static_cast<MPSNNOptimizerAdam*>(optimizer);
    // Updates so far: it counts on by itself, but the count belongs to the values.
    [adam setTimeStep:static_cast<NSUInteger>(arrays.time_step)];
    [adam encodeToCommandBuffer:commands
            inputGradientVector:arrays.gradient
              inputValuesVector:arrays.values
            inputMomentumVector:first
            inputVelocityVector:[moments objectAtIndex:1]
          maximumVelocityVector:[moments count] > 2 ? [moments objectAtIndex:2] : nil
             resultValuesVector:arrays.result];
  } else if ([optimizer isKindOfClass:[MPSNNOptimizerRMSProp class]]) {
    [static_cast<MPSNNOptimizerRMSProp*>(optimizer) encodeToCommandBuffer:commands
                                                      inputGradientVector:arrays.gradient
                                                        inputValuesVector:arrays.values
                                                  inputSumOfSquaresVector:first
                                                       resultValuesVector:arrays.result];
  } else {
    [static_cast<MPSNNOptimizerStochasticGradientDescent*>(optimizer)
        encodeToCommandBuffer:commands
          inputGradientVector:arrays.gradient
            inputValuesVector:arrays.values
          inputMomentumVector:first
           resultValuesVector:arrays.result];
  }
}

void encode_update(const BoundParameter& parameter, MPSVector* gradient,
                   id<MTLCommandBuffer> commands) {
  NSMutableArray<MPSVector*>* moments = [NSMutableArray array];
  for (const BoundArray& moment : parameter.moments) [moments addObject:moment.vector()];
  MPSVector* values = parameter.array.vector();
  const std::int64_t steps = parameter.time_step == nullptr ? 0 : *parameter.time_step;
  encode_optimizer({gradient, values, values, moments, steps}, parameter.optimizer.get(), commands);
}

}  // namespace mpsnn::backend::metal
