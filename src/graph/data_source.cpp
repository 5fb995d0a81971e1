// SPDX-License-Identifier: MIT
#include "mpsnn/data_source.h"

#include <string>
#include <utility>

#include "base/check.h"
#include "graph/convolution_weights.h"
#include "graph/device_states.h"
#include "mpsnn/device.h"

namespace mpsnn {

using graph::check_quantization;

namespace {

std::string title_of(std::string_view label) { return str("ConvolutionDataSource \"", label, '"'); }

void check_at_least_one(std::string_view label, std::string_view field, std::int64_t value) {
  if (value < 1) throw_expected(str(title_of(label), ": ", field), ">= 1", value);
}

void check(const ConvolutionDescriptor& d, std::string_view label) {
  check_at_least_one(label, "kernel_width", d.kernel_width);
  check_at_least_one(label, "kernel_height", d.kernel_height);
  check_at_least_one(label, "input_feature_channels", d.input_feature_channels);
  check_at_least_one(label, "output_feature_channels", d.output_feature_channels);
  check_at_least_one(label, "stride_in_pixels_x", d.stride_in_pixels_x);
  check_at_least_one(label, "stride_in_pixels_y", d.stride_in_pixels_y);
  check_at_least_one(label, "groups", d.groups);
  check_at_least_one(label, "dilation_rate_x", d.dilation_rate_x);
  check_at_least_one(label, "dilation_rate_y", d.dilation_rate_y);
  check_at_least_one(label, "sub_pixel_scale_factor", d.sub_pixel_scale_factor);
  // 2^15 squared fits, and no image has that many channels.
  const std::int64_t r = d.sub_pixel_scale_factor;
  if (r > 1 << 15 || d.output_feature_channels % (r * r) != 0) {
    throw_expected(str(title_of(label), ": output_feature_channels"),
                   str("a multiple of the square of sub_pixel_scale_factor (", r, ")"),
                   d.output_feature_channels);
  }
  const std::string multiple = str("a multiple of groups (", d.groups, ")");
  if (d.input_feature_channels % d.groups != 0) {
    throw_expected(str(title_of(label), ": input_feature_channels"), multiple,
                   d.input_feature_channels);
  }
  if (d.output_feature_channels % d.groups != 0) {
    throw_expected(str(title_of(label), ": output_feature_channels"), multiple,
                   d.output_feature_channels);
  }
}

void check_count(std::string_view label, std::string_view argument, std::int64_t expected,
                 std::size_t got) {
  if (static_cast<std::int64_t>(got) != expected) {
    throw_expected(str(title_of(label), ": ", argument), str(expected, " values"), got);
  }
}

}  // namespace

DepthWiseConvolutionDescriptor::DepthWiseConvolutionDescriptor(std::int64_t width,
                                                               std::int64_t height,
                                                               std::int64_t inputs,
                                                               std::int64_t outputs) {
  kernel_width = width;
  kernel_height = height;
  input_feature_channels = inputs;
  output_feature_channels = outputs;
  groups = inputs;
}

SubPixelConvolutionDescriptor::SubPixelConvolutionDescriptor(std::int64_t width,
                                                             std::int64_t height,
                                                             std::int64_t inputs,
                                                             std::int64_t outputs,
                                                             std::int64_t scale_factor) {
  kernel_width = width;
  kernel_height = height;
  input_feature_channels = inputs;
  output_feature_channels = outputs;
  sub_pixel_scale_factor = scale_factor;
}

DataSource::DataSource(std::string label, std::shared_ptr<Optimizer> optimizer)
    : label_(std::move(label)),
      optimizer_(std::move(optimizer)),
      states_(std::make_shared<DeviceStates>()) {}

bool DataSource::is_updated() const {
  return trainable_ && (optimizer_ != nullptr || updates_itself(TrainingStyle::UPDATE_DEVICE_CPU) ||
                        updates_itself(TrainingStyle::UPDATE_DEVICE_GPU));
}

bool DataSource::load() const { return true; }
void DataSource::purge() const {}
std::vector<float> DataSource::values(std::string_view parameter) const {
  return initial(parameter);
}
bool DataSource::updates_itself(TrainingStyle /*style*/) const { return false; }
std::optional<ParameterValues> DataSource::update_with_gradient_state(
    const ParameterValues& /*gradient_state*/, const ParameterValues& /*source_state*/) {
  return std::nullopt;
}
std::optional<ParameterImages> DataSource::update_with_command_buffer(
    CommandBuffer& /*commands*/, const ParameterImages& /*gradient_state*/,
    const ParameterImages& /*source_state*/) {
  return std::nullopt;
}

ConvolutionDataSource::ConvolutionDataSource(ConvolutionDescriptor descriptor, bool has_bias,
                                             std::string label,
                                             std::shared_ptr<Optimizer> optimizer)
    : DataSource(std::move(label), std::move(optimizer)), descriptor_(descriptor) {
  check(descriptor_, this->label());
  if (has_bias) bias_.emplace();
}

ConvolutionDataSource::ConvolutionDataSource(ConvolutionDescriptor descriptor,
                                             std::vector<float> weights,
                                             std::optional<std::vector<float>> bias_terms,
                                             std::string label,
                                             std::shared_ptr<Optimizer> optimizer)
    : ConvolutionDataSource(descriptor, ConvolutionWeights{std::move(weights), {}, {}},
                            std::move(bias_terms), std::move(label), std::move(optimizer)) {}

ConvolutionDataSource::ConvolutionDataSource(ConvolutionDescriptor descriptor,
                                             ConvolutionWeights weights,
                                             std::optional<std::vector<float>> bias_terms,
                                             std::string label,
                                             std::shared_ptr<Optimizer> optimizer)
    : DataSource(std::move(label), std::move(optimizer)),
      descriptor_(descriptor),
      weights_(std::move(weights)),
      bias_(std::move(bias_terms)) {
  check(descriptor_, this->label());
  check_count(this->label(), "weights", descriptor_.weight_count(), weights_.count());
  check_quantization(weights_, descriptor_.output_feature_channels, title_of(this->label()));
  if (bias_)
    check_count(this->label(), "bias_terms", descriptor_.output_feature_channels, bias_->size());
}

std::string_view ConvolutionDataSource::class_name() const noexcept {
  return "ConvolutionDataSource";
}

std::vector<ParameterInfo> ConvolutionDataSource::parameters() const {
  const ConvolutionDescriptor& d = descriptor_;
  std::vector<ParameterInfo> parameters = {{"weights",
                                            {d.output_feature_channels, d.kernel_height,
                                             d.kernel_width, d.input_feature_channels / d.groups}}};
  if (bias_) parameters.push_back({"bias", {d.output_feature_channels}});
  return parameters;
}

std::vector<float> ConvolutionDataSource::initial(std::string_view parameter) const {
  if (weights_.count() == 0)
    throw_expected(str(title_of(label()), ": values"), "an override, since no weights were given",
                   "none");
  if (parameter == "weights") {
    const auto outputs = static_cast<std::size_t>(descriptor_.output_feature_channels);
    return weights_.floats(weights_.count() / outputs);
  }
  if (parameter == "bias" && bias_) return *bias_;
  throw_expected(str(title_of(label()), ": parameter"), bias_ ? "weights or bias" : "weights",
                 str('"', parameter, '"'));
}

void ConvolutionDataSource::set_initial(std::string_view parameter, std::vector<float> values) {
  const std::size_t count = initial(parameter).size();
  check_count(label(), parameter, static_cast<std::int64_t>(count), values.size());
  if (parameter == "weights") {
    weights_ = {std::move(values), {}, {}};
  } else {
    bias_ = std::move(values);
  }
}

AttributeMap ConvolutionDataSource::attributes() const {
  const ConvolutionDescriptor& d = descriptor_;
  const NeuronDescriptor& neuron = d.fused_neuron_descriptor;
  return {{"kernel_width", d.kernel_width},
          {"kernel_height", d.kernel_height},
          {"input_feature_channels", d.input_feature_channels},
          {"output_feature_channels", d.output_feature_channels},
          {"stride_in_pixels_x", d.stride_in_pixels_x},
          {"stride_in_pixels_y", d.stride_in_pixels_y},
          {"groups", d.groups},
          {"dilation_rate_x", d.dilation_rate_x},
          {"dilation_rate_y", d.dilation_rate_y},
          {"sub_pixel_scale_factor", d.sub_pixel_scale_factor},
          {"neuron_type", static_cast<std::int64_t>(neuron.type)},
          {"neuron_a", static_cast<double>(neuron.a)},
          {"neuron_b", static_cast<double>(neuron.b)},
          {"neuron_c", static_cast<double>(neuron.c)}};
}

}  // namespace mpsnn
