// SPDX-License-Identifier: MIT
// Which kernel runs: the first row of an operation that fits the case. A row's reason for a no is
// told to the user where none fits.
#include "backend/cpu/kernels.h"

#include "backend/cpu/ops/float16.h"
#include "backend/cpu/ops/rows.h"
#include "backend/cpu/parallel.h"

namespace mpsnn::backend::cpu {
namespace {

/// A kernel of a device that may not use all threads.
class LimitedKernel final : public Kernel {
 public:
  LimitedKernel(std::shared_ptr<const Kernel> kernel, int threads)
      : kernel_(std::move(kernel)), threads_(threads) {
    row = kernel_->row;
    scratch_bytes = kernel_->scratch_bytes;
    input_layouts = kernel_->input_layouts;
  }
  void run(const KernelArgs& args) const override {
    const ThreadLimit limit(threads_);
    kernel_->run(args);
  }

 private:
  std::shared_ptr<const Kernel> kernel_;
  int threads_;
};

using Prepare = std::shared_ptr<Kernel>(const KernelQuery&);

std::shared_ptr<Kernel> prepare_limited(const KernelQuery& query, Prepare* prepare,
                                        std::string_view row) {
  const ThreadLimit limit(query.threads == 0 ? all_threads() : query.threads);
  std::shared_ptr<Kernel> kernel = prepare(query);
  if (query.threads == 0) return kernel;
  if (kernel->row.empty()) kernel->row = row;
  return std::make_shared<LimitedKernel>(std::move(kernel), query.threads);
}

#define ROW(op, variant, functions)                                            \
  {OpId::op, #op "/" variant, fits_##functions, [](const KernelQuery& query) { \
     return prepare_limited(query, prepare_##functions, #op "/" variant);      \
   }}

constexpr KernelRow kRows[] = {
    // oneDNN fills registers with output channels; these two do not need many.
    ROW(convolution, "few_outputs", convolution_few_outputs),
    ROW(convolution, "narrow_depthwise", convolution_narrow_depthwise),
#if defined(MPSNN_WITH_LAPACK)
    ROW(convolution, "vector", convolution_vector),
#endif
#if defined(MPSNN_WITH_ONEDNN)
    ROW(convolution, "winograd", convolution_winograd),
    ROW(convolution, "onednn", convolution_onednn),
#endif
    ROW(convolution, "plain", convolution_plain),
    ROW(convolution_data_gradient, "narrow_depthwise", convolution_data_gradient_narrow_depthwise),
#if defined(MPSNN_WITH_ONEDNN)
    ROW(convolution_data_gradient, "matmul", convolution_data_gradient_matmul),
    ROW(convolution_data_gradient, "winograd", convolution_data_gradient_winograd),
    ROW(convolution_data_gradient, "onednn", convolution_data_gradient_onednn),
#endif
    ROW(convolution_data_gradient, "plain", convolution_data_gradient_plain),
#if defined(MPSNN_WITH_ONEDNN)
    ROW(convolution_weights_gradient, "matmul", convolution_weights_gradient_matmul),
#endif
    ROW(convolution_weights_gradient, "direct", convolution_weights_gradient_direct),
#if defined(MPSNN_WITH_ONEDNN)
    ROW(convolution_weights_gradient, "onednn", convolution_weights_gradient_onednn),
#endif
    ROW(convolution_weights_gradient, "plain", convolution_weights_gradient_plain),
#if defined(MPSNN_WITH_ONEDNN)
    ROW(parameter_layout, "winograd", parameter_layout_winograd),
    ROW(parameter_layout, "onednn",
        parameter_layout_onednn),  // each makes the layouts of its own kernels
#endif
    ROW(parameter_layout, "plain", parameter_layout_plain),
    ROW(neuron, "plain", neuron_plain),
    ROW(neuron_gradient, "plain", neuron_gradient_plain),
    ROW(pooling_max, "plain", pooling_max_plain),
    ROW(pooling_max_gradient, "2x2", pooling_max_gradient_2x2),
    ROW(pooling_max_gradient, "plain", pooling_max_gradient_plain),
    ROW(pooling_average, "global", pooling_average_global),
    ROW(pooling_average, "plain", pooling_average_plain),
    ROW(pooling_average_gradient, "plain", pooling_average_gradient_plain),
    ROW(pooling_l2_norm, "plain", pooling_l2_norm_plain),
    ROW(pooling_l2_norm_gradient, "plain", pooling_l2_norm_gradient_plain),
    ROW(upsampling_nearest, "plain", upsampling_nearest_plain),
    ROW(upsampling_nearest_gradient, "plain", upsampling_nearest_gradient_plain),
    ROW(upsampling_bilinear, "plain", upsampling_bilinear_plain),
    ROW(upsampling_bilinear_gradient, "plain", upsampling_bilinear_gradient_plain),
    ROW(addition, "plain", addition_plain),
    ROW(addition_gradient, "plain", addition_gradient_plain),
    ROW(multiplication, "plain", multiplication_plain),
    ROW(multiplication_gradient, "plain", multiplication_gradient_plain),
    ROW(division, "plain", division_plain),
    ROW(division_gradient, "plain", division_gradient_plain),
    ROW(comparison, "plain", comparison_plain),
    ROW(broadcast, "plain", broadcast_plain),
    ROW(extremum, "plain", extremum_plain),
    ROW(extremum_gradient, "plain", extremum_gradient_plain),
    ROW(padding, "plain", padding_plain),
    ROW(padding_gradient, "plain", padding_gradient_plain),
    ROW(reshape, "plain", reshape_plain),
    ROW(resampling, "plain", resampling_plain),
    ROW(resampling_gradient, "plain", resampling_gradient_plain),
    ROW(sub_pixel, "plain", sub_pixel_plain),
    ROW(transposed_weights, "plain", transposed_weights_plain),
    ROW(channel_affine, "plain", channel_affine_plain),
    ROW(concatenation, "plain", concatenation_plain),
    ROW(slice, "plain", slice_plain),
    ROW(normalization_statistics, "plain", normalization_statistics_plain),
    ROW(normalization, "plain", normalization_plain),
    ROW(normalization_sums, "plain", normalization_sums_plain),
    ROW(normalization_gradient, "plain", normalization_gradient_plain),
    ROW(moving_average, "plain", moving_average_plain),
    ROW(spatial_normalization, "plain", spatial_normalization_plain),
    ROW(spatial_normalization_gradient, "plain", spatial_normalization_gradient_plain),
    ROW(local_contrast_normalization, "plain", local_contrast_normalization_plain),
    ROW(local_contrast_normalization_gradient, "plain",
        local_contrast_normalization_gradient_plain),
    ROW(cross_channel_normalization, "plain", cross_channel_normalization_plain),
    ROW(cross_channel_normalization_gradient, "plain", cross_channel_normalization_gradient_plain),
    ROW(dropout, "plain", dropout_plain),
    ROW(count_step, "plain", count_step_plain),
    ROW(gram_matrix, "plain", gram_matrix_plain),
    ROW(gram_matrix_gradient, "plain", gram_matrix_gradient_plain),
    ROW(softmax, "plain", softmax_plain),
    ROW(softmax_gradient, "plain", softmax_gradient_plain),
    ROW(loss, "plain", loss_plain),
    ROW(loss_gradient, "plain", loss_gradient_plain),
    ROW(yolo_loss, "plain", yolo_loss_plain),
    ROW(fill, "plain", fill_plain),
    ROW(fill, "strided", fill_strided),
    ROW(optimizer_stochastic_gradient_descent, "plain",
        optimizer_stochastic_gradient_descent_plain),
    ROW(optimizer_adam, "plain", optimizer_adam_plain),
    ROW(optimizer_rms_prop, "plain", optimizer_rms_prop_plain),
    ROW(random_philox, "plain", random_philox_plain),
    ROW(random_mtgp32, "plain", random_mtgp32_plain),
    ROW(copy, "plain", copy_plain),
    ROW(image_filter, "plain", image_filter_plain),
    ROW(grid_sample, "plain", grid_sample_plain),
    ROW(local_correlation, "plain", local_correlation_plain),
    ROW(single_gate, "plain", single_gate_plain),
    ROW(single_gate_gradient, "plain", single_gate_gradient_plain),
    ROW(lstm_memory, "plain", lstm_memory_plain),
    ROW(lstm_memory_gradient, "plain", lstm_memory_gradient_plain),
    ROW(lstm_output, "plain", lstm_output_plain),
    ROW(lstm_output_gradient, "plain", lstm_output_gradient_plain),
    ROW(gru_gates, "plain", gru_gates_plain),
    ROW(gru_gates_gradient, "plain", gru_gates_gradient_plain),
    ROW(gru_output, "plain", gru_output_plain),
    ROW(gru_output_gradient, "plain", gru_output_gradient_plain),
    ROW(gate_sums, "plain", gate_sums_plain),
    ROW(matrix_multiplication, "vector", matrix_multiplication_vector),
#if defined(MPSNN_WITH_ONEDNN)
    ROW(recurrent_sequence, "onednn", recurrent_sequence_onednn),
    ROW(matrix_multiplication, "onednn", matrix_multiplication_onednn),
    ROW(matrix_multiplication, "onednn_bytes", matrix_multiplication_onednn_bytes),
#endif
    ROW(matrix_multiplication, "plain", matrix_multiplication_plain),
    ROW(matrix_multiplication, "integer", matrix_multiplication_integer),
    ROW(matrix_neuron, "integer", matrix_neuron_integer),
    ROW(matrix_neuron, "plain", matrix_neuron_plain),
    ROW(matrix_neuron_gradient, "plain", matrix_neuron_gradient_plain),
    ROW(column_sums, "plain", column_sums_plain),
    ROW(matrix_sum, "plain", matrix_sum_plain),
    ROW(transpose, "plain", transpose_plain),
    ROW(top_k, "plain", top_k_plain),
    ROW(matrix_copy, "plain", matrix_copy_plain),
    ROW(lu_decomposition, "lapack", lu_decomposition_lapack),
    ROW(cholesky_decomposition, "lapack", cholesky_decomposition_lapack),
    ROW(triangular_solve, "lapack", triangular_solve_lapack),
    ROW(apply_pivots, "plain", apply_pivots_plain),
    ROW(gather, "plain", gather_plain),
    ROW(gather_gradient, "plain", gather_gradient_plain),
// Each operation's last one.
#define MPSNN_OP(name, doc) ROW(name, "float16", float16),
#include "base/ops.def"
#undef MPSNN_OP
};

#undef ROW

}  // namespace

std::span<const KernelRow> kernel_rows() noexcept { return kRows; }

}  // namespace mpsnn::backend::cpu
