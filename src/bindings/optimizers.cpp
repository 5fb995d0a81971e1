// SPDX-License-Identifier: MIT
// Optimizers.
#include <memory>
#include <optional>
#include <string>

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bindings/bindings.h"
#include "bindings/casters.h"
#include "bindings/operands.h"
#include "mpsnn/data_source.h"

namespace mpsnn::bindings {
namespace {

void bind_optimizer_descriptor(py::module_& m) {
  const OptimizerDescriptor d;
  py::class_<OptimizerDescriptor>(
      m, "OptimizerDescriptor",
      R"(What all optimizers share. Gradients are clipped, then rescaled, then regularised.
Apple: MPSNNOptimizerDescriptor.

Args:
    learning_rate: Length of a step.
    gradient_rescale: Gradients are multiplied by it.
    apply_gradient_clipping: Clip gradients to [`gradient_clip_min`, `gradient_clip_max`].
    gradient_clip_max: Highest gradient.
    gradient_clip_min: Lowest gradient.
    regularization_type: L1 adds scale · sign(v) to the gradient, L2 adds scale · v.
    regularization_scale: The scale.)")
      .def(py::init([](double learning_rate, double gradient_rescale, bool apply_gradient_clipping,
                       double gradient_clip_max, double gradient_clip_min,
                       RegularizationType regularization_type, double regularization_scale) {
             return OptimizerDescriptor{
                 learning_rate,     gradient_rescale,    apply_gradient_clipping, gradient_clip_max,
                 gradient_clip_min, regularization_type, regularization_scale};
           }),
           py::arg("learning_rate") = d.learning_rate, py::kw_only(),
           py::arg("gradient_rescale") = d.gradient_rescale,
           py::arg("apply_gradient_clipping") = d.apply_gradient_clipping,
           py::arg("gradient_clip_max") = d.gradient_clip_max,
           py::arg("gradient_clip_min") = d.gradient_clip_min,
           py::arg("regularization_type") = d.regularization_type,
           py::arg("regularization_scale") = d.regularization_scale)
      .def_readwrite("learning_rate", &OptimizerDescriptor::learning_rate)
      .def_readwrite("gradient_rescale", &OptimizerDescriptor::gradient_rescale)
      .def_readwrite("apply_gradient_clipping", &OptimizerDescriptor::apply_gradient_clipping)
      .def_readwrite("gradient_clip_max", &OptimizerDescriptor::gradient_clip_max)
      .def_readwrite("gradient_clip_min", &OptimizerDescriptor::gradient_clip_min)
      .def_readwrite("regularization_type", &OptimizerDescriptor::regularization_type)
      .def_readwrite("regularization_scale", &OptimizerDescriptor::regularization_scale);
}

void bind_optimizer_base(py::module_& m) {
  py::class_<Optimizer, std::shared_ptr<Optimizer>>(
      m, "Optimizer",
      R"(Base of the optimizers, which are attached to data sources. Apple: MPSNNOptimizer.

One optimizer may serve many data sources: moments and time step belong to each data source's state
on a device.)")
      .def_property("learning_rate", &Optimizer::learning_rate, &Optimizer::set_learning_rate,
                    "Length of a step; read at each encode. Must be finite and not negative.")
      .def_property_readonly("descriptor", &Optimizer::descriptor,
                             "What all optimizers share (a copy).", py::return_value_policy::copy)
      .def_property_readonly("operation", &Optimizer::operation,
                             "The operation that updates a parameter.")
      .def_property_readonly("moments", &Optimizer::moments,
                             "Names of the moment vectors kept beside each parameter.")
      .def_property_readonly("attributes", &Optimizer::attributes, "Every parameter by name.");
}

using Sgd = OptimizerStochasticGradientDescent;
using Operand = OperandObject;
using OptionalOperand = std::optional<OperandObject>;

void bind_encode(py::class_<Sgd, Optimizer, std::shared_ptr<Sgd>>& cls) {
  cls.def(
      "encode",
      [](const Sgd& optimizer, CommandBuffer& commands, const Operand& gradient,
         const Operand& values, const Operand& result, const OptionalOperand& momentum) {
        const KernelOperand g = operand_of(gradient), v = operand_of(values),
                            r = operand_of(result);
        if (!momentum) return optimizer.encode(commands, g, v, r);
        optimizer.encode(commands, g, v, r, operand_of(*momentum));
      },
      py::arg("commands"), py::arg("gradient"), py::arg("values"), py::arg("result"),
      py::arg("momentum") = py::none(),
      R"(Records a step on memory of one's own, as `OptimizerStochasticGradientDescentUpdate` does.

All operands have one shape; each is a Matrix, Vector, NDArray or Image of float32 or float16.

Args:
    commands: Where it is recorded.
    gradient: g.
    values: v.
    result: v after the step; may be `values`.
    momentum: m, zeros at first, changed where it is; needed where `momentum_scale` is not 0.

Raises:
    InvalidArgumentError: Shapes that differ, a momentum that is missing.
    ArgumentTypeError: An operand of another element type.)");
}

void bind_encode(py::class_<OptimizerAdam, Optimizer, std::shared_ptr<OptimizerAdam>>& cls) {
  cls.def(
      "encode",
      [](const OptimizerAdam& optimizer, CommandBuffer& commands, const Operand& gradient,
         const Operand& values, const Operand& result, const Operand& momentum,
         const Operand& velocity, const OptionalOperand& maximum_velocity) {
        const KernelOperand g = operand_of(gradient), v = operand_of(values),
                            r = operand_of(result), m = operand_of(momentum),
                            u = operand_of(velocity);
        if (!maximum_velocity) return optimizer.encode(commands, g, v, r, m, u);
        optimizer.encode(commands, g, v, r, m, u, operand_of(*maximum_velocity));
      },
      py::arg("commands"), py::arg("gradient"), py::arg("values"), py::arg("result"),
      py::arg("momentum"), py::arg("velocity"), py::arg("maximum_velocity") = py::none(),
      R"(Records a step on memory of one's own, as `OptimizerAdamUpdate` does.

All operands have one shape; each is a Matrix, Vector, NDArray or Image of float32 or float16. Steps of
all these encodes on a device are counted together, from `time_step` on and apart from those of data
sources: use an optimizer for each array.

Args:
    commands: Where it is recorded.
    gradient: g.
    values: v.
    result: v after the step; may be `values`.
    momentum: m, zeros at first, changed where it is.
    velocity: u, alike.
    maximum_velocity: û, alike; for AMSGrad and only there.

Raises:
    InvalidArgumentError: Shapes that differ, a maximum velocity that does not go with `use_amsgrad`.
    ArgumentTypeError: An operand of another element type.)");
}

void bind_encode(py::class_<OptimizerRMSProp, Optimizer, std::shared_ptr<OptimizerRMSProp>>& cls) {
  cls.def(
      "encode",
      [](const OptimizerRMSProp& optimizer, CommandBuffer& commands, const Operand& gradient,
         const Operand& values, const Operand& result, const Operand& sum_of_squares) {
        optimizer.encode(commands, operand_of(gradient), operand_of(values), operand_of(result),
                         operand_of(sum_of_squares));
      },
      py::arg("commands"), py::arg("gradient"), py::arg("values"), py::arg("result"),
      py::arg("sum_of_squares"),
      R"(Records a step on memory of one's own, as `OptimizerRMSPropUpdate` does.

All operands have one shape; each is a Matrix, Vector, NDArray or Image of float32 or float16.

Args:
    commands: Where it is recorded.
    gradient: g.
    values: v.
    result: v after the step; may be `values`.
    sum_of_squares: s, zeros at first, changed where it is.

Raises:
    InvalidArgumentError: Shapes that differ.
    ArgumentTypeError: An operand of another element type.)");
}

}  // namespace

void bind_optimizers(py::module_& m) {
  bind_optimizer_descriptor(m);
  bind_optimizer_base(m);
  py::class_<Sgd, Optimizer, std::shared_ptr<Sgd>> sgd(
      m, "OptimizerStochasticGradientDescent",
      R"(v -= lr · g, or with momentum m = μ · m + lr · g; v -= m.

Nesterov: m = μ · m + g; v -= lr · (g + μ · m). The learning rate stands inside of the momentum, as
in Caffe. Apple: MPSNNOptimizerStochasticGradientDescent.

Args:
    learning_rate: Length of a step; or an `OptimizerDescriptor`.
    momentum_scale: μ; 0 keeps no momentum.
    use_nesterov_momentum: The second form.

Raises:
    InvalidArgumentError: A parameter is out of range.)",
      py::release_gil_before_calling_cpp_dtor());
  sgd.def(py::init<double, double, bool>(), py::arg("learning_rate") = 1e-3,
          py::arg("momentum_scale") = 0.0, py::arg("use_nesterov_momentum") = false)
      .def(py::init<OptimizerDescriptor, double, bool>(), py::arg("descriptor"),
           py::arg("momentum_scale") = 0.0, py::arg("use_nesterov_momentum") = false)
      .def_property_readonly("momentum_scale", &Sgd::momentum_scale, "μ.")
      .def_property_readonly("use_nesterov_momentum", &Sgd::use_nesterov_momentum,
                             "Whether the second form is used.");
  bind_encode(sgd);
  py::class_<OptimizerAdam, Optimizer, std::shared_ptr<OptimizerAdam>> adam(
      m, "OptimizerAdam",
      R"(t += 1; m = β1 · m + (1 - β1) · g; u = β2 · u + (1 - β2) · g²; v -= lr_t · m / (√u + ε)

with lr_t = lr · √(1 - β2^t) / (1 - β1^t). AMSGrad keeps û = max(û, u) and divides by √û + ε. Apple:
MPSNNOptimizerAdam, with maximum velocities for AMSGrad.

Args:
    learning_rate: Length of a step; or an `OptimizerDescriptor`.
    beta1: Decay of the first moment.
    beta2: Decay of the second moment.
    epsilon: Added to the root of the second moment.
    time_step: Updates counted before the first one here.
    use_amsgrad: Divide by the root of the largest second moment so far.

Raises:
    InvalidArgumentError: A parameter is out of range.)",
      py::release_gil_before_calling_cpp_dtor());
  adam.def(py::init<double, double, double, double, std::int64_t, bool>(),
           py::arg("learning_rate") = 1e-3, py::arg("beta1") = 0.9, py::arg("beta2") = 0.999,
           py::arg("epsilon") = 1e-8, py::arg("time_step") = 0, py::kw_only(),
           py::arg("use_amsgrad") = false)
      .def(py::init<OptimizerDescriptor, double, double, double, std::int64_t, bool>(),
           py::arg("descriptor"), py::arg("beta1") = 0.9, py::arg("beta2") = 0.999,
           py::arg("epsilon") = 1e-8, py::arg("time_step") = 0, py::kw_only(),
           py::arg("use_amsgrad") = false)
      .def_property_readonly("use_amsgrad", &OptimizerAdam::use_amsgrad,
                             "Whether the largest second moment is kept.")
      .def_property_readonly("beta1", &OptimizerAdam::beta1, "Decay of the first moment.")
      .def_property_readonly("beta2", &OptimizerAdam::beta2, "Decay of the second moment.")
      .def_property_readonly("epsilon", &OptimizerAdam::epsilon,
                             "Added to the second moment's root.")
      .def_property_readonly("time_step", &OptimizerAdam::time_step,
                             "Updates counted before the first one here.");
  bind_encode(adam);
  py::class_<OptimizerRMSProp, Optimizer, std::shared_ptr<OptimizerRMSProp>> rms_prop(
      m, "OptimizerRMSProp",
      R"(s = decay · s + (1 - decay) · g²; v -= lr · g / (√s + ε). Apple: MPSNNOptimizerRMSProp.

Args:
    learning_rate: Length of a step; or an `OptimizerDescriptor`.
    decay: Share of the squares' average that one step keeps.
    epsilon: Added to its root.

Raises:
    InvalidArgumentError: A parameter is out of range.)",
      py::release_gil_before_calling_cpp_dtor());
  rms_prop
      .def(py::init<double, double, double>(), py::arg("learning_rate") = 1e-3,
           py::arg("decay") = 0.9, py::arg("epsilon") = 1e-8)
      .def(py::init<OptimizerDescriptor, double, double>(), py::arg("descriptor"),
           py::arg("decay") = 0.9, py::arg("epsilon") = 1e-8)
      .def_property_readonly("decay", &OptimizerRMSProp::decay,
                             "Share of the squares' average that one step keeps.")
      .def_property_readonly("epsilon", &OptimizerRMSProp::epsilon,
                             "Added to the root of the squares' average.");
  bind_encode(rms_prop);
}

}  // namespace mpsnn::bindings
