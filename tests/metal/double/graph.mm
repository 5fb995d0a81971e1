// SPDX-License-Identifier: MIT
// MPSNNGraph: walks back from the results, asks data sources for weights, and encodes node by node.
#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "double.h"

using metal_double::Origin;
using metal_double::Pixels;
using metal_double::Sources;
using metal_double::Window;

namespace {

/// A convolution's own copy of its weights, refreshed from states and data sources.
struct Weights {
  Ref<id<MPSCNNConvolutionDataSource>> source;
  Window window;
  int inputs = 0, outputs = 0;
  bool rounds = false;  // to float16, which kernels use unless the data source says otherwise
  metal_double::Neuron neuron;
  std::vector<float> weights, bias;

  std::size_t count() const {
    return static_cast<std::size_t>(outputs * window.kernel_y * window.kernel_x * inputs /
                                    window.groups);
  }
  void take(const float* new_weights, const float* new_bias) {
    weights.assign(new_weights, new_weights + count());
    if (new_bias != nullptr) bias.assign(new_bias, new_bias + outputs);
    if (!rounds) return;
    for (float& weight : weights) weight = metal_double::from_half(metal_double::to_half(weight));
  }
  void load() {
    id<MPSCNNConvolutionDataSource> from = source;
    if (![from load]) refuse("MPSNNGraph", "the data source did not load");
    if ([from dataType] != MPSDataTypeFloat32) refuse("MPSNNGraph", "the double loads float32 only");
    take(static_cast<const float*>([from weights]), [from biasTerms]);
    [from purge];
  }
};

std::shared_ptr<Weights> make_weights(id<MPSCNNConvolutionDataSource> source) {
  auto made = std::make_shared<Weights>();
  MPSCNNConvolutionDescriptor* d = [source descriptor];
  made->source = source;
  made->window = {static_cast<int>(d->kernelHeight_), static_cast<int>(d->kernelWidth_),
                  static_cast<int>(d->strideY_),      static_cast<int>(d->strideX_),
                  static_cast<int>(d->dilationY_),    static_cast<int>(d->dilationX_),
                  static_cast<int>(d->groups_)};
  made->inputs = static_cast<int>(d->inputs_);
  made->outputs = static_cast<int>(d->outputs_);
  made->rounds = ![source respondsToSelector:@selector(kernelWeightsDataType)] ||
                 [source kernelWeightsDataType] != MPSDataTypeFloat32;
  if ([d isKindOfClass:[MPSCNNDepthWiseConvolutionDescriptor class]]) {
    if (d->inputs_ != d->outputs_) refuse("MPSCNNConvolution", "a channel multiplier other than 1");
  } else if (d->groups_ > 1 && d->inputs_ / d->groups_ % 4 != 0) {
    refuse("MPSCNNConvolution", "channels of a group must be a multiple of 4");
  }
  if (d->neuron_ != nil) made->neuron = {d->neuron_->type_, d->neuron_->a_, d->neuron_->b_, d->neuron_->c_, {}};
  made->load();
  return made;
}

}  // namespace

struct DoubleGraph {
  std::vector<NodePointer> order, sources, results, exported;
  std::vector<bool> needed;
  MPSImageFeatureChannelFormat format = MPSImageFeatureChannelFormatFloat16;
  std::map<const DoubleNode*, std::shared_ptr<Weights>> weights;  // by forward convolution

  void visit(const NodePointer& node) {
    if (!seen.insert(node.get()).second) return;
    for (const NodePointer& source : node->sources) visit(source);
    if (node->forward) visit(node->forward);
    if (node->kind == DoubleKind::SOURCE) {
      sources.push_back(node);
    } else {
      order.push_back(node);
      if (node->kind == DoubleKind::CONVOLUTION) weights[node.get()] = make_weights(node->weights);
      if (node->exported) exported.push_back(node);
    }
  }

 private:
  std::set<const DoubleNode*> seen;
};

namespace {

using Batch = std::vector<std::shared_ptr<Pixels>>;

/// One encode: what every node makes, for each image of the batch.
class Encoding {
 public:
  Encoding(const DoubleGraph& graph, id<MTLCommandBuffer> commands)
      : graph_(graph), commands_(commands) {}

