// SPDX-License-Identifier: MIT
// The attributes of operations, and how kernels read them. The planner resolves everything: what
// stands here is what a kernel finds in KernelQuery::attributes, always present, of this type.
//
//   convolution, convolution_data_gradient, convolution_weights_gradient
//     kernel_height kernel_width stride_y stride_x dilation_y dilation_x groups   int, >= 1
//     pad_top pad_left  int, may be negative: row p of the result reads source rows
//                       p * stride_y - pad_top + i * dilation_y, i in [0, kernel_height)
//     edge_mode         int, ImageEdgeMode: ZERO or CLAMP (a position outside reads the nearest
//     pixel)
//   convolution only: the fused neuron
//     neuron_type       int, NeuronType: any but PRELU
//     neuron_a neuron_b neuron_c  float
//   neuron, neuron_gradient
//     neuron_type       int, NeuronType: any but NONE
//     neuron_a neuron_b neuron_c  float
//     neuron_parameters floats, one a feature channel for PRELU, empty otherwise
//     from_result       bool, neuron_gradient only: operand 1 is the neuron's result, not its
//     source
//   pooling_max, pooling_max_gradient
//     kernel_height kernel_width stride_y stride_x dilation_y dilation_x pad_top pad_left
//     edge_mode, as above;
//     edge_mode CLAMP: the window shrinks to the image; ZERO: zeros take part. A window that lies
//     wholly outside gives 0 and takes no gradient. The first of equal maxima, in row order, gets
//     the gradient; a zero from outside of the image that is the maximum swallows it.
//   pooling_average, pooling_average_gradient
//     kernel_height kernel_width stride_y stride_x dilation_y dilation_x (both 1) pad_top pad_left
//     edge_mode         ZERO: divided by the window's area; CLAMP: by the positions that lie in the
//                       image or in the border of zeros around it
//     zero_pad_y zero_pad_x  int, >= 0: that border's rows and columns on each side
//   pooling_l2_norm, pooling_l2_norm_gradient
//     the window as pooling_average's; outside of the image are zeros. The gradient of a norm that
//     is 0 is 0.
//   upsampling_nearest, upsampling_bilinear and their gradients
//     scale_y scale_x   int, >= 1
//     align_corners     bool, bilinear only
//   addition
//     primary_scale secondary_scale bias minimum_value maximum_value   float
//     Operands are images, or arrays of any rank with equal dims (gradients of one parameter).
//   addition_gradient
//     scale             float: the result is scale * gradient, summed over broadcast dimensions
//   multiplication, division: as addition
//   multiplication_gradient, division_gradient
//     scale             float: primary_scale * secondary_scale, or primary_scale / secondary_scale
//     is_secondary      bool, division_gradient only: the gradient is the secondary source's
//   comparison
//     comparison_type   int, ComparisonType
//     threshold         float: EQUAL and NOT_EQUAL take values as equal up to this difference
//   broadcast
//     scale             float
//   extremum, extremum_gradient
//     axis              int: 1 along the rows' direction (y), 2 along the columns' (x), 3 channels
//     takes_maximum     bool: the largest value, else the smallest; NaN is both
//     takes_index       bool, extremum only: the index of the first such value along the axis
//   padding, padding_gradient
//     before_y before_x before_channel  int: rows, columns and channels put before the source's;
//                       negative: cut. The result's size says what stands behind.
//     edge_mode         int, ImageEdgeMode: what margins hold
//     fill_value        float, for CONSTANT
//   resampling, resampling_gradient
//     filter            int: 0 bilinear, 1 Lanczos
//     scale_y scale_x translate_y translate_x  float: result = source * scale + translate, in
//                       coordinates where pixel p is centred at p + 0.5
//   sub_pixel
//     factor            int, >= 1: result[y, x, c] = source[y / f, x / f, (y % f * f + x % f) * C +
//     c] is_inverse        bool: the other way round, for gradients
//   transposed_weights
//     groups            int; (O, H, W, I / groups) -> (I, H, W, O / groups), turned by half a turn
//   channel_affine
//     scales biases     floats, one a channel (the last dimension); empty: 1 and 0
//     binarization      int: 0 none, 1 x < 0 ? -1 : 1, 2 x < 0 ? 0 : 1, 3 x > 0 ? 1 : -1,
//                       4 x > 0 ? 1 : 0
//   slice
//     channel_offset    int: first channel read; the result's channels say how many
//   normalization, normalization_sums, normalization_gradient
//     epsilon           float, added to the variance
//     Statistics have dims (C) or, one set an image, (N, channels or groups). Channel c belongs to
//     group c / (C / groups).
//   normalization only: neuron_type neuron_a neuron_b neuron_c, as a convolution's
//   moving_average
//     momentum          float: average = momentum * average + (1 - momentum) * value
//   spatial_normalization, local_contrast_normalization and their gradients
//     kernel_height kernel_width  int, >= 1; the window of pixel p is [p - kernel / 2, p + (kernel
//     -
//                                 1) / 2], zeros outside of the image
//     alpha beta delta            float
//   local_contrast_normalization and its gradient only: p0 pm ps  float
//   cross_channel_normalization and its gradient
//     kernel_size                 int, >= 1: channels of the window
//     alpha beta delta            float
//   dropout
//     keep_probability            float, above 0, below 1
//     seed                        int, >= 0
//     mask_stride_y mask_stride_x mask_stride_channel   int, 0 or 1; 0: one mask value for all
//   gram_matrix, gram_matrix_gradient
//     alpha                       float
//   softmax, softmax_gradient
//     logarithm         bool: the logarithm of the softmax
//   loss, loss_gradient
//     loss_type reduction_type number_of_classes   int
//     weight label_smoothing epsilon delta         float
//     reduce_across_batch  bool: the loss of all images in image 0, zeros in the others; a kernel
//                          that cannot do it refuses the case
//     is_labels_gradient   bool, loss_gradient only
//     The gradient operand of loss_gradient has the predictions' size or is (N, 1, 1, 1).
//   yolo_loss
//     anchor_boxes      floats, width and height of each anchor
//     xy_loss_type wh_loss_type  int, LossType: MEAN_ABSOLUTE_ERROR, MEAN_SQUARED_ERROR or HUBER
//     classes_loss_type  int, LossType: SOFT_MAX_CROSS_ENTROPY or SIGMOID_CROSS_ENTROPY
//     reduction_type     int, ReductionType: SUM or MEAN
//     delta scale_xy scale_wh scale_no_object scale_object scale_class weight  float
//     minimum_iou_for_object_presence maximum_iou_for_object_absence           float
//     rescore computes_loss  bool
//   fill
//     value             float
//   image_filter
//     kernel_height kernel_width  int; the source is larger than the result by these less 1
//     weights           floats, kernel_height * kernel_width, row by row
//     bias              float
//   grid_sample
//     is_absolute       bool: the grid holds positions (x, y), else what is added to the pixel's
//     own edge_mode         int, ImageEdgeMode: ZERO or CLAMP
//   local_correlation
//     window_y window_x           int, >= 0: neighbours on each side
//     stride_y stride_x           int, >= 1: pixels from one neighbour to the next; the secondary
//                                 image has window * stride more pixels on each side
//   single_gate, lstm_…, gru_… and their gradients: operands are (1, rows, channels), the gates
//                       (1, rows, gates * channels)
//     neurons           floats: type, a, b, c of each neuron of the operation, gates in their
//     order;
//                       lstm_output: output gate, then memory to output
//   gru_output and its gradient only
//     p                 float, above 0
//     flips             bool: exchanges candidate and previous output
//   recurrent_sequence  a whole sequence of equal steps: inputs and outputs (1, steps * rows,
//                       channels), weights with a gate's rows after the other's
//     is_gru            bool: gates z, r, output; else an LSTM's input, forget, cell, output
//     steps             int, above 0
//     backward          bool: from the last step to the first
//   gate_sums
//     accumulates       bool: the sums are added to the result
//   optimizer_…         the optimizer's attributes(); learning_rate is taken from scalars[0]
//   random_philox, random_mtgp32
//     distribution_type  int, MatrixRandomDistribution: NORMAL with finite minimum and maximum is
//                        truncated
//     minimum maximum mean standard_deviation  float, of float32's values; infinite bounds: none
//     seed               uint, which the state was made from
//   matrix_multiplication
//     alpha beta                  float; input 2 is the result where beta is not 0
//   matrix_neuron, matrix_neuron_gradient: neuron_type neuron_a neuron_b neuron_c
//     neuron_parameters, as neuron's
//     alpha             float
//     factor            float, matrix_neuron_gradient only
//   matrix_sum
//     start_index       int, >= 0: of the first source in scales and offsets (row, column)
//   top_k
//     index_offset      int, >= 0, added to the indices
//   matrix_copy
//     copy_rows copy_columns      int, >= 1: rows and columns of the part, before it is transposed
//     source_is_transposed destination_is_transposed  bool
//     source_row source_column result_row result_column  int, >= 0, where no offsets are given
//     offset_index      int, >= 0: which four of the offsets
//   cholesky_decomposition
//     lower             bool
//   triangular_solve
//     right upper transpose unit  bool
//   apply_pivots
//     backwards         bool: interchanges are taken back
//   concatenation, parameter_layout, normalization_statistics, count_step: none
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "mpsnn/types.h"

namespace mpsnn {

/// Value of an attribute that must be there. Throw InternalError when it is absent or of another
/// type.
bool get_bool(const AttributeMap& attributes, std::string_view name);
std::int64_t get_int(const AttributeMap& attributes, std::string_view name);
std::uint64_t get_uint(const AttributeMap& attributes, std::string_view name);
double get_float(const AttributeMap& attributes, std::string_view name);
const std::vector<double>& get_floats(const AttributeMap& attributes, std::string_view name);

}  // namespace mpsnn
