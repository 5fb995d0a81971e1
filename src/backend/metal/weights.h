// SPDX-License-Identifier: MIT
// A data source behind MPS's protocols: the arrays that all graphs of the device share, and the
// optimizer that changes them on the command buffer. For .mm files.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backend/metal/memory.h"
#include "graph/whole_graph.h"

namespace mpsnn::backend::metal {

/// Each input channel has one filter of its own; MPS has a descriptor for that, with a channel
/// multiplier of 1 only.
bool is_depthwise(const ConvolutionDescriptor& descriptor);

/// An array as MPS's optimizers take it.
struct BoundArray {
  BufferRange range;
  std::size_t count = 0;

  float* contents() const;
  MPSVector* vector() const;  // autoreleased
};

/// "weights" or "bias" with what an update of it reads and writes.
struct BoundParameter {
  std::string name;
  std::size_t count = 0;
  std::uint32_t input = 0, version_input = 0, time_step_input = 0;  // 0: no time step
  std::vector<std::uint32_t> moment_inputs;

  BoundArray array;
  std::vector<BoundArray> moments;
  std::int64_t* version = nullptr;
  std::int64_t* time_step = nullptr;
  Owned<MPSNNOptimizer*> optimizer;  // null: not updated. Adam's counts, so each has its own
};

/// One data source in one graph. Bound again before every encode; used by one thread at a time.
class ConvolutionWeights {
 public:
  ConvolutionWeights(std::shared_ptr<ConvolutionDataSource> source, std::size_t index,
                     const graph::WholeGraph& graph, id<MTLDevice> device);
  ~ConvolutionWeights();
  ConvolutionWeights(const ConvolutionWeights&) = delete;
  ConvolutionWeights& operator=(const ConvolutionWeights&) = delete;

  const DataSource* source() const noexcept { return source_.get(); }
  bool is_updated() const noexcept { return !parameters_.empty() && parameters_[0].optimizer; }
  /// What MPS is given.
  id<MPSCNNConvolutionDataSource> object() const noexcept { return object_.get(); }

  /// Finds the arrays of a run.
  void bind(const KernelArgs& args, const BufferMap& buffers);
  /// Takes the learning rate that holds for the run.
  void set_learning_rate(double rate);
  /// Whether the arrays were changed by others since this graph last read or changed them.
  bool is_stale() const;
  void note_current();
  /// Counts an update that was encoded.
  void count_update();

  // What the object is asked by MPS.
  MPSCNNConvolutionDescriptor* descriptor() const noexcept { return descriptor_.get(); }
  const std::string& label() const noexcept { return source_->label(); }
  void* weights() const { return parameters_[0].array.contents(); }
  float* bias() const;
  /// Encodes the optimizer for weights and bias, in place. Returns the arrays as a state, from
  /// which MPS refreshes its own copy.
  MPSCNNConvolutionWeightsAndBiasesState* update(id<MTLCommandBuffer> commands,
                                                 MPSCNNConvolutionGradientState* gradients,
                                                 MPSCNNConvolutionWeightsAndBiasesState* source);

 private:
  void add_parameter(const ParameterInfo& info, const graph::WholeGraph& graph);

  const std::shared_ptr<ConvolutionDataSource> source_;
  const std::size_t index_;
  Owned<MPSCNNConvolutionDescriptor*> descriptor_;
  std::vector<BoundParameter> parameters_;  // weights, and bias where there is one
  std::vector<std::int64_t> seen_;          // versions
  Owned<id<MPSCNNConvolutionDataSource>> object_;
};

}  // namespace mpsnn::backend::metal
