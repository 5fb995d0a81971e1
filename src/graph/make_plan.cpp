// SPDX-License-Identifier: MIT
#include "graph/cost.h"
#include "graph/draft.h"
#include "graph/network.h"
#include "graph/passes/passes.h"
#include "graph/verify.h"

namespace mpsnn::graph {

Plan make_plan(const Network& network, const std::vector<TensorDesc>& sources,
               const KernelChooser& chooser, const PlanOptions& options) {
  Draft draft(network, chooser);
  infer_shapes(draft, sources);
  lower_nodes(draft);
  add_updates(draft);
  mark_results(draft);
  prune(draft);
  fuse_neurons(draft);
  choose_kernels(draft);
  order_operations(draft);
  if (options.recompute) recompute(draft);
  drop_unused_values(draft);
  share_in_place(draft);
  place_values(draft);
  estimate_costs(draft.plan);
  verify(draft.plan);
  return std::move(draft.plan);
}

}  // namespace mpsnn::graph
