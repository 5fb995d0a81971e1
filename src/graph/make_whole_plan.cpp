// SPDX-License-Identifier: MIT
// Plans for backends that take whole graphs: one operation with the graph's sources, results and
// parameters as its operands.
#include <algorithm>
#include <utility>

#include "base/attributes.h"
#include "base/check.h"
#include "graph/draft.h"
#include "graph/node_table.h"
#include "graph/passes/passes.h"
#include "graph/verify.h"
#include "graph/whole_graph.h"
#include "mpsnn/normalization_data_source.h"

namespace mpsnn::graph {
namespace {

/// No kernel is looked for by operation.
class NoChooser final : public KernelChooser {
 public:
  std::shared_ptr<const Kernel> choose(const KernelQuery& query) const override {
    throw InternalError(str("operation ", name_of(query.op), " of a graph that is taken whole"));
  }
};

class WholePlanner {
 public:
  WholePlanner(const Network& network, const std::vector<TensorDesc>& sources)
      : draft_(network, chooser_), whole_{.network = network, .shapes = draft_.shapes} {
    infer_shapes(draft_, sources);
    draft_.plan.data_sources = network.data_sources;
    operation_.op = OpId::graph;
    operation_.label = network.nodes.back().label();
  }

  Plan run(const GraphCompiler& compiler) {
    check_states();
    add_sources();
    add_outputs();
    add_losses();
    add_states();
    for (std::uint32_t i = 0; i < draft_.network.data_sources.size(); ++i) add_parameters(i);
    operation_.optimizers = whole_.optimizers;
    operation_.kernel = compiler.compile(whole_);
    check_internal(operation_.kernel != nullptr, "a GraphCompiler returns a kernel or throws");
    draft_.plan.operations.push_back(std::move(operation_));
    std::uint32_t id = 0;
    for (Value& value : draft_.plan.values) value.storage = id++;
    verify(draft_.plan);
    return std::move(draft_.plan);
  }

 private:
  /// Only masks are images like others; statistics and the like stay in states of the backend's
  /// own.
  void check_states() const {
    for (const FilterNode& node : draft_.network.nodes) {
      const FilterRecord& record = *node.record();
      const bool is_dropout = record.node_class->family == "dropout";
      if (record.input_state && !record.input_state->labels && !is_dropout)
        refuse_state(record, "use_source_state", record.input_state->handle);
      if (record.result_state.exported && !is_dropout)
        refuse_state(record, "result_state", record.result_state.handle);
    }
  }

  [[noreturn]] static void refuse_state(const FilterRecord& node, std::string_view what,
                                        const std::string& handle) {
    throw_expected<UnsupportedError>(
        str(title(node), ": ", what),
        "no state but a dropout's mask, on a device that takes whole graphs: statistics go from a "
        "forward node to its gradient node in states of the device's own, which no image can be",
        str('"', handle, '"'));
  }

  void add_source(const ImageRecord& image, const std::string& name) {
    const ValueId id = draft_.add_value(name, draft_.shapes.at(&image), ValueKind::SOURCE);
    whole_.sources.push_back(&image);
    draft_.plan.sources.push_back(id);
    operation_.inputs.push_back(id);
  }

  void add_sources() {
    for (const ImageNode& source : draft_.network.sources)
      add_source(*source.record(), source.handle());
    for (const StateNode& state : draft_.network.source_states) {
      for (const auto& part : state.record()->parts) {
        if (!draft_.shapes.at(&part->image).dims.empty())
          add_source(part->image, str(state.handle(), '.', part->name));
      }
    }
  }

  /// The value of a result or exported image; one an image.
  ValueId output(const ImageNode& image) {
    const ImageRecord* record = image.record().get();
    if (record->producer == nullptr) {
      throw_expected<UnsupportedError>(
          str("Graph: exported image \"", image.handle(), '"'),
          "an image that a node makes, on a device that takes whole graphs", "a source");
    }
    const auto found = std::ranges::find(whole_.outputs, record);
    const auto index = static_cast<std::size_t>(found - whole_.outputs.begin());
    if (found != whole_.outputs.end()) return operation_.outputs[index];
    whole_.outputs.push_back(record);
    const std::string& name = image.handle().empty() ? record->producer->label : image.handle();
    operation_.outputs.push_back(
        draft_.add_value(name, draft_.shapes.at(record), ValueKind::RESULT));
    return operation_.outputs.back();
  }

  void add_outputs() {
    const Network& network = draft_.network;
    for (std::size_t i = 0; i < network.results.size(); ++i) {
      draft_.plan.results.push_back(network.needed[i] ? output(network.results[i]) : kNoValue);
    }
    for (const ImageNode& image : network.exported) draft_.plan.exported.push_back(output(image));
  }

  /// The losses that nodes leave in their labels.
  void add_losses() {
    const Network& network = draft_.network;
    for (const FilterNode& node : network.nodes) {
      const FilterRecord& record = *node.record();
      if (!record.input_state || !record.input_state->labels) continue;
      const auto state =
          std::ranges::find(network.source_states, record.input_state, &StateNode::record);
      const ImageSize predictions = draft_.shapes.at(record.sources[0].record().get()).image();
      const TensorDesc desc = desc_of_loss(record, predictions);
      whole_.losses.push_back({&record, desc});
      const ValueId id = draft_.add_value(str(state->handle(), ".loss"), desc, ValueKind::RESULT);
      const auto index = static_cast<std::uint32_t>(state - network.source_states.begin());
      draft_.plan.states.push_back({true, index, "loss", id});
      operation_.outputs.push_back(id);
    }
  }

