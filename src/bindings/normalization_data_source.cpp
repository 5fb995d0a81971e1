// SPDX-License-Identifier: MIT
// Data sources of the normalisation nodes and of dropout.
#include "mpsnn/normalization_data_source.h"

#include <pybind11/stl.h>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/casters.h"
#include "bindings/own_data_source.h"
#include "mpsnn/dropout_state.h"

namespace mpsnn::bindings {
namespace {

using OptionalArray = std::optional<ArrayObject>;

/// Values of a vector of the data source, none where there is no array.
std::optional<std::vector<float>> vector_of(const std::string& title, const char* name,
                                            std::int64_t channels, const OptionalArray& object) {
  if (!object) return std::nullopt;
  const FloatArray array = float_array(*object, title + name);
  if (channels >= 1 && (array.ndim() != 1 || array.shape(0) != channels)) {
    throw InvalidArgumentError(title + name + ": expected shape (" + std::to_string(channels) +
                               ",), got " + shape_text(array));
  }
  return values_of(array);
}

template <class Class>
std::shared_ptr<Class> make_batch(std::int64_t channels, const OptionalArray& gamma,
                                  const OptionalArray& beta, const OptionalArray& mean,
                                  const OptionalArray& variance, double epsilon, double momentum,
                                  std::string label,
                                  std::optional<std::shared_ptr<Optimizer>> optimizer) {
  const std::string title = "BatchNormalizationDataSource \"" + label + "\": ";
  NormalizationValues values = {.gamma = vector_of(title, "gamma", channels, gamma),
                                .beta = vector_of(title, "beta", channels, beta),
                                .mean = vector_of(title, "mean", channels, mean),
                                .variance = vector_of(title, "variance", channels, variance)};
  return std::make_shared<Class>(channels, std::move(values), epsilon, momentum, std::move(label),
                                 std::move(optimizer).value_or(nullptr));
}

template <class Class>
std::shared_ptr<Class> make_instance(std::int64_t channels, const OptionalArray& gamma,
                                     const OptionalArray& beta, double epsilon, std::string label,
                                     std::optional<std::shared_ptr<Optimizer>> optimizer) {
  const std::string title = "InstanceNormalizationDataSource \"" + label + "\": ";
  NormalizationValues values = {.gamma = vector_of(title, "gamma", channels, gamma),
                                .beta = vector_of(title, "beta", channels, beta)};
  return std::make_shared<Class>(channels, std::move(values), epsilon, std::move(label),
                                 std::move(optimizer).value_or(nullptr));
}

template <class Class>
std::shared_ptr<Class> make_group(std::int64_t channels, std::int64_t groups,
                                  const OptionalArray& gamma, const OptionalArray& beta,
                                  double epsilon, std::string label,
                                  std::optional<std::shared_ptr<Optimizer>> optimizer) {
  const std::string title = "GroupNormalizationDataSource \"" + label + "\": ";
  NormalizationValues values = {.gamma = vector_of(title, "gamma", channels, gamma),
                                .beta = vector_of(title, "beta", channels, beta)};
  return std::make_shared<Class>(channels, groups, std::move(values), epsilon, std::move(label),
                                 std::move(optimizer).value_or(nullptr));
}

void bind_image_normalizations(py::module_& m) {
  py::class_<InstanceNormalizationDataSource, NormalizationDataSource,
             OwnDataSource<InstanceNormalizationDataSource>, py::smart_holder>(
      m, "InstanceNormalizationDataSource",
      R"(Parameters of an instance normalisation. Apple: MPSCNNInstanceNormalizationDataSource.

Args:
    number_of_feature_channels: Feature channels of the images that are normalised.
    gamma: Scale, float32 array (channels); None: 1.
    beta: Shift, float32 array (channels); None: 0.
    epsilon: Added to the variance, inside of the root. The default is Apple's, the smallest normal
        float32.
    label: Name for errors, plans and archives.
    optimizer: Updates gamma and beta where the node is trained; None: they stay.

Raises:
    InvalidArgumentError: A number is out of range, or an array has another shape.
    ArgumentTypeError: An array is not of float32.)")
      .def(py::init(&make_instance<InstanceNormalizationDataSource>,
                    &make_instance<OwnDataSource<InstanceNormalizationDataSource>>),
           py::arg("number_of_feature_channels"), py::kw_only(), py::arg("gamma") = py::none(),
           py::arg("beta") = py::none(), py::arg("epsilon") = kDefaultNormalizationEpsilon,
           py::arg("label") = "", py::arg("optimizer") = py::none());
  py::class_<GroupNormalizationDataSource, NormalizationDataSource,
             OwnDataSource<GroupNormalizationDataSource>, py::smart_holder>(
      m, "GroupNormalizationDataSource",
      R"(Parameters of a group normalisation. Apple: MPSCNNGroupNormalizationDataSource.

Args:
    number_of_feature_channels: Feature channels of the images that are normalised.
    number_of_groups: Groups of neighbouring channels that share their statistics; a divisor of the
        channels.
    gamma: Scale, float32 array (channels); None: 1.
    beta: Shift, float32 array (channels); None: 0.
    epsilon: Added to the variance, inside of the root. The default is Apple's, the smallest normal
        float32.
    label: Name for errors, plans and archives.
    optimizer: Updates gamma and beta where the node is trained; None: they stay.

Raises:
    InvalidArgumentError: A number is out of range, or an array has another shape.
    ArgumentTypeError: An array is not of float32.)")
      .def(py::init(&make_group<GroupNormalizationDataSource>,
                    &make_group<OwnDataSource<GroupNormalizationDataSource>>),
           py::arg("number_of_feature_channels"), py::arg("number_of_groups"), py::kw_only(),
           py::arg("gamma") = py::none(), py::arg("beta") = py::none(),
           py::arg("epsilon") = kDefaultNormalizationEpsilon, py::arg("label") = "",
           py::arg("optimizer") = py::none())
      .def_property_readonly("number_of_groups", &GroupNormalizationDataSource::number_of_groups,
                             "Groups of channels that share their statistics.");
}

void bind_dropout_state(py::module_& m) {
  py::class_<DropoutState, DataSource, py::smart_holder>(
      m, "DropoutState",
      R"(How many masks a dropout has made on each device; each run makes the next one.

Every DropoutNode has one of its own unless it is given another's, whose masks it then shares.
`Device.read_parameter(state, "steps")` gives the count as (count % 2²⁰, count // 2²⁰).

Args:
    label: Name for errors, plans and archives.)")
      .def(py::init<std::string>(), py::arg("label") = "");
}

}  // namespace

void bind_normalization_data_sources(py::module_& m) {
  py::class_<NormalizationDataSource, DataSource, py::smart_holder>(
      m, "NormalizationDataSource",
      "Base of the normalisations' data sources: a scale gamma and a shift beta for each channel.")
      .def_property_readonly("number_of_feature_channels",
                             &NormalizationDataSource::number_of_feature_channels,
                             "Feature channels of the images that are normalised.")
      .def_property_readonly("epsilon", &NormalizationDataSource::epsilon,
                             "Added to the variance, inside of the root.");
  py::class_<BatchNormalizationDataSource, NormalizationDataSource,
             OwnDataSource<BatchNormalizationDataSource>, py::smart_holder>(
      m, "BatchNormalizationDataSource",
      R"(Parameters of a batch normalisation. Apple: MPSCNNBatchNormalizationDataSource.

gamma and beta are updated by the optimizer; the running mean and variance move on where a graph
trains: average = momentum · average + (1 - momentum) · of the batch, the variance being the batch's
own (divided by the count). `Device.read_parameter` reads all four.

Args:
    number_of_feature_channels: Feature channels of the images that are normalised.
    gamma: Scale, float32 array (channels); None: 1.
    beta: Shift, float32 array (channels); None: 0.
    mean: Running mean, float32 array (channels); None: 0.
    variance: Running variance, float32 array (channels); None: 1.
    epsilon: Added to the variance, inside of the root. The default is Apple's, the smallest normal
        float32; most nets are trained with 1e-5 or 1e-3.
    momentum: Share of the running statistics that one step keeps (PyTorch names the rest: its 0.1
        is 0.9 here).
    label: Name for errors, plans and archives.
    optimizer: Updates gamma and beta where the node is trained; None: they stay.

Raises:
    InvalidArgumentError: A number is out of range, or an array has another shape.
    ArgumentTypeError: An array is not of float32.)")
      .def(py::init(&make_batch<BatchNormalizationDataSource>,
                    &make_batch<OwnDataSource<BatchNormalizationDataSource>>),
           py::arg("number_of_feature_channels"), py::kw_only(), py::arg("gamma") = py::none(),
           py::arg("beta") = py::none(), py::arg("mean") = py::none(),
           py::arg("variance") = py::none(), py::arg("epsilon") = kDefaultNormalizationEpsilon,
           py::arg("momentum") = 0.9, py::arg("label") = "", py::arg("optimizer") = py::none())
      .def_property_readonly("momentum", &BatchNormalizationDataSource::momentum,
                             "Share of the running statistics that one step keeps.");
  bind_image_normalizations(m);
  bind_dropout_state(m);
}

}  // namespace mpsnn::bindings
