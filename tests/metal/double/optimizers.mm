// SPDX-License-Identifier: MIT
// Optimizers, by the formulas of Apple's header: clip, rescale, regularise; then the update.
#include <algorithm>
#include <cmath>

#include "double.h"

namespace {

float* values_of(MPSVector* vector) {
  return reinterpret_cast<float*>(static_cast<char*>([vector->buffer_ contents]) + vector->offset_);
}

struct Settings {
  explicit Settings(MPSNNOptimizerDescriptor* d)
      : rate(static_cast<double>(d->learningRate_)),
        rescale(static_cast<double>(d->rescale_)),
        clips(d->clips_),
        high(static_cast<double>(d->clipMax_)),
        low(static_cast<double>(d->clipMin_)),
        regularization(d->regularization_),
        scale(static_cast<double>(d->regularizationScale_)) {}

  double gradient(float g, float v) const {
    double result = clips ? std::clamp(static_cast<double>(g), low, high) : static_cast<double>(g);
    result *= rescale;
    if (regularization == MPSNNRegularizationTypeL1) result += scale * (v > 0 ? 1 : v < 0 ? -1 : 0);
    if (regularization == MPSNNRegularizationTypeL2) result += scale * static_cast<double>(v);
    return result;
  }

  double rate, rescale;
  bool clips;
  double high, low;
  MPSNNRegularizationType regularization;
  double scale;
};

using Vector = Ref<MPSVector*>;

/// `others`: vectors that may be nil are left out where they are.
void check_vectors(MPSVector* values, std::initializer_list<MPSVector*> others) {
  for (MPSVector* one : others) {
    if (one == nil || values == nil) refuse("MPSNNOptimizer", "a vector is nil");
    if (one->length_ != values->length_) refuse("MPSNNOptimizer", "vectors of different lengths");
    if (one->dataType_ != MPSDataTypeFloat32 || values->dataType_ != MPSDataTypeFloat32)
      refuse("MPSNNOptimizer", "the double updates Float32");
  }
}

}  // namespace

@implementation MPSNNOptimizerDescriptor
+ (instancetype)optimizerDescriptorWithLearningRate:(float)learningRate
                                    gradientRescale:(float)gradientRescale
                              applyGradientClipping:(BOOL)applyGradientClipping
                                    gradientClipMax:(float)gradientClipMax
                                    gradientClipMin:(float)gradientClipMin
                                 regularizationType:(MPSNNRegularizationType)regularizationType
                                regularizationScale:(float)regularizationScale {
  MPSNNOptimizerDescriptor* made = [[[MPSNNOptimizerDescriptor alloc] init] autorelease];
  made->learningRate_ = learningRate;
  made->rescale_ = gradientRescale;
  made->clips_ = applyGradientClipping;
  made->clipMax_ = gradientClipMax;
  made->clipMin_ = gradientClipMin;
  made->regularization_ = regularizationType;
  made->regularizationScale_ = regularizationScale;
  return made;
}
@end

@implementation MPSNNOptimizer
- (void)dealloc {
  [descriptor_ release];
  [super dealloc];
}
- (void)setLearningRate:(float)newLearningRate {
  descriptor_->learningRate_ = newLearningRate;
}
@end

@implementation MPSNNOptimizerStochasticGradientDescent
- (instancetype)initWithDevice:(id<MTLDevice>)device
                 momentumScale:(float)momentumScale
           useNesterovMomentum:(BOOL)useNesterovMomentum
           optimizerDescriptor:(MPSNNOptimizerDescriptor*)optimizerDescriptor {
  self = [super initWithDevice:device];
  if (self == nil) return nil;
  descriptor_ = [optimizerDescriptor retain];
  momentumScale_ = momentumScale;
  nesterov_ = useNesterovMomentum;
  return self;
}
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
          inputGradientVector:(MPSVector*)inputGradientVector
            inputValuesVector:(MPSVector*)inputValuesVector
          inputMomentumVector:(MPSVector*)inputMomentumVector
           resultValuesVector:(MPSVector*)resultValuesVector {
  check_vectors(inputValuesVector, {inputGradientVector, resultValuesVector});
  if (inputMomentumVector != nil) check_vectors(inputValuesVector, {inputMomentumVector});
  const Vector g(inputGradientVector), v(inputValuesVector), m(inputMomentumVector),
      r(resultValuesVector);
  const Settings settings(descriptor_);
  const auto mu = static_cast<double>(momentumScale_);
  const bool nesterov = nesterov_;
  record(commandBuffer, [=] {
    for (NSUInteger i = 0; i < v.get()->length_; ++i) {
      const float value = values_of(v)[i];
      const double gradient = settings.gradient(values_of(g)[i], value);
      double step = settings.rate * gradient;
      if (m.get() != nil) {
        float& momentum = values_of(m)[i];
        momentum =
            static_cast<float>(mu * static_cast<double>(momentum) + (nesterov ? gradient : step));
        step = nesterov ? settings.rate * (gradient + mu * static_cast<double>(momentum))
                        : static_cast<double>(momentum);
      }
      values_of(r)[i] = static_cast<float>(static_cast<double>(value) - step);
    }
  });
}
@end

