// SPDX-License-Identifier: MIT
// Convolutions: regular, depthwise, sub-pixel, transposed; and what their data source makes of
// gradients.
#include <algorithm>

#include "double.h"

using metal_double::Origin;
using metal_double::Pixels;
using metal_double::Window;

namespace {

/// Zeros between the pixels.
Batch stuffed(id<MTLCommandBuffer> commands, const Batch& from, const Window& w) {
  Batch made;
  for (const auto& image : from) {
    made.push_back(std::make_shared<Pixels>((image->height - 1) * w.stride_y + 1,
                                            (image->width - 1) * w.stride_x + 1, image->channels,
                                            image->half));
  }
  const int sy = w.stride_y, sx = w.stride_x;
  record_each(commands, from.size(), [=](std::size_t n) {
    metal_double::each(*from[n], [&](int y, int x, int c) {
      made[n]->set(y * sy, x * sx, c, static_cast<double>(from[n]->at(y, x, c)));
    });
  });
  return made;
}

class Convolution final : public DoubleFilter {
 public:
  Convolution(id<MPSCNNConvolutionDataSource> source, bool is_transposed);
  void load() override;
  metal_double::Shape shape(const DoubleNode& node, const Pixels& source) override;
  void run(const FilterRun& run, const Batch& from, const Batch& to) override;
  void gradient(const FilterRun& run, const Batch& given, const Batch& from, const Batch& to,
                bool updates) override;

  /// Takes weights and biases from a state, on the device.
  void refresh(id<MTLCommandBuffer> commands, MPSCNNConvolutionWeightsAndBiasesState* state);
  /// By itself, with the windows where the kernel's offset says.
  void encode(id<MTLCommandBuffer> commands, MPSCNNConvolution* kernel, const Batch& from,
              const Batch& to);

 private:
  std::size_t count() const {
    return static_cast<std::size_t>(outputs_ * window_.kernel_y * window_.kernel_x * inputs_ /
                                    window_.groups);
  }
  std::shared_ptr<Convolution> self() {
    return std::static_pointer_cast<Convolution>(shared_from_this());
  }
  void take(const float* weights, const float* bias);
  /// Where windows lie on an image of the source's size; `w` is what they are then.
  Placing placing(const DoubleNode& node, const Pixels& source, Window& w) const;
  void rearrange(const Pixels& convolved, Pixels& result) const;
  void update(const FilterRun& run, const Batch& given, const Batch& from, const Window& window,
              Origin origin);

