// SPDX-License-Identifier: MIT
// Arithmetic of images, and the normalisation of columns.
#include <cmath>

#include "matrices.h"

using metal_double::Pixels;

@implementation MPSCNNBinaryKernel
@synthesize primaryStrideInPixelsX = primaryX_, primaryStrideInPixelsY = primaryY_;
@synthesize secondaryStrideInPixelsX = secondaryX_, secondaryStrideInPixelsY = secondaryY_;
@synthesize primaryEdgeMode = primaryEdgeMode_, secondaryEdgeMode = secondaryEdgeMode_;
- (instancetype)initWithDevice:(id<MTLDevice>)device {
  self = [super initWithDevice:device];
  primaryX_ = primaryY_ = secondaryX_ = secondaryY_ = 1;
  return self;
}
- (void)encodeBatchToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                     primaryImages:(MPSImageBatch*)primaryImages
                   secondaryImages:(MPSImageBatch*)secondaryImages
                 destinationImages:(MPSImageBatch*)destinationImages {
  static_cast<void>(commandBuffer);
  static_cast<void>(primaryImages);
  static_cast<void>(secondaryImages);
  static_cast<void>(destinationImages);
  refuse("MPSCNNBinaryKernel", "one of its subclasses is wanted");
}
@end

namespace {

/// Where an image is read, and its factor.
struct Operand {
  std::shared_ptr<Pixels> image;
  NSUInteger x, y, channels;
  double scale;
  double at(int row, int column, int channel) const {
    return scale * static_cast<double>(image->at(y == 0 ? 0 : row, x == 0 ? 0 : column,
                                                 channels == 0 ? 0 : channel));
  }
};

struct OneResult {
  Operand primary, secondary;
  std::shared_ptr<Pixels> result;
};

void check_stride(const Operand& operand, const Pixels& result) {
  const Pixels& image = *operand.image;
  if (operand.x > 1 || operand.y > 1 || operand.channels > 1)
    refuse("MPSCNNArithmetic", "strides are 0 or 1");
  if ((operand.x == 1 && image.width < result.width) ||
      (operand.y == 1 && image.height < result.height) ||
      (operand.channels == 1 && image.channels < result.channels))
    refuse("MPSCNNArithmetic", "a source is smaller than the result");
}

}  // namespace

@implementation MPSCNNArithmetic
@synthesize primaryScale = primaryScale_, secondaryScale = secondaryScale_, bias = bias_;
@synthesize minimumValue = minimumValue_, maximumValue = maximumValue_;
@synthesize primaryStrideInFeatureChannels = primaryChannels_;
@synthesize secondaryStrideInFeatureChannels = secondaryChannels_;
- (instancetype)initWithDevice:(id<MTLDevice>)device {
  self = [super initWithDevice:device];
  primaryScale_ = secondaryScale_ = 1;
  primaryChannels_ = secondaryChannels_ = 1;
  minimumValue_ = -std::numeric_limits<float>::max();
  maximumValue_ = std::numeric_limits<float>::max();
  return self;
}
- (double)combine:(double)a with:(double)b {
  static_cast<void>(b);
  return a;
}
- (void)encodeBatchToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                     primaryImages:(MPSImageBatch*)primaryImages
                   secondaryImages:(MPSImageBatch*)secondaryImages
                 destinationImages:(MPSImageBatch*)destinationImages {
  const NSUInteger count = [destinationImages count];
  if ([primaryImages count] != count || [secondaryImages count] != count)
    refuse("MPSCNNArithmetic", "batches of one size are wanted");
  std::vector<OneResult> all;
  for (NSUInteger i = 0; i < count; ++i) {
    all.push_back({{read_from([primaryImages objectAtIndex:i], commandBuffer), primaryX_, primaryY_,
                    primaryChannels_, static_cast<double>(primaryScale_)},
                   {read_from([secondaryImages objectAtIndex:i], commandBuffer), secondaryX_,
                    secondaryY_, secondaryChannels_, static_cast<double>(secondaryScale_)},
                   written_to([destinationImages objectAtIndex:i], commandBuffer)});
    check_stride(all.back().primary, *all.back().result);
    check_stride(all.back().secondary, *all.back().result);
  }
  const auto low = static_cast<double>(minimumValue_), high = static_cast<double>(maximumValue_),
             bias = static_cast<double>(bias_);
  const Ref<MPSCNNArithmetic*> own(self);
  record(commandBuffer, [=] {
    for (const OneResult& one : all) {
      Pixels& to = *one.result;
      for (int y = 0; y < to.height; ++y)
        for (int x = 0; x < to.width; ++x)
          for (int c = 0; c < to.channels; ++c) {
            const double value =
                [own.get() combine:one.primary.at(y, x, c) with:one.secondary.at(y, x, c)] + bias;
            to.set(y, x, c, value < low ? low : value > high ? high : value);
          }
    }
  });
}
@end

