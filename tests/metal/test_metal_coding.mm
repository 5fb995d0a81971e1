// SPDX-License-Identifier: MIT
// What MPS asks of our objects where it archives or copies a graph: an object that was archived
// answers as before, what no object of ours wrote is refused, copies of data sources share them.
#include <array>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "backend/metal/convolution_weights.h"
#include "backend/metal/fixed_weights.h"
#include "backend/metal/normalization_weights.h"
#include "backend/metal/padding.h"
#include "mpsnn/mpsnn.h"
#include "refused.h"
#include "testing.h"

using namespace mpsnn;
using namespace mpsnn::backend::metal;

extern "C" long metal_double_objects_of(const char* name);
std::string failure_of(const std::function<void()>& function);  // interop_failures.cpp

/// A keyed archive of numbers that a test may change.
@interface NumberCoder : NSCoder {
 @public
  NSMutableDictionary* numbers_;
}
@end

@implementation NumberCoder
- (instancetype)init {
  self = [super init];
  if (self != nil) numbers_ = [[NSMutableDictionary alloc] init];
  return self;
}
- (void)dealloc {
  [numbers_ release];
  [super dealloc];
}
- (BOOL)allowsKeyedCoding {
  return YES;
}
- (BOOL)containsValueForKey:(NSString*)key {
  return [numbers_ objectForKey:key] != nil;
}
- (void)encodeInt64:(int64_t)value forKey:(NSString*)key {
  [numbers_ setObject:[NSNumber numberWithLongLong:value] forKey:key];
}
- (int64_t)decodeInt64ForKey:(NSString*)key {
  return [[numbers_ objectForKey:key] longLongValue];
}
- (void)encodeDouble:(double)value forKey:(NSString*)key {
  [numbers_ setObject:[NSNumber numberWithDouble:value] forKey:key];
}
- (double)decodeDoubleForKey:(NSString*)key {
  return [[numbers_ objectForKey:key] doubleValue];
}
@end

/// What the tests send to our classes.
@protocol OwnObjects <NSObject>
- (instancetype)initWithIndex:(NSUInteger)index;
- (NSUInteger)index;
- (instancetype)initWithTransform:(MPSScaleTransform)transform;
@end