  Ref<id<MPSCNNConvolutionDataSource>> source_;
  const bool is_transposed_;
  Window window_;
  int inputs_ = 0, outputs_ = 0, sub_pixels_ = 1;
  bool rounds_ = false;  // to float16, which kernels use unless the data source says otherwise
  metal_double::Neuron neuron_;
  std::vector<float> weights_, bias_;
};

Convolution::Convolution(id<MPSCNNConvolutionDataSource> source, bool is_transposed)
    : source_(source), is_transposed_(is_transposed) {
  MPSCNNConvolutionDescriptor* d = [source descriptor];
  window_ = {static_cast<int>(d->kernelHeight_), static_cast<int>(d->kernelWidth_),
             static_cast<int>(d->strideY_),      static_cast<int>(d->strideX_),
             static_cast<int>(d->dilationY_),    static_cast<int>(d->dilationX_),
             static_cast<int>(d->groups_)};
  inputs_ = static_cast<int>(d->inputs_);
  outputs_ = static_cast<int>(d->outputs_);
  rounds_ = ![source respondsToSelector:@selector(kernelWeightsDataType)] ||
            [source kernelWeightsDataType] != MPSDataTypeFloat32;
  if ([source respondsToSelector:@selector(weightsLayout)] &&
      [source weightsLayout] != MPSCNNConvolutionWeightsLayoutOHWI)
    refuse("MPSCNNConvolution", "weights are OHWI");
  const bool is_depthwise = [d isKindOfClass:[MPSCNNDepthWiseConvolutionDescriptor class]];
  if (is_depthwise && is_transposed)
    refuse("MPSCNNConvolutionTranspose", "no depthwise descriptors");
  if (is_depthwise) {
    if (inputs_ != outputs_) refuse("MPSCNNConvolution", "a channel multiplier other than 1");
  } else if (d->groups_ > 1 &&
             (d->inputs_ / d->groups_ % 4 != 0 || d->outputs_ / d->groups_ % 4 != 0)) {
    refuse("MPSCNNConvolution", "channels of a group must be a multiple of 4");
  }
  if ([d isKindOfClass:[MPSCNNSubPixelConvolutionDescriptor class]]) {
    sub_pixels_ = static_cast<int>(
        [static_cast<MPSCNNSubPixelConvolutionDescriptor*>(d) subPixelScaleFactor]);
    const int channels = outputs_ / (sub_pixels_ * sub_pixels_);
    if (outputs_ % (sub_pixels_ * sub_pixels_) != 0 || (d->groups_ > 1 && channels % 4 != 0))
      refuse("MPSCNNSubPixelConvolutionDescriptor", "channels that do not fit the scale factor");
  }
  if (d->neuron_ != nil)
    neuron_ = {d->neuron_->type_, d->neuron_->a_, d->neuron_->b_, d->neuron_->c_, {}};
  load();
}

void Convolution::take(const float* weights, const float* bias) {
  weights_.assign(weights, weights + count());
  if (bias != nullptr) bias_.assign(bias, bias + outputs_);
  if (!rounds_) return;
  for (float& weight : weights_) weight = metal_double::from_half(metal_double::to_half(weight));
}

void Convolution::load() {
  id<MPSCNNConvolutionDataSource> from = source_;
  if (![from load]) refuse("MPSNNGraph", "the data source did not load");
  if ([from dataType] != MPSDataTypeFloat32) refuse("MPSNNGraph", "the double loads float32 only");
  take(static_cast<const float*>([from weights]), [from biasTerms]);
  [from purge];
}

Placing Convolution::placing(const DoubleNode& node, const Pixels& source, Window& w) const {
  w = window_;
  if (!is_transposed_) {
    Placing size = place(node, [MPSCNNKernel class], w, source);
    if (sub_pixels_ > 1 && size.height % sub_pixels_ + size.width % sub_pixels_ != 0)
      refuse("MPSCNNConvolution", "a result that the scale factor does not divide");
    return size;
  }
  const Pixels like((source.height - 1) * w.stride_y + 1, (source.width - 1) * w.stride_x + 1,
                    source.channels, false);
  w.stride_y = w.stride_x = 1;
  return place(node, [MPSCNNConvolutionTranspose class], w, like);
}

metal_double::Shape Convolution::shape(const DoubleNode& node, const Pixels& source) {
  if (source.channels != inputs_)
    refuse("MPSCNNConvolution", "the image has other channels than the descriptor");
  Window w;
  const Placing size = placing(node, source, w);
  return {size.height, size.width, outputs_ / (sub_pixels_ * sub_pixels_)};
}

/// N channels become N / r^2 of r x r pixels.
void Convolution::rearrange(const Pixels& convolved, Pixels& result) const {
  const int r = sub_pixels_;
  metal_double::each(result, [&](int y, int x, int c) {
    const int channel = result.channels * (r * (y % r) + x % r) + c;
    result.set(y, x, c, static_cast<double>(convolved.at(y / r, x / r, channel)));
  });
}

void Convolution::run(const FilterRun& run, const Batch& from, const Batch& to) {
  Window w;
  const Origin origin = placing(run.node, *from[0], w).origin;
  const Batch read = is_transposed_ ? stuffed(run.commands, from, window_) : from;
  record_each(run.commands, to.size(), [=, self = self()](std::size_t n) {
    if (self->sub_pixels_ == 1)
      return convolve(*read[n], self->weights_, self->bias_, w, origin, self->neuron_, *to[n]);
    Pixels convolved(to[n]->height / self->sub_pixels_, to[n]->width / self->sub_pixels_,
                     self->outputs_, false);
    convolve(*read[n], self->weights_, self->bias_, w, origin, self->neuron_, convolved);
    self->rearrange(convolved, *to[n]);
  });
}

void Convolution::gradient(const FilterRun& run, const Batch& given, const Batch& from,
                           const Batch& to, bool updates) {
  if (sub_pixels_ > 1) refuse("MPSCNNConvolutionGradient", "sub-pixel convolutions have none");
  Window w;
  const Origin origin = placing(run.node, *from[0], w).origin;
  const Batch read = is_transposed_ ? stuffed(run.commands, from, window_) : from;
  record_each(run.commands, to.size(), [=, self = self()](std::size_t n) {
    if (!self->is_transposed_)
      return convolve_data_gradient(*given[n], self->weights_, w, origin, *to[n]);
    Pixels whole(read[n]->height, read[n]->width, read[n]->channels, false);
    convolve_data_gradient(*given[n], self->weights_, w, origin, whole);
    metal_double::each(*to[n], [&](int y, int x, int c) {
      to[n]->set(
          y, x, c,
          static_cast<double>(whole.at(y * self->window_.stride_y, x * self->window_.stride_x, c)));
    });
  });
  if (updates) update(run, given, read, w, origin);
}

/// Gradients of weights and biases, and what the data source makes of them.
void Convolution::update(const FilterRun& run, const Batch& given, const Batch& from,
                         const Window& window, Origin origin) {
  id<MPSCNNConvolutionDataSource> source = source_;
  if (![source respondsToSelector:@selector(updateWithCommandBuffer:gradientState:sourceState:)])
    return;
  MPSCNNConvolutionGradientState* state =
      temporary_state([[MPSCNNConvolutionGradientState alloc] init]);
  state->weights_ = [run.device newBufferWithLength:count() * sizeof(float)
                                            options:MTLResourceStorageModeShared];
  state->biases_ = [run.device newBufferWithLength:static_cast<NSUInteger>(outputs_) * sizeof(float)
                                           options:MTLResourceStorageModeShared];
  const Ref<MPSCNNConvolutionGradientState*> kept(state);
  record(run.commands, [=, self = self()] {
    auto* to_weights = static_cast<float*>([kept.get()->weights_ contents]);
    auto* to_bias = static_cast<float*>([kept.get()->biases_ contents]);
    std::fill_n(to_weights, self->count(), 0.0F);
    std::fill_n(to_bias, self->outputs_, 0.0F);
    for (std::size_t n = 0; n < given.size(); ++n)
      convolve_weights_gradient(*given[n], *from[n], window, origin, to_weights, to_bias);
  });
  MPSCNNConvolutionWeightsAndBiasesState* before =
      temporary_state([[MPSCNNConvolutionWeightsAndBiasesState alloc] init]);
  const Ref<MPSCNNConvolutionWeightsAndBiasesState*> after(
      [source updateWithCommandBuffer:run.commands gradientState:state sourceState:before]);
  if (state->readCount_ != 0 || before->readCount_ != 0)
    refuse("updateWithCommandBuffer", "the states' read counts must be decremented");
  if (after.get() != nil) refresh(run.commands, after);
}

void Convolution::refresh(id<MTLCommandBuffer> commands,
                          MPSCNNConvolutionWeightsAndBiasesState* state) {
  const Ref<MPSCNNConvolutionWeightsAndBiasesState*> after(state);
  record(commands, [=, self = self()] {
    const auto* start = static_cast<const char*>([after.get()->weights_ contents]);
    const auto* bias = after.get()->biases_ == nil
                           ? nullptr
                           : static_cast<const char*>([after.get()->biases_ contents]);
    self->take(reinterpret_cast<const float*>(start + after.get()->weightsOffset_),
               bias == nullptr ? nullptr
                               : reinterpret_cast<const float*>(bias + after.get()->biasesOffset_));
  });
}

void Convolution::encode(id<MTLCommandBuffer> commands, MPSCNNConvolution* kernel,
                         const Batch& from, const Batch& to) {
  const char* name = "MPSCNNConvolution";
  if (sub_pixels_ != 1) refuse(name, "the double encodes regular ones by themselves");
  if (from.size() != to.size()) refuse(name, "batches of one size are wanted");
  for (const auto& image : from)
    if (image->channels != inputs_)
      refuse(name, "the source has other channels than the descriptor");
  for (const auto& image : to)
    if (image->channels != outputs_)
      refuse(name, "the result has other channels than the descriptor");
  Window w = window_;
  w.clamps = [kernel edgeMode] == MPSImageEdgeModeClamp;
  const auto half = [](int taps, int dilation) { return ((taps - 1) * dilation + 1) / 2; };
  const Origin origin = {static_cast<int>([kernel offset].y) - half(w.kernel_y, w.dilation_y),
                         static_cast<int>([kernel offset].x) - half(w.kernel_x, w.dilation_x)};
  record_each(commands, to.size(), [=, self = self()](std::size_t n) {
    convolve(*from[n], self->weights_, self->bias_, w, origin, self->neuron_, *to[n]);
  });
}

MPSNNFilterNode* make(Class kind, MPSNNImageNode* source, id<MPSCNNConvolutionDataSource> weights) {
  if (weights == nil) refuse("MPSCNNConvolutionNode", "no weights");
  MPSNNFilterNode* made =
      fill_node([[[kind alloc] init] autorelease], DoubleKind::FILTER, {source});
  const bool is_transposed = kind == [MPSCNNConvolutionTransposeNode class];
  node_of(made)->make_filter = [weights = Ref<id<MPSCNNConvolutionDataSource>>(weights),
                                is_transposed] {
    return std::make_shared<Convolution>(weights, is_transposed);
  };
  node_of(made)->gradient_class = is_transposed ? [MPSCNNConvolutionTransposeGradientNode class]
                                                : [MPSCNNConvolutionGradientNode class];
  node_of(made)->training_style = MPSNNTrainingStyleUpdateDeviceGPU;
  return made;
}

}  // namespace

