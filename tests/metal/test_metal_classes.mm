// SPDX-License-Identifier: MIT
// Classes of the double without the backend's kernels: a training layer against differences of its
// own forward pass, and what they refuse.
#include <algorithm>
#include <array>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "backend/metal/convolution_weights.h"
#include "backend/metal/fixed_weights.h"
#include "refused.h"
#include "testing.h"

using mpsnn::ConvolutionDescriptor;
using mpsnn::backend::metal::fixed_weights;
using mpsnn::backend::metal::make_descriptor;
using mpsnn::backend::metal::make_state;
using mpsnn::backend::metal::Owned;

std::string failure_of(const std::function<void()>& function);  // interop_failures.cpp

namespace {

using Values = std::vector<float>;

constexpr std::array kIds = {MPSRNNMatrixIdSingleGateInputWeights,
                             MPSRNNMatrixIdSingleGateRecurrentWeights,
                             MPSRNNMatrixIdSingleGateBiasTerms};
constexpr NSUInteger kInputs = 3, kOutputs = 2;
/// Rows and columns of each.
constexpr std::array<std::array<NSUInteger, 2>, 3> kShapes = {
    {{kOutputs, kInputs}, {kOutputs, kOutputs}, {1, kOutputs}}};
/// Of three steps: the second sequence is shorter.
constexpr std::array<NSUInteger, 3> kRows = {2, 2, 1};

/// A device, a queue, and a pool around each case.
struct Bench {
  NSAutoreleasePool* pool = [[NSAutoreleasePool alloc] init];
  id<MTLDevice> device = [MTLCreateSystemDefaultDevice() autorelease];
  id<MTLCommandQueue> queue = [[device newCommandQueue] autorelease];
  Bench() = default;
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;
  ~Bench() { [pool release]; }

  MPSMatrix* matrix(NSUInteger rows, NSUInteger columns, const Values& values = {},
                    NSUInteger matrices = 1, MPSDataType type = MPSDataTypeFloat32) const {
    const NSUInteger row = columns * sizeof(float);
    id<MTLBuffer> buffer = [[device newBufferWithLength:matrices * rows * row
                                                options:MTLResourceStorageModeShared] autorelease];
    std::copy(values.begin(), values.end(), static_cast<float*>([buffer contents]));
    return [[[MPSMatrix alloc]
        initWithBuffer:buffer
                offset:0
            descriptor:[MPSMatrixDescriptor matrixDescriptorWithRows:rows
                                                             columns:columns
                                                            matrices:matrices
                                                            rowBytes:row
                                                         matrixBytes:rows * row
                                                            dataType:type]] autorelease];
  }
  template <class Encode>
  void run(Encode&& encode) const {
    id<MTLCommandBuffer> commands = [queue commandBuffer];
    encode(commands);
    [commands commit];
    [commands waitUntilCompleted];
  }
};

Values values_of(MPSMatrix* matrix) {
  const auto* first = static_cast<const float*>([matrix->buffer_ contents]);
  return {first, first + matrix->rows_ * matrix->columns_};
}

/// A layer whose weights begin as zeros, and three steps of it.
struct Layer : Bench {
  NSMutableArray<MPSMatrix*>* weights = [NSMutableArray array];
  NSMutableArray<MPSMatrix*>* gradients = [NSMutableArray array];
  NSMutableArray<MPSRNNMatrixTrainingState*>* states = [NSMutableArray array];
  NSMutableArray<MPSMatrix*>* x = [NSMutableArray array];
  NSMutableArray<MPSMatrix*>* h = [NSMutableArray array];
  NSMutableArray<MPSMatrix*>* of_h = [NSMutableArray array];
  NSMutableArray<MPSMatrix*>* of_x = [NSMutableArray array];
  MPSRNNMatrixTrainingLayer* layer = nil;

  Layer() {
    MPSRNNSingleGateDescriptor* descriptor =
        [MPSRNNSingleGateDescriptor createRNNSingleGateDescriptorWithInputFeatureChannels:kInputs
                                                                    outputFeatureChannels:kOutputs];
    [descriptor setUseFloat32Weights:YES];
    layer = [[[MPSRNNMatrixTrainingLayer alloc] initWithDevice:device
                                                 rnnDescriptor:descriptor
                                              trainableWeights:weights] autorelease];
    [layer createWeightGradientMatrices:gradients dataType:MPSDataTypeFloat32];
    float next = 1;
    for (const NSUInteger rows : kRows) {
      Values given, upstream;
      for (NSUInteger i = 0; i < rows * kInputs; ++i) given.push_back(next = -next - 1);
      for (NSUInteger i = 0; i < rows * kOutputs; ++i) upstream.push_back(next = 3 - next);
      [x addObject:matrix(rows, kInputs, given)];
      [h addObject:matrix(rows, kOutputs)];
      [of_h addObject:matrix(rows, kOutputs, upstream)];
      [of_x addObject:matrix(rows, kInputs)];
    }
  }

