// SPDX-License-Identifier: MIT
#include "backend/metal/probes.h"

#include <array>
#include <cstring>
#include <initializer_list>

#include "backend/metal/fixed_weights.h"
#include "mpsnn/error.h"

namespace mpsnn::backend::metal {
namespace {

using Arguments = std::span<const std::uint64_t>;

/// Numbers of four bytes that host and device share.
template <class T>
class Numbers {
 public:
  Numbers(id<MTLDevice> device, const std::vector<T>& values)
      : count_(values.size()),
        buffer_([device newBufferWithLength:values.size() * sizeof(T)
                                    options:MTLResourceStorageModeShared]) {
    if (!buffer_) fail_on_device("probe", "the device has no memory left");
    std::memcpy([buffer_.get() contents], values.data(), values.size() * sizeof(T));
  }

  id<MTLBuffer> buffer() const noexcept { return buffer_.get(); }
  void append_to(std::vector<double>& all) const {
    const auto* first = static_cast<const T*>([buffer_.get() contents]);
    all.insert(all.end(), first, first + count_);
  }

 private:
  std::size_t count_;
  Owned<id<MTLBuffer>> buffer_;
};

/// One number as a matrix, autoreleased with it.
MPSMatrix* matrix_of(const Numbers<float>& number) {
  return [[[MPSMatrix alloc]
      initWithBuffer:number.buffer()
              offset:0
          descriptor:[MPSMatrixDescriptor matrixDescriptorWithRows:1
                                                           columns:1
                                                          rowBytes:sizeof(float)
                                                          dataType:MPSDataTypeFloat32]]
      autorelease];
}

/// A command queue that is waited for after each encode.
class Runner {
 public:
  explicit Runner(id<MTLDevice> device) : device_(device), queue_([device newCommandQueue]) {
    if (!queue_) fail_on_device("probe", "the device makes no more command queues");
  }

  id<MTLDevice> device() const noexcept { return device_; }
  template <class Encode>
  void run(Encode&& encode) const {
    id<MTLCommandBuffer> commands = [queue_.get() commandBuffer];
    encode(commands);
    [commands commit];
    [commands waitUntilCompleted];
    if (const auto failure = failure_of([commands error])) std::rethrow_exception(failure);
  }

 private:
  id<MTLDevice> device_;
  Owned<id<MTLCommandQueue>> queue_;
};

constexpr NSUInteger kMatrices = 3, kSide = 2;

MPSMatrix* batch_of(const Numbers<float>& numbers) {
  constexpr NSUInteger kRowBytes = kSide * sizeof(float);
  return [[[MPSMatrix alloc]
      initWithBuffer:numbers.buffer()
              offset:0
          descriptor:[MPSMatrixDescriptor matrixDescriptorWithRows:kSide
                                                           columns:kSide
                                                          matrices:kMatrices
                                                          rowBytes:kRowBytes
                                                       matrixBytes:kSide * kRowBytes
                                                          dataType:MPSDataTypeFloat32]]
      autorelease];
}

/// MPSMatrixMultiplication's batchStart and batchSize, which without the second argument stays as
/// MPS sets it. Left are [[1, 2], [3, 4]] times 1, 2 and 3, right three times [[1, 1], [0, 1]], and
/// the results begin as -1s. Returns the three results, 12 numbers.
std::vector<double> multiply_batch(const Runner& runner, Arguments arguments) {
  std::vector<float> scaled;
  for (const float scale : {1.0F, 2.0F, 3.0F}) {
    for (const float value : {1.0F, 2.0F, 3.0F, 4.0F}) scaled.push_back(scale * value);
  }
  const Numbers<float> left(runner.device(), scaled),
      right(runner.device(), {1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 0, 1}),
      result(runner.device(), std::vector<float>(kMatrices * kSide * kSide, -1));
  const Owned<MPSMatrixMultiplication*> kernel([[MPSMatrixMultiplication alloc]
       initWithDevice:runner.device()
        transposeLeft:NO
       transposeRight:NO
           resultRows:kSide
        resultColumns:kSide
      interiorColumns:kSide
                alpha:1
                 beta:0]);
  if (!kernel) fail_on_device("probe", "MPS makes no product");
  [kernel.get() setBatchStart:static_cast<NSUInteger>(arguments[0])];
  if (arguments.size() > 1) [kernel.get() setBatchSize:static_cast<NSUInteger>(arguments[1])];
  runner.run([&](id<MTLCommandBuffer> commands) {
    [kernel.get() encodeToCommandBuffer:commands
                             leftMatrix:batch_of(left)
                            rightMatrix:batch_of(right)
                           resultMatrix:batch_of(result)];
  });
  std::vector<double> made;
  result.append_to(made);
  return made;
}

/// h = 2 x + 0.5 h0 + 1, of one number, with its weights and their gradients as MPS lays them out.
class RecurrentLayer {
 public:
  RecurrentLayer(const Runner& runner, bool accumulates) : runner_(runner) {
    MPSCNNConvolutionDescriptor* one =
        [MPSCNNConvolutionDescriptor cnnConvolutionDescriptorWithKernelWidth:1
                                                                kernelHeight:1
                                                        inputFeatureChannels:1
                                                       outputFeatureChannels:1];
    MPSRNNSingleGateDescriptor* descriptor =
        [MPSRNNSingleGateDescriptor createRNNSingleGateDescriptorWithInputFeatureChannels:1
                                                                    outputFeatureChannels:1];
    [descriptor setUseFloat32Weights:YES];
    [descriptor setInputWeights:fixed_weights(one, {2}, {1})];
    [descriptor setRecurrentWeights:fixed_weights(one, {0.5F})];
    layer_ = Owned<MPSRNNMatrixTrainingLayer*>([[MPSRNNMatrixTrainingLayer alloc]
          initWithDevice:runner.device()
           rnnDescriptor:static_cast<MPSRNNDescriptor*>(descriptor)
        trainableWeights:weights_.get()]);
    if (!layer_) fail_on_device("probe", "MPS makes no training layer");
    [layer_.get() setAccumulateWeightGradients:accumulates];
    [layer_.get() createWeightGradientMatrices:gradients_.get() dataType:MPSDataTypeFloat32];
  }