  void add_source(const NodePointer& node, MPSImageBatch* batch) {
    for (MPSImage* image in batch) {
      read_once(image);
      values_[node.get()].push_back(image->image_->data);
    }
  }
  const Batch& values(const NodePointer& node) const { return values_.at(node.get()); }

  void encode(const NodePointer& node) {
    switch (node->kind) {
      case DoubleKind::CONVOLUTION: return convolution(node);
      case DoubleKind::POOLING: return pooling(node);
      case DoubleKind::NEAREST:
      case DoubleKind::BILINEAR: return upsampling(node);
      case DoubleKind::OP: return op(node);
      case DoubleKind::CONCATENATION: return concatenation(node);
      case DoubleKind::LOSS: return loss(node);
      case DoubleKind::GRADIENT: return gradient(node);
      default: return pointwise(node);
    }
  }

 private:
  const Batch& source(const NodePointer& node, std::size_t i = 0) const {
    return values_.at(node->sources[i].get());
  }

  /// Images of one size for the node's result.
  Batch& make(const NodePointer& node, int height, int width, int channels) {
    const auto format =
        node->format == MPSImageFeatureChannelFormatNone ? graph_.format : node->format;
    Batch& made = values_[node.get()];
    std::size_t count = 1;
    for (const NodePointer& from : node->sources) count = std::max(count, values(from).size());
    for (std::size_t n = 0; n < count; ++n) {
      made.push_back(std::make_shared<Pixels>(height, width, channels,
                                              format == MPSImageFeatureChannelFormatFloat16));
    }
    return made;
  }
  Batch& make_like(const NodePointer& node, const Pixels& image) {
    return make(node, image.height, image.width, image.channels);
  }

  /// Records f(n) for every image of the batch.
  template <class F>
  void each(std::size_t count, F f) {
    record(commands_, [count, f] {
      for (std::size_t n = 0; n < count; ++n) f(n);
    });
  }

  static std::uint64_t method_of(const NodePointer& node) {
    // The default of MPS's windowed kernels: centred, remainder to the top left, same size.
    return node->padding.get() == nil ? 16 : [node->padding.get() paddingMethod];
  }

  struct Size {
    int height, width;
    Origin origin;
  };
  /// The size of the result and where windows start; `w` is given its edge mode.
  static Size place(const NodePointer& node, Window& w, const Pixels& source) {
    const std::uint64_t method = method_of(node);
    const auto y = metal_double::place(method, true, w.kernel_y, w.stride_y, w.dilation_y, source.height);
    const auto x = metal_double::place(method, false, w.kernel_x, w.stride_x, w.dilation_x, source.width);
    const int extent_y = (w.kernel_y - 1) * w.dilation_y + 1;
    const int extent_x = (w.kernel_x - 1) * w.dilation_x + 1;
    Size size{y.size, x.size, {y.offset - extent_y / 2, x.offset - extent_x / 2}};
    if ((method & MPSNNPaddingMethodCustom) != 0) ask_policy(node, w, source, size);
    if (size.height < 1 || size.width < 1) refuse("MPSNNGraph", "a window does not fit its image");
    return size;
  }

  /// A policy of the caller's own sets the kernel up and answers with the result's size.
  static void ask_policy(const NodePointer& node, Window& w, const Pixels& source, Size& size) {
    const bool is_average =
        node->kind == DoubleKind::POOLING && node->pooling == metal_double::Pooling::AVERAGE;
    MPSCNNKernel* kernel = is_average ? [[[MPSCNNPoolingAverage alloc] init] autorelease]
                                      : [[[MPSCNNKernel alloc] init] autorelease];
    count_object(1);
    [kernel setEdgeMode:w.clamps ? MPSImageEdgeModeClamp : MPSImageEdgeModeZero];
    MPSImageDescriptor* suggested = [MPSImageDescriptor
        imageDescriptorWithChannelFormat:MPSImageFeatureChannelFormatFloat16
                                   width:static_cast<NSUInteger>(std::max(size.width, 1))
                                  height:static_cast<NSUInteger>(std::max(size.height, 1))
                         featureChannels:static_cast<NSUInteger>(source.channels)];
    MPSImageDescriptor* wanted =
        [node->padding.get() destinationImageDescriptorForSourceImages:[NSArray array]
                                                          sourceStates:nil
                                                             forKernel:kernel
                                                   suggestedDescriptor:suggested];
    size.height = static_cast<int>(wanted->height_);
    size.width = static_cast<int>(wanted->width_);
    size.origin = {static_cast<int>([kernel offset].y) - ((w.kernel_y - 1) * w.dilation_y + 1) / 2,
                   static_cast<int>([kernel offset].x) - ((w.kernel_x - 1) * w.dilation_x + 1) / 2};
    w.clamps = [kernel edgeMode] == MPSImageEdgeModeClamp;
    if (!is_average) return;
    w.border_x = static_cast<int>([static_cast<MPSCNNPoolingAverage*>(kernel) zeroPadSizeX]);
    w.border_y = static_cast<int>([static_cast<MPSCNNPoolingAverage*>(kernel) zeroPadSizeY]);
  }

