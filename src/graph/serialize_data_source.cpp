// SPDX-License-Identifier: MIT
// Data sources as JSON: a reader a class.
#include <cstdint>
#include <limits>
#include <utility>

#include "base/check.h"
#include "graph/serialize.h"
#include "graph/serialize_tools.h"
#include "mpsnn/dropout_state.h"
#include "mpsnn/normalization_data_source.h"

namespace mpsnn::graph {
namespace {

using base::Json;
using base::JsonField;

constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();

/// What a reader of one class gets.
struct Stored {
  const JsonField& field;
  const ReadParameter& read_parameter;
  const ReadWeights& read_weights;
  std::shared_ptr<Optimizer> optimizer;

  JsonField attribute(std::string_view name) const { return field.at("attributes").at(name); }
  std::string label() const { return field.at("label").string(); }
  std::vector<float> values(const ParameterInfo& parameter) const {
    std::optional<std::vector<float>> found = read_parameter(parameter);
    if (!found) field.fail(str("expected a tensor of its ", parameter.name, ", got none"));
    return *std::move(found);
  }
};

ConvolutionDescriptor read_descriptor(const Stored& stored) {
  const auto extent = [&](std::string_view name) {
    return stored.attribute(name).integer(1, kMost);
  };
  const auto number = [&](std::string_view name) {
    return static_cast<float>(stored.attribute(name).number());
  };
  ConvolutionDescriptor descriptor;
  descriptor.kernel_width = extent("kernel_width");
  descriptor.kernel_height = extent("kernel_height");
  descriptor.input_feature_channels = extent("input_feature_channels");
  descriptor.output_feature_channels = extent("output_feature_channels");
  descriptor.stride_in_pixels_x = extent("stride_in_pixels_x");
  descriptor.stride_in_pixels_y = extent("stride_in_pixels_y");
  descriptor.groups = extent("groups");
  descriptor.dilation_rate_x = extent("dilation_rate_x");
  descriptor.dilation_rate_y = extent("dilation_rate_y");
  // Absent in archives that are older than the field.
  if (const auto factor = stored.field.at("attributes").find("sub_pixel_scale_factor"))
    descriptor.sub_pixel_scale_factor = factor->integer(1, kMost);
  descriptor.fused_neuron_descriptor = {
      static_cast<NeuronType>(stored.attribute("neuron_type").integer(0, kMost)),
      number("neuron_a"), number("neuron_b"), number("neuron_c")};
  return descriptor;
}

std::shared_ptr<DataSource> read_convolution(const Stored& stored) {
  const ConvolutionDescriptor d = read_descriptor(stored);
  // The shapes are compared before anything is computed from the descriptor: its counts may
  // overflow.
  std::optional<ConvolutionWeights> weights =
      stored.read_weights({"weights",
                           {d.output_feature_channels, d.kernel_height, d.kernel_width,
                            d.input_feature_channels / d.groups}});
  if (!weights) stored.field.fail("expected a tensor of its weights, got none");
  std::optional<std::vector<float>> bias =
      stored.read_parameter({"bias", {d.output_feature_channels}});
  return std::make_shared<ConvolutionDataSource>(d, *std::move(weights), std::move(bias),
                                                 stored.label(), stored.optimizer);
}

/// Channels and values of a normalisation. The values are compared with the channels first.
std::pair<std::int64_t, NormalizationValues> read_values(const Stored& stored, bool running) {
  const std::int64_t channels = stored.attribute("number_of_feature_channels").integer(1, kMost);
  NormalizationValues values;
  values.gamma = stored.values({"gamma", {channels}});
  values.beta = stored.values({"beta", {channels}});
  if (running) {
    values.mean = stored.values({"mean", {channels}});
    values.variance = stored.values({"variance", {channels}});
  }
  return {channels, std::move(values)};
}

std::shared_ptr<DataSource> read_batch_normalization(const Stored& stored) {
  auto [channels, values] = read_values(stored, true);
  return std::make_shared<BatchNormalizationDataSource>(
      channels, std::move(values), stored.attribute("epsilon").number(),
      stored.attribute("momentum").number(), stored.label(), stored.optimizer);
}

std::shared_ptr<DataSource> read_instance_normalization(const Stored& stored) {
  auto [channels, values] = read_values(stored, false);
  return std::make_shared<InstanceNormalizationDataSource>(channels, std::move(values),
                                                           stored.attribute("epsilon").number(),
                                                           stored.label(), stored.optimizer);
}

std::shared_ptr<DataSource> read_group_normalization(const Stored& stored) {
  auto [channels, values] = read_values(stored, false);
  return std::make_shared<GroupNormalizationDataSource>(
      channels, stored.attribute("number_of_groups").integer(1, kMost), std::move(values),
      stored.attribute("epsilon").number(), stored.label(), stored.optimizer);
}

std::shared_ptr<DataSource> read_dropout(const Stored& stored) {
  auto state = std::make_shared<DropoutState>(stored.label());
  state->set_initial("steps", stored.values(state->parameters().front()));
  return state;
}

struct Reader {
  std::string_view class_name;
  std::shared_ptr<DataSource> (*read)(const Stored& stored);
};

constexpr Reader kReaders[] = {
    {"ConvolutionDataSource", read_convolution},
    {"BatchNormalizationDataSource", read_batch_normalization},
    {"InstanceNormalizationDataSource", read_instance_normalization},
    {"GroupNormalizationDataSource", read_group_normalization},
    {"DropoutState", read_dropout},
};

}  // namespace

Json::Object to_json(const DataSource& source) {
  return {{"class", source.class_name()},
          {"label", source.label()},
          {"trainable", source.trainable()},
          {"attributes", to_json(source.attributes())}};
}

std::shared_ptr<DataSource> read_data_source(const JsonField& field,
                                             const ReadParameter& read_parameter,
                                             const ReadWeights& read_weights,
                                             std::shared_ptr<Optimizer> optimizer) {
  const JsonField class_name = field.at("class");
  std::string names;
  for (const Reader& reader : kReaders) {
    names += str(names.empty() ? "" : " or ", reader.class_name);
    if (class_name.string() != reader.class_name) continue;
    const Stored stored = {field, read_parameter, read_weights, std::move(optimizer)};
    auto source = built(field, [&] { return reader.read(stored); });
    source->set_trainable(field.at("trainable").boolean());
    return source;
  }
  class_name.fail("expected " + names + ", got \"" + class_name.string() + "\"");
}

}  // namespace mpsnn::graph
