// SPDX-License-Identifier: MIT
// MPSRNNMatrixTrainingLayer with a single gate and no neuron. Its weights are one matrix, whose
// rows are [input weights, recurrent weights, bias] of an output: Apple says that the layout is the
// platform's own, so that programs copy matrices in and out.
#include "matrices.h"

/// What a step leaves to its gradient: the outputs of the step before, of each row.
struct DoubleStep {
  std::vector<std::vector<double>> before;
};

/// Its class tells it from weights.
@interface DoubleWeightGradients : MPSMatrix
@end
@implementation DoubleWeightGradients
@end

@implementation MPSRNNDescriptor
@synthesize useFloat32Weights = useFloat32Weights_;
@end

@implementation MPSRNNSingleGateDescriptor
@synthesize inputWeights = inputWeights_, recurrentWeights = recurrentWeights_;
+ (instancetype)createRNNSingleGateDescriptorWithInputFeatureChannels:(NSUInteger)inputs
                                                outputFeatureChannels:(NSUInteger)outputs {
  if (inputs == 0 || outputs == 0) refuse("MPSRNNSingleGateDescriptor", "no channels");
  MPSRNNSingleGateDescriptor* made = [[[self alloc] init] autorelease];
  made->inputs_ = inputs;
  made->outputs_ = outputs;
  return made;
}
- (void)dealloc {
  [inputWeights_ release];
  [recurrentWeights_ release];
  [super dealloc];
}
@end

@implementation MPSRNNMatrixTrainingState
- (instancetype)init {
  self = [super init];
  step_ = new DoubleStep;
  return self;
}
- (void)dealloc {
  delete step_;
  [super dealloc];
}
@end

namespace {

constexpr const char* kLayer = "MPSRNNMatrixTrainingLayer";

struct Layer {
  NSUInteger inputs, outputs;
  NSUInteger columns() const { return inputs + outputs + 1; }
};

/// The columns of one matrix of the weights.
struct Part {
  NSUInteger first, columns;
};
Part part_of(const Layer& layer, MPSRNNMatrixId which) {
  switch (which) {
    case MPSRNNMatrixIdSingleGateInputWeights:
      return {0, layer.inputs};
    case MPSRNNMatrixIdSingleGateRecurrentWeights:
      return {layer.inputs, layer.outputs};
    case MPSRNNMatrixIdSingleGateBiasTerms:
      return {layer.inputs + layer.outputs, 1};
  }
  refuse(kLayer, "no matrix of its descriptor");
}

MPSMatrix* make_weights(id<MTLDevice> device, const Layer& layer, Class kind, MPSDataType type) {
  const NSUInteger row = layer.columns() * bytes_of(type);
  id<MTLBuffer> buffer = [[device newBufferWithLength:layer.outputs * row
                                              options:MTLResourceStorageModeShared] autorelease];
  return [[[kind alloc] initWithBuffer:buffer
                                offset:0
                            descriptor:[MPSMatrixDescriptor matrixDescriptorWithRows:layer.outputs
                                                                             columns:layer.columns()
                                                                            rowBytes:row
                                                                            dataType:type]]
      autorelease];
}

/// Copies what a data source has into its columns; nil: zeros.
void load(id<MPSCNNConvolutionDataSource> source, const Layer& layer, MPSRNNMatrixId which,
          const Elements& weights) {
  if (source == nil) return;
  const Part part = part_of(layer, which), bias = part_of(layer, MPSRNNMatrixIdSingleGateBiasTerms);
  MPSCNNConvolutionDescriptor* d = [source descriptor];
  if ([d inputFeatureChannels] != part.columns || [d outputFeatureChannels] != layer.outputs ||
      [d kernelWidth] != 1 || [d kernelHeight] != 1)
    refuse(kLayer, "weights of another shape");
  if ([d fusedNeuronDescriptor] != nil) refuse(kLayer, "the double has no neuron");
  if ([source dataType] != MPSDataTypeFloat32) refuse(kLayer, "the double loads float32 only");
  if (![source load]) refuse(kLayer, "the data source did not load");
  const auto* values = static_cast<const float*>([source weights]);
  const float* biases =
      which == MPSRNNMatrixIdSingleGateInputWeights ? [source biasTerms] : nullptr;
  for (NSUInteger i = 0; i < layer.outputs; ++i) {
    for (NSUInteger j = 0; j < part.columns; ++j)
      weights.set(i, part.first + j, static_cast<double>(values[i * part.columns + j]));
    if (biases != nullptr) weights.set(i, bias.first, static_cast<double>(biases[i]));
  }
  [source purge];
}

Elements weights_of(NSArray<MPSMatrix*>* weights, const Layer& layer, bool may_be_gradients) {
  if ([weights count] != 1) refuse(kLayer, "another count of weights");
  MPSMatrix* matrix = [weights objectAtIndex:0];
  if (!may_be_gradients && [matrix isKindOfClass:[DoubleWeightGradients class]])
    refuse(kLayer, "matrices for gradients are no weights");
  const Elements made(matrix);
  if (made.rows != layer.outputs || made.columns != layer.columns())
    refuse(kLayer, "weights of another layer");
  return made;
}

/// The matrices of a sequence, whose rows may only get fewer.
std::vector<Elements> sequence(NSArray<MPSMatrix*>* matrices, NSUInteger count, NSUInteger columns,
                               const std::vector<Elements>* rows = nullptr) {
  if ([matrices count] != count) refuse(kLayer, "sequences of different lengths");
  std::vector<Elements> made;
  for (MPSMatrix* matrix in matrices) {
    const Elements one(matrix);
    if (one.columns != columns) refuse(kLayer, "a matrix with other columns");
    if (!made.empty() && one.rows > made.back().rows) refuse(kLayer, "rows that get more");
    if (rows != nullptr && one.rows != (*rows)[made.size()].rows)
      refuse(kLayer, "sequences of different rows");
    made.push_back(one);
  }
  return made;
}

}  // namespace

