// SPDX-License-Identifier: MIT
// The command buffers of a queue. For .mm files; queue.cpp sees metal::Stream.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "backend/metal/device.h"
#include "backend/metal/heaps.h"
#include "backend/metal/images.h"
#include "backend/metal/pending_updates.h"

namespace mpsnn::backend::metal {

class Generators;  // generators.h

class CommandStream final : public Stream {
 public:
  CommandStream(id<MTLDevice> device, std::shared_ptr<BufferMap> buffers,
                std::shared_ptr<Generators> generators, std::string_view label);

  /// Kernels encode onto this command buffer of the program's, which is never committed here.
  CommandStream(id<MTLDevice> device, std::shared_ptr<BufferMap> buffers,
                std::shared_ptr<Generators> generators, std::shared_ptr<PendingUpdates> updates,
                id<MTLCommandBuffer> theirs);

  void set_predicates(std::span<const std::int32_t* const> predicates) override;
  std::unique_ptr<Ticket> commit_and_continue() override;
  std::unique_ptr<Ticket> commit(std::string_view label) override;
  std::optional<Times> wait(Ticket& ticket) override;
  std::shared_ptr<Heaps> heaps() const noexcept override { return heaps_; }
  void signal_event(Event& event, std::uint64_t value) override;
  void wait_for_event(Event& event, std::uint64_t value) override;

  /// Where a kernel encodes: the command buffer, wrapped once for each predicate. The same object
  /// until predicates are set or work is committed, as temporary images belong to one.
  MPSCommandBuffer* commands();
  const BufferMap& buffers() const noexcept { return *buffers_; }
  id<MTLDevice> device() const noexcept { return device_.get(); }
  Generators& generators() const noexcept { return *generators_; }
  /// Made at the first use.
  const ImageCopies& copies();
  /// Whether it encodes onto a command buffer of the program's, of which nothing can be waited for.
  bool is_the_programs() const noexcept { return static_cast<bool>(theirs_); }
  bool is_predicated() const noexcept { return !predicates_.empty(); }
  /// Of the program's command buffers; null: there are `ours`.
  PendingUpdates* pending_updates() const noexcept { return updates_.get(); }

 private:
  MPSCommandBuffer* wrapped(MPSCommandBuffer* innermost) const;
  /// The stream's own command buffer, made where there is none.
  MPSCommandBuffer* ours();
  /// After Metal began another command buffer for it.
  void begin_piece();
  /// The command buffer of Metal's that is encoded onto now. MPS puts others in its place.
  id<MTLCommandBuffer> root();

  const Owned<id<MTLDevice>> device_;
  const Owned<id<MTLCommandQueue>> queue_;  // nil: there is `theirs_`
  const std::shared_ptr<BufferMap> buffers_;
  const std::shared_ptr<Generators> generators_;
  const std::shared_ptr<PendingUpdates> updates_;
  const std::shared_ptr<QueueHeaps> heaps_;
  const Owned<id<MPSHeapProvider>> heap_provider_;
  const Owned<id<MTLCommandBuffer>> theirs_;  // nil: command buffers of our own
  Owned<MPSCommandBuffer*> commands_;         // null: nothing was encoded since the last commit
  Owned<id<MTLCommandBuffer>> first_;  // the first root since then; MPS may have committed it
  std::uint64_t piece_ = 0;            // what is encoded now, as heaps_ counts
  std::vector<const std::int32_t*> predicates_;
  Owned<MPSCommandBuffer*> predicated_;  // null: not wrapped in the predicates yet
  std::optional<ImageCopies> copies_;
};

}  // namespace mpsnn::backend::metal