@implementation MPSCNNConvolutionNode
+ (instancetype)nodeWithSource:(MPSNNImageNode*)sourceNode
                       weights:(id<MPSCNNConvolutionDataSource>)weights {
  auto* made = static_cast<MPSCNNConvolutionNode*>(make(self, sourceNode, weights));
  // A fully connected filter's window is the whole image: one position.
  if (self == [MPSCNNFullyConnectedNode class])
    node_of(made)->padding =
        [MPSNNDefaultPadding paddingWithMethod:MPSNNPaddingMethodAlignCentered];
  return made;
}
- (MPSNNConvolutionAccumulatorPrecisionOption)accumulatorPrecision {
  return MPSNNConvolutionAccumulatorPrecisionOptionFloat;
}
- (void)setAccumulatorPrecision:(MPSNNConvolutionAccumulatorPrecisionOption)option {
  if (option != MPSNNConvolutionAccumulatorPrecisionOptionFloat)
    refuse("MPSCNNConvolutionNode", "float32 weights want the float accumulator");
}
DOUBLE_TRAINING_STYLE
@end

@implementation MPSCNNFullyConnectedNode
@end

@implementation MPSCNNConvolutionTransposeNode
+ (instancetype)nodeWithSource:(MPSNNImageNode*)sourceNode
      convolutionGradientState:(MPSCNNConvolutionGradientStateNode*)convolutionGradientState
                       weights:(id<MPSCNNConvolutionDataSource>)weights {
  if (convolutionGradientState != nil)
    refuse("MPSCNNConvolutionTransposeNode", "the double has no states");
  return static_cast<MPSCNNConvolutionTransposeNode*>(make(self, sourceNode, weights));
}
@end

