// SPDX-License-Identifier: MIT
#include "backend/metal/graph_kernel.h"

#include <algorithm>
#include <limits>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "backend/metal/coding.h"
#include "backend/metal/images.h"
#include "backend/metal/lowering.h"
#include "backend/metal/stream.h"
#include "backend/metal/weights.h"
#include "graph/node_table.h"
#include "mpsnn/dropout_state.h"
#include "mpsnn/error.h"

/// Names an image of a graph by a number.
@interface MpsnnHandle : NSObject <MPSHandle> {
  NSUInteger index_;
}
- (instancetype)initWithIndex:(NSUInteger)index;
- (NSUInteger)index;
@end

@implementation MpsnnHandle

- (instancetype)initWithIndex:(NSUInteger)index {
  self = [super init];
  if (self != nil) index_ = index;
  return self;
}

- (NSUInteger)index {
  return index_;
}

- (NSString*)label {
  return [NSString stringWithFormat:@"%lu", static_cast<unsigned long>(index_)];
}

+ (BOOL)supportsSecureCoding {
  return YES;
}

- (void)encodeWithCoder:(NSCoder*)coder {
  [coder encodeInt64:static_cast<int64_t>(index_) forKey:@"index"];
}

- (instancetype)initWithCoder:(NSCoder*)coder {
  [self autorelease];  // a reader raises
  const mpsnn::backend::metal::ArchiveReader from(coder, [MpsnnHandle class]);
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  return [[self initWithIndex:static_cast<NSUInteger>(from.integer(@"index", 0, kMost))] retain];
}

@end

namespace mpsnn::backend::metal {
namespace {

using graph::FilterRecord;
using graph::ImageRecord;

MpsnnHandle* handle_of(std::size_t index) {
  return [[[MpsnnHandle alloc] initWithIndex:index] autorelease];
}

/// An exported result has a read count of 2 (MPSNNGraph.h), of which one is left: a temporary image
/// that is released before its count is 0 is refused.
void give_back(MPSImageBatch* batch) {
  for (MPSImage* image in batch) {
    if (read_count(image) > 0) [static_cast<MPSTemporaryImage*>(image) setReadCount:0];
  }
}

/// What an encode handed out, which is given back once it was copied, or was not as planned.
class HandedOut {
 public:
  HandedOut(MPSImageBatch* first, NSArray<MPSImageBatch*>* others)
      : first_(first), others_(others) {}
  ~HandedOut() {
    give_back(first_);
    for (MPSImageBatch* batch in others_) give_back(batch);
  }
  HandedOut(const HandedOut&) = delete;
  HandedOut& operator=(const HandedOut&) = delete;

  MPSImageBatch* first() const noexcept { return first_; }
  std::size_t listed() const noexcept { return [others_ count]; }
  /// The images that the handles name, in their order. MPSNNGraph.h lists exported images there and
  /// results but the first; not whether one that is both is there twice, nor whether results that
  /// are not needed are there. Turi Create finds what it exports before results.
  NSArray<MPSImageBatch*>* others(std::size_t handles) const {
    if (listed() >= handles) return others_;
    fail_on_device("MPSNNGraph", str("expected ", handles, " images with handles, got ", listed()));
  }

 private:
  MPSImageBatch* const first_;
  NSArray<MPSImageBatch*>* const others_;
};

std::size_t index_of(id<MPSHandle> handle) {
  return [static_cast<MpsnnHandle*>(static_cast<id>(handle)) index];
}

class GraphKernel final : public Kernel {
 public:
  GraphKernel(const graph::WholeGraph& graph, id<MTLDevice> device);
  void run(const KernelArgs& args) const override;

