// SPDX-License-Identifier: MIT
#include "graph/cost.h"

#include <algorithm>

#include "base/attributes.h"

namespace mpsnn::graph {
namespace {

std::uint64_t count_of(const Plan& plan, ValueId id) {
  return id == kNoValue ? 0 : static_cast<std::uint64_t>(plan.values[id].desc.count());
}

/// A multiplication and an addition for each tap: the weights, seen once a position of the image of
/// the result's size (the gradient's, in backward operations), over the number of result channels.
std::uint64_t convolution_flops(const Plan& plan, const Operation& operation) {
  const bool forward = operation.op == OpId::convolution;
  const bool weights_gradient = operation.op == OpId::convolution_weights_gradient;
  const ValueId weights = weights_gradient ? operation.outputs[0] : operation.inputs[1];
  const ImageSize image =
      plan.values[forward ? operation.outputs[0] : operation.inputs[0]].desc.image();
  return 2 * count_of(plan, weights) *
         static_cast<std::uint64_t>(image.n * image.height * image.width);
}

/// Additions that a window of channels, or a separable one of pixels, takes for each value.
std::uint64_t window_sums(const Operation& operation) {
  const AttributeMap& a = operation.attributes;
  const bool of_channels = a.contains("kernel_size");
  return static_cast<std::uint64_t>(of_channels
                                        ? get_int(a, "kernel_size")
                                        : get_int(a, "kernel_height") + get_int(a, "kernel_width"));
}

std::uint64_t smallest_extent(const Plan& plan, ValueId matrix) {
  const auto& dims = plan.values[matrix].desc.dims;
  return static_cast<std::uint64_t>(std::min(dims[dims.size() - 2], dims.back()));
}

/// Of operations that no node but kernels encoded by themselves have; 0: what only moves data.
std::uint64_t flops_of_kernel(const Plan& plan, const Operation& operation) {
  const std::uint64_t written =
      operation.outputs.empty() ? 0 : count_of(plan, operation.outputs[0]);
  switch (operation.op) {
    case OpId::matrix_multiplication:
      return 2 * written *
             static_cast<std::uint64_t>(plan.values[operation.inputs[0]].desc.dims.back());
    case OpId::random_philox:
    case OpId::random_mtgp32:
      return 20 * written;
    case OpId::image_filter:
      return 2 * written *
             static_cast<std::uint64_t>(get_int(operation.attributes, "kernel_height") *
                                        get_int(operation.attributes, "kernel_width"));
    case OpId::grid_sample:
      return 8 * written;
    case OpId::local_correlation:
      return 2 * written *
             static_cast<std::uint64_t>(plan.values[operation.inputs[0]].desc.dims.back());
    case OpId::matrix_neuron:
      return 4 * written;
    case OpId::matrix_neuron_gradient:
      return 5 * written;
    case OpId::matrix_sum:
      return 2 * written * (operation.inputs.size() - 2);
    case OpId::column_sums:
    case OpId::top_k:
    case OpId::gather_gradient:
      return count_of(plan, operation.inputs[0]);
    case OpId::lu_decomposition:
      return 2 * written * smallest_extent(plan, operation.outputs[0]) / 3;
    case OpId::cholesky_decomposition:
      return written * smallest_extent(plan, operation.outputs[0]) / 3;
    case OpId::triangular_solve:
      return written *
             static_cast<std::uint64_t>(plan.values[operation.inputs[0]].desc.dims.back());
    case OpId::single_gate:
    case OpId::single_gate_gradient:
      return 10 * written;  // a neuron is about 8
    case OpId::lstm_memory:
    case OpId::gru_gates:
      return 30 * written;
    case OpId::lstm_output:
    case OpId::gru_output:
    case OpId::lstm_output_gradient:
    case OpId::gru_output_gradient:
      return 20 * written;
    case OpId::lstm_memory_gradient:
    case OpId::gru_gates_gradient:
      return 15 * written;
    case OpId::recurrent_sequence:  // a product with the weights for each row
      return 2 * static_cast<std::uint64_t>(plan.values[operation.inputs[0]].desc.dims[1]) *
             (count_of(plan, operation.inputs[1]) + count_of(plan, operation.inputs[2]));
    case OpId::gate_sums:
      return 2 * count_of(plan, operation.inputs[0]);
    default:
      return 0;
  }
}

/// Operations on each element of output 0, or of input 0 where the operation reduces it.
std::uint64_t flops_of(const Plan& plan, const Operation& operation) {
  const std::uint64_t written =
      operation.outputs.empty() ? 0 : count_of(plan, operation.outputs[0]);
  const std::uint64_t read = operation.inputs.empty() ? 0 : count_of(plan, operation.inputs[0]);
  switch (operation.op) {
    case OpId::convolution:
    case OpId::convolution_data_gradient:
    case OpId::convolution_weights_gradient:
      return convolution_flops(plan, operation);
    case OpId::neuron:  // compare, multiply
    case OpId::neuron_gradient:
    case OpId::extremum_gradient:
    case OpId::dropout:
      return 2 * written;
    case OpId::pooling_max:
    case OpId::pooling_average:
    case OpId::pooling_l2_norm:
      return written * static_cast<std::uint64_t>(get_int(operation.attributes, "kernel_height") *
                                                  get_int(operation.attributes, "kernel_width"));
    case OpId::pooling_max_gradient:
    case OpId::upsampling_nearest_gradient:
    case OpId::padding_gradient:
    case OpId::extremum:
      return read;
    case OpId::pooling_average_gradient:
    case OpId::pooling_l2_norm_gradient:
      return 4 * written;
    case OpId::upsampling_nearest:
      return 0;
    case OpId::upsampling_bilinear:
      return 7 * written;  // four products, three sums
    case OpId::upsampling_bilinear_gradient:
      return 8 * read;
    case OpId::addition:
    case OpId::multiplication:
    case OpId::division:
    case OpId::channel_affine:
    case OpId::normalization:
    case OpId::moving_average:
      return 3 * written;
    case OpId::addition_gradient:
    case OpId::multiplication_gradient:
    case OpId::division_gradient:
      return 2 * read;
    case OpId::comparison:
    case OpId::broadcast:
      return written;
    case OpId::resampling:
      return 7 * written;
    case OpId::resampling_gradient:
      return 8 * read;
    case OpId::normalization_statistics:
      return 3 * read;
    case OpId::normalization_sums:
      return 4 * read;
    case OpId::normalization_gradient:
      return 5 * written;
    case OpId::spatial_normalization:
    case OpId::local_contrast_normalization:
    case OpId::cross_channel_normalization:
      return written * (20 + window_sums(operation));
    case OpId::spatial_normalization_gradient:
    case OpId::local_contrast_normalization_gradient:
    case OpId::cross_channel_normalization_gradient:
      return written * (30 + 2 * window_sums(operation));
    case OpId::gram_matrix:
      return 2 * read *
             static_cast<std::uint64_t>(plan.values[operation.inputs[0]].desc.dims.back());
    case OpId::gram_matrix_gradient:
      return 2 * written *
             static_cast<std::uint64_t>(plan.values[operation.outputs[0]].desc.dims.back());
    case OpId::softmax:
      return 12 * written;  // an exponential is about 8
    case OpId::softmax_gradient:
      return 4 * written;
    case OpId::loss:
      return 4 * read;
    case OpId::yolo_loss:
      return 10 * read;
    case OpId::loss_gradient:
      return 4 * written;
    case OpId::optimizer_stochastic_gradient_descent:
      return 4 * written;
    case OpId::optimizer_adam:
      return 12 * written;
    case OpId::optimizer_rms_prop:
      return 8 * written;
    default:
      return flops_of_kernel(plan, operation);
  }
}

}  // namespace

void estimate_costs(Plan& plan) {
  for (Operation& operation : plan.operations) {
    operation.flops = flops_of(plan, operation);
    operation.bytes = 0;
    for (const std::vector<ValueId>* operands : {&operation.inputs, &operation.outputs}) {
      for (const ValueId id : *operands) {
        if (id != kNoValue) operation.bytes += plan.values[id].desc.bytes();
      }
    }
  }
}

}  // namespace mpsnn::graph
