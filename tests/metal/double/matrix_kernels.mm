// SPDX-License-Identifier: MIT
// Products, neurons, sums, softmax and largest values of matrices.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "matrices.h"

@implementation MPSMatrixUnaryKernel
@end
@implementation MPSMatrixBinaryKernel
@end

namespace {

struct Product {
  NSUInteger rows, columns, interior;
  BOOL left_turns, right_turns;
  double alpha, beta;
};

void record_product(id<MTLCommandBuffer> commands, const Product& p, const Elements& left,
                    const Elements& right, const Elements& result) {
  record(commands, [=] {
    for (NSUInteger i = 0; i < p.rows; ++i) {
      for (NSUInteger j = 0; j < p.columns; ++j) {
        double sum = 0;
        for (NSUInteger k = 0; k < p.interior; ++k) {
          sum += (p.left_turns ? left.at(k, i) : left.at(i, k)) *
                 (p.right_turns ? right.at(j, k) : right.at(k, j));
        }
        result.set(i, j, p.alpha * sum + (p.beta == 0 ? 0 : p.beta * result.at(i, j)));
      }
    }
  });
}

void check_alike(const char* name, const Elements& source, const Elements& other) {
  want(name, "the other matrix", other, source.rows, source.columns);
  if (source.type() != other.type()) refuse(name, "the matrices are of one data type");
}

void check_rows(const char* name, const Elements& source, const Elements& other) {
  check_alike(name, source, other);
  if (!is_float_type(source.type())) refuse(name, "the matrices are of a floating-point type");
}

}  // namespace

@implementation MPSMatrixMultiplication
@synthesize batchStart = batchStart_, batchSize = batchSize_;
- (instancetype)initWithDevice:(id<MTLDevice>)device
                 transposeLeft:(BOOL)transposeLeft
                transposeRight:(BOOL)transposeRight
                    resultRows:(NSUInteger)resultRows
                 resultColumns:(NSUInteger)resultColumns
               interiorColumns:(NSUInteger)interiorColumns
                         alpha:(double)alpha
                          beta:(double)beta {
  self = [super initWithDevice:device];
  leftTurns_ = transposeLeft;
  rightTurns_ = transposeRight;
  rows_ = resultRows;
  columns_ = resultColumns;
  interior_ = interiorColumns;
  alpha_ = alpha;
  beta_ = beta;
  batchSize_ = NSUIntegerMax;
  return self;
}
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                   leftMatrix:(MPSMatrix*)leftMatrix
                  rightMatrix:(MPSMatrix*)rightMatrix
                 resultMatrix:(MPSMatrix*)resultMatrix {
  const Elements left(leftMatrix), right(rightMatrix), result(resultMatrix);
  const char* name = "MPSMatrixMultiplication";
  want(name, "the left matrix", left, leftTurns_ ? interior_ : rows_,
       leftTurns_ ? rows_ : interior_);
  want(name, "the right matrix", right, rightTurns_ ? columns_ : interior_,
       rightTurns_ ? interior_ : columns_);
  want(name, "the result", result, rows_, columns_);
  const bool small = left.type() == MPSDataTypeInt8 || left.type() == MPSDataTypeInt16;
  if (left.type() != right.type() || !is_float_type(result.type()) ||
      !(small || is_float_type(left.type())))
    refuse(name, "data types that it does not multiply");
  // All that there are, unless the program names a range.
  const NSUInteger there =
      std::min({leftMatrix->matrices_, rightMatrix->matrices_, resultMatrix->matrices_});
  if (batchStart_ > there || (batchSize_ != NSUIntegerMax && batchSize_ > there - batchStart_))
    refuse(name, "a range beyond the batch");
  const NSUInteger end = batchStart_ + std::min(batchSize_, there - batchStart_);
  const Product product{rows_, columns_, interior_, leftTurns_, rightTurns_, alpha_, beta_};
  for (NSUInteger n = batchStart_; n < end; ++n) {
    record_product(commandBuffer, product, Elements(leftMatrix, n), Elements(rightMatrix, n),
                   Elements(resultMatrix, n));
  }
}
@end

#define NEURON_METHODS                                                                 \
  -(instancetype)initWithDevice : (id<MTLDevice>)device {                              \
    self = [super initWithDevice:device];                                              \
    neuron_ = new DoubleNeuron;                                                        \
    return self;                                                                       \
  }                                                                                    \
  -(void)dealloc {                                                                     \
    delete neuron_;                                                                    \
    [super dealloc];                                                                   \
  }                                                                                    \
  -(double)alpha {                                                                     \
    return neuron_->alpha;                                                             \
  }                                                                                    \
  -(void)setAlpha : (double)alpha {                                                    \
    neuron_->alpha = alpha;                                                            \
  }                                                                                    \
  -(void)setNeuronType : (MPSCNNNeuronType)neuronType parameterA : (float)a parameterB \
      : (float)b parameterC : (float)c {                                               \
    neuron_->set(neuronType, a, b, c);                                                 \
  }                                                                                    \
  -(void)setNeuronToPReLUWithParametersA : (NSData*)A {                                \
    neuron_->set_slopes(A);                                                            \
  }

