// SPDX-License-Identifier: MIT
// Graphs on the program's own Metal objects: mpsnn/metal.h, on the double. What is thrown is caught
// in C++ (interop_failures.cpp), since not every runtime of Objective-C lets it be caught here.
#include <string>

#include "mpsnn/metal.h"
#include "mpsnn/mpsnn.h"
#include "program.h"
#include "refused.h"
#include "testing.h"

using namespace mpsnn;

extern "C" void metal_double_fail(int kind);
extern "C" long metal_double_unread(void);

/// A GPU that Metal Performance Shaders do not know.
@interface OldDevice : NSObject
@end
@implementation OldDevice
- (NSString*)name {
  return @"Old GPU";
}
@end

/// An image of bytes.
@interface ByteImage : MPSImage
@end
@implementation ByteImage
- (MPSImageFeatureChannelFormat)featureChannelFormat {
  return static_cast<MPSImageFeatureChannelFormat>(1);
}
@end

TEST_CASE("interop: the same device for the same object") {
  const Program program;
  const Device device = metal::device(program.theirs);
  CHECK(device == metal::device(program.theirs));
  CHECK(metal::metal_device(device) == program.theirs);
  const Device built_in("metal-double");
  CHECK(metal::device(metal::metal_device(built_in)) == built_in);
}

TEST_CASE("interop: a graph on the program's command buffer, from image to image") {
  const Program program;
  const Device device = metal::device(program.theirs);
  const Graph graph(device, {NeuronReLUNode(ImageNode("x"), {.a = 0.5}).result_image()});
  MPSImage* from = program.image(1, 2, 2, {1, -2, 3, -4});
  MPSImage* to = program.image(1, 2, 2);
  id<MTLCommandBuffer> theirs = [program.queue commandBuffer];

  const Image source = metal::encode_copy(device, theirs, from);
  CHECK_EQ(source.size(), (ImageSize{1, 1, 2, 2}));
  CommandBuffer commands = metal::command_buffer(device, theirs, "mine");
  const GraphOutputs outputs = graph.encode(commands, {{"x", source}});
  commands.commit();
  metal::encode_copy(*outputs.results[0], theirs, to);
  CHECK_EQ(values(to), (Values{0, 0, 0, 0}));  // nothing has run
  CHECK(commands.status() == CommandBufferStatus::SCHEDULED);

  [theirs commit];
  [theirs waitUntilCompleted];
  CHECK_EQ(values(to), (Values{1, -1, 3, -2}));
  CHECK_EQ(values(*outputs.results[0]), (Values{1, -1, 3, -2}));
  CHECK(commands.status() == CommandBufferStatus::COMPLETED);
}

TEST_CASE("interop: several graphs, one after the other, and an MPSCommandBuffer") {
  const Program program;
  const Device device = metal::device(program.theirs);
  const Graph twice(device, {NeuronLinearNode(ImageNode("x"), {.a = 2}).result_image()});
  MPSCommandBuffer* theirs = [MPSCommandBuffer commandBufferFromCommandQueue:program.queue];
  CommandBuffer commands = metal::command_buffer(device, theirs);
  const Image source = metal::encode_copy(device, theirs, program.image(1, 1, 1, {3}));
  const GraphOutputs once = twice.encode(commands, {{"x", source}});
  const GraphOutputs outputs = twice.encode(commands, {{"x", *once.results[0]}});
  commands.commit();
  [theirs commit];
  [theirs waitUntilCompleted];
  CHECK_EQ(values(*outputs.results[0]), (Values{12}));
}

TEST_CASE("interop: graphs that were not made yet, behind others on one command buffer") {
  const Program program;
  const Device device = metal::device(program.theirs);
  const auto scaled = [&](float scale) {
    auto weights = std::make_shared<ConvolutionDataSource>(ConvolutionDescriptor(1, 1, 1, 1),
                                                           std::vector<float>{scale});
    return Graph(device, {ConvolutionNode(ImageNode("x"), weights).result_image()});
  };
  const Graph twice = scaled(2), thrice = scaled(3);
  id<MTLCommandBuffer> theirs = [program.queue commandBuffer];
  CommandBuffer commands = metal::command_buffer(device, theirs);
  const Image small = metal::encode_copy(device, theirs, program.image(1, 1, 1, {5}));
  const Image large = metal::encode_copy(device, theirs, program.image(1, 2, 1, {5, 7}));
  const GraphOutputs once = twice.encode(commands, {{"x", small}});
  const GraphOutputs outputs = thrice.encode(commands, {{"x", *once.results[0]}});
  const GraphOutputs other_size = twice.encode(commands, {{"x", large}});
  commands.commit();
  [theirs commit];
  [theirs waitUntilCompleted];
  CHECK_EQ(values(*outputs.results[0]), (Values{30}));
  CHECK_EQ(values(*other_size.results[0]), (Values{10, 14}));
}

