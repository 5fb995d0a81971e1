// SPDX-License-Identifier: MIT
// A program whose own build made the library: halves a picture, with both headers in view.
#include <mpsnn.h>
#include <mpsnn/mpsnn.h>

#include <cstdio>
#include <vector>

int main() {
  const mpsnn::Device device("cpu");
  const mpsnn::PoolingMaxNode pooled(mpsnn::ImageNode("picture"), 2);
  const mpsnn::Graph graph(device, {pooled.result_image()});
  const std::vector<float> pixels = {1, 2, 3, 4};
  const mpsnn::Image picture(device, {1, 2, 2, 1}, mpsnn::DataType::FLOAT32, pixels.data());

  mpsnn::CommandBuffer commands(device.command_queue());
  const mpsnn::GraphOutputs outputs = graph.encode(commands, {{"picture", picture}});
  commands.commit();
  float largest = 0;
  outputs.results[0]->read(&largest, sizeof largest);
  std::printf("mpsnn %s: %.0f\n", mpsnn_version(), largest);
}