  void copy(NSArray<MPSMatrix*>* all, std::size_t which, MPSMatrix* one, BOOL is_read) const {
    run([&](id<MTLCommandBuffer> commands) {
      [layer encodeCopyWeightsToCommandBuffer:commands
                                      weights:all
                                     matrixId:kIds[which]
                                       matrix:one
                      copyFromWeightsToMatrix:is_read
                                 matrixOffset:MTLOrigin{0, 0, 0}];
    });
  }
  void set(std::size_t which, const Values& values) const {
    copy(weights, which, matrix(kShapes[which][0], kShapes[which][1], values), NO);
  }
  Values gradient(std::size_t which) const {
    MPSMatrix* one = matrix(kShapes[which][0], kShapes[which][1]);
    copy(gradients, which, one, YES);
    return values_of(one);
  }
  void encode_forward(id<MTLCommandBuffer> commands) const {
    [states removeAllObjects];
    [layer encodeForwardSequenceToCommandBuffer:commands
                                 sourceMatrices:x
                            destinationMatrices:h
                                 trainingStates:states
                                        weights:weights];
  }
  void encode_gradient(id<MTLCommandBuffer> commands) const {
    [layer encodeGradientSequenceToCommandBuffer:commands
                                  forwardSources:x
                                 sourceGradients:of_h
                            destinationGradients:of_x
                                 weightGradients:gradients
                                  trainingStates:states
                                         weights:weights];
  }
  /// The sum of all results times their upstream gradients.
  float loss() const {
    run([&](id<MTLCommandBuffer> commands) { encode_forward(commands); });
    float sum = 0;
    for (NSUInteger t = 0; t < kRows.size(); ++t) {
      const Values made = values_of([h objectAtIndex:t]),
                   factors = values_of([of_h objectAtIndex:t]);
      for (std::size_t i = 0; i < made.size(); ++i) sum += made[i] * factors[i];
    }
    return sum;
  }
};

/// Of whole numbers, and of the loss, which is of the second degree in each: exact.
template <class Loss>
float difference(Loss&& loss, float& value) {
  const float kept = value;
  value = kept + 1;
  const float above = loss();
  value = kept - 1;
  const float below = loss();
  value = kept;
  return (above - below) / 2;
}

}  // namespace

TEST_CASE("double: gradients of a training layer are differences of its results") {
  const Layer layer;
  std::array<Values, 3> weights = {Values{1, -2, 3, 2, 0, -1}, {1, 2, -1, 1}, {3, -4}};
  for (std::size_t which = 0; which < 3; ++which) layer.set(which, weights[which]);
  layer.loss();
  layer.run([&](id<MTLCommandBuffer> commands) { layer.encode_gradient(commands); });
  std::array<Values, 3> got;
  for (std::size_t which = 0; which < 3; ++which) got[which] = layer.gradient(which);
  for (std::size_t which = 0; which < 3; ++which) {
    for (std::size_t i = 0; i < weights[which].size(); ++i) {
      const auto loss = [&] {
        layer.set(which, weights[which]);
        return layer.loss();
      };
      CHECK_EQ(got[which][i], difference(loss, weights[which][i]));
    }
    layer.set(which, weights[which]);
  }
  for (NSUInteger t = 0; t < kRows.size(); ++t) {
    auto* x = static_cast<float*>([[layer.x objectAtIndex:t]->buffer_ contents]);
    const Values of_x = values_of([layer.of_x objectAtIndex:t]);
    for (std::size_t i = 0; i < of_x.size(); ++i)
      CHECK_EQ(of_x[i], difference([&] { return layer.loss(); }, x[i]));
  }
}