@implementation MPSMatrixNeuron
NEURON_METHODS
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                  inputMatrix:(MPSMatrix*)inputMatrix
                   biasVector:(MPSVector*)biasVector
                 resultMatrix:(MPSMatrix*)resultMatrix {
  const Elements input(inputMatrix), bias(biasVector), result(resultMatrix);
  check_alike("MPSMatrixNeuron", input, result);
  if (bias && bias.columns < input.columns) refuse("MPSMatrixNeuron", "the bias is too short");
  neuron_->check_slopes(input.columns);
  record(commandBuffer, [=, neuron = *neuron_] {
    for (NSUInteger i = 0; i < input.rows; ++i) {
      for (NSUInteger j = 0; j < input.columns; ++j) {
        const double x = neuron.alpha * input.at(i, j) + (bias ? bias.at(j) : 0);
        result.set(i, j, metal_double::neuron(neuron.rule, x, static_cast<int>(j)));
      }
    }
  });
}
@end

@implementation MPSMatrixNeuronGradient
NEURON_METHODS
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                 gradientMatrix:(MPSMatrix*)gradientMatrix
                    inputMatrix:(MPSMatrix*)inputMatrix
                     biasVector:(MPSVector*)biasVector
    resultGradientForDataMatrix:(MPSMatrix*)resultGradientForDataMatrix
    resultGradientForBiasVector:(MPSVector*)resultGradientForBiasVector {
  if (resultGradientForBiasVector != nil)
    refuse("MPSMatrixNeuronGradient", "the double makes no gradient of the bias");
  const Elements gradient(gradientMatrix), input(inputMatrix), bias(biasVector),
      result(resultGradientForDataMatrix);
  check_alike("MPSMatrixNeuronGradient", input, result);
  check_alike("MPSMatrixNeuronGradient", input, gradient);
  if (bias && bias.columns < input.columns)
    refuse("MPSMatrixNeuronGradient", "the bias is too short");
  neuron_->check_slopes(input.columns);
  record(commandBuffer, [=, neuron = *neuron_] {
    for (NSUInteger i = 0; i < input.rows; ++i) {
      for (NSUInteger j = 0; j < input.columns; ++j) {
        const double x = neuron.alpha * input.at(i, j) + (bias ? bias.at(j) : 0);
        result.set(i, j,
                   neuron.alpha * gradient.at(i, j) *
                       metal_double::neuron_derivative(neuron.rule, x, static_cast<int>(j)));
      }
    }
  });
}
@end

@implementation MPSMatrixSum
- (instancetype)initWithDevice:(id<MTLDevice>)device
                         count:(NSUInteger)count
                          rows:(NSUInteger)rows
                       columns:(NSUInteger)columns
                     transpose:(BOOL)transpose {
  if (count < 2) refuse("MPSMatrixSum", "it sums two matrices or more");
  if (transpose) refuse("MPSMatrixSum", "the double does not transpose");
  self = [super initWithDevice:device];
  count_ = count;
  rows_ = rows;
  columns_ = columns;
  return self;
}
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)buffer
               sourceMatrices:(NSArray<MPSMatrix*>*)sourceMatrices
                 resultMatrix:(MPSMatrix*)resultMatrix
                  scaleVector:(MPSVector*)scaleVector
                 offsetVector:(MPSVector*)offsetVector
                   biasVector:(MPSVector*)biasVector
                   startIndex:(NSUInteger)startIndex {
  const Elements result(resultMatrix), scales(scaleVector), offsets(offsetVector);
  if (biasVector != nil) refuse("MPSMatrixSum", "the double has no bias");
  if ([sourceMatrices count] != count_) refuse("MPSMatrixSum", "another count of sources");
  want("MPSMatrixSum", "the result", result, rows_, columns_);
  if (scales && scales.columns < startIndex + count_) refuse("MPSMatrixSum", "too few scales");
  if (offsets && offsets.columns < 2 * (startIndex + count_))
    refuse("MPSMatrixSum", "too few offsets");
  if (scales && scales.type() != MPSDataTypeFloat32) refuse("MPSMatrixSum", "scales are Float32");
  if (offsets && offsets.type() != MPSDataTypeUInt32) refuse("MPSMatrixSum", "offsets are UInt32");
  std::vector<Elements> sources;
  for (MPSMatrix* source in sourceMatrices) {
    sources.emplace_back(source);
    if (!offsets) want("MPSMatrixSum", "a source", sources.back(), rows_, columns_);
    if (sources.back().type() != result.type())
      refuse("MPSMatrixSum", "the double sums matrices of one data type");
  }
  const NSUInteger rows = rows_, columns = columns_;
  record(buffer, [=] {
    for (NSUInteger i = 0; i < rows; ++i) {
      for (NSUInteger j = 0; j < columns; ++j) {
        double sum = 0;
        for (NSUInteger k = 0; k < sources.size(); ++k) {
          const NSUInteger at = startIndex + k;
          const auto row = offsets ? static_cast<NSUInteger>(offsets.at(2 * at)) : 0,
                     column = offsets ? static_cast<NSUInteger>(offsets.at(2 * at + 1)) : 0;
          sum += (scales ? scales.at(at) : 1.0) * sources[k].at(row + i, column + j);
        }
        result.set(i, j, sum);
      }
    }
  });
}
@end