  void convolution(const NodePointer& node) {
    const auto weights = graph_.weights.at(node.get());
    const Batch from = source(node);
    if (from[0]->channels != weights->inputs)
      refuse("MPSCNNConvolution", "the image has other channels than the descriptor");
    Window window = weights->window;
    const Size size = place(node, window, *from[0]);
    const Batch to = make(node, size.height, size.width, weights->outputs);
    each(to.size(), [=](std::size_t n) {
      convolve(*from[n], weights->weights, weights->bias, window, size.origin, weights->neuron, *to[n]);
    });
  }

  void pooling(const NodePointer& node) {
    const Batch from = source(node);
    Window window = node->window;
    const Size size = place(node, window, *from[0]);
    const Batch to = make(node, size.height, size.width, from[0]->channels);
    each(to.size(), [=](std::size_t n) {
      pool(*from[n], window, size.origin, node->pooling, *to[n]);
    });
  }

  void upsampling(const NodePointer& node) {
    const Batch from = source(node);
    const auto sy = static_cast<int>(node->scale_y), sx = static_cast<int>(node->scale_x);
    const Batch to = make(node, from[0]->height * sy, from[0]->width * sx, from[0]->channels);
    each(to.size(), [=](std::size_t n) {
      if (node->kind == DoubleKind::NEAREST) return upsample_nearest(*from[n], sy, sx, *to[n]);
      upsample_bilinear(*from[n], sy, sx, node->align_corners, *to[n]);
    });
  }

  template <class F>
  static void each_element(const Pixels& image, F f) {
    for (int y = 0; y < image.height; ++y)
      for (int x = 0; x < image.width; ++x)
        for (int c = 0; c < image.channels; ++c) f(y, x, c);
  }

  Sources sources_of(const NodePointer& node, std::size_t n) const {
    Sources made;
    for (const NodePointer& from : node->sources) made.push_back(values(from)[n].get());
    return made;
  }

  void op(const NodePointer& node) {
    for (const NodePointer& from : node->sources) {
      if (values(from).size() != values(node->sources[0]).size())
        refuse("MPSCNNBinaryKernel", "batches of different sizes");
    }
    const metal_double::Shape shape = node->op->shape(sources_of(node, 0));
    const Batch to = make(node, shape.height, shape.width, shape.channels);
    std::vector<Sources> from;
    for (std::size_t n = 0; n < to.size(); ++n) from.push_back(sources_of(node, n));
    // The pixels live until the commands have run.
    const auto kept = values_;
    each(to.size(), [=](std::size_t n) {
      static_cast<void>(kept);
      node->op->run(from[n], *to[n]);
    });
  }

  void op_gradient(const NodePointer& node, const Batch& given, const Batch& to) {
    const NodePointer forward = node->forward;
    std::vector<Sources> from;
    for (std::size_t n = 0; n < to.size(); ++n) from.push_back(sources_of(forward, n));
    const auto kept = values_;
    each(to.size(), [=](std::size_t n) {
      forward->op->gradient(*given[n], from[n], *kept.at(forward.get())[n], node->source_index,
                            *to[n]);
    });
  }

  /// Every source begins at a slice of four channels.
  static int slices(const Pixels& image) { return (image.channels + 3) / 4 * 4; }

