// SPDX-License-Identifier: MIT
#include "base/check.h"
#include "graph/formats.h"
#include "graph/node_table.h"
#include "graph/passes/passes.h"

namespace mpsnn::graph {
namespace {

/// Far above any memory there is, and low enough that byte counts never overflow.
constexpr std::int64_t kMaximumCount = std::int64_t{1} << 48;

bool fits_in_memory(const ImageSize& size) {
  std::int64_t count = 1;
  for (const std::int64_t extent : {size.n, size.height, size.width, size.channels}) {
    if (__builtin_mul_overflow(count, extent, &count) || count > kMaximumCount) return false;
  }
  return true;
}

void check_source(const ImageNode& node, const TensorDesc& desc) {
  const std::string subject = str("source \"", node.handle(), '"');
  if (desc.dims.size() != 4) throw_expected(subject, "sizes (N, H, W, C)", to_string(desc));
  for (const std::int64_t extent : desc.dims) {
    if (extent < 1) throw_expected(subject, "sizes >= 1", to_string(desc));
  }
  if (!fits_in_memory(desc.image()))
    throw_expected(subject, "an image that fits in memory", to_string(desc));
}

TensorDesc infer(const Draft& draft, const FilterRecord& node) {
  std::vector<ImageSize> sources;
  for (const ImageNode& source : node.sources) {
    const TensorDesc& desc = draft.shapes.at(source.record().get());
    if (!desc.dims.empty()) sources.push_back(desc.image());  // the last ones may be absent
  }
  const ImageSize size = node.node_class->shape({node, sources});
  if (!fits_in_memory(size)) fail(node, "result", "an image that fits in memory", to_string(size));
  return {format_of(node.result, draft.network.format, draft.shapes),
          {size.n, size.height, size.width, size.channels},
          nullptr};
}

}  // namespace

void infer_shapes(Draft& draft, const std::vector<TensorDesc>& sources) {
  const Network& network = draft.network;
  std::size_t count = network.sources.size();
  for (const StateNode& state : network.source_states) count += state.record()->parts.size();
  if (sources.size() != count) throw_expected("sources", str(count, " images"), sources.size());
  for (std::size_t i = 0; i < network.sources.size(); ++i) {
    check_source(network.sources[i], sources[i]);
    draft.shapes[network.sources[i].record().get()] = sources[i];
  }
  std::size_t next = network.sources.size();
  for (const StateNode& state : network.source_states) {
    for (const auto& part : state.record()->parts) draft.shapes[&part->image] = sources[next++];
  }
  for (const FilterNode& node : network.nodes) {
    draft.shapes[&node.record()->result] = infer(draft, *node.record());
  }
}

}  // namespace mpsnn::graph
