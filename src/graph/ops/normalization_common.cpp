// SPDX-License-Identifier: MIT
#include "graph/ops/normalization.h"

#include <utility>

#include "base/check.h"
#include "graph/ops/neuron.h"
#include "graph/ops/shapes.h"

namespace mpsnn::graph {
namespace {

void check_channels(const FilterRecord& node, std::string_view argument, const ImageSize& source) {
  const std::int64_t channels = normalization_values(node).number_of_feature_channels();
  if (source.channels != channels)
    fail(node, argument, str(channels, " feature channels"), source.channels);
}

}  // namespace

const NormalizationDataSource& normalization_values(const FilterRecord& node) {
  const auto* values = dynamic_cast<const NormalizationDataSource*>(node.weights.get());
  check_internal(values != nullptr, "a normalisation has a NormalizationDataSource");
  return *values;
}

ImageSize normalization_shape(const ShapeQuery& query) {
  check_channels(query.node, "source", query.sources[0]);
  return query.sources[0];
}

ImageSize normalization_gradient_shape(const ShapeQuery& query) {
  check_channels(query.node, "source_image", query.sources[1]);
  expect_size(query, 0, "source_gradient", query.sources[1]);
  return query.sources[1];
}

Statistics computed_statistics(Lowering& to, std::size_t i, const std::vector<std::int64_t>& dims) {
  ValueId& mean = to.shared(i, "mean");
  ValueId& variance = to.shared(i, "variance");
  if (mean == kNoValue) {
    const TensorDesc desc = {DataType::FLOAT32, dims, nullptr};
    mean = to.temporary("mean", desc);
    variance = to.temporary("variance", desc);
    to.add(OpId::normalization_statistics, {to.source(i)}, {mean, variance}, {});
  }
  return {mean, variance};
}

AttributeMap epsilon_of(const Lowering& to) {
  return {{"epsilon", normalization_values(to.node()).epsilon()}};
}

void add_normalization(Lowering& to, const Statistics& statistics) {
  AttributeMap attributes = epsilon_of(to);
  set_neuron(attributes);
  to.add(OpId::normalization,
         {to.source(0), statistics.mean, statistics.variance, to.parameter("gamma"),
          to.parameter("beta")},
         {to.result()}, std::move(attributes));
}

std::vector<SourceSpec> normalization_sources() {
  return {{.name = "source", .doc = "image with the data source's feature channels"}};
}

std::vector<SourceSpec> normalization_gradient_sources() {
  return {{.name = "source_gradient", .doc = "gradient of the normalisation's result"},
          {.name = "source_image", .doc = "the normalisation's source"}};
}

}  // namespace mpsnn::graph
