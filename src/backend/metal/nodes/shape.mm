// SPDX-License-Identifier: MIT
// Concatenation, reshaping, margins, resizing, Gram matrices.
#include <limits>

#include "backend/metal/coding.h"
#include "backend/metal/lowering.h"
#include "backend/metal/padding.h"
#include "base/attributes.h"
#include "graph/node_table.h"

/// A transform that is the same at every encode.
@interface MpsnnTransform : NSObject <MPSImageTransformProvider> {
  MPSScaleTransform transform_;
}
- (instancetype)initWithTransform:(MPSScaleTransform)transform;
@end

@implementation MpsnnTransform

- (instancetype)initWithTransform:(MPSScaleTransform)transform {
  self = [super init];
  if (self != nil) transform_ = transform;
  return self;
}

- (MPSScaleTransform)transformForSourceImage:(MPSImage*)image handle:(id<MPSHandle>)handle {
  static_cast<void>(image);
  static_cast<void>(handle);
  return transform_;
}

/// Graphs are not archived by MPS here; the protocol asks for this.
+ (BOOL)supportsSecureCoding {
  return YES;
}

- (void)encodeWithCoder:(NSCoder*)coder {
  [coder encodeDouble:transform_.scaleX forKey:@"scaleX"];
  [coder encodeDouble:transform_.scaleY forKey:@"scaleY"];
  [coder encodeDouble:transform_.translateX forKey:@"translateX"];
  [coder encodeDouble:transform_.translateY forKey:@"translateY"];
}

- (instancetype)initWithCoder:(NSCoder*)coder {
  [self autorelease];  // a reader raises
  const mpsnn::backend::metal::ArchiveReader from(coder, [MpsnnTransform class]);
  constexpr double kMostScale = 16384, kMost = std::numeric_limits<double>::max();
  const auto scale = [&](NSString* key) { return from.number(key, 1 / kMostScale, kMostScale); };
  const auto translation = [&](NSString* key) { return from.number(key, -kMost, kMost); };
  return [[self initWithTransform:{scale(@"scaleX"), scale(@"scaleY"), translation(@"translateX"),
                                   translation(@"translateY")}] retain];
}

@end

