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

void encode_update(const BoundParameter& parameter, MPSVector* gradient,
                   id<MTLCommandBuffer> commands) {
  MPSNNOptimizer* optimizer = parameter.optimizer.get();
  MPSVector* values = parameter.array.vector();
  NSMutableArray<MPSVector*>* moments = [NSMutableArray array];
  for (const BoundArray& moment : parameter.moments) [moments addObject:moment.vector()];
  MPSVector* first = [moments count] > 0 ? [moments objectAtIndex:0] : nil;
  if ([optimizer isKindOfClass:[MPSNNOptimizerAdam class]]) {
    auto* adam = static_cast<MPSNNOptimizerAdam*>(optimizer);
    // Updates so far: it counts on by itself, but the count belongs to the data source.
    [adam setTimeStep:static_cast<NSUInteger>(*parameter.time_step)];
    [adam encodeToCommandBuffer:commands
            inputGradientVector:gradient
              inputValuesVector:values
            inputMomentumVector:first
            inputVelocityVector:[moments objectAtIndex:1]
          maximumVelocityVector:[moments count] > 2 ? [moments objectAtIndex:2] : nil
             resultValuesVector:values];
  } else if ([optimizer isKindOfClass:[MPSNNOptimizerRMSProp class]]) {
    [static_cast<MPSNNOptimizerRMSProp*>(optimizer) encodeToCommandBuffer:commands
                                                      inputGradientVector:gradient
                                                        inputValuesVector:values
                                                  inputSumOfSquaresVector:first
                                                       resultValuesVector:values];
  } else {
    [static_cast<MPSNNOptimizerStochasticGradientDescent*>(optimizer)
        encodeToCommandBuffer:commands
          inputGradientVector:gradient
            inputValuesVector:values
          inputMomentumVector:first
           resultValuesVector:values];
  }
}

}  // namespace mpsnn::backend::metal