 private:
  struct Output {
    const ImageRecord* image;  // null: the loss or the mask of `node`
    const FilterRecord* node;
    TensorDesc desc;
    bool is_mask = false;
    std::string name() const;
    /// Images that MPS has sized go into memory that our planner has sized: where they differ, a
    /// copy would end the process (MPSImageCopy.h).
    void check(MPSImageBatch* batch) const;
  };
  void add_weights(const graph::WholeGraph& graph);
  /// Makes the MPSNNGraph, once the arrays of the data sources are bound.
  void build() const;
  /// Whether the MPSNNGraph is there and has the weights as they are.
  bool is_current() const;
  /// Makes it or has it read weights again that others changed. Nothing may use them meanwhile.
  void refresh() const;
  /// Whether work that the stream was given may change the weights, or an encode of this graph use
  /// them. Of a command buffer of the program's nothing can be waited for: what is on it before
  /// changes none unless it holds a graph that trains.
  bool reads_what_is_encoded(const CommandStream& stream) const;
  void encode(const KernelArgs& args, CommandStream& stream) const;
  NSArray<MPSImageBatch*>* copy_sources(const KernelArgs& args, MPSCommandBuffer* commands,
                                        const BufferMap& buffers) const;
  /// The labels of nodes that take them in a state: a batch for each of `labelled_`.
  NSArray<MPSStateBatch*>* make_labels(const KernelArgs& args, MPSCommandBuffer* commands,
                                       const BufferMap& buffers) const;
  /// Says in `there` which outputs came out.
  void copy_results(const KernelArgs& args, MPSCommandBuffer* commands, const BufferMap& buffers,
                    const HandedOut& made, std::vector<bool>& there) const;
  /// What MPS left in the labels of such nodes.
  void copy_losses(const KernelArgs& args, MPSCommandBuffer* commands, const BufferMap& buffers,
                   NSArray<MPSStateBatch*>* labels, std::vector<bool>& there) const;

  const Owned<id<MTLDevice>> device_;
  const graph::Network network_;
  std::unordered_map<const ImageRecord*, TensorDesc> shapes_;
  const std::vector<const ImageRecord*> sources_;
  std::vector<Output> outputs_;
  const ImageCopies copies_;
  std::vector<std::shared_ptr<Optimizer>> optimizers_;
  std::vector<const FilterRecord*> labelled_;  // their labels are in states
  bool updates_ = false;
  bool has_binary_weights_ = false;

