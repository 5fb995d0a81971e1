// SPDX-License-Identifier: MIT
// The order of the program's command buffers and images among all other work, and what of them is
// refused: mpsnn/metal.h, on the double.
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "program.h"

using namespace mpsnn;

namespace {

Graph scaled(const Device& device, float by) {
  return Graph(device, {NeuronLinearNode(ImageNode("x"), {.a = by}).result_image()});
}

MPSTemporaryImage* temporary(id<MTLCommandBuffer> commands) {
  MPSImageDescriptor* descriptor =
      [MPSImageDescriptor imageDescriptorWithChannelFormat:MPSImageFeatureChannelFormatFloat32
                                                     width:1
                                                    height:1
                                           featureChannels:1];
  return [MPSTemporaryImage temporaryImageWithCommandBuffer:commands imageDescriptor:descriptor];
}

MPSImage* image_of_usage(id<MTLDevice> device, MTLTextureUsage usage) {
  MPSImageDescriptor* descriptor =
      [MPSImageDescriptor imageDescriptorWithChannelFormat:MPSImageFeatureChannelFormatFloat32
                                                     width:1
                                                    height:1
                                           featureChannels:1];
  [descriptor setUsage:usage];
  return [[[MPSImage alloc] initWithDevice:device imageDescriptor:descriptor] autorelease];
}

}  // namespace

TEST_CASE("interop: command buffers that take no work are refused") {
  const Program program, other;
  const Device device = metal::device(program.theirs);
  MPSImage* image = program.image(1, 1, 1, {3});
  const auto refuses = [&](id<MTLCommandBuffer> commands, const std::string& why) {
    check_says("command_buffer: commands: " + why,
               [&] { metal::command_buffer(device, commands); });
    check_says("encode_copy: commands: " + why,
               [&] { metal::encode_copy(device, commands, image); });
    const Image result(device, {1, 1, 1, 1});
    check_says("encode_copy: commands: " + why,
               [&] { metal::encode_copy(result, commands, image); });
  };
  id<MTLCommandBuffer> committed = [program.queue commandBuffer];
  [committed commit];
  refuses(committed, "expected a command buffer that takes work, got one that was committed");
  refuses([MPSCommandBuffer commandBufferWithCommandBuffer:committed],
          "expected a command buffer that takes work, got one that was committed");
  [committed waitUntilCompleted];
  refuses(committed, "expected a command buffer that takes work, got one that was committed");
  refuses(
      [other.queue commandBuffer],
      "expected a command buffer of device \"Metal double\" as mpsnn has it, got one of another");
  refuses([program.queue commandBufferWithUnretainedReferences],
          "expected a command buffer that holds what it uses");
}

TEST_CASE("interop: a commit behind the program's is refused") {
  const Program program;
  const Device device = metal::device(program.theirs);
  id<MTLCommandBuffer> theirs = [program.queue commandBuffer];
  CommandBuffer commands = metal::command_buffer(device, theirs);
  const GraphOutputs outputs =
      scaled(device, 2).encode(commands, {{"x", Image(device, {1, 1, 1, 1})}});
  [theirs commit];
  [theirs waitUntilCompleted];
  const auto says = "expected a command buffer that takes work, got one that was committed";
  check_says(says, [&] { commands.commit(); });
  check_says(says, [&] { values(*outputs.results[0]); });
  CHECK(commands.status() == CommandBufferStatus::ERROR);
}

