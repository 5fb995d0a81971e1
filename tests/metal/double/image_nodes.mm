// SPDX-License-Identifier: MIT
// Node classes whose filters are in image_ops.h.
#include "double.h"
#include "image_ops.h"

using namespace metal_double;

namespace {

/// Fills a fresh node with its filter; autoreleased.
template <class Filter>
Filter* with_op(Class kind, std::initializer_list<MPSNNImageNode*> sources,
                std::shared_ptr<Op> op) {
  MPSNNFilterNode* made = fill_node([[[kind alloc] init] autorelease], DoubleKind::OP, sources);
  node_of(made)->op = std::move(op);
  return static_cast<Filter*>(made);
}

template <class T>
T& op_of(MPSNNFilterNode* node) {
  return static_cast<T&>(*node_of(node)->op);
}

char operation_of(Class kind) {
  if (kind == [MPSNNMultiplicationNode class]) return '*';
  if (kind == [MPSNNDivisionNode class]) return '/';
  if (kind == [MPSNNComparisonNode class]) return '=';
  return '+';
}

std::shared_ptr<Reduction> reduction_of(Class kind) {
  const std::string name([NSStringFromClass(kind) UTF8String]);
  const auto has = [&](const char* part) { return name.find(part) != std::string::npos; };
  const Reduced axis = has("Row")       ? Reduced::ROW
                       : has("Column")  ? Reduced::COLUMN
                       : has("Spatial") ? Reduced::SPATIAL
                                        : Reduced::CHANNELS;
  const Reducing reducing = has("ArgumentMin")   ? Reducing::ARGUMENT_MIN
                            : has("ArgumentMax") ? Reducing::ARGUMENT_MAX
                            : has("Min")         ? Reducing::MIN
                            : has("Max")         ? Reducing::MAX
                            : has("Mean")        ? Reducing::MEAN
                                                 : Reducing::SUM;
  return std::make_shared<Reduction>(axis, reducing);
}

}  // namespace

@implementation MPSCNNKernel
@synthesize offset = offset_, edgeMode = edgeMode_;
@end
@implementation MPSCNNPooling
@end
@implementation MPSCNNPoolingAverage
@synthesize zeroPadSizeX = zeroPadSizeX_, zeroPadSizeY = zeroPadSizeY_;
@end

@implementation MPSNNBinaryArithmeticNode
+ (instancetype)nodeWithLeftSource:(MPSNNImageNode*)left rightSource:(MPSNNImageNode*)right {
  auto* made = with_op<MPSNNBinaryArithmeticNode>(self, {left, right},
                                                  std::make_shared<Arithmetic>(operation_of(self)));
  node_of(made)->gradient_class = [MPSNNArithmeticGradientNode class];
  return made;
}
- (NSArray<MPSNNGradientFilterNode*>*)gradientFiltersWithSource:(MPSNNImageNode*)gradientImage {
  // Their order is not documented.
  NSArray* filters = [super gradientFiltersWithSource:gradientImage];
  return @[ [filters objectAtIndex:1], [filters objectAtIndex:0] ];
}
- (NSUInteger)secondaryStrideInPixelsX {
  return static_cast<NSUInteger>(op_of<Arithmetic>(self).strides[1].x);
}
- (void)setSecondaryStrideInPixelsX:(NSUInteger)stride {
  op_of<Arithmetic>(self).strides[1].x = static_cast<int>(stride);
}
- (NSUInteger)secondaryStrideInPixelsY {
  return static_cast<NSUInteger>(op_of<Arithmetic>(self).strides[1].y);
}
- (void)setSecondaryStrideInPixelsY:(NSUInteger)stride {
  op_of<Arithmetic>(self).strides[1].y = static_cast<int>(stride);
}
- (NSUInteger)secondaryStrideInFeatureChannels {
  return static_cast<NSUInteger>(op_of<Arithmetic>(self).strides[1].channels);
}
- (void)setSecondaryStrideInFeatureChannels:(NSUInteger)stride {
  op_of<Arithmetic>(self).strides[1].channels = static_cast<int>(stride);
}
@end
@implementation MPSNNAdditionNode
@end
@implementation MPSNNMultiplicationNode
@end
@implementation MPSNNDivisionNode
@end
@implementation MPSNNComparisonNode
- (MPSNNComparisonType)comparisonType {
  return static_cast<MPSNNComparisonType>(
      std::string("=!<l>g").find(op_of<Arithmetic>(self).operation_));
}
- (void)setComparisonType:(MPSNNComparisonType)type {
  op_of<Arithmetic>(self).operation_ = "=!<l>g"[type];
}
@end