@implementation MPSMatrixSoftMax
- (instancetype)initWithDevice:(id<MTLDevice>)device {
  return [super initWithDevice:device];
}
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                  inputMatrix:(MPSMatrix*)inputMatrix
                 resultMatrix:(MPSMatrix*)resultMatrix {
  const Elements input(inputMatrix), result(resultMatrix);
  check_rows("MPSMatrixSoftMax", input, result);
  const BOOL logarithm = [self isKindOfClass:[MPSMatrixLogSoftMax class]];
  record(commandBuffer, [=] {
    for (NSUInteger i = 0; i < input.rows; ++i) {
      double most = input.at(i, 0), sum = 0;
      for (NSUInteger j = 0; j < input.columns; ++j) most = std::max(most, input.at(i, j));
      for (NSUInteger j = 0; j < input.columns; ++j) sum += std::exp(input.at(i, j) - most);
      for (NSUInteger j = 0; j < input.columns; ++j) {
        const double x = input.at(i, j) - most;
        result.set(i, j, logarithm ? x - std::log(sum) : std::exp(x) / sum);
      }
    }
  });
}
@end

@implementation MPSMatrixLogSoftMax
@end

@implementation MPSMatrixSoftMaxGradient
- (instancetype)initWithDevice:(id<MTLDevice>)device {
  return [super initWithDevice:device];
}
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
               gradientMatrix:(MPSMatrix*)gradientMatrix
          forwardOutputMatrix:(MPSMatrix*)forwardOutputMatrix
                 resultMatrix:(MPSMatrix*)resultMatrix {
  const Elements gradient(gradientMatrix), output(forwardOutputMatrix), result(resultMatrix);
  check_rows("MPSMatrixSoftMaxGradient", gradient, result);
  check_rows("MPSMatrixSoftMaxGradient", gradient, output);
  const BOOL logarithm = [self isKindOfClass:[MPSMatrixLogSoftMaxGradient class]];
  record(commandBuffer, [=] {
    for (NSUInteger i = 0; i < gradient.rows; ++i) {
      double sum = 0;
      for (NSUInteger j = 0; j < gradient.columns; ++j)
        sum += gradient.at(i, j) * (logarithm ? 1 : output.at(i, j));
      for (NSUInteger j = 0; j < gradient.columns; ++j) {
        const double y = output.at(i, j), g = gradient.at(i, j);
        result.set(i, j, logarithm ? g - std::exp(y) * sum : y * (g - sum));
      }
    }
  });
}
@end

@implementation MPSMatrixLogSoftMaxGradient
@end

@implementation MPSMatrixFindTopK
@synthesize indexOffset = indexOffset_;
- (instancetype)initWithDevice:(id<MTLDevice>)device
            numberOfTopKValues:(NSUInteger)numberOfTopKValues {
  if (numberOfTopKValues > 16) refuse("MPSMatrixFindTopK", "at most 16 values");
  self = [super initWithDevice:device];
  count_ = numberOfTopKValues;
  return self;
}
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                  inputMatrix:(MPSMatrix*)inputMatrix
            resultIndexMatrix:(MPSMatrix*)resultIndexMatrix
            resultValueMatrix:(MPSMatrix*)resultValueMatrix {
  const Elements input(inputMatrix), indices(resultIndexMatrix), values(resultValueMatrix);
  const char* name = "MPSMatrixFindTopK";
  if (indices.type() != MPSDataTypeUInt32) refuse(name, "indices are UInt32");
  if (input.type() != values.type()) refuse(name, "input and values are of one data type");
  if (input.columns < count_) refuse(name, "fewer columns than values");
  want(name, "the indices", indices, input.rows, count_);
  want(name, "the values", values, input.rows, count_);
  const NSUInteger count = count_, offset = indexOffset_;
  record(commandBuffer, [=] {
    std::vector<NSUInteger> order(input.columns);
    for (NSUInteger i = 0; i < input.rows; ++i) {
      std::iota(order.begin(), order.end(), NSUInteger{0});
      std::stable_sort(order.begin(), order.end(),
                       [&](NSUInteger a, NSUInteger b) { return input.at(i, a) > input.at(i, b); });
      for (NSUInteger k = 0; k < count; ++k) {
        values.set(i, k, input.at(i, order[k]));
        indices.set(i, k, static_cast<double>(order[k] + offset));
      }
    }
  });
}
@end