TEST_CASE("interop: images that MPS would end the process for are refused") {
  const Program program, other;
  const Device device = metal::device(program.theirs);
  id<MTLCommandBuffer> theirs = [program.queue commandBuffer];
  const Image result(device, {1, 1, 1, 1});
  const auto from = [&](MPSImage* image) {
    return [&, image] { metal::encode_copy(device, theirs, image); };
  };
  const auto to = [&](MPSImage* image) {
    return [&, image] { metal::encode_copy(result, theirs, image); };
  };
  MPSTemporaryImage* read = temporary(theirs);
  [read setReadCount:0];
  check_says("encode_copy: image: expected an image that has its memory, got a temporary image of "
             "readCount 0",
             from(read));
  check_says("encode_copy: to: expected an image that has its memory", to(read));
  check_says("encode_copy: image: expected an image of device \"Metal double\"",
             from(other.image(1, 1, 1)));
  check_says("encode_copy: to: expected an image of device", to(other.image(1, 1, 1)));
  check_says("encode_copy: image: usage: expected MTLTextureUsageShaderRead among others, got 2",
             from(image_of_usage(program.theirs, MTLTextureUsageShaderWrite)));
  check_says("encode_copy: to: usage: expected MTLTextureUsageShaderWrite among others, got 1",
             to(image_of_usage(program.theirs, MTLTextureUsageShaderRead)));
  // One of another command buffer MPS alone knows.
  MPSTemporaryImage* elsewhere = temporary([program.queue commandBuffer]);
  check_says("another command buffer", from(elsewhere));
  [elsewhere setReadCount:0];
  [theirs commit];
  [theirs waitUntilCompleted];
}

TEST_CASE("interop: a temporary image is read once and written") {
  const Program program;
  const Device device = metal::device(program.theirs);
  id<MTLCommandBuffer> theirs = [program.queue commandBuffer];
  MPSTemporaryImage* between = temporary(theirs);
  const Image three = metal::encode_copy(device, theirs, program.image(1, 1, 1, {3}));
  metal::encode_copy(three, theirs, between);
  CHECK_EQ([between readCount], 1U);
  const Image again = metal::encode_copy(device, theirs, between);
  CHECK_EQ([between readCount], 0U);
  [theirs commit];
  [theirs waitUntilCompleted];
  CHECK_EQ(values(again), (Values{3}));
}

TEST_CASE("interop: what would wait for a program's commit is refused") {
  const Program program;
  const Device device = metal::device(program.theirs);
  const Graph twice = scaled(device, 2);
  id<MTLCommandBuffer> theirs = [program.queue commandBuffer];
  const Image source = metal::encode_copy(device, theirs, program.image(1, 1, 1, {3}));
  const auto yet = "which the program has yet to commit";
  check_says(yet, [&] { values(source); });
  CommandBuffer commands = metal::command_buffer(device, theirs, "mine");
  const GraphOutputs outputs = twice.encode(commands, {{"x", source}});
  // Recorded only.
  check_says("command buffer \"mine\", which was not committed",
             [&] { metal::encode_copy(*outputs.results[0], theirs, program.image(1, 1, 1)); });
  commands.commit();
  check_says(yet, [&] { values(*outputs.results[0]); });
  check_says(yet, [&] { commands.wait_until_completed(); });
  check_says(yet, [&] { commands.wait_until_completed(0.01); });
  check_says(yet, [&] { commands.queue().wait_until_idle(); });
  const float five = 5;
  Image written = source;
  check_says(yet, [&] { written.write(&five, sizeof five); });
  device.synchronize();  // not committed: not waited for

  // A queue of the library's own, and another one of the program's.
  CommandBuffer own(device.command_queue(), "own");
  const GraphOutputs later = twice.encode(own, {{"x", *outputs.results[0]}});
  check_says("command buffer \"own\": commit: expected Image", [&] { own.commit(); });
  id<MTLCommandQueue> second = [[program.theirs newCommandQueue] autorelease];
  id<MTLCommandBuffer> elsewhere = [second commandBuffer];
  check_says("encode_copy\": commit: expected Image",
             [&] { metal::encode_copy(*outputs.results[0], elsewhere, program.image(1, 1, 1)); });

  [theirs commit];
  own.commit();  // what was refused is not lost
  MPSImage* copy = program.image(1, 1, 1);
  std::thread device_runs([theirs] { [theirs waitUntilCompleted]; });
  metal::encode_copy(*outputs.results[0], elsewhere, copy);
  device_runs.join();
  [elsewhere commit];
  [elsewhere waitUntilCompleted];
  CHECK_EQ(values(copy), (Values{6}));
  CHECK_EQ(values(*later.results[0]), (Values{12}));
  CHECK_EQ(values(*outputs.results[0]), (Values{6}));
}

