// SPDX-License-Identifier: MIT
// Kernels of images that filter, resize, pad, sample or compare: plain loops over single pixels.
#include <algorithm>
#include <cmath>

#include "image_ops.h"
#include "matrices.h"

using metal_double::each;
using metal_double::Pixels;
using Shared = std::shared_ptr<Pixels>;

namespace {

double number(float value) { return static_cast<double>(value); }

/// Where position p of an image of `size` pixels is read by an edge mode; -1: a constant.
int place(int p, int size, MPSImageEdgeMode mode) {
  if (p >= 0 && p < size) return p;
  const auto wrapped = [&](int period) { return ((p % period) + period) % period; };
  switch (mode) {
    case MPSImageEdgeModeClamp:
      return p < 0 ? 0 : size - 1;
    case MPSImageEdgeModeMirror: {
      if (size == 1) return 0;
      const int at = wrapped(2 * size - 2);
      return at < size ? at : 2 * size - 2 - at;
    }
    case MPSImageEdgeModeMirrorWithEdge: {
      const int at = wrapped(2 * size);
      return at < size ? at : 2 * size - 1 - at;
    }
    default:
      return -1;
  }
}

/// A pixel that may lie outside.
double read(const Pixels& from, int y, int x, int c, MPSImageEdgeMode mode, double fill = 0) {
  const int row = place(y, from.height, mode), column = place(x, from.width, mode);
  return row < 0 || column < 0 ? fill : number(from.at(row, column, c));
}

/// Between four pixels; whole numbers are their centres.
double interpolated(const Pixels& from, double y, double x, int c, MPSImageEdgeMode mode) {
  if (!std::isfinite(y) || !std::isfinite(x)) return NAN;
  const double row = std::clamp(y, -2.0, from.height + 1.0),
               column = std::clamp(x, -2.0, from.width + 1.0);
  const int top = static_cast<int>(std::floor(row)), left = static_cast<int>(std::floor(column));
  double sum = 0;
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 2; ++j) {
      const double weight = (1 - std::fabs(row - top - i)) * (1 - std::fabs(column - left - j));
      if (weight != 0) sum += weight * read(from, top + i, left + j, c, mode);
    }
  return sum;
}

void want_edge_mode(const char* kernel, MPSImageEdgeMode mode) {
  if (mode > MPSImageEdgeModeClamp)
    refuse(kernel, "only MPSNNPad has an edge mode other than zero and clamp");
}

}  // namespace

// ---- textures

@implementation MPSUnaryImageKernel
@synthesize offset = offset_, edgeMode = edgeMode_;
- (instancetype)initWithDevice:(id<MTLDevice>)device {
  return [super initWithDevice:device];
}
- (double)valueFrom:(const Pixels&)from y:(int)y x:(int)x c:(int)c to:(const Pixels&)to {
  static_cast<void>(from), static_cast<void>(to);
  static_cast<void>(y), static_cast<void>(x), static_cast<void>(c);
  refuse("MPSUnaryImageKernel", "one of its subclasses is wanted");
}
- (void)encodeToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                  sourceImage:(MPSImage*)sourceImage
             destinationImage:(MPSImage*)destinationImage {
  const Shared from = read_by_other_kernel(sourceImage, commandBuffer),
               to = written_to(destinationImage, commandBuffer);
  if (from == to) refuse("MPSUnaryImageKernel", "the result must not be the source");
  if (from->channels > 4 || to->channels > 4)
    refuse("MPSUnaryImageKernel", "a texture holds four channels");
  want_edge_mode("MPSUnaryImageKernel", edgeMode_);
  const Ref<MPSUnaryImageKernel*> own(self);
  record(commandBuffer, [=] {
    each(*to, [&](int y, int x, int c) {
      to->set(y, x, c, [own.get() valueFrom:*from y:y x:x c:c to:*to]);
    });
  });
}
@end

struct DoubleWeights {
  int width, height;
  std::vector<float> values;
};

