// SPDX-License-Identifier: MIT
// Events that command buffers signal and wait for on the device. For .mm files.
#pragma once

#include <mutex>
#include <string_view>

#include "backend/backend.h"
#include "backend/metal/objects.h"

namespace mpsnn::backend::metal {

class SharedEvent final : public Event {
 public:
  SharedEvent(id<MTLDevice> device, std::string_view label);

  void signal(std::uint64_t value) noexcept override;
  id<MTLSharedEvent> object() const noexcept { return event_.get(); }

 private:
  const Owned<id<MTLSharedEvent>> event_;
  std::mutex signalling_;
};

}  // namespace mpsnn::backend::metal