TEST_CASE("interop: half floats stay half floats") {
  const Program program;
  const Device device = metal::device(program.theirs);
  id<MTLCommandBuffer> theirs = [program.queue commandBuffer];
  const Image half = metal::encode_copy(
      device, theirs, program.image(1, 1, 1, {}, MPSImageFeatureChannelFormatFloat16));
  CHECK(half.format() == DataType::FLOAT16);
}

TEST_CASE("interop: what cannot be is said") {
  const Program program;
  const Device device = metal::device(program.theirs);
  id<MTLCommandBuffer> theirs = [program.queue commandBuffer];
  check_says("device: expected an object, got nil", [] { metal::device(nil); });
  check_says("got \"cpu\"", [] { metal::metal_device(Device("cpu")); });
  check_says("got \"cpu\"", [&] { metal::command_buffer(Device("cpu"), theirs); });
  check_says("commands: expected an object, got nil", [&] { metal::command_buffer(device, nil); });
  const Image image(device, {1, 2, 2, 1});
  check_says("expected (1, 2, 2, 1) of float32, got (1, 1, 2, 1) of float32",
             [&] { metal::encode_copy(image, theirs, program.image(1, 2, 1)); });

  check_says("can use, got \"Old GPU\"", [] {
    const id old = [[[OldDevice alloc] init] autorelease];
    metal::device(static_cast<id<MTLDevice>>(old));
  });
  MPSImageDescriptor* descriptor =
      [MPSImageDescriptor imageDescriptorWithChannelFormat:MPSImageFeatureChannelFormatFloat16
                                                     width:1
                                                    height:1
                                           featureChannels:1];
  ByteImage* bytes = [[[ByteImage alloc] initWithDevice:program.theirs
                                        imageDescriptor:descriptor] autorelease];
  check_says("featureChannelFormat: expected MPSImageFeatureChannelFormatFloat16 or Float32, got 1",
             [&] { metal::encode_copy(device, theirs, bytes); });

  CommandBuffer commands = metal::command_buffer(device, theirs);
  commands.set_predicate(Predicate(device));
  const Graph graph(device, {NeuronReLUNode(ImageNode("x")).result_image()});
  const GraphOutputs outputs = graph.encode(commands, {{"x", image}});
  commands.commit();
  check_says("takes no predicates", [&] { values(*outputs.results[0]); });
}

TEST_CASE("interop: what the device says of the program's command buffer") {
  const Program program;
  const Device device = metal::device(program.theirs);
  const Graph graph(device, {NeuronReLUNode(ImageNode("x"), {.label = "relu"}).result_image()});
  id<MTLCommandBuffer> theirs = [program.queue commandBuffer];
  CommandBuffer commands = metal::command_buffer(device, theirs);
  const GraphOutputs outputs = graph.encode(commands, {{"x", Image(device, {1, 1, 1, 1})}});
  commands.commit();
  metal_double_fail(3);
  [theirs commit];
  [theirs waitUntilCompleted];
  const std::string text = failure_of([&] { commands.wait_until_completed(); });
  CHECK(text.find("the GPU hung") != std::string::npos);
  CHECK(commands.status() == CommandBufferStatus::ERROR);
}

TEST_CASE("interop: normal numbers, of which the host replaces some, are refused") {
  const Program program;
  const Device device = metal::device(program.theirs);
  id<MTLCommandBuffer> theirs = [program.queue commandBuffer];
  CommandBuffer commands = metal::command_buffer(device, theirs);
  MatrixRandomPhilox(device,
                     {.data_type = DataType::FLOAT32,
                      .distribution_descriptor = MatrixRandomDistributionDescriptor::normal(0, 1)})
      .encode(commands, Matrix(device, {.rows = 1, .columns = 4}));
  commands.commit();
  const std::string text = failure_of([&] { commands.wait_until_completed(); });
  CHECK(text.find("normal random numbers on a command buffer of the program's") !=
        std::string::npos);
  [theirs commit];
  [theirs waitUntilCompleted];
}