@implementation MPSNNArithmeticGradientNode
- (BOOL)isSecondarySourceFilter {
  return node_of(self)->source_index == 1;
}
@end

@implementation MPSNNUnaryReductionNode
+ (instancetype)nodeWithSource:(MPSNNImageNode*)sourceNode {
  return with_op<MPSNNUnaryReductionNode>(self, {sourceNode}, reduction_of(self));
}
- (MTLRegion)clipRectSource {
  const auto& op = op_of<Reduction>(self);
  return {{static_cast<NSUInteger>(op.left), static_cast<NSUInteger>(op.top), 0},
          {static_cast<NSUInteger>(op.width), static_cast<NSUInteger>(op.height), 1}};
}
- (void)setClipRectSource:(MTLRegion)region {
  auto& op = op_of<Reduction>(self);
  op.clips = true;
  op.left = static_cast<int>(region.origin.x);
  op.top = static_cast<int>(region.origin.y);
  op.width = static_cast<int>(region.size.width);
  op.height = static_cast<int>(region.size.height);
}
@end
@implementation MPSNNReductionRowMinNode
@end
@implementation MPSNNReductionRowMaxNode
@end
@implementation MPSNNReductionRowMeanNode
@end
@implementation MPSNNReductionColumnMinNode
@end
@implementation MPSNNReductionColumnMaxNode
@end
@implementation MPSNNReductionColumnMeanNode
@end
@implementation MPSNNReductionFeatureChannelsMinNode
@end
@implementation MPSNNReductionFeatureChannelsMaxNode
@end
@implementation MPSNNReductionFeatureChannelsMeanNode
@end
@implementation MPSNNReductionRowSumNode
@end
@implementation MPSNNReductionColumnSumNode
@end
@implementation MPSNNReductionFeatureChannelsArgumentMinNode
@end
@implementation MPSNNReductionFeatureChannelsArgumentMaxNode
@end
@implementation MPSNNReductionSpatialMeanNode
@end
@implementation MPSNNReductionFeatureChannelsSumNode
- (float)weight {
  return static_cast<float>(op_of<Reduction>(self).weight);
}
- (void)setWeight:(float)weight {
  op_of<Reduction>(self).weight = static_cast<double>(weight);
}
@end

@implementation MPSNNReshapeNode
+ (instancetype)nodeWithSource:(MPSNNImageNode*)source
                   resultWidth:(NSUInteger)resultWidth
                  resultHeight:(NSUInteger)resultHeight
         resultFeatureChannels:(NSUInteger)resultFeatureChannels {
  return with_op<MPSNNReshapeNode>(
      self, {source},
      make_reshape({static_cast<int>(resultHeight), static_cast<int>(resultWidth),
                    static_cast<int>(resultFeatureChannels)}));
}
@end

@implementation MPSNNPadNode
+ (instancetype)nodeWithSource:(MPSNNImageNode*)source
             paddingSizeBefore:(MPSImageCoordinate)before
              paddingSizeAfter:(MPSImageCoordinate)after
                      edgeMode:(MPSImageEdgeMode)edgeMode {
  const auto number = [](NSUInteger value) { return static_cast<int>(value); };
  return with_op<MPSNNPadNode>(
      self, {source},
      std::make_shared<Pad>(Margins{{number(before.x), number(before.y), number(before.channel)},
                                    {number(after.x), number(after.y), number(after.channel)},
                                    number(edgeMode)}));
}
- (float)fillValue {
  return static_cast<float>(op_of<Pad>(self).fill);
}
- (void)setFillValue:(float)fillValue {
  op_of<Pad>(self).fill = static_cast<double>(fillValue);
}
@end