TEST_CASE("interop: command buffers of one queue use each other's results") {
  const Program program;
  const Device device = metal::device(program.theirs);
  const Graph twice = scaled(device, 2);
  id<MTLCommandBuffer> first = [program.queue commandBuffer];
  id<MTLCommandBuffer> second = [program.queue commandBuffer];
  const Image source = metal::encode_copy(device, first, program.image(1, 1, 1, {3}));
  CommandBuffer commands = metal::command_buffer(device, second);
  const GraphOutputs outputs = twice.encode(commands, {{"x", source}});
  commands.commit();
  MPSImage* copy = program.image(1, 1, 1);
  metal::encode_copy(*outputs.results[0], second, copy);
  [first commit];
  [second commit];
  [second waitUntilCompleted];
  CHECK_EQ(values(copy), (Values{6}));
  CHECK_EQ(values(*outputs.results[0]), (Values{6}));
}

TEST_CASE("interop: a read behind the program's commit waits for the device") {
  const Program program;
  const Device device = metal::device(program.theirs);
  id<MTLCommandBuffer> theirs = [program.queue commandBuffer];
  const Image source = metal::encode_copy(device, theirs, program.image(1, 1, 1, {3}));
  [theirs commit];
  std::thread device_runs([theirs] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    [theirs waitUntilCompleted];
  });
  CHECK_EQ(values(source), (Values{3}));
  device_runs.join();
}

TEST_CASE("interop: a command buffer that is let go of and never committed") {
  const Program program;
  const Device device = metal::device(program.theirs);
  std::optional<Image> source;
  std::optional<CommandBuffer> commands;
  std::optional<GraphOutputs> outputs;
  bool told = false;
  {
    NSAutoreleasePool* pool = [[NSAutoreleasePool alloc] init];
    id<MTLCommandBuffer> theirs = [program.queue commandBuffer];
    source = metal::encode_copy(device, theirs, program.image(1, 1, 1, {3}));
    commands = metal::command_buffer(device, theirs, "mine");
    commands->add_completed_handler([&](CommandBuffer&) { told = true; });
    outputs = scaled(device, 2).encode(*commands, {{"x", *source}});
    commands->commit();
    [pool release];
  }
  const std::string gone = "was released, and never committed";
  check_says("has yet to commit", [&] { values(*source); });  // `commands` holds it
  commands.reset();
  CHECK(told);
  check_says(gone, [&] { values(*source); });
  check_says(gone, [&] { values(*outputs->results[0]); });
}

TEST_CASE("interop: what fails half encoded is told at once, and holds its memory") {
  const Program program;
  const Device device = metal::device(program.theirs);
  id<MTLCommandBuffer> theirs = [program.queue commandBuffer];
  CommandBuffer commands = metal::command_buffer(device, theirs, "mine");
  bool completed = false;
  const GraphOutputs outputs =
      scaled(device, 2).encode(commands, {{"x", Image(device, {1, 1, 1, 1})}});
  commands.encode_host_function("host", [] {});
  commands.add_completed_handler([&](CommandBuffer&) { completed = true; });
  commands.commit();
  CHECK(commands.status() == CommandBufferStatus::ERROR);
  check_says("takes no host functions", [&] { values(*outputs.results[0]); });
  check_says("takes no host functions", [&] { commands.wait_until_completed(); });
  check_says("takes no host functions",
             [&] { metal::encode_copy(*outputs.results[0], theirs, program.image(1, 1, 1)); });
  CHECK(!completed);  // the device may still run the graph
  [theirs commit];
  [theirs waitUntilCompleted];
  CHECK(completed);
}

