// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "mpsnn/types.h"

/// Data sources: where weights come from and where they live. A data source has state on each
/// device that uses it (weights, optimizer moments, time step): every graph on that device that
/// holds the same data source sees the same weights, the latest at each encode. Handles are
/// shared_ptr; the same pointer means the same weights.
namespace mpsnn {

namespace base {
class MappedFile;
}  // namespace base

class Array;
class CommandBuffer;
class Image;
/// What a kernel reads or writes: Matrix, Vector, NDArray or Image (kernel.h).
using KernelOperand = std::variant<Array, Image>;
/// Arrays of a data source by parameter, float32: their values, or gradients.
using ParameterValues = std::map<std::string, std::vector<float>>;
/// The same on a device: with ones before their extents up to four (a bias of O is (1, 1, 1, O)).
using ParameterImages = std::map<std::string, Image>;

/// A neuron with its parameters. Apple: MPSNNNeuronDescriptor.
struct NeuronDescriptor {
  NeuronType type = NeuronType::NONE;
  float a = 0, b = 0, c = 0;
  friend bool operator==(const NeuronDescriptor&, const NeuronDescriptor&) = default;
};

/// Geometry of a convolution. Apple: MPSCNNConvolutionDescriptor.
struct ConvolutionDescriptor {
  std::int64_t kernel_width = 3, kernel_height = 3;
  std::int64_t input_feature_channels = 1, output_feature_channels = 1;
  std::int64_t stride_in_pixels_x = 1, stride_in_pixels_y = 1;
  std::int64_t groups = 1;
  std::int64_t dilation_rate_x = 1, dilation_rate_y = 1;
  /// Applied to the result; must be NONE where the node is trained (use a neuron node: it is
  /// fused).
  NeuronDescriptor fused_neuron_descriptor;
  /// r: the result has r times the rows and columns and 1 / r^2 of the channels
  /// (SubPixelConvolutionDescriptor).
  std::int64_t sub_pixel_scale_factor = 1;
  /// Elements of the weights: out · height · width · in / groups.
  std::int64_t weight_count() const noexcept {
    return output_feature_channels * kernel_height * kernel_width *
           (input_feature_channels / groups);
  }
  friend bool operator==(const ConvolutionDescriptor&, const ConvolutionDescriptor&) = default;
};

/// A convolution of each channel by itself: as many groups as input channels. Weights are (out,
/// height, width, 1), channel_multiplier() result channels for each input channel, one after the
/// other. Apple: MPSCNNDepthWiseConvolutionDescriptor, whose channel multiplier is 1.
struct DepthWiseConvolutionDescriptor : ConvolutionDescriptor {
  DepthWiseConvolutionDescriptor(std::int64_t width, std::int64_t height, std::int64_t inputs,
                                 std::int64_t outputs);
  std::int64_t channel_multiplier() const noexcept {
    return output_feature_channels / input_feature_channels;
  }
};

/// A convolution whose N channels become N / r^2 on an image r times as wide and high: result[y, x,
/// c] = convolved[y / r, x / r, (N / r^2) * (r * (y mod r) + x mod r) + c].
/// Apple: MPSCNNSubPixelConvolutionDescriptor.
struct SubPixelConvolutionDescriptor : ConvolutionDescriptor {
  SubPixelConvolutionDescriptor(std::int64_t width, std::int64_t height, std::int64_t inputs,
                                std::int64_t outputs, std::int64_t scale_factor);
};

/// How an optimizer regularises: adds scale·sign(v) (L1) or scale·v (L2) to the gradient.
enum class RegularizationType : std::int32_t { NONE = 0, L1 = 1, L2 = 2 };

/// What all optimizers share. Order: clip, rescale, regularise. Apple: MPSNNOptimizerDescriptor.
struct OptimizerDescriptor {
  double learning_rate = 1e-3;
  double gradient_rescale = 1.0;
  bool apply_gradient_clipping = false;
  double gradient_clip_max = 0.0, gradient_clip_min = 0.0;
  RegularizationType regularization_type = RegularizationType::NONE;
  double regularization_scale = 0.0;
};

/// Base of the optimizers; attached to data sources. The learning rate is read at each encode, so
/// it may be changed between steps. One optimizer may serve many data sources: moments and time
/// step belong to each data source's state on the device. Apple: MPSNNOptimizer.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  explicit Optimizer(OptimizerDescriptor descriptor);
  /// A copy counts its own steps.
  Optimizer(const Optimizer& other) : descriptor_(other.descriptor_) {}
  Optimizer& operator=(const Optimizer&) = delete;

  double learning_rate() const noexcept { return descriptor_.learning_rate; }
  /// Throws InvalidArgumentError unless finite and >= 0.
  void set_learning_rate(double rate);
  const OptimizerDescriptor& descriptor() const noexcept { return descriptor_; }