@implementation MPSCNNAdd
- (double)combine:(double)a with:(double)b {
  return a + b;
}
@end

@implementation MPSCNNMultiply
- (double)combine:(double)a with:(double)b {
  return a * b;
}
@end

@implementation MPSCNNDivide
- (double)combine:(double)a with:(double)b {
  return a / b;
}
@end

@implementation MPSMatrixBatchNormalization
@synthesize epsilon = epsilon_, computeStatistics = computeStatistics_;
- (instancetype)initWithDevice:(id<MTLDevice>)device {
  self = [super initWithDevice:device];
  neuron_ = new DoubleNeuron;
  epsilon_ = std::numeric_limits<float>::min();
  return self;
}
- (void)dealloc {
  delete neuron_;
  [super dealloc];
}
- (void)setNeuronType:(MPSCNNNeuronType)neuronType
           parameterA:(float)parameterA
           parameterB:(float)parameterB
           parameterC:(float)parameterC {
  if (neuronType == MPSCNNNeuronTypeGeLU)
    refuse("MPSMatrixBatchNormalization", "GeLU, with which Apple's crashed on macOS 26.5");
  neuron_->set(neuronType, parameterA, parameterB, parameterC);
}
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                  inputMatrix:(MPSMatrix*)inputMatrix
                   meanVector:(MPSVector*)meanVector
               varianceVector:(MPSVector*)varianceVector
                  gammaVector:(MPSVector*)gammaVector
                   betaVector:(MPSVector*)betaVector
                 resultMatrix:(MPSMatrix*)resultMatrix {
  const Elements input(inputMatrix), mean(meanVector), variance(varianceVector), gamma(gammaVector),
      beta(betaVector), result(resultMatrix);
  const char* name = "MPSMatrixBatchNormalization";
  want(name, "the result", result, input.rows, input.columns);
  want(name, "the mean", mean, 1, input.columns);
  want(name, "the variance", variance, 1, input.columns);
  const BOOL computes = computeStatistics_;
  const auto epsilon = static_cast<double>(epsilon_);
  record(commandBuffer, [=, rule = neuron_->rule] {
    const auto rows = static_cast<double>(input.rows);
    for (NSUInteger j = 0; j < input.columns; ++j) {
      if (computes) {
        double sum = 0, squares = 0;
        for (NSUInteger i = 0; i < input.rows; ++i) sum += input.at(i, j);
        for (NSUInteger i = 0; i < input.rows; ++i)
          squares += (input.at(i, j) - sum / rows) * (input.at(i, j) - sum / rows);
        mean.set(0, j, sum / rows);
        variance.set(0, j, squares / rows);
      }
      for (NSUInteger i = 0; i < input.rows; ++i) {
        const double x = (input.at(i, j) - mean.at(j)) / std::sqrt(variance.at(j) + epsilon);
        const double y = (gamma ? gamma.at(j) : 1) * x + (beta ? beta.at(j) : 0);
        result.set(i, j, metal_double::neuron(rule, y, static_cast<int>(j)));
      }
    }
  });
}
@end

