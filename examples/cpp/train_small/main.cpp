// SPDX-License-Identifier: MIT
// Trains a small convolution net: it learns to blur. Prints the falling loss and fails where it
// does not fall. With a path as argument the net is archived there, key "blur". Built out of tree,
// with nothing but find_package(mpsnn).
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <mpsnn/mpsnn.h>

namespace {

constexpr mpsnn::ImageSize kSize{.n = 4, .height = 16, .width = 16, .channels = 1};
constexpr int kSteps = 200;

/// Random 3×3 weights, small enough to start from, with zero biases and Adam.
std::shared_ptr<mpsnn::ConvolutionDataSource> make_weights(std::int64_t in, std::int64_t out,
                                                           const std::string& label,
                                                           std::mt19937& generator) {
  mpsnn::ConvolutionDescriptor descriptor;
  descriptor.input_feature_channels = in;
  descriptor.output_feature_channels = out;
  std::normal_distribution<float> normal(0.0f, std::sqrt(2.0f / static_cast<float>(9 * in)));
  std::vector<float> weights(static_cast<std::size_t>(descriptor.weight_count()));
  for (float& weight : weights) weight = normal(generator);
  std::vector<float> bias(static_cast<std::size_t>(out), 0.0f);
  return std::make_shared<mpsnn::ConvolutionDataSource>(
      descriptor, std::move(weights), std::move(bias), label,
      std::make_shared<mpsnn::OptimizerAdam>(3e-3));
}

/// Each pixel the mean of itself and its neighbours, zero outside.
std::vector<float> blur(std::span<const float> pictures) {
  std::vector<float> blurred(pictures.size());
  const auto edge = kSize.height;
  for (std::int64_t index = 0; index < kSize.count(); ++index) {
    const auto x = index % edge, y = index / edge % edge, picture = index - y * edge - x;
    float sum = 0;
    for (std::int64_t row = std::max<std::int64_t>(y - 1, 0); row < std::min(y + 2, edge); ++row) {
      for (std::int64_t column = std::max<std::int64_t>(x - 1, 0); column < std::min(x + 2, edge);
           ++column) {
        sum += pictures[static_cast<std::size_t>(picture + row * edge + column)];
      }
    }
    blurred[static_cast<std::size_t>(index)] = sum / 9;
  }
  return blurred;
}

mpsnn::Image image_of(const mpsnn::Device& device, const std::vector<float>& values) {
  return mpsnn::Image(device, kSize, mpsnn::DataType::FLOAT32, values.data());
}

float mean(const mpsnn::Image& image) {
  std::vector<float> values(static_cast<std::size_t>(image.size().count()));
  image.read(values.data(), values.size() * sizeof(float));
  float sum = 0;
  for (const float value : values) sum += value;
  return sum / static_cast<float>(values.size());
}

/// The net alone, without what trains it.
void archive(const mpsnn::Device& device, const mpsnn::ImageNode& result, const std::string& path) {
  mpsnn::KeyedArchiver archiver;
  archiver.encode("blur", mpsnn::Graph(device, {result}));
  archiver.write(path);
}

int train(const std::string& path) {
  std::mt19937 generator(1);
  const mpsnn::Device device;
  const mpsnn::CommandQueue queue(device, "training");
  std::printf("device: %s (%s)\n", device.kind().c_str(), device.name().c_str());

  mpsnn::ImageNode sharp("sharp"), blurred("blurred");
  mpsnn::ConvolutionNode first(sharp, make_weights(1, 8, "first", generator));
  mpsnn::NeuronReLUNode relu(first);
  mpsnn::ConvolutionNode second(relu, make_weights(8, 1, "second", generator));
  // A mean's gradient is not divided by the number of values: the weight does that. It scales the
  // loss itself too, which the printing below takes out again.
  const mpsnn::LossDescriptor descriptor{.loss_type = mpsnn::LossType::MEAN_SQUARED_ERROR,
                                         .reduction_type = mpsnn::ReductionType::MEAN,
                                         .weight = 1.0 / static_cast<double>(kSize.count())};
  mpsnn::ForwardLossNode loss(second, blurred, descriptor);
  loss.result_image().set_handle("loss");
  loss.result_image().set_export_from_graph(true);
  mpsnn::InitialGradientNode start(loss);
  const std::vector<mpsnn::FilterNode> last = start.training_graph();
  const mpsnn::Graph step(device, {last.front().result_image()}, std::vector<bool>{false});

  std::uniform_real_distribution<float> uniform;
  float first_loss = 0, last_loss = 0;
  for (int index = 0; index < kSteps; ++index) {
    std::vector<float> pictures(static_cast<std::size_t>(kSize.count()));
    for (float& value : pictures) value = uniform(generator);
    const std::map<std::string, mpsnn::Image> sources = {
        {"sharp", image_of(device, pictures)}, {"blurred", image_of(device, blur(pictures))}};
    mpsnn::CommandBuffer commands(queue);
    const mpsnn::GraphOutputs outputs = step.encode(commands, sources);
    commands.commit();
    commands.wait_until_completed();
    last_loss = mean(outputs["loss"]) * static_cast<float>(kSize.count());
    if (index == 0) first_loss = last_loss;
    if (index % 20 == 0 || index == kSteps - 1) {
      std::printf("step %3d  mean squared error %.6f\n", index, static_cast<double>(last_loss));
    }
  }
  if (!(last_loss < first_loss / 10)) {
    std::printf("the loss did not fall to a tenth\n");
    return 1;
  }
  if (!path.empty()) archive(device, second.result_image(), path);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return train(argc > 1 ? argv[1] : "");
  } catch (const mpsnn::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
