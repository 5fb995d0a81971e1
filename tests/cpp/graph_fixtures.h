// SPDX-License-Identifier: MIT
// What the tests of graph and planner share: small nets, and a chooser that has a kernel for
// everything.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/kernel.h"
#include "graph/network.h"
#include "graph/plan.h"
#include "mpsnn/node.h"

namespace fixtures {

using namespace mpsnn;  // NOLINT: tests only

struct FakeKernel final : Kernel {
  void run(const KernelArgs&) const override { throw StateError("a fake kernel does not run"); }
};

/// Has a kernel for every case, without a device. Layouts and scratch as asked for.
class FakeChooser final : public KernelChooser {
 public:
  std::map<OpId, std::size_t> scratch_bytes;
  /// Layout wanted for input 1 (weights) of an operation, by name.
  std::map<OpId, std::string> weights_layout;
  /// Operations that no kernel fits.
  std::vector<OpId> refused;
  /// Labels in the order of the questions.
  mutable std::vector<std::string> asked;

  std::shared_ptr<const Kernel> choose(const KernelQuery& query) const override {
    asked.emplace_back(query.label);
    for (const OpId op : refused) {
      if (op == query.op)
        throw UnsupportedError(str(query.label, ": ", name_of(op), ": no kernel"));
    }
    auto kernel = std::make_shared<FakeKernel>();
    kernel->row = "fake";
    if (const auto found = scratch_bytes.find(query.op); found != scratch_bytes.end()) {
      kernel->scratch_bytes = found->second;
    }
    if (const auto found = weights_layout.find(query.op); found != weights_layout.end()) {
      auto layout = std::make_shared<Layout>();
      layout->name = found->second;
      layout->bytes = query.inputs[1].bytes() + 64;
      kernel->input_layouts = {nullptr, layout};
    }
    return kernel;
  }
};

inline std::shared_ptr<ConvolutionDataSource> weights(
    std::int64_t in, std::int64_t out, const std::string& label,
    std::shared_ptr<Optimizer> optimizer = nullptr, std::int64_t kernel = 3, bool bias = true) {
  ConvolutionDescriptor descriptor;
  descriptor.kernel_width = descriptor.kernel_height = kernel;
  descriptor.input_feature_channels = in;
  descriptor.output_feature_channels = out;
  std::optional<std::vector<float>> terms;
  if (bias) terms = std::vector<float>(static_cast<std::size_t>(out));
  return std::make_shared<ConvolutionDataSource>(
      descriptor, std::vector<float>(static_cast<std::size_t>(descriptor.weight_count())), terms,
      label, optimizer);
}

inline std::shared_ptr<Optimizer> adam() { return std::make_shared<OptimizerAdam>(1e-3); }

inline FilterNode node(std::string_view class_name, std::vector<ImageNode> sources,
                       AttributeMap attributes = {}, std::shared_ptr<DataSource> data = nullptr) {
  return FilterNode(class_name, sources, std::move(attributes), std::move(data));
}

inline FilterNode convolution(const ImageNode& source, std::shared_ptr<DataSource> data) {
  return node("ConvolutionNode", {source}, {}, std::move(data));
}

inline FilterNode relu(const ImageNode& source, double a = 0.0) {
  return node("NeuronReLUNode", {source}, {{"a", a}});
}

inline FilterNode loss(const ImageNode& predictions, const ImageNode& labels,
                       LossType type = LossType::MEAN_SQUARED_ERROR) {
  return node("ForwardLossNode", {predictions, labels},
              {{"loss_type", static_cast<std::int64_t>(type)}});
}

inline std::vector<FilterNode> train(const ImageNode& end, const NodeHandler& handler = nullptr) {
  return node("InitialGradientNode", {end}).training_graph(std::nullopt, handler);
}

inline std::vector<ImageNode> results_of(const std::vector<FilterNode>& nodes) {
  return {nodes.begin(), nodes.end()};
}

inline TensorDesc image(std::int64_t n, std::int64_t height, std::int64_t width,
                        std::int64_t channels) {
  return {DataType::FLOAT32, {n, height, width, channels}, nullptr};
}

/// Plans for results, all needed or none.
inline graph::Plan plan(const std::vector<ImageNode>& results, bool needed,
                        const std::vector<TensorDesc>& sources,
                        const KernelChooser& chooser = FakeChooser()) {
  return graph::make_plan(graph::collect(results, std::vector<bool>(results.size(), needed)),
                          sources, chooser);
}

/// Labels of the operations of one kind, in their order.
inline std::vector<std::string> labels(const graph::Plan& plan, OpId op) {
  std::vector<std::string> found;
  for (const graph::Operation& operation : plan.operations) {
    if (operation.op == op) found.push_back(operation.label);
  }
  return found;
}

inline std::size_t count(const graph::Plan& plan, OpId op) { return labels(plan, op).size(); }

/// The first operation of a kind; throws where there is none.
inline const graph::Operation& first(const graph::Plan& plan, OpId op) {
  for (const graph::Operation& operation : plan.operations) {
    if (operation.op == op) return operation;
  }
  throw StateError(str("the plan has no ", name_of(op)));
}

inline std::size_t index_of(const graph::Plan& plan, OpId op, const std::string& label) {
  for (std::size_t i = 0; i < plan.operations.size(); ++i) {
    if (plan.operations[i].op == op && plan.operations[i].label == label) return i;
  }
  throw StateError(str("the plan has no ", name_of(op), " ", label));
}

}  // namespace fixtures
