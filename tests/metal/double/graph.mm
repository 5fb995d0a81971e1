// SPDX-License-Identifier: MIT
// MPSNNGraph: walks back from the results, asks data sources for weights, and encodes node by node.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <set>

#include "double.h"
#include "heaps.h"
#include "yolo.h"

using metal_double::Origin;
using metal_double::Pixels;
using metal_double::Sources;
using metal_double::Window;

struct DoubleGraph {
  std::vector<NodePointer> order, sources, results, exported, labelled;
  std::vector<bool> needed;
  MPSImageFeatureChannelFormat format = MPSImageFeatureChannelFormatFloat16;
  std::map<const DoubleNode*, std::shared_ptr<DoubleFilter>> filters;
  std::set<const DoubleNode*> differentiated;
  Ref<id<MPSImageAllocator>> allocator = [MPSImage defaultAllocator];
  std::weak_ptr<int> in_use;  // until the device has done the last encode

  /// How often a source is read, which is taken from its read count.
  NSUInteger reads(const DoubleNode& source) const {
    NSUInteger count = 0;
    for (const NodePointer& node : order) {
      for (const NodePointer& from : node->sources) count += from.get() == &source ? 1 : 0;
    }
    return std::max<NSUInteger>(count, 1);
  }

  void visit(const NodePointer& node) {
    if (!seen.insert(node.get()).second) return;
    for (const NodePointer& source : node->sources) visit(source);
    if (node->forward) {
      visit(node->forward);
      differentiated.insert(node->forward.get());
    }
    if (node->kind == DoubleKind::SOURCE) {
      sources.push_back(node);
    } else {
      order.push_back(node);
      if (node->kind == DoubleKind::FILTER) filters[node.get()] = node->make_filter();
      if (node->exported) exported.push_back(node);
      if (node->kind == DoubleKind::YOLO) labelled.push_back(node);
    }
  }

 private:
  std::set<const DoubleNode*> seen;
};

namespace {

std::atomic<bool> takes_one_read{false};
std::atomic<int> listing{0};

}  // namespace

/// MPSNNGraph.h says two things of how often a graph reads a source that several nodes do: once, or
/// (0) as often as readCountForSourceImageAtIndex: says.
extern "C" __attribute__((visibility("default"))) void metal_double_one_read(int on) {
  takes_one_read = on != 0;
}

/// What MPSNNGraph.h leaves open of the intermediate images. 1: a result that is exported, too, is
/// there twice; 2: results that are not needed are there; 4: and so are their handles.
extern "C" __attribute__((visibility("default"))) void metal_double_list(int what) {
  listing = what;
}

namespace {

/// One encode: what every node makes, for each image of the batch.
class Encoding {
 public:
  Encoding(const DoubleGraph& graph, id<MTLCommandBuffer> commands)
      : graph_(graph), commands_(commands) {}

  void add_source(const NodePointer& node, MPSImageBatch* batch) {
    for (MPSImage* image in batch) {
      const NSUInteger reads = takes_one_read ? 1 : graph_.reads(*node);
      for (NSUInteger i = 1; i < reads; ++i) read_from(image, commands_);
      values_[node.get()].push_back(read_from(image, commands_));
    }
  }
  /// The node's images have one more column.
  void widen(const NodePointer& node) {
    for (auto& pixels : values_[node.get()]) {
      pixels = std::make_shared<Pixels>(pixels->height, pixels->width + 1, pixels->channels,
                                        pixels->half);
    }
  }
  void add_labels(const NodePointer& node, MPSStateBatch* batch) {
    for (MPSState* state in batch) {
      if (![state isKindOfClass:[MPSCNNLossLabels class]])
        refuse("MPSCNNYOLOLoss", "its states are labels");
      labels_[node.get()].push_back(static_cast<MPSCNNLossLabels*>(state));
    }
  }
  const Batch& values(const NodePointer& node) const { return values_.at(node.get()); }

  void encode(const NodePointer& node) {
    switch (node->kind) {
      case DoubleKind::FILTER:
        return filter(node);
      case DoubleKind::POOLING:
        return pooling(node);
      case DoubleKind::NEAREST:
      case DoubleKind::BILINEAR:
        return upsampling(node);
      case DoubleKind::OP:
        return op(node);
      case DoubleKind::CONCATENATION:
        return concatenation(node);
      case DoubleKind::LOSS:
        return loss(node);
      case DoubleKind::YOLO:
        return yolo(node);
      case DoubleKind::GRADIENT:
        return gradient(node);
      default:
        return pointwise(node);
    }
  }

 private:
  const Batch& source(const NodePointer& node, std::size_t i = 0) const {
    return values_.at(node->sources[i].get());
  }

