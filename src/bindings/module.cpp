// SPDX-License-Identifier: MIT
// The native module mpsnn._core: the public C++ API, as it is, in Python.
#include <string>

#include <pybind11/pybind11.h>

#include "bindings/bindings.h"
#include "mpsnn/version.h"

PYBIND11_MODULE(_core, m, pybind11::mod_gil_used()) {
  using namespace mpsnn::bindings;  // NOLINT: this function is the module
  m.doc() = "The native part of mpsnn: the public C++ API in Python.";
  m.attr("__version__") = std::string(mpsnn::version());
  bind_errors(m);
  bind_types(m);
  bind_random(m);
  bind_paddings(m);
  bind_optimizers(m);
  bind_data_sources(m);
  bind_normalization_data_sources(m);
  bind_nodes(m);
  bind_node_table(m);
  bind_device(m);
  bind_images(m);
  bind_buffers_and_events(m);
  bind_matrices(m);
  bind_matrix_copy(m);
  bind_command_buffers(m);
  bind_loss_labels(m);
  bind_kernels(m);
  bind_recurrent_descriptors(m);
  bind_recurrent_layers(m);
  bind_graph(m);
  bind_coder(m);
  bind_archive(m);
  bind_traces(m);
  bind_libraries(m);
}
