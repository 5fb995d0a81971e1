// SPDX-License-Identifier: MIT
#include "backend/metal/normalization_weights.h"

using mpsnn::backend::metal::drop_read;
using mpsnn::backend::metal::NormalizationWeights;

/// What the three kinds of objects that MPS asks have in common.
@interface MpsnnNormalizationWeights : NSObject <NSCopying> {
 @protected
  std::shared_ptr<NormalizationWeights>* weights_;  // not every runtime makes C++ members
}
- (instancetype)initWithWeights:(std::shared_ptr<NormalizationWeights>)weights;
@property(readonly, nonatomic) NSUInteger numberOfFeatureChannels;
- (float*)gamma;
- (float*)beta;
- (float)epsilon;
- (BOOL)load;
- (void)purge;
- (NSString*)label;
@end

@implementation MpsnnNormalizationWeights

- (instancetype)initWithWeights:(std::shared_ptr<NormalizationWeights>)weights {
  self = [super init];
  if (self != nil) weights_ = new std::shared_ptr<NormalizationWeights>(std::move(weights));
  return self;
}

- (void)dealloc {
  delete weights_;
  [super dealloc];
}

- (instancetype)copyWithZone:(NSZone*)zone {
  static_cast<void>(zone);
  return [self retain];  // a copy of a graph shares the weights, too
}

- (NSUInteger)numberOfFeatureChannels {
  return static_cast<NSUInteger>((*weights_)->data_source().number_of_feature_channels());
}

- (float*)gamma {
  return (*weights_)->values("gamma");
}

- (float*)beta {
  return (*weights_)->values("beta");
}

- (float)epsilon {
  return static_cast<float>((*weights_)->data_source().epsilon());
}

- (BOOL)load {
  return YES;  // they are in memory
}

- (void)purge {
}

- (NSString*)label {
  return (*weights_)->label();
}

@end

/// Empty where MPS made no gradients (MPSCNNBatchNormalization.h).
static NSArray<id<MTLBuffer>>* array_of(id<MTLBuffer> buffer) {
  return buffer == nil ? [NSArray array] : [NSArray arrayWithObject:buffer];
}

@interface MpsnnBatchNormalizationWeights
    : MpsnnNormalizationWeights <MPSCNNBatchNormalizationDataSource>
@end

@implementation MpsnnBatchNormalizationWeights

- (float*)mean {
  return (*weights_)->values("mean");
}

- (float*)variance {
  return (*weights_)->values("variance");
}

- (MPSCNNNormalizationGammaAndBetaState*)
    updateGammaAndBetaWithCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                batchNormalizationState:(MPSCNNBatchNormalizationState*)batchNormalizationState {
  MPSCNNNormalizationGammaAndBetaState* made =
      (*weights_)->update(commandBuffer, array_of([batchNormalizationState gradientForGamma]),
                          array_of([batchNormalizationState gradientForBeta]));
  drop_read(batchNormalizationState);
  return made;
}

- (MPSCNNNormalizationMeanAndVarianceState*)
    updateMeanAndVarianceWithCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                   batchNormalizationState:(MPSCNNBatchNormalizationState*)batchNormalizationState {
  MPSCNNNormalizationMeanAndVarianceState* made = (*weights_)->move(
      commandBuffer, [batchNormalizationState mean], [batchNormalizationState variance]);
  drop_read(batchNormalizationState);
  return made;
}

@end

/// States that MPS shares between the images of a batch appear once; autoreleased.
template <class State>
static NSArray<State*>* states_once(NSArray<State*>* batch) {
  NSMutableArray<State*>* states = [NSMutableArray array];
  for (State* state in batch) {
    if ([states indexOfObjectIdenticalTo:state] == NSNotFound) [states addObject:state];
  }
  return states;
}

/// Those of instance and group normalisations: gradients for each image.
template <class State>
static MPSCNNNormalizationGammaAndBetaState* update_images(NormalizationWeights& weights,
                                                           id<MTLCommandBuffer> commands,
                                                           NSArray<State*>* batch) {
  NSMutableArray<id<MTLBuffer>>*gammas = [NSMutableArray array], *betas = [NSMutableArray array];
  for (State* state in states_once<State>(batch)) {
    [gammas addObject:[state gradientForGamma]];
    [betas addObject:[state gradientForBeta]];
  }
  MPSCNNNormalizationGammaAndBetaState* made = weights.update(commands, gammas, betas);
  // As MPS does it (MPSState.h): once for each state, however many images share it.
  for (State* state in states_once<State>(batch)) drop_read(state);
  return made;
}

@interface MpsnnInstanceNormalizationWeights
    : MpsnnNormalizationWeights <MPSCNNInstanceNormalizationDataSource>
@end

@implementation MpsnnInstanceNormalizationWeights

- (MPSCNNNormalizationGammaAndBetaState*)
    updateGammaAndBetaWithCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
        instanceNormalizationStateBatch:
            (MPSCNNInstanceNormalizationGradientStateBatch*)instanceNormalizationStateBatch {
  return update_images<MPSCNNInstanceNormalizationGradientState>(**weights_, commandBuffer,
                                                                 instanceNormalizationStateBatch);
}

@end

@interface MpsnnGroupNormalizationWeights
    : MpsnnNormalizationWeights <MPSCNNGroupNormalizationDataSource>
@end

@implementation MpsnnGroupNormalizationWeights

- (NSUInteger)numberOfGroups {
  return (*weights_)->groups();
}

/// The protocol has it; the groups are the data source's.
- (void)setNumberOfGroups:(NSUInteger)numberOfGroups {
  mpsnn::check_internal(numberOfGroups == (*weights_)->groups(),
                        "nobody changes a data source's groups");
}

