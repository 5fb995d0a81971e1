// SPDX-License-Identifier: MIT
// For a program that uses Metal itself: a graph from an archive runs on the program's own device,
// onto its own command buffer, from its own images or textures. Prints the mean of a grey picture's
// result, as the C example run_archive does. Objective-C++ with ARC.
#import <Foundation/Foundation.h>
#import <Metal/Metal.h>
#import <MetalPerformanceShaders/MetalPerformanceShaders.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include <mpsnn/metal.h>
#include <mpsnn/mpsnn.h>

namespace {

/// Encodes the graph, of one source and one result, between whatever else the program encodes.
/// Nothing is committed and nothing is waited for.
void filter(const mpsnn::Graph& graph, id<MTLCommandBuffer> commands, MPSImage* from,
            MPSImage* to) {
  const mpsnn::Image source = mpsnn::metal::encode_copy(graph.device(), commands, from);
  mpsnn::CommandBuffer recording = mpsnn::metal::command_buffer(graph.device(), commands, "filter");
  const mpsnn::GraphOutputs outputs =
      graph.encode(recording, {{graph.source_handles().front(), source}});
  recording.commit();  // encodes onto `commands`
  mpsnn::metal::encode_copy(*outputs.results.front(), commands, to);
}

/// The same for textures of half floats, of as many channels as the graph wants.
[[maybe_unused]] void filter(const mpsnn::Graph& graph, id<MTLCommandBuffer> commands,
                             id<MTLTexture> from, NSUInteger from_channels, id<MTLTexture> to,
                             NSUInteger to_channels) {
  filter(graph, commands, [[MPSImage alloc] initWithTexture:from featureChannels:from_channels],
         [[MPSImage alloc] initWithTexture:to featureChannels:to_channels]);
}

MPSImage* make_image(id<MTLDevice> device, const mpsnn::ImageSize& size) {
  MPSImageDescriptor* descriptor =
      [MPSImageDescriptor imageDescriptorWithChannelFormat:MPSImageFeatureChannelFormatFloat32
                                                     width:static_cast<NSUInteger>(size.width)
                                                    height:static_cast<NSUInteger>(size.height)
                                           featureChannels:static_cast<NSUInteger>(size.channels)];
  return [[MPSImage alloc] initWithDevice:device imageDescriptor:descriptor];
}

double mean_of(MPSImage* image) {
  std::vector<float> values([image width] * [image height] * [image featureChannels]);
  [image readBytes:values.data() dataLayout:MPSDataLayoutHeightxWidthxFeatureChannels imageIndex:0];
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value);
  return sum / static_cast<double>(values.size());
}

int run(const std::string& path, const std::string& key, const mpsnn::ImageSize& size,
        std::int64_t result_channels) {
  id<MTLDevice> device = MTLCreateSystemDefaultDevice();
  id<MTLCommandQueue> queue = [device newCommandQueue];
  const mpsnn::Graph graph =
      mpsnn::KeyedUnarchiver(mpsnn::metal::device(device)).open(path).decode_graph(key);

  MPSImage* from = make_image(device, size);
  const std::vector<float> grey(static_cast<std::size_t>(size.count()), 0.5F);
  [from writeBytes:grey.data() dataLayout:MPSDataLayoutHeightxWidthxFeatureChannels imageIndex:0];
  MPSImage* to = make_image(device, {1, size.height, size.width, result_channels});

  id<MTLCommandBuffer> commands = [queue commandBuffer];
  filter(graph, commands, from, to);
  [commands commit];
  [commands waitUntilCompleted];
  std::printf("(1, %lu, %lu, %lu): mean %.6f\n", static_cast<unsigned long>([to height]),
              static_cast<unsigned long>([to width]),
              static_cast<unsigned long>([to featureChannels]), mean_of(to));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) {
    std::fprintf(stderr, "usage: filter_image ARCHIVE KEY HEIGHT WIDTH CHANNELS RESULT_CHANNELS\n");
    return 2;
  }
  @autoreleasepool {
    try {
      return run(argv[1], argv[2], {1, std::atoi(argv[3]), std::atoi(argv[4]), std::atoi(argv[5])},
                 std::atoi(argv[6]));
    } catch (const mpsnn::Error& error) {
      std::fprintf(stderr, "filter_image: %s\n", error.what());
      return 1;
    }
  }
}
