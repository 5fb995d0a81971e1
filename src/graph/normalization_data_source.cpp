// SPDX-License-Identifier: MIT
#include "mpsnn/normalization_data_source.h"

#include <cmath>
#include <utility>

#include "base/check.h"

namespace mpsnn {
namespace {

constexpr std::string_view kBatch = "BatchNormalizationDataSource";
constexpr std::string_view kInstance = "InstanceNormalizationDataSource";
constexpr std::string_view kGroup = "GroupNormalizationDataSource";

std::string title_of(std::string_view class_name, std::string_view label) {
  return str(class_name, " \"", label, '"');
}

void check_count(std::string_view class_name, std::string_view label, std::string_view argument,
                 std::int64_t expected, std::size_t got) {
  if (static_cast<std::int64_t>(got) != expected) {
    throw_expected(str(title_of(class_name, label), ": ", argument), str(expected, " values"), got);
  }
}

/// Statistics are those of each image: none are stored.
void check_no_statistics(std::string_view class_name, std::string_view label,
                         const NormalizationValues& values) {
  if (!values.mean && !values.variance) return;
  throw_expected(str(title_of(class_name, label), ": mean and variance"), "none", "values");
}

}  // namespace

NormalizationDataSource::NormalizationDataSource(std::string_view class_name, std::int64_t channels,
                                                 double epsilon, std::string label,
                                                 std::shared_ptr<Optimizer> optimizer)
    : DataSource(std::move(label), std::move(optimizer)), channels_(channels), epsilon_(epsilon) {
  const std::string title = title_of(class_name, this->label());
  if (channels < 1) throw_expected(title + ": number_of_feature_channels", ">= 1", channels);
  if (!(std::isfinite(epsilon) && epsilon >= 0)) {
    throw_expected(title + ": epsilon", "a finite number >= 0", epsilon);
  }
}

void NormalizationDataSource::add(std::string_view class_name, std::string name,
                                  std::optional<std::vector<float>> values, float fill,
                                  bool trained) {
  if (values) check_count(class_name, label(), name, channels_, values->size());
  if (!values) values.emplace(static_cast<std::size_t>(channels_), fill);
  arrays_.push_back({{std::move(name), {channels_}, trained}, *std::move(values)});
}

const NormalizationDataSource::Array& NormalizationDataSource::find(
    std::string_view parameter) const {
  std::string names;
  for (const Array& array : arrays_) {
    if (array.info.name == parameter) return array;
    names += str(names.empty() ? "" : " or ", array.info.name);
  }
  throw_expected(str(title_of(class_name(), label()), ": parameter"), names,
                 str('"', parameter, '"'));
}

std::vector<ParameterInfo> NormalizationDataSource::parameters() const {
  std::vector<ParameterInfo> parameters;
  for (const Array& array : arrays_) parameters.push_back(array.info);
  return parameters;
}

std::vector<float> NormalizationDataSource::initial(std::string_view parameter) const {
  return find(parameter).values;
}

void NormalizationDataSource::set_initial(std::string_view parameter, std::vector<float> values) {
  const Array& found = find(parameter);
  check_count(class_name(), label(), parameter, channels_, values.size());
  arrays_[static_cast<std::size_t>(&found - arrays_.data())].values = std::move(values);
}

AttributeMap NormalizationDataSource::attributes() const {
  return {{"number_of_feature_channels", channels_}, {"epsilon", epsilon_}};
}

BatchNormalizationDataSource::BatchNormalizationDataSource(std::int64_t number_of_feature_channels,
                                                           NormalizationValues values,
                                                           double epsilon, double momentum,
                                                           std::string label,
                                                           std::shared_ptr<Optimizer> optimizer)
    : NormalizationDataSource(kBatch, number_of_feature_channels, epsilon, std::move(label),
                              std::move(optimizer)),
      momentum_(momentum) {
  if (!(momentum >= 0 && momentum <= 1)) {
    throw_expected(str(title_of(kBatch, this->label()), ": momentum"), "0 to 1", momentum);
  }
  add(kBatch, "gamma", std::move(values.gamma), 1, true);
  add(kBatch, "beta", std::move(values.beta), 0, true);
  add(kBatch, "mean", std::move(values.mean), 0, false);
  add(kBatch, "variance", std::move(values.variance), 1, false);
}

std::string_view BatchNormalizationDataSource::class_name() const noexcept { return kBatch; }

AttributeMap BatchNormalizationDataSource::attributes() const {
  AttributeMap attributes = NormalizationDataSource::attributes();
  attributes["momentum"] = momentum_;
  return attributes;
}

InstanceNormalizationDataSource::InstanceNormalizationDataSource(
    std::int64_t number_of_feature_channels, NormalizationValues values, double epsilon,
    std::string label, std::shared_ptr<Optimizer> optimizer)
    : NormalizationDataSource(kInstance, number_of_feature_channels, epsilon, std::move(label),
                              std::move(optimizer)) {
  check_no_statistics(kInstance, this->label(), values);
  add(kInstance, "gamma", std::move(values.gamma), 1, true);
  add(kInstance, "beta", std::move(values.beta), 0, true);
}

std::string_view InstanceNormalizationDataSource::class_name() const noexcept { return kInstance; }

GroupNormalizationDataSource::GroupNormalizationDataSource(std::int64_t number_of_feature_channels,
                                                           std::int64_t number_of_groups,
                                                           NormalizationValues values,
                                                           double epsilon, std::string label,
                                                           std::shared_ptr<Optimizer> optimizer)
    : NormalizationDataSource(kGroup, number_of_feature_channels, epsilon, std::move(label),
                              std::move(optimizer)),
      groups_(number_of_groups) {
  if (groups_ < 1 || number_of_feature_channels % groups_ != 0) {
    throw_expected(str(title_of(kGroup, this->label()), ": number_of_groups"),
                   str("a divisor of ", number_of_feature_channels, " feature channels"), groups_);
  }
  check_no_statistics(kGroup, this->label(), values);
  add(kGroup, "gamma", std::move(values.gamma), 1, true);
  add(kGroup, "beta", std::move(values.beta), 0, true);
}

std::string_view GroupNormalizationDataSource::class_name() const noexcept { return kGroup; }

AttributeMap GroupNormalizationDataSource::attributes() const {
  AttributeMap attributes = NormalizationDataSource::attributes();
  attributes["number_of_groups"] = groups_;
  return attributes;
}

}  // namespace mpsnn