@implementation MPSMatrixBatchNormalizationGradient
@synthesize epsilon = epsilon_;
- (instancetype)initWithDevice:(id<MTLDevice>)device {
  self = [super initWithDevice:device];
  epsilon_ = std::numeric_limits<float>::min();
  return self;
}
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                  gradientMatrix:(MPSMatrix*)gradientMatrix
                     inputMatrix:(MPSMatrix*)inputMatrix
                      meanVector:(MPSVector*)meanVector
                  varianceVector:(MPSVector*)varianceVector
                     gammaVector:(MPSVector*)gammaVector
                      betaVector:(MPSVector*)betaVector
     resultGradientForDataMatrix:(MPSMatrix*)resultGradientForDataMatrix
    resultGradientForGammaVector:(MPSVector*)resultGradientForGammaVector
     resultGradientForBetaVector:(MPSVector*)resultGradientForBetaVector {
  const Elements g(gradientMatrix), input(inputMatrix), mean(meanVector), variance(varianceVector),
      gamma(gammaVector), result(resultGradientForDataMatrix),
      to_gamma(resultGradientForGammaVector), to_beta(resultGradientForBetaVector);
  const char* name = "MPSMatrixBatchNormalizationGradient";
  want(name, "the gradient", g, input.rows, input.columns);
  want(name, "the result", result, input.rows, input.columns);
  want(name, "the mean", mean, 1, input.columns);
  want(name, "the variance", variance, 1, input.columns);
  for (const Elements& vector : {gamma, to_gamma, to_beta}) {
    if (vector) want(name, "a vector", vector, 1, input.columns);
  }
  if (betaVector != nil) refuse(name, "the double has no neuron, which alone wants beta");
  const auto epsilon = static_cast<double>(epsilon_);
  record(commandBuffer, [=] {
    const auto rows = static_cast<double>(input.rows);
    for (NSUInteger j = 0; j < input.columns; ++j) {
      const double scale = 1 / std::sqrt(variance.at(j) + epsilon);
      double products = 0, total = 0;
      for (NSUInteger i = 0; i < input.rows; ++i) {
        products += g.at(i, j) * (input.at(i, j) - mean.at(j)) * scale;
        total += g.at(i, j);
      }
      for (NSUInteger i = 0; i < input.rows; ++i) {
        const double x = (input.at(i, j) - mean.at(j)) * scale;
        result.set(
            i, j,
            (gamma ? gamma.at(j) : 1) * scale * (g.at(i, j) - total / rows - x * products / rows));
      }
      // As Apple's was measured on macOS 26.5.
      if (to_gamma) to_gamma.set(0, j, 0);
      if (to_beta) to_beta.set(0, j, 0);
    }
  });
}
@end

namespace {

enum class Reduce { MIN, MAX, SUM, MEAN };

/// One value of a result: all values of the source along the axis (1: y, 2: x, 3: channels).
double reduced(const Pixels& from, int axis, Reduce kind, int y, int x, int c) {
  const int count = axis == 1 ? from.height : axis == 2 ? from.width : from.channels;
  double found = kind == Reduce::MIN ? INFINITY : kind == Reduce::MAX ? -INFINITY : 0;
  for (int i = 0; i < count; ++i) {
    const auto value =
        static_cast<double>(from.at(axis == 1 ? i : y, axis == 2 ? i : x, axis == 3 ? i : c));
    if (kind == Reduce::MIN) {
      found = std::fmin(found, value);
    } else if (kind == Reduce::MAX) {
      found = std::fmax(found, value);
    } else {
      found += value;
    }
  }
  return kind == Reduce::MEAN ? found / count : found;
}

}  // namespace

@implementation MPSNNReduceUnary
- (instancetype)initWithDevice:(id<MTLDevice>)device {
  return [super initWithDevice:device];
}
- (int)axis {
  refuse("MPSNNReduceUnary", "one of its subclasses is wanted");
}
- (Reduce)kind {
  return Reduce::SUM;
}
- (void)encodeBatchToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                      sourceImages:(MPSImageBatch*)sourceImages
                 destinationImages:(MPSImageBatch*)destinationImages {
  const ImagePairs images = pairs_of(sourceImages, destinationImages, commandBuffer);
  const int axis = [self axis];
  for (const auto& [from, to] : images) {
    if (to->height != (axis == 1 ? 1 : from->height) ||
        to->width != (axis == 2 ? 1 : from->width) ||
        to->channels != (axis == 3 ? 1 : from->channels))
      refuse("MPSNNReduceUnary", "the result has another size than the source, reduced");
  }
  const Reduce kind = [self kind];
  record(commandBuffer, [=] {
    for (const auto& [from, to] : images) {
      for (int y = 0; y < to->height; ++y)
        for (int x = 0; x < to->width; ++x)
          for (int c = 0; c < to->channels; ++c)
            to->set(y, x, c, reduced(*from, axis, kind, y, x, c));
    }
  });
}
@end

#define REDUCTION(name, along, what)   \
  @implementation MPSNNReduce          \
  ##name - (int)axis { return along; } \
  -(Reduce)kind {                      \
    return Reduce::what;               \
  }                                    \
  @end
REDUCTION(ColumnMin, 1, MIN)
REDUCTION(ColumnMax, 1, MAX)
REDUCTION(ColumnSum, 1, SUM)
REDUCTION(ColumnMean, 1, MEAN)
REDUCTION(RowMin, 2, MIN)
REDUCTION(RowMax, 2, MAX)
REDUCTION(RowSum, 2, SUM)
REDUCTION(RowMean, 2, MEAN)
REDUCTION(FeatureChannelsMin, 3, MIN)
REDUCTION(FeatureChannelsMax, 3, MAX)
REDUCTION(FeatureChannelsSum, 3, SUM)
REDUCTION(FeatureChannelsMean, 3, MEAN)