  mutable std::mutex mutex_;  // MPSNNGraph is encoded by one thread at a time
  std::vector<std::shared_ptr<Weights>> weights_;
  mutable Owned<MPSNNGraph*> graph_;
};

std::string GraphKernel::Output::name() const {
  if (image != nullptr) return str("image \"", image->handle, '"');
  return str(is_mask ? "the mask of " : "the loss of ", title(*node));
}

void GraphKernel::Output::check(MPSImageBatch* batch) const {
  bool fits = [batch count] == static_cast<NSUInteger>(desc.image().n);
  TensorDesc got = desc;
  for (MPSImage* one in batch) {
    got.dims = {static_cast<std::int64_t>([batch count]), static_cast<std::int64_t>([one height]),
                static_cast<std::int64_t>([one width]),
                static_cast<std::int64_t>([one featureChannels])};
    fits = fits && got.dims == desc.dims && [one featureChannelFormat] == format_of(desc);
    if (!fits) break;
  }
  if (fits) return;
  fail_on_device("MPSNNGraph", str(name(), ": expected ", mpsnn::to_string(desc), ", got dims of ",
                                   mpsnn::to_string(got), " in ", [batch count], " images"));
}

GraphKernel::GraphKernel(const graph::WholeGraph& graph, id<MTLDevice> device)
    : device_(Owned<id<MTLDevice>>::retained(device)),
      network_(graph.network),
      shapes_(graph.shapes),
      sources_(graph.sources),
      copies_(device),
      optimizers_(graph.optimizers) {
  row = "graph/mps";
  for (const ImageRecord* image : graph.outputs)
    outputs_.push_back({image, image->producer, shapes_.at(image)});
  for (const graph::LossOutput& loss : graph.losses)
    outputs_.push_back({nullptr, loss.node, loss.desc});
  for (const graph::MaskOutput& mask : graph.masks)
    outputs_.push_back({nullptr, mask.node, mask.desc, true});
  add_weights(graph);
  for (const FilterNode& node : network_.nodes) {
    if (has_label_state(*node.record())) labelled_.push_back(node.record().get());
  }
  has_binary_weights_ = std::ranges::any_of(network_.nodes, [](const FilterNode& node) {
    return node.record()->node_class->name.starts_with("Binary");
  });
}

void GraphKernel::add_weights(const graph::WholeGraph& graph) {
  for (std::size_t i = 0; i < network_.data_sources.size(); ++i) {
    // MPS counts a dropout's masks by itself.
    if (std::dynamic_pointer_cast<DropoutState>(network_.data_sources[i])) continue;
    weights_.push_back(make_weights(graph, i, device_.get()));
    updates_ = updates_ || weights_.back()->changes();
  }
}

void GraphKernel::build() const {
  Builder::Objects objects;
  for (const auto& weights : weights_) objects[weights->source()] = weights->make_object();
  Builder builder(std::move(objects), shapes_);
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    const ImageRecord& image = *sources_[i];
    MPSNNImageNode* node = [MPSNNImageNode nodeWithHandle:handle_of(i)];
    [node setFormat:format_of(shapes_.at(&image))];
    builder.add_source(image, node);
  }
  for (const FilterNode& node : network_.nodes) {
    const FilterRecord& record = *node.record();
    builder.lower(record);
    [builder.image(record.result) setFormat:format_of(shapes_.at(&record.result))];
  }
  for (std::size_t i = 0; i < labelled_.size(); ++i)
    [builder.labels(*labelled_[i]) setHandle:handle_of(i)];
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    const Output& output = outputs_[i];
    if (output.image == nullptr && has_label_state(*output.node)) continue;
    MPSNNImageNode* image = output.image != nullptr ? builder.image(*output.image)
                            : output.is_mask        ? builder.mask(*output.node)
                                                    : builder.loss(*output.node);
    [image setHandle:handle_of(i)];
    if (output.image != nullptr) continue;
    [image setExportFromGraph:YES];
    // Else a result has the format of the filter's first source.
    [image setFormat:format_of(output.desc)];
  }
  for (const ImageNode& image : network_.exported)
    [builder.image(*image.record()) setExportFromGraph:YES];
  NSMutableArray<MPSNNImageNode*>* results = [NSMutableArray array];
  std::vector<char> needed;  // BOOLs: a vector of bool has no array of them
  for (std::size_t i = 0; i < network_.results.size(); ++i) {
    [results addObject:builder.image(*network_.results[i].record())];
    needed.push_back(network_.needed[i]);
    // MPSNNGraph.h hands all but the first out among the intermediate images, where only exported
    // ones are known by their handles.
    if (i > 0 && network_.needed[i]) [[results lastObject] setExportFromGraph:YES];
    // Those that are not needed have a handle of no output, should MPS list them all the same.
    if (!network_.needed[i] && [[results lastObject] handle] == nil)
      [[results lastObject] setHandle:handle_of(outputs_.size())];
  }
  graph_ = Owned<MPSNNGraph*>([[MPSNNGraph alloc]
        initWithDevice:device_.get()
          resultImages:results
      resultsAreNeeded:reinterpret_cast<BOOL*>(needed.data())]);
  if (!graph_) fail_on_device("MPSNNGraph", "MPS cannot make this graph");
  [graph_.get() setFormat:MPSImageFeatureChannelFormatFloat32];
  // The first result is copied out at once: a temporary image will do, in the queue's heaps.
  [graph_.get() setDestinationImageAllocator:[MPSTemporaryImage defaultAllocator]];
  for (const auto& weights : weights_) weights->note_current();
}

bool GraphKernel::is_current() const {
  return graph_ && std::ranges::none_of(weights_, [](const auto& one) { return one->is_stale(); });
}

void GraphKernel::refresh() const {
  // MPS's binary convolutions have no reloadWeights.
  if (!graph_ || has_binary_weights_) return build();
  [graph_.get() reloadFromDataSources];
  for (const auto& weights : weights_) weights->note_current();
}

void GraphKernel::run(const KernelArgs& args) const {
  auto& stream = *static_cast<CommandStream*>(static_cast<Stream*>(args.queue));
  // Updates are counted on the host, so whether this one happens must be known here.
  if (updates_ && stream.is_predicated()) {
    if (!stream.settle()) return;
    stream.set_predicates({});
  }
  std::unique_lock lock(mutex_);
  guarded(network_.results[0].producer()->label(), [&] {
    for (const auto& weights : weights_) weights->bind(args, stream.buffers());
    if (!is_current() && reads_what_is_encoded(stream)) {
      // Handlers of earlier work run meanwhile, which may wait for this kernel on another queue.
      lock.unlock();
      stream.settle();
      lock.lock();
      for (const auto& weights : weights_) weights->bind(args, stream.buffers());
    }
    if (!is_current()) refresh();
    encode(args, stream);
  });
}

