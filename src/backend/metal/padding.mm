// SPDX-License-Identifier: MIT
#include "backend/metal/padding.h"

#include <limits>

#include "backend/metal/coding.h"
#include "backend/metal/images.h"

/// A policy that was computed before: size of the result, offset and edge mode of the kernel. MPS
/// keeps what a policy sets on a kernel between runs, which does not matter here: it is always the
/// same.
@interface MpsnnPadding : NSObject <MPSNNPadding> {
  MPSOffset offset_;
  NSUInteger width_, height_;
  MPSImageEdgeMode edgeMode_;
  NSUInteger borderX_, borderY_;
}
- (instancetype)initWithRule:(const mpsnn::backend::metal::WindowRule&)rule;
@end

@implementation MpsnnPadding

- (instancetype)initWithRule:(const mpsnn::backend::metal::WindowRule&)rule {
  self = [super init];
  if (self == nil) return nil;
  const mpsnn::graph::Geometry& g = rule.geometry;
  // MPS counts from the middle of the window, where an even one has two the right one.
  offset_ = {static_cast<NSInteger>(g.x.extent() / 2 - g.at_x.pad),
             static_cast<NSInteger>(g.y.extent() / 2 - g.at_y.pad), 0};
  width_ = static_cast<NSUInteger>(g.at_x.size * rule.sub_pixels);
  height_ = static_cast<NSUInteger>(g.at_y.size * rule.sub_pixels);
  edgeMode_ =
      rule.edge_mode == mpsnn::ImageEdgeMode::ZERO ? MPSImageEdgeModeZero : MPSImageEdgeModeClamp;
  borderX_ = static_cast<NSUInteger>(rule.border_x);
  borderY_ = static_cast<NSUInteger>(rule.border_y);
  return self;
}

- (MPSNNPaddingMethod)paddingMethod {
  return MPSNNPaddingMethodCustom | MPSNNPaddingMethodSizeSame;
}

- (MPSImageDescriptor*)destinationImageDescriptorForSourceImages:(NSArray<MPSImage*>*)sourceImages
                                                    sourceStates:(NSArray<MPSState*>*)sourceStates
                                                       forKernel:(MPSKernel*)kernel
                                             suggestedDescriptor:(MPSImageDescriptor*)descriptor {
  static_cast<void>(sourceImages);
  static_cast<void>(sourceStates);
  auto* filter = static_cast<MPSCNNKernel*>(kernel);
  if ([kernel isKindOfClass:[MPSCNNConvolutionTranspose class]]) {
    // The other offset counts pixels of the source, without the zeros between them; MPS may have
    // set it by the bits of the method. Both are added.
    auto* transposed = static_cast<MPSCNNConvolutionTranspose*>(filter);
    [transposed setOffset:MPSOffset{0, 0, 0}];
    [transposed setKernelOffsetX:offset_.x];
    [transposed setKernelOffsetY:offset_.y];
  } else {
    [filter setOffset:offset_];
  }
  [filter setEdgeMode:edgeMode_];
  if ([kernel isKindOfClass:[MPSCNNPoolingAverage class]]) {
    auto* average = static_cast<MPSCNNPoolingAverage*>(kernel);
    [average setZeroPadSizeX:borderX_];
    [average setZeroPadSizeY:borderY_];
  }
  [descriptor setWidth:width_];
  [descriptor setHeight:height_];
  return descriptor;
}

/// Graphs are not archived by MPS here; the protocol asks for this.
+ (BOOL)supportsSecureCoding {
  return YES;
}

- (void)encodeWithCoder:(NSCoder*)coder {
  [coder encodeInt64:static_cast<int64_t>(offset_.x) forKey:@"offsetX"];
  [coder encodeInt64:static_cast<int64_t>(offset_.y) forKey:@"offsetY"];
  [coder encodeInt64:static_cast<int64_t>(width_) forKey:@"width"];
  [coder encodeInt64:static_cast<int64_t>(height_) forKey:@"height"];
  [coder encodeInt64:static_cast<int64_t>(edgeMode_) forKey:@"edgeMode"];
  [coder encodeInt64:static_cast<int64_t>(borderX_) forKey:@"borderX"];
  [coder encodeInt64:static_cast<int64_t>(borderY_) forKey:@"borderY"];
}

- (instancetype)initWithCoder:(NSCoder*)coder {
  self = [super init];
  if (self == nil) return nil;
  [self autorelease];  // a reader raises
  const mpsnn::backend::metal::ArchiveReader from(coder, [MpsnnPadding class]);
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  const auto offset = [&](NSString* key) {
    return static_cast<NSInteger>(from.integer(key, -kMost, kMost));
  };
  const auto extent = [&](NSString* key, std::int64_t least, std::int64_t most) {
    return static_cast<NSUInteger>(from.integer(key, least, most));
  };
  offset_ = {offset(@"offsetX"), offset(@"offsetY"), 0};
  width_ = extent(@"width", 1, mpsnn::backend::metal::kMostPixels);
  height_ = extent(@"height", 1, mpsnn::backend::metal::kMostPixels);
  edgeMode_ = static_cast<MPSImageEdgeMode>(
      from.integer(@"edgeMode", MPSImageEdgeModeZero, MPSImageEdgeModeClamp));
  borderX_ = extent(@"borderX", 0, kMost);
  borderY_ = extent(@"borderY", 0, kMost);
  return [self retain];
}

@end

namespace mpsnn::backend::metal {

void set_padding(MPSNNFilterNode* made, const graph::FilterRecord& node, const WindowRule& rule,
                 ImageEdgeMode own_edge_mode) {
  const PaddingPolicy& policy = node.padding;
  const bool by_bits = !policy.pads && policy.own == nullptr &&
                       !(policy.method & PaddingMethod::EXCLUDE_EDGES) &&
                       rule.edge_mode == own_edge_mode && rule.border_y == 0 &&
                       rule.border_x == 0 && !rule.is_transposed && rule.sub_pixels == 1;
  if (by_bits) {
    // The bits have Apple's values.
    [made setPaddingPolicy:[MPSNNDefaultPadding
                               paddingWithMethod:static_cast<MPSNNPaddingMethod>(policy.method)]];
  } else {
    set_own_padding(made, rule);
  }
}

bool reads_outside(const graph::Geometry& g, const ImageSize& source) {
  const auto along = [](const graph::Window& window, const graph::Placement& at,
                        std::int64_t length) {
    return at.pad > 0 || (at.size - 1) * window.stride - at.pad + window.extent() > length;
  };
  return along(g.y, g.at_y, source.height) || along(g.x, g.at_x, source.width);
}

void set_own_padding(MPSNNFilterNode* made, const WindowRule& rule) {
  [made setPaddingPolicy:[[[MpsnnPadding alloc] initWithRule:rule] autorelease]];
}

}  // namespace mpsnn::backend::metal