  /// The masks that nodes leave in their states, of the sources' sizes.
  void add_states() {
    const Network& network = draft_.network;
    for (std::uint32_t i = 0; i < network.exported_states.size(); ++i) {
      const StateNode& state = network.exported_states[i];
      const FilterRecord& node = *state.record()->producer;
      const ImageSize size = draft_.shapes.at(node.sources[0].record().get()).image();
      const TensorDesc desc = {
          DataType::FLOAT32, {size.n, size.height, size.width, size.channels}, nullptr};
      whole_.masks.push_back({&node, desc});
      const std::string name(node.node_class->state[0]);
      const ValueId id = draft_.add_value(str(state.handle(), '.', name), desc, ValueKind::RESULT);
      draft_.plan.states.push_back({false, i, name, id});
      operation_.outputs.push_back(id);
    }
  }

  static TensorDesc desc_of_loss(const FilterRecord& node, const ImageSize& predictions) {
    const auto none = static_cast<std::int64_t>(ReductionType::NONE);
    if (get_int(node.attributes, "reduction_type") != none)
      return {DataType::FLOAT32, {predictions.n, 1, 1, 1}, nullptr};
    return {DataType::FLOAT32,
            {predictions.n, predictions.height, predictions.width, predictions.channels},
            nullptr};
  }

  void add_parameter(std::uint32_t owner, const std::string& name, TensorDesc desc, bool changes) {
    const ValueId id = draft_.parameter(owner, name, std::move(desc));
    whole_.parameters.push_back(
        {owner, name, static_cast<std::uint32_t>(operation_.inputs.size())});
    operation_.inputs.push_back(id);
    if (changes) operation_.outputs.push_back(id);
  }

  void add_parameters(std::uint32_t owner) {
    const DataSource& source = *draft_.network.data_sources[owner];
    const bool updated = is_updated(source), moves = moves_statistics(source);
    whole_.updated.push_back(updated);
    whole_.moves_statistics.push_back(moves);
    if (updated &&
        std::ranges::find(whole_.optimizers, source.optimizer()) == whole_.optimizers.end()) {
      whole_.optimizers.push_back(source.optimizer());
    }
    for (const ParameterInfo& info : source.parameters()) {
      const bool changes = info.trained ? updated : moves;
      const TensorDesc desc = {DataType::FLOAT32, info.shape, nullptr};
      add_parameter(owner, info.name, desc, changes);
      add_parameter(owner, info.name + ".version", counter_desc(), changes);
      if (!changes || !info.trained) continue;
      if (source.optimizer()->attributes().contains("time_step"))
        add_parameter(owner, info.name + ".time_step", counter_desc(), true);
      for (const std::string& moment : source.optimizer()->moments())
        add_parameter(owner, str(info.name, '.', moment), desc, true);
    }
  }

  /// Calls f(node) for the gradient nodes of a data source that train it.
  template <class Function>
  void each_training(const DataSource& source, Function f) const {
    for (const FilterNode& node : draft_.network.nodes) {
      const FilterRecord& record = *node.record();
      if (record.node_class->gradient && record.weights.get() == &source &&
          record.training_style != TrainingStyle::UPDATE_DEVICE_NONE) {
        f(record);
      }
    }
  }

  /// Whether a gradient node of the graph computes gradients for it. Throws UnsupportedError where
  /// anything but an optimizer on the device is to use them.
  bool is_updated(const DataSource& source) const {
    if (!source.is_updated()) return false;
    bool found = false;
    each_training(source, [&](const FilterRecord& node) {
      const bool on_cpu = node.training_style == TrainingStyle::UPDATE_DEVICE_CPU;
      if (on_cpu || source.updates_itself(node.training_style) || !source.optimizer()) {
        throw_expected<UnsupportedError>(
            title(node) + ": training_style",
            "UPDATE_DEVICE_GPU and an optimizer, on a device that takes whole graphs",
            on_cpu ? "UPDATE_DEVICE_CPU" : "a data source that updates itself");
      }
      found = true;
    });
    return found;
  }

  /// Whether its running statistics follow those of a batch.
  bool moves_statistics(const DataSource& source) const {
    const bool has_them = dynamic_cast<const BatchNormalizationDataSource*>(&source) != nullptr;
    if (!has_them || !source.trainable()) return false;
    constexpr auto never =
        static_cast<std::int64_t>(BatchNormalizationFlags::CALCULATE_STATISTICS_NEVER);
    bool found = false;
    each_training(source, [&](const FilterRecord& node) {
      found = found || get_int(node.attributes, "flags") != never;
    });
    return found;
  }

  const NoChooser chooser_;
  Draft draft_;
  WholeGraph whole_;
  Operation operation_{};
};

}  // namespace

Plan make_plan(const Network& network, const std::vector<TensorDesc>& sources,
               const GraphCompiler& compiler) {
  return WholePlanner(network, sources).run(compiler);
}

}  // namespace mpsnn::graph
