// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

/// Plain types and enumerations shared by all of the public API. Enumerators have the names and
/// the values of Metal Performance Shaders, without the prefix.
namespace mpsnn {

/// Element type of images, weights and buffers.
/// INT64 is for counters (versions of weights, time steps), never for images.
enum class DataType : std::uint8_t {
  FLOAT32,
  FLOAT16,
  INT32,
  UINT32,
  UINT8,
  INT64,
  INT8,
  INT16,
  UINT16
};

/// Bytes of one element.
std::size_t size_of(DataType type) noexcept;
/// "float32", "float16", …: numpy's names.
std::string_view name_of(DataType type) noexcept;
/// The type of numpy's name. Throws ArgumentTypeError for a name that is not supported.
DataType data_type_named(std::string_view name);

/// Size of a batch of images: N images of H rows, W columns and C feature channels, stored (N, H,
/// W, C) with the channels contiguous.
struct ImageSize {
  std::int64_t n = 0, height = 0, width = 0, channels = 0;
  friend bool operator==(const ImageSize&, const ImageSize&) = default;
  std::int64_t count() const noexcept { return n * height * width * channels; }
};
/// "(4, 128, 128, 12)".
std::string to_string(const ImageSize& size);

/// Neuron (activation) kinds; formulas in docs/reference/nodes.md. Apple: MPSCNNNeuronType.
enum class NeuronType : std::int32_t {
  NONE = 0,
  RELU = 1,
  LINEAR = 2,
  SIGMOID = 3,
  HARD_SIGMOID = 4,
  TANH = 5,
  ABSOLUTE = 6,
  SOFT_PLUS = 7,
  SOFT_SIGN = 8,
  ELU = 9,
  PRELU = 10,
  RELUN = 11,
  POWER = 12,
  EXPONENTIAL = 13,
  LOGARITHM = 14,
  GELU = 15,
};

/// What a kernel reads outside of its source image. Apple: MPSImageEdgeMode.
enum class ImageEdgeMode : std::int32_t {
  ZERO = 0,
  CLAMP = 1,
  MIRROR = 2,
  MIRROR_WITH_EDGE = 3,
  CONSTANT = 4
};

/// Order of an image's values in memory outside of images: pixel by pixel, or channel by channel.
/// Apple: MPSDataLayout.
enum class DataLayout : std::int32_t { HWC = 0, CHW = 1 };

/// What the last channel of an image says about its colours. Apple: MPSAlphaType.
enum class AlphaType : std::int32_t { NON_PREMULTIPLIED = 0, ALPHA_IS_ONE = 1, PREMULTIPLIED = 2 };

/// How two values are compared. Apple: MPSNNComparisonType.
enum class ComparisonType : std::int32_t {
  EQUAL = 0,
  NOT_EQUAL = 1,
  LESS = 2,
  LESS_OR_EQUAL = 3,
  GREATER = 4,
  GREATER_OR_EQUAL = 5
};

/// What a binary convolution makes binary. Apple: MPSCNNBinaryConvolutionType.
enum class BinaryConvolutionType : std::int32_t { BINARY_WEIGHTS = 0, XNOR = 1, AND = 2 };

/// Loss kinds. Apple: MPSCNNLossType.
enum class LossType : std::int32_t {
  MEAN_ABSOLUTE_ERROR = 0,
  MEAN_SQUARED_ERROR = 1,
  SOFT_MAX_CROSS_ENTROPY = 2,
  SIGMOID_CROSS_ENTROPY = 3,
  CATEGORICAL_CROSS_ENTROPY = 4,
  HINGE = 5,
  HUBER = 6,
  COSINE_DISTANCE = 7,
  LOG = 8,
  KULLBACK_LEIBLER_DIVERGENCE = 9,
};

/// How a loss image is reduced; the reduction never changes a gradient. Apple: MPSCNNReductionType.
enum class ReductionType : std::int32_t {
  NONE = 0,
  SUM = 1,
  MEAN = 2,
  SUM_BY_NON_ZERO_WEIGHTS = 3
};

/// Bits of a padding method: alignment | remainder | size. Apple: MPSNNPaddingMethod.
struct PaddingMethod {
  static constexpr std::int64_t ALIGN_CENTERED = 0, ALIGN_TOP_LEFT = 1, ALIGN_BOTTOM_RIGHT = 2;
  static constexpr std::int64_t ADD_REMAINDER_TO_TOP_LEFT = 0 << 2,
                                ADD_REMAINDER_TO_TOP_RIGHT = 1 << 2,
                                ADD_REMAINDER_TO_BOTTOM_LEFT = 2 << 2,
                                ADD_REMAINDER_TO_BOTTOM_RIGHT = 3 << 2;
  static constexpr std::int64_t SIZE_VALID_ONLY = 0, SIZE_SAME = 1 << 4, SIZE_FULL = 2 << 4;
  /// With a policy of one's own only. Fusion never depends on the second one here.
  static constexpr std::int64_t CUSTOM = 1 << 14, CUSTOM_ALLOW_FOR_NODE_FUSION = 1 << 13;
  static constexpr std::int64_t EXCLUDE_EDGES = 1 << 15;
};

/// When weights are updated from their gradients. Apple: MPSNNTrainingStyle.
enum class TrainingStyle : std::int32_t {
  UPDATE_DEVICE_NONE = 0,
  UPDATE_DEVICE_CPU = 1,
  UPDATE_DEVICE_GPU = 2
};

/// Which statistics a batch normalisation uses. DEFAULT: those of the batch where the graph holds
/// its gradient node, the stored ones elsewhere. Apple: MPSCNNBatchNormalizationFlags.
enum class BatchNormalizationFlags : std::int32_t {
  DEFAULT = 0,
  CALCULATE_STATISTICS_ALWAYS = 1,
  CALCULATE_STATISTICS_NEVER = 2
};

/// How random numbers are distributed. A truncated normal distribution is a normal one with bounds.
/// Apple: MPSMatrixRandomDistribution.
enum class MatrixRandomDistribution : std::int32_t { DEFAULT = 1, UNIFORM = 2, NORMAL = 3 };

/// What a decomposition of a matrix came to. Apple: MPSMatrixDecompositionStatus.
enum class MatrixDecompositionStatus : std::int32_t {
  SUCCESS = 0,
  FAILURE = -1,
  SINGULAR = -2,
  NON_POSITIVE_DEFINITE = -3
};

/// Value of a node's parameter. Enumerations are held as integers, their meaning is in the class's
/// table. Unsigned: seeds, which have 64 bits without a sign.
using AttributeValue = std::variant<bool, std::int64_t, double, std::string,
                                    std::vector<std::int64_t>, std::vector<double>, std::uint64_t>;
/// A node's parameters by name.
using AttributeMap = std::map<std::string, AttributeValue, std::less<>>;

}  // namespace mpsnn