@implementation MPSNNOptimizerRMSProp
- (instancetype)initWithDevice:(id<MTLDevice>)device
                         decay:(double)decay
                       epsilon:(float)epsilon
           optimizerDescriptor:(MPSNNOptimizerDescriptor*)optimizerDescriptor {
  self = [super initWithDevice:device];
  if (self == nil) return nil;
  descriptor_ = [optimizerDescriptor retain];
  decay_ = decay;
  epsilon_ = epsilon;
  return self;
}
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
          inputGradientVector:(MPSVector*)inputGradientVector
            inputValuesVector:(MPSVector*)inputValuesVector
      inputSumOfSquaresVector:(MPSVector*)inputSumOfSquaresVector
           resultValuesVector:(MPSVector*)resultValuesVector {
  check_vectors(inputValuesVector,
                {inputGradientVector, inputSumOfSquaresVector, resultValuesVector});
  const Vector g(inputGradientVector), v(inputValuesVector), s(inputSumOfSquaresVector),
      r(resultValuesVector);
  const Settings settings(descriptor_);
  const double decay = decay_;
  const auto epsilon = static_cast<double>(epsilon_);
  record(commandBuffer, [=] {
    for (NSUInteger i = 0; i < v.get()->length_; ++i) {
      const float value = values_of(v)[i];
      const double gradient = settings.gradient(values_of(g)[i], value);
      float& squares = values_of(s)[i];
      squares = static_cast<float>(decay * static_cast<double>(squares) +
                                   (1 - decay) * gradient * gradient);
      values_of(r)[i] = static_cast<float>(static_cast<double>(value) -
                                           settings.rate * gradient /
                                               (std::sqrt(static_cast<double>(squares)) + epsilon));
    }
  });
}
@end

@implementation MPSNNOptimizerAdam
- (instancetype)initWithDevice:(id<MTLDevice>)device
                         beta1:(double)beta1
                         beta2:(double)beta2
                       epsilon:(float)epsilon
                      timeStep:(NSUInteger)timeStep
           optimizerDescriptor:(MPSNNOptimizerDescriptor*)optimizerDescriptor {
  self = [super initWithDevice:device];
  if (self == nil) return nil;
  descriptor_ = [optimizerDescriptor retain];
  beta1_ = beta1;
  beta2_ = beta2;
  epsilon_ = epsilon;
  timeStep_ = timeStep;
  return self;
}
- (NSUInteger)timeStep {
  return timeStep_;
}
- (void)setTimeStep:(NSUInteger)timeStep {
  timeStep_ = timeStep;
}
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
          inputGradientVector:(MPSVector*)inputGradientVector
            inputValuesVector:(MPSVector*)inputValuesVector
          inputMomentumVector:(MPSVector*)inputMomentumVector
          inputVelocityVector:(MPSVector*)inputVelocityVector
        maximumVelocityVector:(MPSVector*)maximumVelocityVector
           resultValuesVector:(MPSVector*)resultValuesVector {
  check_vectors(inputValuesVector, {inputGradientVector, inputMomentumVector, inputVelocityVector,
                                    resultValuesVector});
  if (maximumVelocityVector != nil) check_vectors(inputValuesVector, {maximumVelocityVector});
  const Vector g(inputGradientVector), v(inputValuesVector), m(inputMomentumVector),
      u(inputVelocityVector), largest(maximumVelocityVector), r(resultValuesVector);
  const Settings settings(descriptor_);
  const double beta1 = beta1_, beta2 = beta2_;
  const auto epsilon = static_cast<double>(epsilon_);
  const auto t = static_cast<double>(++timeStep_);
  const double rate = settings.rate * std::sqrt(1 - std::pow(beta2, t)) / (1 - std::pow(beta1, t));
  record(commandBuffer, [=] {
    for (NSUInteger i = 0; i < v.get()->length_; ++i) {
      const float value = values_of(v)[i];
      const double gradient = settings.gradient(values_of(g)[i], value);
      float &momentum = values_of(m)[i], &velocity = values_of(u)[i];
      momentum = static_cast<float>(beta1 * static_cast<double>(momentum) + (1 - beta1) * gradient);
      velocity = static_cast<float>(beta2 * static_cast<double>(velocity) +
                                    (1 - beta2) * gradient * gradient);
      float divisor = velocity;
      if (largest.get() != nil) {
        float& kept = values_of(largest)[i];
        divisor = kept = std::max(kept, velocity);
      }
      values_of(r)[i] = static_cast<float>(static_cast<double>(value) -
                                           rate * static_cast<double>(momentum) /
                                               (std::sqrt(static_cast<double>(divisor)) + epsilon));
    }
  });
}
@end