- (MPSCNNNormalizationGammaAndBetaState*)
    updateGammaAndBetaWithCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
           groupNormalizationStateBatch:
               (MPSCNNGroupNormalizationGradientStateBatch*)groupNormalizationStateBatch {
  return update_images<MPSCNNGroupNormalizationGradientState>(**weights_, commandBuffer,
                                                              groupNormalizationStateBatch);
}

@end

namespace mpsnn::backend::metal {
namespace {

/// v - rate * (g + decay * v): MPS's gradient descent as a sum or a moving average of vectors.
Owned<MPSNNOptimizerStochasticGradientDescent*> make_step(id<MTLDevice> device, double rate,
                                                          double decay) {
  MPSNNOptimizerDescriptor* descriptor = [MPSNNOptimizerDescriptor
      optimizerDescriptorWithLearningRate:static_cast<float>(rate)
                          gradientRescale:1
                    applyGradientClipping:NO
                          gradientClipMax:0
                          gradientClipMin:0
                       regularizationType:decay == 0.0 ? MPSNNRegularizationTypeNone
                                                       : MPSNNRegularizationTypeL2
                      regularizationScale:static_cast<float>(decay)];
  return Owned<MPSNNOptimizerStochasticGradientDescent*>(
      [[MPSNNOptimizerStochasticGradientDescent alloc] initWithDevice:device
                                                        momentumScale:0
                                                  useNesterovMomentum:NO
                                                  optimizerDescriptor:descriptor]);
}

void encode_step(MPSNNOptimizerStochasticGradientDescent* step, id<MTLCommandBuffer> commands,
                 id<MTLBuffer> from, const BoundArray& values) {
  const BoundArray other = {{Owned<id<MTLBuffer>>::retained(from), 0}, values.count};
  MPSVector* result = values.vector();
  [step encodeToCommandBuffer:commands
          inputGradientVector:other.vector()
            inputValuesVector:result
          inputMomentumVector:nil
           resultValuesVector:result];
}

Class class_of(const NormalizationDataSource& source) {
  if (dynamic_cast<const BatchNormalizationDataSource*>(&source) != nullptr)
    return [MpsnnBatchNormalizationWeights class];
  if (dynamic_cast<const GroupNormalizationDataSource*>(&source) != nullptr)
    return [MpsnnGroupNormalizationWeights class];
  return [MpsnnInstanceNormalizationWeights class];
}

/// The states that MPS reads arrays back from have no offset.
id<MTLBuffer> whole_buffer(const BoundParameter& parameter) {
  check_internal(parameter.array.range.offset == 0, "an array begins at its buffer's start");
  return parameter.array.range.buffer.get();
}

}  // namespace

NormalizationWeights::NormalizationWeights(std::shared_ptr<NormalizationDataSource> source,
                                           std::size_t index, const graph::WholeGraph& graph,
                                           id<MTLDevice> device)
    : Weights(source, index, graph, device) {
  if (graph.updated[index]) sum_ = make_step(device, -1, 0);
  if (!graph.moves_statistics[index]) return;
  const auto& batch = dynamic_cast<const BatchNormalizationDataSource&>(*source);
  average_ = make_step(device, batch.momentum() - 1, -1);
}

id NormalizationWeights::make_object() {
  auto own = std::static_pointer_cast<NormalizationWeights>(shared_from_this());
  return [[[class_of(data_source()) alloc] initWithWeights:std::move(own)] autorelease];
}

const NormalizationDataSource& NormalizationWeights::data_source() const noexcept {
  return static_cast<const NormalizationDataSource&>(*source());
}

NSUInteger NormalizationWeights::groups() const noexcept {
  return static_cast<NSUInteger>(
      static_cast<const GroupNormalizationDataSource&>(*source()).number_of_groups());
}

void NormalizationWeights::update(const BoundParameter& parameter,
                                  NSArray<id<MTLBuffer>>* gradients,
                                  id<MTLCommandBuffer> commands) const {
  id<MTLBuffer> first = [gradients firstObject];
  if (first == nil) fail_on_device(parameter.name, "MPS made no gradient of it");
  const BoundArray sum = {{Owned<id<MTLBuffer>>::retained(first), 0}, parameter.count};
  for (NSUInteger i = 1; i < [gradients count]; ++i)
    encode_step(sum_.get(), commands, [gradients objectAtIndex:i], sum);
  encode_update(parameter, first, commands);
}

MPSCNNNormalizationGammaAndBetaState* NormalizationWeights::update(
    id<MTLCommandBuffer> commands, NSArray<id<MTLBuffer>>* gamma_gradients,
    NSArray<id<MTLBuffer>>* beta_gradients) {
  const BoundParameter &gamma = *find("gamma"), &beta = *find("beta");
  if (!gamma.optimizer) return nil;
  update(gamma, gamma_gradients, commands);
  update(beta, beta_gradients, commands);
  return
      [[[MPSCNNNormalizationGammaAndBetaState alloc] initWithGamma:whole_buffer(gamma)
                                                              beta:whole_buffer(beta)] autorelease];
}

MPSCNNNormalizationMeanAndVarianceState* NormalizationWeights::move(id<MTLCommandBuffer> commands,
                                                                    id<MTLBuffer> mean,
                                                                    id<MTLBuffer> variance) {
  const BoundParameter &running_mean = *find("mean"), &running_variance = *find("variance");
  if (!average_) return nil;
  encode_step(average_.get(), commands, mean, running_mean.array);
  encode_step(average_.get(), commands, variance, running_variance.array);
  return [[[MPSCNNNormalizationMeanAndVarianceState alloc]
      initWithMean:whole_buffer(running_mean)
          variance:whole_buffer(running_variance)] autorelease];
}

}  // namespace mpsnn::backend::metal
