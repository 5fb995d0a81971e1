// SPDX-License-Identifier: MIT
// A queue whose work goes onto a command buffer that the program commits. C++ only, as queue.cpp.
#include <utility>

#include "backend/metal/interop.h"
#include "base/failure.h"
#include "mpsnn/error.h"

namespace mpsnn::backend::metal {
namespace {

[[noreturn]] void refuse(const std::string& what) {
  throw UnsupportedError("a command buffer of the program's takes no " + what +
                         ": nothing of it runs before the program commits it");
}

class QueueOnto final : public Queue {
 public:
  QueueOnto(std::unique_ptr<Stream> stream, void* commands)
      : stream_(std::move(stream)), commands_(commands) {}

  void submit(std::shared_ptr<Submission> work) override {
    work->scheduled();
    std::exception_ptr failure = work->refused();
    if (!failure) failure = encode(*work);
    if (failure) return work->completed(std::move(failure));
    when_completed(commands_, [work, label = label_](const std::exception_ptr& of_device) {
      std::exception_ptr failed = work->refused();
      if (!failed && of_device) failed = name_failure(of_device, label);
      work->completed(std::move(failed));
    });
  }

 private:
  /// The first failure, or null.
  std::exception_ptr encode(Submission& work) {
    const std::size_t size = work.size();
    for (std::size_t i = 0; i < size; ++i) {
      try {
        Launch launch = work.step(i);
        label_ = launch.label;
        run(launch);
      } catch (...) {
        return name_failure(std::current_exception(), label_);
      }
    }
    return nullptr;
  }

  void run(Launch& launch) {
    if (!launch.predicates.empty()) refuse("predicates");
    if (launch.event && !launch.event->is_wait()) {
      // Others wait for it on the host: the program may never commit it.
      stream_->signal_event(launch.event->event(), launch.event->value());
      has_work_ = true;
      return;
    }
    if (launch.kernel == nullptr) {
      // Waits for work of other queues and events, which come first, are the only ones that can be
      // done now.
      if (has_work_) refuse("host functions or waits for events");
      return launch.host();
    }
    stream_->settle = [this] {
      if (has_work_) refuse("work that reads on the host what was encoded before");
      return true;
    };
    launch.args.queue = stream_.get();
    const ReleasePool pool;
    launch.kernel->run(launch.args);
    has_work_ = true;
  }

  const std::unique_ptr<Stream> stream_;
  void* const commands_;  // the stream holds it
  std::string label_;     // of the last step
  bool has_work_ = false;
};

}  // namespace

std::unique_ptr<Queue> make_queue_onto(std::unique_ptr<Stream> stream, void* commands) {
  return std::make_unique<QueueOnto>(std::move(stream), commands);
}

}  // namespace mpsnn::backend::metal
