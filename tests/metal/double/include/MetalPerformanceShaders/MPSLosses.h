// SPDX-License-Identifier: MIT
// MPSNeuralNetwork: losses whose labels come in a state.
#pragma once

#import <MetalPerformanceShaders/MPSNeuralNetwork.h>

@interface MPSCNNYOLOLossDescriptor : NSObject {
 @public
  MPSCNNLossDescriptor* xy_;
  MPSCNNLossDescriptor* wh_;
  MPSCNNLossDescriptor* confidence_;
  MPSCNNLossDescriptor* classes_;
  MPSCNNReductionType reduction_;
  NSData* anchors_;
  NSUInteger numberOfAnchors_;
  BOOL rescore_;
  float scaleXY_, scaleWH_, scaleNoObject_, scaleObject_, scaleClass_, presence_, absence_;
}
@property(readwrite, retain, nonatomic) MPSCNNLossDescriptor* XYLossDescriptor;
@property(readwrite, retain, nonatomic) MPSCNNLossDescriptor* WHLossDescriptor;
@property(readwrite, retain, nonatomic) MPSCNNLossDescriptor* confidenceLossDescriptor;
@property(readwrite, retain, nonatomic) MPSCNNLossDescriptor* classesLossDescriptor;
@property(readwrite, nonatomic) BOOL rescore;
@property(readwrite, nonatomic) float scaleXY;
@property(readwrite, nonatomic) float scaleWH;
@property(readwrite, nonatomic) float scaleNoObject;
@property(readwrite, nonatomic) float scaleObject;
@property(readwrite, nonatomic) float scaleClass;
@property(readwrite, nonatomic) float minIOUForObjectPresence;
@property(readwrite, nonatomic) float maxIOUForObjectAbsence;
+ (MPSCNNYOLOLossDescriptor*)cnnLossDescriptorWithXYLossType:(MPSCNNLossType)XYLossType
                                                  WHLossType:(MPSCNNLossType)WHLossType
                                          confidenceLossType:(MPSCNNLossType)confidenceLossType
                                             classesLossType:(MPSCNNLossType)classesLossType
                                               reductionType:(MPSCNNReductionType)reductionType
                                                 anchorBoxes:(NSData*)anchorBoxes
                                         numberOfAnchorBoxes:(NSUInteger)numberOfAnchorBoxes;
@end

@interface MPSCNNLossLabels : MPSState {
 @public
  MPSImage* labels_;
  MPSImage* loss_;
}
- (instancetype)initWithDevice:(id<MTLDevice>)device
                 lossImageSize:(MTLSize)lossImageSize
                   labelsImage:(MPSImage*)labelsImage
                  weightsImage:(MPSImage*)weightsImage;
- (MPSImage*)lossImage;
@end

@interface MPSNNStateNode : NSObject {
  id<MPSHandle> handle_;
}
@property(retain, nonatomic) id<MPSHandle> handle;
@end
@interface MPSNNLabelsNode : MPSNNStateNode
@end

@interface MPSCNNYOLOLossNode : MPSNNFilterNode
@property(readonly, retain, nonatomic) MPSNNLabelsNode* inputLabels;
+ (instancetype)nodeWithSource:(MPSNNImageNode*)source
                lossDescriptor:(MPSCNNYOLOLossDescriptor*)descriptor;
@end
