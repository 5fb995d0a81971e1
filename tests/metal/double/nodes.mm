// SPDX-License-Identifier: MIT
// The node classes: each keeps what it was made with, for the graph to read.
#include <algorithm>
#include <cstdint>

#include "double.h"

NodePointer& node_of(MPSNNFilterNode* filter) { return *static_cast<NodePointer*>(filter->node_); }
NodePointer& node_of(MPSNNImageNode* image) { return *static_cast<NodePointer*>(image->node_); }

namespace {

MPSNNImageNode* image_of(const NodePointer& node) {
  MPSNNImageNode* image = [[[MPSNNImageNode alloc] init] autorelease];
  image->node_ = new NodePointer(node);
  return image;
}

/// Fills a fresh filter node.
template <class Filter>
Filter* fill(Filter* filter, DoubleKind kind, std::initializer_list<MPSNNImageNode*> sources) {
  auto node = std::make_shared<DoubleNode>();
  node->kind = kind;
  for (MPSNNImageNode* source : sources) {
    if (source == nil) refuse("MPSNNFilterNode", "a source is nil");
    node->sources.push_back(node_of(source));
  }
  filter->node_ = new NodePointer(node);
  filter->result_ = [image_of(node) retain];
  return filter;
}

template <class Filter>
Filter* make(DoubleKind kind, std::initializer_list<MPSNNImageNode*> sources) {
  return fill([[[Filter alloc] init] autorelease], kind, sources);
}

metal_double::Neuron neuron_of(MPSNNNeuronDescriptor* d) {
  metal_double::Neuron neuron{d->type_, d->a_, d->b_, d->c_, {}};
  if (d->data_ != nil) {
    const auto* slopes = static_cast<const float*>([d->data_ bytes]);
    neuron.slopes.assign(slopes, slopes + [d->data_ length] / sizeof(float));
  }
  return neuron;
}

MPSNNGradientFilterNode* gradient_node(const DoubleNode& forward) {
  Class kind = forward.gradient_class;
  if (forward.kind == DoubleKind::LOSS) kind = [MPSNNLossGradientNode class];
  if (kind == nil) kind = [MPSNNGradientFilterNode class];
  return [[[kind alloc] init] autorelease];
}

}  // namespace

MPSNNFilterNode* fill_node(MPSNNFilterNode* fresh, DoubleKind kind,
                           std::initializer_list<MPSNNImageNode*> sources) {
  return fill(fresh, kind, sources);
}

@implementation MPSNNImageNode
+ (instancetype)nodeWithHandle:(NSObject<MPSHandle>*)handle {
  auto node = std::make_shared<DoubleNode>();
  node->kind = DoubleKind::SOURCE;
  node->handle = handle;
  return image_of(node);
}
- (void)dealloc {
  delete static_cast<NodePointer*>(node_);
  [super dealloc];
}
- (id<MPSHandle>)handle {
  return node_of(self)->handle;
}
- (void)setHandle:(id<MPSHandle>)handle {
  node_of(self)->handle = handle;
}
- (MPSImageFeatureChannelFormat)format {
  return node_of(self)->format;
}
- (void)setFormat:(MPSImageFeatureChannelFormat)format {
  node_of(self)->format = format;
}
- (BOOL)exportFromGraph {
  return node_of(self)->exported;
}
- (void)setExportFromGraph:(BOOL)exportFromGraph {
  node_of(self)->exported = exportFromGraph;
}
@end

@implementation MPSNNFilterNode
- (void)dealloc {
  [result_ release];
  [label_ release];
  delete static_cast<NodePointer*>(node_);
  [super dealloc];
}
- (MPSNNImageNode*)resultImage {
  return result_;
}
DOUBLE_LABEL
- (id<MPSNNPadding>)paddingPolicy {
  return node_of(self)->padding;
}
- (void)setPaddingPolicy:(id<MPSNNPadding>)paddingPolicy {
  node_of(self)->padding = paddingPolicy;
}
- (NSArray<MPSNNGradientFilterNode*>*)gradientFiltersWithSource:(MPSNNImageNode*)gradientImage {
  const NodePointer& forward = node_of(self);
  if (forward->op && !forward->op->has_gradient())
    refuse("MPSNNFilterNode", "it has no gradient filter");
  NSMutableArray* filters = [NSMutableArray array];
  // Neither a loss's weights nor anything of a gradient node has a gradient.
  const std::size_t count = std::min<std::size_t>(forward->sources.size(),
                                                  forward->kind == DoubleKind::LOSS ? 2 : SIZE_MAX);
  for (std::size_t i = 0; i < count; ++i) {
    MPSNNGradientFilterNode* filter =
        fill(gradient_node(*forward), DoubleKind::GRADIENT, {gradientImage});
    node_of(filter)->forward = forward;
    node_of(filter)->source_index = i;
    node_of(filter)->training_style = forward->training_style;
    [filters addObject:filter];
  }
  return filters;
}
@end

@implementation MPSNNGradientFilterNode
- (NSArray<MPSNNGradientFilterNode*>*)gradientFiltersWithSource:(MPSNNImageNode*)gradientImage {
  static_cast<void>(gradientImage);
  refuse("MPSNNGradientFilterNode", "the gradient of a gradient");
}
@end

@implementation MPSCNNNeuronNode
+ (instancetype)nodeWithSource:(MPSNNImageNode*)sourceNode
                    descriptor:(MPSNNNeuronDescriptor*)descriptor {
  MPSCNNNeuronNode* made = make<MPSCNNNeuronNode>(DoubleKind::NEURON, {sourceNode});
  node_of(made)->neuron = neuron_of(descriptor);
  return made;
}
@end

