// SPDX-License-Identifier: MIT
// Shared events: what host and command buffers signal.
#pragma once

#include "double.h"

id<MTLSharedEvent> make_shared_event();
/// The event, which must be one of this double.
id<MTLSharedEvent> shared_event(id<MTLEvent> event);
/// As the device sees it.
uint64_t value_of(id<MTLSharedEvent> event);
/// A command buffer's signal: a value that is not greater changes nothing.
void signal_on_device(id<MTLSharedEvent> event, uint64_t value);
