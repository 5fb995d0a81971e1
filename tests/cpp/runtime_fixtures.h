// SPDX-License-Identifier: MIT
// What the tests of the runtime share: a null device of their own, gates, small graphs.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "backend/null/null_device.h"
#include "mpsnn/graph.h"
#include "mpsnn/nodes.h"
#include "runtime/device_state.h"

namespace fixtures {

using namespace mpsnn;  // NOLINT: tests only
using backend::null_device::Command;
using backend::null_device::NullDevice;

/// A null device that no other test uses, seen from both sides.
struct Rig {
  explicit Rig(backend::null_device::Options options = {})
      : null(std::make_shared<NullDevice>(std::move(options))),
        device(std::make_shared<runtime::DeviceState>(null)) {}

  std::vector<std::string> labels() const {
    std::vector<std::string> labels;
    for (const Command& command : null->commands()) labels.push_back(command.label);
    return labels;
  }

  std::shared_ptr<NullDevice> null;
  Device device;
};

/// Blocks whoever passes until it is opened.
class Gate {
 public:
  void pass() {
    std::unique_lock lock(mutex_);
    ++arrived_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  /// Returns once someone stands before the gate.
  void wait_for_arrival() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return arrived_ > 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int arrived_ = 0;
  bool open_ = false;
};

inline std::shared_ptr<ConvolutionDataSource> convolution_weights(
    std::int64_t in, std::int64_t out, std::string label,
    std::shared_ptr<Optimizer> optimizer = nullptr) {
  ConvolutionDescriptor descriptor;
  descriptor.input_feature_channels = in;
  descriptor.output_feature_channels = out;
  std::vector<float> weights(static_cast<std::size_t>(descriptor.weight_count()));
  for (std::size_t i = 0; i < weights.size(); ++i)
    weights[i] = 0.01F * static_cast<float>(i % 17) - 0.08F;
  return std::make_shared<ConvolutionDataSource>(
      descriptor, std::move(weights), std::vector<float>(static_cast<std::size_t>(out), 0.5F),
      std::move(label), std::move(optimizer));
}

/// Two convolutions with a ReLU between: "in" (N, H, W, 3) to an image of 2 channels. One
/// temporary.
struct SmallNet {
  explicit SmallNet(std::shared_ptr<Optimizer> optimizer = nullptr)
      : first(convolution_weights(3, 4, "first", optimizer)),
        second(convolution_weights(4, 2, "second", optimizer)) {}

  FilterNode last() const {
    const ConvolutionNode one(source, first);
    const NeuronReLUNode relu(one.result_image());
    return ConvolutionNode(relu.result_image(), second);
  }
  Graph graph(const Device& device) const { return Graph(device, {last().result_image()}); }

  /// Loss against "target", and all gradients.
  Graph training(const Device& device) const {
    const ForwardLossNode loss(last().result_image(), target, LossDescriptor{});
    const InitialGradientNode start(loss.result_image());
    ImageNode loss_image = loss.result_image();
    loss_image.set_handle("loss");
    const std::vector<FilterNode> ends = start.training_graph();
    std::vector<ImageNode> results = {loss_image};
    std::vector<bool> needed = {true};
    for (const FilterNode& end : ends) {
      results.push_back(end.result_image());
      needed.push_back(false);
    }
    return Graph(device, results, needed);
  }

  ImageNode source{"in"}, target{"target"};
  std::shared_ptr<ConvolutionDataSource> first, second;
};

inline Image input(const Device& device, std::int64_t size = 8) {
  return Image(device, {1, size, size, 3});
}
inline std::map<std::string, Image> batch(const Device& device, std::int64_t size = 8) {
  return {{"in", input(device, size)}, {"target", Image(device, {1, size, size, 2})}};
}

/// Runs a training graph once, to the end.
inline void train_once(const Graph& graph, const CommandQueue& queue,
                       const std::map<std::string, Image>& sources) {
  CommandBuffer commands(queue);
  graph.encode(commands, sources);
  commands.commit();
  commands.wait_until_completed();
}

}  // namespace fixtures
