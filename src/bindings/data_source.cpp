// SPDX-License-Identifier: MIT
// Data sources.
#include "mpsnn/data_source.h"

#include <cstring>
#include <variant>

#include <pybind11/stl.h>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/casters.h"
#include "bindings/own_data_source.h"

namespace mpsnn::bindings {
namespace {

void bind_neuron_descriptor(py::module_& m) {
  py::class_<NeuronDescriptor>(m, "NeuronDescriptor",
                               R"(A neuron with its parameters. Apple: MPSNNNeuronDescriptor.

Args:
    type: The neuron's kind.
    a: First parameter; the kind says what it means.
    b: Second parameter.
    c: Third parameter.)")
      .def(py::init([](NeuronType type, float a, float b, float c) {
             return NeuronDescriptor{type, a, b, c};
           }),
           py::arg("type") = NeuronType::NONE, py::arg("a") = 0.0F, py::arg("b") = 0.0F,
           py::arg("c") = 0.0F)
      .def_readwrite("type", &NeuronDescriptor::type)
      .def_readwrite("a", &NeuronDescriptor::a)
      .def_readwrite("b", &NeuronDescriptor::b)
      .def_readwrite("c", &NeuronDescriptor::c)
      .def(
          "__eq__", [](const NeuronDescriptor& a, const NeuronDescriptor& b) { return a == b; },
          py::is_operator());
}

void bind_convolution_descriptor(py::module_& m) {
  using Descriptor = ConvolutionDescriptor;
  py::class_<Descriptor>(m, "ConvolutionDescriptor",
                         R"(Geometry of a convolution. Apple: MPSCNNConvolutionDescriptor.

Args:
    kernel_width: Width of the window.
    kernel_height: Height of the window.
    input_feature_channels: Channels of the source.
    output_feature_channels: Channels of the result.
    stride_in_pixels_x: Columns from one window to the next.
    stride_in_pixels_y: Rows from one window to the next.
    groups: Groups of channels; both channel counts must be multiples of it.
    dilation_rate_x: Columns from one weight of the window to the next.
    dilation_rate_y: Rows from one weight of the window to the next.
    fused_neuron_descriptor: Applied to the result; not for training, where a neuron node is used.)")
      .def(py::init([](std::int64_t kernel_width, std::int64_t kernel_height, std::int64_t inputs,
                       std::int64_t outputs, std::int64_t stride_x, std::int64_t stride_y,
                       std::int64_t groups, std::int64_t dilation_x, std::int64_t dilation_y,
                       const std::optional<NeuronDescriptor>& neuron) {
             return Descriptor{kernel_width,
                               kernel_height,
                               inputs,
                               outputs,
                               stride_x,
                               stride_y,
                               groups,
                               dilation_x,
                               dilation_y,
                               neuron.value_or(NeuronDescriptor{}),
                               1};
           }),
           py::arg("kernel_width"), py::arg("kernel_height"), py::arg("input_feature_channels"),
           py::arg("output_feature_channels"), py::kw_only(), py::arg("stride_in_pixels_x") = 1,
           py::arg("stride_in_pixels_y") = 1, py::arg("groups") = 1, py::arg("dilation_rate_x") = 1,
           py::arg("dilation_rate_y") = 1, py::arg("fused_neuron_descriptor") = py::none())
      .def_readwrite("kernel_width", &Descriptor::kernel_width)
      .def_readwrite("kernel_height", &Descriptor::kernel_height)
      .def_readwrite("input_feature_channels", &Descriptor::input_feature_channels)
      .def_readwrite("output_feature_channels", &Descriptor::output_feature_channels)
      .def_readwrite("stride_in_pixels_x", &Descriptor::stride_in_pixels_x)
      .def_readwrite("stride_in_pixels_y", &Descriptor::stride_in_pixels_y)
      .def_readwrite("groups", &Descriptor::groups)
      .def_readwrite("dilation_rate_x", &Descriptor::dilation_rate_x)
      .def_readwrite("dilation_rate_y", &Descriptor::dilation_rate_y)
      .def_readwrite("fused_neuron_descriptor", &Descriptor::fused_neuron_descriptor)
      .def_readwrite("sub_pixel_scale_factor", &Descriptor::sub_pixel_scale_factor)
      .def_property_readonly(
          "weight_shape",
          [](const Descriptor& d) {
            return std::make_tuple(
                d.output_feature_channels, d.kernel_height, d.kernel_width,
                d.groups > 0 ? d.input_feature_channels / d.groups : std::int64_t{0});
          },
          "Shape of the weights, OHWI.")
      .def(
          "__eq__", [](const Descriptor& a, const Descriptor& b) { return a == b; },
          py::is_operator());
}

void bind_depth_wise_descriptor(py::module_& m) {
  using Descriptor = DepthWiseConvolutionDescriptor;
  py::class_<Descriptor, ConvolutionDescriptor>(
      m, "DepthWiseConvolutionDescriptor",
      R"(A convolution of each channel by itself. Apple: MPSCNNDepthWiseConvolutionDescriptor.

Weights have the shape (outputs, height, width, 1); each input channel makes channel_multiplier result
channels, one after the other (Apple's multiplier is 1). Strides, dilation and neuron are set as attributes.

Args:
    kernel_width: Width of the window.
    kernel_height: Height of the window.
    input_feature_channels: Channels of the source, and number of groups.
    output_feature_channels: Channels of the result, a multiple of the source's.)")
      .def(py::init<std::int64_t, std::int64_t, std::int64_t, std::int64_t>(),
           py::arg("kernel_width"), py::arg("kernel_height"), py::arg("input_feature_channels"),
           py::arg("output_feature_channels"))
      .def_property_readonly(
          "channel_multiplier",
          [](const Descriptor& d) {
            return d.input_feature_channels > 0 ? d.channel_multiplier() : std::int64_t{0};
          },
          "Result channels for each input channel.");
}

void bind_sub_pixel_descriptor(py::module_& m) {
  py::class_<SubPixelConvolutionDescriptor, ConvolutionDescriptor>(
      m, "SubPixelConvolutionDescriptor",
      R"(A convolution that enlarges. Apple: MPSCNNSubPixelConvolutionDescriptor.

With r the scale factor and N output channels: result[y, x, c] =
convolved[y // r, x // r, (N // r**2) * (r * (y % r) + x % r) + c], r times as wide and high with N / r**2
channels. Strides, dilation and neuron are set as attributes.

Args:
    kernel_width: Width of the window.
    kernel_height: Height of the window.
    input_feature_channels: Channels of the source.
    output_feature_channels: Channels of the convolution, a multiple of sub_pixel_scale_factor squared.
    sub_pixel_scale_factor: Rows and columns of the result for each of the convolution.)")
      .def(py::init<std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t>(),
           py::arg("kernel_width"), py::arg("kernel_height"), py::arg("input_feature_channels"),
           py::arg("output_feature_channels"), py::arg("sub_pixel_scale_factor"));
}

std::vector<std::int64_t> shape_of(const DataSource& source, std::string_view parameter) {
  for (const ParameterInfo& info : source.parameters()) {
    if (info.name == parameter) return info.shape;
  }
  return {};
}

FloatArray initial_array(const DataSource& source, const std::string& parameter) {
  return shaped(source.initial(parameter), shape_of(source, parameter));
}

void check_shape(const py::array& array, const std::vector<std::int64_t>& shape,
                 const std::string& what) {
  if (std::vector<std::int64_t>(array.shape(), array.shape() + array.ndim()) == shape) return;
  throw InvalidArgumentError(what + ": expected shape " +
                             std::string(py::str(py::tuple(py::cast(shape)))) + ", got " +
                             shape_text(array));
}

/// The values of an array whose shape must be the parameter's.
std::vector<float> checked_values(py::handle object, const std::vector<std::int64_t>& shape,
                                  const std::string& what) {
  const FloatArray array = float_array(object, what);
  check_shape(array, shape, what);
  return values_of(array);
}

template <class T>
std::vector<T> elements_of(const py::array& array) {
  const auto* const first = static_cast<const T*>(array.data());
  return {first, first + array.size()};
}

/// Weights in the element type of their array.
ConvolutionWeights checked_weights(py::handle object, const std::vector<std::int64_t>& shape,
                                   const std::string& what) {
  constexpr DataType kTypes[] = {DataType::FLOAT32, DataType::FLOAT16, DataType::UINT8};
  const auto [array, type] = typed_array(object, kTypes, what);
  check_shape(array, shape, what);
  ConvolutionWeights weights;
  if (type == DataType::FLOAT16) {
    weights.values = elements_of<std::uint16_t>(array);
  } else if (type == DataType::UINT8) {
    weights.values = elements_of<std::uint8_t>(array);
  } else {
    weights.values = elements_of<float>(array);
  }
  return weights;
}

/// Weights as they were given: a new array.
ImageArray stored_array(const ConvolutionDataSource& source) {
  const ConvolutionWeights& weights = source.stored_weights();
  py::array array(dtype_of(weights.data_type()), shape_of(source, "weights"));
  std::visit(
      [&](const auto& values) {
        std::memcpy(array.mutable_data(), values.data(),
                    values.size() * size_of(weights.data_type()));
      },
      weights.values);
  return ImageArray(std::move(array));
}

using DataSourceClass = py::class_<DataSource, py::smart_holder>;

void bind_loading(DataSourceClass& source) {
  source
      .def(
          "load", [](const DataSource& self) { return self.DataSource::load(); },
          R"(Called before values are read, by a graph that is made or reloaded.

`purge` follows in any case where this returned True. To be overridden.

Returns:
    True; False, or an exception, makes what asked fail with a StateError that names the data source.)")
      .def(
          "purge", [](const DataSource& self) { self.DataSource::purge(); },
          "Called once for each `load` that returned True, after the values were read.")
      .def(
          "values",
          [](const DataSource& self, const std::string& parameter) {
            return initial_array(self, parameter);
          },
          py::arg("parameter"), R"(The values of a parameter, asked for between `load` and `purge`.

To be overridden.

Args:
    parameter: "weights", "bias".

Returns:
    A float32 array of the parameter's shape; here the initial values.)");
}

struct ArraysHint {
  static constexpr auto name =
      py::detail::const_name("dict[str, numpy.typing.NDArray[numpy.float32]]");
};
using Arrays = Hinted<ArraysHint>;
using Images = py::typing::Dict<py::str, Image>;

void bind_updates(DataSourceClass& source) {
  source
      .def(
          "update_with_gradient_state",
          [](const DataSource& /*self*/, const Arrays& /*gradient_state*/,
             const Arrays& /*source_state*/) -> std::optional<Arrays> { return std::nullopt; },
          py::arg("gradient_state"), py::arg("source_state"),
          R"(The update of nodes with the training style UPDATE_DEVICE_CPU.

To be overridden; it is then used in the place of the optimizer. Called on the queue's thread in the
turn of the encode. Apple: updateWithGradientState:.

Args:
    gradient_state: Gradients by parameter, of all nodes of the graph added up.
    source_state: The values that they were computed with.

Returns:
    New values by parameter, seen by all later work; those left out stay. None: no change. An
    exception is the command buffer's failure.)")
      .def(
          "update_with_command_buffer",
          [](const DataSource& /*self*/, const CommandBuffer& /*commands*/,
             const Images& /*gradient_state*/,
             const Images& /*source_state*/) -> std::optional<Images> { return std::nullopt; },
          py::arg("commands"), py::arg("gradient_state"), py::arg("source_state"),
          R"(The update of nodes with the training style UPDATE_DEVICE_GPU.

To be overridden; it is then used in the place of the optimizer. Called by the encode, after the
gradients were recorded; records what makes the new values, which are copied when their turn comes.
Apple: updateWithCommandBuffer:.

Args:
    commands: The command buffer.
    gradient_state: Images of the gradients by parameter, with ones before their extents up to four.
    source_state: The weights themselves, to be read by what is recorded here only.

Returns:
    Images of the new values by parameter; those left out stay. None: no change.)");
}

void bind_data_source_base(py::module_& m) {
  py::class_<DataSource, py::smart_holder> cls(m, "DataSource",
                                               R"(Where weights come from and where they live.

A data source has state on each device that uses it (weights, optimizer moments, time step): every
graph on that device that holds the same data source sees the same weights, the latest at each
encode.

One of one's own derives from the class that a node wants (`ConvolutionDataSource`, …) and overrides
what it does otherwise: where values come from (`load`, `values`, `purge`) and how they are updated
(`update_with_gradient_state`, `update_with_command_buffer`). These may be called from any thread.)");
  cls.def_property("label", &DataSource::label, &DataSource::set_label,
                   "Name for errors, plans and archives.")
      .def_property(
          "optimizer",
          [](const DataSource& source) -> py::typing::Optional<Optimizer> {
            return py::cast(source.optimizer());
          },
          [](DataSource& source, std::optional<std::shared_ptr<Optimizer>> optimizer) {
            source.set_optimizer(std::move(optimizer).value_or(nullptr));
          },
          "Updates the weights; None: they are never updated. Moments start at zero.")
      .def_property("trainable", &DataSource::trainable, &DataSource::set_trainable,
                    "False: frozen; no gradient is computed even where an optimizer is set.")
      .def_property_readonly("is_updated", &DataSource::is_updated,
                             "True where gradients are wanted: trainable and an optimizer is set.")
      .def_property_readonly("class_name", &DataSource::class_name,
                             "Name of the class in archives.")
      .def_property_readonly("attributes", &DataSource::attributes,
                             "The descriptor's fields by name.")
      .def_property_readonly(
          "parameters",
          [](const DataSource& source) {
            py::typing::Dict<py::str, py::typing::Tuple<py::int_, py::ellipsis>> shapes;
            for (const ParameterInfo& info : source.parameters()) {
              shapes[py::str(info.name)] = py::tuple(py::cast(info.shape));
            }
            return shapes;
          },
          "Shapes of its arrays by name.")
      .def("initial", &initial_array, py::arg("parameter"),
           R"(The values that a device starts from; `Device.read_parameter` has the latest ones.

Args:
    parameter: "weights", "bias".

Returns:
    A new array.

Raises:
    InvalidArgumentError: There is no such parameter.)")
      .def(
          "set_initial",
          [](DataSource& source, const std::string& parameter, const ArrayObject& values) {
            source.initial(parameter);  // throws for a name that there is not
            const std::string what = source.label() + ": " + parameter;
            source.set_initial(parameter,
                               checked_values(values, shape_of(source, parameter), what));
          },
          py::arg("parameter"), py::arg("values"),
          R"(Replaces the values that new devices start from (others: `Device.write_parameter`).

Args:
    parameter: "weights", "bias".
    values: Array of float32 of the parameter's shape.

Raises:
    InvalidArgumentError: There is no such parameter, or the shape is another.
    ArgumentTypeError: The array is not of float32.)")
      .def("__repr__", &shown<DataSource>);
  bind_loading(cls);
  bind_updates(cls);
}

/// `Class` is the class itself, or the one for classes that derive from it in Python.
template <class Class>
std::shared_ptr<Class> make_convolution(ConvolutionDescriptor descriptor,
                                        const std::optional<ArrayObject>& weights,
                                        const std::optional<ArrayObject>& bias_terms,
                                        std::string label,
                                        std::optional<std::shared_ptr<Optimizer>> optimizer,
                                        bool has_bias, const std::optional<ArrayObject>& ranges,
                                        const std::optional<ArrayObject>& lookup_table) {
  const std::string name = "ConvolutionDataSource \"" + label + "\": ";
  if (descriptor.groups < 1 || descriptor.input_feature_channels % descriptor.groups != 0) {
    // No shape fits: the constructor says what is wrong with the descriptor.
    return std::make_shared<Class>(descriptor, std::vector<float>(), std::nullopt, label);
  }
  if (!weights) {
    if constexpr (std::is_same_v<Class, ConvolutionDataSource>)
      throw InvalidArgumentError(name +
                                 "weights: expected an array, or a class that overrides "
                                 "values, got None");
    return std::make_shared<Class>(descriptor, has_bias, std::move(label),
                                   std::move(optimizer).value_or(nullptr));
  }
  ConvolutionWeights values = checked_weights(
      *weights,
      {descriptor.output_feature_channels, descriptor.kernel_height, descriptor.kernel_width,
       descriptor.input_feature_channels / descriptor.groups},
      name + "weights");
  if (ranges) {
    values.ranges =
        checked_values(*ranges, {descriptor.output_feature_channels, 2}, name + "ranges");
  }
  if (lookup_table)
    values.lookup_table = checked_values(*lookup_table, {256}, name + "lookup_table");
  std::optional<std::vector<float>> bias;
  if (bias_terms) {
    bias = checked_values(*bias_terms, {descriptor.output_feature_channels}, name + "bias_terms");
  }
  return std::make_shared<Class>(descriptor, std::move(values), std::move(bias), std::move(label),
                                 std::move(optimizer).value_or(nullptr));
}

}  // namespace

std::vector<float> given_weights(const ConvolutionDataSource& source, py::handle weights,
                                 const std::optional<py::object>& ranges,
                                 const std::optional<py::object>& lookup_table) {
  const auto array = [](const std::optional<py::object>& object) {
    return object && !object->is_none() ? std::optional(ArrayObject(*object)) : std::nullopt;
  };
  // A data source that holds them checks them and widens them.
  return make_convolution<ConvolutionDataSource>(
             source.descriptor(), array(py::reinterpret_borrow<py::object>(weights)), std::nullopt,
             source.label(), std::nullopt, false, array(ranges), array(lookup_table))
      ->initial("weights");
}

namespace {

void bind_convolution_data_source(py::module_& m) {
  using Own = OwnDataSource<ConvolutionDataSource>;
  py::class_<ConvolutionDataSource, DataSource, Own, py::smart_holder>(
      m, "ConvolutionDataSource",
      R"(Weights of a convolution. Apple: MPSCNNConvolutionDataSource.

Args:
    descriptor: The convolution's geometry.
    weights: Array OHWI: (out, kernel height, kernel width, in / groups), of float32, float16 or
        uint8. Copied and kept as it is; kernels compute in float32. None: the class overrides
        `values`, which gives "weights" (of these types, too; of uint8 together with a method
        `ranges_for_uint8_kernel` or `lookup_table_for_uint8_kernel` that gives what `ranges` or
        `lookup_table` is) and, with has_bias, "bias".
    bias_terms: float32 array (out); None: no bias. Copied.
    label: Name for errors, plans and archives.
    optimizer: Updates the weights where the node is trained; None: they stay. Weights of float16
        and uint8 are trained in float32 from the numbers that they stand for, and archives keep
        them as float32 from the first update on.
    has_bias: Whether there is a bias, where weights is None.
    ranges: float32 array (out, 2), a minimum and a maximum for each output channel, for weights of
        uint8: u stands for u / 255 * (maximum - minimum) + minimum. Apple: rangesForUInt8Kernel.
    lookup_table: float32 array (256), in the place of ranges: u stands for its element u.
        Apple: lookupTableForUInt8Kernel.

Raises:
    InvalidArgumentError: A shape does not fit the descriptor, or the descriptor is impossible;
        weights of uint8 with neither ranges nor lookup_table, or with both; either of them with
        other weights; a maximum below its minimum; numbers in them that are not finite.
    ArgumentTypeError: An array is of another element type.)")
      .def(py::init(&make_convolution<ConvolutionDataSource>, &make_convolution<Own>),
           py::arg("descriptor"), py::arg("weights"), py::arg("bias_terms") = py::none(),
           py::arg("label") = "", py::arg("optimizer") = py::none(), py::kw_only(),
           py::arg("has_bias") = false, py::arg("ranges") = py::none(),
           py::arg("lookup_table") = py::none())
      .def_property_readonly("descriptor", &ConvolutionDataSource::descriptor,
                             "The convolution's geometry (a copy).", py::return_value_policy::copy)
      .def_property_readonly("has_bias", &ConvolutionDataSource::has_bias,
                             "Whether there is a bias.")
      .def_property_readonly(
          "weights", &stored_array,
          "Initial weights, a new array OHWI in the element type that they were given in.")
      .def_property_readonly(
          "data_type",
          [](const ConvolutionDataSource& source) { return source.stored_weights().data_type(); },
          "Element type of the initial weights: float32, float16 or uint8.")
      .def_property_readonly(
          "weights_quantization_type",
          [](const ConvolutionDataSource& source) {
            return source.stored_weights().quantization_type();
          },
          "What explains weights of uint8; NONE for others.")
      .def_property_readonly(
          "ranges",
          [](const ConvolutionDataSource& source) -> std::optional<FloatArray> {
            const std::vector<float>& ranges = source.stored_weights().ranges;
            if (ranges.empty()) return std::nullopt;
            return shaped(ranges, {source.descriptor().output_feature_channels, 2});
          },
          "Minimum and maximum of each output channel, a new array (out, 2), or None.")
      .def_property_readonly(
          "lookup_table",
          [](const ConvolutionDataSource& source) -> std::optional<FloatArray> {
            const std::vector<float>& table = source.stored_weights().lookup_table;
            if (table.empty()) return std::nullopt;
            return shaped(table, {static_cast<std::int64_t>(table.size())});
          },
          "The numbers that uint8 stands for, a new array (256), or None.")
      .def_property_readonly(
          "bias_terms",
          [](const ConvolutionDataSource& source) -> std::optional<FloatArray> {
            if (!source.has_bias()) return std::nullopt;
            return initial_array(source, "bias");
          },
          "Initial bias, a new array (out), or None.");
}

}  // namespace

void bind_data_sources(py::module_& m) {
  bind_neuron_descriptor(m);
  bind_convolution_descriptor(m);
  bind_depth_wise_descriptor(m);
  bind_sub_pixel_descriptor(m);
  bind_data_source_base(m);
  bind_convolution_data_source(m);
}

}  // namespace mpsnn::bindings