@implementation MPSCNNConvolutionGradientNode
DOUBLE_TRAINING_STYLE
@end
@implementation MPSCNNConvolutionTransposeGradientNode
@end

@implementation MPSCNNConvolution
- (instancetype)initWithDevice:(id<MTLDevice>)device
                       weights:(id<MPSCNNConvolutionDataSource>)weights {
  self = [super initWithDevice:device];
  weights_ = new std::shared_ptr<Convolution>(new Convolution(weights, false));
  return self;
}
- (void)dealloc {
  delete static_cast<std::shared_ptr<Convolution>*>(weights_);
  [super dealloc];
}
- (MPSNNConvolutionAccumulatorPrecisionOption)accumulatorPrecisionOption {
  return MPSNNConvolutionAccumulatorPrecisionOptionFloat;
}
- (void)setAccumulatorPrecisionOption:(MPSNNConvolutionAccumulatorPrecisionOption)option {
  if (option != MPSNNConvolutionAccumulatorPrecisionOptionFloat)
    refuse("MPSCNNConvolution", "float32 weights want the float accumulator");
}
- (void)reloadWeightsAndBiasesWithCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                                          state:(MPSCNNConvolutionWeightsAndBiasesState*)state {
  (*static_cast<std::shared_ptr<Convolution>*>(weights_))->refresh(commandBuffer, state);
}
- (void)encodeBatchToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                      sourceImages:(MPSImageBatch*)sourceImages
                 destinationImages:(MPSImageBatch*)destinationImages {
  Batch from, to;
  for (MPSImage* image in sourceImages) from.push_back(read_from(image, commandBuffer));
  for (MPSImage* image in destinationImages) to.push_back(written_to(image, commandBuffer));
  (*static_cast<std::shared_ptr<Convolution>*>(weights_))->encode(commandBuffer, self, from, to);
}
@end

@implementation MPSCNNConvolutionTranspose
@synthesize kernelOffsetX = kernelOffsetX_, kernelOffsetY = kernelOffsetY_;
@end
