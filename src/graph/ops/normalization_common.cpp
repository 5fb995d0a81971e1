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

/// Of a state that the node was given: its arrays are the last sources.
void check_given_statistics(const ShapeQuery& query) {
  std::vector<std::int64_t> dims = statistics_dims(query.node, query.sources[1]);
  dims.insert(dims.begin(), 4 - dims.size(), 1);
  const ImageSize size = TensorDesc{DataType::FLOAT32, dims, nullptr}.image();
  expect_size(query, 2, "state \"mean\"", size);
  expect_size(query, 3, "state \"variance\"", size);
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
  if (query.sources.size() > 2) check_given_statistics(query);
  return query.sources[1];
}

std::vector<std::int64_t> statistics_dims(const FilterRecord& node, const ImageSize& source) {
  const NormalizationDataSource& values = normalization_values(node);
  if (dynamic_cast<const BatchNormalizationDataSource*>(&values) != nullptr)
    return {source.channels};
  const auto* groups = dynamic_cast<const GroupNormalizationDataSource*>(&values);
  return {source.n, groups != nullptr ? groups->number_of_groups() : source.channels};
}

Statistics statistics_of(Lowering& to, std::size_t i) {
  const std::vector<std::int64_t> dims = statistics_dims(to.node(), to.source_size(i));
  const Statistics given = {to.given("mean", dims), to.given("variance", dims)};
  if (given.mean != kNoValue) return given;
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
