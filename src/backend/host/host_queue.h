// SPDX-License-Identifier: MIT
// The queue of backends whose kernels run on the host: one thread that runs what is submitted.
#pragma once

#include <memory>
#include <string>

#include "backend/backend.h"

namespace mpsnn::backend::host {

/// A queue with a thread of its own, started with the first submission. `context` is what its
/// kernels get as KernelArgs::queue. The destructor runs what was submitted and joins the thread;
/// called from the thread of any such queue (a handler that drops the last handle of one) it
/// returns at once, and the thread ends by itself when its work is done.
std::unique_ptr<Queue> make_queue(std::string label, void* context = nullptr);

}  // namespace mpsnn::backend::host