namespace {

/// A pool around each case.
struct Pool {
  NSAutoreleasePool* pool = [[NSAutoreleasePool alloc] init];
  Pool() = default;
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool() { [pool release]; }
};

/// Through a secure archive and back; autoreleased.
id archived(id object) {
  CHECK([[object class] supportsSecureCoding]);  // which GNUstep does not ask
  NSMutableData* data = [NSMutableData data];
  auto* to = [[[NSKeyedArchiver alloc] initForWritingWithMutableData:data] autorelease];
  [to setRequiresSecureCoding:YES];
  [to encodeObject:object forKey:@"root"];
  [to finishEncoding];
  auto* from = [[[NSKeyedUnarchiver alloc] initForReadingWithData:data] autorelease];
  [from setRequiresSecureCoding:YES];
  return [from decodeObjectOfClass:[object class] forKey:@"root"];
}

/// What the class says to a value of a key; nil: to none.
std::string said_to(id object, NSString* key, NSNumber* value) {
  const Pool pool;
  auto* coder = [[[NumberCoder alloc] init] autorelease];
  [object encodeWithCoder:coder];
  if (value != nil) [coder->numbers_ setObject:value forKey:key];
  if (value == nil) [coder->numbers_ removeObjectForKey:key];
  @try {
    [[[[object class] alloc] initWithCoder:coder] release];
  } @catch (NSException* exception) {
    if (![[exception name] isEqualToString:NSInvalidUnarchiveOperationException]) return "another";
    return [[exception reason] UTF8String];
  }
  return "nothing";
}

std::string said_to_integer(id object, NSString* key, long long value) {
  return said_to(object, key, [NSNumber numberWithLongLong:value]);
}

id make_handle(NSUInteger index) {
  return [[[NSClassFromString(@"MpsnnHandle") alloc] initWithIndex:index] autorelease];
}

id make_transform(MPSScaleTransform transform) {
  id<OwnObjects> made = [NSClassFromString(@"MpsnnTransform") alloc];
  return [[made initWithTransform:transform] autorelease];
}

/// A policy no two numbers of which are the same.
id<MPSNNPadding> make_padding() {
  WindowRule rule;
  rule.geometry.y = {9, 2, 1};
  rule.geometry.x = {3, 1, 1};
  rule.geometry.at_y = {11, 7};
  rule.geometry.at_x = {13, -20};
  rule.edge_mode = ImageEdgeMode::CLAMP;
  rule.border_y = 5;
  rule.border_x = 6;
  MPSNNFilterNode* node = [MPSCNNNeuronLinearNode nodeWithSource:[MPSNNImageNode nodeWithHandle:nil]
                                                               a:1
                                                               b:0];
  set_own_padding(node, rule);
  return [node paddingPolicy];
}

/// What a policy says to a kernel of a class: method, size, and what it sets on the kernel.
std::vector<long> answers(id<MPSNNPadding> policy, Class kind) {
  id<MTLDevice> device = [MTLCreateSystemDefaultDevice() autorelease];
  MPSCNNKernel* kernel = [[[kind alloc] initWithDevice:device] autorelease];
  MPSImageDescriptor* made =
      [policy destinationImageDescriptorForSourceImages:[NSArray array]
                                           sourceStates:nil
                                              forKernel:kernel
                                    suggestedDescriptor:[MPSImageDescriptor
                                                            imageDescriptorWithChannelFormat:
                                                                MPSImageFeatureChannelFormatFloat16
                                                                                       width:1
                                                                                      height:1
                                                                             featureChannels:4]];
  std::vector<long> all = {static_cast<long>([policy paddingMethod]),
                           static_cast<long>([made width]),
                           static_cast<long>([made height]),
                           [kernel offset].x,
                           [kernel offset].y,
                           static_cast<long>([kernel edgeMode])};
  if ([kernel isKindOfClass:[MPSCNNConvolutionTranspose class]]) {
    auto* transposed = static_cast<MPSCNNConvolutionTranspose*>(kernel);
    all.insert(all.end(), {[transposed kernelOffsetX], [transposed kernelOffsetY]});
  }
  if ([kernel isKindOfClass:[MPSCNNPoolingAverage class]]) {
    auto* average = static_cast<MPSCNNPoolingAverage*>(kernel);
    all.insert(all.end(), {static_cast<long>([average zeroPadSizeX]),
                           static_cast<long>([average zeroPadSizeY])});
  }
  return all;
}

/// What stands for a data source in a graph that only applies it; autoreleased.
id object_of(std::shared_ptr<DataSource> source) {
  graph::Network network;
  network.data_sources = {std::move(source)};
  const std::unordered_map<const graph::ImageRecord*, TensorDesc> shapes;
  graph::WholeGraph graph{network, shapes};
  graph.updated = graph.moves_statistics = {false};
  id<MTLDevice> device = [MTLCreateSystemDefaultDevice() autorelease];
  return make_weights(graph, 0, device)->make_object();
}

void check_copy(id object, const char* label) {
  const long before = metal_double_objects_of(class_getName([object class]));
  id copy = [object copy];
  CHECK(copy == object);
  [copy release];
  CHECK_EQ(metal_double_objects_of(class_getName([object class])), before);
  CHECK_EQ(std::string([[object label] UTF8String]), std::string(label));
}

}  // namespace

TEST_CASE("coding: a handle keeps its index") {
  const Pool pool;
  for (const NSUInteger index : {NSUInteger{0}, NSUInteger{7}, NSUInteger{1} << 40}) {
    id made = archived(make_handle(index));
    CHECK_EQ([made index], index);
    CHECK_EQ(std::string([[made label] UTF8String]), std::to_string(index));
  }
}

TEST_CASE("coding: a padding policy answers as before, whichever kernel asks") {
  const Pool pool;
  const id<MPSNNPadding> before = make_padding();
  const id<MPSNNPadding> after = archived(before);
  CHECK(after != nil);
  CHECK(after != before);
  // Offsets are counted from the windows' middles: 9 / 2 - 7 and 3 / 2 + 20.
  CHECK_EQ(answers(after, [MPSCNNKernel class]),
           (std::vector<long>{MPSNNPaddingMethodCustom | MPSNNPaddingMethodSizeSame, 13, 11, 21, -3,
                              MPSImageEdgeModeClamp}));
  for (Class kind in
       @[ [MPSCNNKernel class], [MPSCNNConvolutionTranspose class], [MPSCNNPoolingAverage class] ])
    CHECK_EQ(answers(after, kind), answers(before, kind));
}