@implementation MPSImageConvolution
@synthesize bias = bias_;
- (instancetype)initWithDevice:(id<MTLDevice>)device
                   kernelWidth:(NSUInteger)kernelWidth
                  kernelHeight:(NSUInteger)kernelHeight
                       weights:(const float*)kernelWeights {
  self = [super initWithDevice:device];
  if (kernelWidth % 2 == 0 || kernelHeight % 2 == 0)
    refuse("MPSImageConvolution", "a window of odd width and height is wanted");
  weights_ = new DoubleWeights{static_cast<int>(kernelWidth),
                               static_cast<int>(kernelHeight),
                               {kernelWeights, kernelWeights + kernelWidth * kernelHeight}};
  return self;
}
- (void)dealloc {
  delete weights_;
  [super dealloc];
}
- (double)valueFrom:(const Pixels&)from y:(int)y x:(int)x c:(int)c to:(const Pixels&)to {
  static_cast<void>(to);
  const int top = static_cast<int>(offset_.y) + y - weights_->height / 2,
            left = static_cast<int>(offset_.x) + x - weights_->width / 2;
  double sum = number(bias_);
  for (int i = 0; i < weights_->height; ++i)
    for (int j = 0; j < weights_->width; ++j) {
      const float weight = weights_->values[static_cast<std::size_t>(i * weights_->width + j)];
      sum += number(weight) * read(from, top + i, left + j, c, edgeMode_);
    }
  return sum;
}
@end

@implementation MPSImageScale
- (instancetype)initWithDevice:(id<MTLDevice>)device {
  return [super initWithDevice:device];
}
- (const MPSScaleTransform*)scaleTransform {
  return isTransformed_ ? &transform_ : nullptr;
}
- (void)setScaleTransform:(const MPSScaleTransform*)transform {
  isTransformed_ = transform != nullptr;
  if (isTransformed_) transform_ = *transform;
}
@end
@implementation MPSImageBilinearScale
- (instancetype)initWithDevice:(id<MTLDevice>)device {
  return [super initWithDevice:device];
}
- (double)valueFrom:(const Pixels&)from y:(int)y x:(int)x c:(int)c to:(const Pixels&)to {
  const MPSScaleTransform fitting = {static_cast<double>(to.width) / from.width,
                                     static_cast<double>(to.height) / from.height, 0, 0};
  const MPSScaleTransform& t = isTransformed_ ? transform_ : fitting;
  return interpolated(from, (y + 0.5 - t.translateY) / t.scaleY - 0.5,
                      (x + 0.5 - t.translateX) / t.scaleX - 0.5, c, edgeMode_);
}
@end

@implementation MPSImageLanczosScale
- (instancetype)initWithDevice:(id<MTLDevice>)device {
  return [super initWithDevice:device];
}
- (double)valueFrom:(const Pixels&)from y:(int)y x:(int)x c:(int)c to:(const Pixels&)to {
  if (edgeMode_ != MPSImageEdgeModeClamp || !isTransformed_)
    refuse("MPSImageLanczosScale", "a transform and the edge mode CLAMP are wanted");
  const metal_double::Transform t = {transform_.scaleX, transform_.scaleY, transform_.translateX,
                                     transform_.translateY};
  static_cast<void>(to);
  return metal_double::resampled(from, metal_double::Resampling::LANCZOS, t, y, x, c);
}
@end

// ---- slices

@implementation MPSNNPad
@synthesize fillValue = fillValue_;
- (instancetype)initWithDevice:(id<MTLDevice>)device {
  return [super initWithDevice:device];
}
- (void)encodeBatchToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                      sourceImages:(MPSImageBatch*)sourceImages
                 destinationImages:(MPSImageBatch*)destinationImages {
  std::vector<std::pair<Shared, Shared>> images;
  for (NSUInteger i = 0; i < [destinationImages count]; ++i) {
    images.emplace_back(read_from([sourceImages objectAtIndex:i], commandBuffer),
                        written_to([destinationImages objectAtIndex:i], commandBuffer));
    if (images.back().first->channels != images.back().second->channels)
      refuse("MPSNNPad", "channels are added by paddingSizeBefore and paddingSizeAfter only");
  }
  const int top = static_cast<int>(offset_.y), left = static_cast<int>(offset_.x);
  const MPSImageEdgeMode mode = edgeMode_;
  const double fill = mode == MPSImageEdgeModeConstant ? number(fillValue_) : 0.0;
  record(commandBuffer, [=] {
    for (const auto& [from, to] : images)
      each(*to, [&](int y, int x, int c) {
        to->set(y, x, c, read(*from, y + top, x + left, c, mode, fill));
      });
  });
}
@end