TEST_CASE("interop: host functions run at once, and only before what is encoded") {
  const Program program;
  const Device device = metal::device(program.theirs);
  const Graph graph(device, {NeuronReLUNode(ImageNode("x")).result_image()});
  id<MTLCommandBuffer> theirs = [program.queue commandBuffer];
  CommandBuffer first = metal::command_buffer(device, theirs);
  bool ran = false;
  first.encode_host_function("host", [&] { ran = true; });
  first.commit();
  CHECK(ran);
  CommandBuffer then = metal::command_buffer(device, theirs);
  const GraphOutputs outputs = graph.encode(then, {{"x", Image(device, {1, 1, 1, 1})}});
  then.encode_host_function("host", [&] { ran = false; });
  then.commit();
  const std::string text = failure_of([&] { then.wait_until_completed(); });
  CHECK(text.find("takes no host functions or waits for events") != std::string::npos);
  CHECK(ran);
  [theirs commit];
  [theirs waitUntilCompleted];
}

TEST_CASE("interop: a signal goes onto the program's command buffer") {
  const Program program;
  const Device device = metal::device(program.theirs);
  const Graph graph(device, {NeuronLinearNode(ImageNode("x"), {.a = 2}).result_image()});
  for (const bool fails : {false, true}) {
    const SharedEvent event(device);
    id<MTLCommandBuffer> theirs = [program.queue commandBuffer];
    CommandBuffer commands = metal::command_buffer(device, theirs);
    const Image source = metal::encode_copy(device, theirs, program.image(1, 1, 1, {3}));
    const GraphOutputs outputs = graph.encode(commands, {{"x", source}});
    commands.encode_signal_event(event, 1);
    commands.commit();
    CommandBuffer waiting(device.command_queue());
    waiting.encode_wait_for_event(event, 1);
    waiting.commit();
    CHECK_EQ(event.signaled_value(), 0U);
    if (fails) metal_double_fail(3);
    [theirs commit];
    [theirs waitUntilCompleted];
    const std::string text = failure_of([&] { waiting.wait_until_completed(); });
    CHECK_EQ(text.find("the GPU hung") != std::string::npos, fails);
    CHECK_EQ(event.signaled_value(), fails ? 0U : 1U);
    if (!fails) CHECK_EQ(values(*outputs.results[0]), (Values{6}));
  }
}

/// What the double holds to, without the backend.
TEST_CASE("double: a wait for an event holds its command queue only") {
  const Program program;
  id<MTLCommandQueue> other = [[program.theirs newCommandQueue] autorelease];
  id<MTLSharedEvent> event = [[program.theirs newSharedEvent] autorelease];
  id<MTLSharedEvent> done = [[program.theirs newSharedEvent] autorelease];
  id<MTLCommandBuffer> waits = [program.queue commandBuffer];
  id<MTLCommandBuffer> behind = [program.queue commandBuffer];
  id<MTLCommandBuffer> free = [other commandBuffer];
  id<MTLCommandBuffer> signals = [other commandBuffer];
  [waits encodeWaitForEvent:event value:2];
  [behind encodeSignalEvent:done value:1];
  [free encodeSignalEvent:event value:1];
  [signals encodeSignalEvent:event value:3];
  [waits commit];
  [behind commit];
  [free commit];
  [free waitUntilCompleted];
  CHECK_EQ([event signaledValue], 1U);
  CHECK_EQ([done signaledValue], 0U);
  [signals commit];
  [behind waitUntilCompleted];  // runs the other queue, too, since this one waits for it
  CHECK_EQ([event signaledValue], 3U);
  CHECK_EQ([done signaledValue], 1U);
}

TEST_CASE("double: what an event refuses") {
  const Program program;
  id<MTLSharedEvent> event = [[program.theirs newSharedEvent] autorelease];
  id<MTLCommandBuffer> commands = [program.queue commandBuffer];
  [event setSignaledValue:5];
  [commands encodeSignalEvent:event value:3];  // behind the host: nothing sinks
  [commands commit];
  [commands waitUntilCompleted];
  CHECK_EQ([event signaledValue], 5U);
  id<MTLCommandBuffer> fresh = [program.queue commandBuffer];
  const id no_event = program.queue;
  CHECK(is_refused(^{
    [event setSignaledValue:4];
  }));
  CHECK(is_refused(^{
    [commands encodeSignalEvent:event value:6];
  }));
  CHECK(is_refused(^{
    [commands encodeWaitForEvent:event value:6];
  }));
  CHECK(is_refused(^{
    [fresh encodeWaitForEvent:no_event value:1];
  }));
}

TEST_CASE("interop: every temporary image was read") { CHECK_EQ(metal_double_unread(), 0L); }

TEST_CASE("interop: an archive for the example") {
  const Device device("metal-double");
  KeyedArchiver archiver;
  archiver.encode("half",
                  Graph(device, {NeuronLinearNode(ImageNode("x"), {.a = 0.5}).result_image()}));
  archiver.write("interop.safetensors");
}