  /// MPSNNGraphNodes.h: a result has the format of the first source's node, if none is set.
  MPSImageFeatureChannelFormat format_of(const NodePointer& node) const {
    if (node->format != MPSImageFeatureChannelFormatNone) return node->format;
    return node->sources.empty() ? graph_.format : format_of(node->sources[0]);
  }

  /// Images of one size for the node's result.
  Batch& make(const NodePointer& node, int height, int width, int channels) {
    const auto format = format_of(node);
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

  template <class F>
  void each(std::size_t count, F f) {
    record_each(commands_, count, f);
  }

  FilterRun run_of(const NodePointer& node) const {
    return {commands_, graph_device, *node, graph_.differentiated.contains(node.get())};
  }

  void filter(const NodePointer& node) {
    const auto filter = graph_.filters.at(node.get());
    const Batch from = source(node);
    const metal_double::Shape shape = filter->shape(*node, *from[0]);
    const Batch to = make(node, shape.height, shape.width, shape.channels);
    filter->run(run_of(node), from, to);
  }

  static Placing place_pooling(const NodePointer& node, Window& window, const Pixels& source) {
    const bool is_average = node->pooling == metal_double::Pooling::AVERAGE;
    return place(*node, is_average ? [MPSCNNPoolingAverage class] : [MPSCNNPooling class], window,
                 source);
  }

  void pooling(const NodePointer& node) {
    const Batch from = source(node);
    Window window = node->window;
    const Placing size = place_pooling(node, window, *from[0]);
    const Batch to = make(node, size.height, size.width, from[0]->channels);
    each(to.size(),
         [=](std::size_t n) { pool(*from[n], window, size.origin, node->pooling, *to[n]); });
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
        metal_double::each(*part[n], [&](int y, int x, int c) {
          to[n]->set(y, x, first + c, static_cast<double>(part[n]->at(y, x, c)));
        });
        first += slices(*part[n]);
      }
    });
  }

  static metal_double::Loss loss_of(MPSCNNLossDescriptor* d) {
    return {static_cast<int>(d->type_), d->reduction_, d->weight_,
            d->labelSmoothing_,         d->epsilon_,   static_cast<int>(d->numberOfClasses_)};
  }

  /// What a loss compares, for each image of the batch.
  struct LossBatches {
    Batch predictions, labels, weights;
    metal_double::LossSources of(std::size_t n) const {
      return {*predictions[n], *labels[n], weights.empty() ? nullptr : weights[n].get()};
    }
  };
  LossBatches loss_batches(const NodePointer& node) const {
    return {source(node, 0), source(node, 1), node->sources.size() > 2 ? source(node, 2) : Batch()};
  }

  void loss(const NodePointer& node) {
    const LossBatches from = loss_batches(node);
    MPSCNNLossDescriptor* descriptor = node->loss;
    const bool is_whole = descriptor->reduction_ == MPSCNNReductionTypeNone;
    const Batch to = is_whole ? make_like(node, *from.predictions[0]) : make(node, 1, 1, 1);
    const metal_double::Loss of = loss_of(descriptor);
    const bool across = descriptor->reduceAcrossBatch_ && !is_whole;
    const bool is_sum = descriptor->reduction_ == MPSCNNReductionTypeSum;
    record(commands_, [=] {
      metal_double::LossSum all{0, 0};
      for (std::size_t n = 0; n < to.size(); ++n) {
        const metal_double::LossSum one = metal_double::loss(from.of(n), of, *to[n]);
        all = {all.sum + one.sum, all.divisor + one.divisor};
      }
      if (!across) return;
      for (const auto& image : to) image->set(0, 0, 0, 0);
      if (all.divisor != 0) to[0]->set(0, 0, 0, is_sum ? all.sum : all.sum / all.divisor);
    });
  }

  static metal_double::Yolo yolo_of(MPSCNNYOLOLossDescriptor* d) {
    const auto* anchors = static_cast<const float*>([d->anchors_ bytes]);
    for (MPSCNNLossDescriptor* part : {d->wh_, d->confidence_, d->classes_}) {
      if (part->weight_ != d->xy_->weight_) refuse("MPSCNNYOLOLoss", "the double has one weight");
    }
    return {{anchors, anchors + 2 * d->numberOfAnchors_},
            static_cast<int>(d->xy_->type_),
            static_cast<int>(d->wh_->type_),
            static_cast<int>(d->classes_->type_),
            d->xy_->weight_,
            d->xy_->delta_,
            d->scaleXY_,
            d->scaleWH_,
            d->scaleNoObject_,
            d->scaleObject_,
            d->scaleClass_,
            d->presence_,
            d->absence_,
            static_cast<bool>(d->rescore_),
            d->reduction_ == MPSCNNReductionTypeMean};
  }

  void yolo(const NodePointer& node) {
    const Batch from = source(node);
    const std::vector<Ref<MPSCNNLossLabels*>> labels = labels_.at(node.get());
    if (labels.size() != from.size()) refuse("MPSCNNYOLOLoss", "a state of labels for each image");
    const Batch to = make_like(node, *from[0]);
    const metal_double::Yolo of = yolo_of(node->yolo);
    each(to.size(), [=](std::size_t n) {
      MPSCNNLossLabels* own = labels[n];
      const double loss = yolo_loss(*from[n], *own->labels_->image_->data, of, *to[n]);
      own->loss_->image_->data->set(0, 0, 0, loss);
    });
  }

  void pointwise(const NodePointer& node) {
    const Batch from = source(node);
    const Batch to = make_like(node, *from[0]);
    each(to.size(), [=](std::size_t n) {
      if (node->kind == DoubleKind::SOFTMAX || node->kind == DoubleKind::LOG_SOFTMAX)
        return softmax(*from[n], node->kind == DoubleKind::LOG_SOFTMAX, *to[n]);
      metal_double::each(*to[n], [&](int y, int x, int c) {
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
      case DoubleKind::FILTER:
        return graph_.filters.at(forward.get())
            ->gradient(run_of(forward), given, from, to,
                       node->training_style == MPSNNTrainingStyleUpdateDeviceGPU);
      case DoubleKind::OP:
        return op_gradient(node, given, to);
      case DoubleKind::POOLING: {
        Window window = forward->window;
        const Origin origin = place_pooling(forward, window, *from[0]).origin;
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
        const LossBatches of_forward = loss_batches(forward);
        const metal_double::Loss of = loss_of(forward->loss);
        return each(count, [=](std::size_t n) {
          loss_gradient(*given[n], of_forward.of(n), of, node->source_index == 1, *to[n]);
        });
      }
      case DoubleKind::SOFTMAX:
      case DoubleKind::LOG_SOFTMAX:
        return each(count, [=](std::size_t n) {
          softmax_gradient(*given[n], *result[n], forward->kind == DoubleKind::LOG_SOFTMAX, *to[n]);
        });
      default:
        return element_gradient(node, given, from, to);
    }
  }

  /// Neurons and the parts of a concatenation.
  void element_gradient(const NodePointer& node, const Batch& given, const Batch& from,
                        const Batch& to) {
    const NodePointer forward = node->forward;
    int first = 0;
    if (forward->kind == DoubleKind::CONCATENATION) {
      for (std::size_t i = 0; i < node->source_index; ++i)
        first += slices(*values(forward->sources[i])[0]);
    }
    each(to.size(), [=](std::size_t n) {
      metal_double::each(*to[n], [&](int y, int x, int c) {
        double value = static_cast<double>(given[n]->at(y, x, first + c));
        if (forward->kind == DoubleKind::NEURON) {
          value *= metal_double::neuron_derivative(forward->neuron,
                                                   static_cast<double>(from[n]->at(y, x, c)), c);
        }
        to[n]->set(y, x, c, value);
      });
    });
  }

 public:
  id<MTLDevice> graph_device = nil;

 private:
  const DoubleGraph& graph_;
  id<MTLCommandBuffer> commands_;
  std::map<const DoubleNode*, Batch> values_;
  std::map<const DoubleNode*, std::vector<Ref<MPSCNNLossLabels*>>> labels_;
};

MPSImageBatch* batch_of(const Batch& values, id<MTLDevice> device) {
  NSMutableArray* batch = [NSMutableArray array];
  for (const auto& pixels : values) {
    MPSImage* image = [[[MPSImage alloc] init] autorelease];
    image->image_ = new DoubleImage{.data = pixels, .device = device};
    [batch addObject:image];
  }
  return batch;
}

MPSImageBatch* temporary_batch(const Batch& values, id<MTLCommandBuffer> commands,
                               NSUInteger reads) {
  NSMutableArray* batch = [NSMutableArray array];
  for (const auto& pixels : values) {
    MPSTemporaryImage* image = temporary_image(pixels, commands);
    [image setReadCount:reads];
    [batch addObject:image];
  }
  return batch;
}

/// MPSNNGraph.h: on an MPSCommandBuffer, work is committed in small pieces. Here they are as small
/// as can be: a node.
void commit_piece(id<MTLCommandBuffer> commands) {
  if ([static_cast<id>(commands) isKindOfClass:[MPSCommandBuffer class]])
    [static_cast<MPSCommandBuffer*>(static_cast<id>(commands)) commitAndContinue];
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
- (NSArray<id<MPSHandle>>*)sourceStateHandles {
  NSMutableArray* handles = [NSMutableArray array];
  for (const NodePointer& node : graph_->labelled) [handles addObject:[node->labels.get() handle]];
  return handles;
}
- (NSArray<id<MPSHandle>>*)intermediateImageHandles {
  NSMutableArray* handles = [NSMutableArray array];
  // MPSNNGraphNodes.h: handles are not used to tell results apart.
  for (const NodePointer& node : graph_->exported) [handles addObject:node->handle.get()];
  for (std::size_t r = 1; r < graph_->results.size(); ++r) {
    if (!graph_->needed[r] && (listing & 4) != 0)
      [handles addObject:graph_->results[r]->handle.get()];
  }
  return handles;
}
- (MPSImageFeatureChannelFormat)format {
  return graph_->format;
}
- (void)setFormat:(MPSImageFeatureChannelFormat)format {
  graph_->format = format;
}
- (id<MPSImageAllocator>)destinationImageAllocator {
  return graph_->allocator;
}
- (void)setDestinationImageAllocator:(id<MPSImageAllocator>)destinationImageAllocator {
  graph_->allocator = destinationImageAllocator;
}
- (NSUInteger)readCountForSourceImageAtIndex:(NSUInteger)index {
  return graph_->reads(*graph_->sources.at(index));
}
- (void)reloadFromDataSources {
  if (!graph_->in_use.expired())
    refuse("MPSNNGraph reloadFromDataSources",
           "it acts at once, and the device still uses the weights");
  for (const auto& entry : graph_->filters) entry.second->load();
}
- (MPSImageBatch*)encodeBatchToCommandBuffer:(id<MTLCommandBuffer>)commandBuffer
                                sourceImages:(NSArray<MPSImageBatch*>*)sourceImages
                                sourceStates:(NSArray<MPSStateBatch*>*)sourceStates
                          intermediateImages:(NSMutableArray<MPSImageBatch*>*)intermediateImages
                           destinationStates:(NSMutableArray<MPSStateBatch*>*)destinationStates {
  if (destinationStates != nil) refuse("MPSNNGraph", "the double exports no states");
  if ([sourceStates count] != graph_->labelled.size())
    refuse("MPSNNGraph", "one batch a state is wanted");
  if ([sourceImages count] != graph_->sources.size())
    refuse("MPSNNGraph", "one batch a source is wanted");
  Encoding encoding(*graph_, commandBuffer);
  encoding.graph_device = [self device];
  NSUInteger i = 0;
  for (MPSImageBatch* batch in sourceImages) {
    if ([batch count] != [[sourceImages objectAtIndex:0] count])
      refuse("MPSNNGraph", "batches of different sizes");
    encoding.add_source(graph_->sources[i++], batch);
  }
  NSUInteger s = 0;
  for (MPSStateBatch* batch in sourceStates) encoding.add_labels(graph_->labelled[s++], batch);
  // What is between the nodes lies in the heaps. Here all of it does until the graph's end.
  std::vector<std::unique_ptr<HeapPlace>> between;
  for (const NodePointer& node : graph_->order) {
    encoding.encode(node);
    for (const auto& pixels : encoding.values(node)) {
      between.push_back(
          std::make_unique<HeapPlace>(*root_of(commandBuffer)->heaps_, texture_bytes(*pixels)));
    }
    commit_piece(commandBuffer);
  }
  graph_->in_use = *root_of(commandBuffer)->in_use_;
  if (fails_now(DoubleFailure::SIZE)) encoding.widen(graph_->results[0]);
  const bool is_temporary = graph_->allocator.get() == [MPSTemporaryImage defaultAllocator];
  MPSImageBatch* first = nil;
  if (graph_->needed[0]) {
    const Batch& values = encoding.values(graph_->results[0]);
    // MPSNNGraph.h: where it is exported, too, it has a read count of 2.
    first = is_temporary
                ? temporary_batch(values, commandBuffer, graph_->results[0]->exported ? 2 : 1)
                : batch_of(values, encoding.graph_device);
  }
  std::map<const DoubleNode*, MPSImageBatch*> listed;
  const auto list = [&](const NodePointer& node) {
    MPSImageBatch*& batch = listed[node.get()];
    if (first != nil && node == graph_->results[0]) batch = first;
    if (batch == nil) batch = temporary_batch(encoding.values(node), commandBuffer, 1);
    [intermediateImages addObject:batch];
  };
  for (const NodePointer& node : graph_->exported) list(node);
  for (std::size_t r = 1; r < graph_->results.size(); ++r) {
    const NodePointer& node = graph_->results[r];
    if (!graph_->needed[r] ? (listing & 2) != 0 : !node->exported || (listing & 1) != 0) list(node);
  }
  return first;
}
@end