bool GraphKernel::reads_what_is_encoded(const CommandStream& stream) const {
  const PendingUpdates* pending = stream.pending_updates();
  if (pending == nullptr) return !weights_.empty();
  return std::ranges::any_of(weights_, [&](const auto& one) { return one->is_among(*pending); });
}

void GraphKernel::encode(const KernelArgs& args, CommandStream& stream) const {
  std::size_t scalar = 0;
  for (const auto& optimizer : optimizers_) {
    for (const auto& weights : weights_) {
      if (weights->source()->optimizer() == optimizer)
        weights->set_learning_rate(args.scalars[scalar]);
    }
    scalar += optimizer->scalars().size();
  }
  NSMutableArray<MPSImageBatch*>* intermediates = [NSMutableArray array];
  MPSCommandBuffer* commands = stream.commands();
  NSArray<MPSStateBatch*>* labels = make_labels(args, commands, stream.buffers());
  NSArray<MPSImageBatch*>* sources = copy_sources(args, commands, stream.buffers());
  MPSImageBatch* first = [graph_.get() encodeBatchToCommandBuffer:commands
                                                     sourceImages:sources
                                                     sourceStates:labels
                                               intermediateImages:intermediates
                                                destinationStates:nil];
  const HandedOut made(first, intermediates);
  for (MPSImageBatch* batch in sources) give_back(batch);
  // The device will change the weights, whatever fails below.
  for (const auto& weights : weights_) weights->count_update();
  if (PendingUpdates* pending = stream.pending_updates()) {
    for (const auto& weights : weights_) weights->add_changed(*pending, stream.kept);
  }
  stream.encoded_bytes += Stream::kGraphBytes;
  std::vector<bool> there(outputs_.size());
  copy_results(args, commands, stream.buffers(), made, there);
  copy_losses(args, commands, stream.buffers(), labels, there);
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    if (!there[i]) fail_on_device("MPSNNGraph", str(outputs_[i].name(), " did not come out"));
  }
}

NSArray<MPSImageBatch*>* GraphKernel::copy_sources(const KernelArgs& args,
                                                   MPSCommandBuffer* commands,
                                                   const BufferMap& buffers) const {
  NSMutableArray<MPSImageBatch*>* batches = [NSMutableArray array];
  for (id<MPSHandle> handle in [graph_.get() sourceImageHandles]) {
    const std::size_t i = index_of(handle);
    const TensorDesc& desc = shapes_.at(sources_[i]);
    MPSImageBatch* batch =
        copies_.copy_in(commands, buffers.find(args.table[args.inputs[i]]), desc);
    // The header says at one place that a graph takes one from the read count, at another that it
    // takes this many; an image has 1. What is left is given back.
    const NSUInteger reads = [graph_.get() readCountForSourceImageAtIndex:[batches count]];
    if (reads > 1) MPSImageBatchIncrementReadCount(batch, static_cast<NSInteger>(reads - 1));
    [batches addObject:batch];
  }
  return batches;
}

void GraphKernel::copy_results(const KernelArgs& args, MPSCommandBuffer* commands,
                               const BufferMap& buffers, const HandedOut& made,
                               std::vector<bool>& there) const {
  const auto copy = [&](MPSImageBatch* batch, std::size_t i) {
    outputs_[i].check(batch);
    copies_.copy_out(commands, batch, buffers.find(args.table[args.outputs[i]]), outputs_[i].desc);
  };
  std::vector<std::size_t> named;
  for (id<MPSHandle> handle in [graph_.get() intermediateImageHandles])
    named.push_back(index_of(handle));
  if (named.size() != made.listed())  // results that are not needed have handles, and no images
    std::erase_if(named, [this](std::size_t i) { return i >= outputs_.size(); });
  NSArray<MPSImageBatch*>* others = made.others(named.size());
  for (std::size_t k = 0; k < named.size(); ++k) {
    const std::size_t i = named[k];
    if (i >= outputs_.size() || there[i]) continue;
    copy([others objectAtIndex:k], i);
    there[i] = true;
  }
  // A result that is exported, too, is handed out twice.
  if (made.first() != nil && !there[0]) {
    copy(made.first(), 0);
    there[0] = true;
  }
}