  void concatenation(const NodePointer& node) {
    std::vector<Batch> from;
    int channels = 0;
    for (std::size_t i = 0; i < node->sources.size(); ++i) {
      from.push_back(source(node, i));
      channels += slices(*from.back()[0]);
    }
    const Batch to = make(node, from[0][0]->height, from[0][0]->width, channels);
    each(to.size(), [=](std::size_t n) {
      int first = 0;
      for (const Batch& part : from) {
        each_element(*part[n], [&](int y, int x, int c) {
          to[n]->set(y, x, first + c, static_cast<double>(part[n]->at(y, x, c)));
        });
        first += slices(*part[n]);
      }
    });
  }

  static metal_double::Loss loss_of(MPSCNNLossDescriptor* d) {
    return {static_cast<int>(d->type_), d->reduction_,     d->weight_,
            d->labelSmoothing_,         d->epsilon_,       static_cast<int>(d->numberOfClasses_)};
  }

  void loss(const NodePointer& node) {
    const Batch predictions = source(node, 0), labels = source(node, 1);
    MPSCNNLossDescriptor* descriptor = node->loss;
    const bool is_whole = descriptor->reduction_ == MPSCNNReductionTypeNone;
    const Batch to = is_whole ? make_like(node, *predictions[0]) : make(node, 1, 1, 1);
    const metal_double::Loss of = loss_of(descriptor);
    each(to.size(), [=](std::size_t n) {
      metal_double::loss(*predictions[n], *labels[n], of, *to[n]);
    });
    if (!descriptor->reduceAcrossBatch_ || is_whole) return;
    const bool is_mean = descriptor->reduction_ != MPSCNNReductionTypeSum;
    record(commands_, [to, is_mean] {
      double sum = 0;
      for (const auto& image : to) sum += static_cast<double>(image->at(0, 0, 0));
      for (const auto& image : to) image->set(0, 0, 0, 0);
      to[0]->set(0, 0, 0, is_mean ? sum / static_cast<double>(to.size()) : sum);
    });
  }

  void pointwise(const NodePointer& node) {
    const Batch from = source(node);
    const Batch to = make_like(node, *from[0]);
    each(to.size(), [=](std::size_t n) {
      if (node->kind == DoubleKind::SOFTMAX || node->kind == DoubleKind::LOG_SOFTMAX)
        return softmax(*from[n], node->kind == DoubleKind::LOG_SOFTMAX, *to[n]);
      each_element(*to[n], [&](int y, int x, int c) {
        const auto value = static_cast<double>(from[n]->at(y, x, c));
        const bool is_one = node->kind == DoubleKind::INITIAL_GRADIENT;
        to[n]->set(y, x, c, is_one ? 1.0 : metal_double::neuron(node->neuron, value, c));
      });
    });
  }

  void gradient(const NodePointer& node) {
    const NodePointer& forward = node->forward;
    const Batch given = source(node), from = values(forward->sources[node->source_index]);
    const Batch result = values(forward);
    const Batch to = make_like(node, *from[0]);
    const std::size_t count = to.size();
    switch (forward->kind) {
      case DoubleKind::CONVOLUTION: return convolution_gradient(node, given, from, to);
      case DoubleKind::OP: return op_gradient(node, given, to);
      case DoubleKind::POOLING: {
        Window window = forward->window;
        const Origin origin = place(forward, window, *from[0]).origin;
        return each(count, [=](std::size_t n) {
          pool_gradient(*given[n], *from[n], *result[n], window, origin, forward->pooling, *to[n]);
        });
      }
      case DoubleKind::NEAREST:
      case DoubleKind::BILINEAR: {
        const auto sy = static_cast<int>(forward->scale_y), sx = static_cast<int>(forward->scale_x);
        return each(count, [=](std::size_t n) {
          if (forward->kind == DoubleKind::NEAREST)
            return upsample_nearest_gradient(*given[n], sy, sx, *to[n]);
          upsample_bilinear_gradient(*given[n], sy, sx, forward->align_corners, *to[n]);
        });
      }
      case DoubleKind::LOSS: {
        const Batch predictions = values(forward->sources[0]), labels = values(forward->sources[1]);
        const metal_double::Loss of = loss_of(forward->loss);
        return each(count, [=](std::size_t n) {
          loss_gradient(*given[n], *predictions[n], *labels[n], of, node->source_index == 1, *to[n]);
        });
      }
      case DoubleKind::SOFTMAX:
      case DoubleKind::LOG_SOFTMAX:
        return each(count, [=](std::size_t n) {
          softmax_gradient(*given[n], *result[n], forward->kind == DoubleKind::LOG_SOFTMAX, *to[n]);
        });
      default: return element_gradient(node, given, from, to);
    }
  }

