// SPDX-License-Identifier: MIT
// How random numbers are distributed.
#include "mpsnn/random.h"

#include <pybind11/native_enum.h>
#include <pybind11/pybind11.h>

#include "bindings/bindings.h"

namespace mpsnn::bindings {
namespace {

using Descriptor = MatrixRandomDistributionDescriptor;

void bind_factories(py::class_<Descriptor>& cls) {
  cls.def_static("default_distribution", &Descriptor::default_distribution,
                 R"(All 2^32 words of uint32; [0, 1) of floating-point numbers.

Returns:
    The descriptor.)")
      .def_static("uniform", &Descriptor::uniform, py::arg("minimum"), py::arg("maximum"),
                  R"(A uniform distribution, whose mean and standard deviation are set, too.

Args:
    minimum: The smallest number.
    maximum: Above all numbers.

Returns:
    The descriptor.)")
      .def_static("normal", &Descriptor::normal, py::arg("mean"), py::arg("standard_deviation"),
                  R"(A normal distribution, with infinite bounds.

Args:
    mean: Of the numbers.
    standard_deviation: Of the numbers; 0: all are the mean.

Returns:
    The descriptor.)")
      .def_static("truncated_normal", &Descriptor::truncated_normal, py::arg("mean"),
                  py::arg("standard_deviation"), py::arg("minimum"), py::arg("maximum"),
                  R"(The normal distribution of what lies between two bounds.

Args:
    mean: Before it is truncated.
    standard_deviation: Before it is truncated.
    minimum: Lower bound; minus infinity: none.
    maximum: Upper bound, included; infinity: none.

Returns:
    The descriptor.)");
}

}  // namespace

void bind_random(py::module_& m) {
  py::native_enum<MatrixRandomDistribution>(
      m, "MatrixRandomDistribution", "enum.IntEnum",
      "How random numbers are distributed. Apple: MPSMatrixRandomDistribution.")
      .value("DEFAULT", MatrixRandomDistribution::DEFAULT)
      .value("UNIFORM", MatrixRandomDistribution::UNIFORM)
      .value("NORMAL", MatrixRandomDistribution::NORMAL)
      .finalize();
  const Descriptor d;
  py::class_<Descriptor> cls(
      m, "MatrixRandomDistributionDescriptor",
      R"(How random numbers are distributed. Apple: MPSMatrixRandomDistributionDescriptor.

Values are checked where a kernel is made of it.

Args:
    distribution_type: The kind. A normal distribution with finite bounds is truncated.
    minimum: Lower bound.
    maximum: Upper bound.
    mean: Of the normal distribution.
    standard_deviation: Of the normal distribution.)");
  cls.def(py::init([](MatrixRandomDistribution distribution_type, double minimum, double maximum,
                      double mean, double standard_deviation) {
            return Descriptor{distribution_type, minimum, maximum, mean, standard_deviation};
          }),
          py::arg("distribution_type") = d.distribution_type, py::arg("minimum") = d.minimum,
          py::arg("maximum") = d.maximum, py::arg("mean") = d.mean,
          py::arg("standard_deviation") = d.standard_deviation)
      .def_readwrite("distribution_type", &Descriptor::distribution_type)
      .def_readwrite("minimum", &Descriptor::minimum)
      .def_readwrite("maximum", &Descriptor::maximum)
      .def_readwrite("mean", &Descriptor::mean)
      .def_readwrite("standard_deviation", &Descriptor::standard_deviation)
      .def(
          "__eq__", [](const Descriptor& a, const Descriptor& b) { return a == b; },
          py::is_operator())
      .def("__repr__", [](const Descriptor& one) {
        return py::str("MatrixRandomDistributionDescriptor({!s}, {}, {}, {}, {})")
            .format(py::cast(one.distribution_type), one.minimum, one.maximum, one.mean,
                    one.standard_deviation);
      });
  bind_factories(cls);
}

}  // namespace mpsnn::bindings
