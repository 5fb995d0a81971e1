// SPDX-License-Identifier: MIT
// The two functions of each kernel row; kernels.cpp sets them in order, ops/<family>.cpp defines
// them.
#pragma once

#include <memory>

#include "backend/backend.h"

#define MPSNN_CPU_ROW(name)            \
  Fit fits_##name(const KernelQuery&); \
  std::shared_ptr<Kernel> prepare_##name(const KernelQuery&)

namespace mpsnn::backend::cpu {

#if defined(MPSNN_WITH_ONEDNN)
MPSNN_CPU_ROW(convolution_winograd);
MPSNN_CPU_ROW(convolution_data_gradient_winograd);
MPSNN_CPU_ROW(parameter_layout_winograd);
MPSNN_CPU_ROW(convolution_data_gradient_matmul);
MPSNN_CPU_ROW(convolution_weights_gradient_matmul);
MPSNN_CPU_ROW(convolution_onednn);
MPSNN_CPU_ROW(convolution_data_gradient_onednn);
MPSNN_CPU_ROW(convolution_weights_gradient_onednn);
MPSNN_CPU_ROW(parameter_layout_onednn);
MPSNN_CPU_ROW(matrix_multiplication_onednn);
MPSNN_CPU_ROW(matrix_multiplication_onednn_bytes);
MPSNN_CPU_ROW(recurrent_sequence_onednn);
#endif
MPSNN_CPU_ROW(matrix_multiplication_vector);
MPSNN_CPU_ROW(matrix_multiplication_plain);
MPSNN_CPU_ROW(matrix_multiplication_integer);
MPSNN_CPU_ROW(matrix_neuron_integer);
MPSNN_CPU_ROW(matrix_neuron_plain);
MPSNN_CPU_ROW(matrix_neuron_gradient_plain);
MPSNN_CPU_ROW(column_sums_plain);
MPSNN_CPU_ROW(matrix_sum_plain);
MPSNN_CPU_ROW(transpose_plain);
MPSNN_CPU_ROW(top_k_plain);
MPSNN_CPU_ROW(matrix_copy_plain);
MPSNN_CPU_ROW(lu_decomposition_lapack);
MPSNN_CPU_ROW(cholesky_decomposition_lapack);
MPSNN_CPU_ROW(triangular_solve_lapack);
MPSNN_CPU_ROW(apply_pivots_plain);
MPSNN_CPU_ROW(gather_plain);
MPSNN_CPU_ROW(gather_gradient_plain);
MPSNN_CPU_ROW(fill_strided);
MPSNN_CPU_ROW(copy_plain);
MPSNN_CPU_ROW(single_gate_plain);
MPSNN_CPU_ROW(single_gate_gradient_plain);
MPSNN_CPU_ROW(lstm_memory_plain);
MPSNN_CPU_ROW(lstm_memory_gradient_plain);
MPSNN_CPU_ROW(lstm_output_plain);
MPSNN_CPU_ROW(lstm_output_gradient_plain);
MPSNN_CPU_ROW(gru_gates_plain);
MPSNN_CPU_ROW(gru_gates_gradient_plain);
MPSNN_CPU_ROW(gru_output_plain);
MPSNN_CPU_ROW(gru_output_gradient_plain);
MPSNN_CPU_ROW(gate_sums_plain);
MPSNN_CPU_ROW(convolution_few_outputs);
MPSNN_CPU_ROW(convolution_vector);
MPSNN_CPU_ROW(convolution_narrow_depthwise);
MPSNN_CPU_ROW(convolution_plain);
MPSNN_CPU_ROW(convolution_data_gradient_narrow_depthwise);
MPSNN_CPU_ROW(convolution_data_gradient_plain);
MPSNN_CPU_ROW(convolution_weights_gradient_direct);
MPSNN_CPU_ROW(convolution_weights_gradient_plain);
MPSNN_CPU_ROW(parameter_layout_plain);
MPSNN_CPU_ROW(neuron_plain);
MPSNN_CPU_ROW(neuron_gradient_plain);
MPSNN_CPU_ROW(pooling_max_plain);
MPSNN_CPU_ROW(pooling_max_gradient_2x2);
MPSNN_CPU_ROW(pooling_max_gradient_plain);
MPSNN_CPU_ROW(pooling_average_global);
MPSNN_CPU_ROW(pooling_average_plain);
MPSNN_CPU_ROW(pooling_average_gradient_plain);
MPSNN_CPU_ROW(pooling_l2_norm_plain);
MPSNN_CPU_ROW(pooling_l2_norm_gradient_plain);
MPSNN_CPU_ROW(upsampling_nearest_plain);
MPSNN_CPU_ROW(upsampling_nearest_gradient_plain);
MPSNN_CPU_ROW(upsampling_bilinear_plain);
MPSNN_CPU_ROW(upsampling_bilinear_gradient_plain);
MPSNN_CPU_ROW(addition_plain);
MPSNN_CPU_ROW(addition_gradient_plain);
MPSNN_CPU_ROW(multiplication_plain);
MPSNN_CPU_ROW(multiplication_gradient_plain);
MPSNN_CPU_ROW(division_plain);
MPSNN_CPU_ROW(division_gradient_plain);
MPSNN_CPU_ROW(comparison_plain);
MPSNN_CPU_ROW(broadcast_plain);
MPSNN_CPU_ROW(extremum_plain);
MPSNN_CPU_ROW(extremum_gradient_plain);
MPSNN_CPU_ROW(padding_plain);
MPSNN_CPU_ROW(padding_gradient_plain);
MPSNN_CPU_ROW(reshape_plain);
MPSNN_CPU_ROW(resampling_plain);
MPSNN_CPU_ROW(resampling_gradient_plain);
MPSNN_CPU_ROW(sub_pixel_plain);
MPSNN_CPU_ROW(transposed_weights_plain);
MPSNN_CPU_ROW(channel_affine_plain);
MPSNN_CPU_ROW(concatenation_plain);
MPSNN_CPU_ROW(slice_plain);
MPSNN_CPU_ROW(normalization_statistics_plain);
MPSNN_CPU_ROW(normalization_plain);
MPSNN_CPU_ROW(normalization_sums_plain);
MPSNN_CPU_ROW(normalization_gradient_plain);
MPSNN_CPU_ROW(moving_average_plain);
MPSNN_CPU_ROW(spatial_normalization_plain);
MPSNN_CPU_ROW(spatial_normalization_gradient_plain);
MPSNN_CPU_ROW(local_contrast_normalization_plain);
MPSNN_CPU_ROW(local_contrast_normalization_gradient_plain);
MPSNN_CPU_ROW(cross_channel_normalization_plain);
MPSNN_CPU_ROW(cross_channel_normalization_gradient_plain);
MPSNN_CPU_ROW(dropout_plain);
MPSNN_CPU_ROW(count_step_plain);
MPSNN_CPU_ROW(gram_matrix_plain);
MPSNN_CPU_ROW(gram_matrix_gradient_plain);
MPSNN_CPU_ROW(softmax_plain);
MPSNN_CPU_ROW(softmax_gradient_plain);
MPSNN_CPU_ROW(loss_plain);
MPSNN_CPU_ROW(loss_gradient_plain);
MPSNN_CPU_ROW(yolo_loss_plain);
MPSNN_CPU_ROW(fill_plain);
MPSNN_CPU_ROW(random_philox_plain);
MPSNN_CPU_ROW(random_mtgp32_plain);
MPSNN_CPU_ROW(image_filter_plain);
MPSNN_CPU_ROW(grid_sample_plain);
MPSNN_CPU_ROW(local_correlation_plain);
MPSNN_CPU_ROW(optimizer_stochastic_gradient_descent_plain);
MPSNN_CPU_ROW(optimizer_adam_plain);
MPSNN_CPU_ROW(optimizer_rms_prop_plain);

}  // namespace mpsnn::backend::cpu

#undef MPSNN_CPU_ROW