  /// Neurons and the parts of a concatenation.
  void element_gradient(const NodePointer& node, const Batch& given, const Batch& from, const Batch& to) {
    const NodePointer forward = node->forward;
    int first = 0;
    if (forward->kind == DoubleKind::CONCATENATION) {
      for (std::size_t i = 0; i < node->source_index; ++i)
        first += slices(*values(forward->sources[i])[0]);
    }
    each(to.size(), [=](std::size_t n) {
      each_element(*to[n], [&](int y, int x, int c) {
        double value = static_cast<double>(given[n]->at(y, x, first + c));
        if (forward->kind == DoubleKind::NEURON) {
          value *= metal_double::neuron_derivative(forward->neuron,
                                                   static_cast<double>(from[n]->at(y, x, c)), c);
        }
        to[n]->set(y, x, c, value);
      });
    });
  }

  void convolution_gradient(const NodePointer& node, const Batch& given, const Batch& from,
                            const Batch& to) {
    const auto weights = graph_.weights.at(node->forward.get());
    Window window = weights->window;
    const Origin origin = place(node->forward, window, *from[0]).origin;
    each(to.size(), [=](std::size_t n) {
      convolve_data_gradient(*given[n], weights->weights, window, origin, *to[n]);
    });
    if (node->training_style == MPSNNTrainingStyleUpdateDeviceGPU)
      update(weights, given, from, window, origin);
  }

  /// Gradients of weights and biases, and what the data source makes of them.
  void update(const std::shared_ptr<Weights>& weights, const Batch& given, const Batch& from,
              const Window& window, Origin origin) {
    id<MPSCNNConvolutionDataSource> source = weights->source;
    if (![source respondsToSelector:@selector(updateWithCommandBuffer:gradientState:sourceState:)])
      return;
    id<MTLDevice> device = graph_device;
    MPSCNNConvolutionGradientState* state = temporary([[MPSCNNConvolutionGradientState alloc] init]);
    state->weights_ = [device newBufferWithLength:weights->count() * sizeof(float)
                                          options:MTLResourceStorageModeShared];
    state->biases_ = [device newBufferWithLength:static_cast<NSUInteger>(weights->outputs) * sizeof(float)
                                         options:MTLResourceStorageModeShared];
    const Ref<MPSCNNConvolutionGradientState*> kept(state);
    record(commands_, [=] {
      auto* to_weights = static_cast<float*>([kept.get()->weights_ contents]);
      auto* to_bias = static_cast<float*>([kept.get()->biases_ contents]);
      std::fill_n(to_weights, weights->count(), 0.0F);
      std::fill_n(to_bias, weights->outputs, 0.0F);
      for (std::size_t n = 0; n < given.size(); ++n)
        convolve_weights_gradient(*given[n], *from[n], window, origin, to_weights, to_bias);
    });
    MPSCNNConvolutionWeightsAndBiasesState* before =
        temporary([[MPSCNNConvolutionWeightsAndBiasesState alloc] init]);
    const Ref<MPSCNNConvolutionWeightsAndBiasesState*> after(
        [source updateWithCommandBuffer:commands_ gradientState:state sourceState:before]);
    if (state->readCount_ != 0 || before->readCount_ != 0)
      refuse("updateWithCommandBuffer", "the states' read counts must be decremented");
    if (after.get() == nil) return;
    record(commands_, [=] {
      const auto* start = static_cast<const char*>([after.get()->weights_ contents]);
      const auto* bias = after.get()->biases_ == nil
                             ? nullptr
                             : static_cast<const char*>([after.get()->biases_ contents]);
      weights->take(
          reinterpret_cast<const float*>(start + after.get()->weightsOffset_),
          bias == nullptr ? nullptr
                          : reinterpret_cast<const float*>(bias + after.get()->biasesOffset_));
    });
  }

