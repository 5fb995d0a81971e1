// SPDX-License-Identifier: MIT
// The program's own objects. What MPS would end the process for is refused here.
#include "backend/metal/interop.h"

#include <mutex>
#include <utility>

#include "backend/metal/objects.h"
#include "mpsnn/error.h"

namespace mpsnn::backend::metal {
namespace {

/// The command buffer of Metal's behind MPS's.
id<MTLCommandBuffer> root_of(void* commands) {
  const id any = static_cast<id>(commands);
  if (![any isKindOfClass:[MPSCommandBuffer class]]) return any;
  return [static_cast<MPSCommandBuffer*>(any) rootCommandBuffer];
}

bool was_committed(id<MTLCommandBuffer> root) {
  return [root status] >= MTLCommandBufferStatusCommitted;
}

void check_not_committed(std::string_view argument, id<MTLCommandBuffer> root) {
  if (was_committed(root)) {
    throw StateError(str(argument, ": expected a command buffer that takes work, got one that ",
                         "was committed"));
  }
}

void check_device(std::string_view argument, std::string_view what, id<MTLDevice> device,
                  id<MTLDevice> got) {
  if (device == got) return;
  throw InvalidArgumentError(str(argument, ": expected ", what, " of device \"",
                                 to_string([device name]), "\" as mpsnn has it, got one of ",
                                 "another, \"", to_string([got name]), '"'));
}

class CommandsOfProgram final : public ProgramCommands,
                                public std::enable_shared_from_this<CommandsOfProgram> {
 public:
  explicit CommandsOfProgram(void* commands) : commands_(commands) {}

  void begin() override {
    guarded("command buffer",
            [&] { check_not_committed("command_buffer: commands", root_of(commands_)); });
    const std::lock_guard lock(mutex_);
    root_ = nil;
    is_encoded_ = false;
  }

  void when_completed(CompletedHandler handler) override {
    guarded("completed handler", [&] {
      id<MTLCommandBuffer> root = root_of(commands_);
      {
        const std::lock_guard lock(mutex_);
        root_ = root;
        is_encoded_ = true;
      }
      // The block's own: of what the lambda refers to it would keep the address.
      const auto watch = std::make_shared<Watch>(shared_from_this(), root);
      const CompletedHandler kept = std::move(handler);
      [root addCompletedHandler:^(id<MTLCommandBuffer> done) {
        watch->end();
        kept(failure_of([done error]));
      }];
    });
  }

  bool is_committed() const override {
    const std::lock_guard lock(mutex_);
    // The root lives: before it goes, its handler's end takes the lock.
    return is_encoded_ && (root_ == nil || was_committed(root_));
  }

 private:
  /// Lives as long as the handler of a root.
  class Watch {
   public:
    Watch(std::shared_ptr<CommandsOfProgram> commands, id<MTLCommandBuffer> root)
        : commands_(std::move(commands)), root_(root) {}
    ~Watch() { end(); }
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;
    void end() {
      const std::lock_guard lock(commands_->mutex_);
      if (commands_->root_ == root_) commands_->root_ = nil;
    }

   private:
    const std::shared_ptr<CommandsOfProgram> commands_;
    const id<MTLCommandBuffer> root_;  // not held
  };

  void* const commands_;
  mutable std::mutex mutex_;
  // What was encoded last lies on it. Not held; nil: it is gone.
  id<MTLCommandBuffer> root_ = nil;
  bool is_encoded_ = false;
};

}  // namespace

std::shared_ptr<ProgramCommands> program_commands(void* commands) {
  return std::make_shared<CommandsOfProgram>(commands);
}

void* queue_of(std::string_view argument, void* commands, void* device) {
  return guarded("command buffer", [&]() -> void* {
    id<MTLCommandBuffer> root = root_of(commands);
    check_device(argument, "a command buffer", static_cast<id<MTLDevice>>(device), [root device]);
    check_not_committed(argument, root);
    if (![root retainedReferences]) {
      throw UnsupportedError(str(argument, ": expected a command buffer that holds what it uses, ",
                                 "got one of commandBufferWithUnretainedReferences"));
    }
    return [root commandQueue];
  });
}

TensorDesc describe_image(std::string_view argument, void* image, void* device,
                          Interop::Access access) {
  return guarded("image", [&] {
    MPSImage* from = static_cast<MPSImage*>(image);
    check_device(argument, "an image", static_cast<id<MTLDevice>>(device), [from device]);
    if ([from isKindOfClass:[MPSTemporaryImage class]] &&
        [static_cast<MPSTemporaryImage*>(from) readCount] == 0) {
      throw StateError(str(argument, ": expected an image that has its memory, got a temporary ",
                           "image of readCount 0"));
    }
    const bool is_read = access == Interop::Access::READ;
    const MTLTextureUsage wanted = is_read ? MTLTextureUsageShaderRead : MTLTextureUsageShaderWrite;
    const MTLTextureUsage usage = [from usage];
    if (usage != MTLTextureUsageUnknown && (usage & wanted) == 0) {
      throw InvalidArgumentError(str(argument, ": usage: expected MTLTextureUsageShader",
                                     is_read ? "Read" : "Write", " among others, got ",
                                     static_cast<unsigned long>(usage)));
    }
    const MPSImageFeatureChannelFormat format = [from featureChannelFormat];
    if (format != MPSImageFeatureChannelFormatFloat16 &&
        format != MPSImageFeatureChannelFormatFloat32) {
      throw UnsupportedError(str(argument, ": featureChannelFormat: expected ",
                                 "MPSImageFeatureChannelFormatFloat16 or Float32, got ",
                                 static_cast<unsigned long>(format)));
    }
    TensorDesc desc;
    desc.type =
        format == MPSImageFeatureChannelFormatFloat16 ? DataType::FLOAT16 : DataType::FLOAT32;
    for (const NSUInteger extent :
         {[from numberOfImages], [from height], [from width], [from featureChannels]})
      desc.dims.push_back(static_cast<std::int64_t>(extent));
    return desc;
  });
}

}  // namespace mpsnn::backend::metal