  void encode_forward(id<MTLCommandBuffer> commands, NSArray<MPSMatrix*>* x,
                      NSArray<MPSMatrix*>* h) const {
    [layer_.get() encodeForwardSequenceToCommandBuffer:commands
                                        sourceMatrices:x
                                   destinationMatrices:h
                                        trainingStates:states_.get()
                                               weights:weights_.get()];
  }
  void encode_gradient(id<MTLCommandBuffer> commands, NSArray<MPSMatrix*>* x,
                       NSArray<MPSMatrix*>* of_h, NSArray<MPSMatrix*>* of_x) const {
    [layer_.get() encodeGradientSequenceToCommandBuffer:commands
                                         forwardSources:x
                                        sourceGradients:of_h
                                   destinationGradients:of_x
                                        weightGradients:gradients_.get()
                                         trainingStates:states_.get()
                                                weights:weights_.get()];
  }
  void fill_gradients(float value) const {
    const Numbers<float> number(runner_.device(), {value});
    for (const MPSRNNMatrixId which : kIds) copy(which, number, NO);
  }
  void append_gradients(std::vector<double>& all) const {
    for (const MPSRNNMatrixId which : kIds) {
      const Numbers<float> number(runner_.device(), {0});
      copy(which, number, YES);
      number.append_to(all);
    }
  }

 private:
  static constexpr std::array kIds = {MPSRNNMatrixIdSingleGateInputWeights,
                                      MPSRNNMatrixIdSingleGateRecurrentWeights,
                                      MPSRNNMatrixIdSingleGateBiasTerms};

  /// By MPS itself, as the layout of weights is its own.
  void copy(MPSRNNMatrixId which, const Numbers<float>& number, BOOL is_read) const {
    runner_.run([&](id<MTLCommandBuffer> commands) {
      [layer_.get() encodeCopyWeightsToCommandBuffer:commands
                                             weights:gradients_.get()
                                            matrixId:which
                                              matrix:matrix_of(number)
                             copyFromWeightsToMatrix:is_read
                                        matrixOffset:MTLOrigin{0, 0, 0}];
    });
  }