namespace mpsnn::backend::metal {
namespace {

using graph::FilterRecord;

constexpr std::int64_t kSlice = 4;

NSUInteger number(const FilterRecord& node, std::string_view name) {
  return static_cast<NSUInteger>(get_int(node.attributes, name));
}

}  // namespace

namespace {

bool is_aligned(const Builder& builder, const FilterRecord& node) {
  for (std::size_t i = 0; i < node.sources.size(); ++i) {
    if (builder.size(node, i).channels % kSlice != 0) return false;
  }
  return true;
}

/// MPSNNConcatenationNode was measured to start each source at a slice of four channels, as its
/// header says: 1 + 1 channels become 8. Where that is not what is wanted, each source is given
/// channels of zeros before and behind it, and all are added.
void concatenate_unaligned(Builder& builder, const FilterRecord& node) {
  std::int64_t all = 0, before = 0;
  for (std::size_t i = 0; i < node.sources.size(); ++i) all += builder.size(node, i).channels;
  std::vector<MPSNNFilterNode*> parts;
  MPSNNFilterNode* sum = nil;
  for (std::size_t i = 0; i < node.sources.size(); ++i) {
    const std::int64_t behind = before + builder.size(node, i).channels;
    parts.push_back([MPSNNPadNode nodeWithSource:builder.source(node, i)
                               paddingSizeBefore:{0, 0, static_cast<NSUInteger>(before)}
                                paddingSizeAfter:{0, 0, static_cast<NSUInteger>(all - behind)}
                                        edgeMode:MPSImageEdgeModeZero]);
    MPSNNImageNode* part = [parts.back() resultImage];
    sum = sum == nil ? parts.back()
                     : [MPSNNAdditionNode nodeWithLeftSource:[sum resultImage] rightSource:part];
    before = behind;
  }
  builder.finish(node, sum);
  builder.set_parts(node, std::move(parts));
}

}  // namespace

void lower_concatenation(Builder& builder, const FilterRecord& node) {
  if (!is_aligned(builder, node)) return concatenate_unaligned(builder, node);
  NSMutableArray<MPSNNImageNode*>* sources = [NSMutableArray array];
  for (std::size_t i = 0; i < node.sources.size(); ++i) [sources addObject:builder.source(node, i)];
  builder.finish(node, [MPSNNConcatenationNode nodeWithSources:sources]);
}

void lower_concatenation_gradient(Builder& builder, const FilterRecord& node) {
  const auto index = static_cast<NSUInteger>(get_int(node.attributes, "source_index"));
  NSArray<MPSNNGradientFilterNode*>* made = builder.gradients(node);
  MPSNNFilterNode* part = builder.part(*node.inference_node, index);
  if (part == nil) return builder.finish(node, [made objectAtIndex:index]);
  made = [part gradientFiltersWithSource:builder.source(node, 0)];
  builder.finish(node, [made objectAtIndex:0]);
}

void lower_reshape(Builder& builder, const FilterRecord& node) {
  builder.finish(node, [MPSNNReshapeNode nodeWithSource:builder.source(node, 0)
                                            resultWidth:number(node, "result_width")
                                           resultHeight:number(node, "result_height")
                                  resultFeatureChannels:number(node, "result_feature_channels")]);
}

/// Apple's header does not say what mirroring makes of margins wider than the image.
std::string refuse_pad(const NodeCase& node) {
  const AttributeMap& a = node.node.attributes;
  const auto mode = static_cast<ImageEdgeMode>(get_int(a, "edge_mode"));
  const ImageSize size = node.source(0);
  const std::int64_t edge = mode == ImageEdgeMode::MIRROR ? 1 : 0;
  if (mode != ImageEdgeMode::MIRROR && mode != ImageEdgeMode::MIRROR_WITH_EDGE) return {};
  for (const auto& [name, extent] : {std::pair("x", size.width), std::pair("y", size.height),
                                     std::pair("channel", size.channels)}) {
    for (const std::string_view side : {"before", "after"}) {
      const std::int64_t margin = get_int(a, str("padding_size_", side, "_", name));
      if (margin <= extent - edge) continue;
      return str("padding_size_", side, "_", name, ": MPS mirrors an image once, at most ",
                 extent - edge, ", got ", margin);
    }
  }
  return {};
}

void lower_pad(Builder& builder, const FilterRecord& node) {
  MPSNNPadNode* made = [MPSNNPadNode
         nodeWithSource:builder.source(node, 0)
      paddingSizeBefore:{number(node, "padding_size_before_x"),
                         number(node, "padding_size_before_y"),
                         number(node, "padding_size_before_channel")}
       paddingSizeAfter:{number(node, "padding_size_after_x"), number(node, "padding_size_after_y"),
                         number(node, "padding_size_after_channel")}
               edgeMode:static_cast<MPSImageEdgeMode>(get_int(node.attributes, "edge_mode"))];
  [made setFillValue:static_cast<float>(get_float(node.attributes, "fill_value"))];
  builder.finish(node, made);
}

/// MPS's offsets along the channels are multiples of four, and belong to its graph.
std::string refuse_crop(const NodeCase& node) {
  const AttributeMap& a = node.node.attributes;
  const std::int64_t all = node.source(node.node.node_class->gradient ? 1 : 0).channels;
  const std::int64_t wanted = get_int(a, "result_feature_channels");
  if (get_int(a, "origin_feature_channel") == 0 && (wanted == 0 || wanted == all)) return {};
  return "result_feature_channels: MPS's graph has no node that leaves out channels";
}

/// MPS's graph has no node that crops: an average of one pixel does, with a policy that says where
/// the first one is.
void lower_crop(Builder& builder, const FilterRecord& node) {
  const ImageSize result = builder.result_size(node);
  MPSCNNPoolingAverageNode* made =
      [[[MPSCNNPoolingAverageNode alloc] initWithSource:builder.source(node, 0)
                                            kernelWidth:1
                                           kernelHeight:1
                                        strideInPixelsX:1
                                        strideInPixelsY:1] autorelease];
  WindowRule rule;
  rule.geometry.at_y = {result.height, -get_int(node.attributes, "origin_y")};
  rule.geometry.at_x = {result.width, -get_int(node.attributes, "origin_x")};
  rule.edge_mode = ImageEdgeMode::CLAMP;
  set_own_padding(made, rule);
  builder.finish(node, made);
}

/// Zeros around the gradient.
void lower_crop_gradient(Builder& builder, const FilterRecord& node) {
  const ImageSize given = builder.size(node, 0), whole = builder.size(node, 1);
  const NSUInteger left = number(node, "origin_x"), top = number(node, "origin_y");
  const auto rest = [](std::int64_t all, std::int64_t part, NSUInteger before) {
    return static_cast<NSUInteger>(all - part) - before;
  };
  MPSNNPadNode* made = [MPSNNPadNode nodeWithSource:builder.source(node, 0)
                                  paddingSizeBefore:{left, top, 0}
                                   paddingSizeAfter:{rest(whole.width, given.width, left),
                                                     rest(whole.height, given.height, top), 0}
                                           edgeMode:MPSImageEdgeModeZero];
  builder.finish(node, made);
}

/// Apple's header does not say what MPS reads beyond the source where a provider gives a transform.
std::string refuse_scale(const NodeCase& node) {
  const AttributeMap& a = node.node.attributes;
  const std::vector<double>& t = get_floats(a, "transform");
  if (t.empty()) return {};
  const ImageSize source = node.source(0);
  // Centres of the result's first and last pixels on the source's edges of pixels.
  const auto is_inside = [](double scale, double translation, std::int64_t result,
                            std::int64_t from) {
    const auto at = [&](double p) { return (p - translation) / scale; };
    return at(0.5) >= 0 && at(static_cast<double>(result) - 0.5) <= static_cast<double>(from);
  };
  if (is_inside(t[0], t[2], get_int(a, "result_width"), source.width) &&
      is_inside(t[1], t[3], get_int(a, "result_height"), source.height)) {
    return {};
  }
  return str(
      "transform: Apple's header does not say what is read beyond the source, where pixels of "
      "the result lie; the source is of ",
      to_string(source));
}

void lower_scale(Builder& builder, const FilterRecord& node) {
  const bool is_lanczos = node.node_class->name == "LanczosScaleNode";
  const Class kind = is_lanczos ? [MPSNNLanczosScaleNode class] : [MPSNNBilinearScaleNode class];
  const std::vector<double>& t = get_floats(node.attributes, "transform");
  MpsnnTransform* provider =
      t.empty() ? nil
                : [[[MpsnnTransform alloc] initWithTransform:{t[0], t[1], t[2], t[3]}] autorelease];
  const MTLSize size = {number(node, "result_width"), number(node, "result_height"), 1};
  builder.finish(node, [kind nodeWithSource:builder.source(node, 0)
                           transformProvider:provider
                                  outputSize:size]);
}

void lower_gram_matrix(Builder& builder, const FilterRecord& node) {
  builder.finish(node, [MPSNNGramMatrixCalculationNode
                           nodeWithSource:builder.source(node, 0)
                                    alpha:static_cast<float>(get_float(node.attributes, "alpha"))]);
}

}  // namespace mpsnn::backend::metal
