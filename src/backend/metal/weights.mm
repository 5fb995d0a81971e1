// SPDX-License-Identifier: MIT
#include "backend/metal/weights.h"

#include <algorithm>

#include "backend/metal/convolution_weights.h"
#include "backend/metal/normalization_weights.h"
#include "backend/metal/optimizer.h"
#include "graph/node_table.h"

namespace mpsnn::backend::metal {
namespace {

std::int64_t* counter_at(const KernelArgs& args, std::uint32_t input) {
  return static_cast<std::int64_t*>(args.table[args.inputs[input]]);
}

/// Whether several forward nodes use a data source.
bool is_used_again(const DataSource& source, const graph::WholeGraph& graph) {
  return std::ranges::count_if(graph.network.nodes, [&](const FilterNode& node) {
           const graph::FilterRecord& record = *node.record();
           return record.weights.get() == &source && !record.node_class->gradient;
         }) > 1;
}

}  // namespace

float* BoundArray::contents() const {
  auto* start = static_cast<std::byte*>([range.buffer.get() contents]);
  return reinterpret_cast<float*>(start + range.offset);
}

MPSVector* BoundArray::vector() const {
  MPSVectorDescriptor* descriptor =
      [MPSVectorDescriptor vectorDescriptorWithLength:count dataType:MPSDataTypeFloat32];
  return [[[MPSVector alloc] initWithBuffer:range.buffer.get()
                                     offset:range.offset
                                 descriptor:descriptor] autorelease];
}

Weights::Weights(std::shared_ptr<DataSource> source, std::size_t index,
                 const graph::WholeGraph& graph, id<MTLDevice> device)
    : source_(std::move(source)), index_(index), has_copies_(is_used_again(*source_, graph)) {
  for (const ParameterInfo& info : source_->parameters()) {
    add_parameter(info, graph);
    BoundParameter& parameter = parameters_.back();
    parameter.changes = info.trained ? graph.updated[index_] : graph.moves_statistics[index_];
    if (parameter.changes && info.trained)
      parameter.optimizer = make_optimizer(*source_->optimizer(), device);
  }
  seen_.resize(parameters_.size());
}

void Weights::add_parameter(const ParameterInfo& info, const graph::WholeGraph& graph) {
  BoundParameter made;
  made.name = info.name;
  made.count = 1;
  for (const std::int64_t extent : info.shape) made.count *= static_cast<std::size_t>(extent);
  for (const graph::ParameterOperand& operand : graph.parameters) {
    if (operand.data_source != index_) continue;
    if (operand.name == info.name) {
      made.input = operand.input;
    } else if (operand.name == info.name + ".version") {
      made.version_input = operand.input;
    } else if (operand.name == info.name + ".time_step") {
      made.time_step_input = operand.input;
    } else if (operand.name.starts_with(info.name + ".")) {
      made.moment_inputs.push_back(operand.input);
    }
  }
  made.moments.resize(made.moment_inputs.size());
  parameters_.push_back(std::move(made));
}

bool Weights::changes() const noexcept {
  return std::ranges::any_of(parameters_, &BoundParameter::changes);
}

void Weights::bind(const KernelArgs& args, const BufferMap& buffers) {
  for (BoundParameter& parameter : parameters_) {
    const auto bound = [&](std::uint32_t input) {
      return BoundArray{buffers.find(args.table[args.inputs[input]]), parameter.count};
    };
    parameter.array = bound(parameter.input);
    parameter.version = counter_at(args, parameter.version_input);
    if (parameter.time_step_input != 0)
      parameter.time_step = counter_at(args, parameter.time_step_input);
    for (std::size_t i = 0; i < parameter.moments.size(); ++i)
      parameter.moments[i] = bound(parameter.moment_inputs[i]);
  }
}

void Weights::set_learning_rate(double rate) {
  for (const BoundParameter& parameter : parameters_)
    [parameter.optimizer.get() setLearningRate:static_cast<float>(rate)];
}

bool Weights::is_stale() const {
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (*parameters_[i].version != seen_[i]) return true;
  }
  return false;
}

void Weights::note_current() {
  for (std::size_t i = 0; i < parameters_.size(); ++i) seen_[i] = *parameters_[i].version;
}

void Weights::count_update() {
  if (!changes()) return;
  for (const BoundParameter& parameter : parameters_) {
    if (!parameter.changes) continue;
    ++*parameter.version;
    if (parameter.time_step != nullptr) ++*parameter.time_step;
  }
  if (!has_copies_) note_current();
}

void Weights::add_changed(PendingUpdates& pending,
                          std::vector<std::shared_ptr<const void>>& kept) const {
  for (const BoundParameter& parameter : parameters_) {
    if (parameter.changes) kept.push_back(pending.add(parameter.array.contents()));
  }
}

bool Weights::is_among(const PendingUpdates& pending) const {
  return std::ranges::any_of(parameters_, [&](const BoundParameter& parameter) {
    return pending.contains(parameter.array.contents());
  });
}

NSString* Weights::label() const { return to_ns_string(source_->label()); }

float* Weights::values(std::string_view name) const {
  const BoundParameter* found = find(name);
  return found == nullptr ? nullptr : found->array.contents();
}

const BoundParameter* Weights::find(std::string_view name) const {
  const auto found = std::ranges::find(parameters_, name, &BoundParameter::name);
  return found == parameters_.end() ? nullptr : &*found;
}

void Weights::encode_update(const BoundParameter& parameter, id<MTLBuffer> gradient,
                            id<MTLCommandBuffer> commands) const {
  const BoundArray array = {{Owned<id<MTLBuffer>>::retained(gradient), 0}, parameter.count};
  metal::encode_update(parameter, array.vector(), commands);
}

void drop_read(MPSState* state) {
  if ([state isTemporary] && [state readCount] > 0) [state setReadCount:[state readCount] - 1];
}

std::shared_ptr<Weights> make_weights(const graph::WholeGraph& graph, std::size_t index,
                                      id<MTLDevice> device) {
  const std::shared_ptr<DataSource>& source = graph.network.data_sources[index];
  if (auto convolution = std::dynamic_pointer_cast<ConvolutionDataSource>(source))
    return std::make_shared<ConvolutionWeights>(std::move(convolution), index, graph, device);
  auto normalization = std::dynamic_pointer_cast<NormalizationDataSource>(source);
  check_internal(normalization != nullptr, "a data source is a convolution's or a normalisation's");
  return std::make_shared<NormalizationWeights>(std::move(normalization), index, graph, device);
}

}  // namespace mpsnn::backend::metal