  /// "optimizer_adam": the operation that updates a parameter.
  virtual std::string_view operation() const noexcept = 0;
  /// Names of the moment vectors kept beside each parameter, zero at first ("momentum",
  /// "velocity").
  virtual std::vector<std::string> moments() const = 0;
  /// Numbers that may change between steps, in the operation's order; index 0 is the learning rate.
  virtual std::vector<double> scalars() const = 0;
  /// Every parameter by name, to archive, print and rebuild the optimizer.
  virtual AttributeMap attributes() const = 0;

 protected:
  /// Encodes the kernel of the class's name and "Update", one a device, with the learning rate as
  /// it is now. Operands as its `encode` has them.
  void encode_update(CommandBuffer& commands,
                     const std::vector<std::vector<KernelOperand>>& operands) const;
  OptimizerDescriptor descriptor_;

 private:
  struct Kernels;
  mutable std::shared_ptr<Kernels> kernels_;  // made at the first encode
};

/// v -= lr·g, or with momentum m = μ·m + lr·g; v -= m; Nesterov: m = μ·m + g; v -= lr·(g + μ·m).
/// Apple: MPSNNOptimizerStochasticGradientDescent.
class OptimizerStochasticGradientDescent final : public Optimizer {
 public:
  explicit OptimizerStochasticGradientDescent(double learning_rate = 1e-3,
                                              double momentum_scale = 0.0,
                                              bool use_nesterov_momentum = false);
  OptimizerStochasticGradientDescent(OptimizerDescriptor descriptor, double momentum_scale,
                                     bool use_nesterov_momentum);
  double momentum_scale() const noexcept { return momentum_scale_; }
  bool use_nesterov_momentum() const noexcept { return nesterov_; }
  /// Records a step on memory of one's own, as OptimizerStochasticGradientDescentUpdate does, which
  /// tells of operands and errors; `result` may be `values`.
  void encode(CommandBuffer& commands, const KernelOperand& gradient, const KernelOperand& values,
              const KernelOperand& result) const;
  /// With momentum.
  void encode(CommandBuffer& commands, const KernelOperand& gradient, const KernelOperand& values,
              const KernelOperand& result, const KernelOperand& momentum) const;
  std::string_view operation() const noexcept override;
  std::vector<std::string> moments() const override;
  std::vector<double> scalars() const override;
  AttributeMap attributes() const override;

 private:
  double momentum_scale_;
  bool nesterov_;
};

/// t += 1; lr_t = lr·√(1−β2^t)/(1−β1^t); m = β1·m + (1−β1)·g; u = β2·u + (1−β2)·g²;
/// v -= lr_t·m/(√u + ε). AMSGrad: û = max(û, u); v -= lr_t·m/(√û + ε). Apple: MPSNNOptimizerAdam,
/// with maximum velocities for AMSGrad.
class OptimizerAdam final : public Optimizer {
 public:
  explicit OptimizerAdam(double learning_rate = 1e-3, double beta1 = 0.9, double beta2 = 0.999,
                         double epsilon = 1e-8, std::int64_t time_step = 0,
                         bool use_amsgrad = false);
  OptimizerAdam(OptimizerDescriptor descriptor, double beta1, double beta2, double epsilon,
                std::int64_t time_step, bool use_amsgrad = false);
  double beta1() const noexcept { return beta1_; }
  double beta2() const noexcept { return beta2_; }
  double epsilon() const noexcept { return epsilon_; }
  /// Updates counted before the first one here; each data source counts on from it.
  std::int64_t time_step() const noexcept { return time_step_; }
  /// Keeps the largest velocity of each value and divides by it.
  bool use_amsgrad() const noexcept { return amsgrad_; }
  /// Records a step on memory of one's own, as OptimizerAdamUpdate does, which tells of operands
  /// and errors; `result` may be `values`. Steps of all these encodes on a device are counted
  /// together, from time_step() on and apart from those of data sources: use an optimizer for each
  /// array. Throws InvalidArgumentError for an optimizer that uses AMSGrad.
  void encode(CommandBuffer& commands, const KernelOperand& gradient, const KernelOperand& values,
              const KernelOperand& result, const KernelOperand& momentum,
              const KernelOperand& velocity) const;
  /// AMSGrad; throws InvalidArgumentError for an optimizer that does not use it.
  void encode(CommandBuffer& commands, const KernelOperand& gradient, const KernelOperand& values,
              const KernelOperand& result, const KernelOperand& momentum,
              const KernelOperand& velocity, const KernelOperand& maximum_velocity) const;
  std::string_view operation() const noexcept override;
  std::vector<std::string> moments() const override;
  std::vector<double> scalars() const override;
  AttributeMap attributes() const override;

 private:
  double beta1_, beta2_, epsilon_;
  std::int64_t time_step_;
  bool amsgrad_;
};