TEST_CASE("coding: a transform keeps its four numbers") {
  const Pool pool;
  const MPSScaleTransform got =
      [archived(make_transform({0.1, 3, -1e9, 0.7})) transformForSourceImage:nil handle:nil];
  CHECK_EQ((std::array{got.scaleX, got.scaleY, got.translateX, got.translateY}),
           (std::array{0.1, 3.0, -1e9, 0.7}));
}

TEST_CASE("coding: what no object of ours wrote is refused, and nothing is left of it") {
  const Pool pool;
  const long before = metal_double_objects_of("MpsnnPadding");
  id handle = make_handle(1), policy = make_padding(), transform = make_transform({1, 1, 0, 0});
  CHECK_EQ(said_to(handle, @"index", nil),
           std::string("MpsnnHandle: index: expected a number, got nothing"));
  CHECK_EQ(said_to_integer(handle, @"index", -1),
           std::string("MpsnnHandle: index: expected from 0 to 9223372036854775807, got -1"));
  for (NSString* key in
       @[ @"offsetX", @"offsetY", @"width", @"height", @"edgeMode", @"borderX", @"borderY" ]) {
    const std::string name = std::string("MpsnnPadding: ") + [key UTF8String];
    CHECK_EQ(said_to(policy, key, nil), name + ": expected a number, got nothing");
    CHECK(said_to_integer(policy, key, 1LL << 40).starts_with(name + ": expected from "));
    CHECK_EQ(said_to_integer(policy, key, 1), std::string("nothing"));
  }
  CHECK_EQ(said_to_integer(policy, @"width", 0),
           std::string("MpsnnPadding: width: expected from 1 to 16384, got 0"));
  CHECK_EQ(said_to_integer(policy, @"edgeMode", MPSImageEdgeModeMirror),
           std::string("MpsnnPadding: edgeMode: expected from 0 to 1, got 2"));
  for (NSString* key in @[ @"scaleX", @"scaleY", @"translateX", @"translateY" ]) {
    const std::string name = std::string("MpsnnTransform: ") + [key UTF8String];
    CHECK_EQ(said_to(transform, key, nil), name + ": expected a number, got nothing");
    NSNumber* nan = [NSNumber numberWithDouble:std::nan("")];
    CHECK(said_to(transform, key, nan).ends_with(", got nan"));
    CHECK_EQ(said_to_integer(transform, key, 2), std::string("nothing"));
  }
  CHECK_EQ(said_to_integer(transform, @"scaleY", 0),
           std::string("MpsnnTransform: scaleY: expected from 6.10352e-05 to 16384, got 0"));
  CHECK_EQ(metal_double_objects_of("MpsnnPadding"), before + 1);
}

TEST_CASE("coding: a copy of a graph shares its data sources, which say their labels") {
  const Pool pool;
  ConvolutionDescriptor descriptor;
  descriptor.kernel_width = descriptor.kernel_height = 1;
  id convolution = object_of(std::make_shared<ConvolutionDataSource>(
      descriptor, std::vector<float>{2}, std::nullopt, "conv"));
  check_copy(convolution, "conv");
  check_copy(binary_weights(convolution), "conv");
  check_copy(object_of(std::make_shared<BatchNormalizationDataSource>(4, NormalizationValues{},
                                                                      1e-3, 0.5, "batch")),
             "batch");
  check_copy(object_of(std::make_shared<InstanceNormalizationDataSource>(4, NormalizationValues{},
                                                                         1e-3, "instance")),
             "instance");
  const Owned<MPSCNNConvolutionDescriptor*> made = make_descriptor(descriptor);
  check_copy(fixed_weights(made.get(), {1}), "weights");
}

TEST_CASE("coding: the groups of a data source may be set to what they are") {
  const Pool pool;
  id group = object_of(
      std::make_shared<GroupNormalizationDataSource>(4, 2, NormalizationValues{}, 1e-3, "group"));
  check_copy(group, "group");
  [group setNumberOfGroups:2];
  CHECK_EQ([group numberOfGroups], NSUInteger { 2 });
  CHECK(failure_of([=] { [group setNumberOfGroups:4]; }).ends_with("a data source's groups"));
}