  const Runner& runner_;
  const Owned<NSMutableArray<MPSMatrix*>*> weights_{[[NSMutableArray alloc] init]},
      gradients_{[[NSMutableArray alloc] init]};
  const Owned<NSMutableArray<MPSRNNMatrixTrainingState*>*> states_{[[NSMutableArray alloc] init]};
  Owned<MPSRNNMatrixTrainingLayer*> layer_;
};

/// MPSRNNMatrixTrainingLayer's accumulateWeightGradients, which is the argument. Two steps of the
/// layer above with x = 3, 4, then twice their gradient for 5, 7, those of the weights beginning as
/// 100s. Returns h of the two steps, the gradients of x, and after each gradient pass those of
/// input weight, recurrent weight and bias: 10 numbers.
std::vector<double> accumulate_gradients(const Runner& runner, Arguments arguments) {
  const RecurrentLayer layer(runner, arguments[0] != 0);
  using Steps = std::array<Numbers<float>, 2>;
  const auto steps = [&](float first, float second) {
    return Steps{Numbers<float>(runner.device(), {first}),
                 Numbers<float>(runner.device(), {second})};
  };
  const auto array_of = [](const Steps& numbers) {
    return @[ matrix_of(numbers[0]), matrix_of(numbers[1]) ];
  };
  const Steps x = steps(3, 4), h = steps(0, 0), of_h = steps(5, 7), of_x = steps(0, 0);
  runner.run([&](id<MTLCommandBuffer> commands) {
    layer.encode_forward(commands, array_of(x), array_of(h));
  });
  layer.fill_gradients(100);
  std::vector<double> gradients;
  for (int pass = 0; pass < 2; ++pass) {
    runner.run([&](id<MTLCommandBuffer> commands) {
      layer.encode_gradient(commands, array_of(x), array_of(of_h), array_of(of_x));
    });
    layer.append_gradients(gradients);
  }
  std::vector<double> made;
  for (const Steps& part : {h, of_x}) {
    for (const Numbers<float>& number : part) number.append_to(made);
  }
  made.insert(made.end(), gradients.begin(), gradients.end());
  return made;
}

/// Words of one MPSMatrixRandomPhilox of seed 0, in fills of as many as the arguments say.
std::vector<double> fill_in_parts(const Runner& runner, Arguments arguments) {
  const Owned<MPSMatrixRandomPhilox*> kernel([[MPSMatrixRandomPhilox alloc]
              initWithDevice:runner.device()
         destinationDataType:MPSDataTypeUInt32
                        seed:0
      distributionDescriptor:[MPSMatrixRandomDistributionDescriptor
                                 defaultDistributionDescriptor]]);
  if (!kernel) fail_on_device("probe", "MPS makes no generator");
  std::vector<double> made;
  for (const std::uint64_t length : arguments) {
    const Numbers<std::uint32_t> words(runner.device(), std::vector<std::uint32_t>(length));
    MPSVector* vector = [[[MPSVector alloc]
        initWithBuffer:words.buffer()
                offset:0
            descriptor:[MPSVectorDescriptor
                           vectorDescriptorWithLength:static_cast<NSUInteger>(length)
                                             dataType:MPSDataTypeUInt32]] autorelease];
    runner.run([&](id<MTLCommandBuffer> commands) {
      [kernel.get() encodeToCommandBuffer:commands destinationVector:vector];
    });
    words.append_to(made);
  }
  return made;
}

struct Probe {
  std::string_view name;
  std::vector<double> (*run)(const Runner& runner, Arguments arguments);
  std::size_t least, most;        // arguments
  std::uint64_t lowest, highest;  // of each
};

constexpr std::uint64_t kMostWords = 65536;
constexpr std::array kProbes = {
    Probe{"multiply_batch", &multiply_batch, 1, 2, 0, kMatrices},
    Probe{"accumulate_gradients", &accumulate_gradients, 1, 1, 0, 1},
    Probe{"fill_in_parts", &fill_in_parts, 1, 16, 1, kMostWords},
};

const Probe& find_probe(std::string_view name) {
  std::string names;
  for (const Probe& probe : kProbes) {
    if (probe.name == name) return probe;
    names += str(names.empty() ? "" : ", ", probe.name);
  }
  throw_expected("probe: name", "one of " + names, str('"', name, '"'));
}

}  // namespace

std::vector<double> run_probe(id<MTLDevice> device, std::string_view name, Arguments arguments) {
  const Probe& probe = find_probe(name);
  const std::string where = str("probe \"", name, "\": arguments");
  if (arguments.size() < probe.least || arguments.size() > probe.most)
    throw_expected(where, str(probe.least, " to ", probe.most), str(arguments.size()));
  for (const std::uint64_t argument : arguments) {
    if (argument < probe.lowest || argument > probe.highest)
      throw_expected(where, str(probe.lowest, " to ", probe.highest, " each"), str(argument));
  }
  return guarded(str("probe \"", name, '"'), [&] { return probe.run(Runner(device), arguments); });
}

}  // namespace mpsnn::backend::metal