@implementation MPSNNCompare
@synthesize comparisonType = comparisonType_, threshold = threshold_;
- (instancetype)initWithDevice:(id<MTLDevice>)device {
  return [super initWithDevice:device];
}
- (double)combine:(double)a with:(double)b {
  const bool equal = std::fabs(a - b) <= number(threshold_);
  switch (comparisonType_) {
    case MPSNNComparisonTypeEqual:
      return equal;
    case MPSNNComparisonTypeNotEqual:
      return !equal;
    case MPSNNComparisonTypeLess:
      return a < b;
    case MPSNNComparisonTypeLessOrEqual:
      return a <= b;
    case MPSNNComparisonTypeGreater:
      return a > b;
    case MPSNNComparisonTypeGreaterOrEqual:
      return a >= b;
  }
  refuse("MPSNNCompare", "no such comparison");
}
@end

namespace {

struct Pair {
  Shared primary, secondary, result;
};

std::vector<Pair> pairs_of(id<MTLCommandBuffer> commands, MPSImageBatch* primary,
                           MPSImageBatch* secondary, MPSImageBatch* result) {
  std::vector<Pair> pairs;
  for (NSUInteger i = 0; i < [result count]; ++i) {
    pairs.push_back({read_from([primary objectAtIndex:i], commands),
                     read_from([secondary objectAtIndex:i], commands),
                     written_to([result objectAtIndex:i], commands)});
  }
  return pairs;
}

}  // namespace

@implementation MPSNNGridSample
@synthesize useGridValueAsInputCoordinate = isAbsolute_;
- (instancetype)initWithDevice:(id<MTLDevice>)device {
  self = [super initWithDevice:device];
  isAbsolute_ = YES;
  return self;
}
- (void)encodeBatchToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                     primaryImages:(MPSImageBatch*)primaryImages
                   secondaryImages:(MPSImageBatch*)secondaryImages
                 destinationImages:(MPSImageBatch*)destinationImages {
  want_edge_mode("MPSNNGridSample", primaryEdgeMode_);
  const std::vector<Pair> pairs =
      pairs_of(commandBuffer, primaryImages, secondaryImages, destinationImages);
  const int own = isAbsolute_ ? 0 : 1;
  const MPSImageEdgeMode mode = primaryEdgeMode_;
  record(commandBuffer, [=] {
    for (const Pair& p : pairs)
      each(*p.result, [&](int y, int x, int c) {
        const double row = own * y + number(p.secondary->at(y, x, 1)),
                     column = own * x + number(p.secondary->at(y, x, 0));
        p.result->set(y, x, c, interpolated(*p.primary, row, column, c, mode));
      });
  });
}
@end

@implementation MPSNNReduceBinary
@end
@implementation MPSNNLocalCorrelation
- (instancetype)initWithDevice:(id<MTLDevice>)device
                     windowInX:(NSUInteger)windowInX
                     windowInY:(NSUInteger)windowInY
                     strideInX:(NSUInteger)strideInX
                     strideInY:(NSUInteger)strideInY {
  self = [super initWithDevice:device];
  if (strideInX == 0 || strideInY == 0)
    refuse("MPSNNLocalCorrelation", "strides above 0 are wanted");
  windowX_ = static_cast<int>(windowInX), windowY_ = static_cast<int>(windowInY);
  strideX_ = static_cast<int>(strideInX), strideY_ = static_cast<int>(strideInY);
  return self;
}
- (void)encodeBatchToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                     primaryImages:(MPSImageBatch*)primaryImages
                   secondaryImages:(MPSImageBatch*)secondaryImages
                 destinationImages:(MPSImageBatch*)destinationImages {
  want_edge_mode("MPSNNLocalCorrelation", secondaryEdgeMode_);
  const std::vector<Pair> pairs =
      pairs_of(commandBuffer, primaryImages, secondaryImages, destinationImages);
  const int columns = 2 * windowX_ + 1;
  for (const Pair& p : pairs) {
    if (p.result->channels != columns * (2 * windowY_ + 1))
      refuse("MPSNNLocalCorrelation", "a channel for each place of the window is wanted");
    if (p.primary->width != p.secondary->width || p.primary->height != p.secondary->height)
      refuse("MPSNNLocalCorrelation", "images of one size are wanted");
  }
  record(commandBuffer, [=, wx = windowX_, wy = windowY_, sx = strideX_, sy = strideY_,
                         mode = secondaryEdgeMode_] {
    for (const Pair& p : pairs)
      each(*p.result, [&](int y, int x, int k) {
        const int row = y + (k / columns - wy) * sy, column = x + (k % columns - wx) * sx;
        double sum = 0;
        for (int c = 0; c < p.primary->channels; ++c)
          sum += number(p.primary->at(y, x, c)) * read(*p.secondary, row, column, c, mode);
        p.result->set(y, x, k, sum);
      });
  });
}
@end
