// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mpsnn/data_source.h"

/// Data sources of the normalisation nodes: a scale gamma and a shift beta for each feature
/// channel.
namespace mpsnn {

/// Apple's epsilon where a data source names none: FLT_MIN. Most nets are trained with 1e-5 or
/// 1e-3.
inline constexpr double kDefaultNormalizationEpsilon = std::numeric_limits<float>::min();

/// Initial values of a normalisation; those left out are 1 for gamma and variance, 0 for beta and
/// mean.
struct NormalizationValues {
  std::optional<std::vector<float>> gamma = std::nullopt, beta = std::nullopt;
  /// Batch normalisation only.
  std::optional<std::vector<float>> mean = std::nullopt, variance = std::nullopt;
};

/// What the normalisations' data sources share. Parameters: "gamma", "beta".
class NormalizationDataSource : public DataSource {
 public:
  std::int64_t number_of_feature_channels() const noexcept { return channels_; }
  /// Added to the variance, inside of the root.
  double epsilon() const noexcept { return epsilon_; }

  std::vector<ParameterInfo> parameters() const override;
  std::vector<float> initial(std::string_view parameter) const override;
  void set_initial(std::string_view parameter, std::vector<float> values) override;
  AttributeMap attributes() const override;

 protected:
  /// `class_name` for the errors of the checks.
  NormalizationDataSource(std::string_view class_name, std::int64_t channels, double epsilon,
                          std::string label, std::shared_ptr<Optimizer> optimizer);
  /// A parameter with its values, or `fill` everywhere where none were given.
  void add(std::string_view class_name, std::string name, std::optional<std::vector<float>> values,
           float fill, bool trained);

 private:
  struct Array {
    ParameterInfo info;
    std::vector<float> values;
  };
  const Array& find(std::string_view parameter) const;

  std::int64_t channels_;
  double epsilon_;
  std::vector<Array> arrays_;
};

/// Parameters of a batch normalisation: gamma and beta, which an optimizer updates, and the running
/// mean and variance, which training moves on by
/// average = momentum * average + (1 - momentum) * of the batch.
/// Apple: MPSCNNBatchNormalizationDataSource.
class BatchNormalizationDataSource : public NormalizationDataSource {
 public:
  /// `momentum`: the share of the running statistics that one step keeps, 0 to 1 (PyTorch names the
  /// rest: its 0.1 is 0.9 here). The variance is the batch's own (divided by the count). Throws
  /// InvalidArgumentError for a count, epsilon or momentum out of range and arrays of other
  /// lengths.
  explicit BatchNormalizationDataSource(std::int64_t number_of_feature_channels,
                                        NormalizationValues values = {},
                                        double epsilon = kDefaultNormalizationEpsilon,
                                        double momentum = 0.9, std::string label = "",
                                        std::shared_ptr<Optimizer> optimizer = nullptr);
  double momentum() const noexcept { return momentum_; }
  std::string_view class_name() const noexcept override;
  AttributeMap attributes() const override;

 private:
  double momentum_;
};

/// Parameters of an instance normalisation. Apple: MPSCNNInstanceNormalizationDataSource.
class InstanceNormalizationDataSource : public NormalizationDataSource {
 public:
  /// Throws InvalidArgumentError for a count or epsilon out of range, arrays of other lengths, and
  /// a mean or variance, which come from each image here.
  explicit InstanceNormalizationDataSource(std::int64_t number_of_feature_channels,
                                           NormalizationValues values = {},
                                           double epsilon = kDefaultNormalizationEpsilon,
                                           std::string label = "",
                                           std::shared_ptr<Optimizer> optimizer = nullptr);
  std::string_view class_name() const noexcept override;
};

/// Parameters of a group normalisation. Apple: MPSCNNGroupNormalizationDataSource.
class GroupNormalizationDataSource : public NormalizationDataSource {
 public:
  /// Throws as InstanceNormalizationDataSource does, and where the channels are no multiple of the
  /// groups.
  GroupNormalizationDataSource(std::int64_t number_of_feature_channels,
                               std::int64_t number_of_groups, NormalizationValues values = {},
                               double epsilon = kDefaultNormalizationEpsilon,
                               std::string label = "",
                               std::shared_ptr<Optimizer> optimizer = nullptr);
  std::int64_t number_of_groups() const noexcept { return groups_; }
  std::string_view class_name() const noexcept override;
  AttributeMap attributes() const override;

 private:
  std::int64_t groups_;
};

}  // namespace mpsnn
