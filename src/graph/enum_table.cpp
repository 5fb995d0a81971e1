// SPDX-License-Identifier: MIT
// The enumerations of mpsnn/types.h as data, for bindings, error texts and reference pages.
#include <string>

#include "graph/node_table.h"
#include "mpsnn/data_source.h"
#include "mpsnn/rnn_descriptor.h"

namespace mpsnn::graph {
namespace {

#define MPSNN_ENUMERATOR(type, name) \
  EnumClass::Enumerator { #name, static_cast<std::int64_t>(type::name) }

EnumClass neuron_type() {
  using T = NeuronType;
  return {"NeuronType",
          "MPSCNNNeuronType",
          "Neuron (activation) kinds",
          {MPSNN_ENUMERATOR(T, NONE), MPSNN_ENUMERATOR(T, RELU), MPSNN_ENUMERATOR(T, LINEAR),
           MPSNN_ENUMERATOR(T, SIGMOID), MPSNN_ENUMERATOR(T, HARD_SIGMOID),
           MPSNN_ENUMERATOR(T, TANH), MPSNN_ENUMERATOR(T, ABSOLUTE), MPSNN_ENUMERATOR(T, SOFT_PLUS),
           MPSNN_ENUMERATOR(T, SOFT_SIGN), MPSNN_ENUMERATOR(T, ELU), MPSNN_ENUMERATOR(T, PRELU),
           MPSNN_ENUMERATOR(T, RELUN), MPSNN_ENUMERATOR(T, POWER), MPSNN_ENUMERATOR(T, EXPONENTIAL),
           MPSNN_ENUMERATOR(T, LOGARITHM), MPSNN_ENUMERATOR(T, GELU)}};
}

EnumClass image_edge_mode() {
  using T = ImageEdgeMode;
  return {"ImageEdgeMode",
          "MPSImageEdgeMode",
          "What a kernel reads outside of its source image",
          {MPSNN_ENUMERATOR(T, ZERO), MPSNN_ENUMERATOR(T, CLAMP), MPSNN_ENUMERATOR(T, MIRROR),
           MPSNN_ENUMERATOR(T, MIRROR_WITH_EDGE), MPSNN_ENUMERATOR(T, CONSTANT)}};
}

EnumClass data_layout() {
  using T = DataLayout;
  return {"DataLayout",
          "MPSDataLayout",
          "Order of an image's values outside of images",
          {MPSNN_ENUMERATOR(T, HWC), MPSNN_ENUMERATOR(T, CHW)}};
}

EnumClass alpha_type() {
  using T = AlphaType;
  return {"AlphaType",
          "MPSAlphaType",
          "What the last channel of an image says about its colours",
          {MPSNN_ENUMERATOR(T, NON_PREMULTIPLIED), MPSNN_ENUMERATOR(T, ALPHA_IS_ONE),
           MPSNN_ENUMERATOR(T, PREMULTIPLIED)}};
}

EnumClass comparison_type() {
  using T = ComparisonType;
  return {"ComparisonType",
          "MPSNNComparisonType",
          "How two values are compared",
          {MPSNN_ENUMERATOR(T, EQUAL), MPSNN_ENUMERATOR(T, NOT_EQUAL), MPSNN_ENUMERATOR(T, LESS),
           MPSNN_ENUMERATOR(T, LESS_OR_EQUAL), MPSNN_ENUMERATOR(T, GREATER),
           MPSNN_ENUMERATOR(T, GREATER_OR_EQUAL)}};
}

EnumClass binary_convolution_type() {
  using T = BinaryConvolutionType;
  return {
      "BinaryConvolutionType",
      "MPSCNNBinaryConvolutionType",
      "What a binary convolution makes binary",
      {MPSNN_ENUMERATOR(T, BINARY_WEIGHTS), MPSNN_ENUMERATOR(T, XNOR), MPSNN_ENUMERATOR(T, AND)}};
}

EnumClass loss_type() {
  using T = LossType;
  return {"LossType",
          "MPSCNNLossType",
          "Loss kinds",
          {MPSNN_ENUMERATOR(T, MEAN_ABSOLUTE_ERROR), MPSNN_ENUMERATOR(T, MEAN_SQUARED_ERROR),
           MPSNN_ENUMERATOR(T, SOFT_MAX_CROSS_ENTROPY), MPSNN_ENUMERATOR(T, SIGMOID_CROSS_ENTROPY),
           MPSNN_ENUMERATOR(T, CATEGORICAL_CROSS_ENTROPY), MPSNN_ENUMERATOR(T, HINGE),
           MPSNN_ENUMERATOR(T, HUBER), MPSNN_ENUMERATOR(T, COSINE_DISTANCE),
           MPSNN_ENUMERATOR(T, LOG), MPSNN_ENUMERATOR(T, KULLBACK_LEIBLER_DIVERGENCE)}};
}

EnumClass reduction_type() {
  using T = ReductionType;
  return {"ReductionType",
          "MPSCNNReductionType",
          "How a loss image is reduced",
          {MPSNN_ENUMERATOR(T, NONE), MPSNN_ENUMERATOR(T, SUM), MPSNN_ENUMERATOR(T, MEAN),
           MPSNN_ENUMERATOR(T, SUM_BY_NON_ZERO_WEIGHTS)}};
}

EnumClass training_style() {
  using T = TrainingStyle;
  return {"TrainingStyle",
          "MPSNNTrainingStyle",
          "When weights are updated from their gradients",
          {MPSNN_ENUMERATOR(T, UPDATE_DEVICE_NONE), MPSNN_ENUMERATOR(T, UPDATE_DEVICE_CPU),
           MPSNN_ENUMERATOR(T, UPDATE_DEVICE_GPU)}};
}

EnumClass batch_normalization_flags() {
  using T = BatchNormalizationFlags;
  return {"BatchNormalizationFlags",
          "MPSCNNBatchNormalizationFlags",
          "Which statistics a batch normalisation uses",
          {MPSNN_ENUMERATOR(T, DEFAULT), MPSNN_ENUMERATOR(T, CALCULATE_STATISTICS_ALWAYS),
           MPSNN_ENUMERATOR(T, CALCULATE_STATISTICS_NEVER)}};
}

EnumClass regularization_type() {
  using T = RegularizationType;
  return {"RegularizationType",
          "MPSNNRegularizationType",
          "How an optimizer regularises",
          {MPSNN_ENUMERATOR(T, NONE), MPSNN_ENUMERATOR(T, L1), MPSNN_ENUMERATOR(T, L2)}};
}

EnumClass weights_quantization_type() {
  using T = WeightsQuantizationType;
  return {
      "WeightsQuantizationType",
      "MPSCNNWeightsQuantizationType",
      "How 8-bit weights stand for numbers",
      {MPSNN_ENUMERATOR(T, NONE), MPSNN_ENUMERATOR(T, LINEAR), MPSNN_ENUMERATOR(T, LOOKUP_TABLE)}};
}

EnumClass matrix_decomposition_status() {
  using T = MatrixDecompositionStatus;
  return {"MatrixDecompositionStatus",
          "MPSMatrixDecompositionStatus",
          "What a decomposition of a matrix came to",
          {MPSNN_ENUMERATOR(T, SUCCESS), MPSNN_ENUMERATOR(T, FAILURE),
           MPSNN_ENUMERATOR(T, SINGULAR), MPSNN_ENUMERATOR(T, NON_POSITIVE_DEFINITE)}};
}

EnumClass padding_method() {
  using T = PaddingMethod;
  return {"PaddingMethod",
          "MPSNNPaddingMethod",
          "Bits of a padding method: alignment | remainder | size",
          {MPSNN_ENUMERATOR(T, ALIGN_CENTERED), MPSNN_ENUMERATOR(T, ALIGN_TOP_LEFT),
           MPSNN_ENUMERATOR(T, ALIGN_BOTTOM_RIGHT), MPSNN_ENUMERATOR(T, ADD_REMAINDER_TO_TOP_LEFT),
           MPSNN_ENUMERATOR(T, ADD_REMAINDER_TO_TOP_RIGHT),
           MPSNN_ENUMERATOR(T, ADD_REMAINDER_TO_BOTTOM_LEFT),
           MPSNN_ENUMERATOR(T, ADD_REMAINDER_TO_BOTTOM_RIGHT), MPSNN_ENUMERATOR(T, SIZE_VALID_ONLY),
           MPSNN_ENUMERATOR(T, SIZE_SAME), MPSNN_ENUMERATOR(T, SIZE_FULL),
           MPSNN_ENUMERATOR(T, CUSTOM_ALLOW_FOR_NODE_FUSION), MPSNN_ENUMERATOR(T, CUSTOM),
           MPSNN_ENUMERATOR(T, EXCLUDE_EDGES)}};
}

EnumClass matrix_random_distribution() {
  using T = MatrixRandomDistribution;
  return {
      "MatrixRandomDistribution",
      "MPSMatrixRandomDistribution",
      "How random numbers are distributed",
      {MPSNN_ENUMERATOR(T, DEFAULT), MPSNN_ENUMERATOR(T, UNIFORM), MPSNN_ENUMERATOR(T, NORMAL)}};
}

EnumClass rnn_sequence_direction() {
  using T = RNNSequenceDirection;
  return {"RNNSequenceDirection",
          "MPSRNNSequenceDirection",
          "The order of a layer in a bidirectional encode",
          {MPSNN_ENUMERATOR(T, FORWARD), MPSNN_ENUMERATOR(T, BACKWARD)}};
}

EnumClass rnn_bidirectional_combine_mode() {
  using T = RNNBidirectionalCombineMode;
  return {"RNNBidirectionalCombineMode",
          "MPSRNNBidirectionalCombineMode",
          "What becomes of both directions' results",
          {MPSNN_ENUMERATOR(T, NONE), MPSNN_ENUMERATOR(T, ADD), MPSNN_ENUMERATOR(T, CONCATENATE)}};
}

EnumClass rnn_matrix_id() {
  constexpr auto kLast = static_cast<std::int32_t>(RNNMatrixId::GRU_OUTPUT_GATE_BIAS_TERMS);
  EnumClass row{"RNNMatrixId", "MPSRNNMatrixId", "Weights of a training layer", {}};
  for (std::int32_t id = 0; id <= kLast; ++id)
    row.enumerators.push_back({name_of(static_cast<RNNMatrixId>(id)), id});
  return row;
}

EnumClass data_type() {
  using T = DataType;
  return {"DataType",
          "",
          "Element type of images and buffers",
          {MPSNN_ENUMERATOR(T, FLOAT32), MPSNN_ENUMERATOR(T, FLOAT16), MPSNN_ENUMERATOR(T, INT32),
           MPSNN_ENUMERATOR(T, UINT32), MPSNN_ENUMERATOR(T, UINT8), MPSNN_ENUMERATOR(T, INT64),
           MPSNN_ENUMERATOR(T, INT8), MPSNN_ENUMERATOR(T, INT16), MPSNN_ENUMERATOR(T, UINT16)}};
}

#undef MPSNN_ENUMERATOR

}  // namespace

std::span<const EnumClass> enum_classes() {
  static const std::vector<EnumClass> table = {neuron_type(),
                                               image_edge_mode(),
                                               data_layout(),
                                               alpha_type(),
                                               comparison_type(),
                                               binary_convolution_type(),
                                               loss_type(),
                                               reduction_type(),
                                               training_style(),
                                               batch_normalization_flags(),
                                               regularization_type(),
                                               padding_method(),
                                               weights_quantization_type(),
                                               matrix_random_distribution(),
                                               rnn_sequence_direction(),
                                               rnn_bidirectional_combine_mode(),
                                               rnn_matrix_id(),
                                               data_type(),
                                               matrix_decomposition_status()};
  return table;
}

const EnumClass* find_enum_class(std::string_view name) {
  for (const EnumClass& row : enum_classes()) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

std::string enumerator_name(std::string_view enum_name, std::int64_t value) {
  if (const EnumClass* row = find_enum_class(enum_name)) {
    for (const auto& enumerator : row->enumerators) {
      if (enumerator.value == value) return std::string(enumerator.name);
    }
  }
  return std::to_string(value);
}

}  // namespace mpsnn::graph