/// s = decay·s + (1−decay)·g²; v -= lr·g/(√s + ε). Apple: MPSNNOptimizerRMSProp.
class OptimizerRMSProp final : public Optimizer {
 public:
  explicit OptimizerRMSProp(double learning_rate = 1e-3, double decay = 0.9, double epsilon = 1e-8);
  OptimizerRMSProp(OptimizerDescriptor descriptor, double decay, double epsilon);
  double decay() const noexcept { return decay_; }
  double epsilon() const noexcept { return epsilon_; }
  /// Records a step on memory of one's own, as OptimizerRMSPropUpdate does, which tells of operands
  /// and errors; `result` may be `values`.
  void encode(CommandBuffer& commands, const KernelOperand& gradient, const KernelOperand& values,
              const KernelOperand& result, const KernelOperand& sum_of_squares) const;
  std::string_view operation() const noexcept override;
  std::vector<std::string> moments() const override;
  std::vector<double> scalars() const override;
  AttributeMap attributes() const override;

 private:
  double decay_, epsilon_;
};

/// The optimizer that `attributes()` describes; "type" names its class. Throws
/// InvalidArgumentError.
std::shared_ptr<Optimizer> make_optimizer(const AttributeMap& attributes);

/// One array of a data source.
struct ParameterInfo {
  std::string name;                 // "weights", "bias"
  std::vector<std::int64_t> shape;  // OHWI for weights, (O) for bias
  /// false: no optimizer updates it (running statistics of a normalisation).
  bool trained = true;
};

/// Base of all data sources. One of one's own derives from the class that a node wants
/// (ConvolutionDataSource, …) and overrides what it does otherwise: where values come from (`load`,
/// `values`, `purge`), and how they are updated (`updates_itself` and one of the two methods below
/// it). All may be called from any thread.
class DataSource {
 public:
  virtual ~DataSource() = default;
  DataSource(const DataSource&) = delete;
  DataSource& operator=(const DataSource&) = delete;

  const std::string& label() const noexcept { return label_; }
  void set_label(std::string label) { label_ = std::move(label); }
  /// Null: never updated. Changing it between encodes is allowed; moments start at zero.
  const std::shared_ptr<Optimizer>& optimizer() const noexcept { return optimizer_; }
  void set_optimizer(std::shared_ptr<Optimizer> optimizer) { optimizer_ = std::move(optimizer); }
  /// false: frozen. No gradient is computed for it even where an optimizer is set. Default true.
  bool trainable() const noexcept { return trainable_; }
  void set_trainable(bool on) { trainable_ = on; }
  /// true where gradients are wanted: trainable, and an optimizer is set or it updates itself.
  bool is_updated() const;

  /// Called before values are read, by a graph that is made or by reload_from_data_sources();
  /// purge() follows in any case where this returned true. false or an exception: what was asked
  /// for fails with a StateError that names the data source. Default: true.
  virtual bool load() const;
  /// Called once for each load() that returned true, after the values were read. Default: nothing.
  virtual void purge() const;
  /// The values of a parameter, between load() and purge(), as many as it has elements. Default:
  /// initial().
  virtual std::vector<float> values(std::string_view parameter) const;
  /// true: updated by its own method in nodes of this training style, without the optimizer.
  virtual bool updates_itself(TrainingStyle style) const;
  /// The update of the style UPDATE_DEVICE_CPU: gradients of all nodes of a graph added up, and the
  /// values that they were computed with. Called on the queue's thread in the turn of the encode;
  /// what it returns is what later work sees, none: no change; parameters left out stay. An
  /// exception is the command buffer's failure. Default: none. Apple: updateWithGradientState:.
  virtual std::optional<ParameterValues> update_with_gradient_state(
      const ParameterValues& gradient_state, const ParameterValues& source_state);
  /// The update of the style UPDATE_DEVICE_GPU: called by the encode, after the gradients were
  /// recorded; records what makes the new values, which are copied when their turn comes. The
  /// images of `source_state` are the weights themselves: to be read by what is recorded here only.
  /// Default: none. Apple: updateWithCommandBuffer:.
  virtual std::optional<ParameterImages> update_with_command_buffer(
      CommandBuffer& commands, const ParameterImages& gradient_state,
      const ParameterImages& source_state);

  /// "ConvolutionDataSource".
  virtual std::string_view class_name() const noexcept = 0;
  virtual std::vector<ParameterInfo> parameters() const = 0;
  /// The values that a device starts from, float32. Throws InvalidArgumentError for an unknown
  /// name.
  virtual std::vector<float> initial(std::string_view parameter) const = 0;
  /// Replaces the values that new devices start from (devices already in use:
  /// Device::write_parameter).
  virtual void set_initial(std::string_view parameter, std::vector<float> values) = 0;
  /// The descriptor's fields, for archives and plans.
  virtual AttributeMap attributes() const = 0;

