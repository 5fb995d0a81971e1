// SPDX-License-Identifier: MIT
#include "base/check.h"
#include "graph/lowering.h"
#include "graph/node_table.h"
#include "graph/passes/passes.h"

namespace mpsnn::graph {

void lower_nodes(Draft& draft) {
  const Network& network = draft.network;
  draft.plan.data_sources = network.data_sources;
  for (std::size_t i = 0; i < network.data_sources.size(); ++i) {
    draft.data_sources[network.data_sources[i].get()] = static_cast<std::uint32_t>(i);
  }
  for (const ImageNode& source : network.sources) {
    const ImageRecord* image = source.record().get();
    const ValueId id = draft.add_value(image->handle, draft.shapes.at(image), ValueKind::SOURCE);
    draft.images[image] = id;
    draft.plan.sources.push_back(id);
  }
  for (const StateNode& state : network.source_states) {
    for (const auto& part : state.record()->parts) {
      const TensorDesc& desc = draft.shapes.at(&part->image);
      ValueId& id = draft.images[&part->image] = kNoValue;
      if (desc.dims.empty()) continue;
      id = draft.add_value(str(state.handle(), '.', part->name), desc, ValueKind::SOURCE);
      draft.plan.sources.push_back(id);
    }
  }
  for (const FilterNode& node : network.nodes) {
    const FilterRecord& record = *node.record();
    if (!record.node_class->gradient || !record.weights || record.sources.size() < 2) continue;
    draft.differentiated.emplace(record.sources[1].record().get(), record.weights.get());
  }
  for (const FilterNode& node : network.nodes) {
    const FilterRecord& record = *node.record();
    Lowering to(draft, record);
    record.node_class->lower(to);
    if (record.node_class->gradient) to.leave_gradients_in_state();
    check_internal(draft.images.contains(&record.result),
                   str("lowering of ", title(record), " makes a result"));
  }
}

}  // namespace mpsnn::graph
