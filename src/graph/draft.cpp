// SPDX-License-Identifier: MIT
#include "graph/draft.h"

#include <utility>

#include "base/check.h"

namespace mpsnn::graph {

ValueId Draft::add_value(std::string name, TensorDesc desc, ValueKind kind) {
  const auto id = static_cast<ValueId>(plan.values.size());
  plan.values.push_back({.name = std::move(name),
                         .desc = std::move(desc),
                         .kind = kind,
                         .storage = id,
                         .parameter = {}});
  return id;
}

ValueId Draft::parameter(std::uint32_t data_source, const std::string& name, TensorDesc desc) {
  const auto [found, is_new] = parameters_.try_emplace(str(data_source, ' ', name), kNoValue);
  if (is_new) {
    const std::string& label = plan.data_sources[data_source]->label();
    const std::string owner = label.empty() ? str("weights", data_source) : label;
    const ValueId id = add_value(str(owner, '.', name), std::move(desc), ValueKind::PARAMETER);
    plan.values[id].data_source = data_source;
    plan.values[id].parameter = name;
    found->second = id;
  }
  return found->second;
}

TensorDesc counter_desc() { return {DataType::INT64, {1}, nullptr}; }

}  // namespace mpsnn::graph
