// SPDX-License-Identifier: MIT
#include <cmath>

#include "base/attributes.h"
#include "base/check.h"
#include "mpsnn/data_source.h"

namespace mpsnn {
namespace {

constexpr std::string_view kStochasticGradientDescent = "OptimizerStochasticGradientDescent";
constexpr std::string_view kAdam = "OptimizerAdam";
constexpr std::string_view kRmsProp = "OptimizerRMSProp";

OptimizerDescriptor with_learning_rate(double rate) {
  OptimizerDescriptor descriptor;
  descriptor.learning_rate = rate;
  return descriptor;
}

void check_learning_rate(double rate) {
  if (!std::isfinite(rate) || rate < 0) {
    throw_expected("Optimizer: learning_rate", "a finite number >= 0", rate);
  }
}

void check_finite(std::string_view argument, double value) {
  if (!std::isfinite(value)) throw_expected(str("Optimizer: ", argument), "a finite number", value);
}

void check_below_one(std::string_view argument, double value) {
  if (!(value >= 0 && value < 1)) throw_expected(argument, "0 <= value < 1", value);
}

/// What all optimizers write into attributes().
AttributeMap shared_attributes(std::string_view type, const OptimizerDescriptor& d) {
  return {{"type", std::string(type)},
          {"learning_rate", d.learning_rate},
          {"gradient_rescale", d.gradient_rescale},
          {"apply_gradient_clipping", d.apply_gradient_clipping},
          {"gradient_clip_max", d.gradient_clip_max},
          {"gradient_clip_min", d.gradient_clip_min},
          {"regularization_type", static_cast<std::int64_t>(d.regularization_type)},
          {"regularization_scale", d.regularization_scale}};
}

/// Reads an archive's attributes: what is wrong there is the caller's error, not ours.
template <class T>
T read(const AttributeMap& attributes, std::string_view name) {
  const auto found = attributes.find(name);
  const T* value = found == attributes.end() ? nullptr : std::get_if<T>(&found->second);
  if (value == nullptr) {
    throw_expected("make_optimizer", str("an attribute ", name),
                   found == attributes.end() ? "none" : "one of another type");
  }
  return *value;
}

OptimizerDescriptor read_descriptor(const AttributeMap& attributes) {
  return {.learning_rate = read<double>(attributes, "learning_rate"),
          .gradient_rescale = read<double>(attributes, "gradient_rescale"),
          .apply_gradient_clipping = read<bool>(attributes, "apply_gradient_clipping"),
          .gradient_clip_max = read<double>(attributes, "gradient_clip_max"),
          .gradient_clip_min = read<double>(attributes, "gradient_clip_min"),
          .regularization_type = static_cast<RegularizationType>(
              read<std::int64_t>(attributes, "regularization_type")),
          .regularization_scale = read<double>(attributes, "regularization_scale")};
}

}  // namespace

Optimizer::Optimizer(OptimizerDescriptor descriptor) : descriptor_(descriptor) {
  check_learning_rate(descriptor.learning_rate);
  check_finite("gradient_rescale", descriptor.gradient_rescale);
  check_finite("regularization_scale", descriptor.regularization_scale);
  if (descriptor.apply_gradient_clipping &&
      !(descriptor.gradient_clip_min <= descriptor.gradient_clip_max)) {
    throw_expected("Optimizer: gradient_clip_max",
                   str(">= gradient_clip_min ", descriptor.gradient_clip_min),
                   descriptor.gradient_clip_max);
  }
  const auto type = static_cast<std::int32_t>(descriptor.regularization_type);
  if (type < 0 || type > 2)
    throw_expected("Optimizer: regularization_type", "NONE, L1 or L2", type);
}

void Optimizer::set_learning_rate(double rate) {
  check_learning_rate(rate);
  descriptor_.learning_rate = rate;
}

OptimizerStochasticGradientDescent::OptimizerStochasticGradientDescent(double learning_rate,
                                                                       double momentum_scale,
                                                                       bool use_nesterov_momentum)
    : OptimizerStochasticGradientDescent(with_learning_rate(learning_rate), momentum_scale,
                                         use_nesterov_momentum) {}

OptimizerStochasticGradientDescent::OptimizerStochasticGradientDescent(
    OptimizerDescriptor descriptor, double momentum_scale, bool use_nesterov_momentum)
    : Optimizer(descriptor), momentum_scale_(momentum_scale), nesterov_(use_nesterov_momentum) {
  check_below_one(str(kStochasticGradientDescent, ": momentum_scale"), momentum_scale);
}

std::string_view OptimizerStochasticGradientDescent::operation() const noexcept {
  return "optimizer_stochastic_gradient_descent";
}

std::vector<std::string> OptimizerStochasticGradientDescent::moments() const {
  if (momentum_scale_ == 0.0) return {};
  return {"momentum"};
}

std::vector<double> OptimizerStochasticGradientDescent::scalars() const {
  return {learning_rate()};
}

AttributeMap OptimizerStochasticGradientDescent::attributes() const {
  AttributeMap attributes = shared_attributes(kStochasticGradientDescent, descriptor_);
  attributes["momentum_scale"] = momentum_scale_;
  attributes["use_nesterov_momentum"] = nesterov_;
  return attributes;
}

OptimizerAdam::OptimizerAdam(double learning_rate, double beta1, double beta2, double epsilon,
                             std::int64_t time_step, bool use_amsgrad)
    : OptimizerAdam(with_learning_rate(learning_rate), beta1, beta2, epsilon, time_step,
                    use_amsgrad) {}

OptimizerAdam::OptimizerAdam(OptimizerDescriptor descriptor, double beta1, double beta2,
                             double epsilon, std::int64_t time_step, bool use_amsgrad)
    : Optimizer(descriptor),
      beta1_(beta1),
      beta2_(beta2),
      epsilon_(epsilon),
      time_step_(time_step),
      amsgrad_(use_amsgrad) {
  check_below_one(str(kAdam, ": beta1"), beta1);
  check_below_one(str(kAdam, ": beta2"), beta2);
  if (!(std::isfinite(epsilon) && epsilon >= 0)) {
    throw_expected(str(kAdam, ": epsilon"), "a finite number >= 0", epsilon);
  }
  if (time_step < 0) throw_expected(str(kAdam, ": time_step"), ">= 0", time_step);
}

std::string_view OptimizerAdam::operation() const noexcept { return "optimizer_adam"; }
std::vector<std::string> OptimizerAdam::moments() const {
  if (amsgrad_) return {"momentum", "velocity", "maximum_velocity"};
  return {"momentum", "velocity"};
}
std::vector<double> OptimizerAdam::scalars() const { return {learning_rate()}; }

AttributeMap OptimizerAdam::attributes() const {
  AttributeMap attributes = shared_attributes(kAdam, descriptor_);
  attributes["beta1"] = beta1_;
  attributes["beta2"] = beta2_;
  attributes["epsilon"] = epsilon_;
  attributes["time_step"] = time_step_;
  attributes["use_amsgrad"] = amsgrad_;
  return attributes;
}

OptimizerRMSProp::OptimizerRMSProp(double learning_rate, double decay, double epsilon)
    : OptimizerRMSProp(with_learning_rate(learning_rate), decay, epsilon) {}

OptimizerRMSProp::OptimizerRMSProp(OptimizerDescriptor descriptor, double decay, double epsilon)
    : Optimizer(descriptor), decay_(decay), epsilon_(epsilon) {
  check_below_one(str(kRmsProp, ": decay"), decay);
  if (!(std::isfinite(epsilon) && epsilon >= 0)) {
    throw_expected(str(kRmsProp, ": epsilon"), "a finite number >= 0", epsilon);
  }
}

std::string_view OptimizerRMSProp::operation() const noexcept { return "optimizer_rms_prop"; }
std::vector<std::string> OptimizerRMSProp::moments() const { return {"sum_of_squares"}; }
std::vector<double> OptimizerRMSProp::scalars() const { return {learning_rate()}; }

AttributeMap OptimizerRMSProp::attributes() const {
  AttributeMap attributes = shared_attributes(kRmsProp, descriptor_);
  attributes["decay"] = decay_;
  attributes["epsilon"] = epsilon_;
  return attributes;
}

std::shared_ptr<Optimizer> make_optimizer(const AttributeMap& attributes) {
  const auto type = read<std::string>(attributes, "type");
  const OptimizerDescriptor descriptor = read_descriptor(attributes);
  if (type == kStochasticGradientDescent) {
    return std::make_shared<OptimizerStochasticGradientDescent>(
        descriptor, read<double>(attributes, "momentum_scale"),
        read<bool>(attributes, "use_nesterov_momentum"));
  }
  if (type == kAdam) {
    return std::make_shared<OptimizerAdam>(
        descriptor, read<double>(attributes, "beta1"), read<double>(attributes, "beta2"),
        read<double>(attributes, "epsilon"), read<std::int64_t>(attributes, "time_step"),
        // Archives of the first version have no such attribute.
        attributes.contains("use_amsgrad") && read<bool>(attributes, "use_amsgrad"));
  }
  if (type == kRmsProp) {
    return std::make_shared<OptimizerRMSProp>(descriptor, read<double>(attributes, "decay"),
                                              read<double>(attributes, "epsilon"));
  }
  throw_expected("make_optimizer: type",
                 str(kStochasticGradientDescent, ", ", kAdam, " or ", kRmsProp), type);
}

}  // namespace mpsnn
