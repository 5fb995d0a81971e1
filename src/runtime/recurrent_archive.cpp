// SPDX-License-Identifier: MIT
#include "runtime/recurrent_archive.h"

#include <type_traits>
#include <utility>

#include "graph/serialize_tools.h"

namespace mpsnn::runtime {
namespace {

using base::Json;
using base::JsonField;

constexpr std::string_view kStoreAll = "store_all_intermediate_states",
                           kCombine = "bidirectional_combine_mode",
                           kAccumulate = "accumulate_weight_gradients";

void set(RNNInferenceLayer& layer, graph::AttributesToTake& attributes) {
  constexpr auto kLast = static_cast<std::int64_t>(RNNBidirectionalCombineMode::CONCATENATE);
  layer.set_bidirectional_combine_mode(
      static_cast<RNNBidirectionalCombineMode>(attributes.integer(kCombine, 0, kLast)));
}
void set(RNNMatrixTrainingLayer& layer, graph::AttributesToTake& attributes) {
  layer.set_accumulate_weight_gradients(attributes.boolean(kAccumulate));
}

template <class Layer>
RNNAnyLayer made(const Device& device, const JsonField& field,
                 std::vector<RNNLayerDescriptor> descriptors) {
  Layer layer = graph::built(field, [&] {
    if constexpr (std::is_same_v<Layer, RNNMatrixTrainingLayer>) {
      if (descriptors.size() != 1)
        field.fail(str("descriptors: expected one, got ", descriptors.size()));
      return Layer(device, std::move(descriptors.front()));
    } else {
      return Layer(device, std::move(descriptors));
    }
  });
  layer.set_label(field.at("label").string());
  graph::AttributesToTake attributes(field.at("attributes"));
  layer.set_store_all_intermediate_states(attributes.boolean(kStoreAll));
  set(layer, attributes);
  attributes.expect_none_left();
  return layer;
}

}  // namespace

Json to_json(const RecurrentLayer& layer, const graph::IndexOfDataSource& index_of) {
  AttributeMap attributes = {{std::string(kStoreAll), layer.store_all}};
  if (layer.class_name == kMatrixTrainingLayer) {
    attributes.emplace(kAccumulate, layer.accumulates);
  } else {
    attributes.emplace(kCombine, static_cast<std::int64_t>(layer.combine));
  }
  Json::Array descriptors;
  for (const RNNLayerDescriptor& descriptor : layer.descriptors)
    descriptors.push_back(graph::to_json(descriptor, index_of));
  return Json::Object{{"class", layer.class_name},
                      {"label", layer.label},
                      {"attributes", graph::to_json(attributes)},
                      {"descriptors", std::move(descriptors)}};
}

RNNAnyLayer read_layer(const Device& device, const JsonField& field,
                       const graph::DataSourceAt& data_source_at) {
  const JsonField name = field.at("class"), list = field.at("descriptors");
  std::vector<RNNLayerDescriptor> descriptors;
  for (std::size_t i = 0; i < list.size(); ++i)
    descriptors.push_back(graph::read_layer_descriptor(list.at(i), data_source_at));
  if (name.string() == kMatrixInferenceLayer)
    return made<RNNMatrixInferenceLayer>(device, field, std::move(descriptors));
  if (name.string() == kImageInferenceLayer)
    return made<RNNImageInferenceLayer>(device, field, std::move(descriptors));
  if (name.string() == kMatrixTrainingLayer)
    return made<RNNMatrixTrainingLayer>(device, field, std::move(descriptors));
  name.fail(str("expected ", kMatrixInferenceLayer, ", ", kImageInferenceLayer, " or ",
                kMatrixTrainingLayer, ", got \"", name.string(), "\""));
}

}  // namespace mpsnn::runtime
