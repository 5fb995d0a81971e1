// SPDX-License-Identifier: MIT
#include <unordered_map>

#include "graph/node_records.h"
#include "graph/passes/passes.h"

namespace mpsnn::graph {
namespace {

class Marker {
 public:
  explicit Marker(Draft& draft) : draft_(draft) {}

  /// The value handed out for an image; the same one each time that the image is asked for.
  ValueId output(const ImageRecord& image) {
    const auto [found, is_new] = outputs_.try_emplace(&image, kNoValue);
    if (is_new) found->second = make_output(image);
    return found->second;
  }

 private:
  ValueId make_output(const ImageRecord& image) {
    ValueId id = draft_.images.at(&image);
    if (draft_.plan.values[id].kind != ValueKind::TEMPORARY) id = copy(image, id);
    Value& value = draft_.plan.values[id];
    value.kind = ValueKind::RESULT;
    if (!image.handle.empty()) value.name = image.handle;
    return id;
  }

  /// An identity left the image without memory of its own, or it is a source.
  ValueId copy(const ImageRecord& image, ValueId from) {
    const std::string label = image.producer != nullptr ? image.producer->label : image.handle;
    const TensorDesc desc = draft_.plan.values[from].desc;
    const ValueId to = draft_.add_value(label, desc, ValueKind::RESULT);
    draft_.plan.operations.push_back({.op = OpId::slice,
                                      .label = label + ".copy",
                                      .node_class = {},
                                      .attributes = {{"channel_offset", std::int64_t{0}}},
                                      .inputs = {from},
                                      .outputs = {to},
                                      .kernel = nullptr,
                                      .optimizer = nullptr});
    return to;
  }

  Draft& draft_;
  std::unordered_map<const ImageRecord*, ValueId> outputs_;
};

}  // namespace

void mark_results(Draft& draft) {
  Marker marker(draft);
  const Network& network = draft.network;
  for (std::size_t i = 0; i < network.results.size(); ++i) {
    const ImageRecord& image = *network.results[i].record();
    draft.plan.results.push_back(network.needed[i] ? marker.output(image) : kNoValue);
  }
  for (const ImageNode& image : network.exported) {
    draft.plan.exported.push_back(marker.output(*image.record()));
  }
}

}  // namespace mpsnn::graph
