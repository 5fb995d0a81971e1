// SPDX-License-Identifier: MIT
// A data source behind MPS's protocols: the arrays that all graphs of the device share, and the
// optimizer that changes them on the command buffer. For .mm files.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backend/metal/memory.h"
#include "backend/metal/pending_updates.h"
#include "graph/whole_graph.h"

namespace mpsnn::backend::metal {

/// An array as MPS's optimizers take it.
struct BoundArray {
  BufferRange range;
  std::size_t count = 0;

  float* contents() const;
  MPSVector* vector() const;  // autoreleased
};

/// "weights", "gamma" … with what an update of it reads and writes.
struct BoundParameter {
  std::string name;
  std::size_t count = 0;
  std::uint32_t input = 0, version_input = 0, time_step_input = 0;  // 0: no time step
  std::vector<std::uint32_t> moment_inputs;
  bool changes = false;  // the graph changes it, with an optimizer or without

  BoundArray array;
  std::vector<BoundArray> moments;
  std::int64_t* version = nullptr;
  std::int64_t* time_step = nullptr;
  Owned<MPSNNOptimizer*> optimizer;  // null: not updated. Adam's counts, so each has its own
};

/// One data source in one graph. Bound again before every encode; used by one thread at a time. In
/// shared pointers, as the objects that MPS is given hold it.
class Weights : public std::enable_shared_from_this<Weights> {
 public:
  virtual ~Weights() = default;
  Weights(const Weights&) = delete;
  Weights& operator=(const Weights&) = delete;

  const DataSource* source() const noexcept { return source_.get(); }
  /// Whether the graph changes any of its arrays.
  bool changes() const noexcept;
  /// What MPS is given: it conforms to the protocol of the data source's kind, and keeps this.
  /// Autoreleased.
  virtual id make_object() = 0;

  /// Finds the arrays of a run.
  void bind(const KernelArgs& args, const BufferMap& buffers);
  /// Takes the learning rate that holds for the run.
  void set_learning_rate(double rate);
  /// Whether the arrays were changed by others since this graph last read or changed them.
  bool is_stale() const;
  void note_current();
  /// Counts an update that was encoded. Where several nodes use the data source, the graph is no
  /// longer current: each has a copy of the arrays, and MPS's headers do not say that an update
  /// reaches others than that of the node that is trained.
  void count_update();

  /// After an encode onto a command buffer of the program's: enters the arrays that it changes.
  void add_changed(PendingUpdates& pending, std::vector<std::shared_ptr<const void>>& kept) const;
  /// Whether the host would read an array too early.
  bool is_among(const PendingUpdates& pending) const;

  NSString* label() const;  // autoreleased
  /// The values of a parameter where the host reads them; null: the data source has none.
  float* values(std::string_view name) const;

 protected:
  Weights(std::shared_ptr<DataSource> source, std::size_t index, const graph::WholeGraph& graph,
          id<MTLDevice> device);
  /// Null where the data source has none.
  const BoundParameter* find(std::string_view name) const;
  /// Encodes the optimizer of a parameter, in place; `gradient` begins at the buffer's start.
  void encode_update(const BoundParameter& parameter, id<MTLBuffer> gradient,
                     id<MTLCommandBuffer> commands) const;

 private:
  void add_parameter(const ParameterInfo& info, const graph::WholeGraph& graph);

  const std::shared_ptr<DataSource> source_;
  const std::size_t index_;
  const bool has_copies_;
  std::vector<BoundParameter> parameters_;
  std::vector<std::int64_t> seen_;  // versions
};

/// Counts one read of a state that MPS handed over.
void drop_read(MPSState* state);

/// The data source `index` of a graph.
std::shared_ptr<Weights> make_weights(const graph::WholeGraph& graph, std::size_t index,
                                      id<MTLDevice> device);

}  // namespace mpsnn::backend::metal