TEST_CASE("double: gradients of weights add up where they are told to") {
  const Layer layer;
  layer.set(0, {1, -2, 3, 2, 0, -1});
  layer.loss();
  const auto encode = [&] {
    layer.run([&](id<MTLCommandBuffer> commands) { layer.encode_gradient(commands); });
    return layer.gradient(0);
  };
  const Values once = encode();
  CHECK_EQ(encode(), once);
  [layer.layer setAccumulateWeightGradients:YES];
  Values twice = once;
  for (float& value : twice) value *= 2;
  CHECK_EQ(encode(), twice);
}

TEST_CASE("double: what a training layer refuses") {
  const Layer layer;
  const Layer* one = &layer;
  id<MTLCommandBuffer> commands = [layer.queue commandBuffer];
  const auto forward = [=](NSArray<MPSMatrix*>* x, NSArray<MPSMatrix*>* h,
                           NSArray<MPSMatrix*>* weights) {
    return is_refused(^{
      [one->layer encodeForwardSequenceToCommandBuffer:commands
                                        sourceMatrices:x
                                   destinationMatrices:h
                                        trainingStates:[NSMutableArray array]
                                               weights:weights];
    });
  };
  NSArray* more = @[ layer.matrix(1, kInputs), layer.matrix(2, kInputs) ];
  NSArray* two = @[ layer.matrix(1, kOutputs), layer.matrix(2, kOutputs) ];
  CHECK(!forward(layer.x, layer.h, layer.weights));
  CHECK(forward(more, two, layer.weights));           // rows that get more
  CHECK(forward(layer.x, two, layer.weights));        // sequences of different lengths
  CHECK(forward(layer.x, layer.h, layer.gradients));  // gradients as weights
  CHECK(forward(layer.x, layer.of_x, layer.weights));
  CHECK(forward(layer.x, layer.h, @[]));
  CHECK(is_refused(^{
    one->encode_gradient(commands);  // without the states of a forward pass
  }));
  CHECK(is_refused(^{
    [one->layer createWeightGradientMatrices:[NSMutableArray array] dataType:MPSDataTypeInt32];
  }));
  CHECK(is_refused(^{
    one->copy(one->weights, 0, one->matrix(kInputs, kOutputs), YES);  // turned
  }));
  CHECK(is_refused(^{
    [MPSRNNSingleGateDescriptor createRNNSingleGateDescriptorWithInputFeatureChannels:0
                                                                outputFeatureChannels:1];
  }));
  MPSCNNConvolutionDescriptor* wide =
      [MPSCNNConvolutionDescriptor cnnConvolutionDescriptorWithKernelWidth:1
                                                              kernelHeight:1
                                                      inputFeatureChannels:2
                                                     outputFeatureChannels:1];
  MPSRNNSingleGateDescriptor* narrow =
      [MPSRNNSingleGateDescriptor createRNNSingleGateDescriptorWithInputFeatureChannels:1
                                                                  outputFeatureChannels:1];
  [narrow setInputWeights:fixed_weights(wide, {1, 2})];
  CHECK(is_refused(^{
    [[MPSRNNMatrixTrainingLayer alloc] initWithDevice:one->device
                                        rnnDescriptor:narrow
                                     trainableWeights:[NSMutableArray array]];
  }));
}

TEST_CASE("double: what a batch of matrices refuses") {
  const Bench bench;
  const Bench* one = &bench;
  id<MTLCommandBuffer> commands = [bench.queue commandBuffer];
  MPSMatrix* three = bench.matrix(2, 2, {}, 3);
  const auto multiply = [=](NSUInteger start, NSUInteger size, MPSMatrix* right) {
    auto* kernel = [[[MPSMatrixMultiplication alloc] initWithDevice:one->device
                                                      transposeLeft:NO
                                                     transposeRight:NO
                                                         resultRows:2
                                                      resultColumns:2
                                                    interiorColumns:2
                                                              alpha:1
                                                               beta:0] autorelease];
    [kernel setBatchStart:start];
    [kernel setBatchSize:size];
    return is_refused(^{
      [kernel encodeToCommandBuffer:commands leftMatrix:three rightMatrix:right resultMatrix:three];
    });
  };
  CHECK(!multiply(1, 2, three));
  CHECK(!multiply(0, NSUIntegerMax, bench.matrix(2, 2)));  // as many as all have
  CHECK(multiply(1, 3, three));
  CHECK(multiply(4, NSUIntegerMax, three));
  CHECK(multiply(0, 2, bench.matrix(2, 2)));
  const auto describe = [](NSUInteger row_bytes, NSUInteger matrix_bytes) {
    return is_refused(^{
      [MPSMatrixDescriptor matrixDescriptorWithRows:2
                                            columns:2
                                           matrices:3
                                           rowBytes:row_bytes
                                        matrixBytes:matrix_bytes
                                           dataType:MPSDataTypeFloat32];
    });
  };
  CHECK(!describe(8, 24));
  CHECK(describe(8, 8));
  CHECK(describe(8, 20));
  CHECK(is_refused(^{
    id<MTLBuffer> small =
        [[one->device newBufferWithLength:40 options:MTLResourceStorageModeShared] autorelease];
    [[MPSMatrix alloc]
        initWithBuffer:small
                offset:0
            descriptor:[MPSMatrixDescriptor matrixDescriptorWithRows:2
                                                             columns:2
                                                            matrices:3
                                                            rowBytes:8
                                                         matrixBytes:16
                                                            dataType:MPSDataTypeFloat32]];
  }));
}