  struct DeviceStates;  // owned here, filled by the runtime: one state a device
  DeviceStates& device_states() const noexcept { return *states_; }

 protected:
  DataSource(std::string label, std::shared_ptr<Optimizer> optimizer);

 private:
  std::string label_;
  std::shared_ptr<Optimizer> optimizer_;
  bool trainable_ = true;
  std::shared_ptr<DeviceStates> states_;
};

/// How 8-bit weights stand for numbers. Apple: MPSCNNWeightsQuantizationType.
enum class WeightsQuantizationType : std::int32_t { NONE = 0, LINEAR = 1, LOOKUP_TABLE = 2 };

/// float32 weights that stand in an open archive: pages of the file, read when they are needed.
class MappedFloats {
 public:
  /// Made by archives: the values lie inside of the file.
  MappedFloats(std::shared_ptr<const base::MappedFile> file, const float* first,
               std::size_t count) noexcept
      : file_(std::move(file)), first_(first), count_(count) {}
  const float* data() const noexcept { return first_; }
  std::size_t size() const noexcept { return count_; }
  const std::shared_ptr<const base::MappedFile>& file() const noexcept { return file_; }

 private:
  std::shared_ptr<const base::MappedFile> file_;
  const float* first_;
  std::size_t count_;
};

/// Weights in the element type in which they are given, OHWI. Kernels compute in float32; what is
/// kept and archived stays as small as it is.
struct ConvolutionWeights {
  /// float32; the bits of float16; 8 bits, which `ranges` or `lookup_table` explains; or, of data
  /// sources that an archive restored, float32 in its file.
  std::variant<std::vector<float>, std::vector<std::uint16_t>, std::vector<std::uint8_t>,
               MappedFloats>
      values;
  /// LINEAR: a minimum and a maximum for each output channel, (O, 2); the weight of u is u / 255 ·
  /// (maximum − minimum) + minimum. Apple: rangesForUInt8Kernel.
  std::vector<float> ranges = {};
  /// LOOKUP_TABLE: the weights of 0 … 255. Apple: lookupTableForUInt8Kernel.
  std::vector<float> lookup_table = {};

  DataType data_type() const noexcept;  // FLOAT32, FLOAT16 or UINT8
  WeightsQuantizationType quantization_type() const noexcept;
  std::size_t count() const noexcept;
  /// The numbers that they stand for; `per_output` of them for each output channel.
  std::vector<float> floats(std::size_t per_output) const;
};

/// Weights of a convolution: OHWI ([out][height][width][in / groups]) and a bias a channel. Those
/// of float16 and of 8 bits are widened when a device first uses them; where they are trained, that
/// is done in float32 from the numbers that they stand for, and archives keep them as float32 from
/// the first update on. Apple: MPSCNNConvolutionDataSource.
class ConvolutionDataSource : public DataSource {
 public:
  /// Throws InvalidArgumentError when a count does not fit the descriptor, which is checked as
  /// well.
  ConvolutionDataSource(ConvolutionDescriptor descriptor, std::vector<float> weights,
                        std::optional<std::vector<float>> bias_terms = std::nullopt,
                        std::string label = "", std::shared_ptr<Optimizer> optimizer = nullptr);
  /// Weights of any element type. Throws InvalidArgumentError, besides: 8-bit weights without
  /// ranges and without a table, or with both; either with other weights; another count; ranges
  /// whose maximum is below their minimum; numbers in them that are not finite.
  ConvolutionDataSource(ConvolutionDescriptor descriptor, ConvolutionWeights weights,
                        std::optional<std::vector<float>> bias_terms = std::nullopt,
                        std::string label = "", std::shared_ptr<Optimizer> optimizer = nullptr);
  /// For classes that override values(), which gives "weights" and, with `has_bias`, "bias".
  ConvolutionDataSource(ConvolutionDescriptor descriptor, bool has_bias, std::string label = "",
                        std::shared_ptr<Optimizer> optimizer = nullptr);
  const ConvolutionDescriptor& descriptor() const noexcept { return descriptor_; }
  /// The weights as they were given; set_initial makes them float32.
  const ConvolutionWeights& stored_weights() const noexcept { return weights_; }
  bool has_bias() const noexcept { return bias_.has_value(); }
  std::string_view class_name() const noexcept override;
  std::vector<ParameterInfo> parameters() const override;
  std::vector<float> initial(std::string_view parameter) const override;
  void set_initial(std::string_view parameter, std::vector<float> values) override;
  AttributeMap attributes() const override;

 private:
  ConvolutionDescriptor descriptor_;
  ConvolutionWeights weights_;
  std::optional<std::vector<float>> bias_;
};

}  // namespace mpsnn
