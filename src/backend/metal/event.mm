// SPDX-License-Identifier: MIT
#include "backend/metal/event.h"

namespace mpsnn::backend::metal {
namespace {

Owned<id<MTLSharedEvent>> make_shared_event(id<MTLDevice> device, std::string_view label) {
  return guarded("event", [&] {
    Owned<id<MTLSharedEvent>> event([device newSharedEvent]);
    if (!event) fail_on_device("event", "the device makes no more");
    [event.get() setLabel:to_ns_string(label)];
    return event;
  });
}

}  // namespace

SharedEvent::SharedEvent(id<MTLDevice> device, std::string_view label)
    : event_(make_shared_event(device, label)) {}

void SharedEvent::signal(std::uint64_t value) noexcept {
  // Metal takes a lower value, too, and those who wait for the present one would never end.
  const std::lock_guard lock(signalling_);
  if ([event_.get() signaledValue] < value) [event_.get() setSignaledValue:value];
}

}  // namespace mpsnn::backend::metal
