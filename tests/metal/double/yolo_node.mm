// SPDX-License-Identifier: MIT
// The node of YOLO's loss, its descriptor, and labels, which come in a state.
#include "double.h"

@implementation MPSNNStateNode
@synthesize handle = handle_;
- (void)dealloc {
  [handle_ release];
  [super dealloc];
}
@end
@implementation MPSNNLabelsNode
@end

@implementation MPSCNNYOLOLossDescriptor
@synthesize XYLossDescriptor = xy_, WHLossDescriptor = wh_, confidenceLossDescriptor = confidence_;
@synthesize classesLossDescriptor = classes_, rescore = rescore_, scaleXY = scaleXY_;
@synthesize scaleWH = scaleWH_, scaleNoObject = scaleNoObject_, scaleObject = scaleObject_;
@synthesize scaleClass = scaleClass_, minIOUForObjectPresence = presence_;
@synthesize maxIOUForObjectAbsence = absence_;
+ (MPSCNNYOLOLossDescriptor*)cnnLossDescriptorWithXYLossType:(MPSCNNLossType)XYLossType
                                                  WHLossType:(MPSCNNLossType)WHLossType
                                          confidenceLossType:(MPSCNNLossType)confidenceLossType
                                             classesLossType:(MPSCNNLossType)classesLossType
                                               reductionType:(MPSCNNReductionType)reductionType
                                                 anchorBoxes:(NSData*)anchorBoxes
                                         numberOfAnchorBoxes:(NSUInteger)numberOfAnchorBoxes {
  if ([anchorBoxes length] != numberOfAnchorBoxes * 2 * sizeof(float))
    refuse("MPSCNNYOLOLossDescriptor", "two floats an anchor box");
  if (confidenceLossType != MPSCNNLossTypeSigmoidCrossEntropy)
    refuse("MPSCNNYOLOLossDescriptor", "the double's confidence has a sigmoid cross entropy");
  MPSCNNYOLOLossDescriptor* made = [[[self alloc] init] autorelease];
  const auto part = [reductionType](MPSCNNLossType type) {
    return [[MPSCNNLossDescriptor cnnLossDescriptorWithType:type
                                              reductionType:reductionType] retain];
  };
  made->xy_ = part(XYLossType);
  made->wh_ = part(WHLossType);
  made->confidence_ = part(confidenceLossType);
  made->classes_ = part(classesLossType);
  made->reduction_ = reductionType;
  made->anchors_ = [anchorBoxes retain];
  made->numberOfAnchors_ = numberOfAnchorBoxes;
  // The header's defaults.
  made->rescore_ = YES;
  made->scaleXY_ = made->scaleWH_ = 10;
  made->scaleNoObject_ = 5;
  made->scaleObject_ = 100;
  made->scaleClass_ = 2;
  made->presence_ = 0.7F;
  made->absence_ = 0.3F;
  return made;
}
- (void)dealloc {
  [xy_ release];
  [wh_ release];
  [confidence_ release];
  [classes_ release];
  [anchors_ release];
  [super dealloc];
}
@end

@implementation MPSCNNLossLabels
- (instancetype)initWithDevice:(id<MTLDevice>)device
                 lossImageSize:(MTLSize)lossImageSize
                   labelsImage:(MPSImage*)labelsImage
                  weightsImage:(MPSImage*)weightsImage {
  self = [super init];
  if (self == nil) return nil;
  if ([labelsImage isKindOfClass:[MPSTemporaryImage class]])
    refuse("MPSCNNLossLabels", "a temporary image does not last as long");
  if (weightsImage != nil) refuse("MPSCNNLossLabels", "the double has no weights here");
  labels_ = [labelsImage retain];
  loss_ = [[MPSImage alloc]
       initWithDevice:device
      imageDescriptor:[MPSImageDescriptor
                          imageDescriptorWithChannelFormat:MPSImageFeatureChannelFormatFloat32
                                                     width:lossImageSize.width
                                                    height:lossImageSize.height
                                           featureChannels:lossImageSize.depth]];
  return self;
}
- (void)dealloc {
  [labels_ release];
  [loss_ release];
  [super dealloc];
}
- (MPSImage*)lossImage {
  return loss_;
}
@end

@implementation MPSCNNYOLOLossNode
+ (instancetype)nodeWithSource:(MPSNNImageNode*)source
                lossDescriptor:(MPSCNNYOLOLossDescriptor*)descriptor {
  auto* made = static_cast<MPSCNNYOLOLossNode*>(
      fill_node([[[self alloc] init] autorelease], DoubleKind::YOLO, {source}));
  node_of(made)->yolo = descriptor;
  node_of(made)->labels = [[[MPSNNLabelsNode alloc] init] autorelease];
  return made;
}
- (MPSNNLabelsNode*)inputLabels {
  return node_of(self)->labels;
}
- (NSArray<MPSNNGradientFilterNode*>*)gradientFiltersWithSource:(MPSNNImageNode*)gradientImage {
  static_cast<void>(gradientImage);
  refuse("MPSCNNYOLOLossNode", "its result is the gradient");
}
@end