NSArray<MPSStateBatch*>* GraphKernel::make_labels(const KernelArgs& args,
                                                  MPSCommandBuffer* commands,
                                                  const BufferMap& buffers) const {
  if (labelled_.empty()) return nil;
  NSMutableArray<MPSStateBatch*>* made = [NSMutableArray array];
  for (id<MPSHandle> handle in [graph_.get() sourceStateHandles]) {
    const ImageRecord* image = labelled_[index_of(handle)]->sources[1].record().get();
    const auto i = static_cast<std::size_t>(std::ranges::find(sources_, image) - sources_.begin());
    const TensorDesc& desc = shapes_.at(image);
    MPSImageBatch* images = ImageCopies::make_lasting_images(device_.get(), desc);
    copies_.copy_in(commands, buffers.find(args.table[args.inputs[i]]), images, desc);
    NSMutableArray<MPSState*>* batch = [NSMutableArray array];
    for (MPSImage* one in images) {
      [batch addObject:[[[MPSCNNLossLabels alloc] initWithDevice:device_.get()
                                                   lossImageSize:{1, 1, 1}
                                                     labelsImage:one
                                                    weightsImage:nil] autorelease]];
    }
    [made addObject:batch];
  }
  return made;
}

void GraphKernel::copy_losses(const KernelArgs& args, MPSCommandBuffer* commands,
                              const BufferMap& buffers, NSArray<MPSStateBatch*>* labels,
                              std::vector<bool>& there) const {
  NSUInteger at = 0;
  for (id<MPSHandle> handle in labels == nil ? nil : [graph_.get() sourceStateHandles]) {
    NSMutableArray<MPSImage*>* losses = [NSMutableArray array];
    for (MPSState* one in [labels objectAtIndex:at++])
      [losses addObject:[static_cast<MPSCNNLossLabels*>(one) lossImage]];
    for (std::size_t i = 0; i < outputs_.size(); ++i) {
      if (outputs_[i].image != nullptr || outputs_[i].node != labelled_[index_of(handle)]) continue;
      outputs_[i].check(losses);
      copies_.copy_out(commands, losses, buffers.find(args.table[args.outputs[i]]),
                       outputs_[i].desc);
      there[i] = true;
    }
  }
}

/// Two gradient nodes of one data source would have MPS update it twice, each with its own part.
void check_trained_once(const graph::WholeGraph& graph, const std::string& kind) {
  std::vector<const DataSource*> seen;
  for (const FilterNode& node : graph.network.nodes) {
    const FilterRecord& record = *node.record();
    if (!record.node_class->gradient || !record.weights ||
        record.training_style == TrainingStyle::UPDATE_DEVICE_NONE) {
      continue;
    }
    const auto source = std::ranges::find(graph.network.data_sources, record.weights);
    const auto index = static_cast<std::size_t>(source - graph.network.data_sources.begin());
    if (!graph.updated[index] && !graph.moves_statistics[index]) continue;
    if (std::ranges::find(seen, record.weights.get()) != seen.end()) {
      throw UnsupportedError(str(title(record), ": device \"", kind,
                                 "\" cannot hold this node: another node trains the same data "
                                 "source, and MPS updates it once a node"));
    }
    seen.push_back(record.weights.get());
  }
}

}  // namespace

std::shared_ptr<Kernel> make_graph_kernel(const graph::WholeGraph& graph, id<MTLDevice> device,
                                          const std::string& kind) {
  for (const FilterNode& node : graph.network.nodes) check_node({*node.record(), graph}, kind);
  check_trained_once(graph, kind);
  return guarded("MPSNNGraph", [&]() -> std::shared_ptr<Kernel> {
    return std::make_shared<GraphKernel>(graph, device);
  });
}

}  // namespace mpsnn::backend::metal