@implementation MPSCNNNeuronLinearNode
+ (instancetype)nodeWithSource:(MPSNNImageNode*)sourceNode a:(float)a b:(float)b {
  MPSCNNNeuronLinearNode* made = make<MPSCNNNeuronLinearNode>(DoubleKind::NEURON, {sourceNode});
  node_of(made)->neuron = {2, a, b, 0, {}};
  return made;
}
@end

@implementation MPSCNNPoolingNode
- (instancetype)initWithSource:(MPSNNImageNode*)sourceNode
                   kernelWidth:(NSUInteger)kernelWidth
                  kernelHeight:(NSUInteger)kernelHeight
               strideInPixelsX:(NSUInteger)strideInPixelsX
               strideInPixelsY:(NSUInteger)strideInPixelsY {
  self = [super init];
  if (self == nil) return nil;
  fill(self, DoubleKind::POOLING, {sourceNode});
  if ([self isKindOfClass:[MPSCNNPoolingAverageNode class]])
    node_of(self)->pooling = metal_double::Pooling::AVERAGE;
  if ([self isKindOfClass:[MPSCNNPoolingL2NormNode class]])
    node_of(self)->pooling = metal_double::Pooling::L2;
  metal_double::Window& window = node_of(self)->window;
  window.kernel_x = static_cast<int>(kernelWidth);
  window.kernel_y = static_cast<int>(kernelHeight);
  window.stride_x = static_cast<int>(strideInPixelsX);
  window.stride_y = static_cast<int>(strideInPixelsY);
  window.clamps = true;  // the header's default for nodes of poolings
  return self;
}
@end
@implementation MPSCNNPoolingMaxNode
@end
@implementation MPSCNNPoolingAverageNode
@end
@implementation MPSCNNPoolingL2NormNode
@end

@implementation MPSCNNUpsamplingNearestNode
+ (instancetype)nodeWithSource:(MPSNNImageNode*)sourceNode
           integerScaleFactorX:(NSUInteger)integerScaleFactorX
           integerScaleFactorY:(NSUInteger)integerScaleFactorY {
  MPSCNNUpsamplingNearestNode* made =
      make<MPSCNNUpsamplingNearestNode>(DoubleKind::NEAREST, {sourceNode});
  node_of(made)->scale_x = integerScaleFactorX;
  node_of(made)->scale_y = integerScaleFactorY;
  return made;
}
@end
@implementation MPSCNNUpsamplingBilinearNode
+ (instancetype)nodeWithSource:(MPSNNImageNode*)sourceNode
           integerScaleFactorX:(NSUInteger)integerScaleFactorX
           integerScaleFactorY:(NSUInteger)integerScaleFactorY
                  alignCorners:(BOOL)alignCorners {
  MPSCNNUpsamplingBilinearNode* made =
      make<MPSCNNUpsamplingBilinearNode>(DoubleKind::BILINEAR, {sourceNode});
  node_of(made)->scale_x = integerScaleFactorX;
  node_of(made)->scale_y = integerScaleFactorY;
  node_of(made)->align_corners = alignCorners;
  return made;
}
@end

@implementation MPSNNConcatenationNode
+ (instancetype)nodeWithSources:(NSArray<MPSNNImageNode*>*)sourceNodes {
  MPSNNConcatenationNode* made = make<MPSNNConcatenationNode>(DoubleKind::CONCATENATION, {});
  for (MPSNNImageNode* source in sourceNodes) node_of(made)->sources.push_back(node_of(source));
  return made;
}
@end

@implementation MPSCNNSoftMaxNode
+ (instancetype)nodeWithSource:(MPSNNImageNode*)sourceNode {
  return make<MPSCNNSoftMaxNode>(DoubleKind::SOFTMAX, {sourceNode});
}
@end
@implementation MPSCNNLogSoftMaxNode
+ (instancetype)nodeWithSource:(MPSNNImageNode*)sourceNode {
  return make<MPSCNNLogSoftMaxNode>(DoubleKind::LOG_SOFTMAX, {sourceNode});
}
@end

@implementation MPSNNForwardLossNode
+ (instancetype)nodeWithSource:(MPSNNImageNode*)source
                        labels:(MPSNNImageNode*)labels
                       weights:(MPSNNImageNode*)weights
                lossDescriptor:(MPSCNNLossDescriptor*)descriptor {
  MPSNNForwardLossNode* made =
      make<MPSNNForwardLossNode>(DoubleKind::LOSS, {source, labels, weights});
  node_of(made)->loss = descriptor;
  return made;
}
+ (instancetype)nodeWithSource:(MPSNNImageNode*)source
                        labels:(MPSNNImageNode*)labels
                lossDescriptor:(MPSCNNLossDescriptor*)descriptor {
  MPSNNForwardLossNode* made = make<MPSNNForwardLossNode>(DoubleKind::LOSS, {source, labels});
  node_of(made)->loss = descriptor;
  return made;
}
@end
@implementation MPSNNLossGradientNode
- (BOOL)isLabelsGradientFilter {
  return node_of(self)->source_index == 1;
}
@end

@implementation MPSNNInitialGradientNode
+ (instancetype)nodeWithSource:(MPSNNImageNode*)source {
  return make<MPSNNInitialGradientNode>(DoubleKind::INITIAL_GRADIENT, {source});
}
@end