@implementation MPSRNNMatrixTrainingLayer
@synthesize accumulateWeightGradients = accumulateWeightGradients_;
- (instancetype)initWithDevice:(id<MTLDevice>)device
                 rnnDescriptor:(const MPSRNNDescriptor*)rnnDescriptor
              trainableWeights:(NSMutableArray<MPSMatrix*>*)trainableWeights {
  self = [super initWithDevice:device];
  auto* descriptor = (MPSRNNSingleGateDescriptor*)rnnDescriptor;
  if (![descriptor isKindOfClass:[MPSRNNSingleGateDescriptor class]])
    refuse(kLayer, "the double has a single gate only");
  inputs_ = descriptor->inputs_;
  outputs_ = descriptor->outputs_;
  weightType_ = descriptor->useFloat32Weights_ ? MPSDataTypeFloat32 : MPSDataTypeFloat16;
  const Layer layer = [self layer];
  MPSMatrix* weights = make_weights(device, layer, [MPSMatrix class], weightType_);
  [trainableWeights addObject:weights];
  load(descriptor->inputWeights_, layer, MPSRNNMatrixIdSingleGateInputWeights, Elements(weights));
  load(descriptor->recurrentWeights_, layer, MPSRNNMatrixIdSingleGateRecurrentWeights,
       Elements(weights));
  return self;
}
- (Layer)layer {
  return {inputs_, outputs_};
}
- (void)createWeightGradientMatrices:(NSMutableArray<MPSMatrix*>*)matricesOut
                            dataType:(MPSDataType)dataType {
  if (!is_float_type(dataType)) refuse(kLayer, "gradients are Float32 or Float16");
  [matricesOut
      addObject:make_weights([self device], [self layer], [DoubleWeightGradients class], dataType)];
}
- (void)encodeCopyWeightsToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                                 weights:(NSArray<MPSMatrix*>*)weights
                                matrixId:(MPSRNNMatrixId)matrixId
                                  matrix:(MPSMatrix*)matrix
                 copyFromWeightsToMatrix:(BOOL)isRead
                            matrixOffset:(MTLOrigin)offset {
  const Elements all = weights_of(weights, [self layer], true), one(matrix);
  const Part part = part_of([self layer], matrixId);
  // Biases are a row of their own.
  const bool is_row = matrixId == MPSRNNMatrixIdSingleGateBiasTerms;
  const NSUInteger rows = outputs_;
  if (offset.z != 0) refuse(kLayer, "an offset has no z");
  want(kLayer, "the matrix", one, offset.y + (is_row ? 1 : rows),
       offset.x + (is_row ? rows : part.columns));
  record(commandBuffer, [=] {
    for (NSUInteger i = 0; i < rows; ++i) {
      for (NSUInteger j = 0; j < part.columns; ++j) {
        const NSUInteger row = offset.y + (is_row ? 0 : i), column = offset.x + (is_row ? i : j);
        if (isRead) {
          one.set(row, column, all.at(i, part.first + j));
        } else {
          all.set(i, part.first + j, one.at(row, column));
        }
      }
    }
  });
}
- (void)encodeForwardSequenceToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                              sourceMatrices:(NSArray<MPSMatrix*>*)sourceMatrices
                         destinationMatrices:(NSArray<MPSMatrix*>*)destinationMatrices
                              trainingStates:
                                  (NSMutableArray<MPSRNNMatrixTrainingState*>*)trainingStates
                                     weights:(NSArray<MPSMatrix*>*)weights {
  const Layer layer = [self layer];
  const Elements w = weights_of(weights, layer, false);
  const std::vector<Elements> x = sequence(sourceMatrices, [sourceMatrices count], inputs_),
                              h = sequence(destinationMatrices, x.size(), outputs_, &x);
  for (MPSMatrix* destination in destinationMatrices) {
    if ([sourceMatrices indexOfObjectIdenticalTo:destination] != NSNotFound)
      refuse(kLayer, "a destination that is a source");
  }
  std::vector<Ref<MPSRNNMatrixTrainingState*>> states;
  for (NSUInteger t = 0; t < x.size(); ++t) {
    auto* state = [[[MPSRNNMatrixTrainingState alloc] init] autorelease];
    state->step_->before.resize(x[t].rows);
    [trainingStates addObject:state];
    states.emplace_back(state);
  }
  record(commandBuffer, [=] {
    std::vector<std::vector<double>> before(x.empty() ? 0 : x[0].rows,
                                            std::vector<double>(layer.outputs));
    for (NSUInteger t = 0; t < x.size(); ++t) {
      before.resize(x[t].rows);
      states[t].get()->step_->before = before;
      for (NSUInteger row = 0; row < x[t].rows; ++row) {
        std::vector<double> next(layer.outputs);
        for (NSUInteger i = 0; i < layer.outputs; ++i) {
          next[i] = w.at(i, layer.columns() - 1);
          for (NSUInteger j = 0; j < layer.inputs; ++j) next[i] += w.at(i, j) * x[t].at(row, j);
          for (NSUInteger j = 0; j < layer.outputs; ++j)
            next[i] += w.at(i, layer.inputs + j) * before[row][j];
          h[t].set(row, i, next[i]);
        }
        before[row] = next;
      }
    }
  });
}
- (void)encodeGradientSequenceToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                               forwardSources:(NSArray<MPSMatrix*>*)forwardSources
                              sourceGradients:(NSArray<MPSMatrix*>*)sourceGradients
                         destinationGradients:(NSArray<MPSMatrix*>*)destinationGradients
                              weightGradients:(NSArray<MPSMatrix*>*)weightGradients
                               trainingStates:(NSArray<MPSRNNMatrixTrainingState*>*)trainingStates
                                      weights:(NSArray<MPSMatrix*>*)weights {
  const Layer layer = [self layer];
  const NSUInteger steps = [forwardSources count];
  const Elements w = weights_of(weights, layer, false);
  const std::vector<Elements> x = sequence(forwardSources, steps, inputs_),
                              of_h = sequence(sourceGradients, steps, outputs_, &x);
  std::vector<Elements> of_x, of_w;  // empty: not asked for
  if (destinationGradients != nil) of_x = sequence(destinationGradients, steps, inputs_, &x);
  if (weightGradients != nil) of_w.push_back(weights_of(weightGradients, layer, true));
  if ([trainingStates count] != steps) refuse(kLayer, "another count of training states");
  std::vector<Ref<MPSRNNMatrixTrainingState*>> states;
  for (MPSRNNMatrixTrainingState* state in trainingStates) {
    if (state->step_->before.size() != x[states.size()].rows)
      refuse(kLayer, "a training state of another forward pass");
    states.emplace_back(state);
  }
  const BOOL adds = accumulateWeightGradients_;
  record(commandBuffer, [=] {
    // Sums of this encode, which go on top of what is there or in its place.
    std::vector<std::vector<double>> sums(layer.outputs, std::vector<double>(layer.columns()));
    std::vector<std::vector<double>> carried;
    for (NSUInteger t = steps; t-- > 0;) {
      const auto& before = states[t].get()->step_->before;
      carried.resize(x[t].rows, std::vector<double>(layer.outputs));
      for (NSUInteger row = 0; row < x[t].rows; ++row) {
        std::vector<double> of_row(layer.columns());
        for (NSUInteger i = 0; i < layer.outputs; ++i) {
          const double g = of_h[t].at(row, i) + carried[row][i];
          for (NSUInteger j = 0; j < layer.columns(); ++j) {
            const double input = j < layer.inputs          ? x[t].at(row, j)
                                 : j + 1 < layer.columns() ? before[row][j - layer.inputs]
                                                           : 1;
            sums[i][j] += g * input;
            of_row[j] += g * w.at(i, j);
          }
        }
        if (!of_x.empty()) {
          for (NSUInteger j = 0; j < layer.inputs; ++j) of_x[t].set(row, j, of_row[j]);
        }
        for (NSUInteger j = 0; j < layer.outputs; ++j) carried[row][j] = of_row[layer.inputs + j];
      }
    }
    if (of_w.empty()) return;
    for (NSUInteger i = 0; i < layer.outputs; ++i) {
      for (NSUInteger j = 0; j < layer.columns(); ++j)
        of_w[0].set(i, j, sums[i][j] + (adds ? of_w[0].at(i, j) : 0));
    }
  });
}
@end