TEST_CASE("double: what offsets of arrays and of weights refuse") {
  const Bench bench;
  const Bench* one = &bench;
  id<MTLBuffer> buffer =
      [[bench.device newBufferWithLength:64 options:MTLResourceStorageModeShared] autorelease];
  MPSCNNConvolutionDescriptor* wide =
      [MPSCNNConvolutionDescriptor cnnConvolutionDescriptorWithKernelWidth:1
                                                              kernelHeight:1
                                                      inputFeatureChannels:2
                                                     outputFeatureChannels:1];
  const auto state = [=](NSUInteger weights, NSUInteger biases) {
    return is_refused(^{
      [[[MPSCNNConvolutionWeightsAndBiasesState alloc] initWithWeights:buffer
                                                         weightsOffset:weights
                                                                biases:buffer
                                                          biasesOffset:biases
                                              cnnConvolutionDescriptor:wide] release];
    });
  };
  CHECK(!state(4, 12));
  CHECK(state(2, 12));
  CHECK(state(4, 13));
  CHECK(state(60, 0));  // ends beyond the buffer
  CHECK(is_refused(^{
    [[MPSVector alloc]
        initWithBuffer:buffer
                offset:6
            descriptor:[MPSVectorDescriptor vectorDescriptorWithLength:2
                                                              dataType:MPSDataTypeFloat32]];
  }));
  CHECK(is_refused(^{
    [[MPSMatrix alloc]
        initWithBuffer:buffer
                offset:6
            descriptor:[MPSMatrixDescriptor matrixDescriptorWithRows:1
                                                             columns:2
                                                            rowBytes:8
                                                            dataType:MPSDataTypeFloat32]];
  }));
  for (const NSUInteger length : {NSUInteger{0}, [bench.device maxBufferLength] + 4096}) {
    CHECK(is_refused(^{
      [one->device newBufferWithLength:length options:MTLResourceStorageModeShared];
    }));
    CHECK(is_refused(^{
      [one->device newBufferWithBytesNoCopy:[buffer contents]
                                     length:length
                                    options:MTLResourceStorageModeShared
                                deallocator:nil];
    }));
  }
}

TEST_CASE("backend: weights are given to MPS at offsets that it takes") {
  const Bench bench;
  ConvolutionDescriptor descriptor;
  descriptor.kernel_width = descriptor.kernel_height = 1;
  const auto made = make_descriptor(descriptor);
  const auto buffer =
      Owned<id<MTLBuffer>>([bench.device newBufferWithLength:64
                                                     options:MTLResourceStorageModeShared]);
  CHECK(make_state({buffer, 60}, {buffer, 4}, made.get()) != nil);
  CHECK(make_state({buffer, 60}, {}, made.get()) != nil);
  for (const auto& [weights, biases] : {std::pair{6U, 4U}, {4U, 6U}}) {
    const auto make = [&] { make_state({buffer, weights}, {buffer, biases}, made.get()); };
    CHECK(failure_of(make).ends_with("weights and biases begin at a multiple of four bytes"));
  }
}

