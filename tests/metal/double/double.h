// SPDX-License-Identifier: MIT
// What is behind the double's classes: images in slices of four channels, command buffers as lists
// of functions. live.mm counts the objects alive.
#pragma once

#import <MetalPerformanceShaders/MetalPerformanceShaders.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ops.h"

/// Counts a temporary image that was given back before it was read as often as it says.
void count_unread();

/// What MPS would end the process for.
[[noreturn]] void refuse(const char* what, const std::string& why);

class DoubleHeaps;  // heaps.h
class HeapPlace;

/// A reference to an object that a C++ struct holds.
template <class T>
class Ref {
 public:
  Ref() = default;
  Ref(T object) : object_([object retain]) {}
  Ref(const Ref& other) : object_([other.object_ retain]) {}
  Ref& operator=(Ref other) {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() { [object_ release]; }
  operator T() const { return object_; }
  T get() const { return object_; }

 private:
  T object_ = nil;
};

/// An image node's or kernel's pixels; `data` is shared with the commands that use it.
struct DoubleImage {
  std::shared_ptr<metal_double::Pixels> data;
  Ref<id<MTLDevice>> device;
  MTLTextureUsage usage = MTLTextureUsageShaderRead | MTLTextureUsageShaderWrite;
  std::shared_ptr<HeapPlace> place = nullptr;  // of a temporary image, until its last read
};

struct DoubleCommand {
  std::function<void()> run;
  std::vector<MPSPredicate*> predicates;  // retained
  std::function<bool()> may_run = {};     // empty: always
};

/// A command buffer of Metal itself.
@interface DoubleCommandBuffer : NSObject <MTLCommandBuffer> {
 @public
  std::vector<DoubleCommand>* commands_;
  std::vector<MTLCommandBufferHandler>* handlers_;  // copied blocks
  id<MTLCommandQueue> queue_;                       // retained
  std::shared_ptr<DoubleHeaps>* heaps_;             // null within it: the device has run it
  std::shared_ptr<int>* in_use_;                    // null within it, too
  NSString* label_;
  NSError* error_;
  std::size_t next_;  // command to run
  BOOL committed_, begun_, done_, unretained_;
  MTLCommandBufferStatus status_;  // atomic: asked while others hold the device
  CFTimeInterval start_, end_;     // 0: not yet
}
/// Goes on with the commands. NO: the next one waits for an event.
- (BOOL)runCommands;
@end

@interface DoubleCommandQueue : NSObject <MTLCommandQueue> {
 @public
  std::vector<DoubleCommandBuffer*>* committed_;  // retained, in order, not run yet
  id<MTLDevice> device_;                          // retained
  NSString* label_;
}
- (instancetype)initWithDevice:(id<MTLDevice>)device;
/// Runs what it may of the first one committed. NO: nothing could be run.
- (BOOL)runSome;
@end

/// The device came further, or was given more: those who wait for it look again.
void wake_device();
/// Runs what may run until that holds, also while nothing is to run.
void run_until(const std::function<bool()>& is_there);

/// The command buffer of Metal's behind wrappers.
DoubleCommandBuffer* root_of(id<MTLCommandBuffer> commands);
/// Encodes a function on a command buffer, under the predicates of its wrappers.
void record(id<MTLCommandBuffer> commands, std::function<void()> run);

/// An image's pixels for a kernel that reads or writes them. Of a temporary image only on the
/// command buffer that it was made for, while it may still be read; a read takes one from its read
/// count.
std::shared_ptr<metal_double::Pixels> read_from(MPSImage* image, id<MTLCommandBuffer> commands);
/// By a kernel that is not an MPSCNNKernel.
std::shared_ptr<metal_double::Pixels> read_by_other_kernel(MPSImage* image,
                                                           id<MTLCommandBuffer> commands);
std::shared_ptr<metal_double::Pixels> written_to(MPSImage* image, id<MTLCommandBuffer> commands);

/// The images of two batches of one size, for a kernel that reads one and writes the other.
using ImagePairs = std::vector<
    std::pair<std::shared_ptr<metal_double::Pixels>, std::shared_ptr<metal_double::Pixels>>>;
ImagePairs pairs_of(MPSImageBatch* sources, MPSImageBatch* results, id<MTLCommandBuffer> commands);

/// A temporary image of pixels that are computed elsewhere; autoreleased.
MPSTemporaryImage* temporary_image(std::shared_ptr<metal_double::Pixels> pixels,
                                   id<MTLCommandBuffer> commands);

/// What metal_double_fail() asked for: takes it back, once.
enum class DoubleFailure {
  NONE,
  ALLOCATION,
  ENCODE,
  RUN,
  EVENT,
  REMOVAL,
  HEAP,
  SIZE,
  FOREIGN,
  // As if the caller had broken a rule of read counts.
  IMAGE_KEPT,
  IMAGE_NOT_RAISED,
  STATE_KEPT,
  STATE_TWICE,
  LATE,
};
bool fails_now(DoubleFailure kind);

/// Bytes of an element.
NSUInteger bytes_of(MPSDataType type);

/// Accessors of a label, which dealloc releases.
#define DOUBLE_LABEL                   \
  -(NSString*)label {                  \
    return label_;                     \
  }                                    \
  -(void)setLabel : (NSString*)label { \
    [label_ autorelease];              \
    label_ = [label copy];             \
  }

/// Accessors of the training style that nodes of filters with weights have; gradient nodes take it
/// over.
#define DOUBLE_TRAINING_STYLE                                   \
  -(MPSNNTrainingStyle)trainingStyle {                          \
    return node_of(self)->training_style;                       \
  }                                                             \
  -(void)setTrainingStyle : (MPSNNTrainingStyle)trainingStyle { \
    node_of(self)->training_style = trainingStyle;              \
  }

enum class DoubleKind {
  SOURCE,
  FILTER,
  NEURON,
  POOLING,
  NEAREST,
  BILINEAR,
  OP,
  CONCATENATION,
  SOFTMAX,
  LOG_SOFTMAX,
  LOSS,
  YOLO,
  INITIAL_GRADIENT,
  GRADIENT,
};

using Batch = std::vector<std::shared_ptr<metal_double::Pixels>>;
struct DoubleNode;

/// One encode of a filter.
struct FilterRun {
  id<MTLCommandBuffer> commands;
  id<MTLDevice> device;
  const DoubleNode& node;  // the forward node
  bool is_differentiated;  // the graph holds its gradient node
};

/// A filter with a data source, in one graph: its own copy of the weights, refreshed from states
/// and data sources, and what its gradient needs of the forward pass.
class DoubleFilter : public std::enable_shared_from_this<DoubleFilter> {
 public:
  virtual ~DoubleFilter() = default;
  /// Asks the data source.
  virtual void load() = 0;
  virtual metal_double::Shape shape(const DoubleNode& node, const metal_double::Pixels& source);
  virtual void run(const FilterRun& run, const Batch& from, const Batch& to) = 0;
  /// `updates`: the data source is given the gradients of its weights.
  virtual void gradient(const FilterRun& run, const Batch& given, const Batch& from,
                        const Batch& to, bool updates) = 0;
};

/// A filter node with its result image, or a source image. Image nodes hold what makes them.
struct DoubleNode {
  DoubleKind kind;
  std::vector<std::shared_ptr<DoubleNode>> sources;
  std::shared_ptr<DoubleNode> forward;  // of GRADIENT
  std::size_t source_index = 0;         // of GRADIENT: whose gradient
  metal_double::Window window;
  metal_double::Pooling pooling = metal_double::Pooling::MAX;
  metal_double::Neuron neuron;
  std::shared_ptr<metal_double::Op> op;  // of OP
  Ref<id<MPSNNPadding>> padding;
  std::function<std::shared_ptr<DoubleFilter>()> make_filter;  // of FILTER
  Class gradient_class = nil;
  Ref<MPSCNNLossDescriptor*> loss;
  Ref<MPSCNNYOLOLossDescriptor*> yolo;  // of YOLO, with its labels
  Ref<MPSNNLabelsNode*> labels;
  NSUInteger scale_x = 1, scale_y = 1;
  bool align_corners = false;
  MPSNNTrainingStyle training_style = MPSNNTrainingStyleUpdateDeviceNone;
  // The result image.
  Ref<id<MPSHandle>> handle;
  MPSImageFeatureChannelFormat format = MPSImageFeatureChannelFormatNone;
  bool exported = false;
};

/// Makes a filter node of a class: see nodes.mm.
MPSNNFilterNode* fill_node(MPSNNFilterNode* fresh, DoubleKind kind,
                           std::initializer_list<MPSNNImageNode*> sources);

/// What a policy makes of a window: the result's size, and where the first window starts.
struct Placing {
  int height, width;
  metal_double::Origin origin;
};
/// Asks the node's policy, which is given a kernel of a class; `window` is given its edge mode.
Placing place(const DoubleNode& node, Class kernel, metal_double::Window& window,
              const metal_double::Pixels& source);

/// Records f(n) for every image of a batch.
template <class F>
void record_each(id<MTLCommandBuffer> commands, std::size_t count, F f) {
  record(commands, [count, f] {
    for (std::size_t n = 0; n < count; ++n) f(n);
  });
}

/// A state that may be read some times; autoreleased.
template <class State>
State* temporary_state(State* state, NSUInteger reads = 1) {
  state->isTemporary_ = YES;
  state->readCount_ = reads;
  return [state autorelease];
}

using NodePointer = std::shared_ptr<DoubleNode>;
NodePointer& node_of(MPSNNFilterNode* filter);
NodePointer& node_of(MPSNNImageNode* image);
