// SPDX-License-Identifier: MIT
// Random numbers and copies of matrices.
#include <bit>
#include <cmath>

#include "matrices.h"
#include "philox.h"

namespace {

double normal_integral(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

/// The inverse of the normal distribution, by halving; NaN at 0, as Apple's kernel has it.
double inverse_normal(double p) {
  if (p <= 0) return std::numeric_limits<double>::quiet_NaN();
  double low = -40, high = 40;
  for (int i = 0; i < 100; ++i) {
    const double middle = (low + high) / 2;
    (normal_integral(middle) < p ? low : high) = middle;
  }
  return (low + high) / 2;
}

}  // namespace

/// The words that a generator made so far.
struct DoubleStream {
  MPSDataType type;
  MPSMatrixRandomDistribution distribution;
  float minimum, maximum, mean, deviation;
  std::uint32_t key0, key1;
  std::uint64_t position = 0;

  std::uint32_t word(std::uint64_t i) const {
    const std::uint64_t block = i / 4;
    return philox(
        {0, 0, static_cast<std::uint32_t>(block >> 32), static_cast<std::uint32_t>(block)}, key0,
        key1)[i % 4];
  }
  float number(std::uint32_t bits) const {
    const float t = static_cast<float>(bits >> 9) * 0x1p-23F;
    const auto exact = static_cast<double>(t), centre = static_cast<double>(mean),
               spread = static_cast<double>(deviation);
    if (distribution == MPSMatrixRandomDistributionDefault) return t;
    if (distribution == MPSMatrixRandomDistributionUniform)
      return std::fma(maximum - minimum, t, minimum);
    if (std::isinf(minimum) && std::isinf(maximum))
      return static_cast<float>(centre + spread * inverse_normal(exact));
    const double first = normal_integral((static_cast<double>(minimum) - centre) / spread),
                 last = normal_integral((static_cast<double>(maximum) - centre) / spread);
    const double p = first + (exact + 0x1p-24) * (last - first);
    return static_cast<float>(
        std::fmin(std::fmax(centre + spread * inverse_normal(p), static_cast<double>(minimum)),
                  static_cast<double>(maximum)));
  }
};

@implementation MPSMatrixRandomDistributionDescriptor
+ (MPSMatrixRandomDistributionDescriptor*)defaultDistributionDescriptor {
  MPSMatrixRandomDistributionDescriptor* made =
      [[[MPSMatrixRandomDistributionDescriptor alloc] init] autorelease];
  made->type_ = MPSMatrixRandomDistributionDefault;
  return made;
}
+ (MPSMatrixRandomDistributionDescriptor*)uniformDistributionDescriptorWithMinimum:(float)minimum
                                                                           maximum:(float)maximum {
  MPSMatrixRandomDistributionDescriptor* made = [self defaultDistributionDescriptor];
  made->type_ = MPSMatrixRandomDistributionUniform;
  made->minimum_ = minimum;
  made->maximum_ = maximum;
  return made;
}
+ (MPSMatrixRandomDistributionDescriptor*)normalDistributionDescriptorWithMean:(float)mean
                                                             standardDeviation:(float)deviation {
  return [self normalDistributionDescriptorWithMean:mean
                                  standardDeviation:deviation
                                            minimum:-std::numeric_limits<float>::infinity()
                                            maximum:std::numeric_limits<float>::infinity()];
}
+ (MPSMatrixRandomDistributionDescriptor*)normalDistributionDescriptorWithMean:(float)mean
                                                             standardDeviation:(float)deviation
                                                                       minimum:(float)minimum
                                                                       maximum:(float)maximum {
  MPSMatrixRandomDistributionDescriptor* made =
      [self uniformDistributionDescriptorWithMinimum:minimum maximum:maximum];
  made->type_ = MPSMatrixRandomDistributionNormal;
  made->mean_ = mean;
  made->deviation_ = deviation;
  return made;
}
@end

@implementation MPSMatrixRandom
- (void)dealloc {
  delete stream_;
  [super dealloc];
}
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
            destinationVector:(MPSVector*)destinationVector {
  const Elements to(destinationVector);
  if (to.type() != stream_->type) refuse("MPSMatrixRandom", "the vector has another data type");
  const DoubleStream stream = *stream_;
  stream_->position += to.columns;
  record(commandBuffer, [to, stream] {
    for (NSUInteger i = 0; i < to.columns; ++i) {
      const std::uint32_t word = stream.word(stream.position + i);
      const std::uint32_t bits = stream.type == MPSDataTypeUInt32
                                     ? word
                                     : std::bit_cast<std::uint32_t>(stream.number(word));
      std::memcpy(to.place(0, i), &bits, sizeof bits);
    }
  });
}
@end

namespace {

DoubleStream* make_stream(MPSDataType type, NSUInteger seed,
                          MPSMatrixRandomDistributionDescriptor* d, std::uint32_t twist) {
  if (type != MPSDataTypeUInt32 && type != MPSDataTypeFloat32)
    refuse("MPSMatrixRandom", "it makes UInt32 and Float32");
  return new DoubleStream{type,
                          d->type_,
                          d->minimum_,
                          d->maximum_,
                          d->mean_,
                          d->deviation_,
                          static_cast<std::uint32_t>(seed) ^ twist,
                          static_cast<std::uint32_t>(seed >> 32)};
}

}  // namespace

@implementation MPSMatrixRandomPhilox
- (instancetype)initWithDevice:(id<MTLDevice>)device
           destinationDataType:(MPSDataType)destinationDataType
                          seed:(NSUInteger)seed
        distributionDescriptor:(MPSMatrixRandomDistributionDescriptor*)distributionDescriptor {
  self = [super initWithDevice:device];
  stream_ = make_stream(destinationDataType, seed, distributionDescriptor, 0);
  return self;
}
@end

// Apple's words are not public: these are any others.
@implementation MPSMatrixRandomMTGP32
- (instancetype)initWithDevice:(id<MTLDevice>)device
           destinationDataType:(MPSDataType)destinationDataType
                          seed:(NSUInteger)seed
        distributionDescriptor:(MPSMatrixRandomDistributionDescriptor*)distributionDescriptor {
  self = [super initWithDevice:device];
  stream_ = make_stream(destinationDataType, seed, distributionDescriptor, 0x5bd1e995U);
  return self;
}
@end

@implementation MPSMatrixCopyDescriptor
+ (instancetype)descriptorWithSourceMatrix:(MPSMatrix*)sourceMatrix
                         destinationMatrix:(MPSMatrix*)destinationMatrix
                                   offsets:(MPSMatrixCopyOffsets)offsets {
  MPSMatrixCopyDescriptor* made = [[[self alloc] initWithDevice:nil count:1] autorelease];
  [made setCopyOperationAtIndex:0
                   sourceMatrix:sourceMatrix
              destinationMatrix:destinationMatrix
                        offsets:offsets];
  return made;
}
- (instancetype)initWithDevice:(id<MTLDevice>)device count:(NSUInteger)count {
  self = [super init];
  static_cast<void>(device);
  sources_ = [[NSMutableArray alloc] init];
  destinations_ = [[NSMutableArray alloc] init];
  offsets_ = [[NSMutableData alloc] initWithLength:count * sizeof(MPSMatrixCopyOffsets)];
  for (NSUInteger i = 0; i < count; ++i) {
    [sources_ addObject:[NSNull null]];
    [destinations_ addObject:[NSNull null]];
  }
  return self;
}
- (void)dealloc {
  [sources_ release];
  [destinations_ release];
  [offsets_ release];
  [super dealloc];
}
- (void)setCopyOperationAtIndex:(NSUInteger)index
                   sourceMatrix:(MPSMatrix*)sourceMatrix
              destinationMatrix:(MPSMatrix*)destinationMatrix
                        offsets:(MPSMatrixCopyOffsets)offsets {
  [sources_ replaceObjectAtIndex:index withObject:sourceMatrix];
  [destinations_ replaceObjectAtIndex:index withObject:destinationMatrix];
  std::memcpy(static_cast<char*>([offsets_ mutableBytes]) + index * sizeof offsets, &offsets,
              sizeof offsets);
  ++set_;
}
@end

namespace {

struct OneCopy {
  Elements source, destination;
  MPSMatrixCopyOffsets offsets;
};

void run_copy(const OneCopy& copy, NSUInteger rows, NSUInteger columns, BOOL source_turns,
              BOOL destination_turns, const Elements& row_places, const Elements& column_places) {
  const NSUInteger size = bytes_of(copy.source.type());
  for (NSUInteger i = 0; i < rows; ++i) {
    for (NSUInteger j = 0; j < columns; ++j) {
      const NSUInteger y = source_turns ? j : i, x = source_turns ? i : j;
      NSUInteger row = destination_turns ? j : i, column = destination_turns ? i : j;
      if (row_places) row = static_cast<NSUInteger>(row_places.at(row));
      if (column_places) column = static_cast<NSUInteger>(column_places.at(column));
      std::memcpy(
          copy.destination.place(copy.offsets.destinationRowOffset + row,
                                 copy.offsets.destinationColumnOffset + column),
          copy.source.place(copy.offsets.sourceRowOffset + y, copy.offsets.sourceColumnOffset + x),
          size);
    }
  }
}

}  // namespace

@implementation MPSMatrixCopy
- (instancetype)initWithDevice:(id<MTLDevice>)device
                      copyRows:(NSUInteger)copyRows
                   copyColumns:(NSUInteger)copyColumns
          sourcesAreTransposed:(BOOL)sourcesAreTransposed
     destinationsAreTransposed:(BOOL)destinationsAreTransposed {
  self = [super initWithDevice:device];
  rows_ = copyRows;
  columns_ = copyColumns;
  sourcesTurn_ = sourcesAreTransposed;
  destinationsTurn_ = destinationsAreTransposed;
  return self;
}
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
               copyDescriptor:(MPSMatrixCopyDescriptor*)copyDescriptor {
  [self encodeToCommandBuffer:commandBuffer
               copyDescriptor:copyDescriptor
            rowPermuteIndices:nil
             rowPermuteOffset:0
         columnPermuteIndices:nil
          columnPermuteOffset:0];
}
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
               copyDescriptor:(MPSMatrixCopyDescriptor*)copyDescriptor
            rowPermuteIndices:(MPSVector*)rowPermuteIndices
             rowPermuteOffset:(NSUInteger)rowPermuteOffset
         columnPermuteIndices:(MPSVector*)columnPermuteIndices
          columnPermuteOffset:(NSUInteger)columnPermuteOffset {
  if (rowPermuteOffset != 0 || columnPermuteOffset != 0)
    refuse("MPSMatrixCopy", "the double has no offsets of permutations");
  const NSUInteger count = [copyDescriptor->sources_ count];
  if (copyDescriptor->set_ < count) refuse("MPSMatrixCopy", "a copy of the descriptor was not set");
  const auto* offsets = static_cast<const MPSMatrixCopyOffsets*>([copyDescriptor->offsets_ bytes]);
  std::vector<OneCopy> copies;
  for (NSUInteger i = 0; i < count; ++i) {
    const OneCopy copy{
        Elements(static_cast<MPSMatrix*>([copyDescriptor->sources_ objectAtIndex:i])),
        Elements(static_cast<MPSMatrix*>([copyDescriptor->destinations_ objectAtIndex:i])),
        offsets[i]};
    if (copy.source.type() != copy.destination.type())
      refuse("MPSMatrixCopy", "source and destination have different data types");
    want("MPSMatrixCopy", "the source", copy.source,
         copy.offsets.sourceRowOffset + (sourcesTurn_ ? columns_ : rows_),
         copy.offsets.sourceColumnOffset + (sourcesTurn_ ? rows_ : columns_));
    if (rowPermuteIndices == nil && columnPermuteIndices == nil) {
      want("MPSMatrixCopy", "the destination", copy.destination,
           copy.offsets.destinationRowOffset + (destinationsTurn_ ? columns_ : rows_),
           copy.offsets.destinationColumnOffset + (destinationsTurn_ ? rows_ : columns_));
    }
    copies.push_back(copy);
  }
  const Elements row_places(rowPermuteIndices), column_places(columnPermuteIndices);
  const NSUInteger rows = rows_, columns = columns_;
  const BOOL sources_turn = sourcesTurn_, destinations_turn = destinationsTurn_;
  record(commandBuffer, [=] {
    for (const OneCopy& copy : copies)
      run_copy(copy, rows, columns, sources_turn, destinations_turn, row_places, column_places);
  });
}
@end

@implementation MPSCNNNeuron
- (instancetype)initWithDevice:(id<MTLDevice>)device
              neuronDescriptor:(MPSNNNeuronDescriptor*)neuronDescriptor {
  self = [super initWithDevice:device];
  neuron_ = new DoubleNeuron;
  neuron_->set(neuronDescriptor->type_, neuronDescriptor->a_, neuronDescriptor->b_,
               neuronDescriptor->c_);
  return self;
}
- (void)dealloc {
  delete neuron_;
  [super dealloc];
}
- (void)encodeBatchToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                      sourceImages:(MPSImageBatch*)sourceImages
                 destinationImages:(MPSImageBatch*)destinationImages {
  const ImagePairs images = pairs_of(sourceImages, destinationImages, commandBuffer);
  for (const auto& [from, to] : images) {
    if (from->height != to->height || from->width != to->width || from->channels != to->channels)
      refuse("MPSCNNNeuron", "the result has another size than the source");
  }
  record(commandBuffer, [images, rule = neuron_->rule] {
    for (const auto& [from, to] : images) {
      for (int y = 0; y < to->height; ++y)
        for (int x = 0; x < to->width; ++x)
          for (int c = 0; c < to->channels; ++c)
            to->set(y, x, c, metal_double::neuron(rule, static_cast<double>(from->at(y, x, c)), c));
    }
  });
}
@end