TEST_CASE("interop: host functions and handlers may use the command buffer") {
  const Program program;
  const Device device = metal::device(program.theirs);
  id<MTLCommandBuffer> theirs = [program.queue commandBuffer];
  CommandBuffer commands = metal::command_buffer(device, theirs);
  CommandBuffer next(commands.queue());
  Values order;
  next.encode_host_function("second", [&] { order.push_back(2); });
  commands.add_scheduled_handler([](CommandBuffer& self) { self.queue(); });
  commands.encode_host_function("first", [&] {
    next.commit();  // follows
    order.push_back(1);
    commands.status();
  });
  commands.commit();
  CHECK_EQ(order, (Values{1, 2}));
  CHECK(commands.status() == CommandBufferStatus::COMPLETED);  // nothing of it is the device's
}

TEST_CASE("interop: a graph reads weights once the device has trained them") {
  const Program program;
  const Device device = metal::device(program.theirs);
  const auto weights = std::make_shared<ConvolutionDataSource>(
      ConvolutionDescriptor(1, 1, 1, 1), std::vector<float>{2}, std::nullopt, "w",
      std::make_shared<OptimizerStochasticGradientDescent>(1.0));
  const ConvolutionNode node(ImageNode("x"), weights);
  const Graph inference(device, {node.result_image()});
  const auto last = InitialGradientNode(node.result_image()).training_graph();
  const Graph training(device, {last[0].result_image()}, std::vector<bool>{false});
  id<MTLCommandBuffer> theirs = [program.queue commandBuffer];
  const Image three = metal::encode_copy(device, theirs, program.image(1, 1, 1, {3}));
  const auto encode = [&](const Graph& graph, id<MTLCommandBuffer> onto) {
    CommandBuffer commands = metal::command_buffer(device, onto);
    const GraphOutputs outputs = graph.encode(commands, {{"x", three}});
    commands.commit();
    return std::pair(commands, outputs);
  };
  encode(training, theirs);
  CHECK(encode(training, theirs).first.error() == nullptr);  // MPS has its weights
  // For another graph the host would read 2, on this command buffer and on the next.
  id<MTLCommandBuffer> next = [program.queue commandBuffer];
  for (id<MTLCommandBuffer> onto : {theirs, next}) {
    const CommandBuffer early = encode(inference, onto).first;
    CHECK(early.status() == CommandBufferStatus::ERROR);
    check_says("which the program has yet to commit", [&] { early.wait_until_completed(); });
  }
  [theirs commit];
  [theirs waitUntilCompleted];
  const GraphOutputs outputs = encode(inference, next).second;
  [next commit];
  [next waitUntilCompleted];
  CHECK_EQ(values(*outputs.results[0]), (Values{-12}));  // 2 - 3 - 3, of 3
}

TEST_CASE("interop: kernels that read on the host, behind other work") {
  const Program program;
  const Device device = metal::device(program.theirs);
  id<MTLCommandBuffer> theirs = [program.queue commandBuffer];
  const Matrix from(device, {.rows = 2, .columns = 1}), to(device, {.rows = 1, .columns = 1});
  const Vector offsets(device, {.length = 4, .data_type = DataType::UINT32});
  const float numbers[] = {2, 6};
  const std::uint32_t second_row[] = {1, 0, 0, 0};
  from.write(numbers, sizeof numbers);
  offsets.write(second_row, sizeof second_row);
  // The host looks at the offsets before the device may use them.
  const auto copy = [&](CommandBuffer& commands) {
    MatrixCopy(device, {.copy_rows = 1, .copy_columns = 1}).encode(commands, {from}, {to}, offsets);
  };
  CommandBuffer first = metal::command_buffer(device, theirs);
  copy(first);
  copy(first);
  first.commit();
  check_says("takes no work that reads on the host what was encoded before",
             [&] { first.wait_until_completed(); });
  CommandBuffer second = metal::command_buffer(device, theirs);
  copy(second);
  second.commit();
  check_says("has yet to commit", [&] { second.wait_until_completed(); });
  [theirs commit];
  [theirs waitUntilCompleted];
  // Behind what the program committed the host waits.
  id<MTLCommandBuffer> next = [program.queue commandBuffer];
  CommandBuffer third = metal::command_buffer(device, next);
  copy(third);
  third.commit();
  [next commit];
  [next waitUntilCompleted];
  float got = 0;
  to.read(&got, sizeof got);
  CHECK_EQ(got, 6.0F);
}