  /// A state that may be read once; autoreleased.
  template <class State>
  static State* temporary(State* state) {
    state->isTemporary_ = YES;
    state->readCount_ = 1;
    count_object(1);
    return [state autorelease];
  }

 public:
  id<MTLDevice> graph_device = nil;

 private:
  const DoubleGraph& graph_;
  id<MTLCommandBuffer> commands_;
  std::map<const DoubleNode*, Batch> values_;
};

MPSImageBatch* batch_of(const Batch& values, bool is_temporary) {
  NSMutableArray* batch = [NSMutableArray array];
  for (const auto& pixels : values) {
    MPSImage* image = is_temporary ? [[[MPSTemporaryImage alloc] init] autorelease]
                                   : [[[MPSImage alloc] init] autorelease];
    image->image_ = new DoubleImage{pixels};
    count_object(1);
    if (is_temporary) static_cast<MPSTemporaryImage*>(image)->readCount_ = 1;
    [batch addObject:image];
  }
  return batch;
}

}  // namespace

@implementation MPSNNGraph
- (instancetype)initWithDevice:(id<MTLDevice>)device
                  resultImages:(NSArray<MPSNNImageNode*>*)resultImages
              resultsAreNeeded:(BOOL*)areResultsNeeded {
  self = [super initWithDevice:device];
  if (self == nil) return nil;
  graph_ = new DoubleGraph();
  NSUInteger i = 0;
  for (MPSNNImageNode* image in resultImages) {
    graph_->results.push_back(node_of(image));
    graph_->needed.push_back(areResultsNeeded == nullptr || areResultsNeeded[i]);
    graph_->visit(node_of(image));
    ++i;
  }
  return self;
}
- (void)dealloc {
  delete graph_;
  [super dealloc];
}
- (NSArray<id<MPSHandle>>*)sourceImageHandles {
  NSMutableArray* handles = [NSMutableArray array];
  for (const NodePointer& source : graph_->sources) [handles addObject:source->handle.get()];
  return handles;
}
- (NSArray<id<MPSHandle>>*)intermediateImageHandles {
  NSMutableArray* handles = [NSMutableArray array];
  for (const NodePointer& node : graph_->exported) [handles addObject:node->handle.get()];
  for (std::size_t i = 1; i < graph_->results.size(); ++i) {
    const NodePointer& node = graph_->results[i];
    if (graph_->needed[i] && !node->exported) [handles addObject:node->handle.get()];
  }
  return handles;
}
- (MPSImageFeatureChannelFormat)format {
  return graph_->format;
}
- (void)setFormat:(MPSImageFeatureChannelFormat)format {
  graph_->format = format;
}
- (void)reloadFromDataSources {
  for (const auto& entry : graph_->weights) entry.second->load();
}
- (MPSImageBatch*)encodeBatchToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                                sourceImages:(NSArray<MPSImageBatch*>*)sourceImages
                                sourceStates:(NSArray<MPSStateBatch*>*)sourceStates
                          intermediateImages:(NSMutableArray<MPSImageBatch*>*)intermediateImages
                           destinationStates:(NSMutableArray<MPSStateBatch*>*)destinationStates {
  if (sourceStates != nil || destinationStates != nil) refuse("MPSNNGraph", "the double has no states");
  if ([sourceImages count] != graph_->sources.size()) refuse("MPSNNGraph", "one batch a source is wanted");
  Encoding encoding(*graph_, commandBuffer);
  encoding.graph_device = [self device];
  NSUInteger i = 0;
  for (MPSImageBatch* batch in sourceImages) {
    if ([batch count] != [[sourceImages objectAtIndex:0] count])
      refuse("MPSNNGraph", "batches of different sizes");
    encoding.add_source(graph_->sources[i++], batch);
  }
  for (const NodePointer& node : graph_->order) encoding.encode(node);
  for (const NodePointer& node : graph_->exported)
    [intermediateImages addObject:batch_of(encoding.values(node), true)];
  for (std::size_t r = 1; r < graph_->results.size(); ++r) {
    const NodePointer& node = graph_->results[r];
    if (graph_->needed[r] && !node->exported)
      [intermediateImages addObject:batch_of(encoding.values(node), true)];
  }
  return graph_->needed[0] ? batch_of(encoding.values(graph_->results[0]), false) : nil;
}
@end
