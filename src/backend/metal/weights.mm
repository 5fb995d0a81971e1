// SPDX-License-Identifier: MIT
#include "backend/metal/weights.h"

#include <algorithm>

#include "backend/metal/optimizer.h"

using mpsnn::backend::metal::ConvolutionWeights;

/// The object that MPS asks for weights. What is behind it outlives every graph that holds it.
@interface MpsnnConvolutionWeights : NSObject <MPSCNNConvolutionDataSource> {
  ConvolutionWeights* weights_;
}
- (instancetype)initWithWeights:(ConvolutionWeights*)weights;
@end

@implementation MpsnnConvolutionWeights

- (instancetype)initWithWeights:(ConvolutionWeights*)weights {
  self = [super init];
  if (self != nil) weights_ = weights;
  return self;
}

- (instancetype)copyWithZone:(NSZone*)zone {
  static_cast<void>(zone);
  return [self retain];  // a copy of a graph shares the weights, too
}

- (MPSDataType)dataType {
  return MPSDataTypeFloat32;
}

- (MPSCNNConvolutionDescriptor*)descriptor {
  return weights_->descriptor();
}

- (void*)weights {
  return weights_->weights();
}

- (float*)biasTerms {
  return weights_->bias();
}

/// Weights are computed with as they are trained: in float32.
- (MPSDataType)kernelWeightsDataType {
  return MPSDataTypeFloat32;
}

- (MPSCNNConvolutionWeightsLayout)weightsLayout {
  return MPSCNNConvolutionWeightsLayoutOHWI;
}

- (BOOL)load {
  return YES;  // they are in memory
}

- (void)purge {
}

- (NSString*)label {
  return mpsnn::backend::metal::to_ns_string(weights_->label());
}

- (MPSCNNConvolutionWeightsAndBiasesState*)
    updateWithCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
              gradientState:(MPSCNNConvolutionGradientState*)gradientState
                sourceState:(MPSCNNConvolutionWeightsAndBiasesState*)sourceState {
  return weights_->update(commandBuffer, gradientState, sourceState);
}

@end