@implementation MPSNNScaleNode
+ (instancetype)nodeWithSource:(MPSNNImageNode*)sourceNode
             transformProvider:(id<MPSImageTransformProvider>)transformProvider
                    outputSize:(MTLSize)size {
  const bool is_lanczos = self == [MPSNNLanczosScaleNode class];
  std::function<Transform()> transform;
  if (transformProvider != nil) {
    transform = [provider = Ref<id<MPSImageTransformProvider>>(transformProvider)] {
      const MPSScaleTransform t = [provider.get() transformForSourceImage:nil handle:nil];
      return Transform{t.scaleX, t.scaleY, t.translateX, t.translateY};
    };
  }
  return with_op<MPSNNScaleNode>(
      self, {sourceNode},
      make_scale(static_cast<int>(size.height), static_cast<int>(size.width),
                 is_lanczos ? Resampling::LANCZOS : Resampling::BILINEAR, std::move(transform)));
}
@end
@implementation MPSNNBilinearScaleNode
@end
@implementation MPSNNLanczosScaleNode
@end

@implementation MPSNNGramMatrixCalculationNode
+ (instancetype)nodeWithSource:(MPSNNImageNode*)sourceNode alpha:(float)alpha {
  return with_op<MPSNNGramMatrixCalculationNode>(self, {sourceNode},
                                                 make_gram(static_cast<double>(alpha)));
}
@end

/// Accessors of a number that a normalisation is computed with.
#define NORMALIZATION_NUMBER(type, getter, setter, field)             \
  -(type)getter {                                                     \
    return static_cast<type>(op_of<WindowNormalization>(self).field); \
  }                                                                   \
  -(void)setter : (type)value {                                       \
    auto& op = op_of<WindowNormalization>(self);                      \
    op.field = static_cast<decltype(op.field)>(value);                \
  }

@implementation MPSCNNNormalizationNode
+ (instancetype)nodeWithSource:(MPSNNImageNode*)sourceNode {
  using Kind = WindowNormalization::Kind;
  const bool is_contrast = self == [MPSCNNLocalContrastNormalizationNode class];
  const Kind kind = is_contrast                                      ? Kind::CONTRAST
                    : self == [MPSCNNSpatialNormalizationNode class] ? Kind::SPATIAL
                                                                     : Kind::CHANNELS;
  auto op = std::make_shared<WindowNormalization>(kind);
  if (is_contrast) {
    op->alpha = 0;
    op->beta = 0.5;
    op->delta = 1.0 / 1024;
    op->p0 = 1;
  }
  return with_op<MPSCNNNormalizationNode>(self, {sourceNode}, op);
}
NORMALIZATION_NUMBER(float, alpha, setAlpha, alpha)
NORMALIZATION_NUMBER(float, beta, setBeta, beta)
NORMALIZATION_NUMBER(float, delta, setDelta, delta)
@end
@implementation MPSCNNSpatialNormalizationNode
NORMALIZATION_NUMBER(NSUInteger, kernelWidth, setKernelWidth, kernel_x)
NORMALIZATION_NUMBER(NSUInteger, kernelHeight, setKernelHeight, kernel_y)
@end
@implementation MPSCNNLocalContrastNormalizationNode
NORMALIZATION_NUMBER(float, p0, setP0, p0)
NORMALIZATION_NUMBER(float, pm, setPm, pm)
NORMALIZATION_NUMBER(float, ps, setPs, ps)
NORMALIZATION_NUMBER(NSUInteger, kernelWidth, setKernelWidth, kernel_x)
NORMALIZATION_NUMBER(NSUInteger, kernelHeight, setKernelHeight, kernel_y)
@end
@implementation MPSCNNCrossChannelNormalizationNode
NORMALIZATION_NUMBER(NSUInteger, kernelSizeInFeatureChannels, setKernelSizeInFeatureChannels,
                     kernel_c)
@end

@implementation MPSCNNDilatedPoolingMaxNode
- (instancetype)initWithSource:(MPSNNImageNode*)sourceNode
                   kernelWidth:(NSUInteger)kernelWidth
                  kernelHeight:(NSUInteger)kernelHeight
               strideInPixelsX:(NSUInteger)strideInPixelsX
               strideInPixelsY:(NSUInteger)strideInPixelsY
                 dilationRateX:(NSUInteger)dilationRateX
                 dilationRateY:(NSUInteger)dilationRateY {
  self = [super init];
  if (self == nil) return nil;
  fill_node(self, DoubleKind::POOLING, {sourceNode});
  const auto number = [](NSUInteger value) { return static_cast<int>(value); };
  Window& window = node_of(self)->window;
  window = {number(kernelHeight),    number(kernelWidth),   number(strideInPixelsY),
            number(strideInPixelsX), number(dilationRateY), number(dilationRateX)};
  return self;  // the header of this node names no edge mode: zeros, as for bare kernels
}
@end