TEST_CASE("double: what images and their read counts refuse") {
  const Bench bench;
  const Bench* one = &bench;
  const auto described = [](NSUInteger width, NSUInteger height, NSUInteger channels) {
    return [MPSImageDescriptor imageDescriptorWithChannelFormat:MPSImageFeatureChannelFormatFloat16
                                                          width:width
                                                         height:height
                                                featureChannels:channels];
  };
  const auto makes = [=](NSUInteger width, NSUInteger height, NSUInteger channels) {
    return !is_refused(^{
      [[[MPSImage alloc] initWithDevice:one->device
                        imageDescriptor:described(width, height, channels)] release];
    });
  };
  CHECK(makes(2, 1, 4));
  CHECK(!makes(16385, 1, 1));
  CHECK(!makes(1, 16385, 1));
  CHECK(!makes(1, 1, 8193));
  CHECK(!makes(1, 0, 1));
  CHECK(!makes(1, 1, 0));
  MPSCommandBuffer* commands = [MPSCommandBuffer commandBufferFromCommandQueue:bench.queue];
  MPSTemporaryImage* temporary =
      [MPSTemporaryImage temporaryImageWithCommandBuffer:commands
                                         imageDescriptor:described(2, 1, 4)];
  MPSImageBatch* batch = [NSArray arrayWithObject:temporary];
  MPSImageBatchIncrementReadCount(batch, 1);
  CHECK_EQ([temporary readCount], NSUInteger { 2 });
  [temporary setReadCount:0];
  CHECK(is_refused(^{
    MPSImageBatchIncrementReadCount(batch, 1);
  }));
  CHECK(is_refused(^{
    [temporary setReadCount:1];
  }));
}

TEST_CASE("double: what optimizers and sums refuse") {
  const Bench bench;
  const Bench* one = &bench;
  id<MTLCommandBuffer> commands = [bench.queue commandBuffer];
  id<MTLBuffer> buffer =
      [[bench.device newBufferWithLength:64 options:MTLResourceStorageModeShared] autorelease];
  const auto vector = [=](NSUInteger length, MPSDataType type = MPSDataTypeFloat32) {
    return [[[MPSVector alloc] initWithBuffer:buffer
                                       offset:0
                                   descriptor:[MPSVectorDescriptor vectorDescriptorWithLength:length
                                                                                     dataType:type]]
        autorelease];
  };
  MPSNNOptimizerDescriptor* descriptor =
      [MPSNNOptimizerDescriptor optimizerDescriptorWithLearningRate:1
                                                    gradientRescale:1
                                              applyGradientClipping:NO
                                                    gradientClipMax:0
                                                    gradientClipMin:0
                                                 regularizationType:MPSNNRegularizationTypeNone
                                                regularizationScale:0];
  MPSNNOptimizerAdam* adam = [[[MPSNNOptimizerAdam alloc] initWithDevice:bench.device
                                                                   beta1:0.9
                                                                   beta2:0.99
                                                                 epsilon:1e-8F
                                                                timeStep:0
                                                     optimizerDescriptor:descriptor] autorelease];
  const auto update = [=](MPSVector* gradient, MPSVector* momentum) {
    return is_refused(^{
      [adam encodeToCommandBuffer:commands
              inputGradientVector:gradient
                inputValuesVector:vector(4)
              inputMomentumVector:momentum
              inputVelocityVector:vector(4)
            maximumVelocityVector:nil
               resultValuesVector:vector(4)];
    });
  };
  CHECK(!update(vector(4), vector(4)));
  CHECK(update(vector(3), vector(4)));
  CHECK(update(vector(4, MPSDataTypeFloat16), vector(4)));
  CHECK(update(nil, vector(4)));
  CHECK(update(vector(4), nil));
  const auto sum = [=](MPSMatrix* second, MPSVector* scales, MPSVector* offsets) {
    return is_refused(^{
      MPSMatrixSum* kernel = [[[MPSMatrixSum alloc] initWithDevice:one->device
                                                             count:2
                                                              rows:2
                                                           columns:2
                                                         transpose:NO] autorelease];
      [kernel encodeToCommandBuffer:commands
                     sourceMatrices:@[ one->matrix(2, 2), second ]
                       resultMatrix:one->matrix(2, 2)
                        scaleVector:scales
                       offsetVector:offsets
                         biasVector:nil
                         startIndex:0];
    });
  };
  CHECK(!sum(bench.matrix(2, 2), vector(2), vector(4, MPSDataTypeUInt32)));
  CHECK(sum(bench.matrix(1, 2), nil, nil));
  CHECK(sum(bench.matrix(2, 2, {}, 1, MPSDataTypeInt32), nil, nil));
  CHECK(sum(bench.matrix(2, 2), vector(2, MPSDataTypeFloat16), nil));
  CHECK(sum(bench.matrix(2, 2), nil, vector(4)));
}