namespace mpsnn::backend::metal {
namespace {

MPSNNNeuronDescriptor* neuron_of(const NeuronDescriptor& neuron) {
  return [MPSNNNeuronDescriptor
      cnnNeuronDescriptorWithType:static_cast<MPSCNNNeuronType>(neuron.type)
                                a:neuron.a
                                b:neuron.b
                                c:neuron.c];
}

Owned<MPSCNNConvolutionDescriptor*> make_descriptor(const ConvolutionDescriptor& d) {
  Class kind =
      is_depthwise(d) ? [MPSCNNDepthWiseConvolutionDescriptor class] : [MPSCNNConvolutionDescriptor class];
  MPSCNNConvolutionDescriptor* made = [kind
      cnnConvolutionDescriptorWithKernelWidth:static_cast<NSUInteger>(d.kernel_width)
                                 kernelHeight:static_cast<NSUInteger>(d.kernel_height)
                         inputFeatureChannels:static_cast<NSUInteger>(d.input_feature_channels)
                        outputFeatureChannels:static_cast<NSUInteger>(d.output_feature_channels)];
  [made setStrideInPixelsX:static_cast<NSUInteger>(d.stride_in_pixels_x)];
  [made setStrideInPixelsY:static_cast<NSUInteger>(d.stride_in_pixels_y)];
  if (!is_depthwise(d)) [made setGroups:static_cast<NSUInteger>(d.groups)];
  [made setDilationRateX:static_cast<NSUInteger>(d.dilation_rate_x)];
  [made setDilationRateY:static_cast<NSUInteger>(d.dilation_rate_y)];
  if (d.fused_neuron_descriptor.type != NeuronType::NONE)
    [made setFusedNeuronDescriptor:neuron_of(d.fused_neuron_descriptor)];
  return Owned<MPSCNNConvolutionDescriptor*>::retained(made);
}

std::int64_t* counter_at(const KernelArgs& args, std::uint32_t input) {
  return static_cast<std::int64_t*>(args.table[args.inputs[input]]);
}

void drop_read(MPSState* state) {
  if ([state isTemporary]) [state setReadCount:[state readCount] - 1];
}

}  // namespace

bool is_depthwise(const ConvolutionDescriptor& d) {
  return d.groups > 1 && d.groups == d.input_feature_channels &&
         d.groups == d.output_feature_channels;
}

float* BoundArray::contents() const {
  auto* start = static_cast<std::byte*>([range.buffer.get() contents]);
  return reinterpret_cast<float*>(start + range.offset);
}

MPSVector* BoundArray::vector() const {
  MPSVectorDescriptor* descriptor = [MPSVectorDescriptor vectorDescriptorWithLength:count
                                                                           dataType:MPSDataTypeFloat32];
  return [[[MPSVector alloc] initWithBuffer:range.buffer.get()
                                     offset:range.offset
                                 descriptor:descriptor] autorelease];
}

ConvolutionWeights::ConvolutionWeights(std::shared_ptr<ConvolutionDataSource> source,
                                       std::size_t index, const graph::WholeGraph& graph,
                                       id<MTLDevice> device)
    : source_(std::move(source)),
      index_(index),
      descriptor_(make_descriptor(source_->descriptor())),
      object_([[MpsnnConvolutionWeights alloc] initWithWeights:this]) {
  for (const ParameterInfo& info : source_->parameters()) {
    add_parameter(info, graph);
    if (graph.updated[index_]) parameters_.back().optimizer = make_optimizer(*source_->optimizer(), device);
  }
  seen_.resize(parameters_.size());
}

ConvolutionWeights::~ConvolutionWeights() = default;

void ConvolutionWeights::add_parameter(const ParameterInfo& info, const graph::WholeGraph& graph) {
  BoundParameter made;
  made.name = info.name;
  made.count = 1;
  for (const std::int64_t extent : info.shape) made.count *= static_cast<std::size_t>(extent);
  for (const graph::ParameterOperand& operand : graph.parameters) {
    if (operand.data_source != index_) continue;
    if (operand.name == info.name) {
      made.input = operand.input;
    } else if (operand.name == info.name + ".version") {
      made.version_input = operand.input;
    } else if (operand.name == info.name + ".time_step") {
      made.time_step_input = operand.input;
    } else if (operand.name.starts_with(info.name + ".")) {
      made.moment_inputs.push_back(operand.input);
    }
  }
  made.moments.resize(made.moment_inputs.size());
  parameters_.push_back(std::move(made));
}

void ConvolutionWeights::bind(const KernelArgs& args, const BufferMap& buffers) {
  for (BoundParameter& parameter : parameters_) {
    const auto bound = [&](std::uint32_t input) {
      return BoundArray{buffers.find(args.table[args.inputs[input]]), parameter.count};
    };
    parameter.array = bound(parameter.input);
    parameter.version = counter_at(args, parameter.version_input);
    if (parameter.time_step_input != 0)
      parameter.time_step = counter_at(args, parameter.time_step_input);
    for (std::size_t i = 0; i < parameter.moments.size(); ++i)
      parameter.moments[i] = bound(parameter.moment_inputs[i]);
  }
}

void ConvolutionWeights::set_learning_rate(double rate) {
  for (const BoundParameter& parameter : parameters_)
    [parameter.optimizer.get() setLearningRate:static_cast<float>(rate)];
}

bool ConvolutionWeights::is_stale() const {
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (*parameters_[i].version != seen_[i]) return true;
  }
  return false;
}

void ConvolutionWeights::note_current() {
  for (std::size_t i = 0; i < parameters_.size(); ++i) seen_[i] = *parameters_[i].version;
}

void ConvolutionWeights::count_update() {
  for (const BoundParameter& parameter : parameters_) {
    ++*parameter.version;
    if (parameter.time_step != nullptr) ++*parameter.time_step;
  }
  note_current();
}

float* ConvolutionWeights::bias() const {
  return parameters_.size() > 1 ? parameters_[1].array.contents() : nullptr;
}

MPSCNNConvolutionWeightsAndBiasesState* ConvolutionWeights::update(
    id<MTLCommandBuffer> commands, MPSCNNConvolutionGradientState* gradients,
    MPSCNNConvolutionWeightsAndBiasesState* source) {
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    id<MTLBuffer> buffer = i == 0 ? [gradients gradientForWeights] : [gradients gradientForBiases];
    const BoundArray gradient = {{Owned<id<MTLBuffer>>::retained(buffer), 0}, parameters_[i].count};
    encode_update(parameters_[i], gradient.vector(), commands);
  }
  drop_read(gradients);
  drop_read(source);
  const BufferRange& weights = parameters_[0].array.range;
  const BufferRange bias = parameters_.size() > 1 ? parameters_[1].array.range : BufferRange{};
  return [[[MPSCNNConvolutionWeightsAndBiasesState alloc]
             initWithWeights:weights.buffer.get()
               weightsOffset:weights.offset
                      biases:bias.buffer.get()
                biasesOffset:bias.offset
    cnnConvolutionDescriptor:descriptor_.get()] autorelease];
}

}  // namespace mpsnn::backend::metal
